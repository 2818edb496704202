"""What the trials of a search come to: the best design, the front, what bounds it, and how far it can be told from others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from arch.error_bars import Groups, by_group, of_difference
from codesign.search.bounds import Bound, lower_bound
from codesign.search.designs import CANNOT_RUN, MACHINE, POLICY, Design, Designer
from codesign.search.goal import MEASURES, Goal
from codesign.search.result import Border, Comparison, Result, Tried
from schedulers.serial_model import SEMANTICS
from traces.errors import SearchError

if TYPE_CHECKING:
    import optuna


def summarize(study: optuna.Study, designer: Designer, goal: Goal, *, seed: int) -> Result:
    """Return the result of the trials that ``study`` holds. Raises SearchError if none of them is feasible."""
    done = completed(study)
    feasible = [trial for trial in done if is_feasible(trial)]
    if not feasible:
        raise SearchError(_none_feasible(done, goal.limits))
    front = _front(feasible)
    pareto = tuple(designer.design(trial.params, trial.number) for trial in front)
    best = min(pareto, key=lambda design: [design.value(measure) for measure in goal.measures])
    kept = {trial.number for trial in feasible}
    trace, machine = designer.trace, designer.machine
    limit = goal.limits.get("area_mm2", math.inf)
    bound = _sound(lower_bound(trace, machine, designer.space, limit), min(t.user_attrs["time_s"] for t in feasible))
    single_design, device = _best_single(designer, best, goal.limits)
    single = None if single_design is None else single_design.time_s
    exact, gap = _partition(designer, best)
    return Result(
        program=trace.program,
        captured_for=trace.target,
        trace=trace.content_hash,
        machine=machine.id,
        hypothetical=any(designer.machine_of(design).hypothetical for design in pareto),
        objectives=goal.measures,
        budget=dict(goal.limits),
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
        on_border=_borders(designer, best, goal.measures),
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


def _none_feasible(done: list[optuna.trial.FrozenTrial], budget: Mapping[str, float]) -> str:
    nearest = {name: min((t.user_attrs[name] for t in done if name in t.user_attrs), default=math.nan) for name in budget}
    errors = {t.user_attrs["error"] for t in done if "error" in t.user_attrs}
    limits = ", ".join(f"{name} <= {limit:g} (least tried: {nearest[name]:g})" for name, limit in budget.items())
    if not limits:
        return f"some design must run, but none of {len(done)} does: {sorted(errors)[0] if errors else 'the reason is not known'}"
    failed = f"; {len(errors)} kinds of designs cannot run, such as: {sorted(errors)[0]}" if errors else ""
    return f"some design must keep the budget, but none of {len(done)} does: {limits}{failed}"


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
    taken = {name: trial.user_attrs.get(name) for name in MEASURES.values()}
    machine = {name.removeprefix(MACHINE): value for name, value in trial.params.items() if name.startswith(MACHINE)}
    return Tried(trial.number, **taken, feasible=feasible, dominated_by=by, machine=machine, policy=trial.params[POLICY])


def _sound(bound: Bound, best_s: float) -> Bound:
    """Return the bound, or none if a design is better than it, which can only be if prices are not monotone."""
    if bound.seconds is not None and best_s < bound.seconds * (1 - 1e-9):
        return Bound(None, "none: a design of the search is faster, so prices are not monotone in the parameters that vary", bound.parts)
    return bound


def _best_single(designer: Designer, best: Design, budget: Mapping[str, float]) -> tuple[Design | None, str]:
    """Return the fastest design with everything on one device, on the machine given or the best design's, and the device.

    None and '' where no such design runs and keeps the budget.
    """
    given = {name: limits.clip(designer.machine.parameters[name].value) for name, limits in designer.space.ranges.items()}
    found: list[tuple[Design, str]] = []
    for overrides in (given, best.machine):
        for device in designer.whole_devices:
            point = {MACHINE + name: value for name, value in overrides.items()} | {"policy": "single-device", "device": device}
            try:
                design = designer.design(point, best.trial)
            except CANNOT_RUN:
                continue
            if all(design.value(measure) <= limit for measure, limit in budget.items()):
                found.append((design, device))
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


def _borders(designer: Designer, best: Design, measures: tuple[str, ...]) -> tuple[Border, ...]:
    """Return where the best design lies on a border of the space."""
    found = []
    for name, limits in designer.space.ranges.items():
        value = best.machine[name]
        side = limits.side(value) if limits.open else None
        if side:
            matters = _differs(designer, best, {**best.machine, name: limits.inward(value)}, measures)
            found.append(Border(name, value, side, limits.low, limits.high, matters))
    return tuple(found)


def _differs(designer: Designer, best: Design, machine: dict[str, float], measures: tuple[str, ...]) -> bool:
    """Return whether the best design's mapping does better or worse on another machine of the space."""
    try:
        other = designer.evaluate(machine, best.mapping, best.policy, best.trial)
    except CANNOT_RUN:
        return True
    return any(other.value(measure) != best.value(measure) for measure in measures)
