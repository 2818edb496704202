"""Are recurrent layers captured as cuDNN runs them, and do these kernels compute what PyTorch computes?"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from torch import nn

from tests.targets import A5000
from traces.capture.aten import capture_torch, recurrent

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def made(kind, *sizes, **options):
    if kind.startswith("rnn"):
        return nn.RNN(*sizes, nonlinearity=kind.removeprefix("rnn_"), **options)
    return {"lstm": nn.LSTM, "gru": nn.GRU}[kind](*sizes, **options)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize(("bidirectional", "bias", "batch_first"), [(False, True, True), (True, True, False), (True, False, True)])
def test_the_steps_compute_pytorchs_results_and_gradients(kind, bidirectional, bias, batch_first):
    torch.manual_seed(0)
    options = {"bidirectional": bidirectional, "bias": bias, "batch_first": batch_first}
    layers = made(kind, 5, 7, 2, **options).double()
    x = torch.randn(3, 6, 5, dtype=torch.double, requires_grad=True)
    shape = 2 * (1 + bidirectional), 3 if batch_first else 6, 7
    states = [torch.randn(shape, dtype=torch.double, requires_grad=True) for _ in range(2 if kind == "lstm" else 1)]
    y, last = layers(x, tuple(states) if kind == "lstm" else states[0])
    ours = recurrent.run(kind, x, states, layers._flat_weights, (bias, 2, 0.0, True, bidirectional, batch_first))
    theirs = y, *(last if kind == "lstm" else (last,))
    asked = [x, *states, *layers._flat_weights]
    losses = [sum((part**2).sum() * (place + 1) for place, part in enumerate(results)) for results in (theirs, ours)]
    for expected, found in zip(theirs, ours, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for expected, found in zip(*(torch.autograd.grad(loss, asked) for loss in losses), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def only_the_results(layers, x):
    with torch.no_grad():
        return layers(x)[0]


@pytest.mark.parametrize("kind", GATES)
def test_inference_is_a_product_and_a_kernel_a_step(kind):
    """20 steps of 32 sequences, 2 layers of 64 from 48 inputs; a product of all inputs a layer."""
    trace = capture_torch(only_the_results, (made(kind, 48, 64, 2), torch.empty(20, 32, 48)), target=A5000)
    kernels, gates = trace.kernels, GATES[kind] * 64
    products = np.flatnonzero(kernels["family"] == "gemm")
    sizes = [tuple(int(kernels[c][row]) for c in ("m", "n", "k")) for row in products]
    assert sizes.count((32, gates, 64)) == 2 * 20
    assert sorted(set(sizes) - {(32, gates, 64)}) == [(20 * 32, gates, 48), (20 * 32, gates, 64)]
    assert sum(name.endswith("_step") for name in kernels["name"]) == 2 * 20
    assert np.nansum(kernels["flops_matrix"]) == 2 * 20 * 32 * gates * (48 + 64 + 64 + 64)
    assert set(kernels["precision"][products]) == {"default"}  # cuDNN rounds to TF32 where the GPU can


def stepping(layers, x):
    layers(x)[0].sum().backward()


@pytest.mark.parametrize("kind", GATES)
def test_a_gradient_is_a_product_and_a_kernel_a_step_and_one_product_a_weight(kind):
    trace = capture_torch(stepping, (made(kind, 48, 64), torch.empty(20, 32, 48)), target=A5000)
    kernels, gates = trace.kernels, GATES[kind] * 64
    forward = 2 * 20 * 32 * gates * (48 + 64)
    assert np.nansum(kernels["flops_matrix"]) == 2 * forward + 2 * 20 * 32 * gates * 64  # the input has no gradient
    backward = [name for name in kernels["name"] if name.endswith("_step_backward")]
    assert len(backward) == 20
    assert set(kernels["phase"]) == {"forward", "gradient"}
    assert not np.isnan(kernels["flops_vector"]).any()


def test_what_a_step_of_an_lstm_moves():
    """Both products' gates, the cell and both biases are read, state and cell written; nothing is kept without gradients."""
    kernels = capture_torch(only_the_results, (nn.LSTM(48, 64), torch.empty(20, 32, 48)), target=A5000).kernels
    step = next(row for row, name in enumerate(kernels["name"]) if name.endswith("_step"))
    assert kernels["bytes_unique"][step] == 4 * (2 * 32 * 256 + 32 * 64 + 2 * 256 + 2 * 32 * 64)
    elements = 32 * 64  # a gate: three sums; two sums and three products of the cell and the state; five functions
    assert (kernels["flops_vector"][step], kernels["flops_transcendental"][step]) == (elements * (12 + 1 + 3), elements * 5)


def test_autocast_runs_recurrent_layers_in_16_bits():
    def run(layers, x):
        with torch.autocast("cuda", torch.float16), torch.no_grad():
            return layers(x)[0]

    kernels = capture_torch(run, (nn.GRU(48, 64), torch.empty(20, 32, 48)), target=A5000).kernels
    assert {str(kernels["dtype"][row]) for row in np.flatnonzero(kernels["family"] == "gemm")} == {"f16"}


def test_projections_and_derivatives_by_torch_func_keep_their_parts():
    projected = capture_torch(only_the_results, (nn.LSTM(48, 64, proj_size=16), torch.empty(4, 2, 48)), target=A5000)
    assert not any(name.endswith("_step") for name in projected.kernels["name"])

    def mapped(layers, x):
        return torch.func.grad(lambda x: layers(x)[0].sum())(x)

    trace = capture_torch(mapped, (nn.GRU(48, 64), torch.empty(4, 2, 48)), target=A5000)
    assert not any(name.endswith("_step") for name in trace.kernels["name"])
