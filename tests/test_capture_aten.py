"""Does the capture of a PyTorch program hold what eager mode launches?"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import codesign as cd
from tests.targets import A5000
from traces.capture.aten import capture_torch, scope
from traces.capture.doubts import CaptureWarning
from traces.errors import CaptureError
from traces.liveness import live_bytes

torch.set_num_threads(1)


def captured(function, *args, **settings):
    return capture_torch(function, args, target=A5000, **settings)


def kernels(trace):
    return trace.kernels["name"].tolist()


def touched(trace, kernel):
    """(tensor, mode) -> (unique, requested) of one kernel."""
    rows = slice(*trace.access_offsets[kernel : kernel + 2])
    names = trace.tensors["name"][trace.accesses["tensor"][rows]]
    amounts = zip(trace.accesses["bytes_unique"][rows], trace.accesses["bytes_requested"][rows], strict=True)
    return dict(zip(zip(names, trace.accesses["mode"][rows], strict=True), amounts, strict=True))


def test_a_product_has_its_sizes_work_and_bytes():
    trace = captured(lambda x, w, b: F.linear(x, w, b), torch.randn(32, 64), torch.randn(128, 64), torch.randn(128))
    assert kernels(trace) == ["aten::addmm"]
    assert [int(trace.kernels[c][0]) for c in ("batch", "m", "n", "k")] == [1, 32, 128, 64]
    assert trace.kernels["flops_matrix"][0] == 2 * 32 * 128 * 64
    assert trace.kernels["flops_vector"][0] == 32 * 128
    assert touched(trace, 0) == {
        ("x", "read"): (32 * 64 * 4,) * 2,
        ("w", "read"): (128 * 64 * 4,) * 2,
        ("b", "read"): (128 * 4,) * 2,
        ("output", "write"): (32 * 128 * 4,) * 2,
    }


def test_views_are_no_kernels():
    def views(x):
        return x.squeeze_().view(4, 16).t()[2:5].unsqueeze(0).expand(3, -1, -1).detach()

    with pytest.warns(CaptureWarning, match="views launches no kernel"):
        assert kernels(captured(views, torch.randn(8, 8))) == []


def test_a_program_that_computes_on_the_host_alone_says_so():
    outside = torch.randint(0, 8, (8,))
    with pytest.warns(CaptureWarning, match="launches no kernel.* pass those that belong on the GPU"):
        captured(lambda x: torch.bincount(outside), torch.randn(8))


def test_an_in_place_operator_reads_and_writes_its_tensor():
    trace = captured(lambda x: x.add_(1.0), torch.randn(10))
    assert touched(trace, 0) == {("x", "read"): (40, 40), ("x", "write"): (40, 40)}
    assert trace.tensors["kind"].tolist() == ["parameter"]


def test_an_out_variant_writes_what_it_is_given_and_does_not_read_it():
    trace = captured(lambda a, b, c: torch.add(a, b, out=c), *(torch.randn(10) for _ in range(3)))
    assert set(touched(trace, 0)) == {("a", "read"), ("b", "read"), ("c", "write")}


def test_writing_to_a_slice_touches_the_slice_of_the_whole_tensor():
    def write(cache, row):
        cache[:, 3] = row

    trace = captured(write, torch.randn(2, 16, 8), torch.randn(2, 8))
    assert touched(trace, 0) == {("row", "read"): (64, 64), ("cache", "write"): (64, 64)}
    assert trace.tensors["bytes"][trace.tensors["name"].tolist().index("cache")] == 2 * 16 * 8 * 4


def test_every_tensor_has_its_own_type():
    trace = captured(lambda x, w: (x.half() @ w).float(), torch.randn(4, 8), torch.randn(8, 2, dtype=torch.float16))
    assert trace.tensors["dtype"].tolist() == ["f32", "f16", "f16", "f16", "f32"]
    assert trace.kernels["opcodes"].tolist() == ["convert:1", "dot:1", "convert:1"]


def test_a_broadcast_operand_is_touched_once_and_requested_often():
    trace = captured(lambda x, b: x * b, torch.randn(100, 8), torch.randn(8))
    assert touched(trace, 0)["b", "read"] == (32, 3200)
    trace = captured(lambda x, b: x * b, torch.randn(100, 8), torch.randn(100, 1))
    stride = trace.accesses["stride"][trace.access_offsets[0] : trace.access_offsets[1]].tolist()
    assert stride == ["contiguous", "broadcast", "contiguous"]


def test_a_change_of_layout_is_a_transposition_and_a_copy_of_bytes_a_copy():
    trace = captured(lambda x: (x.t().contiguous(), x.clone()), torch.randn(64, 32))
    assert trace.kernels["family"].tolist() == ["transpose", "copy"]
    assert trace.accesses["stride"].tolist()[0] == "transposed"


@pytest.mark.parametrize(
    ("function", "vector", "transcendental"),
    [
        (lambda x: torch.tanh(x), 0, 60),
        (lambda x: F.silu(x), 60, 60),
        (lambda x: x * x + x, 120, 0),
        (lambda x: x.sum(), 59, 0),
        (lambda x: x.sum(dim=1), 50, 0),
        (lambda x: x.softmax(-1), 4 * 60, 60),
        (lambda x: x**2, 60, 0),
        (lambda x: x**2.5, 0, 60),
        (lambda x: x.sort(dim=-1)[0], 60 * 3, 0),
        (lambda x: torch.fft.fft(x.view(15, 4), dim=-1), 5 * 60 * 2, 0),  # 5 n log2 n
        (lambda x: F.max_pool2d(x.view(1, 15, 2, 2), 2), 15 * 4, 0),
        (lambda x: F.avg_pool2d(x.view(1, 1, 10, 6), 3, stride=1), 8 * 4 * 9, 0),
    ],
)
def test_work_follows_the_convention_of_hlo(function, vector, transcendental):
    trace = captured(function, torch.randn(10, 6))
    assert np.sum(trace.kernels["flops_vector"]) == vector
    assert np.sum(trace.kernels["flops_transcendental"]) == transcendental


def test_a_loss_reads_one_score_a_row_in_one_block():
    trace = captured(F.nll_loss, torch.randn(8192, 500), torch.zeros(8192, dtype=torch.long))
    (loss,) = [row for row, name in enumerate(kernels(trace)) if name == "aten::nll_loss_forward"]
    assert trace.kernels["bytes_unique"][loss] == 8192 * (4 + 8) + 2 * 4  # scores and targets; the loss and the sum of weights
    assert trace.kernels["flops_vector"][loss] == 2 * 8192
    assert (trace.kernels["grid_x"][loss], trace.kernels["block_x"][loss]) == (1, 512)


@pytest.mark.parametrize(
    "function",
    [F.mse_loss, F.smooth_l1_loss, F.binary_cross_entropy_with_logits, torch.dot, lambda x, y: torch._foreach_norm([x, y])],
    ids=["mse", "smooth l1", "cross entropy", "dot", "norms"],
)
def test_many_blocks_read_what_becomes_one_number(function):
    """One block would take more than a millisecond for what the memory moves in 11 microseconds (8 MiB at 768 GB/s)."""
    trace = captured(function, *(torch.empty(2**20, device="meta") for _ in range(2)))
    assert 8 * 2**20 / 768e9 < cd.replay(trace, cd.machine("a5000")).kernel_time_s < 4 * 8 * 2**20 / 768e9


def test_a_loss_that_is_not_reduced_has_no_grid_of_a_reduction():
    trace = captured(lambda x, y: F.mse_loss(x, y, reduction="none"), torch.randn(64, 512), torch.randn(64, 512))
    assert trace.kernels["grid_x"][kernels(trace).index("aten::mse_loss")] == -1


def test_the_gradient_of_a_pool_reads_gradients_and_indices_not_the_data():
    def gradient(x):
        x = x.requires_grad_()
        return torch.autograd.grad(F.max_pool2d(x, 2).square().sum(), x)

    trace = captured(gradient, torch.randn(1, 3, 8, 8))
    (row,) = [row for row, name in enumerate(kernels(trace)) if name.endswith("with_indices_backward")]
    assert trace.kernels["bytes_unique"][row] == 3 * (16 * (4 + 8) + 64 * 4)


def test_a_bag_reads_the_rows_of_its_indices():
    bag = nn.EmbeddingBag(1000, 16)
    trace = captured(lambda m, i: m(i), bag, torch.zeros(4, 5, dtype=torch.long))
    row = kernels(trace).index("aten::_embedding_bag")
    assert trace.kernels["flops_vector"][row] == 20 * 16
    assert (20 * 16 * 4, 20 * 16 * 4) in touched(trace, row).values()


def test_a_factorisation_that_nobody_counts_is_refused_by_name_in_a_replay():
    with pytest.warns(UserWarning, match="linalg_eig has no rule"):
        trace = captured(lambda x: torch.linalg.eig(x), torch.randn(8, 8))
    with pytest.raises(cd.errors.MachineError, match="linalg_eig"):
        cd.replay(trace, cd.machine("a5000"))


def step(model, optimizer, x, y):
    with scope("stage_net"):
        out = model(x)
    loss = F.cross_entropy(out, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def training(width=64):
    model = nn.Sequential(nn.Linear(width, 128), nn.GELU(), nn.LayerNorm(128), nn.Linear(128, 10))
    return model, torch.optim.AdamW(model.parameters()), torch.randn(32, width), torch.zeros(32, dtype=torch.long)


def test_a_training_step_has_the_products_that_pytorch_counts_when_it_really_runs():
    trace = captured(step, *training())
    with FlopCounterMode(display=False) as counter:
        step(*training())
    assert np.sum(trace.kernels["flops_matrix"]) == counter.get_total_flops()


def test_a_convolutions_gradient_has_the_work_that_pytorch_counts_when_it_really_runs():
    def train(net, x):
        net(x).sum().backward()

    def given():
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2)), torch.randn(2, 3, 16, 16)

    trace = captured(train, *given())
    with FlopCounterMode(display=False) as counter:
        train(*given())
    assert np.sum(trace.kernels["flops_matrix"]) == counter.get_total_flops()
    assert {"gemm"} == set(trace.kernels["family"][trace.kernels["flops_matrix"] > 0])


def test_phases_are_told_apart_and_a_gradient_keeps_the_stage_of_its_forward_call():
    trace = captured(step, *training())
    phases = trace.kernels["phase"]
    assert list(dict.fromkeys(phases)) == ["forward", "gradient", "optimizer"]
    backward = (phases == "gradient") & (trace.kernels["name"] == "aten::mm")
    assert set(trace.kernels["stage"][backward]) == {"net"}
    assert set(trace.kernels["scope"][backward]) == {"transpose(stage_net)"}


def test_a_scope_names_phase_and_stage_and_a_default_phase_the_rest():
    def program(x):
        with scope("phase_sampling"), scope("stage_A"):
            x = x + 1
        return x * 2

    trace = captured(program, torch.randn(4), phase="rest")
    assert trace.kernels["phase"].tolist() == ["sampling", "rest"]
    assert trace.kernels["stage"].tolist() == ["A", ""]


def test_the_optimiser_uses_multi_tensor_kernels_as_on_a_gpu():
    names = [name for name in kernels(captured(step, *training())) if "foreach" in name]
    assert "aten::_foreach_addcdiv_.ScalarList" in names


def test_the_first_step_of_an_optimiser_looks_like_any_other():
    model, optimizer, x, y = training()
    first = captured(step, model, optimizer, x, y)
    step(model, optimizer, x, y)
    later = captured(step, model, optimizer, x, y)
    assert kernels(first) == kernels(later)
    states = [(trace.tensors["kind"] == "parameter") & ["state[" in name for name in trace.tensors["name"]] for trace in (first, later)]
    assert states[0].sum() == states[1].sum() == 2 * len(list(model.parameters()))


def test_an_optimiser_goes_on_where_it_stands_and_may_be_fused():
    weight = nn.Parameter(torch.randn(100))
    weight.grad = torch.randn(100)
    optimizer = torch.optim.Adam([weight])
    optimizer.step()
    trace = captured(lambda optimizer: optimizer.step(), optimizer)
    assert [name for name in trace.tensors["name"] if "state" in name] == ["optimizer.state[0].exp_avg", "optimizer.state[0].exp_avg_sq"]
    fused = captured(lambda optimizer: optimizer.step(), torch.optim.Adam([weight], fused=True))
    row = kernels(fused).index("aten::_fused_adam_")
    assert fused.kernels["flops_vector"][row] == 12 * 100  # two moments (3 + 4), the denominator (2) and the update (3), by hand
    assert fused.kernels["flops_transcendental"][row] == 100


def test_layers_of_pytorch_choose_the_kernels_that_they_choose_on_a_gpu():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    names = kernels(captured(lambda layer, x: layer(x), layer, torch.randn(2, 5, 16)))
    assert names.count("aten::_scaled_dot_product_efficient_attention") == 1
    assert names.count("aten::native_dropout") == 3


def test_capturing_leaves_what_is_given_as_it_is():
    model, optimizer, x, y = training()
    before = model[0].weight.detach().clone()
    captured(step, model, optimizer, x, y)
    assert torch.equal(model[0].weight, before)
    assert model[0].weight.device.type == "cpu"
    assert model[0].weight.grad is None
    assert not optimizer.state


def test_parameters_that_modules_share_are_one_tensor():
    model = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.Linear(4, 4, bias=False)})
    model["b"].weight = model["a"].weight
    trace = captured(lambda model, x: model["b"](model["a"](x)), model, torch.randn(2, 4))
    assert trace.tensors["name"].tolist() == ["model.a.weight", "x", "value.2", "output"]


def test_memory_is_freed_when_nothing_holds_it_and_kept_for_the_backward_pass():
    x = torch.randn(1024, requires_grad=True)  # 4 KiB

    def chain(x):
        with torch.no_grad():
            for _ in range(5):
                x = x + 1
        return x

    def train(x):
        y = x
        for _ in range(5):
            y = y.tanh()
        y.sum().backward()

    assert live_bytes(captured(chain, x)).tolist() == [8192, *[12288] * 4]
    live = live_bytes(captured(train, x))
    assert live[4] == 6 * 4096  # the argument and five saved results
    assert live.max() < 9 * 4096


def test_flash_attention_is_one_kernel_with_its_real_traffic():
    query, key, value = (torch.randn(2, 8, 512, 64, dtype=torch.float16) for _ in range(3))
    trace = captured(lambda q, k, v: F.scaled_dot_product_attention(q, k, v), query, key, value)
    assert kernels(trace) == ["aten::_scaled_dot_product_flash_attention"]
    assert trace.kernels["family"][0] == "attention"
    size, pairs = 2 * 8 * 512 * 64 * 2, 2 * 8 * 512 * 512
    assert trace.kernels["bytes_unique"][0] == 4 * size + 2 * 8 * 512 * 4
    assert trace.kernels["flops_matrix"][0] == 4 * 64 * pairs
    assert trace.kernels["flops_transcendental"][0] == pairs
    assert touched(trace, 0)["k", "read"] == (size, size * 4)  # four blocks of 128 rows of the query
    assert [int(trace.kernels[f"grid_{axis}"][0]) for axis in "xyz"] == [4, 2, 8]


def test_a_causal_mask_leaves_half_and_the_backward_pass_needs_five_products():
    query = torch.randn(1, 2, 256, 64, dtype=torch.float16, requires_grad=True)
    trace = captured(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward(), query)
    work = trace.kernels["flops_matrix"][trace.kernels["family"] == "attention"]
    assert work.tolist() == [4 * 64 * 2 * 256 * 257 / 2, 10 * 64 * 2 * 256 * 257 / 2]


def test_one_query_reads_keys_once_a_group_and_splits_them_over_the_gpu():
    query, key = torch.randn(1, 32, 1, 128, dtype=torch.float16), torch.randn(1, 8, 4096, 128, dtype=torch.float16)
    trace = captured(lambda q, k: F.scaled_dot_product_attention(q, k, k.clone(), enable_gqa=True), query, key)
    size = 8 * 4096 * 128 * 2
    assert touched(trace, 1)["k", "read"] == (size, size)
    splits = int(trace.kernels["grid_y"][1])
    assert splits > 1
    assert trace.kernels["launches"][1] == 2
    assert sum(trace.tensors["bytes"][trace.tensors["kind"] == "workspace"]) == 4 * splits * 32 * 129


def test_single_precision_attention_takes_the_memory_efficient_kernel_and_old_gpus_no_flash():
    from dataclasses import replace

    wide = torch.randn(1, 2, 64, 32)
    attend = lambda q: F.scaled_dot_product_attention(q, q, q)  # noqa: E731
    assert kernels(captured(attend, wide)) == ["aten::_scaled_dot_product_efficient_attention"]
    v100 = replace(A5000, compute_capability=(7, 0))
    assert kernels(capture_torch(attend, (wide.half(),), target=v100)) == ["aten::_scaled_dot_product_efficient_attention"]


def test_an_operator_without_a_rule_has_unknown_work_and_a_warning_that_names_it():
    with pytest.warns(UserWarning, match="aten::special_airy_ai has no rule for its FLOP"):
        trace = captured(lambda x: torch.special.airy_ai(x), torch.randn(4))
    assert np.isnan(trace.kernels["flops_vector"][0])
    assert trace.kernels["bytes_unique"][0] == 32


@pytest.mark.parametrize(("precision", "column", "manifest"), [(None, "highest", "highest"), ("high", "default", "default")])
def test_the_precision_of_products_is_asked_for(precision, column, manifest):
    trace = captured(lambda x: x @ x, torch.randn(8, 8), precision=precision)
    assert trace.kernels["precision"][0] == column
    assert trace.manifest["precision"] == manifest


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * x.sum().item(), "must not depend on values"),
        (lambda x: x if x.sum() > 0 else -x, "must not depend on values"),
        (lambda x: x[x > 0], "needs values or does not know device meta"),
        (lambda x: x + torch.ones(4), "tensors must be arguments of the program or be made on their device"),
        (lambda x: x.view(2, 2) @ torch.ones(2, 2), "tensors must be arguments of the program or be made on their device"),
        (lambda x: x.cpu(), "needs values or does not know device meta"),
    ],
)
def test_a_program_that_shapes_cannot_describe_is_refused(function, message):
    with pytest.raises(CaptureError, match=message):
        captured(function, torch.randn(4))


@torch.library.custom_op("codesign_tests::shapeless", mutates_args=(), device_types="cuda")
def shapeless(x: torch.Tensor) -> torch.Tensor:
    raise AssertionError("there is no GPU")


@torch.library.custom_op("codesign_tests::unknown_work", mutates_args=(), device_types="cuda")
def unknown_work(x: torch.Tensor) -> torch.Tensor:
    raise AssertionError("there is no GPU")


unknown_work.register_fake(torch.empty_like)


def sliced_while_large(x):
    while (x * x).sum() > 1:
        x = x / 2
    return x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (sliced_while_large, "must not depend on values"),
        (lambda x: x.numpy(), r"must not depend on values, but numpy\(\) takes them to the host"),
        (lambda x: x.tolist(), "needs values or does not know device meta"),
        (lambda x: torch.nonzero(x), "operator aten.nonzero.default needs values"),
        (lambda x: shapeless(x), "operator codesign_tests.shapeless.default says nothing of its results' shapes: give it a fake"),
        (lambda x: x.to("mps"), "captured for a CUDA GPU, but asks for device 'mps'"),
        (lambda x: x + torch.ones(4, device=torch.device("xpu", 0)), "captured for a CUDA GPU, but asks for device 'xpu'"),
        (lambda x: (torch.cuda.Event(), x + 1), "without a GPU, but the program calls CUDA's own interface"),
    ],
)
def test_what_needs_values_or_another_device_is_refused_by_name(function, message):
    with pytest.raises(CaptureError, match=message):
        captured(function, torch.randn(4))


def test_an_operator_that_only_a_gpu_has_is_a_kernel_if_it_knows_its_shapes():
    with pytest.warns(UserWarning, match="codesign_tests::unknown_work has no rule for its FLOP"):
        trace = captured(lambda x: unknown_work(x).relu(), torch.randn(4))
    assert kernels(trace) == ["codesign_tests::unknown_work", "aten::relu"]
    assert np.isnan(trace.kernels["flops_vector"][0])
    assert trace.kernels["bytes_unique"].tolist() == [32, 32]


def test_waiting_for_the_gpu_launches_nothing():
    assert kernels(captured(lambda x: (torch.cuda.synchronize(), x.relu())[1], torch.randn(4))) == ["aten::relu"]


def test_operands_of_two_types_are_refused_as_on_a_gpu():
    with pytest.raises(CaptureError, match="aten::addmm must be of one type"):
        captured(nn.Linear(8, 8).half(), torch.randn(4, 8))


def test_ranges_and_the_allocators_figures_launch_nothing():
    def run(x):
        torch.cuda.empty_cache()
        with torch.cuda.nvtx.range("a"):
            return x.relu()

    assert kernels(captured(run, torch.randn(4))) == ["aten::relu"]


@pytest.mark.parametrize(
    "ask",
    [lambda: torch.cuda.Stream(), lambda: torch.Generator(device="cuda"), lambda: torch.cuda.memory_snapshot()],
    ids=["stream", "generator", "memory"],
)
def test_what_asks_for_a_gpu_is_refused(ask):
    with pytest.raises(CaptureError, match="calls CUDA's own interface"):
        captured(lambda x: (ask(), x)[1], torch.randn(4))


def test_an_unknown_precision_is_refused():
    with pytest.raises(CaptureError, match="must be one of 'highest', 'high', 'medium', 'default'"):
        captured(lambda x: x, torch.randn(4), precision="tf32")


def test_tensors_may_be_made_on_cuda_where_there_is_none():
    trace = captured(lambda x: x.to("cuda") + torch.arange(4, device="cuda").cuda(), torch.randn(4))
    assert kernels(trace) == ["aten::arange.start", "aten::add.Tensor"] or kernels(trace) == ["aten::arange", "aten::add.Tensor"]


def test_two_captures_are_equal():
    assert captured(step, *training()).content_hash == captured(step, *training()).content_hash


def test_the_public_capture_picks_pytorch_for_pytorch_programs():
    trace = cd.capture(nn.Linear(4, 2), (torch.randn(3, 4),), target="a5000")
    assert kernels(trace) == ["aten::addmm"]
    assert trace.tensors["name"].tolist() == ["weight", "bias", "input", "output"]
    assert trace.manifest["captured"]["how"].startswith("ATen")
    with pytest.raises(CaptureError, match="are for JAX programs"):
        cd.capture(nn.Linear(4, 2), (torch.randn(3, 4),), target="a5000", x64=True)


def test_a_captured_program_can_be_priced_and_saved(tmp_path):
    from arch.building import machine
    from arch.cost import cost_table

    captured(step, *training()).save(tmp_path / "step.trace")
    costs = cost_table(cd.load(tmp_path / "step.trace"), machine("a5000"))
    assert np.all(costs.duration_s > 0)


def test_the_examples_of_the_documentation_run():
    text = (Path(__file__).parent.parent / "docs" / "pytorch.md").read_text()
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block.replace("print(", "str("), names)
    assert names["trace"].launches == 4096 * (3 + 2 * 80)
    assert names["trace"].manifest["steps"]["steps"]["affine_defect"] == 0


def test_codesign_is_imported_and_workloads_are_listed_without_pytorch():
    code = "import sys; sys.modules['torch'] = None; import codesign; from traces import registry; registry.load('workloads')\n"
    code += "from traces.capture.aten import capture_torch\n"
    code += "from traces.errors import MissingExtra\n"
    code += "try: capture_torch(print, target=1)\nexcept MissingExtra as error: print(error)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'codesign[torch]'" in done.stdout


def test_a_program_without_tensors_among_its_arguments_says_how_to_pass_them():
    model = nn.Linear(8, 8)
    for function, args in ((lambda n: torch.ones(n, 8) @ torch.ones(8, 8), (4,)), (lambda: model(torch.ones(2, 8)), ())):
        with pytest.raises(CaptureError, match="must be arguments of the program"):
            cd.capture(function, args=args, target="a5000")
    made = cd.capture(lambda n: torch.ones(n, 8, device="meta") + 1, args=(4,), target="a5000")
    assert len(made.kernels) == 2
