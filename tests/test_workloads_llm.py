"""Do the language models have their published sizes, and does a decoding step cost what its closed form says?"""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from tests.targets import A5000
from tests.tiny_llm import LEARNED, MIXTURE, SETTINGS, TINY, linear_parameters
from traces import registry
from traces.capture.aten import capture_torch
from traces.errors import CaptureError
from traces.workloads import llm, llm_linear, llm_model, llm_weights
from traces.workloads.llm_shapes import model, models

torch.set_num_threads(1)


def count(tree):
    return sum(leaf.numel() for leaf in torch.utils._pytree.tree_leaves(tree))


@pytest.mark.parametrize("name", sorted(models()))
def test_a_model_has_its_published_number_of_parameters(name):
    shape = model(name)
    published = shape.published_parameters
    exact = published == int(published) and int(published) % 10**6
    assert count(llm_weights.weights(shape, "fp16")) == pytest.approx(published, rel=0 if exact else 0.01)


@pytest.mark.parametrize(("name", "active"), [("mixtral-8x7b", 12.9e9), ("glam", 9.8e9)])
def test_a_mixture_has_its_published_number_of_active_parameters(name, active):
    shape = model(name)
    idle = linear_parameters(shape, shape.experts) - linear_parameters(shape, shape.top_k)
    assert count(llm_weights.weights(shape, "fp16")) - idle == pytest.approx(active, rel=0.02)


@pytest.fixture(scope="module")
def decoding():
    """Traces of 16 decoding steps after a prompt of 300 tokens, four sequences."""
    made = {}

    def get(name, **settings):
        key = (name, *sorted(settings.items()))
        if key not in made:
            made[key] = llm.WORKLOADS[name].capture(A5000, batch=4, prompt=300, tokens=16, prefill="no", **settings)
        return made[key]

    return get


@pytest.mark.parametrize("name", sorted(models()))
def test_the_flop_of_decoding_equal_their_closed_form(name, decoding):
    shape, trace = model(name), decoding(name)
    keys = sum(range(301, 317))  # a token at position p attends to p + 1 keys
    routers = (shape.layers // shape.moe_every if shape.moe_every else 0) * shape.hidden * shape.experts
    linear = 2 * 4 * 16 * (linear_parameters(shape, shape.top_k) + shape.hidden * shape.vocabulary + routers)
    attention = 4 * 4 * shape.heads * shape.head_dim * shape.layers * keys
    assert np.sum(trace.executions * trace.kernels["flops_matrix"]) == linear + attention


@pytest.mark.parametrize("name", sorted(models()))
def test_the_bytes_of_weights_and_cache_that_decoding_moves_equal_their_closed_form(name, decoding):
    shape, trace = model(name), decoding(name)
    amount = (trace.accesses["bytes_unique"] * trace.executions[trace.accesses["kernel"]]).astype(float)
    writes, tensor = trace.access_writes, trace.accesses["tensor"]
    cache = np.isin(trace.tensors["name"], ["cache['keys']", "cache['values']"])[tensor]
    of_token = 2 * shape.layers * 4 * shape.kv_heads * shape.head_dim * 2
    assert np.sum(amount[cache & writes]) == 16 * of_token
    assert np.sum(amount[cache & ~writes]) == sum(range(301, 317)) * of_token
    products = (trace.kernels["family"] == "gemm")[trace.accesses["kernel"]]
    weights = np.char.startswith(trace.tensors["name"].astype(str), "weights[")[tensor]
    matrices = weights & products & ~np.char.endswith(trace.tensors["name"].astype(str), "['bias']")[tensor]
    busy = sum(bool(tokens) for tokens in llm.histogram(shape, 4, "uniform", 0)) if shape.experts else 0
    routers = (shape.layers // shape.moe_every if shape.moe_every else 0) * shape.hidden * shape.experts
    assert np.sum(amount[matrices]) == 16 * 2 * (linear_parameters(shape, busy) + shape.hidden * shape.vocabulary + routers)


@pytest.mark.parametrize(("weights", "bits", "scales"), [("int8", 8, 1 / 4096), ("int4", 4, 1 / 128), ("ternary", 2, 0)])
def test_quantised_weights_move_as_many_bytes_as_they_have_bits(weights, bits, scales, decoding):
    trace, whole = decoding("opt-6.7b", weights=weights), decoding("opt-6.7b")
    linear = linear_parameters(model("opt-6.7b"), 0)
    executed = trace.executions[trace.accesses["kernel"]] * trace.accesses["bytes_unique"]
    codes = (trace.tensors["dtype"] == "u8")[trace.accesses["tensor"]]
    assert np.sum(executed[codes]) == 16 * linear * bits / 8
    moved = [np.sum(t.executions * t.kernels["bytes_unique"]) for t in (whole, trace)]
    work = [np.sum(t.executions * t.kernels["flops_matrix"]) for t in (whole, trace)]
    assert work[0] == work[1]
    biases = 3 * 16 * 4 * 2 * 32 * 13 * 4096  # the quantised kernel leaves the bias to an addition: read, write, bias
    assert moved[0] - moved[1] == pytest.approx(16 * linear * (2 - bits / 8 - 2 * scales), abs=biases)


def codes_of(name, weights, bits, decoding):
    """Bytes of codes that 16 decoding steps read, and what bits and active weights say."""
    shape, trace = model(name), decoding(name, weights=weights)
    busy = sum(bool(tokens) for tokens in llm.histogram(shape, 4, "uniform", 0)) if shape.experts else 0
    codes = (trace.tensors["dtype"] == "u8")[trace.accesses["tensor"]]
    moved = np.sum((trace.executions[trace.accesses["kernel"]] * trace.accesses["bytes_unique"])[codes])
    return moved, 16 * linear_parameters(shape, busy) * bits / 8


@pytest.mark.parametrize("name", sorted(models()))
def test_int4_weights_of_every_model_move_half_a_byte(name, decoding):
    moved, expected = codes_of(name, "int4", 4, decoding)
    assert moved == expected


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "bits"), [("int8", 8), ("ternary", 2)])
@pytest.mark.parametrize("name", sorted(models()))
def test_other_quantised_weights_of_every_model_move_their_bits(name, weights, bits, decoding):
    moved, expected = codes_of(name, weights, bits, decoding)
    assert moved == expected
    work = [np.sum(t.executions * t.kernels["flops_matrix"]) for t in (decoding(name), decoding(name, weights=weights))]
    assert work[0] == work[1]


@pytest.mark.parametrize(("batch", "prompt"), [(1, 128), (16, 1024)])
def test_a_prefill_of_any_batch_and_length_has_the_products_of_its_closed_form(batch, prompt):
    shape = model("llama-2-70b")
    trace = llm.WORKLOADS["llama-2-70b"].capture(A5000, batch=batch, prompt=prompt, tokens=0)
    linear = 2 * batch * (prompt * linear_parameters(shape, 0) + shape.hidden * shape.vocabulary)
    attention = 4 * batch * shape.heads * shape.head_dim * shape.layers * prompt * (prompt + 1) // 2
    assert np.sum(trace.executions * trace.kernels["flops_matrix"]) == linear + attention
    assert trace.manifest["batch"] == batch


def test_grouped_heads_read_a_key_once_a_group(decoding):
    """Llama 2 70B has eight heads a key: a decoding step asks for the bytes of its cache once, not eight times."""
    trace = decoding("llama-2-70b")
    cache = np.isin(trace.tensors["name"], ["cache['keys']", "cache['values']"])[trace.accesses["tensor"]] & ~trace.access_writes
    executed = trace.executions[trace.accesses["kernel"]]
    asked, unique = (np.sum((executed * trace.accesses[f"bytes_{kind}"])[cache]) for kind in ("requested", "unique"))
    assert asked == unique == sum(range(301, 317)) * 2 * 80 * 4 * 8 * 128 * 2


def test_all_layers_are_one_loop_and_memory_holds_them_all(decoding):
    trace, shape = decoding("opt-175b"), model("opt-175b")
    assert len(trace.kernels) < 200
    assert set(trace.regions["trip_count"][trace.regions["name"] == "layers"]) == {96}
    parameters = trace.tensors["bytes"][trace.tensors["kind"] == "parameter"].sum()
    cache = 2 * 96 * 4 * 316 * 12288 * 2
    assert parameters == 2 * count(llm_weights.weights(shape, "fp16")) + cache + 4 * 8


def test_phases_and_stages_are_named():
    trace = llm.WORKLOADS["llama-3-8b"].capture(A5000, batch=1, prompt=16, tokens=4)
    assert set(trace.kernels["phase"]) == {"prefill", "decode"}
    assert set(trace.kernels["stage"]) == {"embedding", "attention", "feed_forward", "head"}


def test_the_prefill_attends_to_the_triangle_and_decoding_may_be_left_out():
    trace = llm.WORKLOADS["llama-3-8b"].capture(A5000, batch=2, prompt=256, tokens=0)
    attention = trace.kernels["family"] == "attention"
    assert trace.kernels["flops_matrix"][attention].tolist() == [4 * 2 * 4096 * 256 * 257 / 2]
    assert set(trace.kernels["phase"]) == {"prefill"}


def real(shape, seed=1, **settings):
    """Arguments and settings of a tiny model in FP32 on the CPU."""
    chosen = SETTINGS | settings
    arguments = llm.arguments(shape, chosen, llm_weights.normal(seed, torch.float32))
    return arguments, {"shape": shape, "prompt_length": chosen["prompt"], "tokens": chosen["tokens"]}


def test_unfused_attention_says_the_same_and_has_the_same_products(decoding):
    (weights, cache, prompt, rope, _, _), settings = real(TINY)
    fused = llm_model.generate(weights, cache, prompt, rope, None, None, **settings)
    assert torch.equal(llm_model.generate(weights, cache, prompt, rope, None, None, fused=False, **settings), fused)
    traces = [decoding("llama-3-8b"), decoding("llama-3-8b", attention="unfused")]
    work = [np.sum(t.executions * t.kernels["flops_matrix"]) for t in traces]
    assert work[0] == work[1]
    products = (traces[1].kernels["stage"] == "attention") & (traces[1].kernels["batch"] > 1)
    assert set(traces[1].kernels["batch"][products]) == {4 * 8}  # sequences times heads of keys
    assert set(traces[1].kernels["m"][products]) == {4}  # heads that share a key


@pytest.mark.parametrize("shape", [TINY, MIXTURE, LEARNED], ids=lambda shape: shape.name)
def test_decoding_with_a_cache_says_what_a_prefill_of_the_same_tokens_says(shape):
    (weights, cache, prompt, rope, _, _), settings = real(shape)
    tokens = prompt
    for _ in range(5):  # without a cache: the whole sequence again for every token
        empty = {name: torch.zeros_like(kept) for name, kept in cache.items()}
        place = llm_model._place(0, tokens.shape[1], rope, None)
        with torch.no_grad():
            tokens = torch.cat((tokens, llm_model.forward(weights, empty, tokens, place, shape)), dim=1)
    last = llm_model.generate(weights, cache, prompt, rope, None, None, **settings)
    assert torch.equal(last, tokens[:, -1:])


def test_a_mixture_is_the_weighted_sum_of_its_tokens_experts():
    weights = llm_weights.weights(MIXTURE, "fp16", llm_weights.normal(0, torch.float32))
    layer = torch.utils._pytree.tree_map(lambda leaf: leaf[0], weights["layers"][1])
    x = torch.randn(2, 3, 32)
    shares = (x @ layer["router"]["weight"].T).softmax(-1)
    best = shares.topk(2).values
    kept = torch.where(shares >= best[..., -1:], shares, 0.0) / best.sum(-1, keepdim=True)
    every = torch.stack([llm_model._feed_forward(x, expert, MIXTURE) for expert in layer["experts"]], dim=-1)
    expected = (every * kept[..., None, :]).sum(-1)
    torch.testing.assert_close(llm_model._mixture(x, layer, None, MIXTURE), expected)


def quantised(matrix, dtype):
    """Nearest codes; a scale a row (int8), a row and 128 columns (int4) or a matrix (ternary) cuts nothing off."""
    bits, rows, groups = {"int8": (8, len(matrix), 1), "int4": (4, len(matrix), matrix.shape[1] // 128), "ternary": (2, 1, 1)}[dtype]
    grouped, largest = matrix.reshape(rows, groups, -1), {8: 127, 4: 7, 2: 1}[bits]
    scales = grouped.abs().amax(dim=-1, keepdim=True) / largest
    codes = (grouped / scales).round().reshape(matrix.shape).to(torch.int16) + {8: 128, 4: 8, 2: 1}[bits]
    packed = (codes.reshape(len(matrix), -1, 8 // bits) << (bits * torch.arange(8 // bits))).sum(dim=-1)
    return llm_weights.Quantized(packed.to(torch.uint8), scales.reshape(rows, groups).to(torch.float16))


@pytest.mark.parametrize(("dtype", "error"), [("int8", 1 / 127), ("int4", 1 / 7), ("ternary", 1)])
def test_the_quantised_operator_multiplies_by_the_weights_that_its_codes_stand_for(dtype, error):
    matrix, x = torch.randn(16, 256), torch.randn(3, 256)
    if dtype == "ternary":
        matrix = matrix.sign() * 0.25
    quantized = quantised(matrix, dtype)
    restored = llm_weights.unpacked(*quantized, llm_weights.BITS[dtype], torch.float32)
    assert quantized.codes.shape == (16, 256 * llm_weights.BITS[dtype] // 8)
    assert (restored - matrix).abs().max() <= 0.51 * error * matrix.abs().max() * (0 if dtype == "ternary" else 1) + 1e-3
    torch.testing.assert_close(llm_linear.linear(x, quantized), x @ restored.T)


def test_a_quantised_model_runs_for_real():
    (weights, cache, prompt, rope, _, _), settings = real(TINY, weights="int4")
    last = llm_model.generate(weights, cache, prompt, rope, None, None, **settings)
    assert last.shape == (2, 1)


@pytest.mark.parametrize("routing", ["uniform", "zipf"])
def test_every_token_draws_its_experts_from_the_seed(routing):
    shape = model("glam")
    drawn = llm.histogram(shape, 1000, routing, 3)
    loads = np.array([len(tokens) for tokens in drawn])
    assert loads.sum() == 2 * 1000
    assert all(len(set(tokens)) == len(tokens) for tokens in drawn)
    assert drawn == llm.histogram(shape, 1000, routing, 3) != llm.histogram(shape, 1000, routing, 4)
    assert (loads.max() > 4 * loads.mean()) == (routing == "zipf")


def test_experts_without_tokens_launch_nothing():
    one = llm.WORKLOADS["glam"].capture(A5000, batch=1, prompt=8, tokens=1, prefill="no")
    many = llm.WORKLOADS["glam"].capture(A5000, batch=64, prompt=8, tokens=1, prefill="no")
    products = [np.sum(t.kernels["family"] == "gemm") for t in (one, many)]
    busy = sum(bool(tokens) for tokens in llm.histogram(model("glam"), 64, "uniform", 0))
    assert products[1] - products[0] == 2 * (busy - 2)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "opt-6.7b",
            {"prompt": 2048},
            "`prompt + tokens <= 2050` must hold for 'opt-6.7b', but got prompt=2048, tokens=128: positions are learned up to there",
        ),
        ("llama-3-8b", {"weights": "int3"}, "there is no weights 'int3'; did you mean 'int8' or 'int4'"),
        ("llama-3-8b", {"routing": "zipf"}, "has no option 'routing'"),
        ("llama-3-8b", {"prefill": "no", "tokens": 0}, "`tokens >= 1, or prefill=yes` must hold"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, given, message):
    with pytest.raises(CaptureError, match=re.escape(message)):
        llm.WORKLOADS[name].programs(**given)


def test_models_are_registered_like_a_users_workloads():
    assert set(models()) <= set(registry.names("workloads"))
    for name in models():
        assert registry.get("workloads", name).name == name


def test_a_real_program_and_its_capture_agree_on_the_products():
    """PyTorch's own counter on a real run of the tiny model; it does not know the CPU's fused attention, hence the unfused form."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    (weights, cache, prompt, rope, _, _), settings = real(TINY, prompt=1, tokens=4)
    trace = capture_torch(llm_model.generate, (weights, cache, prompt, rope, None, None), settings, target=A5000)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        llm_model.generate(weights, cache, prompt, rope, None, None, **settings)
    assert np.sum(trace.executions * trace.kernels["flops_matrix"]) == counter.get_total_flops()


def test_the_command_line_captures_a_model_and_replays_it(tmp_path):
    import json

    from typer.testing import CliRunner

    from codesign.cli.app import app

    file = str(tmp_path / "llama.trace")
    settings = ["--batch", "2", "--set", "prompt=32", "--set", "tokens=8", "--set", "weights=int4"]
    done = CliRunner().invoke(app, ["capture", "llama-3-8b", "--target", "h200", *settings, "-o", file, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["manifest"]["options"]["weights"] == "int4"
    assert found["manifest"]["steps"]["decode"]["affine_defect"] == 0
    replayed = CliRunner().invoke(app, ["replay", file, "--machine", "h200", "--json"])
    assert replayed.exit_code == 0, replayed.output
    assert json.loads(replayed.stdout)["launches"] == found["launches"]
