"""Several captured programs as one step: sampling, then local energy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from traces.errors import TraceError
from traces.table import Array, Table
from traces.trace import Trace

SAME = ("target", "x64", "batch")
"""What the manifests of merged traces must agree on."""


def merge(traces: Sequence[Trace], names: Sequence[str] | None = None, feeds: Mapping[str, str] | None = None) -> Trace:
    """Return one trace that runs ``traces`` one after the other, each a sequence region below the root.

    Parameters
    ----------
    traces
        One or more, for the same target.
    names
        A name for each program's region; by default the programs' own names.
    feeds
        From the name of a later program's parameter to the name of an earlier program's output that it is.

    Parameters that no kernel writes are one tensor if name, type and shape are equal: programs share their weights.
    Raises TraceError if there is no trace, the targets differ, or a name in ``feeds`` is not there.
    """
    if not isinstance(traces, Sequence) or not all(isinstance(each, Trace) for each in traces):
        raise TraceError(f"merge takes traces in a list, merge([first, second]), but got {traces!r:.80}")
    if not traces:
        raise TraceError("merge needs at least one trace, but got none")
    for key in SAME:
        values = [t.manifest[key] for t in traces]
        if any(v != values[0] for v in values):
            raise TraceError(f"merged traces must have one {key}, but have {values}: capture them again with the same")
    names = list(names) if names is not None else [t.program for t in traces]
    if len(names) != len(traces):
        raise TraceError(f"merge needs one name a trace, but got {len(names)} names for {len(traces)} traces")
    tensors, tensor_maps = _merge_tensors(traces, feeds or {})
    kernel_starts = np.cumsum([0, *(len(t.kernels) for t in traces)])
    return Trace(
        kernels=_merge_kernels(traces),
        tensors=tensors,
        accesses=_merge_accesses(traces, kernel_starts, tensor_maps),
        regions=_merge_regions(traces, names, kernel_starts),
        manifest=_merge_manifests(traces, names),
    )


def _stack(tables: Sequence[Table], changed: dict[str, list[Array]]) -> dict[str, Any]:
    columns = {}
    for name in tables[0].columns:
        columns[name] = np.concatenate(changed[name]) if name in changed else np.concatenate([t[name] for t in tables])
    return columns


def _shift(values: Array, by: int) -> Array:
    """Add ``by`` to indices, leaving null (-1) null."""
    return np.where(values >= 0, values + by, values).astype(values.dtype)


def _merge_kernels(traces: Sequence[Trace]) -> Table:
    region_starts = 1 + np.cumsum([0, *(len(t.regions) for t in traces)])
    buffers, next_buffer = [], 0
    for trace in traces:
        buffers.append(_shift(trace.kernels["command_buffer"], next_buffer))
        next_buffer = max(next_buffer, int(buffers[-1].max(initial=-1)) + 1)
    regions = [t.kernels["region"] + np.int32(s) for t, s in zip(traces, region_starts, strict=False)]
    return Table.build("kernels", _stack([t.kernels for t in traces], {"region": regions, "command_buffer": buffers}))


def _merge_regions(traces: Sequence[Trace], names: Sequence[str], kernel_starts: Array) -> Table:
    starts = 1 + np.cumsum([0, *(len(t.regions) for t in traces)])
    parents, labels = [], []
    for trace, start, name in zip(traces, starts, names, strict=False):
        parent = trace.regions["parent"]
        parents.append(np.where(parent >= 0, parent + start, 0).astype(np.int32))
        labels.append(np.array([name, *trace.regions["name"][1:]], dtype=object))
    changed = {
        "parent": parents,
        "name": labels,
        "first_kernel": [t.regions["first_kernel"] + np.int32(s) for t, s in zip(traces, kernel_starts, strict=False)],
        "end_kernel": [t.regions["end_kernel"] + np.int32(s) for t, s in zip(traces, kernel_starts, strict=False)],
    }
    columns = _stack([t.regions for t in traces], changed)
    root = {"parent": -1, "kind": "sequence", "name": "root", "trip_count": 1, "condition": "host", "first_kernel": 0}
    root["end_kernel"] = int(kernel_starts[-1])
    return Table.build("regions", {name: np.concatenate([np.array([root[name]], dtype=v.dtype), v]) for name, v in columns.items()})


def _merge_accesses(traces: Sequence[Trace], kernel_starts: Array, tensor_maps: Sequence[Array]) -> Table:
    kernels = [t.accesses["kernel"] + np.int32(s) for t, s in zip(traces, kernel_starts, strict=False)]
    tensors = [m[t.accesses["tensor"]] for t, m in zip(traces, tensor_maps, strict=True)]
    return Table.build("accesses", _stack([t.accesses for t in traces], {"kernel": kernels, "tensor": tensors}))


@dataclass
class _Tensors:
    """The merged table as it grows. ``feeds``: from the name of a parameter to that of the output of an earlier program that it is."""

    feeds: Mapping[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    shared: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Parameters that no kernel writes, by name, type and shape."""
    outputs: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    """Of ``feeds``."""

    def add(self, trace: Trace, kernel_start: int, alias_start: int) -> Array:
        """Add the tensors of a program whose kernels and alias sets begin there; return the row of each."""
        table, read_only = trace.tensors.decoded(), _read_only_parameters(trace)
        mapped = np.zeros(len(trace.tensors), dtype=np.int32)
        for row in range(len(trace.tensors)):
            values = {name: column[row] for name, column in table.items()}
            known = self._known(values, bool(read_only[row]))
            mapped[row] = len(self.rows) if known is None else known
            if known is None:
                self.rows.append(values | _moved(values, kernel_start, alias_start))
        self.outputs |= {n: int(mapped[r]) for r, n in enumerate(table["name"]) if table["kind"][r] == "output"}
        return mapped

    def _known(self, values: Mapping[str, Any], read_only: bool) -> int | None:
        """Return the row that a tensor has already; None if it needs one of its own, which a later one may then share."""
        fed = self.outputs.get(self.feeds.get(values["name"], "")) if values["kind"] == "parameter" else None
        if fed is not None:
            self.used.add(values["name"])
            return fed
        key = (values["name"], values["dtype"], values["shape"])
        if read_only and key not in self.shared:
            self.shared[key] = len(self.rows)
            return None
        return self.shared[key] if read_only else None


def _moved(values: Mapping[str, Any], kernel_start: int, alias_start: int) -> dict[str, int]:
    kernels = {name: int(_shift(np.array(values[name]), kernel_start)) for name in ("first_kernel", "last_kernel")}
    return kernels | {"alias_set": int(values["alias_set"]) + alias_start}


def _merge_tensors(traces: Sequence[Trace], feeds: Mapping[str, str]) -> tuple[Table, list[Array]]:
    """Return the merged table and, a trace, the new row of each of its tensors."""
    merged, maps = _Tensors(feeds), []
    kernel_start, alias_start = 0, 0
    for trace in traces:
        maps.append(merged.add(trace, kernel_start, alias_start))
        kernel_start += len(trace.kernels)
        alias_start += int(trace.tensors["alias_set"].max(initial=-1)) + 1
    unused = set(feeds) - merged.used
    if unused:
        raise TraceError(f"feeds must go from a later program's parameter to an earlier one's output; nothing matches {sorted(unused)}")
    return Table.build("tensors", {name: [row[name] for row in merged.rows] for name in traces[0].tensors.columns}), maps


def _read_only_parameters(trace: Trace) -> Array:
    """Parameters with an allocation of their own that no kernel writes."""
    alias, count = trace.alias_index, np.bincount(trace.alias_index) if len(trace.tensors) else np.zeros(0, int)
    written = np.zeros(len(count), dtype=bool)
    written[trace.access_alias[trace.access_writes]] = True
    return np.asarray((trace.tensors["kind"] == "parameter") & (count[alias] == 1) & ~written[alias])


def _merge_manifests(traces: Sequence[Trace], names: Sequence[str]) -> dict[str, Any]:
    merged = dict(traces[0].manifest)
    merged["program"] = "+".join(names)
    for key, values in {key: [t.manifest[key] for t in traces] for key in merged if all(key in t.manifest for t in traces)}.items():
        if key != "program" and any(v != values[0] for v in values):
            merged[key] = dict(zip(names, values, strict=True))
    return merged
