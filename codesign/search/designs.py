"""From a point of the search space to a design: the machine, the mapping, and what they take and cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from codesign.engine.inputs import checked
from codesign.search.groups import Groups
from codesign.search.space import GROUPS, Range, Space
from schedulers.scheduler import Mapping, Scheduler, refusal_message
from traces import registry
from traces.errors import CapacityError, MachineError, MappingError, SearchError

if TYPE_CHECKING:
    import optuna

    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace

Point = dict[str, Any]
"""A point of the space: 'policy' and its parameters, 'machine.NAME', 'group.NAME'."""
POLICY, MACHINE, GROUP = "policy", "machine.", "group."
PARAMETERS = {"single-device": "device", "intensity-threshold": "threshold", "cut-points": "bytes_weight"}
"""The parameter of a policy that a search draws; policies that are not here run with their defaults."""
STARTS = {"threshold": (1.0,), "bytes_weight": (1.0, 0.1, 0.01, 0.001)}
"""Values of parameters that a search begins with."""
MOST_CORNERS = 256
"""Corners of the space that are priced at most to find a favourable one to begin at."""


@dataclass(frozen=True)
class Design:
    """One design and what a replay makes of it. ``machine`` holds the parameters that the search set, ``policy`` how it mapped.

    ``energy_j``, ``power_watts`` (its average), ``area_mm2`` and ``price_usd`` are None where unknown.
    """

    trial: int
    time_s: float
    energy_j: float | None
    area_mm2: float | None
    price_usd: float | None
    machine: dict[str, float]
    policy: dict[str, Any]
    mapping: Mapping

    @property
    def power_watts(self) -> float | None:
        """Average power of a step: its energy over its time."""
        return None if self.energy_j is None or not self.time_s else self.energy_j / self.time_s

    def to_dict(self) -> dict[str, Any]:
        """Return the design for JSON."""
        return {**self.__dict__, "power_watts": self.power_watts, "mapping": self.mapping.to_dict()}

    @classmethod
    def from_dict(cls, data: Dictionary[str, Any]) -> Design:
        """Return the design that ``to_dict`` wrote."""
        given = {name: value for name, value in data.items() if name != "power_watts"}
        return cls(**{"price_usd": None, **given, "mapping": Mapping.from_dict(data["mapping"])})  # version 0.3 knew no prices

    def value(self, measure: str) -> float:
        """Return one of 'time_s', 'energy_j', 'power_watts', 'area_mm2', 'price_usd'; NaN where unknown."""
        found = getattr(self, measure)
        return float("nan") if found is None else float(found)


class Designer:
    """Draws points of a resolved space for one trace and machine, and builds and evaluates the designs they stand for."""

    def __init__(self, trace: Trace, machine: Machine, space: Space) -> None:
        self.trace, self.machine, self.space = trace, machine, space
        self._priced: dict[tuple[float, ...], tuple[Machine, CostTable]] = {}

    @cached_property
    def groups(self) -> Groups:
        """The groups of kernels of the space."""
        return Groups.of(self.trace, self.space.group_by)

    @cached_property
    def choices(self) -> dict[str, list[str]]:
        """For each group that has a choice, the devices it may go to."""
        return self.groups.choices(self.machine, self.priced({})[1])

    @cached_property
    def whole_devices(self) -> list[str]:
        """The devices that accept every kernel of the trace."""
        costs = self.priced({})[1]
        return [d.id for d, codes in zip(self.machine.devices, costs.refusal, strict=True) if not codes.any()]

    @cached_property
    def policies(self) -> list[str]:
        """The policies that can map: one device for all only where some device accepts every kernel. Raises SearchError without any."""
        able = [name for name in self.space.by_name if PARAMETERS.get(name) != "device" or self.whole_devices]
        if not able:
            raise SearchError(
                f"some device of {self.machine.id!r} must accept every kernel for all to run on one, but {self._refusals()}; let other "
                "policies map, such as 'cut-points', on a machine that has a device for each kernel"
            )
        return able

    def _refusals(self) -> str:
        """Say of every device which kernel it refuses first, and why."""
        costs = self.priced({})[1]
        first = [(device, int(codes.argmax()), int((codes != 0).sum())) for device, codes in enumerate(costs.refusal != 0)]
        return "; ".join(refusal_message(self.trace, self.machine, costs, device, row, more - 1) for device, row, more in first)

    @cached_property
    def free(self) -> bool:
        """Whether two points of the space can be different designs."""
        mapped = len(self.machine.devices) > 1
        return mapped or any(limits.open for limits in self.space.ranges.values())

    def suggest(self, trial: optuna.Trial) -> Point:
        """Draw a point, only what its policy needs."""
        for name, limits in self.space.ranges.items():
            if limits.choices:
                trial.suggest_categorical(MACHINE + name, limits.choices)
            elif limits.whole:
                trial.suggest_int(MACHINE + name, int(limits.low), int(limits.high))
            else:
                trial.suggest_float(MACHINE + name, limits.low, limits.high, log=limits.log)
        policy = trial.suggest_categorical(POLICY, self.policies)
        parameter = PARAMETERS.get(policy)
        if parameter == "device":
            trial.suggest_categorical(parameter, self.whole_devices)
        elif parameter:
            limits = getattr(self.space, parameter)
            trial.suggest_float(parameter, limits.low, limits.high, log=limits.log)
        elif policy == GROUPS:
            for name, devices in self.choices.items():
                trial.suggest_categorical(GROUP + name, devices)
        return trial.params

    def seeds(self) -> list[Point]:
        """Return points to begin with: the machine as it is, then at its most favourable corner, under every policy of the space."""
        given = {name: limits.clip(self.machine.parameters[name].value) for name, limits in self.space.ranges.items()}
        machines = [given] + [corner for corner in [self._favourable_corner()] if corner not in (None, given)]
        points = []
        for overrides in machines:
            base = {MACHINE + name: value for name, value in (overrides or {}).items()}
            for policy in self.policies:
                points += [base | {POLICY: policy} | start for start in self._starts(policy, overrides or {})]
        return points

    def _favourable_corner(self) -> dict[str, float] | None:
        """Return the corner of the space where cut points promise most if few bytes move; None if corners are too many."""
        from schedulers.cut_points import partition

        ends = {name: sorted({limits.low, limits.high}) for name, limits in self.space.ranges.items()}
        if math.prod(len(e) for e in ends.values()) > MOST_CORNERS:
            return None
        corners = [dict(zip(ends, corner, strict=True)) for corner in itertools.product(*ends.values())]
        promised: list[float] = []
        for corner in corners:
            try:
                promised.append(partition(self.trace, *self.priced(corner), STARTS["bytes_weight"][-1]).serial_s)
            except CANNOT_RUN:
                promised.append(math.inf)
        return corners[promised.index(min(promised))]

    def _starts(self, policy: str, overrides: dict[str, float]) -> list[Point]:
        """Return the parameters with which a search begins a policy."""
        parameter = PARAMETERS.get(policy)
        if parameter == "device":
            return [{parameter: name} for name in self.whole_devices]
        if parameter:
            limits: Range = getattr(self.space, parameter)
            return [{parameter: limits.clip(value)} for value in STARTS[parameter]]
        if policy == GROUPS:
            fastest = self.groups.fastest(self.machine, self.priced(overrides)[1], self.trace.executions)
            return [{GROUP + name: fastest[name] for name in self.choices}]
        return [{}]

    def priced(self, overrides: Dictionary[str, float]) -> tuple[Machine, CostTable]:
        """Return the machine with these parameters and its warm cost table; the last one asked for is kept."""
        from arch.cost import cost_table

        key = tuple(overrides.values())
        if key not in self._priced:
            machine = self.machine.with_(**overrides) if overrides else self.machine
            self._priced = {key: (machine, cost_table(self.trace, machine))}
        return self._priced[key]

    def machine_of(self, design: Design) -> Machine:
        """Return the machine of a design."""
        return self.machine.with_(**design.machine) if design.machine else self.machine

    def overrides(self, point: Point) -> dict[str, float]:
        """Return the parameters of the machine that a point sets."""
        return {name: point[MACHINE + name] for name in self.space.ranges}

    def mapping(self, point: Point) -> Mapping:
        """Return the mapping of a point. Raises MappingError if its policy finds none."""
        machine, costs = self.priced(self.overrides(point))
        if point[POLICY] == GROUPS:
            chosen = {name: point[GROUP + name] for name in self.choices}
            return self.groups.mapping(machine, costs, chosen).check(self.trace, machine, costs)
        given = self.space.by_name.get(point[POLICY])
        policy: Scheduler = registry.get("schedulers", point[POLICY])(**self._parameters(point)) if given is None else given
        return checked(policy, self.trace, machine, costs)

    def _parameters(self, point: Point) -> dict[str, Any]:
        name = PARAMETERS.get(point[POLICY])
        return {name: point[name]} if name else {}

    def design(self, point: Point, trial: int) -> Design:
        """Return the design of a point, replayed. Raises CapacityError or MappingError where it cannot run."""
        policy = {"name": point[POLICY], **self._parameters(point)}
        return self.evaluate(self.overrides(point), self.mapping(point), policy, trial)

    def evaluate(self, overrides: dict[str, float], mapping: Mapping, policy: dict[str, Any], trial: int) -> Design:
        """Return the design of these parameters and this mapping, replayed. Raises CapacityError where it cannot run."""
        from codesign.engine import Evaluator

        machine, _ = self.priced(overrides)
        found = Evaluator(self.trace, machine).evaluate(mapping)
        return Design(trial, found.time_s, found.energy_j, machine.area_mm2, machine.price_usd, overrides, policy, mapping)


CANNOT_RUN = (CapacityError, MappingError, MachineError)
"""What makes a point of the space no design: it counts as infeasible, and the search goes on."""
