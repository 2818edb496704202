"""What a compiler must know of a GPU, out of the catalogue."""

from typing import TYPE_CHECKING

from arch.entry import Entry
from traces.errors import MachineError

if TYPE_CHECKING:
    from traces.capture.target import CompileTarget, TpuTarget


def compile_target(entry: Entry) -> "CompileTarget | TpuTarget":
    """Return the compile target of a catalogue entry. Raises MachineError if the entry is neither GPU nor TPU."""
    from traces.capture.target import CompileTarget, TpuTarget

    if entry.kind == "tpu":
        return TpuTarget(entry.id, entry.description, entry.text["topology"])
    if entry.kind != "gpu":
        raise MachineError(f"a program can be compiled for a GPU or a TPU, but {entry.id!r} is of kind {entry.kind!r}")
    return CompileTarget(
        id=entry.id,
        description=entry.description,
        compute_capability=_capability(entry),
        core_count=round(entry["sm_count"]),
        fpus_per_core=round(entry["fp32_lanes_per_sm"]),
        clock_hz=entry["clock"],
        memory_bandwidth=entry["memory_bandwidth"],
        memory_bytes=round(entry["memory"]),
        l2_bytes=round(entry["l2"]),
        shared_memory_per_block=round(entry["shared_per_block_bytes"]),
        shared_memory_per_block_optin=round(entry["shared_per_block_optin_bytes"]),
        shared_memory_per_core=round(entry["shared_per_sm"]),
        threads_per_core=round(entry["max_warps_per_sm"] * entry["warp_threads"]),
        registers_per_core=round(entry["registers_per_sm"]),
        registers_per_block=round(entry["registers_per_block"]),
        threads_per_block=round(entry["max_threads_per_block"]),
        threads_per_warp=round(entry["warp_threads"]),
    )


def _capability(entry: Entry) -> tuple[int, int]:
    major, _, minor = entry.text["compute_capability"].partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise MachineError(f"{entry.id}.compute_capability must read like '8.6', but got {entry.text['compute_capability']!r}")
    return int(major), int(minor)
