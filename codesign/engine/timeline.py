"""What a replay finds: totals, shares, energy, memory, and the operations over time."""

import os
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from arch.error_bars import by_group, total
from codesign import documents
from codesign.engine.entries import Entries, Spans, entries_of
from codesign.engine.heaviest import heaviest
from codesign.engine.joules import parts
from codesign.engine.program import HAND_OVER, KERNEL, PS, TRANSFER, Floats, Program, Run
from codesign.engine.usage import Usage
from traces.errors import TraceError
from traces.si import show
from traces.summary import label_of

if TYPE_CHECKING:
    import pandas as pd

    from arch.cost import CostTable
    from arch.machine import Machine
    from schedulers.scheduler import Mapping
    from traces.trace import Trace

KIND = "timeline"
GROUPS = ("family", "phase", "stage", "device")


@dataclass(frozen=True, eq=False)
class Timeline:
    """A trace replayed on a machine. Times in seconds, energy in joules, memory in bytes.

    Parameters
    ----------
    time_s, kernel_time_s, host_bound_s
        The makespan; the sum of all kernels' durations; time in which all that was issued has ended because the next launch has
        not been issued.
    transfer_s, hand_over_s
        The sums of what transfers between memories took, and hand-overs of a shared memory between its views; both may overlap kernels.
    energy_j
        Dynamic energy of kernels, transfers and hand-overs, and static power over the makespan; None if any of it is unknown.
    launches, launches_run, launches_stepped
        Kernels launched; of these, how many the engine ran, and how many it stepped over because they repeat.
    peak_memory_bytes
        The most each memory held.
    by_group
        Fractions of the kernel time by 'family', 'phase', 'stage', 'device'.
    devices, links
        Of each device busy_s, hand_over_s, idle_s; of each direction of a link busy_s, idle_s.
    captured_for
        The device that the trace was captured for, whatever the machine is.
    uncertainty
        'relative': standard deviation of ``kernel_time_s`` over it; 'unvalidated_share': of the kernel time, behind which no
        measurement stands; 'by_group': seconds of standard deviation by 'device/family'.
    ineligible
        Of each device but the first, the share of kernel time that it refuses, by reason
        (times are those of the first device that accepts a kernel).
    entries
        Every operation that was run; None if the replay did not record.
    """

    program: str
    trace: str
    machine: str
    hypothetical: bool
    scheduler: str
    mapping: dict[str, Any]
    """The policy's, as ``Mapping.to_dict`` says it."""
    engine: str
    time_s: float
    kernel_time_s: float
    host_bound_s: float
    transfer_s: float
    hand_over_s: float
    energy_j: float | None
    launches: int
    launches_run: int
    launches_stepped: int
    peak_memory_bytes: dict[str, int]
    by_group: dict[str, dict[str, float]]
    devices: dict[str, dict[str, float]]
    links: dict[str, dict[str, float]]
    captured_for: str
    ineligible: dict[str, dict[str, float]]
    uncertainty: dict[str, Any] = field(default_factory=dict)
    assumed: dict[str, dict[str, float]] = field(default_factory=dict)
    """By assumption that the replay was told to make: how many kernels rest on it (``kernels``), and their ``share`` of kernel time."""
    energy_parts: dict[str, float | None] = field(default_factory=dict)
    """Joules by what they were spent on (`codesign.engine.joules`), None where unknown; they add up to ``energy_j``."""
    kernels: list[dict[str, Any]] = field(default_factory=list)
    """The calls that take most of the kernel time, the longest first (`codesign.engine.heaviest`)."""
    entries: Entries | None = None
    memory: dict[str, Usage] = field(default_factory=dict)
    """Each memory over time, where the replay recorded; not saved."""

    def shares(self, by: str = "family") -> dict[str, float]:
        """Return fractions of the kernel time by 'family', 'phase', 'stage' or 'device', the largest first."""
        if by not in self.by_group:
            raise TraceError(f"shares are by {', '.join(GROUPS)}, but got {by!r}")
        return self.by_group[by]

    def spans(self, *, repeats: int | None = None) -> Spans:
        """Return the operations over time; ``repeats`` limits how often each repeated stretch appears. Raises TraceError without record."""
        if self.entries is None:
            raise TraceError("a timeline has its operations only if the replay recorded them: replay(..., record=True)")
        return self.entries.spans(repeats=repeats)

    def table(self, *, repeats: int | None = None) -> "pd.DataFrame":
        """Return every operation, one a row in launch order: queue, kind, name, family, phase, stage, start and duration in seconds.

        ``repeats`` and errors as for ``spans``.
        """
        import pandas as pd

        spans = self.spans(repeats=repeats)
        queues = np.array([*(self.entries.queues if self.entries else ()), "host"], dtype=object)  # queue -1, the host, is the last
        texts = {name: getattr(spans, name) for name in ("kind", "name", "family", "phase", "stage")}
        return pd.DataFrame({"queue": queues[spans.queue], **texts, "start_s": spans.start_s, "duration_s": spans.end_s - spans.start_s})

    def to_dict(self) -> dict[str, Any]:
        """Return the timeline for JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("by_group", "entries", "memory")}
        entries = None if self.entries is None else self.entries.to_dict()
        return {"kind": KIND, **plain, "shares": self.by_group, "entries": entries}

    @classmethod
    def from_dict(cls, data: Dictionary[str, Any]) -> "Timeline":
        """Return the timeline that ``to_dict`` wrote; other keys are ignored. Raises TraceError if it is none."""
        names = [f.name for f in fields(cls) if f.name not in ("by_group", "entries", "memory")]
        later = {"uncertainty", "assumed", "energy_parts", "kernels"}  # timelines of earlier versions have none
        missing = [name for name in [*names, "shares"] if name not in {*data, *later}]
        if missing:
            raise TraceError(f"a timeline must have the keys that `Timeline.to_dict` writes, but {', '.join(missing)} are missing")
        entries = data.get("entries")
        return cls(
            **{name: data[name] for name in names if name in data},
            by_group=data["shares"],
            entries=None if entries is None else Entries.from_dict(entries),
        )

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write the timeline as one JSON document, whole or not at all."""
        documents.save(path, documents.envelope(KIND, self.to_dict()))

    @classmethod
    def load(cls, path: "str | os.PathLike[str]") -> "Timeline":
        """Read what ``save`` or ``codesign replay -o`` wrote. Raises TraceError if it is no timeline or a newer one."""
        return cls.from_dict(documents.load(path, KIND, "codesign replay -o", TraceError))

    @property
    def power_watts(self) -> float | None:
        """Average power: the energy over the time; None where that is unknown."""
        return None if self.energy_j is None or not self.time_s else self.energy_j / self.time_s

    def __repr__(self) -> str:
        energy = "energy unknown" if self.energy_j is None else show(self.energy_j, "J")
        return (
            f"<Timeline {self.program} on {self.machine}, {self.scheduler}: {show(self.time_s, 's')}, {energy}, {self.launches:,} launches>"
        )

    def _repr_html_(self) -> str:
        """Return the tables that ``codesign replay`` prints."""
        from codesign.engine.rows import timeline_tables
        from traces import html

        return html.beside(timeline_tables(self.to_dict()))


def timeline_of(
    trace: "Trace",
    machine: "Machine",
    mapping: "Mapping",
    program: Program,
    run: Run,
    *,
    engine: str,
    warm: "CostTable",
    costs: "CostTable",
    memory: dict[str, Usage],
    peaks: dict[str, int],
) -> Timeline:
    """Put together what a run of a program found; ``warm`` are prices with everything on one device, ``costs`` those under the mapping."""
    elapsed = run.elapsed_ps / PS
    by_kind = np.bincount(program["kind"], elapsed, minlength=4)
    mine = program["kind"] == KERNEL
    time = run.time_ps / PS
    return Timeline(
        program=trace.program,
        trace=trace.content_hash,
        machine=machine.id,
        hypothetical=machine.hypothetical,
        scheduler=mapping.scheduler,
        mapping=mapping.to_dict(),
        engine=engine,
        time_s=time,
        kernel_time_s=float(by_kind[KERNEL]),
        host_bound_s=run.host_bound_ps / PS,
        transfer_s=float(by_kind[TRANSFER]),
        hand_over_s=float(by_kind[HAND_OVER]),
        energy_j=energy(program, machine, time),
        launches=run.launches_run + run.launches_stepped,
        launches_run=run.launches_run,
        launches_stepped=run.launches_stepped,
        peak_memory_bytes=peaks,
        by_group=_shares(trace, machine, program, elapsed),
        devices=_devices(machine, program, elapsed, time),
        links=_links(machine, program, elapsed, time),
        captured_for=trace.target,
        ineligible=ineligible(trace, machine, warm),
        uncertainty=uncertainty(trace, machine, program, elapsed),
        assumed=assumed(trace, machine, program, elapsed),
        energy_parts=parts(program, machine, costs, trace.kernels["launches"], time),
        kernels=heaviest(trace, program["kernel"][mine], program.executions[mine], elapsed[mine]),
        entries=None if run.records is None else entries_of(program, run.records, trace),
        memory=memory,
    )


def energy(program: Program, machine: "Machine", time_s: float) -> float | None:
    """Return dynamic energy plus static power over the makespan in joules; None if any of it is unknown."""
    if machine.static_watts is None:
        return None
    dynamic = float((program.executions * program["energy"]).sum())
    return None if np.isnan(dynamic) else dynamic + machine.static_watts * time_s


def uncertainty(trace: "Trace", machine: "Machine", program: Program, elapsed: Floats) -> dict[str, Any]:
    """Return how far the kernel time can be off; see `Timeline`."""
    mine = program["kind"] == KERNEL
    kernel, rows = program["kernel"][mine], len(trace.kernels)
    seconds = np.bincount(kernel, elapsed[mine], minlength=rows).astype(np.float64)
    device = np.zeros(rows, np.intp)
    device[kernel] = program.device[mine]
    groups, share = by_group(trace, machine, device, seconds)
    return {"relative": total(groups) / (float(seconds.sum()) or 1.0), "unvalidated_share": share, "by_group": groups}


def ineligible(trace: "Trace", machine: "Machine", costs: "CostTable") -> dict[str, dict[str, float]]:
    """Return by device and reason the share of kernel time, each kernel on the first device that accepts it, that others refuse."""
    weight = costs.duration_s[costs.first_accepting, np.arange(len(trace.kernels))] * trace.executions
    total = float(weight.sum()) or 1.0
    result = {}
    for number, device in enumerate(machine.devices[1:], 1):
        share = np.bincount(costs.refusal[number], weight, minlength=len(costs.reasons[number])) / total
        result[device.id] = {reason: float(share[code]) for code, reason in enumerate(costs.reasons[number]) if code and share[code] > 0}
    return result


def assumed(trace: "Trace", machine: "Machine", program: Program, elapsed: Floats) -> dict[str, dict[str, float]]:
    """Return by assumption how many kernels rest on it where they run, and their share of the kernel time."""
    from arch.work import Work

    mine = program["kind"] == KERNEL
    total, made = float(elapsed[mine].sum()) or 1.0, {}
    for number, device in enumerate(machine.devices):
        if device.assume:
            rows = device.assumed(Work.of(trace))[program["kernel"]] & mine & (program.device == number)
            made[device.assume] = {"kernels": float(len(np.unique(program["kernel"][rows]))), "share": float(elapsed[rows].sum()) / total}
    return made


def _shares(trace: "Trace", machine: "Machine", program: Program, elapsed: Floats) -> dict[str, dict[str, float]]:
    mine = program["kind"] == KERNEL
    weight, kernel = elapsed[mine], program["kernel"][mine]
    groups = {}
    for by in GROUPS[:3]:
        names = [label_of(by, name) for name in trace.kernels.categories(by)]
        groups[by] = _fractions(names, trace.kernels.codes(by)[kernel], weight)
    groups["device"] = _fractions([d.id for d in machine.devices], program.device[mine], weight)
    return groups


def _fractions(names: list[str], codes: np.ndarray, weight: Floats) -> dict[str, float]:
    """Return the fraction of each name that has any, the largest first."""
    sums = np.bincount(codes, weight, minlength=len(names))
    total = sums.sum() or 1.0
    return {names[i]: float(sums[i] / total) for i in np.argsort(-sums, kind="stable") if sums[i] > 0}


def _devices(machine: "Machine", program: Program, elapsed: Floats, time_s: float) -> dict[str, dict[str, float]]:
    rows = {}
    for number, device in enumerate(machine.devices):
        here = program.device == number
        busy = float(elapsed[here & (program["kind"] == KERNEL)].sum())
        handing = float(elapsed[here & (program["kind"] == HAND_OVER)].sum())
        rows[device.id] = {"busy_s": busy, "hand_over_s": handing, "idle_s": max(0.0, time_s - busy - handing)}
    return rows


def _links(machine: "Machine", program: Program, elapsed: Floats, time_s: float) -> dict[str, dict[str, float]]:
    rows = {}
    for queue in range(len(machine.devices), len(program.queues)):
        if program.hardware.guest[queue] or (program.owner is not None and program.owner[queue] >= 0):
            continue
        busy = float(elapsed[program["queue"] == queue].sum())
        rows[program.queues[queue]] = {"busy_s": busy, "idle_s": max(0.0, time_s - busy)}
    return rows
