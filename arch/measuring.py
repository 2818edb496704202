"""How the sources of measured kernels measured them: what was in L2 before a kernel, and how long the GPU rested between kernels.

- NeuSight times an eager operator again and again with the same operands: L2 holds what of them fits. The host's time between
  operators lets the GPU rest, and so does making the operands of the next shape: power is capped on average over both.
- AIConfigurator replays a CUDA graph of as many copies of the weights as exceed L2, at most five, with the same activations
  (its collector's loop: one to five copies, as many as L2 over the weights; collect_gemm.py). TensorRT-LLM's products are
  cublasLt's, which cuts a row into tiles as any product: on an A100 and an L40S one row takes as long as two.
- Vidur profiles the layers of a model one after another: a layer's input was just written, its weights were last read a step ago.
  It does so for minutes: at the cap a product of the A100 takes 1.1 to 1.2 times what it takes in AIConfigurator's short runs.
"""

from enum import IntEnum

import numpy as np

from arch.entry import Entry
from arch.gemm import Conditions, resident
from arch.gemm_choices import Hot, Products
from arch.gemm_library import library
from arch.streaming import kept_share
from arch.work import Float

EAGER = frozenset({"neusight"})
"""Sources that time eager operators from the host."""
KERNEL_TIMES = frozenset({"aiconfigurator", "vidur"})
"""Sources of times that hold nothing but the kernels."""
_COPIES = 5
_TILES_ONLY = frozenset({"aiconfigurator"})


class EagerHost(IntEnum):
    """Eager operators by what they ask of the host: the places of the catalogue's ``eager_floors``."""

    TENSORS = 0
    SCALAR_OR_MODULE = 1
    SOFTMAX_OR_PRODUCT = 2
    LAYER_NORM = 3
    LINEAR = 4


def conditions(entry: Entry, source: str, dtype: str, work: Products, idle_s: Float | float) -> Conditions:
    """Return under which conditions a source measured products; ``idle_s`` as ``idle_s`` below says, shape [products] or one."""
    return Conditions(hot(entry, source, dtype, work), idle_s, drawn(entry, source), source not in _TILES_ONLY)


def hot(entry: Entry, source: str, dtype: str, work: Products) -> Hot:
    """Return the shares of the operands that L2 holds before a kernel of a source; unknown sources measure as NeuSight does."""
    unit = library(entry, dtype)
    if source not in KERNEL_TIMES:
        return resident(entry, work)
    a, b, c = work.operand_bytes
    first, last = (np.clip(2 - 2 * each / unit.tiling.l2_bytes, 0.0, 1.0) for each in (a, c))
    copies = np.clip(np.ceil(unit.tiling.l2_bytes / b), 1, _COPIES)
    weights = kept_share(entry, copies * (b + c) + a, entry["l2"]) if source == "aiconfigurator" else np.zeros_like(b)
    return Hot(first, weights, last)


def host_s(entry: Entry, source: str, name: str) -> float:
    """Return the seconds that the host takes for a product of a source: an eager operator's, else nothing."""
    if source not in EAGER:
        return 0.0
    return entry.list("eager_floors")[EagerHost.LINEAR if name == "linear" else EagerHost.SOFTMAX_OR_PRODUCT]


def idle_s(entry: Entry, source: str, name: str) -> float:
    """Return the seconds that the GPU rests before a product: the host's, and its share of the rest before each shape of a table."""
    if source not in EAGER:
        return 0.0
    return host_s(entry, source, name) + entry["eager_rest"]


def drawn(entry: Entry, source: str) -> float:
    """Return the power of a source's products over that of the short runs of one shape whose energy is known, at equal clocks."""
    return entry["profiled_energy_ratio"] if source == "vidur" else 1.0


def drawn_by_programs(entry: Entry, dtype: str) -> float:
    """Return the same of a trace's products, a program's that runs for minutes: told of tensor cores alone, by a profile of models."""
    return entry["profiled_energy_ratio"] if dtype != "f32" and dtype in entry.group("matrix_flops") else 1.0


def measured_s(entry: Entry, source: str, host_s: Float | float, kernel_s: Float) -> Float:
    """Return what a source would have measured of products of ``kernel_s``: an eager operator takes no less than its host's time."""
    if source not in EAGER:
        return kernel_s
    return np.maximum(host_s, entry["eager_overlap"] * host_s + kernel_s)
