"""Which unit of a processor serves arithmetic of a dtype, and its peak."""

from collections.abc import Callable, Mapping

import numpy as np

from arch.entry import Entry

_LIKE = {"f64": "f64", "c128": "f64", "f32": "f32", "c64": "f32", "": "f32", "f16": "f16", "bf16": "bf16"}
_INTEGERS = ("pred", "s4", "s8", "s16", "s32", "s64", "u4", "u8", "u16", "u32", "u64")


def pipe_of(dtype: str) -> str:
    """Return the dtype whose peak holds for an XLA type on the vector pipes: complex as real, integers as s32; '' if none."""
    return "s32" if dtype in _INTEGERS else _LIKE.get(dtype, "")


def vector_peak(peaks: Mapping[str, float]) -> Callable[[str], float]:
    """Return a function from XLA types to their peak on the vector pipes, given by ``peaks`` (FLOP/s by pipe).

    It is infinite where there is none: such kernels are refused or use another unit.
    """
    return lambda dtype: peaks.get(pipe_of(dtype), np.inf)


def matrix_unit(entry: Entry, dtype: str, precision: str, tensor_cores: bool) -> tuple[str, float, bool]:
    """Return which peak of a GPU serves a product: its name, its FLOP/s, and whether it is a tensor core's.

    FP32 uses TF32 unless its precision is 'highest' (XLA lets cuBLAS take TF32 for 'default' and 'high'); what the compiler
    fused into a loop (no library, no Triton), LU and triangular solves run on the vector pipes. Without tensor cores for it, a library
    adds up FP16 in FP32.
    """
    name = dtype
    if pipe_of(dtype) == "f32":
        name = "f32" if precision == "highest" else "tf32"
    peak = entry.group("matrix_flops").get(name) if tensor_cores else None
    if peak is not None:
        return name, peak, True
    vector = "f32" if tensor_cores and dtype == "f16" else pipe_of(dtype)
    return vector, entry.group("vector_flops").get(vector, np.inf), False
