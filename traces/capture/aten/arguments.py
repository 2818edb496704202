"""A program's function and arguments, moved to device `meta`: modules and optimisers too, sharing what they share."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from traces.errors import CaptureError


@dataclass(frozen=True)
class Moved:
    """The program on `meta`, and the names of its tensors in order: 'x', "batch['y']", 'model.layers.0.weight'."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    named: list[tuple[str, Tensor]]


def to_meta(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Moved:
    """Return a copy of the program whose tensors are on `meta`; nothing that was given is changed, and no data is copied.

    Tensors are found in any pytrees, in modules, in optimisers, and in what ``copy.deepcopy`` reaches from the arguments.
    Raises CaptureError for tensors without strides, and for arguments that cannot be copied.
    """
    mover = _Mover()
    given = (function, tuple(args), dict(kwargs))
    for tensor in _reachable(given):
        mover.memo[id(tensor)] = mover.moved(tensor)
    for tensor in _counters(given):
        mover.memo[id(tensor)] = tensor.clone()
    try:
        with mover:
            moved_function, moved_args, moved_kwargs = copy.deepcopy(given, mover.memo)
    except CaptureError:
        raise
    except Exception as error:
        raise CaptureError(f"the program's arguments must be such that copy.deepcopy can copy them, but it says: {error}") from error
    return Moved(moved_function, moved_args, moved_kwargs, list(_named(function, moved_function, moved_args, moved_kwargs)))


class _Mover(TorchFunctionMode):
    """Makes a tensor on `meta` for each tensor, one memory for each memory."""

    def __init__(self) -> None:
        super().__init__()
        self.memo: dict[int, Any] = {}
        self._bases: dict[int, tuple[Any, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            return memo.setdefault(id(tensor), self.moved(tensor))
        return func(*args, **(kwargs or {}))

    def moved(self, tensor: Tensor) -> Tensor:
        """Return the tensor's counterpart; its gradient goes with it."""
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
            kind = "is nested" if tensor.is_nested else "is quantized" if tensor.is_quantized else f"has the layout {tensor.layout}"
            shape = "" if tensor.is_nested else f" of shape {tuple(tensor.shape)}"
            raise CaptureError(f"tensors must be strided to be captured, but one{shape} {kind}: use dense ones")
        with torch.no_grad():
            storage = tensor.untyped_storage()
            base = self._bases.setdefault(storage._cdata, (storage, torch.empty(storage.nbytes(), dtype=torch.uint8, device="meta")))[1]
            made = torch.empty(0, dtype=tensor.dtype, device="meta")
            made.set_(base.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())
        if isinstance(tensor, nn.Parameter):
            made = nn.Parameter(made, requires_grad=tensor.requires_grad)
        elif tensor.requires_grad:
            made.requires_grad_(True)
        if tensor.is_leaf and tensor.grad is not None:
            made.grad = self.moved(tensor.grad)
        return made


def _reachable(given: Any) -> Iterator[Tensor]:
    """Tensors in pytrees, modules and optimisers; those that are nowhere else are found while copying, Parameters aside."""
    for leaf in pytree.tree_leaves(given):
        owner = getattr(leaf, "__self__", leaf)
        if isinstance(leaf, Tensor):
            yield leaf
        elif isinstance(owner, nn.Module):
            yield from owner.parameters()
            yield from owner.buffers()
        elif isinstance(owner, torch.optim.Optimizer):
            yield from (t for group in owner.param_groups for t in group["params"])


def _counters(given: Any) -> Iterator[Tensor]:
    """Numbers that optimisers keep on the host, and read: how many steps they have done."""
    for leaf in pytree.tree_leaves(given):
        owner = getattr(leaf, "__self__", leaf)
        if isinstance(owner, torch.optim.Optimizer):
            states = (value for state in owner.state.values() for value in state.values() if isinstance(value, Tensor))
            yield from (t for t in states if t.dim() == 0 and t.device.type == "cpu" and not owner.defaults.get("capturable"))


def _named(
    original: Callable[..., Any], function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Tensor]]:
    yield from _tensors_of("", getattr(function, "__self__", function))
    for name, value in (*zip(_names(original, len(args)), args, strict=True), *kwargs.items()):
        yield from _tensors_of(name, value)


def _names(function: Callable[..., Any], count: int) -> list[str]:
    """The parameters' names; 'args[0]', ... where there are none."""
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = [p for p in inspect.signature(target).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters[:count]]
    return names + [f"args[{i}]" for i in range(len(names), count)]


def _tensors_of(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    for path, leaf in pytree.tree_flatten_with_path(value)[0]:
        label = name + pytree.keystr(path)
        if isinstance(leaf, Tensor):
            yield label, leaf
        elif isinstance(leaf, nn.Module):
            for inner, tensor in (*leaf.named_parameters(), *leaf.named_buffers()):
                yield f"{label}.{inner}".lstrip("."), tensor
        elif isinstance(leaf, torch.optim.Optimizer):
            for number, state in enumerate(leaf.state.values()):
                tensors = ((key, t) for key, t in state.items() if isinstance(t, Tensor) and t.device.type == "meta")
                yield from ((f"{label}.state[{number}].{key}", t) for key, t in tensors)


KINDS = (Tensor, nn.Module, torch.optim.Optimizer)


def has_torch(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a program is PyTorch's: a tensor, module or optimiser is among function and arguments.

    A function without any array among its arguments is PyTorch's if it names one of those, or PyTorch itself.
    """
    leaves = pytree.tree_leaves((function, getattr(function, "__self__", None), tuple(args), dict(kwargs)))
    if any(isinstance(leaf, KINDS) for leaf in leaves):
        return True
    return not any(hasattr(leaf, "shape") for leaf in leaves) and _names_torch(function)


def _names_torch(function: Callable[..., Any]) -> bool:
    if not inspect.isfunction(function):
        return False
    names = inspect.getclosurevars(function)
    named = (*names.nonlocals.values(), *names.globals.values())
    return any(isinstance(value, KINDS) or (inspect.ismodule(value) and value.__name__.split(".")[0] == "torch") for value in named)
