"""The search for machines and mappings: Optuna proposes, the replay judges."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from codesign.engine.inputs import machine_for, with_all_ranks
from codesign.search import storage as storages
from codesign.search.designs import CANNOT_RUN, Design, Designer
from codesign.search.goal import MEASURES, NAMES, Goal
from codesign.search.result import Result
from codesign.search.space import Space
from codesign.search.summarizing import completed, is_feasible, summarize
from traces.errors import SearchError
from traces.ranks import held

if TYPE_CHECKING:
    import optuna

    from arch.machine import Machine
    from traces.trace import Trace

log = logging.getLogger("codesign")
SINGLE = "single-device"
NEAR_CACHE = "near-cache"
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
        What may vary; by default every parameter of the machine that a designer chooses (``design`` in ``machine.parameters``: those
        of what was added to a GPU, not of the GPU), and every way to map.
    objectives
        One or more of 'time', 'energy', 'power', 'area', 'price', all to be made small. With several the result holds a Pareto front;
        its best is the design of least first objective.
    trials
        Designs to try now. With a ``storage`` that holds trials already they come on top of those.
    seed
        Equal seeds give equal searches, given equal trials in the storage.
    storage
        Path of a journal file, or a database URL (sqlite:///FILE). A run that is killed loses the trial it was at.
    budget
        Upper limits that a design must keep: {'area_mm2': 900.0}, also 'time_s', 'energy_j', 'power_watts', 'price_usd';
        a text has its unit, '150 ms'.
    progress
        Called after each trial with (trials done, trials asked for, best first objective so far or None).

    Raises
    ------
    SearchError
        For an unknown objective, an objective or a budget that the machine does not know, a parameter the machine does not have, a storage
        that cannot be used, or when no design tried keeps the budget.
    """
    machine = machine_for(trace, machine)
    trace, mapped = with_all_ranks(trace, machine, SINGLE)
    goal = Goal.of(objectives, budget or {})
    if trials < 1:
        raise SearchError(f"`trials >= 1` must hold, but got trials={trials}")
    if not 0 <= seed < SEEDS:
        raise SearchError(f"`0 <= seed < 2**32` must hold, but got seed={seed}")
    space = (space or Space()).resolved(machine)
    if isinstance(mapped, str) and mapped != SINGLE:  # a rank's kernels stay on its own devices
        space = replace(space, policies=(mapped, NEAR_CACHE) if len(machine.devices) > held(trace) else (mapped,))
    designer = Designer(trace, machine, space)
    _check_known(designer, goal)
    if not designer.free:
        log.warning("%s", _nothing_varies(machine))
    with storages.quiet(), storages.interruptible():
        study = _study(designer, goal, seed, storage)
        _run(study, designer, goal, trials, progress)
        return summarize(study, designer, goal, seed=seed)


def _nothing_varies(machine: Machine) -> str:
    given = ", ".join(machine.parameters) or "none"
    return (
        f"nothing varies: {machine.id!r} has one device that runs everything and no parameter that is searched by default; "
        f"name some of its parameters (--vary NAME, or Space(machine=...)): {given}"
    )


def _check_known(designer: Designer, goal: Goal) -> None:
    """Raise SearchError if the machine cannot say what an objective or a limit asks for."""
    machine = designer.machine
    for measure in goal.wanted:
        replayed = measure in ("energy_j", "power_watts")
        if getattr(_first_design(designer) if replayed else machine, measure, 0.0) is None:
            raise SearchError(
                f"the {NAMES[measure]} of every part must be known to search for it, but some part of machine {machine.id!r} "
                f"({', '.join(d.id for d in machine.devices)}) has none in the catalogue; search for another objective or add the number"
            )


def _first_design(designer: Designer) -> Design:
    for point in designer.seeds():
        try:
            return designer.design(point, 0)
        except CANNOT_RUN as error:
            reason = error
    raise SearchError(f"some mapping must run on machine {designer.machine.id!r}, but none does: {reason}") from reason


def _study(designer: Designer, goal: Goal, seed: int, storage: str | os.PathLike[str] | None) -> optuna.Study:
    import optuna

    identity = {
        "trace": designer.trace.content_hash,
        "machine": {"id": designer.machine.id, **{name: p.value for name, p in designer.machine.parameters.items()}},
        "objectives": list(goal.measures),
        "budget": dict(goal.limits),
        "space": designer.space.to_dict(),
    }
    study = storages.open_study(storage, optuna.samplers.RandomSampler(seed=seed), len(goal.measures), identity)
    done = len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=(seed + done) % SEEDS)
    if not done:
        for point in designer.seeds():
            study.enqueue_trial(point)
    return study


def _run(study: optuna.Study, designer: Designer, goal: Goal, trials: int, progress: Progress | None) -> None:
    best = min((t.values[0] for t in completed(study) if is_feasible(t)), default=None)
    for done in range(trials):
        found = _try_one(study, designer, goal)
        if found is not None:
            best = found if best is None else min(best, found)
        if progress is not None:
            progress(done + 1, trials, best)


def _try_one(study: optuna.Study, designer: Designer, goal: Goal) -> float | None:
    """Evaluate one more trial; return its first objective, None if it is infeasible."""
    trial = study.ask()
    point = designer.suggest(trial)
    try:
        design = _known(designer.design(point, trial.number), goal)
    except (*CANNOT_RUN, _Unknown) as error:
        trial.set_constraint("runs", 1.0)
        trial.set_user_attr("error", str(error))
        study.tell(trial, [math.inf] * len(goal.measures))
        return None
    for measure in MEASURES.values():
        trial.set_user_attr(measure, getattr(design, measure))
    excess = {name: design.value(name) / limit - 1 for name, limit in goal.limits.items()}
    for name, share in excess.items():
        trial.set_constraint(name, share)
    study.tell(trial, [design.value(measure) for measure in goal.measures])
    return None if any(share > 0 for share in excess.values()) else design.value(goal.measures[0])


class _Unknown(Exception):
    """A design whose area, say, is not known, though that of the machine given is."""


def _known(design: Design, goal: Goal) -> Design:
    unknown = [NAMES[measure] for measure in goal.wanted if getattr(design, measure) is None]
    if unknown:
        raise _Unknown(f"the {' and '.join(unknown)} of the machine is unknown with these parameters")
    return design
