"""Loops and scopes of PyTorch programs: plain functions that run for real, and that a capture sees as one loop each.

Eager PyTorch has no loop that a capture could see: a Python `for` over 80 layers makes 80 times the kernels. `scan`, `repeat` and `steps`
call their body for every iteration when the program runs; while it is captured they call it once (``steps`` a few times), and the
trace holds a region with a trip count.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from traces.errors import CaptureError

if TYPE_CHECKING:
    from torch import Tensor

    from traces.capture.aten.recorder import Recorder

Carry = TypeVar("Carry")

SEGMENTS = 8
"""Loops that `steps` makes of its positions."""


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Name what runs inside: 'phase_decode' makes the phase 'decode', 'stage_attention' the stage; `record_function` does the same."""
    from torch.autograd.profiler import record_function

    with record_function(name):
        yield


def scan(body: Callable[..., Carry], carry: Carry, over: Any, *, name: str = "scan") -> Carry:
    """Return what is left of ``carry`` after ``carry = body(carry, slice)`` for each slice of ``over`` along dimension 0.

    Parameters
    ----------
    body
        Takes the carry and one slice of every tensor in ``over`` (views: writing to them writes to ``over``); returns the next carry, of
        the same structure, shapes and types.
    carry
        Tensors in any pytree.
    over
        Tensors in any pytree whose first dimensions are equal: one slice an iteration, such as the stacked weights of layers.
    name
        The loop's name in the trace.

    Raises CaptureError if the lengths differ, or while capturing if the carry changes its shapes.
    """
    from torch.utils import _pytree as pytree

    leaves, spec = pytree.tree_flatten(over)
    lengths = {int(leaf.shape[0]) for leaf in leaves}
    if len(lengths) != 1:
        raise CaptureError(f"scan needs tensors of one length along dimension 0, but {name!r} got lengths {sorted(lengths)}")

    def run(carry: Carry, index: int) -> Carry:
        return body(carry, pytree.tree_unflatten([leaf[index] for leaf in leaves], spec))

    return _iterate(run, carry, range(lengths.pop()), lambda recorder, run, carry, at: _once(recorder, run, carry, at, at[0], name))


def steps(body: Callable[[Carry, int], Carry], carry: Carry, positions: range, *, name: str = "steps", segments: int = SEGMENTS) -> Carry:
    """Return what is left of ``carry`` after ``carry = body(carry, position)`` for each position, such as the tokens of a decoding loop.

    While capturing, the positions are cut into ``segments`` runs; each becomes a loop whose body is captured at its middle, a
    whole position since runs have odd lengths. Work and traffic that are affine in the position, as those of attention over a
    growing cache, sum to what all positions together have, exactly. Sizes of temporaries are those of the middle.
    The trace's manifest says under 'steps' how far the captured positions are from affine.
    """
    if positions.step != 1:
        raise CaptureError(f"steps needs consecutive positions, but {name!r} got a step of {positions.step}")

    def captured(recorder: "Recorder", run: Callable[[Carry, int], Carry], carry: Carry, at: range) -> Carry:
        runs: list[tuple[int, int]] = []
        recorder.runs.append((name, runs))
        for run_of in cut(at, segments):
            middle = run_of[len(run_of) // 2]
            runs.append((len(recorder.regions), middle))
            carry = _once(recorder, run, carry, run_of, middle, f"{name}[{run_of.start}:{run_of.stop}]")
        return carry

    return _iterate(body, carry, positions, captured)


def repeat(body: Callable[[Carry, int], Carry], carry: Carry, positions: range, *, name: str = "repeat") -> Carry:
    """Return what is left of ``carry`` after ``carry = body(carry, position)`` for each position, if no size depends on the position.

    While capturing it is one loop region, whose body is captured at the middle position.
    """

    def captured(recorder: "Recorder", run: Callable[[Carry, int], Carry], carry: Carry, at: range) -> Carry:
        return _once(recorder, run, carry, at, at[len(at) // 2], name)

    return _iterate(body, carry, positions, captured)


def cut(positions: range, segments: int) -> list[range]:
    """Cut positions into about ``segments`` runs of odd lengths, so that the middle of each is a position and the mean of its run."""
    total = len(positions)
    if not total:
        return []
    count = min(max(segments, 1), total)
    if (total - count) % 2:  # as many odd numbers as there are parts sum to the total only if both are even or both odd
        count += 1 if count == 1 else -1
    pairs = (total - count) // 2
    lengths = [1 + 2 * (pairs // count + (i < pairs % count)) for i in range(count)]
    ends = [sum(lengths[: i + 1]) for i in range(count)]
    return [positions[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _iterate(run: Callable[[Carry, int], Carry], carry: Carry, at: range, captured: Any) -> Carry:
    import sys

    module = sys.modules.get("traces.capture.aten.recorder")  # if nothing captures, it may not be imported
    recorder = module.RECORDING.get() if module else None
    if recorder is not None and len(at):
        result: Carry = captured(recorder, run, carry, at)
        return result
    for index in at:
        carry = run(carry, index)
    return carry


def _once(recorder: "Recorder", run: Callable[[Carry, int], Carry], carry: Carry, at: range, index: int, name: str) -> Carry:
    """Capture one iteration as the body of a loop over ``at``."""
    with recorder.loop(name, len(at)) as region:
        after = run(carry, index)
    before, result = _leaves(carry), _leaves(after)
    described = [[(tuple(t.shape), t.dtype) for t in leaves] for leaves in (before, result)]
    if described[0] != described[1]:
        changed = f"{described[0]} to {described[1]}"
        raise CaptureError(f"the carry of a loop must keep its shapes and types, but that of {name!r} goes from {changed}")
    if any(leaf.requires_grad for leaf in result):
        raise CaptureError(
            f"a loop is captured for one iteration, whose backward pass would be seen once, but {name!r} needs gradients: "
            "use torch.no_grad(), or a Python loop"
        )
    recorder.carry(region, before, result)
    return after


def _leaves(tree: Any) -> "list[Tensor]":
    import torch
    from torch.utils import _pytree as pytree

    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
