"""Does a captured program hold what arithmetic says it must?"""

import numpy as np
import pytest

from tests.targets import A5000
from traces.errors import CaptureError
from traces.liveness import live_bytes

pytest.importorskip("jax_plugins.xla_cuda12", reason="needs the extra xla-gpu")

import jax
import jax.numpy as jnp

from traces.capture import capture

F32 = jnp.float32


def shape(*dims, dtype=F32):
    return jax.ShapeDtypeStruct(dims, dtype)


def captured(function, *args, **settings):
    return capture(function, args, target=A5000, **settings)


def row(trace, **where):
    """Return the kernel whose columns have the given values, as a dictionary; there must be one."""
    table = trace.kernels.decoded()
    rows = [k for k in range(len(trace.kernels)) if all(table[name][k] == value for name, value in where.items())]
    assert len(rows) == 1, rows
    return {"row": rows[0], **{name: column[rows[0]] for name, column in table.items()}}


def touched(trace, kernel, mode):
    """Return {tensor name: (unique bytes, requested bytes, stride)} of a kernel's accesses in one mode."""
    a, names = trace.accesses.decoded(), trace.tensors["name"]
    rows = [i for i in range(len(trace.accesses)) if a["kernel"][i] == kernel and a["mode"][i] == mode]
    return {names[a["tensor"][i]]: (a["bytes_unique"][i], a["bytes_requested"][i], a["stride"][i]) for i in rows}


# Matrix products


def test_a_matrix_product_has_its_shape_work_and_traffic():
    trace = captured(jnp.matmul, shape(256, 64), shape(64, 32))
    gemm = row(trace, family="gemm")
    assert (gemm["batch"], gemm["m"], gemm["n"], gemm["k"]) == (1, 256, 32, 64)
    assert gemm["flops_matrix"] == 2 * 256 * 32 * 64
    assert gemm["flops_vector"] == 0
    assert gemm["bytes_unique"] == 4 * (256 * 64 + 64 * 32 + 256 * 32)
    assert (gemm["launch_kind"], gemm["library"], gemm["dtype"], gemm["opcodes"]) == ("library", "gemm", "f32", "dot:1")


def test_the_workspace_of_a_product_is_no_traffic():
    trace = captured(jnp.matmul, shape(256, 64), shape(64, 32))
    kinds, sizes = trace.tensors["kind"], trace.tensors["bytes"]
    assert list(sizes[kinds == "workspace"]) == [4 * 2**20]
    gemm = row(trace, family="gemm")["row"]
    workspace = next(iter(set(touched(trace, gemm, "write")) - {"output"}))
    assert touched(trace, gemm, "write")[workspace][:2] == (0, 0)


def test_a_batched_product_counts_its_batch():
    gemm = row(captured(lambda a, b: a @ b, shape(10, 16, 8), shape(10, 8, 4)), family="gemm")
    assert (gemm["batch"], gemm["m"], gemm["n"], gemm["k"]) in [(10, 16, 4, 8), (10, 4, 16, 8)]
    assert gemm["flops_matrix"] == 2 * 10 * 16 * 4 * 8


def test_a_bias_that_is_fused_into_a_product_is_one_flop_an_element():
    gemm = row(captured(lambda x, w, b: x @ w + b, shape(256, 64), shape(64, 32), shape(32)), family="gemm")
    assert gemm["flops_vector"] == 256 * 32
    assert gemm["opcodes"] == "add:1,dot:1"


@pytest.mark.parametrize("precision", ["default", "high", "highest"])
def test_the_precision_is_what_was_asked_for(precision):
    trace = captured(jnp.matmul, shape(64, 64), shape(64, 64), precision=precision)
    assert row(trace, family="gemm")["precision"] == precision
    assert trace.manifest["precision"] == precision


def test_determinants_and_solves_have_lapacks_work():
    def f(a, b):
        return jnp.linalg.slogdet(a)[1], jnp.linalg.solve(a, b)

    trace = captured(f, shape(100, 10, 10), shape(100, 10, 3))
    kernels = trace.kernels.decoded()
    lu = kernels["library"] == "getrf"
    assert np.allclose(kernels["flops_matrix"][lu], 100 * 2 / 3 * 10**3)
    assert np.all(kernels["launches"][lu] == 2)
    solve = kernels["family"] == "triangular_solve"
    assert np.all(kernels["flops_matrix"][solve] == 100 * 10**2 * 3)
    assert np.all(kernels["launches"][solve] == 3)
    first = int(np.flatnonzero(solve)[0])
    matrix = 4 * 100 * 10 * 10
    assert (matrix * 11 / 20, matrix * 11 / 20, "contiguous") in touched(trace, first, "read").values()


# Elementwise kernels, layouts


def test_an_elementwise_kernel_reads_and_writes_each_element_once():
    trace = captured(lambda x, y: jnp.tanh(x) * y + 1, shape(1000, 100), shape(1000, 100))
    kernel = row(trace, family="elementwise")
    assert kernel["bytes_unique"] == kernel["bytes_requested"] == 3 * 4 * 100_000
    assert (kernel["flops_vector"], kernel["flops_transcendental"], kernel["flops_matrix"]) == (200_000, 100_000, 0)
    assert kernel["grid_x"] * kernel["block_x"] >= 100_000 / 4
    assert kernel["registers"] > 0
    assert kernel["spill_bytes"] == 0
    assert kernel["dtype"] == "f32"


def test_the_profilers_flops_come_from_the_machine_code():
    kernel = row(captured(lambda x, y, z: x * y + z, *[shape(4096, dtype=F32)] * 3), family="elementwise")
    threads = kernel["grid_x"] * kernel["block_x"]
    assert kernel["flops_ncu"] % threads == 0
    assert kernel["flops_ncu"] == 2 * 4096  # a multiplication and an addition an element, or one fused of two
    assert kernel["instructions"] > kernel["flops_ncu"]


def test_a_broadcast_operand_is_read_again_and_again():
    trace = captured(lambda x, b: x + b[:, None], shape(1000, 100), shape(1000))
    reads = touched(trace, row(trace, family="elementwise")["row"], "read")
    assert reads["b"] == (4000, 400_000, "broadcast")
    assert reads["x"] == (400_000, 400_000, "contiguous")


def test_a_concatenation_is_slice_concat():
    trace = captured(lambda x, y: jnp.concatenate([x, y], axis=1), shape(100, 30), shape(100, 50))
    kernel = row(trace, family="slice_concat")
    reads = touched(trace, kernel["row"], "read")
    assert reads["x"][:2] == (12_000, 12_000)
    assert reads["y"][:2] == (20_000, 20_000)
    assert kernel["bytes_unique"] == 2 * 32_000


def test_a_reduction_reads_its_operand_along():
    trace = captured(lambda x: x.sum(axis=1), shape(1000, 512))
    kernel = row(trace, family="reduce")
    assert kernel["flops_vector"] == 1000 * 511
    assert touched(trace, kernel["row"], "read")["x"] == (2_048_000, 2_048_000, "contiguous")


def test_a_transpose_is_a_transpose():
    trace = captured(lambda x: x.transpose(0, 2, 1).copy(), shape(1024, 4, 8))
    kernel = row(trace, family="transpose")
    assert kernel["bytes_unique"] == 2 * 4 * 1024 * 32
    assert kernel["flops_vector"] == 0


def test_a_softmax_is_a_reduction_that_loads_its_tile_once():
    kernel = row(captured(lambda x: jax.nn.softmax(x), shape(1024, 512)), family="reduce")
    assert kernel["bytes_unique"] == kernel["bytes_requested"] == 2 * 4 * 1024 * 512


# Loops, regions, command buffers


def scan10(x, w):
    return jax.lax.scan(lambda c, _: (jnp.tanh(c @ w), c.sum()), x, None, length=10)


def test_a_scan_is_a_loop_that_the_host_counts():
    trace = captured(scan10, shape(128, 64), shape(64, 64))
    regions = trace.regions.decoded()
    assert list(regions["trip_count"]) == [1, 10]
    assert list(regions["kind"]) == ["sequence", "loop"]
    assert regions["condition"][1] == "host"
    gemm = row(trace, family="gemm")
    assert trace.executions[gemm["row"]] == 10
    assert not any("compare" in opcodes for opcodes in trace.kernels["opcodes"])


def test_a_carry_is_one_allocation_and_lives_through_the_loop():
    trace = captured(scan10, shape(128, 64), shape(64, 64))
    tensors = trace.tensors.decoded()
    output = list(tensors["name"]).index("output[0]")
    same = tensors["alias_set"] == tensors["alias_set"][output]
    assert same.sum() >= 2
    assert np.all(tensors["last_kernel"][same] == -1)
    assert np.all(tensors["first_kernel"][same] < trace.regions["first_kernel"][1])


def test_an_element_written_into_a_stack_in_a_loop_touches_one_element():
    trace = captured(scan10, shape(128, 64), shape(64, 64))
    kernel = row(trace, family="slice_concat")
    assert touched(trace, kernel["row"], "write")["output[1]"][0] == 4


def until(x):
    with jax.named_scope("search"):
        return jax.lax.while_loop(lambda c: c.sum() < 1e6, lambda c: jnp.sin(c) + c, x)


def test_an_unknown_trip_count_is_an_error_that_names_the_loop():
    with pytest.raises(CaptureError, match=r"does not know that of while\S* \(scope jit\(until\)/search/while\): pass trip_counts="):
        captured(until, shape(4096))


@pytest.mark.parametrize("trip_counts", [7, {"search": 7}, {"search/while": 7}])
def test_an_unknown_trip_count_is_an_argument(trip_counts):
    trace = captured(until, shape(4096), trip_counts=trip_counts)
    loop = {name: column[1] for name, column in trace.regions.decoded().items()}
    assert (loop["trip_count"], loop["condition"]) == (7, "device")
    reductions = trace.kernels["family"] == "reduce"
    tested = trace.executions[reductions].sum() / (reductions[loop["first_kernel"] : loop["end_kernel"]].sum())
    assert tested == 8  # the condition is evaluated once more than the body runs


def test_a_loop_that_never_runs_leaves_its_first_test():
    trace = captured(until, shape(4096), trip_counts=0)
    assert len(trace.regions) == 1
    assert trace.launches >= 1


def test_a_trip_count_for_no_loop_is_an_error():
    with pytest.raises(CaptureError, match="'serch' does neither"):
        captured(until, shape(4096), trip_counts={"search": 3, "serch": 7})


def test_short_runs_of_kernels_share_a_command_buffer():
    def f(x):
        a = jnp.sort(x, axis=0)
        b = jnp.sort(x, axis=1)
        return a, b, jnp.argsort(x, axis=0), x.sum()

    buffers = captured(f, shape(64, 64)).kernels["command_buffer"]
    assert set(buffers) == {0}


def test_a_conditional_takes_the_branch_of_most_launches():
    def f(i, x):
        return jax.lax.cond(i > 0, lambda x: jnp.sort(x, axis=0) @ x, lambda x: x * 2, x)

    trace = captured(f, shape(dtype=jnp.int32), shape(64, 64))
    assert {"gemm", "sort"} <= set(trace.kernels["family"])
    assert len(trace.manifest["conditionals"]) == 1


# Memory


def test_a_donated_argument_and_its_result_are_one_allocation():
    trace = captured(jax.jit(lambda s, b: s + b, donate_argnums=0), shape(1000, 100), shape(100))
    tensors = trace.tensors.decoded()
    assert list(tensors["name"]) == ["s", "b", "output"]
    assert tensors["alias_set"][0] == tensors["alias_set"][2] != tensors["alias_set"][1]
    assert live_bytes(trace).max() == 400_000 + 400


def test_an_argument_that_is_not_donated_stays():
    trace = captured(lambda s, b: s + b, shape(1000, 100), shape(100))
    assert live_bytes(trace).max() == 2 * 400_000 + 400


def chain(x, w):
    y = jnp.tanh(x @ w)
    return (y @ w.T + x).sum(axis=1)


PROGRAMS = {
    "chain": (chain, (shape(4096, 512), shape(512, 512))),
    "scan": (scan10, (shape(4096, 512), shape(512, 512))),
    "gradient": (jax.grad(lambda w, x: chain(x, w).sum()), (shape(512, 512), shape(4096, 512))),
    "solve": (jnp.linalg.solve, (shape(1024, 32, 32), shape(1024, 32, 32))),
    "sort": (lambda x: jnp.sort(x, axis=0) * 2, (shape(4096, 128),)),
    "softmax": (lambda x: jax.nn.softmax(x @ x.T), (shape(512, 64),)),
    "branch": (lambda i, x: jax.lax.switch(i, [jnp.sin, lambda x: x @ x, lambda x: x + 1], x), (shape(dtype=jnp.int32), shape(64, 64))),
    "many results": (lambda x: (jnp.zeros((100, 64, 64)).at[3].set(x @ x), jnp.sort(x), x + 1), (shape(64, 64),)),
}


@pytest.mark.filterwarnings("ignore:.*sort in XLA's own way")
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_live_peak_is_within_the_compilers_memory(name):
    function, args = PROGRAMS[name]
    memory = captured(function, *args).manifest["memory"]
    assert 0.85 * memory["compiler_allocated_bytes"] <= memory["live_peak_bytes"] <= memory["compiler_allocated_bytes"]


# Scopes and names


def test_scopes_give_phase_and_stage():
    def f(x, w):
        with jax.named_scope("phase_sampling"), jax.named_scope("stage_A"):
            x = x @ w
        with jax.named_scope("inner"):
            return jnp.sort(x, axis=0)

    trace = captured(f, shape(64, 64), shape(64, 64), phase="rest", stage_rules=[("B", "inner/")])
    gemm, sort = row(trace, family="gemm"), row(trace, family="sort")
    assert (gemm["phase"], gemm["stage"]) == ("sampling", "A")
    assert (sort["phase"], sort["stage"]) == ("rest", "B")
    assert gemm["scope"] == "jit(f)/phase_sampling/stage_A/dot_general"


def test_a_kernel_without_a_scope_takes_that_of_the_kernel_it_prepares():
    def f(x, w):
        with jax.named_scope("stage_B"):
            return jax.lax.fori_loop(0, 3, lambda i, c: jnp.tanh(c @ w), x)

    stages = captured(f, shape(256, 64), shape(64, 64)).kernels
    assert set(stages["stage"]) == {"B"}
    assert "copy" in set(stages["family"])


def test_a_slice_that_is_a_copy_reads_the_slice():
    trace = captured(lambda x: x[10:20] * 1, shape(100, 64))
    assert trace.kernels["bytes_unique"].sum() == 2 * 4 * 10 * 64


def test_parameters_and_results_are_named_by_their_place():
    def f(params, x, *, scale):
        return {"y": x @ params["w"] + params["b"] * scale, "n": x.sum()}

    args = ({"w": shape(64, 32), "b": shape(32)}, shape(8, 64))
    trace = capture(f, args, kwargs={"scale": shape()}, target=A5000)
    names = set(trace.tensors["name"])
    assert {"params['w']", "params['b']", "x", "scale", "output['y']", "output['n']"} <= names


def test_unused_and_static_arguments_are_no_tensors():
    def f(x, unused, n):
        return x * n

    trace = captured(jax.jit(f, static_argnames="n"), shape(100), shape(7), 3)
    assert set(trace.tensors["name"]) == {"x", "output"}


def test_random_keys_are_arguments():
    trace = captured(lambda key: jax.random.normal(key, (1000,)), jax.random.key(0))
    assert trace.tensors["kind"][0] == "parameter"
    assert trace.launches == 1


def test_a_program_without_arguments_can_be_captured():
    assert captured(lambda: jnp.ones(300)).launches == 1


# Numerics, errors


def test_64_bit_types_are_an_argument():
    trace = captured(lambda x: x * 2, shape(100, dtype=np.float64), x64=True)
    assert row(trace, family="elementwise")["dtype"] == "f64"
    narrow = captured(lambda x: x * 2, np.zeros(100))
    assert row(narrow, family="elementwise")["dtype"] == "f32"


def test_a_64_bit_array_without_saying_so_is_an_error():
    with jax.enable_x64(True):
        wide = jnp.zeros(3)
    with pytest.raises(CaptureError, match=r"x64 must be said .* float64\[3\]: pass x64=True"):
        captured(lambda x: x, wide)


def test_an_unknown_precision_is_an_error():
    with pytest.raises(CaptureError, match="did you mean 'highest'"):
        captured(lambda x: x, shape(3), precision="higest")


@pytest.mark.parametrize(
    "function", [lambda x: x if x.sum() > 0 else -x, lambda x: x * float(x.sum()), lambda x: np.asarray(x) + 1, lambda x: x[x > 0]]
)
def test_a_function_that_is_not_jittable_is_an_error_with_a_remedy(function):
    with pytest.raises(CaptureError, match=r"must be jittable.*jax\.lax\.cond"):
        captured(function, shape(3))


def test_attention_of_cudnn_is_an_error_with_a_remedy():
    query = jax.ShapeDtypeStruct((2, 128, 4, 64), jnp.bfloat16)
    with pytest.raises(CaptureError, match="implementation='xla'"):
        captured(lambda q: jax.nn.dot_product_attention(q, q, q, implementation="cudnn"), query)


def test_an_argument_that_is_no_array_is_an_error_with_a_remedy():
    with pytest.raises(CaptureError, match="static_argnames"):
        captured(lambda name, x: x, "text", shape(3))


def test_a_host_callback_is_an_error_with_a_remedy():
    def f(x):
        jax.debug.print("x is {}", x)
        return x + 1

    with pytest.raises(CaptureError, match=r"without host callbacks such as jax\.debug\.print"):
        captured(f, shape(3))


def test_a_program_that_computes_nothing_is_an_error():
    with pytest.raises(CaptureError, match="must compute at least one array"):
        captured(lambda x: None, shape(3))


def test_an_error_of_the_functions_own_is_left_alone():
    def f(x):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        captured(f, shape(3))


# Determinism


def test_two_captures_are_equal():
    first, second = (captured(scan10, shape(128, 64), shape(64, 64)) for _ in range(2))
    assert first.content_hash == second.content_hash
    captured(chain, shape(128, 64), shape(64, 64))
    assert captured(scan10, shape(128, 64), shape(64, 64)).content_hash == first.content_hash


def test_the_process_wide_precision_does_not_matter():
    before = captured(chain, shape(128, 64), shape(64, 64)).content_hash
    with jax.default_matmul_precision("highest"):
        assert captured(chain, shape(128, 64), shape(64, 64)).content_hash == before


def test_arrays_and_their_shapes_give_the_same_trace():
    arrays = jnp.zeros((128, 64)), np.zeros((64, 64), np.float32)
    assert captured(chain, *arrays).content_hash == captured(chain, shape(128, 64), shape(64, 64)).content_hash


def test_another_gpu_gives_another_trace():
    from dataclasses import replace

    smaller = replace(A5000, id="other", core_count=8, memory_bandwidth=1e11)
    trace = capture(chain, (shape(128, 64), shape(64, 64)), target=smaller)
    assert trace.target == "other"
