"""A program of a workload that is written in PyTorch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traces.errors import CaptureError
from traces.workloads.workload import Program, Value

if TYPE_CHECKING:
    from traces.capture.target import CompileTarget, TpuTarget
    from traces.trace import Trace


@dataclass(frozen=True)
class TorchProgram(Program):
    """Like ``Program``, for eager PyTorch: ``initial(None)`` makes arguments on device `meta`, ``initial(seed)`` real ones."""

    initial: Callable[[int | None], tuple[Any, ...]]

    def shapes(self) -> tuple[Any, ...]:
        """Return the arguments on device `meta`; no data is made."""
        return self.initial(None)

    def arguments(self, seed: int = 0) -> tuple[Any, ...]:
        """Return real arguments on the CPU, drawn with ``seed``."""
        return self.initial(seed)

    def run(self, *arguments: Any) -> Any:
        """Run the function for real."""
        return self.function(*arguments)

    def capture(self, target: "CompileTarget | TpuTarget", name: str, settings: Mapping[str, Value]) -> "Trace":
        """Capture the program's ATen calls for ``target``. Raises CaptureError for a TPU."""
        from traces.capture.aten import capture_torch
        from traces.capture.target import CompileTarget

        if not isinstance(target, CompileTarget):
            raise CaptureError(f"a PyTorch program can be captured for a GPU, but {target.id!r} is a TPU: choose a GPU")
        return capture_torch(
            self.function,
            self.shapes(),
            target=target,
            precision=self.precision,
            phase=self.phase or None,
            program=f"{name}/{self.name}",
            options=dict(settings),
            stage_rules=self.stage_rules,
        )
