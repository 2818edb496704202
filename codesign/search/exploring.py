"""The search for machines and mappings: Optuna proposes, the replay judges."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from arch import units
from codesign.engine.inputs import machine_for
from codesign.search import storage as storages
from codesign.search.designs import CANNOT_RUN, Design, Designer
from codesign.search.result import Result
from codesign.search.space import Space
from codesign.search.summarizing import completed, is_feasible, summarize
from traces.errors import MachineError, SearchError, nearest

if TYPE_CHECKING:
    import optuna

    from arch.machine import Machine
    from traces.trace import Trace

MEASURES = {"time": "time_s", "energy": "energy_j", "area": "area_mm2"}
UNITS = {"time_s": "s", "energy_j": "J", "area_mm2": "mm2"}
SEEDS = 2**32
"""How many seeds there are: NumPy's generators, which Optuna's samplers draw from, take 32 bits."""
Progress = Callable[[int, int, float | None], None]


def explore(
    trace: Trace,
    machine: Machine | str,
    *,
    space: Space | None = None,
    objectives: Sequence[str] = ("time",),
    trials: int = 100,
    seed: int = 0,
    storage: str | os.PathLike[str] | None = None,
    budget: Mapping[str, float | str] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Search for the machine and the mapping that run ``trace`` best.

    Parameters
    ----------
    machine
        A machine, or its name as `codesign.machine` takes it.
    space
        What may vary; by default everything that ``machine.parameters`` declares, and every way to map.
    objectives
        One or more of 'time', 'energy', 'area', all to be made small. With several the result holds a Pareto front; its best is the
        design of least first objective.
    trials
        Designs to try now. With a ``storage`` that holds trials already they come on top of those.
    seed
        Equal seeds give equal searches, given equal trials in the storage.
    storage
        Path of a journal file, or a database URL (sqlite:///FILE). A run that is killed loses the trial it was at.
    budget
        Upper limits that a design must keep: {'area_mm2': 900.0}, also 'time_s' and 'energy_j'; a text has its unit, '150 ms'.
    progress
        Called after each trial with (trials done, trials asked for, best first objective so far or None).

    Raises
    ------
    SearchError
        For an unknown objective, an objective or a budget of unknown energy or area, a parameter the machine does not have, a storage
        that cannot be used, or when no design tried keeps the budget.
    """
    machine = machine_for(trace, machine)
    limits = _checked_budget(budget or {})
    measures = _measures(objectives)
    if trials < 1:
        raise SearchError(f"`trials >= 1` must hold, but got trials={trials}")
    if not 0 <= seed < SEEDS:
        raise SearchError(f"`0 <= seed < 2**32` must hold, but got seed={seed}")
    space = (space or Space()).resolved(machine)
    designer = Designer(trace, machine, space)
    _check_known(designer, {*measures, *limits})
    with storages.quiet():
        study = _study(designer, measures, limits, seed, storage)
        _run(study, designer, measures, limits, trials, progress)
        return summarize(study, designer, measures=measures, budget=limits, seed=seed)


def _measures(objectives: Sequence[str]) -> list[str]:
    names = [objectives] if isinstance(objectives, str) else list(objectives)
    for name in names:
        if name not in MEASURES:
            raise SearchError(f"there is no objective {name!r}; {nearest(name, MEASURES)}")
    if not names or len(set(names)) < len(names):
        raise SearchError(f"objectives must be one or more, each named once, but got {names}")
    return [MEASURES[name] for name in names]


def _checked_budget(budget: Mapping[str, float | str]) -> dict[str, float]:
    """Return the limits in s, J and mm2; a text has its unit."""
    limits: dict[str, float] = {}
    for name, limit in budget.items():
        if name not in UNITS:
            raise SearchError(f"there is no budget {name!r}; {nearest(name, UNITS)}")
        try:
            limits[name] = units.parse(limit, UNITS[name], f"the budget {name}") if isinstance(limit, str) else float(limit)
        except MachineError as error:
            raise SearchError(str(error)) from error
        if not 0 < limits[name] < math.inf:
            raise SearchError(f"a budget must be positive and finite, but got {name}={limit}")
    return limits


def _check_known(designer: Designer, wanted: set[str]) -> None:
    """Raise SearchError if the machine cannot say what an objective or a budget asks for."""
    if "area_mm2" in wanted and designer.machine.area_mm2 is None:
        raise SearchError(_unknown("area", designer.machine))
    if "energy_j" in wanted and _first_design(designer).energy_j is None:
        raise SearchError(_unknown("energy", designer.machine))


def _unknown(what: str, machine: Machine) -> str:
    return (
        f"the {what} of every part must be known to search for it, but some part of machine {machine.id!r} "
        f"({', '.join(d.id for d in machine.devices)}) has none in the catalogue; search for another objective or add the number"
    )


def _first_design(designer: Designer) -> Design:
    for point in designer.seeds():
        try:
            return designer.design(point, 0)
        except CANNOT_RUN as error:
            reason = error
    raise SearchError(f"some mapping must run on machine {designer.machine.id!r}, but none does: {reason}") from reason


def _study(
    designer: Designer, measures: list[str], limits: dict[str, float], seed: int, storage: str | os.PathLike[str] | None
) -> optuna.Study:
    import optuna

    identity = {
        "trace": designer.trace.content_hash,
        "machine": {"id": designer.machine.id, **{name: p.value for name, p in designer.machine.parameters.items()}},
        "objectives": measures,
        "budget": limits,
        "space": designer.space.to_dict(),
    }
    study = storages.open_study(storage, optuna.samplers.RandomSampler(seed=seed), len(measures), identity)
    done = len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=(seed + done) % SEEDS)
    if not done:
        for point in designer.seeds():
            study.enqueue_trial(point)
    return study


def _run(
    study: optuna.Study, designer: Designer, measures: list[str], limits: dict[str, float], trials: int, progress: Progress | None
) -> None:
    best = min((t.values[0] for t in completed(study) if is_feasible(t)), default=None)
    for done in range(trials):
        found = _try_one(study, designer, measures, limits)
        if found is not None:
            best = found if best is None else min(best, found)
        if progress is not None:
            progress(done + 1, trials, best)


def _try_one(study: optuna.Study, designer: Designer, measures: list[str], limits: dict[str, float]) -> float | None:
    """Evaluate one more trial; return its first objective, None if it is infeasible."""
    trial = study.ask()
    point = designer.suggest(trial)
    try:
        design = designer.design(point, trial.number)
    except CANNOT_RUN as error:
        trial.set_constraint("runs", 1.0)
        trial.set_user_attr("error", str(error))
        study.tell(trial, [math.inf] * len(measures))
        return None
    for measure in MEASURES.values():
        trial.set_user_attr(measure, getattr(design, measure))
    excess = {name: design.value(name) / limit - 1 for name, limit in limits.items()}
    for name, share in excess.items():
        trial.set_constraint(name, share)
    study.tell(trial, [design.value(measure) for measure in measures])
    return None if any(share > 0 for share in excess.values()) else design.value(measures[0])
