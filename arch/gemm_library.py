"""What a GEMM library brings to a GPU: its tiles, and the numbers of the unit that computes them."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from arch import power
from arch.entry import Entry
from arch.facts import itemsize
from arch.streaming import dram_rate, filled
from arch.work import Float

_K_STEP_BYTES = 2
"""Tensor-core kernels take as many bytes a step whatever the dtype: their step is named in elements of FP16."""


@dataclass(frozen=True)
class Tiling:
    """How the library cuts products into blocks on one unit (vector pipes or tensor cores) of a GPU: all that is no rate and no time."""

    tile_m: tuple[float, ...]
    tile_n: tuple[float, ...]
    batched_tiles: tuple[tuple[float, float], ...]
    """Tiles of batched products; empty if these choose from all."""
    splits: tuple[float, ...]
    k_step: float
    cluster: float
    """Blocks that share what they load."""
    persistent: bool
    """Blocks stay on their SM and store a tile while they compute the next."""
    sms: float
    peak_share: float
    shared_stretch: float
    """Time of multiply-adds beside operands from shared memory, over their time alone: 1 on tensor cores."""
    issue_share: float
    """What a main loop can reach at most: other instructions take issue slots where multiply-adds fill them."""
    tile_loss: float
    outputs_per_thread: float
    hiding_threads: float
    accumulators: float
    """Outputs that the blocks of an SM keep in registers: half of them."""
    tile_cycles: float
    turn_cycles: float
    l2_bytes: float
    tlb_bytes: float
    tlb_loss: float
    """Time over that of a main loop whose tile's rows the SM's table of pages reaches."""
    sector_bytes: float
    partial_fill: float
    """What is read of a result, over what is written, if its rows do not begin on sectors."""
    vector_kernel: bool
    """A row times a matrix has a kernel of its own, which cuts nothing into tiles."""

    def resident(self, area: Float) -> Float:
        """Return how many blocks of tiles of an area an SM holds: half of the registers are accumulators."""
        blocks: Float = np.maximum(self.accumulators // area, 1.0)
        return blocks

    def efficiency(self, tile_m: Float, tile_n: Float) -> Float:
        """Return the share of the peak that a tile's main loop reaches, less for smaller tiles: they reuse operands less."""
        lost = self.tile_loss * (64 / tile_m + 64 / tile_n - 1)
        share: Float = self.peak_share * np.maximum(1 - lost, 1 / 16)
        return share

    def loop_share(self, tile_m: Float, tile_n: Float, threads: Float) -> Float:
        """Return the same of as many threads on an SM as hide a part of the latency; shared memory stretches the rest of the time."""
        reached = self.efficiency(tile_m, tile_n) * threads / (threads * self.shared_stretch + self.hiding_threads)
        share: Float = np.minimum(reached, self.issue_share)
        return share


@dataclass(frozen=True)
class Library:
    """One unit of one GPU as the library uses it; SI units, clocks at boost."""

    tiling: Tiling
    tensor: bool
    stages: float
    clock_hz: float
    flops_per_sm: float
    vector_flops_per_s: float
    """Of the vector pipes, with which a vector and a matrix are multiplied."""
    sharpness: float
    capped_flops_per_s: float
    """What the power cap leaves a steady stream of products; infinite without a cap."""
    l2_bytes_per_s: float
    l2_latency_s: float
    dram_bytes_per_s: float
    dram_latency_s: float
    launch_s: float


@lru_cache(maxsize=64)
def _dense_share(tiling: Tiling) -> float:
    """Return the share of the peak that the fastest tile reaches while all of its product is computed."""
    tile_m, tile_n = np.asarray(tiling.tile_m), np.asarray(tiling.tile_n)
    threads = tiling.resident(tile_m * tile_n) * tile_m * tile_n / tiling.outputs_per_thread
    return float(tiling.loop_share(tile_m, tile_n, threads).max())


def library(entry: Entry, dtype: str, tuned: bool = False, drawn: float = 1.0, vector_kernel: bool = True) -> Library:
    """Return the unit that serves products of an XLA dtype on a GPU; ``drawn`` as ``power.sustained_flops_per_s`` has it.

    ``vector_kernel``: the library has a kernel for a row times a matrix. ``tuned``: the caller tries the library's kernels and keeps
    the fastest, as XLA does (gemm_algorithm_picker); else the library chooses, and on GPUs since the A100 it takes one tile for all
    batched products in full FP32.
    """
    matrix = entry.group("matrix_flops")
    tensor = dtype in matrix and dtype != "f32"
    vector = entry.group("vector_flops")
    adds = _added_up_in(dtype)
    runs = dtype if tensor else adds
    peak = matrix[dtype] if tensor else vector.get(adds, np.inf)
    tiling = replace(_tiling(entry, dtype, tensor, tuned), vector_kernel=vector_kernel)
    return Library(
        tiling=tiling,
        tensor=tensor,
        stages=entry["gemm_stages"],
        clock_hz=entry["clock"],
        flops_per_sm=peak / entry["sm_count"],
        vector_flops_per_s=vector.get(adds, np.inf),
        sharpness=entry["gemm_sharpness"],
        capped_flops_per_s=power.sustained_flops_per_s(entry, runs, peak * _dense_share(tiling), tensor=tensor, drawn=drawn),
        l2_bytes_per_s=entry["l2_bandwidth"] * entry["l2_efficiency"],
        l2_latency_s=entry["l2_latency"] if tensor else entry["shared_latency_cycles"] / entry["clock"],
        dram_bytes_per_s=dram_rate(entry) * entry["gemm_dram_share"],
        dram_latency_s=entry["dram_latency"],
        launch_s=entry["kernel_floor"],
    )


def _added_up_in(dtype: str) -> str:
    """Return the dtype in which the vector pipes multiply and add: FP32 for what is shorter, as PyTorch asks (CUBLAS_COMPUTE_32F)."""
    return "f32" if itemsize(dtype) < itemsize("f32") or dtype == "tf32" else dtype


def _tiling(entry: Entry, dtype: str, tensor: bool, tuned: bool) -> Tiling:
    kind = "tensor" if tensor else "simt"
    lanes = 1.0 if tensor else entry["fp32_lanes_per_sm"] / 64
    batched = entry["gemm_batched_tile"]
    step = entry[f"gemm_{kind}_k_step"]
    return Tiling(
        tile_m=entry.list(f"gemm_{kind}_tile_m"),
        tile_n=entry.list(f"gemm_{kind}_tile_n"),
        batched_tiles=() if tensor or tuned or batched == 1 else ((batched, batched),),
        splits=entry.list("gemm_split_k"),
        k_step=step * _K_STEP_BYTES / itemsize(dtype) if tensor else step,
        cluster=(entry.get("gemm_cluster") or 1.0) if tensor else 1.0,
        persistent=bool(tensor and entry.get("gemm_persistent")),
        sms=entry["sm_count"],
        peak_share=entry[f"gemm_{kind}_rate"],
        shared_stretch=1.0 if tensor else _beside_shared_memory(entry, dtype),
        issue_share=1.0 if tensor or lanes == 1 else entry["gemm_issue_share"],
        tile_loss=entry["gemm_tile_loss"],
        outputs_per_thread=entry[f"gemm_{kind}_outputs"],
        hiding_threads=entry[f"gemm_{kind}_threads"] * lanes,
        accumulators=entry["registers_per_sm"] / 2 * (1 if itemsize(dtype) <= 4 else 0.5),
        tile_cycles=entry[f"gemm_{kind}_tile_cycles"],
        turn_cycles=entry["gemm_turn_cycles"] if tensor else 0.0,
        l2_bytes=entry["l2"],
        tlb_bytes=entry["tlb_reach"],
        tlb_loss=0.0 if tensor else entry["gemm_tlb_loss"],
        sector_bytes=entry["sector_bytes"],
        partial_fill=filled(entry),
        vector_kernel=True,
    )


def _beside_shared_memory(entry: Entry, dtype: str) -> float:
    """Return the time of multiply-adds on the vector pipes beside operands from shared memory, over their time alone.

    Both work at once, as imperfectly as loads and arithmetic do elsewhere. Shared memory is one array with L1 and as wide: 128 lanes
    an SM beside 64 bytes a clock spend as long on operands as on multiply-adds.
    """
    vector = entry.group("vector_flops")
    multiply_adds = entry["fp32_lanes_per_sm"] * vector.get(dtype, vector["f32"]) / vector["f32"]
    busy = multiply_adds * entry["gemm_shared_bytes"] * itemsize(dtype) / 4 / entry["l1_bytes_per_clock"]
    return float((1 + busy ** entry["gemm_sharpness"]) ** (1 / entry["gemm_sharpness"]))
