"""What a workload is: named options, and the programs that they select.

A workload is a declaration. Its ``build`` function imports its framework when it is called, never before.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from traces.errors import CaptureError, nearest
from traces.workloads.numerics import numerics

if TYPE_CHECKING:
    from traces.capture.target import CompileTarget, TpuTarget
    from traces.trace import Trace

log = logging.getLogger("traces")

Value = str | int
StageRules = tuple[tuple[str, str], ...]
"""Ordered (stage, regular expression): the first that is found in a kernel's op_name gives its stage."""


@dataclass(frozen=True)
class Option:
    """One setting of a workload: a name from ``choices``, or a whole number of at least ``at_least``."""

    name: str
    default: Value
    doc: str
    choices: tuple[str, ...] = ()
    at_least: int = 1

    def check(self, value: Value) -> Value:
        """Return the value as the option's type (choices are matched in any case). Raises CaptureError."""
        return self._chosen(str(value)) if self.choices else self._counted(value)

    def _chosen(self, value: str) -> str:
        for choice in self.choices:
            if choice.lower() == value.lower():
                return choice
        raise CaptureError(f"there is no {self.name} {value!r}; {_among(value, self.choices)}")

    def _counted(self, value: Value) -> int:
        count = int(value) if str(value).isdecimal() else self.at_least - 1
        if count < self.at_least:
            raise CaptureError(f"`{self.name} >= {self.at_least}` must hold for the whole number {self.name}, but got {value!r}")
        return count


@dataclass(frozen=True)
class Conflict:
    """A combination of option values that cannot run, why, and what to choose instead."""

    values: Mapping[str, Value]
    because: str
    instead: str
    before: tuple[int, int] | None = None
    """Only GPUs of a lower compute capability than this refuse the combination; None: it cannot run anywhere."""

    @property
    def text(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.values.items())

    def meets(self, settings: Mapping[str, Value]) -> bool:
        return all(settings[name] == value for name, value in self.values.items())


@dataclass(frozen=True)
class Limit:
    """What counts must hold together, as a formula of options, why, and what to choose instead."""

    must: str
    holds: Callable[[Mapping[str, Any]], bool]
    because: str
    instead: str


@dataclass(frozen=True)
class Program:
    """One jittable function of a workload.

    ``function(*arguments)`` runs for real on real arguments; capturing needs only their shapes. ``initial(seed)`` makes
    real arguments (a tuple of pytrees of arrays). ``precision`` and ``x64`` are the JAX settings that it is written for.
    """

    name: str
    phase: str
    function: Callable[..., Any]
    initial: Callable[[int], tuple[Any, ...]]
    precision: str
    x64: bool
    stage_rules: StageRules
    feeds: Mapping[str, str] = field(default_factory=dict)
    """From a parameter of this program to the output of an earlier one that it is (names as in a trace's tensors)."""
    doc: str = ""
    captured: Callable[..., Any] | None = None
    """What a capture compiles instead of ``function``: the same program with its GPU kernels, which only an interpreter can run here."""

    def shapes(self) -> tuple[Any, ...]:
        """Return the arguments as pytrees of jax.ShapeDtypeStruct; no array is made."""
        import jax

        with self.numerics():
            shapes: tuple[Any, ...] = jax.eval_shape(self.initial, 0)
        return shapes

    def arguments(self, seed: int = 0) -> tuple[Any, ...]:
        """Return real arguments on JAX's default device: initialised parameters, walkers drawn with ``seed``."""
        import jax

        with self.numerics():
            arguments: tuple[Any, ...] = jax.jit(self.initial)(seed)
        return arguments

    def run(self, *arguments: Any) -> Any:
        """Compile and run the function for real, under the precision it declares."""
        import jax

        with self.numerics():
            return jax.jit(self.function)(*arguments)

    def capture(self, target: "CompileTarget | TpuTarget", name: str, settings: Mapping[str, Value]) -> "Trace":
        """Compile the program for ``target``; ``name`` and ``settings`` are the workload's."""
        from traces.capture import capture

        return capture(
            self.captured or self.function,
            self.shapes(),
            target=target,
            precision=self.precision,
            x64=self.x64,
            phase=self.phase,
            program=f"{name}/{self.name}",
            options=dict(settings),
            stage_rules=self.stage_rules,
        )

    @contextmanager
    def numerics(self) -> Iterator[None]:
        """Set JAX's matrix-product precision and x64 to what the program declares, in this thread and block only."""
        with numerics(self.precision, self.x64):
            yield


@dataclass(frozen=True)
class Workload:
    """A named family of programs; ``build(settings)`` makes those of one step, in the order in which they run."""

    name: str
    framework: str
    description: str
    source: str
    options: tuple[Option, ...]
    build: Callable[[Mapping[str, Value]], list[Program]]
    conflicts: tuple[Conflict, ...] = ()
    limits: tuple[Limit, ...] = ()
    packages: tuple[str, ...] = ()
    """Distributions that decide what the programs are: their versions go into the manifest."""

    def settings(self, **given: Value) -> dict[str, Value]:
        """Return the value of every option: those given, checked, and defaults. Raises CaptureError."""
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known:
                raise CaptureError(f"the workload {self.name!r} has no option {name!r}; {nearest(name, known)}")
        settings = {name: option.check(given.get(name, option.default)) for name, option in known.items()}
        self._refuse_conflicts(settings)
        self._refuse_counts(settings)
        return settings

    def _refuse_counts(self, settings: Mapping[str, Value]) -> None:
        """Raise CaptureError with the formula that the settings break, and the values of the options in it."""
        broken = next((limit for limit in self.limits if not limit.holds(settings)), None)
        if broken:
            given = ", ".join(f"{name}={value}" for name, value in settings.items() if re.search(rf"\b{name}\b", broken.must))
            raise CaptureError(f"`{broken.must}` must hold for {self.name!r}, but got {given}: {broken.because}; {broken.instead}")

    def _refuse_conflicts(self, settings: Mapping[str, Value]) -> None:
        found = self.conflict(settings)
        if found:
            raise CaptureError(f"the workload {self.name!r} cannot run with {found.text}: {found.because}; {found.instead}")

    def conflict(self, settings: Mapping[str, Value]) -> Conflict | None:
        """Return why the settings cannot run on any GPU, or None."""
        return next((c for c in self.conflicts if c.before is None and c.meets(settings)), None)

    def _refuse_target(self, settings: Mapping[str, Value], target: "CompileTarget | TpuTarget") -> None:
        from traces.capture.target import TpuTarget

        if isinstance(target, TpuTarget):
            self._refuse_tpu(settings, target.id)
            return
        for conflict in self.conflicts:
            if conflict.before and target.compute_capability < conflict.before and conflict.meets(settings):
                raise CaptureError(
                    f"the workload {self.name!r} cannot be captured for {target.id} (compute capability "
                    f"{'.'.join(map(str, target.compute_capability))}) with {conflict.text}: {conflict.because}; {conflict.instead}"
                )

    def _refuse_tpu(self, settings: Mapping[str, Value], target: str) -> None:
        """Kernels that need a GPU's compute capability were written for GPUs; PyTorch's programs are captured as CUDA's kernels."""
        if self.framework != "jax":
            raise CaptureError(f"the workload {self.name!r} is {self.framework}'s and can be captured for GPUs, but {target} is a TPU")
        for conflict in self.conflicts:
            if conflict.before and conflict.meets(settings):
                raise CaptureError(
                    f"the workload {self.name!r} cannot be captured for {target} with {conflict.text}: its kernels were written for "
                    f"GPUs; {conflict.instead}"
                )

    def combinations(self) -> Iterator[tuple[dict[str, Value], Conflict | None]]:
        """Yield every combination of the options that appear in a conflict, and the conflict that forbids it on every GPU, or None."""
        involved = {name for c in self.conflicts if c.before is None for name in c.values}
        chosen = [option for option in self.options if option.name in involved]
        defaults = {option.name: option.default for option in self.options}
        for values in product(*(option.choices or (option.default,) for option in chosen)):
            settings = {option.name: value for option, value in zip(chosen, values, strict=True)}
            yield settings, self.conflict(defaults | settings)

    def programs(self, **given: Value) -> list[Program]:
        """Return the programs of one step. Raises CaptureError for options that cannot be, MissingExtra."""
        return self.build(self.settings(**given))

    def capture(self, target: "CompileTarget | TpuTarget", **given: Value) -> "Trace":
        """Capture every program of one step for ``target`` and join them into one trace, in order."""
        from traces.merging import merge

        settings = self.settings(**given)
        self._refuse_target(settings, target)
        programs = self.build(settings)
        captured = [self._captured(program, target, settings) for program in programs]
        feeds = {parameter: output for program in programs for parameter, output in program.feeds.items()}
        trace = merge(captured, names=[program.name for program in programs], feeds=feeds)
        trace.manifest |= {"program": self.name, "batch": settings.get("batch"), "captured": captured[0].manifest["captured"]}
        trace.manifest["versions"] = {**trace.manifest["versions"], **_versions(self.packages)}
        return trace

    def _captured(self, program: Program, target: "CompileTarget | TpuTarget", settings: Mapping[str, Value]) -> "Trace":
        log.info("capturing %s of %s (%s) for %s", program.name, self.name, settings, target.id)
        return program.capture(target, self.name, settings)


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in packages}


def _among(name: str, choices: tuple[str, ...]) -> str:
    """Like ``errors.nearest``, in the choices' own case."""
    lowered = {choice.lower(): choice for choice in choices}
    hint = nearest(name, lowered)
    for low, choice in lowered.items():
        hint = hint.replace(repr(low), repr(choice))
    return hint if hint.startswith("did") else "known: " + ", ".join(choices)
