"""The answer to 'why did it take that long': the critical path by what it is made of, and what each change would buy."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.engine.inputs import machine_for, with_all_ranks
from codesign.engine.program import KERNEL, KINDS, PS
from codesign.explaining.limits import limits
from codesign.explaining.sensitivity import Sensitivity, Size, sensitivities, sizes
from codesign.explaining.variants import Baseline
from traces.errors import CodesignError
from traces.si import show
from traces.summary import label_of

if TYPE_CHECKING:
    from arch.machine import Machine
    from schedulers.scheduler import Mapping, Scheduler
    from traces.trace import Trace

KIND = "explanation"
FACTOR = 2.0
GROUPS = ("family", "phase", "stage")
UNNAMED = label_of("phase", "")
"""Kernels of no phase or stage are no group that anybody could make faster."""
SMALL = 0.005
"""Groups with less than this share of the path are not replayed faster: they cannot buy more than that."""


@dataclass(frozen=True)
class Gain:
    """Some kernels twice as fast: the time of a replay, and what it buys (1 - new / old)."""

    by: str
    name: str
    share_of_path: float
    time_s: float
    gain: float


@dataclass(frozen=True)
class Explanation:
    """Why a replay took ``time_s``. All times in seconds.

    Parameters
    ----------
    path
        The critical path by what lies on it, as fractions of ``time_s``: by 'queue' (devices, links, 'host'), by 'kind', and its kernels
        by 'family', 'phase', 'stage' and 'limit' (the longest term of their price).
        ``path_unknown_s`` is what nothing explains, 0 unless resources were shared.
    ties
        Places on the path where another path was as long.
    gains
        What making a group of kernels twice as fast buys, by replay.
    parameters, sizes
        How the time depends on continuous parameters of the machine, and on the next values of discrete ones.
    """

    program: str
    machine: str
    hypothetical: bool
    scheduler: str
    time_s: float
    operations_on_path: int
    ties: int
    path_unknown_s: float
    path: dict[str, dict[str, float]]
    gains: tuple[Gain, ...]
    parameters: tuple[Sensitivity, ...]
    sizes: tuple[Size, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation for JSON."""
        return {"kind": KIND, **asdict(self)}

    def __repr__(self) -> str:
        best = max(self.gains, key=lambda gain: gain.gain, default=None)
        first = f"; twice as fast {best.by} {best.name} buys {100 * best.gain:.1f} %" if best else ""
        return f"<Explanation {self.program} on {self.machine}: {show(self.time_s, 's')}{first}>"

    def _repr_html_(self) -> str:
        """Return the tables that ``codesign explain`` prints."""
        from codesign.explaining.rows import explanation_tables
        from traces import html

        return html.beside(explanation_tables(self.to_dict()))


def explain(
    trace: "Trace",
    machine: "Machine | str",
    scheduler: "str | Scheduler | Mapping" = "single-device",
    *,
    progress: Callable[[str], None] | None = None,
) -> Explanation:
    """Say why ``trace`` takes as long as it does on ``machine``, and what would shorten it.

    Every launch is replayed once to find the critical path; what a change buys is a replay of its own under the same mapping.

    Parameters
    ----------
    machine, scheduler
        As for `replay`.
    progress
        Called with what is being worked out.

    Raises
    ------
    CodesignError
        As for `replay`; also if the trace has more operations than a path can be looked for in.
    """
    machine = machine_for(trace, machine)
    say = progress or (lambda _: None)
    if not len(trace.kernels):
        raise CodesignError("a trace must have kernels to be explained, but this one is empty")
    trace, scheduler = with_all_ranks(trace, machine, scheduler)
    say("critical path")
    base = Baseline.of(trace, machine, scheduler)
    time_s = base.time_ps / PS
    path = _path(base)
    say("kernels twice as fast")
    gains = _gains(base, path)
    say("parameters of the machine")
    return Explanation(
        program=trace.program,
        machine=machine.id,
        hypothetical=machine.hypothetical,
        scheduler=base.mapping.scheduler,
        time_s=time_s,
        operations_on_path=int(base.path.on_path.sum()),
        ties=base.path.ties,
        path_unknown_s=base.path.unknown_ps / PS,
        path=path,
        gains=gains,
        parameters=tuple(sensitivities(base)),
        sizes=tuple(sizes(base)),
    )


def _path(base: Baseline) -> dict[str, dict[str, float]]:
    """Return the path's parts as fractions of the makespan."""
    program, path = base.program, base.path
    total = float(base.time_ps) or 1.0
    host = path.host_ps(program)
    queues = (*program.queues, "host")
    by_queue = np.bincount(program["queue"] % len(queues), path.elapsed_ps, minlength=len(queues))
    by_queue[-1] += host
    by_kind = np.bincount(program["kind"], path.elapsed_ps, minlength=len(KINDS))
    found = {"queue": _fractions(queues, by_queue / total), "kind": _fractions((*KINDS, "issue"), np.append(by_kind, host) / total)}
    mine = program["kind"] == KERNEL
    for by in GROUPS:
        names = [label_of(by, name) for name in base.trace.kernels.categories(by)]
        codes = base.trace.kernels.codes(by)[program["kernel"][mine]]
        found[by] = _fractions(names, np.bincount(codes, path.elapsed_ps[mine], minlength=len(names)) / total)
    bound, code = np.unique(limits(base.trace, base.machine, base.mapping).astype(str), return_inverse=True)
    seconds = np.bincount(code[program["kernel"][mine]], path.elapsed_ps[mine], minlength=len(bound))
    found["limit"] = _fractions([str(name) for name in bound], seconds / total)
    return found


def _fractions(names: "tuple[str, ...] | list[str]", shares: np.ndarray) -> dict[str, float]:
    """Return the share of each name that has any, the largest first."""
    return {names[i]: float(shares[i]) for i in np.argsort(-shares, kind="stable") if shares[i] > 0}


def _gains(base: Baseline, path: dict[str, dict[str, float]]) -> tuple[Gain, ...]:
    """Return what making each family, phase and stage on the path twice as fast buys, the largest first."""
    found, kernels = [], base.trace.kernels
    for by in GROUPS:
        labels = np.array([label_of(by, name) for name in kernels.categories(by)], dtype=object)[kernels.codes(by)]
        for name, share in path[by].items():
            group = share >= SMALL and name != UNNAMED
            time_s = base.faster(labels == name, FACTOR) if group else None
            if time_s is not None:
                found.append(Gain(by, name, share, time_s, 1 - time_s / (base.time_ps / PS)))
    return tuple(sorted(found, key=lambda gain: -gain.gain))
