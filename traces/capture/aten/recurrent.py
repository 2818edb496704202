"""Recurrent layers as cuDNN runs them: one product for the input of all steps, then a product and a fused kernel a step.

What `meta` does instead, some seven kernels a step, is what PyTorch runs on CPUs. cuDNN's structure is that of Appleyard, Kocisky and
Blunsom, "Optimizing Performance of Recurrent Neural Networks on GPUs" (arXiv 1604.01946): products of all gates are one, those of the
inputs of all steps too, what follows is one kernel, and gradients of weights are one product over all steps. It may also run layers side
by side, or keep weights on chip through all steps; neither is done here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from traces.capture.aten import cells
from traces.capture.aten.autocast import Weights, cast, lower_type
from traces.capture.aten.recorder import RECORDING


class _Layer(NamedTuple):
    """What all steps of a layer share: ``kind`` is lstm, gru, rnn_tanh or rnn_relu."""

    kind: str
    gates: int
    kept: int
    """States' widths that a step keeps for the backward pass; none without gradients."""
    backwards: bool


_KINDS = {"lstm": (4, 4), "gru": (3, 4), "rnn_tanh": (1, 0), "rnn_relu": (1, 0)}


@contextmanager
def _tensor_cores(recorder: Any) -> Iterator[None]:
    """Products of cuDNN may round FP32 to TF32 (torch.backends.cudnn.allow_tf32), as convolutions do."""
    if recorder is None:
        yield
        return
    before = recorder.setting
    recorder.setting = replace(before, precision="default")
    try:
        yield
    finally:
        recorder.setting = before


class _Direction(torch.autograd.Function):
    """One layer in one direction: states of all steps from inputs of all steps, [steps, batch, width]."""

    @staticmethod
    def forward(ctx: Any, layer: _Layer, x: Tensor, h0: Tensor, c0: Tensor | None, *weights: Tensor | None) -> tuple[Any, ...]:
        w_input, w_state, *biases = weights
        given_bias, hidden_bias = biases if biases else (None, None)
        assert w_input is not None
        assert w_state is not None
        steps, batch, width = int(x.shape[0]), int(x.shape[1]), int(h0.shape[-1])
        recorder = RECORDING.get()
        with _tensor_cores(recorder):
            given = F.linear(x.reshape(steps * batch, -1), w_input).view(steps, batch, -1)
            y = x.new_empty(steps, batch, width)
            c = None if c0 is None else x.new_empty(steps, batch, width)
            kept = x.new_empty(steps, batch, layer.kept * width)
            h, state = h0, c0
            for t in _order(steps, layer.backwards):
                hidden = F.linear(h, w_state)
                _forward_step(layer, (given[t], hidden, given_bias, hidden_bias), (h, state), (y[t], None if c is None else c[t], kept[t]))
                h, state = y[t], None if c is None else c[t]
        ctx.layer, ctx.recorder = layer, recorder
        ctx.biased = given_bias is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h0, c0, w_input, w_state, y, c, kept)
        last = 0 if layer.backwards else steps - 1
        return y, y[last].clone(), None if c is None else c[last].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        layer, (dy, dh, dc) = ctx.layer, grads
        x, h0, c0, w_input, w_state, y, c, kept = ctx.saved_tensors
        steps, batch, width = y.shape
        gates = x.new_empty(steps, batch, layer.gates * width)
        hidden_gates = x.new_empty(gates.shape) if layer.kind == "gru" else gates
        order = list(_order(steps, layer.backwards))
        with _tensor_cores(ctx.recorder):
            for t, before in zip(reversed(order), [*reversed(order[:-1]), None], strict=True):
                h_before = h0 if before is None else y[before]
                c_before = c0 if c is None or before is None else c[before]
                above = None if dy is None else dy[t]
                direct, dc = _backward_step(
                    layer, (above, dh, dc), (y[t], h_before, None if c is None else c[t], c_before, kept[t]), (gates[t], hidden_gates[t])
                )
                dh = torch.addmm(direct, hidden_gates[t], w_state) if direct is not None else hidden_gates[t] @ w_state
            flat, hidden_flat = gates.view(steps * batch, -1), hidden_gates.view(steps * batch, -1)
            states = torch.cat((y[1:], h0[None]) if layer.backwards else (h0[None], y[:-1])).view(steps * batch, -1)
            dx = (flat @ w_input).view_as(x) if ctx.needs_input_grad[1] else None
            weights = [flat.T @ x.reshape(steps * batch, -1), hidden_flat.T @ states]
        biases = [flat.sum(0), hidden_flat.sum(0)] if ctx.biased else [None, None]
        return (None, dx, dh, dc, *weights, *biases)


def _order(steps: int, backwards: bool) -> Sequence[int]:
    return range(steps - 1, -1, -1) if backwards else range(steps)


def _forward_step(layer: _Layer, products: tuple[Any, ...], state: tuple[Any, ...], into: tuple[Any, ...]) -> None:
    h, c = state
    h_new, c_new, kept = into
    if layer.kind == "lstm":
        cells.lstm(*products, c, h_new, c_new, kept)
    elif layer.kind == "gru":
        cells.gru(*products, h, h_new, kept)
    else:
        cells.rnn(*products, layer.kind == "rnn_relu", h_new)


def _backward_step(layer: _Layer, grads: tuple[Any, ...], states: tuple[Any, ...], into: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return the part of the state's gradient that does not go through the product, and the gradient of the LSTM's cell."""
    above, dh, dc = grads
    h_new, h, c_new, c, kept = states
    gates, hidden_gates = into
    if layer.kind == "lstm":
        dc_before = torch.empty_like(c)
        cells.lstm_backward(above, dh, dc, kept, c, c_new, gates, dc_before)
        return None, dc_before
    if layer.kind == "gru":
        direct = torch.empty_like(h)
        cells.gru_backward(above, dh, kept, h, gates, hidden_gates, direct)
        return direct, None
    cells.rnn_backward(above, dh, h_new, layer.kind == "rnn_relu", gates)
    return None, None


def run(kind: str, x: Tensor, states: Sequence[Tensor], params: Sequence[Tensor], options: Sequence[Any]) -> tuple[Tensor, ...]:
    """Return what ``torch.lstm`` and its like do: results of all steps, and the last states of each layer and direction.

    Parameters
    ----------
    kind
        lstm, gru, rnn_tanh or rnn_relu.
    x
        Input, [steps, batch, width], or [batch, steps, width] with ``batch_first``.
    states
        First states, [layers x directions, batch, width]: h, of an LSTM also c.
    params
        Weights as ``nn.LSTM`` keeps them: of each layer and direction input, state, and both biases if it has them.
    options
        has_biases, num_layers, dropout, train, bidirectional, batch_first.
    """
    has_biases, layers, dropout, train, bidirectional, batch_first = options
    each, directions = 4 if has_biases else 2, 1 + int(bidirectional)
    gates, kept = _KINDS[kind] if torch.is_grad_enabled() else (_KINDS[kind][0], 0)
    x = x.transpose(0, 1).contiguous() if batch_first else x
    last: list[tuple[Any, ...]] = []
    for number in range(layers):
        if number and dropout and train:
            x = F.dropout(x, dropout, training=True)
        made = []
        for direction in range(directions):
            place = number * directions + direction
            layer = _Layer(kind, gates, kept, bool(direction))
            h0, c0 = states[0][place], states[1][place] if kind == "lstm" else None
            made.append(_Direction.apply(layer, x, h0, c0, *params[place * each : (place + 1) * each]))  # type: ignore[no-untyped-call]
        x = made[0][0] if directions == 1 else torch.cat([one[0] for one in made], -1)
        last += made
    finals = [torch.stack([one[1 + number] for one in last]) for number in range(len(states))]
    return (x.transpose(0, 1) if batch_first else x, *finals)


def chooser(kind: str, original: Any, weights: Weights) -> Any:
    """Return what stands for PyTorch's function of recurrent layers: cuDNN's structure on `meta`, else the original."""

    def layers(x: Tensor, states: Any, params: Any, *options: Any) -> Any:
        packed = isinstance(options[0], list | tuple)  # data, batch_sizes, states, params, ...
        projected = not packed and kind == "lstm" and states[0].shape[-1] != states[1].shape[-1]
        if packed or projected or x.device.type != "meta" or torch._C._functorch.peek_interpreter_stack() is not None:
            return original(x, states, params, *options)
        given = list(states) if kind == "lstm" else [states]
        if (lower := lower_type()) is not None:
            x, given, params = cast((x, given, list(params)), lower, weights)
        return run(kind, x, given, params, options)

    return layers
