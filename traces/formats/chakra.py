"""Chakra execution traces: reads PyTorch's JSON (of the host, or linked with a profile), protobuf and JSON of it; writes protobuf.

The schema is MLCommons' et_def.proto: a GlobalMetadata, then one Node a message, each behind its length.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from traces import schema
from traces.errors import TraceError
from traces.formats import chakra_nodes as nodes
from traces.formats import wire
from traces.formats.chakra_operators import operators_profile
from traces.formats.format import Exporter, Importer
from traces.formats.kineto import KINDS
from traces.formats.profile import COPY, KERNEL, MEMSET, PS_PER_S, PS_PER_US, Ints, Launches, Profile
from traces.formats.source import Source
from traces.saving import replacing
from traces.table import Values

if TYPE_CHECKING:
    from traces.trace import Trace

VERSION = "0.0.4"
_HEAD = 256
"""Bytes in which PyTorch's JSON names its schema: '1.0.2-chakra.0.0.4'."""

PREFIX = "codesign."
"""Our own attributes: columns of the kernels table, so that what we wrote comes back whole."""

_APART = ("name", "region", "family", "launch_kind", "measured_s", "stream", "launches")
_COLUMNS = {c.name: c for c in schema.KERNELS if c.name not in _APART}


class Chakra(Importer, Exporter):
    """Execution traces of the Chakra project."""

    name: ClassVar[str] = "chakra"
    description: ClassVar[str] = "Chakra execution traces: PyTorch's JSON, protobuf, and JSON of it"

    def recognises(self, source: Source) -> bool:
        """Say whether it is JSON with a list of nodes, or a GlobalMetadata with a version behind its length."""
        if source.is_json:
            chakra = source.has_key("ctrl_deps", "ctrlDeps", "data_deps", "dataDeps") or b"-chakra." in source.start[:_HEAD]
            chakra = chakra or (source.has_key("schema") and source.has_key("nodes"))  # before 1.0.2 an operator's parent stood there
            return chakra and not source.has_key("traceEvents")
        return nodes.begins_with_metadata(source.start)

    def read(self, source: Source) -> Profile:
        """Return the kernels of the GPU's nodes; of a trace of the host alone, the operators that launch work.

        Raises TraceError for a file that is truncated or foreign, and for one without such nodes.
        """
        found = nodes.read(source)
        if found.pytorch and not any("cat" in node for node in found.nodes):
            return operators_profile(source, found.nodes)
        return _profile(source, found)

    def write(self, trace: "Trace", path: Path) -> list[str]:
        """Write one computing node a kernel row, with its streams' and operands' dependencies."""
        content = [wire.delimited(wire.field(1, VERSION))]
        waits = _waits(trace)
        micros = np.nan_to_num(trace.kernels["measured_s"] * 1e6)
        begin = np.concatenate([[0.0], np.cumsum(micros)])
        columns = {name: trace.kernels[name] for name in trace.kernels.columns}
        content += [wire.delimited(_node(row, trace, columns, waits[row], (begin[row], micros[row]))) for row in range(len(trace.kernels))]
        with replacing(path) as temporary:
            temporary.write_bytes(b"".join(content))
        return _remarks(trace)


def _remarks(trace: "Trace") -> list[str]:
    remarks = ["Chakra counts whole microseconds; the measured time to the picosecond is in the attribute codesign.measured_ps"]
    if np.isnan(trace.kernels["measured_s"]).any():
        remarks.append("kernels that were not measured have no duration: a simulator takes it from num_ops and tensor_size")
    if (trace.regions["kind"] == "loop").any():
        remarks.append("Chakra has no loops: each kernel is one node, how often it runs is the attribute codesign.executions")
    return remarks


def _waits(trace: "Trace") -> list[list[int]]:
    """Return for each kernel the kernels that wrote what it reads, ahead of it in the trace."""
    rows: list[list[int]] = [[] for _ in range(len(trace.kernels))]
    writer, kernel = trace.last_writer, trace.accesses["kernel"]
    ahead = np.flatnonzero((writer >= 0) & (writer < kernel))
    for k, w in np.unique(np.stack([kernel[ahead], writer[ahead]], axis=1), axis=0).tolist():
        rows[k].append(w)
    return rows


def _node(row: int, trace: "Trace", columns: dict[str, Any], waits: list[int], times: tuple[float, float]) -> bytes:
    parts = [wire.field(1, row + 1), wire.field(2, str(columns["name"][row])), wire.field(3, nodes.COMP_NODE)]
    parts += [wire.field(5, b"".join(wire.varint(w + 1) for w in waits))] if waits else []
    parts += [wire.field(6, round(times[0])), wire.field(7, round(times[1]))]
    return b"".join([*parts, *(wire.field(10, nodes.attribute(*pair)) for pair in _attributes(row, trace, columns))])


def _attributes(row: int, trace: "Trace", columns: dict[str, Any]) -> list[tuple[str, bool | int | float | str]]:
    made: list[tuple[str, bool | int | float | str]] = [("is_cpu_op", False)]
    flops = [columns[f"flops_{unit}"][row] for unit in ("matrix", "vector", "transcendental")]
    if not np.isnan(flops).all():
        made.append(("num_ops", int(np.nansum(flops))))
    if not np.isnan(columns["bytes_unique"][row]):
        made.append(("tensor_size", int(columns["bytes_unique"][row])))
    if columns["stream"][row] >= 0:
        made.append(("stream", int(columns["stream"][row])))
    if not np.isnan(columns["measured_s"][row]):
        made.append((f"{PREFIX}measured_ps", round(float(columns["measured_s"][row]) * PS_PER_S)))
    made += [(f"{PREFIX}executions", int(trace.executions[row])), (f"{PREFIX}target", trace.target)]
    made += [(PREFIX + name, str(columns[name][row])) for name in ("family", "launch_kind")]
    made.append((f"{PREFIX}launches", int(columns["launches"][row])))
    return made + [(PREFIX + name, value) for name in _COLUMNS if (value := _plain(columns[name][row])) is not None]


def _plain(value: Any) -> int | float | str | None:
    """Return a cell in Python's own type, None if it is missing."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, np.floating):
        return None if np.isnan(value) else float(value)
    return int(value) if value != -1 else None


def _profile(source: Source, found: nodes.Nodes) -> Profile:
    chosen = _on_device(found)
    ids = {int(node["id"]): row for row, node in enumerate(chosen)}
    pairs = [(row, ids[dep]) for row, node in enumerate(chosen) for dep in nodes.dependencies(node) if dep in ids]
    attributes = [nodes.attributes(node) for node in chosen]
    try:
        launches = _launches(chosen, attributes)
    except (TypeError, ValueError, OverflowError) as error:
        raise TraceError(f"{source}: times and streams of nodes must be numbers, but one is not: {error}") from error
    targets = {str(a.get(f"{PREFIX}target", "")) for a in attributes} - {""}
    return Profile(
        format=Chakra.name,
        path=str(source),
        launches=launches,
        device_name=targets.pop() if len(targets) == 1 else "",
        depends=np.array(pairs, np.int64).reshape(-1, 2),
        copies_are_kernels=any(f"{PREFIX}family" in a for a in attributes),
    )


def _on_device(found: nodes.Nodes) -> list[dict[str, Any]]:
    """Return the nodes that a device runs: linked by category, else those that are not said to run on the host."""
    if found.pytorch:
        return [node for node in found.nodes if str(node.get("cat", "")).lower() in KINDS]
    computing = [node for node in found.nodes if nodes.node_type(node) in (nodes.COMP_NODE, *nodes.COMM_NODES)]
    return [node for node in computing if not nodes.attributes(node).get("is_cpu_op", False)]


def _launches(chosen: list[dict[str, Any]], attributes: list[dict[str, Any]]) -> Launches:
    micros = [nodes.duration_us(node) for node in chosen]
    exact = [a.get(f"{PREFIX}measured_ps") for a in attributes]
    ours = [f"{PREFIX}family" in a for a in attributes]
    duration = [
        int(e) if e is not None else -1 if u is None or (mine and e is None) else round(u * PS_PER_US)
        for e, u, mine in zip(exact, micros, ours, strict=True)
    ]
    begin = [nodes.start_us(node) for node in chosen]
    # what we wrote is in order and its times are rounded, so only the order counts
    start = [-1 if mine or b is None else round(b * 1_000) for b, mine in zip(begin, ours, strict=True)]
    categories = [_category(node) for node in chosen]
    kinds = [a.get(f"{PREFIX}launch_kind") or category for a, category in zip(attributes, categories, strict=True)]
    return Launches(
        name=[str(node.get("name", "")) for node in chosen],
        kind=kinds,
        start_ns=_ints(start),
        duration_ps=_ints(duration),
        stream=_ints([a.get("stream", node.get("stream", -1)) for node, a in zip(chosen, attributes, strict=True)]),
        device=_ints([-1] * len(chosen)),
        columns=_own_columns(attributes),
    )


def _category(node: dict[str, Any]) -> str:
    """Return the kind of launch: by category, else by what CUDA calls copies."""
    if "cat" in node:
        return KINDS.get(str(node["cat"]).lower(), KERNEL)
    name = str(node.get("name", "")).lower()
    return COPY if name.startswith("memcpy ") else MEMSET if name.startswith("memset ") else KERNEL


def _ints(values: list[Any]) -> Ints:
    return np.array([-1 if v is None else int(v) for v in values], np.int64)


def _own_columns(attributes: list[dict[str, Any]]) -> dict[str, Values]:
    """Return the columns of the kernels table that an earlier export wrote."""
    missing: dict[str, Any] = {"string": "", "float64": float("nan")}
    made: dict[str, Values] = {}
    for name, column in _COLUMNS.items():
        if any(PREFIX + name in a for a in attributes):
            made[name] = [a.get(PREFIX + name, missing.get(column.dtype, -1)) for a in attributes]
    if attributes and all(f"{PREFIX}family" in a for a in attributes):
        made["family"] = [a[f"{PREFIX}family"] for a in attributes]
    if any(f"{PREFIX}launches" in a for a in attributes):
        made["launches"] = [a.get(f"{PREFIX}launches", 1) for a in attributes]
    return made
