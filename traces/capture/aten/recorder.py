"""Watches a program run on device `meta` and writes down kernels, storages, scopes and loops."""

import weakref
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from traces.capture.aten.call import dtype_name, read_call, storage_key
from traces.capture.aten.kernel import Kernel, Setting
from traces.capture.aten.kernels import kernel_of
from traces.capture.aten.operators import operator
from traces.capture.aten.products import RULES as PRODUCTS
from traces.capture.aten.solvers import PARTS
from traces.capture.schedule import Region
from traces.errors import CaptureError

RECORDING: "ContextVar[Recorder | None]" = ContextVar("recording", default=None)
"""The recorder of the capture that runs in this context, for loops and scopes."""

_NO_FORWARD = 2**62
"""Sequence numbers above are of nodes that have no forward call (gradient accumulation)."""


@dataclass(slots=True)
class Memory:
    """One allocation: a tensor of the trace."""

    name: str
    dtype: str
    shape: str
    bytes: int
    kind: str
    died: int | None = None
    """Number of kernels launched when it was freed; None while it lives."""


class MemoryAccess(NamedTuple):
    """A launch reads or writes an allocation (a row of `Recorder.memories`); amounts in bytes."""

    memory: int
    writes: bool
    unique: float
    requested: float
    stride: str = "contiguous"


@dataclass(slots=True)
class Launch:
    """A kernel, where and in which scope it was launched."""

    kernel: Kernel
    region: int
    scope: str
    backward: bool
    accesses: list[MemoryAccess] = field(default_factory=list)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every ATen call below autograd: forward, backward and optimiser alike."""

    def __init__(self, program: str, setting: Setting) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.setting = setting
        self.launches: list[Launch] = []
        self.memories: list[Memory] = []
        self.regions = [Region(-1, "sequence", program)]
        self.region = 0
        self.carried: list[tuple[int, list[tuple[int, int]]]] = []
        """(loop region, pairs of memories that are one from iteration to iteration)."""
        self.runs: list[tuple[str, list[tuple[int, int]]]] = []
        """What `steps` cut a loop into: its name, and of each run the region and the position that was captured."""
        self.warned: set[str] = set()
        self._alive: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._scopes: list[str] = []
        self._forward: list[tuple[int, str]] = [(0, "")]

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Run the call on `meta` and write down what it launches."""
        kwargs = kwargs or {}
        name = str(func._schema.name)
        if name.startswith("profiler::"):
            self._scope(name, args)
            return func(*args, **kwargs)
        parts = PARTS.get(func)
        if parts is not None:
            with self:
                return parts(*args, **kwargs)
        out = self._run(func, args, kwargs)
        self._record(func, args, kwargs, out)
        return out

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device.type == "meta":
            reads = ".item(), bool() or int() of a tensor"
            raise CaptureError(f"the program must not depend on values, but reads one ({reads}){self._where()}: {_VALUES}")
        if _mixes_devices(func, args, kwargs):
            raise CaptureError(self._foreign(func))
        try:
            return func(*args, **kwargs)
        except NotImplementedError as error:
            if "no fake impl" in str(error):
                remedy = _REMEDIES.get(str(func._schema.name).partition("::")[2], "use another operator, or a fixed size")
                raise CaptureError(
                    f"the operator {func} has no shapes without data in this PyTorch{self._where()}: its results depend on values, or "
                    f"nobody wrote its implementation for device meta; {remedy}"
                ) from error
            message = f"the operator {func} needs values or does not know device meta{self._where()}: {_VALUES} ({_first_line(error)})"
            raise CaptureError(message) from error
        except RuntimeError as error:
            if "no fake impl" in str(error):
                raise CaptureError(
                    f"the operator {func} says nothing of its results' shapes{self._where()}: give it a fake implementation "
                    "(torch.library.register_fake), so that it can run without data"
                ) from error
            if "device" in str(error) and "meta" in str(error) and _on_host(args, kwargs):
                raise CaptureError(self._foreign(func)) from error
            if "meta" in str(error):
                raise CaptureError(f"the operator {func} cannot be captured{self._where()}: {_VALUES} ({_first_line(error)})") from error
            raise

    def _foreign(self, func: Any) -> str:
        return (
            f"tensors must be arguments of the program or be made on their device, but {func} got one of the CPU{self._where()}: "
            "pass it, or the module or optimiser that holds it, as an argument, or make it with device=x.device"
        )

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if any(t.layout is not torch.strided for t in torch.utils._pytree.tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)):
            raise CaptureError(f"tensors must be strided to be captured, but those of {func} are sparse{self._where()}: use dense ones")
        call = read_call(func, args, kwargs, out)
        for tensor in call.fresh:
            self.memory(tensor, "temporary")
        kernel = kernel_of(call, self.setting, self.warned)
        if kernel is not None:
            self.launch(kernel)

    def launch(self, kernel: Kernel) -> None:
        """Append a kernel with its accesses."""
        scope, backward = self.scope()
        launch = Launch(kernel, self.region, scope, backward)
        for touch in kernel.touches:
            if touch.tensor.numel():
                memory = self.memory(touch.tensor, "parameter")
                launch.accesses.append(MemoryAccess(memory, touch.writes, touch.unique, touch.requested, touch.stride))
        if kernel.workspace:
            row = self._new(f"workspace.{len(self.launches)}", "f32", str(int(kernel.workspace / 4)), int(kernel.workspace), "workspace")
            self.memories[row].died = len(self.launches) + 1
            launch.accesses += [MemoryAccess(row, writes, kernel.workspace, kernel.workspace) for writes in (True, False)]
        kernel.touches = []  # tensors that nobody holds are freed, as they are without us: gradients are then taken over, not copied
        self.launches.append(launch)

    def memory(self, tensor: Tensor, kind: str, name: str = "") -> int:
        """Return the row of the tensor's allocation, made if it is new."""
        key = storage_key(tensor)
        if key in self._alive:
            return self._alive[key][0]
        storage = tensor.untyped_storage()
        dtype = dtype_name(tensor.dtype)
        whole = tensor.numel() * tensor.element_size() == storage.nbytes()
        shape = tuple(tensor.shape) if whole else (storage.nbytes() // tensor.element_size(),)
        row = self._new(name or f"value.{len(self.memories)}", dtype, "x".join(map(str, shape)), storage.nbytes(), kind)
        self._alive[key] = (row, weakref.ref(storage, lambda _: self._freed(key)))
        return row

    def adopt(self, tensor: Tensor, row: int) -> None:
        """Let a tensor whose memory is not known yet be that of a row: a compiled graph's result."""
        key = storage_key(tensor)
        if key not in self._alive:
            self._alive[key] = (row, weakref.ref(tensor.untyped_storage(), lambda _: self._freed(key)))

    def _new(self, name: str, dtype: str, shape: str, size: int, kind: str) -> int:
        self.memories.append(Memory(name, dtype, shape, size, kind))
        return len(self.memories) - 1

    def _freed(self, key: int) -> None:
        row, _ = self._alive.pop(key)
        self.memories[row].died = len(self.launches)

    def finish(self) -> None:
        """Close the root region; forget who is alive, so that what dies later is not taken for freed."""
        self.regions[0].end = len(self.launches)
        self._alive.clear()

    def _scope(self, name: str, args: tuple[Any, ...]) -> None:
        if "enter" in name:
            self._scopes.append(str(args[0]))
        elif self._scopes:
            self._scopes.pop()
        self._forward.append((_sequence_number(), "/".join(self._scopes)))

    def scope(self) -> tuple[str, bool]:
        """Return the path of scopes, and whether this is the backward pass of some call, whose scopes are then put before."""
        path = "/".join(self._scopes)
        node: Any = torch._C._current_autograd_node()
        if node is None:
            return path, False
        number = int(node._sequence_nr())
        if number > _NO_FORWARD:
            return path, True
        forward = self._forward[bisect_right(self._forward, number, key=lambda entry: entry[0]) - 1][1]
        return "/".join(part for part in (f"transpose({forward})" if forward else "transpose", path) if part), True

    def _where(self) -> str:
        return f" in the scope {'/'.join(self._scopes)!r}" if self._scopes else ""

    @contextmanager
    def loop(self, name: str, trips: int) -> Iterator[int]:
        """Everything that is launched inside is the body of a loop of ``trips`` iterations; gives the region's row."""
        row, above = len(self.regions), self.region
        self.regions.append(Region(above, "loop", name, trips, first=len(self.launches)))
        self.region = row
        try:
            yield row
        finally:
            self.region = above
            self.regions[row].end = len(self.launches)

    def carry(self, region: int, before: list[Tensor], after: list[Tensor]) -> None:
        """Make the values that one iteration hands to the next one allocation each."""
        leaves = [(b, a) for b, a in zip(before, after, strict=True) if a.device.type == "meta"]
        pairs = [(self.memory(b, "parameter"), self.memory(a, "temporary")) for b, a in leaves]
        self.carried.append((region, pairs))


_REMEDIES = {
    "_nested_tensor_from_mask_left_aligned": "nn.TransformerEncoder packs padded sequences: make it with enable_nested_tensor=False",
    "linalg_lstsq": "use torch.linalg.qr and torch.linalg.solve_triangular",
}
"""What to write instead of operators that have no implementation for device meta."""
_VALUES = "capture knows shapes only; use torch.where or a fixed number of iterations instead"


def _sequence_number() -> int:
    return int(torch._C._autograd._get_sequence_nr())


def _on_host(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    leaves = torch.utils._pytree.tree_leaves((args, kwargs))
    return any(isinstance(t, Tensor) and t.device.type != "meta" for t in leaves)


_ONE_DEVICE = frozenset({"elementwise", "reduce", "rows", "slice"})
"""Kinds of operators whose tensors must be on one device; copies cross, indices may stay on the CPU."""


def _mixes_devices(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a GPU would refuse the operands: some on the device, others, no scalars, on the CPU. `meta` does not mind."""
    name = str(func._schema.name).partition("::")[2]
    if operator(name).kind not in _ONE_DEVICE and name not in PRODUCTS:
        return False
    leaves = [t for t in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    host = any(t.device.type == "cpu" and t.dim() for t in leaves)
    return host and any(t.device.type == "meta" for t in leaves)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
