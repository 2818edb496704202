"""Is a compiled PyTorch program captured as the kernels that Inductor fuses, with the work and traffic of all that went into each?"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from torch import nn
from torch.nn import functional as F

from arch import machine
from arch.streaming import dram_rate
from arch.work import Work
from tests.targets import A5000
from traces.capture.aten import capture_torch
from traces.capture.doubts import CaptureWarning
from traces.errors import CaptureError

torch.set_num_threads(1)

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning"
)  # importing torch.compile's parts warns of PyTorch's own code


def both(function, *args):
    """The program compiled, and the same in eager mode."""
    return (capture_torch(f, args, target=A5000) for f in (torch.compile(function), function))


def accesses(trace, kernel):
    """(tensor, mode, bytes) of a kernel."""
    rows = trace.accesses["kernel"] == kernel
    names = trace.tensors["name"][trace.accesses["tensor"][rows]]
    return sorted(zip(names, trace.accesses["mode"][rows], trace.accesses["bytes_unique"][rows].tolist(), strict=True))


def normalised(x, w, b):
    return F.gelu(F.layer_norm(x @ w + x, (64,))) * 2 + b


def test_what_follows_a_product_is_one_kernel_that_reads_and_writes_once():
    compiled, eager = both(normalised, torch.empty(256, 64), torch.empty(64, 64), torch.empty(64))
    assert compiled.kernels["name"].tolist() == ["aten::addmm", "triton_red_fused_add_erf_mul_rsqrt_sub_var_mean"]
    assert accesses(compiled, 1) == [("b", "read", 256.0), ("buf0", "read", 65536.0), ("buf4", "write", 65536.0)]
    assert compiled.kernels["family"].tolist() == ["gemm", "reduce"]
    assert len(eager.kernels) == 6
    assert np.sum(eager.kernels["bytes_unique"]) > 2 * np.sum(compiled.kernels["bytes_unique"])
    assert np.sum(compiled.kernels["flops_matrix"]) == np.sum(eager.kernels["flops_matrix"])


def test_work_is_that_of_every_operator_that_was_fused():
    compiled, eager = both(lambda x, y: torch.exp(x * y) + x - torch.sqrt(y), torch.empty(100), torch.empty(100))
    assert len(compiled.kernels) == 1
    for column in ("flops_vector", "flops_transcendental"):
        assert np.sum(compiled.kernels[column]) == np.sum(eager.kernels[column])
    assert compiled.kernels["opcodes"][0] == "add:1,exponential:1,multiply:1,sqrt:1,subtract:1"
    assert compiled.kernels["bytes_unique"][0] == 3 * 400


def test_attention_and_products_are_the_library_calls_of_eager_mode():
    def attend(query, key, value, weight):
        joined = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).reshape(2, 128, 256)
        return torch.softmax(joined @ weight, -1)

    query = torch.empty(2, 4, 128, 64, dtype=torch.float16)
    compiled, eager = both(attend, query, query.clone(), query.clone(), torch.empty(256, 256, dtype=torch.float16))
    for trace in (compiled, eager):
        assert trace.kernels["name"][0] == "aten::_scaled_dot_product_flash_attention"
    assert compiled.kernels["flops_matrix"][:1] == eager.kernels["flops_matrix"][:1]
    assert [a for a in accesses(compiled, 0) if a[1] == "read"] == [(n, "read", 131072.0) for n in ("key", "query", "value")]
    product = compiled.kernels["name"].tolist().index("aten::mm")
    assert [int(compiled.kernels[axis][product]) for axis in "mnk"] == [256, 256, 256]
    assert not np.isnan(compiled.kernels["flops_vector"]).any()


def test_a_module_keeps_the_names_of_its_parameters():
    model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))
    trace = capture_torch(torch.compile(model), (torch.empty(32, 64),), target=A5000)
    parameters = trace.tensors["name"][trace.tensors["kind"] == "parameter"]
    assert set(parameters) == {"0.weight", "0.bias", "2.weight", "2.bias", "input"}
    assert trace.kernels["family"].tolist() == ["gemm", "elementwise", "gemm"]
    assert trace.tensors["kind"].tolist().count("output") == 1


def test_an_argument_that_is_changed_in_place_is_written():
    def update(x, y):
        x.add_(y)
        return x * 2

    trace = capture_torch(torch.compile(update), (torch.empty(8), torch.empty(8)), target=A5000)
    written = {name for kernel in range(len(trace.kernels)) for name, mode, _ in accesses(trace, kernel) if mode == "write"}
    assert "x" in written


def test_an_embedding_gathers_the_rows_it_takes():
    table, rows = torch.empty(1000, 16), torch.zeros(4, dtype=torch.int64)
    trace = capture_torch(torch.compile(lambda t, i: F.embedding(i, t) + 1), (table, rows), target=A5000)
    assert ("t", "read", 4 * 16 * 4.0) in accesses(trace, 0)
    assert len(trace.kernels) == 1


def test_temporaries_are_freed_after_their_last_kernel():
    weights = [torch.empty(64, 64) for _ in range(3)]
    trace = capture_torch(torch.compile(lambda x, a, b, c: x @ a @ b @ c), (torch.empty(64, 64), *weights), target=A5000)
    last = dict(zip(trace.tensors["name"], trace.tensors["last_kernel"], strict=True))
    assert sorted(last[name] for name in last if name.startswith("buf")) == [-1, 1, 2]  # the result lives on


def test_gradients_that_the_program_takes_are_fused_with_what_they_differentiate():
    """Autograd on tensors of a CUDA that is not there would end the process."""

    def gradient(x, w):
        return torch.func.grad(lambda w: torch.tanh(x @ w).sum())(w)

    trace = capture_torch(torch.compile(gradient), (torch.empty(32, 64), torch.empty(64, 16)), target=A5000)
    assert [name.partition("_fused")[0] for name in trace.kernels["name"]] == ["aten::mm", "triton_poi", "aten::mm"]
    assert trace.kernels["flops_matrix"].tolist() == [2 * 32 * 64 * 16, 0, 2 * 32 * 64 * 16]
    assert trace.kernels["flops_transcendental"].tolist() == [0, 32 * 16, 0]
    assert accesses(trace, 2)[-1] == ("x", "read", 32 * 64 * 4.0)


def test_tensors_that_the_program_makes_on_cuda_are_made_there():
    trace = capture_torch(torch.compile(lambda x: x + torch.ones(64, device="cuda")), (torch.empty(8, 64),), target=A5000)
    assert len(trace.kernels) == 1


def perceptron(dtype=torch.float32):
    return nn.Sequential(nn.Linear(64, 128, dtype=dtype), nn.GELU(), nn.LayerNorm(128, dtype=dtype), nn.Linear(128, 10, dtype=dtype))


def step(model, optimizer, x, y):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forward_and_backward_pass_of_a_compiled_module_in_a_step_are_what_aotautograd_makes_of_them(dtype):
    model = perceptron(dtype)
    arguments = torch.optim.SGD(model.parameters(), lr=0.1), torch.empty(256, 64, dtype=dtype), torch.zeros(256, dtype=torch.int64)
    compiled, eager = (capture_torch(step, (m, *arguments), target=A5000) for m in (torch.compile(model), model))
    assert np.sum(compiled.kernels["flops_matrix"]) == np.sum(eager.kernels["flops_matrix"])
    assert np.sum(compiled.kernels["bytes_unique"]) < np.sum(eager.kernels["bytes_unique"])
    fused = np.array([name.startswith("triton") for name in compiled.kernels["name"]])
    assert {"forward", "gradient"} == set(compiled.kernels["phase"][fused])
    assert compiled.kernels["phase"].tolist().count("optimizer") == 1
    assert not np.isnan(compiled.kernels["flops_vector"]).any()


def test_what_a_compiled_forward_pass_keeps_lives_until_its_backward_pass():
    def gradient(f, x, w):
        f(x, w).sum().backward()
        return w.grad

    f, x, w = torch.compile(lambda x, w: torch.tanh(x @ w)), torch.empty(32, 64), torch.empty(64, 16, requires_grad=True)
    trace = capture_torch(gradient, (f, x, w), target=A5000)
    names = trace.kernels["name"].tolist()
    assert names == [
        "aten::mm",
        "triton_poi_fused_tanh",
        "aten::sum",
        "aten::ones_like",
        "aten::copy_",
        "triton_poi_fused_mul_sub",
        "aten::mm",
    ]
    kept = [tensor for tensor, mode, _ in accesses(trace, 1) if mode == "write"]  # tanh: its gradient needs no more
    assert (kept[0], "read", 32 * 16 * 4.0) in accesses(trace, 5)
    assert trace.tensors["last_kernel"][trace.tensors["name"] == kept[0]].tolist() == [5]


def test_a_convolution_and_random_numbers_are_compiled():
    model = torch.compile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1)))

    def gradient(model, x):
        with torch.autocast("cuda", torch.bfloat16):
            y = model(x)
        y.float().sum().backward()

    trace = capture_torch(gradient, (model, torch.empty(4, 3, 16, 16)), target=A5000)
    names = trace.kernels["name"].tolist()
    assert [names.count(name) for name in ("aten::convolution", "aten::convolution_backward", "aten::rand")] == [1, 1, 1]
    assert trace.kernels["flops_matrix"][names.index("aten::convolution")] == 2 * 4 * 8 * 14 * 14 * 27
    assert not np.isnan(trace.kernels["flops_vector"]).any()


def test_a_compiled_layer_inside_of_a_module_is_compiled():
    layers = nn.ModuleList([torch.compile(nn.Sequential(nn.Linear(8, 8), nn.GELU())), nn.GELU()])

    def run(layers, x):
        for layer in layers:
            x = layer(x)
        return x

    assert capture_torch(run, (layers, torch.empty(4, 8)), target=A5000).kernels["name"].tolist() == [
        "aten::addmm",
        "triton_poi_fused_add_erf_mul",
        "aten::gelu",
    ]


def test_a_module_that_was_compiled_in_place_is_warned_of():
    model = nn.Linear(4, 4)
    model.compile()
    with pytest.warns(CaptureWarning, match="compiled in place"):
        trace = capture_torch(lambda model, x: model(x).sum(), (model, torch.empty(2, 4)), target=A5000)
    assert trace.kernels["name"].tolist() == ["aten::addmm", "aten::sum"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (step, "capture a plain function that takes torch.compile"),
        (lambda model, *_: (model * 2).sum().backward(), "call backward\\(\\) there"),
    ],
)
def test_a_step_that_is_compiled_as_a_whole_says_what_to_compile(function, message):
    first = perceptron() if "plain" in message else torch.empty(4, requires_grad=True)
    with pytest.raises(CaptureError, match=message):
        capture_torch(torch.compile(function), (first, torch.empty(2, 64)), target=A5000)


def test_the_manifest_says_how_it_was_captured_and_nothing_is_left_behind():
    x = torch.empty(8)
    before = torch.cuda.current_device
    trace = capture_torch(torch.compile(lambda x: x + 1), (x,), target=A5000)
    assert "Inductor" in trace.manifest["captured"]["how"]
    assert torch.cuda.current_device is before
    compiled = torch.compile(lambda x: x + 1, backend="eager")  # a compiled function still runs
    assert torch.equal(compiled(torch.zeros(2)), torch.ones(2))


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (lambda x: x * x.sum().item(), (torch.empty(4),), "Inductor cannot lower the program without a GPU"),
        (lambda x: (x * x).sum().backward(), (torch.empty(4, requires_grad=True),), "Inductor cannot lower the program"),
        (lambda model, x: model(x), (nn.Linear(2, 2), torch.empty(1, 2)), "compile the module itself"),
    ],
)
def test_what_inductor_cannot_lower_is_refused(function, args, message):
    with pytest.raises(CaptureError, match=message):
        capture_torch(torch.compile(function), args, target=A5000)


@pytest.mark.parametrize(
    ("reduce", "blocks", "threads"),
    [
        (lambda x: x.sum(), [432, 1], [512, 128]),  # as many parts as an A100's SMs take at once, then one block for all of them
        (lambda x: (x * 2).sum(1), [8192], [512]),  # a block a row
        (lambda x: x.sum(0), [512], [128]),  # tiles of 16 columns and 32 rows
        (lambda x: x.view(-1, 64).sum(1), [32768], [64]),  # 32 short rows a block, the largest of the tiles that are tried
        (lambda x: (x * x).sum().sqrt(), [432, 1], [512, 128]),
        (lambda x: torch.softmax(x, -1), [8192], [512]),
    ],
)
def test_reductions_have_the_blocks_of_inductors_heuristics_and_read_at_the_rate_of_dram(reduce, blocks, threads):
    """Seconds are at most a tenth more than the bytes at the rate that streaming reaches."""
    trace = capture_torch(torch.compile(reduce), (torch.empty(8192, 8192),), target=machine("a100").target)
    assert trace.kernels["grid_x"].tolist() == blocks
    assert trace.kernels["block_x"].tolist() == threads
    gpu = machine("a100").gpu
    bytes_s = trace.kernels["bytes_unique"].sum() / dram_rate(gpu.entry)
    assert bytes_s < gpu.price(Work.of(trace)).duration_s.sum() < 1.1 * bytes_s


def test_a_reduction_in_two_steps_adds_as_often_as_one():
    compiled, eager = both(lambda x: (x * x).sum(), torch.empty(8192, 8192))
    assert len(compiled.kernels) == 2
    assert np.sum(compiled.kernels["flops_vector"]) == pytest.approx(np.sum(eager.kernels["flops_vector"]), rel=1e-4)


def test_kernels_that_reduce_nothing_have_no_blocks():
    compiled, _ = both(lambda x: x + 1, torch.empty(100))
    assert compiled.kernels["grid_x"].tolist() == [-1]
