"""AMD's ``rocprofv3 --kernel-trace --output-format json``: ``*_results.json``.

By the ROCprofiler-SDK's own tests of its output: for each process the dispatches and copies (``buffer_records``), the names of kernels
by id (``kernel_symbols``) and the GPUs (``agents``). Times are nanoseconds; grids count threads.
"""

from typing import Any, ClassVar

import msgspec
import numpy as np

from traces.errors import TraceError
from traces.formats import rocprof
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, PS_PER_NS, Launches, Profile
from traces.formats.source import Source
from traces.table import Values

_TOP, _TOOL = "rocprofiler-sdk-tool", "rocprofv3 --kernel-trace --output-format json"
_NAMES = ("demangled_kernel_name", "formatted_kernel_name", "kernel_name", "truncated_kernel_name")


class _Handle(msgspec.Struct, gc=False):
    handle: int = -1


class _Size(msgspec.Struct, gc=False):
    x: int = -1
    y: int = -1
    z: int = -1


class _Info(msgspec.Struct, gc=False):
    kernel_id: int = -1
    agent_id: _Handle = msgspec.field(default_factory=_Handle)
    queue_id: _Handle = msgspec.field(default_factory=_Handle)
    group_segment_size: int = -1
    workgroup_size: _Size = msgspec.field(default_factory=_Size)
    grid_size: _Size = msgspec.field(default_factory=_Size)


class _Dispatch(msgspec.Struct, gc=False):
    start_timestamp: int
    end_timestamp: int
    dispatch_info: _Info = msgspec.field(default_factory=_Info)
    stream_id: _Handle | None = None


class _Copied(msgspec.Struct, gc=False):
    start_timestamp: int
    end_timestamp: int
    dst_agent_id: _Handle = msgspec.field(default_factory=_Handle)
    stream_id: _Handle | None = None


class _Records(msgspec.Struct, gc=False):
    kernel_dispatch: list[_Dispatch] = []
    memory_copy: list[_Copied] = []


class _Agent(msgspec.Struct, gc=False):
    id: _Handle = msgspec.field(default_factory=_Handle)
    type: Any = None
    node_id: int = -1
    logical_node_id: int = -1
    name: str = ""
    product_name: str = ""
    cu_count: int = -1


class _Process(msgspec.Struct, gc=False):
    agents: list[_Agent] = []
    kernel_symbols: list[dict[str, Any]] = []
    buffer_records: _Records = msgspec.field(default_factory=_Records)


class _Document(msgspec.Struct, gc=False):
    tools: list[_Process] | _Process = msgspec.field(name=_TOP)


class Rocprofv3Json(Importer):
    """The JSON of rocprofv3."""

    name: ClassVar[str] = "rocprofv3-json"
    description: ClassVar[str] = _TOOL

    def recognises(self, source: Source) -> bool:
        """Say whether it is JSON of rocprofv3."""
        return source.is_json and source.has_key(_TOP)

    def read(self, source: Source) -> Profile:
        """Return the profile of all processes. Raises TraceError for JSON that is truncated or not of the schema."""
        try:
            found = msgspec.json.decode(source.data, type=_Document).tools
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TraceError(f"{source} must be the whole JSON of `{_TOOL}`, but is truncated, damaged or foreign: {error}") from error
        processes = found if isinstance(found, list) else [found]
        rows = [row for place, process in enumerate(processes) for row in _rows(place, process)]
        ours = _first_gpu(processes, rows)
        facts = {"sm_count": ours.cu_count} if ours.cu_count > 0 else {}
        return Profile(self.name, str(source), _launches(rows), device_name=ours.product_name or ours.name, facts=facts)


class _Row(msgspec.Struct, gc=False):
    name: str
    kind: str
    start: int
    end: int
    device: int
    lane: tuple[int, int, int]
    """Process, and stream or queue."""
    info: _Info


def _first_gpu(processes: list[_Process], rows: list[_Row]) -> _Agent:
    """Return the GPU of the lowest number that ran a kernel; one of which nothing is known if there is none."""
    wanted = min((row.device for row in rows if row.kind == KERNEL), default=-1)
    return next((agent for process in processes for agent in process.agents if _number(agent) == wanted), _Agent())


def _rows(place: int, process: _Process) -> list[_Row]:
    """Return the launches of one process."""
    names = {symbol.get("kernel_id"): _name(symbol) for symbol in process.kernel_symbols}
    devices = {agent.id.handle: _number(agent) for agent in process.agents}
    found = []
    for each in process.buffer_records.kernel_dispatch:
        info = each.dispatch_info
        device = devices.get(info.agent_id.handle, info.agent_id.handle)
        lane = place, *_lane(each.stream_id, info.queue_id)
        found.append(_Row(names.get(info.kernel_id, ""), KERNEL, each.start_timestamp, each.end_timestamp, device, lane, info))
    for copied in process.buffer_records.memory_copy:
        device = devices.get(copied.dst_agent_id.handle, -1)
        lane = place, *_lane(copied.stream_id, _Handle())
        found.append(_Row("Memcpy", COPY, copied.start_timestamp, copied.end_timestamp, device, lane, _Info()))
    return found


def _number(agent: _Agent) -> int:
    """Return the number of a GPU as the other outputs of the tool count it."""
    return agent.node_id if agent.node_id >= 0 else agent.logical_node_id


def _name(symbol: dict[str, Any]) -> str:
    return next((rocprof.plain_name(str(symbol[name])) for name in _NAMES if symbol.get(name)), "")


def _lane(stream: _Handle | None, queue: _Handle) -> tuple[int, int]:
    """Return the stream of HIP where the file has it, else the queue; the first number tells them apart."""
    return (1, queue.handle) if stream is None else (0, stream.handle)


def _launches(rows: list[_Row]) -> Launches:
    start, end = np.array([row.start for row in rows], np.int64), np.array([row.end for row in rows], np.int64)
    lanes = {lane: number for number, lane in enumerate(dict.fromkeys(row.lane for row in rows))}
    columns: dict[str, Values] = {}
    for axis in "xyz":
        threads, block = (np.array([getattr(size, axis) for size in sizes], np.int64) for sizes in _sizes(rows))
        columns |= {f"grid_{axis}": rocprof.blocks(threads, block), f"block_{axis}": block}
    return Launches(
        name=[row.name for row in rows],
        kind=[row.kind for row in rows],
        start_ns=start,
        duration_ps=np.where(end >= start, (end - start) * PS_PER_NS, -2),  # negative: found by the check of the clock
        stream=np.array([lanes[row.lane] for row in rows], np.int64),
        device=np.array([row.device for row in rows], np.int64),
        columns=columns | {"shared_bytes": np.array([row.info.group_segment_size for row in rows], np.int64)},
    )


def _sizes(rows: list[_Row]) -> tuple[list[_Size], list[_Size]]:
    return [row.info.grid_size for row in rows], [row.info.workgroup_size for row in rows]
