"""How far the frozen model is off on a device that it was not fitted to: statistics, not constants of the model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from arch import trust
from arch.uncertainty import rule
from codesign.predicting import predict

if TYPE_CHECKING:
    import pandas as pd

_COVERED = 0.68


def classes(predicted: "pd.DataFrame") -> "pd.Series[str]":
    """Return the class of each row: its op, products by whether tensor cores run them, and whether its kernel is long or short."""
    product = np.where(predicted["dtype"] == "float32", trust.class_of("gemm", False), trust.class_of("gemm", True))
    op = predicted["op"].where(predicted["op"] != "gemm", product)
    return op + np.where(predicted["kernel_us"] >= 1e6 * rule("long_kernel_s"), "_long", "_short")


def statistics(left_out: "pd.DataFrame") -> dict[str, dict[str, float]]:
    """Return two numbers for each class: ``row`` and ``total``.

    Parameters
    ----------
    left_out
        Rows with predicted_us of a model that was fitted without their device.

    Returns
    -------
    dict
        ``row`` is what the absolute logarithm of predicted over measured stays within for 68 % of a device's rows, on average
        over devices; ``total`` the root mean square over devices of the logarithm of the summed times' ratio, which is what
        errors come to that are correlated within a family.
    """
    kinds = classes(left_out)
    ratio = np.abs(np.log(left_out["predicted_us"].to_numpy(np.float64) / left_out["latency_us"].to_numpy(np.float64)))
    found: dict[str, dict[str, float]] = {}
    for kind in sorted(kinds.unique()):
        inside = (kinds == kind).to_numpy()
        devices = left_out["device"].to_numpy()
        rows, totals = [], []
        for device in sorted(set(devices[inside])):
            here = inside & (devices == device)
            rows.append(float(np.quantile(ratio[here], _COVERED)))
            totals.append(float(np.log(left_out["predicted_us"][here].sum() / left_out["latency_us"][here].astype(np.float64).sum())))
        found[kind] = {"row": float(np.mean(rows)), "total": float(np.sqrt(np.mean(np.square(totals))))}
    return found


def predicted_with(table: "pd.DataFrame", constants: Mapping[str, float | tuple[float, ...]]) -> "pd.DataFrame":
    """Return the table's predictions under other constants."""
    return predict(table, constants=constants)
