"""``torch.autocast`` on tensors that are on `meta`: the types that operators run in on CUDA (autocast.toml).

PyTorch's own kernels of its dispatch key for autocast leave tensors of other devices alone; while a program is captured, ours take
their place. They stand above autograd, so that conversions are differentiated, and act inside a region of autocast only.
"""

import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.resources import files
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

_KEY = torch._C.DispatchKey.AutocastCUDA
_INIT = torch.amp.autocast.__init__


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("traces.capture.aten").joinpath("autocast.toml").read_text())


class Weights:
    """16-bit copies of parameters, made once a region of autocast (``cached_cast`` of autocast_mode.cpp)."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}

    def cast(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the tensor in a type: itself if it is not eligible, the copy that was made before if it is a parameter."""
        if not tensor.is_floating_point() or tensor.dtype in (dtype, torch.float64):
            return tensor
        keep = tensor.dtype == torch.float32 and tensor.requires_grad and tensor.is_leaf and not tensor._is_view()
        if not keep or dtype == torch.float32 or not torch.is_autocast_cache_enabled():
            return tensor.to(dtype)
        known = self._copies.get(id(tensor))
        if known is None:
            known = self._copies[id(tensor)] = tensor, tensor.to(dtype)
        return known[1]

    def forget(self) -> None:
        """Free the copies: the outermost region has ended."""
        self._copies.clear()


def lower_type() -> torch.dtype | None:
    """Return the type of products in this region of autocast, None outside."""
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None


def cast(values: Any, dtype: torch.dtype, weights: Weights) -> Any:
    """Convert the floating-point tensors of a pytree."""
    return pytree.tree_map(lambda value: weights.cast(value, dtype) if isinstance(value, Tensor) else value, values)


def _lower(op: Any, weights: Weights) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = cast((args, kwargs), torch.get_autocast_dtype("cuda"), weights)
        return op(*args, **kwargs)

    return run


def _single(op: Any, weights: Weights) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = cast((args, kwargs), torch.float32, weights)
        return op(*args, **kwargs)

    return run


def _single_result(op: Any, weights: Weights) -> Callable[..., Any]:
    place = [argument.name for argument in op._schema.arguments].index("dtype")

    def run(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("dtype") is not None or len(args) > place
        if not given and args[0].is_floating_point() and args[0].dtype != torch.float64:
            kwargs["dtype"] = torch.float32
        return op(*args, **kwargs)

    return run


def _widest(op: Any, weights: Weights) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        types = {t.dtype for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor) and t.is_floating_point()}
        widest = torch.float32 if torch.float32 in types else torch.get_autocast_dtype("cuda")
        args, kwargs = cast((args, kwargs), widest, weights)
        return op(*args, **kwargs)

    return run


def _below(run: Callable[..., Any]) -> Callable[..., Any]:
    """Let an operator's kernel call what is below autocast."""
    keys = torch._C.DispatchKeySet(_KEY)

    def outside(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return run(*args, **kwargs)

    return outside


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _register(library: Any, weights: Weights) -> None:
    table = _table()
    for list_, policy in (("lower", _lower), ("single", _single), ("single_result", _single_result), ("widest", _widest)):
        for name in table[list_]:
            library.impl(name, _below(policy(_overload(name), weights)), "AutocastCUDA")
    for name, with_type in table["renamed"].items():
        library.impl(name, _below(_single_result(_overload(with_type), weights)), "AutocastCUDA")


def _init(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
    _INIT(self, "cuda" if device_type == "meta" else device_type, *args, **kwargs)


@contextmanager
def autocasting() -> Iterator[Weights]:
    """Let ``torch.autocast`` and gradient scalers do on `meta` what they do on CUDA, where no gradient overflows."""
    from torch.amp import GradScaler

    weights = Weights()
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with ExitStack() as stack:
        stack.callback(library._destroy)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that kernels of PyTorch's own are replaced is meant
            _register(library, weights)
        for owner, name, value in (
            (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
            (torch.cuda, "is_bf16_supported", lambda *_, **__: True),
            (torch, "clear_autocast_cache", weights.forget),
            (torch.amp.autocast, "__init__", _init),
            (GradScaler, "_maybe_opt_step", lambda self, optimizer, state, *args, **kwargs: optimizer.step(*args, **kwargs)),
        ):
            stack.enter_context(patch.object(owner, name, value))
        stack.enter_context(torch._C._IncludeDispatchKeyGuard(_KEY))
        yield weights
