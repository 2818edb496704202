"""How far GPU prices can be off: what `codesign calibrate` saw on devices left out of its fit, by op and length of the kernel."""

import numpy as np

from arch import catalog
from arch.entry import Entry
from arch.facts import Facts
from arch.uncertainty import Trust, prior, rule, unvalidated
from arch.work import Bool, Float

_CLASSES = {"gemm": ("gemm_vector", "gemm_matrix"), "elementwise": ("elementwise",), "softmax": ("softmax",), "layernorm": ("layernorm",)}
_FAMILIES = {"elementwise": ("elementwise",), "reduce": ("softmax", "layernorm")}
"""The classes of residuals that stand behind a family; of several, the mean."""
_SHORT_KNOWN = frozenset({"gemm_matrix"})
"""Classes of which short kernels were measured themselves; of the others only the host's time was."""
_MATRIX = ("f16", "bf16")
_VECTOR = ("f32",)


def class_of(op: str, *, tensor_cores: bool) -> str:
    """Return the class of residuals of an op of the calibration table."""
    return _CLASSES[op][int(tensor_cores)] if op == "gemm" else op


def of_rows(entry: Entry, op: str, dtype: str, kernel_s: Float, *, tensor_cores: bool) -> Float:
    """Return the relative standard deviation of each row of a table: 68 % of left-out rows lay within, of dtypes that were measured."""
    if dtype not in (_MATRIX if tensor_cores else _VECTOR):
        return np.full(len(kernel_s), prior("family"))
    return _by_length(class_of(op, tensor_cores=tensor_cores), "row", kernel_s) * _generation(entry)


def of_kernels(entry: Entry, known: Facts, tensor_cores: Bool, duration_s: Float) -> Trust:
    """Return the trust in a trace's kernels: errors of a family's sum, which its kernels share."""
    if entry.hypothetical:
        return unvalidated(len(duration_s))
    relative = np.full(len(duration_s), prior("family"))
    validated = np.zeros(len(duration_s), dtype=np.bool_)
    long = duration_s >= rule("long_kernel_s")
    for family, classes in _FAMILIES.items():
        here = known.family.is_(family) & known.dtype.is_("f32") & long
        relative[here] = np.mean([_stored(f"{name}_long", "total") for name in classes]) * _generation(entry)
        validated |= here
    for name, here in _products(known, tensor_cores).items():
        counts = here if name in _SHORT_KNOWN else here & long
        relative[counts] = _by_length(name, "total", duration_s[counts]) * _generation(entry)
        validated |= counts
    return Trust(relative, validated)


def _products(known: Facts, tensor_cores: Bool) -> dict[str, Bool]:
    library = known.family.is_("gemm") & known.library & ~known.routine.is_("convolution")
    return {
        "gemm_matrix": library & tensor_cores & known.dtype.is_(*_MATRIX),
        "gemm_vector": library & ~tensor_cores & known.dtype.is_(*_VECTOR),
    }


def _by_length(name: str, statistic: str, kernel_s: Float) -> Float:
    return np.where(kernel_s >= rule("long_kernel_s"), _stored(f"{name}_long", statistic), _stored(f"{name}_short", statistic))


def _stored(name: str, statistic: str) -> float:
    found = catalog.residuals().get(name)
    return prior("family") if found is None else found[statistic]


def _generation(entry: Entry) -> float:
    return rule("later_generation") if float(entry.text["compute_capability"]) > rule("newest_measured") else 1.0
