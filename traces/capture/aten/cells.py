"""One step of recurrent layers after its two products, as cuDNN fuses it: a kernel forward, a kernel backward, for LSTM, GRU and plain RNN.

Gates are in PyTorch's order. ``given`` and ``hidden`` are a step's products with the input and with the state, [batch, gates x width];
results are written where they are wanted. The bodies compute; on `meta` nothing runs, and a capture sees one kernel a call.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from traces.capture.aten.call import CUDA_ONLY, Call, read, write
from traces.capture.aten.kernel import Kernel, Rule, Setting
from traces.capture.work import Flops, opcodes_text

_FORWARD = "Tensor given, Tensor hidden, Tensor? given_bias, Tensor? hidden_bias"


def _sum(given: Tensor, hidden: Tensor, given_bias: Tensor | None, hidden_bias: Tensor | None) -> Tensor:
    total = given + hidden
    return total if given_bias is None or hidden_bias is None else total + given_bias + hidden_bias


def _both(first: Tensor | None, second: Tensor | None, like: Tensor) -> Tensor:
    """Add the gradients that come from the layer above and from the step behind."""
    parts = [part for part in (first, second) if part is not None]
    return torch.zeros_like(like) if not parts else parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _lstm(
    given: Tensor,
    hidden: Tensor,
    given_bias: Tensor | None,
    hidden_bias: Tensor | None,
    c: Tensor,
    h_new: Tensor,
    c_new: Tensor,
    kept: Tensor,
) -> None:
    i, f, g, o = _sum(given, hidden, given_bias, hidden_bias).chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c_new.copy_(f * c + i * g)
    h_new.copy_(o * c_new.tanh())
    if kept.numel():
        kept.copy_(torch.cat((i, f, g, o), 1))


def _lstm_backward(
    above: Tensor | None, dh: Tensor | None, dc: Tensor | None, kept: Tensor, c: Tensor, c_new: Tensor, gates: Tensor, dc_before: Tensor
) -> None:
    i, f, g, o = kept.chunk(4, 1)
    d, squashed = _both(above, dh, c), c_new.tanh()
    inner = d * o * (1 - squashed * squashed) + (0 if dc is None else dc)
    gates.copy_(torch.cat((inner * g * i * (1 - i), inner * c * f * (1 - f), inner * i * (1 - g * g), d * squashed * o * (1 - o)), 1))
    dc_before.copy_(inner * f)


def _gru(
    given: Tensor, hidden: Tensor, given_bias: Tensor | None, hidden_bias: Tensor | None, h: Tensor, h_new: Tensor, kept: Tensor
) -> None:
    given, hidden = (x if b is None else x + b for x, b in ((given, given_bias), (hidden, hidden_bias)))
    (ir, iz, inn), (hr, hz, hn) = given.chunk(3, 1), hidden.chunk(3, 1)
    r, z = (ir + hr).sigmoid(), (iz + hz).sigmoid()
    n = (inn + r * hn).tanh()
    h_new.copy_((1 - z) * n + z * h)
    if kept.numel():
        kept.copy_(torch.cat((r, z, n, hn), 1))


def _gru_backward(
    above: Tensor | None, dh: Tensor | None, kept: Tensor, h: Tensor, gates: Tensor, hidden_gates: Tensor, direct: Tensor
) -> None:
    r, z, n, hn = kept.chunk(4, 1)
    d = _both(above, dh, h)
    dn = d * (1 - z) * (1 - n * n)
    dr, dz = dn * hn * r * (1 - r), d * (h - n) * z * (1 - z)
    gates.copy_(torch.cat((dr, dz, dn), 1))
    hidden_gates.copy_(torch.cat((dr, dz, dn * r), 1))
    direct.copy_(d * z)


def _rnn(given: Tensor, hidden: Tensor, given_bias: Tensor | None, hidden_bias: Tensor | None, relu: bool, h_new: Tensor) -> None:
    total = _sum(given, hidden, given_bias, hidden_bias)
    h_new.copy_(total.relu() if relu else total.tanh())


def _rnn_backward(above: Tensor | None, dh: Tensor | None, h_new: Tensor, relu: bool, gates: Tensor) -> None:
    d = _both(above, dh, h_new)
    gates.copy_(d * (h_new > 0) if relu else d * (1 - h_new * h_new))


def _operator(name: str, body: Any, schema: str, mutated: tuple[str, ...]) -> Any:
    made = torch.library.custom_op(f"{CUDA_ONLY}::{name}", body, mutates_args=mutated, schema=schema)
    made.register_fake(lambda *args, **kwargs: None)
    return made


lstm = _operator(
    "_cudnn_lstm_step",
    _lstm,
    f"({_FORWARD}, Tensor c, Tensor(a!) h_new, Tensor(b!) c_new, Tensor(c!) kept) -> ()",
    ("h_new", "c_new", "kept"),
)
lstm_backward = _operator(
    "_cudnn_lstm_step_backward",
    _lstm_backward,
    "(Tensor? above, Tensor? dh, Tensor? dc, Tensor kept, Tensor c, Tensor c_new, Tensor(a!) gates, Tensor(b!) dc_before) -> ()",
    ("gates", "dc_before"),
)
gru = _operator("_cudnn_gru_step", _gru, f"({_FORWARD}, Tensor h, Tensor(a!) h_new, Tensor(b!) kept) -> ()", ("h_new", "kept"))
gru_backward = _operator(
    "_cudnn_gru_step_backward",
    _gru_backward,
    "(Tensor? above, Tensor? dh, Tensor kept, Tensor h, Tensor(a!) gates, Tensor(b!) hidden_gates, Tensor(c!) direct) -> ()",
    ("gates", "hidden_gates", "direct"),
)
rnn = _operator("_cudnn_rnn_step", _rnn, f"({_FORWARD}, bool relu, Tensor(a!) h_new) -> ()", ("h_new",))
rnn_backward = _operator(
    "_cudnn_rnn_step_backward", _rnn_backward, "(Tensor? above, Tensor? dh, Tensor h_new, bool relu, Tensor(a!) gates) -> ()", ("gates",)
)

_WORK = {
    "_cudnn_lstm_step": {"add": 5, "logistic": 3, "multiply": 3, "tanh": 2},
    "_cudnn_lstm_step_backward": {"add": 1, "multiply": 16, "subtract": 5, "tanh": 1},
    "_cudnn_gru_step": {"add": 5, "logistic": 2, "multiply": 3, "subtract": 1, "tanh": 1},
    "_cudnn_gru_step_backward": {"multiply": 11, "subtract": 5},
    "_cudnn_rnn_step": {"add": 1, "tanh": 1},
    "_cudnn_rnn_step_backward": {"multiply": 2, "subtract": 1},
}
"""Operations an element of the state, by XLA's opcode, without biases and sums of gradients."""
_TRANSCENDENTAL = ("logistic", "tanh")


def _step(call: Call, setting: Setting) -> Kernel:
    counts = dict(_WORK[call.name])
    if call.argument("relu", False):  # a comparison takes the place of the function or of its derivative
        counts = {"add": 1, "maximum": 1} if not call.name.endswith("_backward") else {"multiply": 1, "compare": 1}
    width = int(call.mutated[0].shape[-1])
    if call.argument("given_bias", None) is not None:
        counts["add"] += 2 * int(call.reads[0].shape[-1]) // width
    if call.argument("above", None) is not None and call.argument("dh", None) is not None:
        counts["add"] = counts.get("add", 0) + 1
    state = call.mutated[-1] if call.name.endswith("_backward") else call.mutated[0]
    elements = int(state.numel())
    curved = sum(count for opcode, count in counts.items() if opcode in _TRANSCENDENTAL)
    flops = Flops(vector=float(elements * (sum(counts.values()) - curved)), transcendental=float(elements * curved))
    touches = [*(read(t) for t in call.reads), *(write(t) for t in call.mutated)]
    return Kernel(call.full_name, "elementwise", touches, flops, opcodes=opcodes_text(Counter(counts)))


RULES: dict[str, Rule] = dict.fromkeys(_WORK, _step)
