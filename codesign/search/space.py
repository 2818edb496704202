"""What a search may vary: parameters of the machine, and how the mapping is made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from arch import units
from schedulers.scheduler import Scheduler
from traces import registry
from traces.errors import MachineError, SearchError, nearest

if TYPE_CHECKING:
    from arch.machine import Machine
    from arch.parameter import Parameter

GROUPS = "groups"
POLICIES = ("single-device", "intensity-threshold", "cut-points", GROUPS)
"""What maps unless a space says otherwise; on a machine of one device they are the same, and the first stands for all."""
BORDER = 0.01
"""A value within this share of a range (on its own scale) from one of its ends counts as lying on the border."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; ``whole`` numbers only, or drawn on a ``log`` scale, or one of ``choices``.

    Raises SearchError if it holds no number.
    """

    low: float
    high: float
    whole: bool = False
    log: bool = False
    choices: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise SearchError(f"`low <= high` must hold for the finite ends of a range, but got (low={self.low}, high={self.high})")
        if self.log and self.low <= 0:
            raise SearchError(f"`0 < low` must hold for a range on a log scale, but got low={self.low}")
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise SearchError(f"the ends of a range of whole numbers must be whole, but got (low={self.low}, high={self.high})")
        if self.choices and (self.low, self.high) != (min(self.choices), max(self.choices)):
            raise SearchError(f"the ends of a range must be among its choices {self.choices}, but got (low={self.low}, high={self.high})")

    @property
    def open(self) -> bool:
        """Whether there is anything to choose."""
        return self.low < self.high

    def clip(self, value: float) -> float:
        """Return the number of the range that is nearest to ``value``."""
        inside = min(max(value, self.low), self.high)
        if self.choices:
            return min(self.choices, key=lambda choice: abs(choice - value))
        return round(inside) if self.whole else inside

    def inward(self, value: float) -> float:
        """Return a number a step (the next choice or whole number, else a tenth of the span) nearer to the middle than ``value``."""
        step = 0.1 * (self.high - self.low)
        if self.choices:
            inside = sorted(self.choices)[1:-1] or [self.low if value == self.high else self.high]
            return min(inside, key=lambda choice: abs(choice - value))
        if self.whole:
            step = 1
        return self.clip(value + step if value < (self.low + self.high) / 2 else value - step)

    def side(self, value: float) -> str | None:
        """Return 'low' or 'high' if ``value`` lies on that border (within ``BORDER`` of the span), else None."""
        low, high, at = (math.log(x) for x in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        margin = 0.0 if self.whole or self.choices else BORDER * (high - low)
        if at <= low + margin:
            return "low"
        return "high" if at >= high - margin else None


Ends = Range | tuple[float | str, float | str] | None
"""What a user writes for a range: it, its two ends, or None for the one that the machine declares."""


@dataclass(frozen=True)
class Space:
    """The designs that a search may try.

    Parameters
    ----------
    machine
        Parameter of the machine (``Machine.parameters``) to its Range, a pair (low, high) of numbers in the parameter's unit or texts
        with one ('1.5 TB/s'), or None: the range that the machine declares. Instead of the dictionary None: every parameter that a
        designer chooses (``design``), in its declared range; {}: none, the machine stays as it is.
    policies
        How a mapping is made, of which the search picks one for a design: names of registered schedulers, policies (`Scheduler`) with
        their parameters, and 'groups': a device for every group of kernels.
    threshold
        Of 'intensity-threshold', FLOP per byte.
    bytes_weight
        Of 'cut-points': the share of live bytes that a hand-over is charged for.
    group_by
        Text columns of the kernel table; kernels that agree in all of them are one group.
    """

    machine: Dictionary[str, Ends] | None = None
    policies: tuple[str | Scheduler, ...] = POLICIES
    threshold: Range = Range(0.01, 100.0, log=True)
    bytes_weight: Range = Range(0.0001, 1.0, log=True)
    group_by: tuple[str, ...] = ("phase", "family")

    def __post_init__(self) -> None:
        known = [*registry.names("schedulers"), GROUPS]
        for policy in self.policies:
            if not isinstance(policy, Scheduler) and policy not in known:
                near = nearest(policy, known) if isinstance(policy, str) else "give its name, or make one: MyPolicy()"
                raise SearchError(f"there is no policy {policy!r}; {near}")
        if len(self.by_name) < len(self.policies):
            raise SearchError(f"policies of a space must differ in name or parameters, but got {', '.join(map(str, self.policies))}")
        if not self.policies:
            raise SearchError(f"a space must have at least one policy, but got none; known: {', '.join(known)}")

    def resolved(self, machine: Machine) -> Space:
        """Return the space with a Range for each machine parameter that varies; raise SearchError if ``machine`` cannot take one."""
        declared = {name: _declared(parameter) for name, parameter in machine.parameters.items()}
        free = {name: declared[name] for name, parameter in machine.parameters.items() if parameter.design}
        given = free if self.machine is None else self.machine
        ranges = {name: _narrowed(name, value, declared, machine) for name, value in given.items()}
        alone = len(machine.devices) == 1 and self.policies == POLICIES
        return replace(self, machine=ranges, policies=POLICIES[:1] if alone else self.policies)

    @property
    def by_name(self) -> dict[str, Scheduler | None]:
        """The policies by what a search calls them: those given as a name by that, others by theirs with their parameters."""
        return {_called(policy): policy if isinstance(policy, Scheduler) else None for policy in self.policies}

    @property
    def ranges(self) -> dict[str, Range]:
        """The machine parameters that vary, with their ranges (of a resolved space)."""
        return {name: value for name, value in (self.machine or {}).items() if isinstance(value, Range)}

    def to_dict(self) -> dict[str, Any]:
        """Return what was searched, for JSON (of a resolved space)."""
        machine = {name: {"low": r.low, "high": r.high, "whole": r.whole, "choices": list(r.choices)} for name, r in self.ranges.items()}
        scales = {name: [r.low, r.high] for name, r in (("threshold", self.threshold), ("bytes_weight", self.bytes_weight))}
        return {"machine": machine, "policies": list(self.by_name), **scales, "group_by": list(self.group_by)}


def _called(policy: str | Scheduler) -> str:
    """Return what a search calls a policy: 'name', or 'name(parameter=value)'."""
    if not isinstance(policy, Scheduler):
        return policy
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(policy) if dataclasses.is_dataclass(policy) else ()
    parameters = ", ".join(f"{field.name}={getattr(policy, field.name)!r}" for field in fields)
    return f"{policy.name}({parameters})" if parameters else policy.name


def _declared(parameter: Parameter) -> Range:
    """Return the range that a machine declares for a parameter, in whole numbers where the parameter is whole."""
    number = int if parameter.integer else float
    choices = tuple(number(choice) for choice in parameter.choices)
    return Range(number(parameter.low), number(parameter.high), parameter.integer, choices=choices)


def _narrowed(name: str, value: Ends, declared: dict[str, Range], machine: Machine) -> Range:
    """Return the range to search for a parameter, checked against what the machine declares."""
    if name not in declared:
        raise SearchError(f"machine {machine.id!r} has no parameter {name!r}; {nearest(name, declared)}")
    limits, unit = declared[name], machine.parameters[name].unit
    if value is None:
        return limits
    wanted = value if isinstance(value, Range) else _between(name, value, unit, whole=limits.whole)
    if wanted.low < limits.low or wanted.high > limits.high:
        raise SearchError(
            f"{name} of machine {machine.id!r} must lie between {limits.low:g} and {limits.high:g} {unit}, "
            f"but the space has {wanted.low:g} to {wanted.high:g}"
        )
    choices = tuple(choice for choice in limits.choices if wanted.low <= choice <= wanted.high)
    if limits.choices and not choices:
        raise SearchError(f"{name} must be one of {limits.choices}, but the space has {wanted.low:g} to {wanted.high:g}")
    low, high = (choices[0], choices[-1]) if choices else (wanted.low, wanted.high)
    return replace(wanted, low=low, high=high, whole=limits.whole, choices=choices)


def _between(name: str, ends: tuple[float | str, float | str], unit: str, *, whole: bool) -> Range:
    """Return the range between two ends, each a number in ``unit`` or a text with a unit of its own."""
    if isinstance(ends, str) or not isinstance(ends, Sequence) or len(ends) != 2:
        raise SearchError(f"the range of {name} must be a pair (low, high), but got {ends!r}")
    try:
        low, high = (units.parse(end, unit, f"the range of {name}") if isinstance(end, str) else end for end in ends)
    except MachineError as error:
        raise SearchError(str(error)) from error
    return Range(low, high, whole=whole)
