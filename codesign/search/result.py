"""What a search found, and how good that is at best and at worst."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from arch.error_bars import Groups, by_group, of_difference
from codesign.search.bounds import Bound, lower_bound
from codesign.search.designs import CANNOT_RUN, MACHINE, Design, Designer
from schedulers.serial_model import SEMANTICS
from traces import html
from traces.errors import SearchError

if TYPE_CHECKING:
    import optuna

KIND, SCHEMA_VERSION = "result", 1


@dataclass(frozen=True)
class Border:
    """A parameter of the best design that lies on a border of the space: the optimum may be beyond it.

    ``matters`` says whether a step inward, the mapping kept, changes an objective; if not, the parameter lies there by chance.
    """

    parameter: str
    value: float
    side: str
    low: float
    high: float
    matters: bool


@dataclass(frozen=True)
class Tried:
    """One trial: what it took, whether it kept the budget, and which trial of the front beats it in every objective (None: none)."""

    trial: int
    time_s: float | None
    energy_j: float | None
    area_mm2: float | None
    feasible: bool
    dominated_by: int | None


@dataclass(frozen=True)
class Comparison:
    """The best design against another: can the model tell them apart?

    ``difference_s`` is the other's kernel time minus the best's, ``sigma_s`` the standard deviation of that difference; ``told`` says
    that the difference is larger.
    """

    design: str
    difference_s: float
    sigma_s: float
    told: bool


@dataclass(frozen=True)
class Result:
    """The outcome of ``explore``. Times are seconds of a full replay, except ``exact_partition_s``.

    Parameters
    ----------
    best, pareto
        The design of least first objective, and all that no other design beats in every objective, among those within the budget.
    best_single_device_s
        The best time with everything on one device, on the machine given or the best design's.
    lower_bound_s, lower_bound_method, lower_bound_parts
        What no design of the space can beat, by which method, and what every method gave. None: nothing could be proven.
    bound_gap
        best.time_s / lower_bound_s - 1.
    exact_partition_s, partition_gap
        The proven optimum over all mappings on the best design's machine, and by how much the best design's mapping is above it, both
        under the model that ``semantics`` names, not under replay.
    on_border
        Parameters of the best design that lie on a border of the space.
    told_apart
        The best design against the others of the front and the best single device: which differences are more than the model's error.
    tried, cannot_run
        Every trial, and why some could not run: message to number of trials.
    """

    program: str
    captured_for: str
    trace: str
    machine: str
    hypothetical: bool
    objectives: tuple[str, ...]
    budget: dict[str, float]
    seed: int
    trials: int
    best: Design
    pareto: tuple[Design, ...]
    tried: tuple[Tried, ...]
    best_single_device_s: float | None
    best_single_device: str
    lower_bound_s: float | None
    lower_bound_method: str
    lower_bound_parts: dict[str, float]
    bound_gap: float | None
    exact_partition_s: float
    partition_gap: float
    semantics: str
    on_border: tuple[Border, ...]
    cannot_run: dict[str, int]
    space: dict[str, Any]
    told_apart: tuple[Comparison, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        lists = {name: [dataclasses.asdict(x) for x in getattr(self, name)] for name in ("tried", "on_border", "told_apart")}
        designs = {"best": self.best.to_dict(), "pareto": [design.to_dict() for design in self.pareto]}
        return {"kind": KIND, **self.__dict__, "objectives": list(self.objectives), **lists, **designs}

    @classmethod
    def from_dict(cls, data: Dictionary[str, Any]) -> Result:
        """Return the result that ``to_dict`` wrote; other keys are ignored. Raises SearchError if it is none."""
        try:
            given = {field.name: data[field.name] for field in dataclasses.fields(cls) if field.name != "told_apart"}
            given["objectives"] = tuple(data["objectives"])
            given["best"] = Design.from_dict(data["best"])
            given["pareto"] = tuple(Design.from_dict(d) for d in data["pareto"])
            given["tried"] = tuple(Tried(**t) for t in data["tried"])
            given["told_apart"] = tuple(Comparison(**c) for c in data.get("told_apart", ()))  # results of version 0.1 have none
            given["on_border"] = tuple(Border(**b) for b in data["on_border"])
        except (KeyError, TypeError, ValueError) as error:
            raise SearchError(f"a result must have the keys that `Result.to_dict` writes, but {error} is missing or wrong") from error
        return cls(**given)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as one JSON document, whole or not at all."""
        from importlib.metadata import version

        from codesign.files import write

        head = {"kind": KIND, "schema_version": SCHEMA_VERSION, "codesign_version": version("codesign"), "command": [], "seed": self.seed}
        write(Path(path), json.dumps(head | self.to_dict(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Read what ``save`` or ``codesign explore -o`` wrote. Raises SearchError if it is no result or a newer one."""
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SearchError(f"a result must be a JSON document, but {path} cannot be read as one: {error}") from error
        if not isinstance(document, dict) or document.get("kind") != KIND:
            raise SearchError(f"a document of kind {KIND!r} is needed, but {path} is none; make one with `codesign explore -o`")
        if document.get("schema_version", 0) > SCHEMA_VERSION:
            raise SearchError(
                f"schema_version must be at most {SCHEMA_VERSION}, but {path} has {document['schema_version']}: upgrade codesign"
            )
        return cls.from_dict(document)

    def __repr__(self) -> str:
        return f"<Result {self.program} on {self.machine}: best {self.best.time_s:.6g} s of {self.trials} trials, seed {self.seed}>"

    def _repr_html_(self) -> str:
        facts = [(name, "unknown" if value is None else value) for name, value in self._facts().items()]
        columns = ("trial", "time_s", "energy_j", "area_mm2")
        rows = [[*(_shown(getattr(d, c)) for c in columns), _pairs(d.machine), _pairs(d.policy)] for d in self.pareto]
        return html.table(("", ""), facts, f"{self.program} on {self.machine}") + html.table(
            (*columns, "machine", "policy"), rows, "designs that no other beats"
        )

    def _facts(self) -> dict[str, Any]:
        borders = ", ".join(f"{b.parameter} = {b.value:g} ({b.side})" for b in self.on_border)
        return {
            "best, s": self.best.time_s,
            "best single device, s": self.best_single_device_s,
            "lower bound, s": self.lower_bound_s,
            "gap to the bound": self.bound_gap,
            "exact partition (serial model), s": self.exact_partition_s,
            "gap to it (serial model)": self.partition_gap,
            "on a border of the space": borders or "none",
            "trials": self.trials,
            "seed": self.seed,
        }


def _shown(value: float | None) -> float | str:
    return "unknown" if value is None else value


def _pairs(values: Dictionary[str, Any]) -> str:
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())


def summarize(study: optuna.Study, designer: Designer, *, measures: list[str], budget: dict[str, float], seed: int) -> Result:
    """Return the result of the trials that ``study`` holds. Raises SearchError if none of them is feasible."""
    done = completed(study)
    feasible = [trial for trial in done if is_feasible(trial)]
    if not feasible:
        raise SearchError(_none_feasible(done, budget))
    front = _front(feasible)
    pareto = tuple(designer.design(trial.params, trial.number) for trial in front)
    best = min(pareto, key=lambda design: [design.value(measure) for measure in measures])
    kept = {trial.number for trial in feasible}
    trace, machine = designer.trace, designer.machine
    bound = _sound(lower_bound(trace, machine, designer.space), min(t.user_attrs["time_s"] for t in feasible))
    single_design, device = _best_single(designer, best)
    single = None if single_design is None else single_design.time_s
    exact, gap = _partition(designer, best)
    return Result(
        program=trace.program,
        captured_for=trace.target,
        trace=trace.content_hash,
        machine=machine.id,
        hypothetical=machine.hypothetical,
        objectives=tuple(measures),
        budget=budget,
        seed=seed,
        trials=len(done),
        best=best,
        pareto=pareto,
        tried=tuple(_tried(trial, trial.number in kept, front) for trial in done),
        best_single_device_s=single,
        best_single_device=device,
        lower_bound_s=bound.seconds,
        lower_bound_method=bound.method,
        lower_bound_parts=bound.parts,
        bound_gap=best.time_s / bound.seconds - 1 if bound.seconds else None,
        exact_partition_s=exact,
        partition_gap=gap,
        semantics=SEMANTICS,
        cannot_run=dict(Counter(t.user_attrs["error"] for t in done if "error" in t.user_attrs)),
        on_border=_borders(designer, best, measures),
        space=designer.space.to_dict(),
        told_apart=_told_apart(designer, best, pareto, single_design),
    )


def completed(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that were evaluated, in the order in which they began."""
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def is_feasible(trial: optuna.trial.FrozenTrial) -> bool:
    """Return whether a design could run and kept the budget."""
    return all(value <= 0 for value in trial.constraints.values())


def _none_feasible(done: list[optuna.trial.FrozenTrial], budget: dict[str, float]) -> str:
    nearest = {name: min((t.user_attrs[name] for t in done if name in t.user_attrs), default=math.nan) for name in budget}
    errors = {t.user_attrs["error"] for t in done if "error" in t.user_attrs}
    limits = ", ".join(f"{name} <= {limit:g} (least tried: {nearest[name]:g})" for name, limit in budget.items())
    failed = f"; {len(errors)} kinds of designs cannot run, such as: {sorted(errors)[0]}" if errors else ""
    return f"some design must keep the budget, but none of {len(done)} does: {limits or 'no budget'}{failed}"


def _front(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that no other one beats, by the first objective; of equal ones the first."""
    values = np.array([trial.values for trial in trials])
    _, first = np.unique(values, axis=0, return_index=True)
    kept = [int(i) for i in first if not _dominates(values, values[i]).any()]
    return [trials[i] for i in kept]


def _dominates(values: npt.NDArray[np.float64], one: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which rows of ``values`` are at least as good as ``one`` in everything and better in something."""
    return np.asarray(np.all(values <= one, axis=1) & np.any(values < one, axis=1))


def _tried(trial: optuna.trial.FrozenTrial, feasible: bool, front: list[optuna.trial.FrozenTrial]) -> Tried:
    beats = _dominates(np.array([t.values for t in front]), np.array(trial.values)) if feasible else np.zeros(len(front), dtype=bool)
    by = front[int(beats.argmax())].number if beats.any() else None
    time_s, energy_j, area_mm2 = (trial.user_attrs.get(name) for name in ("time_s", "energy_j", "area_mm2"))
    return Tried(trial.number, time_s, energy_j, area_mm2, feasible, by)


def _sound(bound: Bound, best_s: float) -> Bound:
    """Return the bound, or none if a design is better than it, which can only be if prices are not monotone."""
    if bound.seconds is not None and best_s < bound.seconds * (1 - 1e-9):
        return Bound(None, "none: a design of the search is faster, so prices are not monotone in the parameters that vary", bound.parts)
    return bound


def _best_single(designer: Designer, best: Design) -> tuple[Design | None, str]:
    """Return the fastest design with everything on one device, on the machine given or the best design's, and the device."""
    given = {name: limits.clip(designer.machine.parameters[name].value) for name, limits in designer.space.ranges.items()}
    found: list[tuple[Design, str]] = []
    for overrides in (given, best.machine):
        for device in designer.whole_devices:
            point = {MACHINE + name: value for name, value in overrides.items()} | {"policy": "single-device", "device": device}
            try:
                found.append((designer.design(point, best.trial), device))
            except CANNOT_RUN:
                continue
    return min(found, key=lambda one: (one[0].time_s, one[1]), default=(None, ""))


def _told_apart(designer: Designer, best: Design, pareto: tuple[Design, ...], single: Design | None) -> tuple[Comparison, ...]:
    """Compare the best design with the rest of the front and with the best single device."""
    others = [(f"trial {design.trial}", design) for design in pareto if design is not best]
    others += [] if single is None else [("single device", single)]
    own_s, own = _errors(designer, best)
    found = []
    for name, design in others:
        seconds, groups = _errors(designer, design)
        sigma = of_difference(groups, own)
        found.append(Comparison(name, seconds - own_s, sigma, abs(seconds - own_s) > sigma))
    return tuple(found)


def _errors(designer: Designer, design: Design) -> tuple[float, Groups]:
    """Return the kernel time of a design and its standard deviations by device and family."""
    machine, costs = designer.priced(design.machine)
    device = np.asarray(design.mapping.device, dtype=np.intp)
    seconds = costs.duration_s[device, np.arange(len(device))] * designer.trace.executions
    return float(seconds.sum()), by_group(designer.trace, machine, device, seconds)[0]


def _partition(designer: Designer, best: Design) -> tuple[float, float]:
    """Return the exact optimum under the serial model on the best design's machine, and how far its mapping is above it."""
    from schedulers.cut_points import mapping_cost, partition

    machine, costs = designer.priced(best.machine)
    exact = partition(designer.trace, machine, costs).serial_s
    own = mapping_cost(designer.trace, machine, costs, best.mapping)
    same = math.isclose(own, exact, rel_tol=1e-12)
    return exact, 0.0 if same else own / exact - 1


def _borders(designer: Designer, best: Design, measures: list[str]) -> tuple[Border, ...]:
    """Return where the best design lies on a border of the space."""
    found = []
    for name, limits in designer.space.ranges.items():
        value = best.machine[name]
        side = limits.side(value) if limits.open else None
        if side:
            matters = _differs(designer, best, {**best.machine, name: limits.inward(value)}, measures)
            found.append(Border(name, value, side, limits.low, limits.high, matters))
    return tuple(found)


def _differs(designer: Designer, best: Design, machine: dict[str, float], measures: list[str]) -> bool:
    """Return whether the best design's mapping does better or worse on another machine of the space."""
    try:
        other = designer.evaluate(machine, best.mapping, best.policy, best.trial)
    except CANNOT_RUN:
        return True
    return any(other.value(measure) != best.value(measure) for measure in measures)
