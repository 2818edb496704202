"""One ATen call on device `meta`: its operands and results, and what is touched of each."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

CUDA_ONLY = "codesign_cuda"
"""Namespace of stand-ins for ATen operators that `meta` would take apart (see fused.py)."""

XLA_NAMES = {
    torch.bool: "pred",
    torch.uint8: "u8",
    torch.int8: "s8",
    torch.int16: "s16",
    torch.int32: "s32",
    torch.int64: "s64",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
    torch.float32: "f32",
    torch.float64: "f64",
    torch.complex64: "c64",
    torch.complex128: "c128",
    torch.float8_e4m3fn: "f8e4m3fn",
    torch.float8_e5m2: "f8e5m2",
    torch.uint16: "u16",
    torch.uint32: "u32",
    torch.uint64: "u64",
}


def dtype_name(dtype: torch.dtype) -> str:
    """Return XLA's name of a torch dtype."""
    return XLA_NAMES.get(dtype, str(dtype).removeprefix("torch."))


@dataclass(slots=True)
class Touch:
    """A kernel reads or writes a tensor; amounts in bytes."""

    tensor: Tensor
    writes: bool
    unique: float
    requested: float
    stride: str = "contiguous"


@dataclass(slots=True)
class Call:
    """A dispatched operator with what it was given and what it returned; only tensors on `meta` count as operands."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    reads: list[Tensor] = field(default_factory=list)
    """Operands that the schema does not mark as written."""
    mutated: list[Tensor] = field(default_factory=list)
    """Operands that the schema marks as written: of in-place and out variants."""
    fresh: list[Tensor] = field(default_factory=list)
    """Results with memory of their own."""
    out_variant: bool = False
    """Whether the mutated operands are only written: arguments named `out` and the like."""

    @property
    def name(self) -> str:
        """The operator without namespace and overload: 'add_'."""
        return str(self.func._schema.name).partition("::")[2]

    @property
    def full_name(self) -> str:
        """The operator as PyTorch writes it: 'aten::add.Tensor'."""
        overload = self.func._overloadname
        name = str(self.func._schema.name).replace(f"{CUDA_ONLY}::", "aten::")
        return f"{name}.{overload}" if overload != "default" else name

    def argument(self, name: str, default: Any) -> Any:
        """Return the value of an argument of the schema, ``default`` if it was not given."""
        if name in self.kwargs:
            return self.kwargs[name]
        names = [argument.name for argument in self.func._schema.arguments]
        return self.args[names.index(name)] if name in names and names.index(name) < len(self.args) else default

    @property
    def changes_view(self) -> bool:
        """Whether an in-place variant changes shape or strides only: `squeeze_`, `t_`."""
        return torch.Tag.inplace_view in self.func.tags

    @property
    def written(self) -> list[Tensor]:
        return [*self.mutated, *self.fresh]


def read_call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Call:
    """Sort the tensors of a call into those read, written in place, and made."""
    call = Call(func, args, kwargs, out)
    for argument, value in _bound(func, args, kwargs):
        writes = argument.alias_info is not None and argument.alias_info.is_write
        call.out_variant |= bool(writes and argument.kwarg_only)
        (call.mutated if writes else call.reads).extend(on_meta(value))
    known = {storage_key(t) for t in (*call.reads, *call.mutated)}
    call.fresh = [t for t in on_meta(out) if storage_key(t) not in known]
    return call


def _bound(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    arguments = func._schema.arguments
    yield from zip(arguments, args, strict=False)
    named = {argument.name: argument for argument in arguments}
    yield from ((named[name], value) for name, value in kwargs.items() if name in named)


def on_meta(value: Any) -> list[Tensor]:
    """Return the tensors on `meta` in a value, or in a list or tuple of values."""
    if isinstance(value, Tensor):
        return [value] if value.device.type == "meta" else []
    return [t for item in value for t in on_meta(item)] if isinstance(value, list | tuple) else []


def storage_key(tensor: Tensor) -> int:
    """Return what tells the tensor's memory from all other memory that is alive."""
    return int(tensor.untyped_storage()._cdata)


def touched_bytes(tensor: Tensor) -> float:
    """Return the bytes of the distinct elements of a (strided, expanded) tensor."""
    elements = prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return float(min(elements * tensor.element_size(), tensor.untyped_storage().nbytes()))


def read(tensor: Tensor, like: Tensor | None = None) -> Touch:
    """Read all of a tensor, stepping as a kernel does whose threads follow ``like`` (its result); broadcast to its shape."""
    unique = touched_bytes(tensor)
    if like is None:
        return Touch(tensor, False, unique, unique, "contiguous" if tensor.numel() > 1 else "broadcast")
    asked = max(tensor.numel(), like.numel()) * tensor.element_size()
    return Touch(tensor, False, unique, float(max(asked, unique)), stride_class(tensor, like))


def write(tensor: Tensor) -> Touch:
    """Write all of a tensor; its own memory order is the threads'."""
    unique = touched_bytes(tensor)
    return Touch(tensor, True, unique, unique, stride_class(tensor, tensor))


def stride_class(tensor: Tensor, like: Tensor) -> str:
    """Return how neighbouring threads, which are neighbours in the memory of ``like``, step through ``tensor``."""
    if tensor.numel() <= 1:
        return "contiguous" if tensor is like else "broadcast"
    axis = fastest_axis(like)
    if axis is None:
        return "contiguous"
    own = axis - (like.dim() - tensor.dim())
    if own < 0 or tensor.shape[own] == 1 or tensor.stride(own) == 0:
        return "broadcast"
    if abs(tensor.stride(own)) == 1:
        return "contiguous"
    dense = any(stride == 1 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return "transposed" if dense and tensor is not like else "strided"


def fastest_axis(tensor: Tensor) -> int | None:
    """Return the dimension along which memory runs: TensorIterator orders its threads by the result's strides."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    steps = [(abs(stride), -axis) for axis, (size, stride) in enumerate(sizes) if size > 1 and stride]
    return -min(steps)[1] if steps else None


def main_dtype(touches: list[Touch]) -> str:
    """Return the element type of the operand of which most is touched; of the result if there is no operand."""
    chosen = [t for t in touches if not t.writes] or touches
    best = max(chosen, key=lambda t: (t.tensor.is_floating_point() or t.tensor.is_complex(), t.unique), default=None)
    return dtype_name(best.tensor.dtype) if best else ""
