"""Are profiles of PyTorch read to the nanosecond, and is what is wrong with one said?"""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kineto_profiles import PROFILES, event, profile, sample, trace_of
from traces.errors import TraceError
from traces.formats import families
from traces.formats.kineto import Kineto
from traces.formats.profile import ProfileWarning
from traces.formats.source import Source
from traces.formats.to_trace import to_trace

SAMPLES = {
    "alexnet": (79, 10692.0, {7, 20}, "NVIDIA A100-PG509-200"),
    "two_streams": (3, 369.0, {20, 24, 28}, "NVIDIA A100-PG509-200"),
    "mi250": (14, 110.881, {0}, "AMD Radeon Graphics"),
    "v100_one_step": (870, 93696.680, {7}, "Tesla V100-SXM2-32GB"),
}
"""Kernels, their summed time in microseconds, streams and device: added up from the files' texts."""


@pytest.mark.parametrize("name", SAMPLES)
def test_totals_match_to_the_microsecond(name: str) -> None:
    kernels, total_us, streams, device = SAMPLES[name]
    trace = trace_of(sample(name))
    assert len(trace.kernels) == kernels
    assert trace.kernels["measured_s"].sum() * 1e6 == pytest.approx(total_us, abs=1e-3)
    assert set(trace.kernels["stream"].tolist()) == streams
    assert trace.manifest["captured"]["device"] == device


def test_every_launch_keeps_grid_block_registers_and_shared_memory() -> None:
    document = json.loads(gzip.decompress((PROFILES / "alexnet_kineto.json.gz").read_bytes()))
    raw = sorted((e for e in document["traceEvents"] if e.get("cat") == "kernel"), key=lambda e: e["ts"])
    kernels = trace_of(sample("alexnet")).kernels
    assert kernels["name"].tolist() == [e["name"] for e in raw]
    assert np.stack([kernels[f"grid_{a}"] for a in "xyz"], axis=1).tolist() == [e["args"]["grid"] for e in raw]
    assert np.stack([kernels[f"block_{a}"] for a in "xyz"], axis=1).tolist() == [e["args"]["block"] for e in raw]
    assert kernels["registers"].tolist() == [e["args"]["registers per thread"] for e in raw]
    assert kernels["shared_bytes"].tolist() == [e["args"]["shared memory"] for e in raw]


def test_a_launch_knows_the_operator_that_issued_it() -> None:
    found = trace_of(sample("mi250")).kernels
    product = [scope for name, scope in zip(found["name"], found["scope"], strict=True) if name.startswith("Cijk_")]
    assert product == ["aten::addmm", "aten::mm"]


def test_nanoseconds_of_a_time_of_today_survive() -> None:
    launches = Kineto().read(sample("v100_one_step")).launches
    assert launches.start_ns.min() == 1712195495505582988  # '1712195495505582.988' in the file; a double keeps quarters of a microsecond
    assert launches.duration_ps[int(launches.start_ns.argmin())] == 4_928_000


def test_copies_are_counted_but_left_out_unless_asked_for() -> None:
    trace = trace_of(sample("alexnet"))
    assert trace.manifest["captured"]["left_out"] == {"copies": 19, "copies_us": 55511.0}
    whole = trace_of(sample("alexnet"), copies=True)
    assert Counter(whole.kernels["launch_kind"].tolist()) == {"other": 79, "copy": 16, "memset": 3}
    assert whole.kernels["measured_s"].sum() * 1e6 == pytest.approx(10692 + 55511)


@pytest.mark.parametrize(
    ("fragment", "family"),
    [
        ("sgemm", "gemm"),
        ("Cijk_", "gemm"),
        ("implicit_gemm", "gemm"),
        ("_scudnn_", "gemm"),
        ("dgrad_engine", "gemm"),
        ("winogradForwardData", "gemm"),
        ("softmax_warp", "reduce"),
        ("reduce_kernel<", "reduce"),
        ("bn_fw_tr", "reduce"),
        ("max_pool_forward", "reduce"),
        ("splitKreduce", "reduce"),
        ("max_pool_backward", "gather_scatter"),
        ("CatArrayBatchedCopy", "slice_concat"),
        ("nchwToNhwc", "transpose"),
        ("computeOffsetsKernel", "elementwise"),
        ("threshold_kernel_impl", "elementwise"),
        ("fused_dropout", "elementwise"),
        ("direct_copy_kernel", "copy"),
        ("fft2d_", "gemm"),
    ],
)
def test_families_of_real_kernels(fragment: str, family: str) -> None:
    names = {name for s in SAMPLES for name in trace_of(sample(s)).kernels["name"] if fragment in name}
    assert names
    assert {families.family_of(name) for name in names} == {family}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kernel_of_the_samples_has_a_family(name: str) -> None:
    assert "other" not in trace_of(sample(name)).kernels["family"].tolist()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "other"),
        ("void flash_fwd_kernel<Flash_fwd_kernel_traits<128, 64, 64>>", "attention"),
        ("fmha_cutlassF_f32_aligned_64x64_rf_sm80", "attention"),
        ("void getrf_pivot<float>", "lu"),
        ("void trsm_batch_left_lower_kernel<float>", "triangular_solve"),
        ("void at::native::bitonicSortKVInPlace<2, -1>", "sort"),
        ("void at::native::indexSelectLargeIndex<float>", "gather_scatter"),
        ("triton_poi_fused_add_mul_0", "elementwise"),
        ("triton_red_fused_mean_1", "reduce"),
        ("loop_multiply_fusion_3", "elementwise"),
        ("input_reduce_fusion", "reduce"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT", "gemm"),
        ("void regular_fft<256u, EPT<16u>>", "other"),
        ("what_is_this", "other"),
        ("void vllm::reshape_and_cache_flash_kernel<unsigned short>", "gather_scatter"),
        ("void vllm::rotary_embedding_kernel<c10::Half, true>", "elementwise"),
        ("void vllm::moe::topkGatingSoftmax<8, 8>", "sort"),
        ("void vllm::cross_device_reduce_1stage<c10::Half, 8>", "other"),
        ("void marlin::Marlin<256, 4, 16>", "gemm"),
        ("fused_moe_kernel", "gemm"),
        ("kernel_unified_attention_2d", "attention"),
        ("void tensorrt_llm::kernels::applyBiasRopeUpdateKVCache<__half>", "gather_scatter"),
        ("void tensorrt_llm::kernels::mmha::masked_multihead_attention_kernel<uint16_t>", "attention"),
        ("fmha_v2_flash_attention_fp16_128_128_S_qkv_128_causal_sm90_kernel", "attention"),
        ("void fbgemm_gpu::split_embedding_codegen_forward_weighted_kernel", "gather_scatter"),
        ("void kDequantizeBlockwise<__half, 512, 64, 8, 2>", "elementwise"),
        ("dynamic_per_token_scaled_fp8_quant_kernel", "elementwise"),
        ("void cusparse::csrmm_alg2_kernel", "gemm"),
        ("SubTensorOpWithScalar1d", "elementwise"),
        ("MIOpenBatchNormFwdTrainSpatial", "reduce"),
        ("miopenSp3AsmConv_v30_3_1_gfx90a_fp32", "gemm"),
        ("RNN_blockPersist_fp_LSTM", "gemm"),
        ("void at::native::upsample_bilinear2d_out_frame<float>", "gather_scatter"),
        ("void at::native::tensor_kernel_scan_innermost_dim<float>", "reduce"),
        ("triton_mm", "gemm"),
        ("ncclDevKernel_SendRecv(ncclDevComm*)", "other"),
        ("turing_fp16_s1688cudnn_fp16_128x128_ldg8_relu_f2f_exp_small_nhwc_tn_v1", "gemm"),
    ],
)
def test_families_of_kernels_that_no_sample_has(name: str, family: str) -> None:
    assert families.family_of(name) == family


def test_each_launch_waits_for_the_one_ahead_on_its_stream() -> None:
    trace = trace_of(sample("alexnet"))
    for tensor, stream in enumerate((7, 20)):
        rows = np.flatnonzero(trace.kernels["stream"] == stream)
        mine = (trace.accesses["tensor"] == tensor) & (trace.accesses["mode"] == "read")
        assert trace.last_writer[mine].tolist() == [-1, *rows[:-1].tolist()]
    assert set(trace.tensors["bytes"].tolist()) == {0}
    assert np.isnan(trace.accesses["bytes_unique"]).all()


def test_a_stream_that_waits_for_an_event_of_another_depends_on_it(tmp_path: Path) -> None:
    wait = {"cuda_sync_kind": "Stream Wait Event", "wait_on_stream": 7, "wait_on_cuda_event_record_corr_id": 2}
    source = profile(
        tmp_path,
        event("first", 0, correlation=1),
        event("after the event", 20, correlation=4),
        event("waits", 40, stream=9, correlation=6),
        event("Stream Wait Event", 15, 1, stream=9, cat="cuda_sync", correlation=5, **wait),
    )
    trace = trace_of(source)
    reads = (trace.accesses["kernel"] == 2) & (trace.accesses["mode"] == "read")
    assert trace.kernels["name"][trace.last_writer[reads & (trace.last_writer >= 0)]].tolist() == ["first"]


def test_streams_of_a_real_profile_wait_for_each_other() -> None:
    trace = trace_of(sample("two_streams"))
    events = [name for name in trace.tensors["name"] if name.startswith("end of kernel")]
    assert trace.kernels["stream"].tolist() == [20, 28, 24]
    assert events == ["end of kernel 0"]


def test_profiles_of_older_versions_capitalise_their_categories(tmp_path: Path) -> None:
    assert len(trace_of(profile(tmp_path, event(cat="Kernel"), event("Memcpy HtoD", 20, cat="Memcpy"))).kernels) == 1


def test_the_array_form_of_chrome_traces_is_read_too(tmp_path: Path) -> None:
    assert len(trace_of(profile(tmp_path, text=json.dumps([event(), event("b", 20)]))).kernels) == 2


def test_numbers_that_json_does_not_know_are_read_as_missing(tmp_path: Path) -> None:
    text = json.dumps({"traceEvents": [event(registers=1)]}).replace('"registers": 1', '"blocks per SM": inf, "x": -Infinity')
    assert len(trace_of(profile(tmp_path, text=text)).kernels) == 1


def test_paths_control_characters_and_foreign_bytes_in_names_do_no_harm(tmp_path: Path) -> None:
    text = json.dumps({"traceEvents": [event("XX"), event("python \\ ü", 20), event("YY", 40)]}, ensure_ascii=False)
    raw = text.replace("XX", r"C:\Users\new\x").replace("YY", "a\x01b").encode()
    path = tmp_path / "profile.json"
    path.write_bytes(b"\xef\xbb\xbf" + raw.replace("ü".encode(), b"\xff"))
    assert trace_of(Source(path)).kernels["name"].tolist() == ["C:\\Users\new\\x", "python \\ \ufffd", "a b"]


def test_one_device_of_several_can_be_chosen(tmp_path: Path) -> None:
    source = profile(tmp_path, event("a"), event("b", 20, device=1), event("c", 40, device=1))
    with pytest.warns(ProfileWarning, match="kernels of the devices 0, 1 are in one trace"):
        to_trace(Kineto().read(source), target="", program="p")
    assert trace_of(source, device=1).kernels["name"].tolist() == ["b", "c"]
    with pytest.raises(TraceError, match=r"no launch on device 3.*known: 0, 1"):
        trace_of(source, device=3)


def test_streams_that_are_addresses_are_numbered(tmp_path: Path) -> None:
    source = profile(tmp_path, event("a", stream=2**40), event("b", 20, stream=2**41), event("c", 40, stream=2**40))
    with pytest.warns(ProfileWarning, match="numbered by appearance"):
        trace = to_trace(Kineto().read(source), target="", program="p")
    assert trace.kernels["stream"].tolist() == [0, 1, 0]


def test_kernels_that_overlap_on_one_stream_are_warned_of(tmp_path: Path) -> None:
    source = profile(tmp_path, event("long", 0, 10), event("early", 5, 10))
    message = r"profile\.json.*1 begin before.*'early' \(kernel 1\) 5\.000 us before the end of 'long' .*stream 7"
    with pytest.warns(ProfileWarning, match=message):
        trace = to_trace(Kineto().read(source), target="", program="p")
    assert len(trace.kernels) == 2


def test_kernels_on_two_streams_may_overlap(tmp_path: Path) -> None:
    """Without a warning: those are errors here."""
    trace = to_trace(Kineto().read(profile(tmp_path, event("a", 0, 10), event("b", 5, 10, stream=8))), target="", program="p")
    assert trace.kernels["stream"].tolist() == [7, 8]


def test_a_device_that_idles_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(ProfileWarning, match=r"no kernel runs in 80% of the 100\.0 us .*longest gap 80\.0 us"):
        trace = to_trace(Kineto().read(profile(tmp_path, event("a", 0, 10), event("b", 90, 10))), target="", program="p")
    assert trace.manifest["captured"]["idle_us"] == 80.0


@pytest.mark.parametrize(
    ("ts", "dur"), [(2**63, 1), (-5, 1), (1, -1), (9.3e15, 1), (0, 18446744073709551615), (9223372036854775, 1)], ids=str
)
def test_a_clock_that_overflowed_names_the_event(tmp_path: Path, ts: float, dur: float) -> None:
    with pytest.raises(TraceError, match=r"profile\.json: the clock must not overflow, but event 1 \('bad'\)"):
        Kineto().read(profile(tmp_path, event("good"), event("bad", ts, dur)))


@pytest.mark.parametrize("broken", [{"dur": None}, {"ts": "soon"}, {"ts": [1]}, {"dur": "NaN"}], ids=str)
def test_an_event_without_times_is_named(tmp_path: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(TraceError, match=r"profile\.json: an event must have name, ts and dur .*event 1"):
        Kineto().read(profile(tmp_path, event(), event() | broken))


def test_a_truncated_file_says_so_and_where(tmp_path: Path) -> None:
    text = json.dumps({"traceEvents": [event(), event("b", 20)]})
    with pytest.raises(TraceError, match=r"profile\.json must be a whole JSON file, but is truncated or damaged after 2 events"):
        Kineto().read(profile(tmp_path, text=text[:-30]))


def test_an_event_that_is_no_object_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"traceEvents\[1\]"):
        Kineto().read(profile(tmp_path, text='{"traceEvents": [{"ph": "X"}, 3]}'))


def test_a_profile_of_the_host_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"must hold GPU kernels, but this kineto file has none.*ProfilerActivity\.CUDA"):
        trace_of(profile(tmp_path, event(cat="cpu_op")))
