"""What a rule makes of an ATen call: one row of the kernels table, and its accesses."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan

from traces.capture.aten.call import Call, Touch
from traces.capture.work import Flops

UNKNOWN = Flops(nan, nan, nan)
NO_SIZE = (-1, -1, -1)


@dataclass(slots=True)
class Kernel:
    """One row of the kernels table, and its accesses. ``sizes`` are batch, m, n and k; ``workspace`` scratch memory, written then read."""

    name: str
    family: str
    touches: list[Touch]
    flops: Flops
    launch_kind: str = "other"
    library: str = ""
    opcodes: str = ""
    dtype: str = ""
    precision: str = ""
    launches: int = 1
    sizes: tuple[int, int, int, int] = (-1, -1, -1, -1)
    grid: tuple[int, int, int] = NO_SIZE
    block: tuple[int, int, int] = NO_SIZE
    workspace: float = 0.0


@dataclass(frozen=True)
class Setting:
    """What rules need beside the call: precision of FP32 products ('highest', or 'default' for TF32), and the GPU's
    multiprocessors and the threads that each of them holds."""

    precision: str = "highest"
    sms: int = 1
    threads_per_sm: int = 1024


Rule = Callable[[Call, Setting], Kernel]
