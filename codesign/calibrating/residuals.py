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
LONG, FLOOR_QUANTILE = 3.0, 0.02
"""Rows that count where a model is judged: those above so many times this quantile of their device and op."""


def operators(table: "pd.DataFrame") -> "pd.Series[str]":
    """Return the op of each row, products by whether tensor cores run them."""
    product = np.where(table["dtype"] == "float32", trust.class_of("gemm", tensor_cores=False), trust.class_of("gemm", tensor_cores=True))
    return table["op"].where(table["op"] != "gemm", product)


def classes(predicted: "pd.DataFrame") -> "pd.Series[str]":
    """Return the class of each row: its operator, and whether its kernel is long or short."""
    return operators(predicted) + np.where(predicted["kernel_us"] >= 1e6 * rule("long_kernel_s"), "_long", "_short")


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


def left_out(table: "pd.DataFrame") -> dict[str, dict[str, float]]:
    """Return what each device showed that was left out, by 'device/operator': ``median`` error and ``bias`` of the sum.

    Parameters
    ----------
    table
        Rows with predicted_us of a model that was fitted without their device; those above three times the 2nd percentile of their
        device and op count, below which a time is the host's.

    Returns
    -------
    dict
        ``median`` of |predicted / measured - 1|, ``bias`` (predicted over measured sum, minus 1).
    """
    found = {}
    for (device, op), rows in table.groupby(["device", operators(table)], sort=True):
        measured, predicted = (rows[name].to_numpy(np.float64) for name in ("latency_us", "predicted_us"))
        long = measured > LONG * np.quantile(measured, FLOOR_QUANTILE)
        error = np.abs(predicted[long] / measured[long] - 1)
        found[f"{device}/{op}"] = {"median": float(np.median(error)), "bias": float(predicted[long].sum() / measured[long].sum() - 1)}
    return found


def predicted_with(table: "pd.DataFrame", constants: Mapping[str, float | tuple[float, ...]]) -> "pd.DataFrame":
    """Return the table's predictions under other constants."""
    return predict(table, constants=constants)
