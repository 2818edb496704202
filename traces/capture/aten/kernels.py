"""From an ATen call to a kernel: family, work, sizes, traffic, launches.

Rules come in this order: rules that are registered (``register``), products and convolutions, fused attention, the table of
operators. A call without a rule keeps its traffic, its work is unknown, and a warning names it.
"""

import warnings
from dataclasses import replace

from torch import Tensor

from traces.capture.aten import cells, collectives, launch, operators, products, routines, sdpa, solvers
from traces.capture.aten.call import Call, Touch, fastest_axis, main_dtype, read, storage_key, touched_bytes, write
from traces.capture.aten.kernel import NO_SIZE, UNKNOWN, Kernel, Rule, Setting
from traces.capture.work import Flops

_RULES: dict[str, Rule] = {**products.RULES, **routines.RULES, **sdpa.RULES, **collectives.RULES, **solvers.RULES, **cells.RULES}
_registered: dict[str, Rule] = {}
_DENSE = ("linalg_", "_linalg_", "cholesky", "geqrf", "ormqr", "lu_", "ldl_", "triangular_solve")
"""Beginnings of the names of factorisations and solves: library calls of many dependent steps."""


def register(name: str, rule: Rule) -> None:
    """Give the operator ``namespace::name`` of a library of one's own a rule."""
    _registered[name] = rule


def kernel_of(call: Call, setting: Setting, warned: set[str]) -> Kernel | None:
    """Return the kernel that a call launches; None for one that launches none (views, allocation)."""
    if not call.written or call.changes_view or operators.operator(call.name).kind == "free":
        return None
    rule = _registered.get(str(call.func._schema.name)) or _RULES.get(call.name)
    if rule is None and call.name.startswith(("_foreach_", "_fused_adam", "_fused_adagrad", "_fused_sgd", "_amp_foreach_")):
        rule = _multi_tensor
    made = rule(call, setting) if rule else _tabled(call, setting, warned)
    return replace(made, dtype=made.dtype or main_dtype(made.touches))


def _tabled(call: Call, setting: Setting, warned: set[str]) -> Kernel:
    known = operators.operator(call.name)
    if known.kind == "copy":
        return _copied(call)
    if known.kind in ("gather", "scatter"):
        return _indexed(call, known)
    if call.name.rstrip("_") == "pow":
        known = _power(call, known)
    touches = _touches(call, spread=known.kind in ("elementwise", "random", "fill"))
    grid, block = _dimensions(call, setting)
    flops, launches = _flops(call, known, warned), operators.launches(call.name)
    made = Kernel(call.full_name, known.family, touches, flops, opcodes=known.text(), launches=launches, grid=grid, block=block)
    if not known.kind and call.name.startswith(_DENSE):  # bytes say nothing of their time: a replay refuses them by name
        return replace(made, launch_kind="library", library=call.name)
    return made


def _dimensions(call: Call, setting: Setting) -> tuple[launch.Grid, launch.Grid]:
    """Grid and block where PyTorch's sources fix them; every operator that keeps a number for many counts as a reduction of theirs."""
    if not call.reads or not call.reads[0].numel():
        return NO_SIZE, NO_SIZE
    rule, data, result = operators.launch_rule(call.name), call.reads[0], call.written[0]
    if rule == "norms":
        return launch.rows(data.numel() // int(data.shape[-1]))
    if result.numel() == data.numel() or not (rule or _condenses(call)):
        return NO_SIZE, NO_SIZE
    dims = call.argument("dim", None)
    dims = [dims] if isinstance(dims, int) else list(dims or range(data.dim()))
    fastest = fastest_axis(data)
    along = fastest is None or fastest in {d % data.dim() for d in dims}
    return launch.reduction(result.numel(), data.numel() // max(result.numel(), 1), along, setting.sms, setting.threads_per_sm)


def _condenses(call: Call) -> bool:
    """Whether the results together are so much smaller than the first operand that blocks for the results alone could not read it."""
    return sum(t.numel() for t in call.written) * launch.WARP <= call.reads[0].numel()


def _flops(call: Call, known: operators.Operator, warned: set[str]) -> Flops:
    if not known.kind:
        if call.full_name not in warned:
            warned.add(call.full_name)
            message = f"the operator {call.full_name} has no rule for its FLOP: its work is unknown (null) in the trace"
            warnings.warn(message, stacklevel=2)
        return UNKNOWN
    result = max((t.numel() for t in call.written), default=0)
    operand = max((t.numel() for t in (*call.reads, *call.mutated)), default=0)
    return known.flops(result, operand, _row(call))


def _row(call: Call) -> int:
    """Elements that are sorted together: a row along the last dimension (`dim` of sorts is nearly always that)."""
    return int(call.reads[0].shape[-1]) if call.reads and call.reads[0].dim() else 1


def _power(call: Call, known: operators.Operator) -> operators.Operator:
    exponent = call.args[1] if len(call.args) > 1 else None
    return operators.powers(float(exponent)) if isinstance(exponent, int | float) else known


def _touches(call: Call, *, spread: bool) -> list[Touch]:
    """Every operand as a whole; where the kernel is elementwise (``spread``), operands are broadcast to the result."""
    like = max(call.written, key=lambda t: t.numel()) if spread else None
    touches = [read(t, like) for t in call.reads]
    if not call.out_variant and not (call.mutated and operators.overwrites(call.name)):
        touches += [read(t, like) for t in call.mutated]
    return [*touches, *(write(t) for t in call.written)]


def _copied(call: Call) -> Kernel:
    """A conversion of type is elementwise; a change of layout a transposition; the rest a copy of bytes."""
    if not call.reads:
        return Kernel(call.full_name, "copy", [write(t) for t in call.written], Flops(), launch_kind="copy", opcodes="copy:1")
    source, result = call.reads[-1], call.written[0]
    touches = [read(source, result), write(result)]
    if source.dtype != result.dtype:
        return Kernel(call.full_name, "elementwise", touches, Flops(vector=result.numel()), opcodes="convert:1")
    if touches[0].stride in ("transposed", "strided"):
        return Kernel(call.full_name, "transpose", touches, Flops(), opcodes="transpose:1")
    if touches[0].stride == "broadcast" and result.numel() > 1:
        return Kernel(call.full_name, "elementwise", touches, Flops(), opcodes="broadcast:1")
    whole = source.is_contiguous() and result.is_contiguous()
    return Kernel(call.full_name, "copy", touches, Flops(), launch_kind="copy" if whole else "other", opcodes="copy:1")


def _indexed(call: Call, known: operators.Operator) -> Kernel:
    """Gathers touch as much of their table as they take, scatters as much of their result as they are given."""
    if known.kind == "gather":
        table, rest = call.reads[0], call.reads[1:]
        result = call.written[0]
        taken = min(touched_bytes(table), float(result.numel() * table.element_size()))
        stride = "contiguous" if _whole_rows(table, result) else "gather"
        touches = [
            Touch(table, False, taken, float(result.numel() * table.element_size()), stride),
            *(read(t) for t in rest),
            write(result),
        ]
        return Kernel(call.full_name, known.family, touches, Flops(), opcodes=known.text())
    values = call.reads[-1] if call.reads else call.written[0]
    target = call.written[0]
    given = float(values.numel() * target.element_size())
    unique = min(given, touched_bytes(target))
    stride = "contiguous" if _whole_rows(target, values) else "gather"
    touches = [read(t) for t in call.reads if not call.fresh or storage_key(t) != storage_key(target)]
    if call.argument("accumulate", False) and "add" not in known.opcodes:
        known = replace(known, opcodes=(*known.opcodes, "add"))
    if "add" in known.opcodes:
        touches.append(Touch(target, False, unique, given, stride))
    touches.append(
        Touch(target, True, touched_bytes(target), touched_bytes(target)) if call.fresh else Touch(target, True, unique, given, stride)
    )
    return Kernel(call.full_name, known.family, touches, known.flops(0, values.numel()), opcodes=known.text())


def _whole_rows(table: Tensor, taken: Tensor) -> bool:
    """Whether an index takes whole rows: the last dimensions agree."""
    return bool(table.dim() > 1 and taken.dim() and table.shape[-1] == taken.shape[-1])


def _multi_tensor(call: Call, setting: Setting) -> Kernel:
    """`_foreach_` operators: one launch for many tensors (multi_tensor_apply)."""
    known = operators.operator(call.name)
    if call.name.startswith("_foreach_pow"):
        known = _power(call, known)
    lists = [value for value in call.args if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor)]
    elements = sum(t.numel() for t in (lists[0] if lists else []))
    launches = operators.multi_tensor_launches(len(lists) + bool(call.fresh), [t.numel() for t in (lists[0] if lists else [])])
    touches = _touches(call, spread=False)
    if call.argument("grad_scale", None) is None:  # fused steps write gradients, by their schema, but only to unscale them
        grads = {id(t) for t in call.argument("grads", ())}
        touches = [touch for touch in touches if not (touch.writes and id(touch.tensor) in grads)]
    result = sum(t.numel() for t in call.fresh) if call.fresh else elements
    work = known.flops(result, elements) if known.kind not in ("", "copy") else Flops()
    family = "elementwise" if known.kind == "copy" else known.family
    made = Kernel(call.full_name, family, touches, work if known.kind else UNKNOWN, opcodes=known.text(), launches=launches)
    if result * launch.WARP > elements:
        return made
    grid, block = operators.multi_tensor_grid(
        t.numel() for t in lists[0]
    )  # norms: blocks for the results alone could not read the operands
    return replace(made, grid=grid, block=block)
