"""Are profiles of JAX read, and do their times reach the kernels of a captured trace?"""

from pathlib import Path

import numpy as np
import pytest

from tests.toys import Toy
from traces.errors import TraceError
from traces.formats import wire
from traces.formats.joining import add_measured, plain
from traces.formats.profile import Profile, ProfileWarning
from traces.formats.source import Source
from traces.formats.to_trace import to_trace
from traces.formats.xplane import XPlane

RUNS = 3


@pytest.fixture(scope="module")
def cpu_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of XLA's CPU backend, made here."""
    import jax
    import jax.numpy as jnp

    step = jax.jit(lambda x: jnp.sort(jnp.cumsum(x, axis=0), axis=0))
    x = jnp.ones((64, 64))
    step(x).block_until_ready()
    folder = tmp_path_factory.mktemp("profile")
    with jax.profiler.trace(str(folder)):
        for _ in range(RUNS):
            step(x).block_until_ready()
    return next(folder.rglob("*.xplane.pb"))


def profile(path: Path) -> Profile:
    source = Source(path)
    assert XPlane().recognises(source)
    return XPlane().read(source)


@pytest.mark.filterwarnings("ignore::traces.formats.profile.ProfileWarning")
def test_a_profile_made_here_gives_every_operation_of_every_run(cpu_profile: Path) -> None:
    trace = to_trace(profile(cpu_profile), target="", program="p")
    sorts = [name for name in trace.kernels["name"] if "sort" in name]
    assert len(sorts) == RUNS
    assert len(trace.kernels) % RUNS == 0
    assert (trace.kernels["measured_s"] > 0).all()
    assert trace.manifest["captured"]["device"] == "CPU"
    assert "XLA's CPU backend" in trace.manifest["captured"]["remarks"][0]


def test_measured_times_reach_the_captured_kernels_by_name(cpu_profile: Path) -> None:
    found = profile(cpu_profile)
    name = next(n for n in found.launches.name if "sort" in n)
    mine = np.array([n == name for n in found.launches.name])
    toy = Toy()
    toy.kernel(name.replace(".", "_"), writes=["x"])
    toy.kernel("of another program", reads=["x"])
    toy.kernel(name, reads=["x"], launches=2)
    with pytest.warns(ProfileWarning, match="1 kernels of 'toy' have a name that another kernel has too"):
        joined = add_measured(toy.build(), found)
    mean = found.launches.duration_ps[mine].mean() * 1e-12
    measured = joined.trace.kernels["measured_s"]
    assert measured[[0, 2]] == pytest.approx([mean, 2 * mean])
    assert np.isnan(measured[1])
    assert joined.kernels == 2
    assert 0 < joined.share_of_time <= 1
    assert joined.trace.manifest["captured"]["measured"]["format"] == "xplane"


def test_a_profile_of_another_program_is_refused(cpu_profile: Path) -> None:
    toy = Toy()
    toy.kernel("matmul.1")
    with pytest.raises(TraceError, match=r"must hold kernels of the trace 'toy', but none has the name of one"):
        add_measured(toy.build(), profile(cpu_profile))


def test_names_compare_as_xla_writes_them() -> None:
    assert plain("loop_add_fusion.3") == plain("loop_add_fusion_3") != plain("loop_add_fusion.4")


def test_a_truncated_file_says_so(cpu_profile: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.xplane.pb"
    short.write_bytes(cpu_profile.read_bytes()[:-7])
    with pytest.raises(TraceError, match=r"short\.xplane\.pb must be a whole XSpace protobuf, but is truncated"):
        XPlane().read(Source(short))


def stat(number: int, value: int | str) -> bytes:
    return wire.field(1, number) + (wire.field(5, value) if isinstance(value, str) else wire.field(4, value))


def named(field: int, names: dict[int, str], stats: dict[int, bytes] | None = None) -> list[bytes]:
    """A map from numbers to metadata: of events (field 4, with stats of their own) or of stats (field 5)."""
    own = {number: wire.field(5, told) for number, told in (stats or {}).items()}
    entries = {number: wire.field(1, number) + wire.field(2, name) + own.get(number, b"") for number, name in names.items()}
    return [wire.field(field, wire.field(1, number) + wire.field(2, entry)) for number, entry in entries.items()]


def row(number: int, name: str, at_ns: int, events: list[tuple[int, int, int]]) -> bytes:
    """A line of events (metadata, offset in ps, duration in ps)."""
    made = [wire.field(4, wire.field(1, kind) + wire.field(2, offset) + wire.field(3, lasts)) for kind, offset, lasts in events]
    return wire.field(3, wire.field(1, number) + wire.field(2, name) + wire.field(3, at_ns) + b"".join(made))


def gpu_plane() -> bytes:
    """A GPU's plane by the published schema (tsl/profiler/protobuf/xplane.proto): two kernels and a copy on stream 13."""
    stat_names = named(5, {1: "hlo_op", 2: "kernel_details", 3: "core_count", 4: "tf_op"})
    event_names = named(4, {1: "loop_add_fusion_3", 2: "ampere_sgemm_128x64_nn", 3: "MemcpyD2H"})
    detail = "regs:32 static_shared:16 dynamic_shared:8 grid:4,2,1 block:128,1,1 occ_pct:100"
    stats = [[stat(1, "loop_add_fusion.3"), stat(2, detail), stat(4, "jit(f)/add")], [stat(1, "cublas-gemm.1")], []]
    events = [
        wire.field(
            4, wire.field(1, i + 1) + wire.field(2, 3_000_000 * i) + wire.field(3, 2_000_000) + b"".join(wire.field(4, s) for s in mine)
        )
        for i, mine in enumerate(stats)
    ]
    line = wire.field(1, 13) + wire.field(2, "Stream #13(Compute)") + wire.field(3, 1_000) + b"".join(events)
    plane = wire.field(1, 1) + wire.field(2, "/device:GPU:0") + wire.field(3, line)
    return plane + b"".join([*event_names, *stat_names]) + wire.field(6, stat(3, 108))


def test_a_gpus_streams_by_the_published_schema(tmp_path: Path) -> None:
    path = tmp_path / "gpu.xplane.pb"
    path.write_bytes(wire.field(1, gpu_plane()))
    trace = to_trace(profile(path), target="", program="p")
    kernels = trace.kernels
    assert kernels["name"].tolist() == ["loop_add_fusion.3", "cublas-gemm.1"]
    assert kernels["family"].tolist() == ["elementwise", "gemm"]
    assert (kernels["measured_s"] * 1e12).round().tolist() == [2_000_000, 2_000_000]
    assert kernels["stream"].tolist() == [13, 13]
    assert [kernels["registers"][0], kernels["shared_bytes"][0], kernels["grid_y"][0], kernels["block_x"][0]] == [32, 24, 2, 128]
    assert kernels["scope"].tolist() == ["jit(f)/add", ""]
    assert trace.manifest["captured"]["facts"] == {"sm_count": 108}
    assert trace.manifest["captured"]["left_out"]["copies"] == 1


@pytest.mark.filterwarnings("ignore::traces.formats.profile.ProfileWarning")
def test_nanoseconds_of_today_survive(tmp_path: Path) -> None:
    """As doubles, times of today are known to 256 ns."""
    today = 1_764_000_000_123_456_789
    lines = row(7, "Stream #7(Compute)", today, [(1, 0, 1_001), (2, 2_000, 999)]) + row(1, "XLA Ops", today, [(1, 0, 5_000)])
    path = tmp_path / "today.xplane.pb"
    path.write_bytes(wire.field(1, wire.field(2, "/device:GPU:0") + lines + b"".join(named(4, {1: "a", 2: "b"}))))
    found = profile(path).launches
    assert (found.name, found.start_ns.tolist(), found.duration_ps.tolist()) == (["a", "b"], [today, today + 2], [1_001, 999])


@pytest.mark.filterwarnings("ignore::traces.formats.profile.ProfileWarning")
def test_of_a_tpu_the_innermost_operations_count_and_names_may_be_in_their_metadata(tmp_path: Path) -> None:
    """A loop encloses what it runs; other lines and the sparse cores repeat or are no operations of the program's."""
    names = {1: "while.1", 2: "%fusion.2 = f32[8]{0} fusion(...)"}
    operations = row(3, "XLA Ops", 50, [(1, 0, 10_000), (2, 1_000, 3_000), (2, 5_000, 4_000)])
    others = row(2, "XLA Modules", 50, [(1, 0, 10_000)]) + row(4, "Async XLA Ops", 50, [(2, 0, 9_000)])
    metadata = b"".join([*named(4, names, {2: stat(1, "fusion.2")}), *named(5, {1: "hlo_op"})])
    planes = [wire.field(2, "/device:TPU:1") + operations + others + metadata, wire.field(2, "/device:TPU:1 SparseCore 0") + operations]
    path = tmp_path / "tpu.xplane.pb"
    path.write_bytes(b"".join(wire.field(1, plane) for plane in planes))
    found = profile(path).launches
    assert (found.name, found.device.tolist(), found.start_ns.tolist()) == (["fusion.2", "fusion.2"], [1, 1], [51, 55])
    assert found.duration_ps.tolist() == [3_000, 4_000]
