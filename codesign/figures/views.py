"""From what codesign computes to what a figure draws: plain arrays."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arch.labels import hypothetical_label
from codesign.figures.breakdown import SMALLEST_FAMILY
from codesign.figures.designs import Cloud, Mark, Objective
from codesign.figures.memory import Filling
from codesign.figures.queues import Operations
from codesign.figures.roofline import Points, Roof
from codesign.figures.times import Taken
from traces.errors import CodesignError
from traces.si import show

if TYPE_CHECKING:
    from arch.gpu import GPU
    from arch.machine import Machine
    from codesign.engine.timeline import Timeline
    from codesign.search.result import Result
    from traces.trace import Trace

Texts = NDArray[np.object_]

OBJECTIVES = {
    "time_s": Objective("time of a step", "s"),
    "energy_j": Objective("energy of a step", "J"),
    "power_watts": Objective("average power", "W"),
    "area_mm2": Objective("silicon area", "mm²", prefixed=False),
    "price_usd": Objective("price", "USD", prefixed=False),
}


def roofline_points(trace: "Trace", machine: "Machine") -> Points:
    """Return every kernel of a trace as the machine's first device prices it; FLOP are counted from the program's operations."""
    from arch.work import Work

    prices = machine.devices[0].price(Work.of(trace))
    columns = ("flops_matrix", "flops_vector", "flops_transcendental")
    flops = np.sum([np.nan_to_num(trace.kernels[name]) for name in columns], axis=0)
    spent = prices.duration_s * trace.executions
    with np.errstate(divide="ignore", invalid="ignore"):
        return Points(flops / prices.dram_bytes, flops / prices.duration_s, spent / spent.sum(), trace.kernels["family"])


def roofs(machine: "Machine", trace: "Trace") -> list[Roof]:
    """Return the roofs of a machine's devices: of a GPU that of FP32, and those of the tensor cores that the trace's products use."""
    from arch.gpu import GPU
    from arch.pim import PIM

    found: list[Roof] = []
    for device in machine.devices:
        name = hypothetical_label(device.id, device.hypothetical)
        if isinstance(device, GPU):
            found += _gpu_roofs(device, trace, name)
        elif isinstance(device, PIM):
            opcodes = "/".join(sorted(device.entry.opcodes.commands)).upper()
            found.append(_roof(f"{name}: {opcodes}", device.peak_flops, device.internal_bandwidth, dashed=True))
    return found


def _gpu_roofs(gpu: "GPU", trace: "Trace", name: str) -> list[Roof]:
    main = _roof(f"{name}: FP32", gpu.entry.group("vector_flops")["f32"], gpu.dram_bandwidth)
    units = {f"{unit.upper()} tensor cores": peak for unit, peak in _tensor_cores(gpu, trace).items()}
    return [main, *(Roof(f"{unit} {show(peak, 'FLOP/s')}", peak, gpu.dram_bandwidth, dashed=True) for unit, peak in units.items())]


def _roof(what: str, peak: float, bandwidth: float, *, dashed: bool = False) -> Roof:
    return Roof(f"{what} {show(peak, 'FLOP/s')}, {show(bandwidth, 'B/s')}", peak, bandwidth, dashed)


def _tensor_cores(gpu: "GPU", trace: "Trace") -> dict[str, float]:
    """Return name and peak of the tensor cores' units that at least 1 % of the trace's matrix FLOP run on."""
    from arch.pipes import matrix_unit

    kernels = trace.kernels
    work = np.nan_to_num(kernels["flops_matrix"]) * trace.executions
    mine = np.flatnonzero((work > 0) & np.isin(kernels["launch_kind"].astype(str), ("library", "triton")))
    done: dict[str, float] = {}
    peaks: dict[str, float] = {}
    for row in mine[np.isin(kernels["family"][mine].astype(str), ("gemm", "attention"))]:
        unit, peak, tensor = matrix_unit(gpu.entry, str(kernels["dtype"][row]), str(kernels["precision"][row]), True)
        if tensor:
            done[unit], peaks[unit] = done.get(unit, 0.0) + float(work[row]), peak
    return {unit: peaks[unit] for unit, flops in done.items() if flops > 0.01 * work.sum()}


def shares(trace: "Trace", machine: "Machine") -> dict[tuple[str, str], float]:
    """Return the fractions of the kernel time by (phase, family), all kernels on the machine's first device."""
    from arch.work import Work

    prices = machine.devices[0].price(Work.of(trace))
    return _grouped(trace.kernels["phase"], trace.kernels["family"], prices.duration_s * trace.executions)


def timeline_shares(timeline: "Timeline") -> dict[tuple[str, str], float]:
    """Return the fractions of a replay's kernel time by (phase, family), on whatever device; raises TraceError without record."""
    spans = timeline.spans()
    kernels = spans.kind == "kernel"
    return _grouped(spans.phase[kernels], spans.family[kernels], (spans.end_s - spans.start_s)[kernels])


def _grouped(phases: Texts, families: Texts, seconds: NDArray[np.float64]) -> dict[tuple[str, str], float]:
    """Return fractions of the whole by (phase, family), phases in the order in which they begin."""
    phase_names, phase = np.unique(phases.astype(str), return_inverse=True)
    family_names, family = np.unique(families.astype(str), return_inverse=True)
    total = np.zeros((len(phase_names), len(family_names)))
    np.add.at(total, (phase, family), seconds / (seconds.sum() or 1.0))
    begins = [int(np.argmax(phase == i)) for i in range(len(phase_names))]
    return {
        (str(phase_names[i]) or "none", str(family_names[j])): float(total[i, j])
        for i in np.argsort(begins)
        for j in range(len(family_names))
        if total[i, j] > 0
    }


def taken(timeline: "Timeline", label: str) -> Taken:
    """Return what a replay took, families below half a percent together."""
    shares: dict[str, float] = {}
    for family, share in timeline.shares("family").items():
        name = family if share >= SMALLEST_FAMILY else "other"
        shares[name] = shares.get(name, 0.0) + share
    seconds = {family: share * timeline.kernel_time_s for family, share in shares.items()}
    return Taken(label, seconds, timeline.time_s, timeline.uncertainty.get("relative", 0.0) * timeline.kernel_time_s)


def operations(timeline: "Timeline", labels: dict[str, str] | None = None) -> Operations:
    """Return what ran on each queue of a timeline; hand-overs and transfers are a family of their own. Raises TraceError without record."""
    spans = timeline.spans()
    assert timeline.entries is not None
    shown = spans.queue >= 0
    moving = np.where(spans.kind == "hand_over", "hand-over", spans.kind)
    family = np.where(spans.kind == "kernel", spans.family, moving).astype(object)[shown]
    order = np.argsort(spans.start_s[shown], kind="stable")
    used, queue = np.unique(spans.queue[shown], return_inverse=True)
    names = tuple((labels or {}).get(timeline.entries.queues[i], timeline.entries.queues[i]) for i in used)
    return Operations(names, queue[order].astype(np.int64), spans.start_s[shown][order], spans.end_s[shown][order], family[order])


def fillings(timeline: "Timeline") -> list[Filling]:
    """Return each memory of a timeline over time; iterations of very long runs a few times only. Raises CodesignError if not kept."""
    if not timeline.memory:
        raise CodesignError("memory over time is kept by replay(..., record=True) but not in files; replay the trace to draw it")
    return [Filling(name, used.time_s, used.bytes.astype(np.float64)) for name, used in timeline.memory.items()]


def live_bytes(trace: "Trace") -> Filling:
    """Return the bytes that are live at each launch entry of a trace, allocations counted once, and none after the last."""
    from traces.liveness import live_bytes as at_kernels

    live = np.append(at_kernels(trace), 0).astype(np.float64)
    return Filling("live tensors", np.arange(float(len(live))), live)


def objectives(result: "Result") -> tuple[Objective, ...]:
    """Return the axes of a result's objectives."""
    return tuple(OBJECTIVES[name] for name in result.objectives)


def cloud(result: "Result") -> Cloud:
    """Return the designs of a result that can run and keep the budget, in its first two objectives, with its bound on time."""
    tried = [t for t in result.tried if t.feasible]
    values = np.array([[_number(getattr(t, name)) for name in result.objectives[:2]] for t in tried]).reshape(len(tried), 2)
    front = np.array([t.dominated_by is None for t in tried], dtype=bool)
    bound = result.lower_bound_s if result.objectives[0] == "time_s" else None
    return Cloud(result.machine, values, front, result.hypothetical, bound)


def first_objective(result: "Result") -> NDArray[np.float64]:
    """Return each trial's first objective, in the order of the search; NaN for a design that cannot run or breaks the budget."""
    return np.array([_number(getattr(t, result.objectives[0])) if t.feasible else np.nan for t in result.tried])


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def single_device(results: "Sequence[Result]") -> list[Mark]:
    """Return the best designs that use one device only, to compare with, equal ones once; only their times are known."""
    known = [(r.best_single_device, r.best_single_device_s) for r in results if r.best_single_device_s is not None]
    return [Mark(f"all on {device}", (seconds,)) for device, seconds in dict.fromkeys(known) if results[0].objectives[0] == "time_s"]
