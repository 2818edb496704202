"""The trace: what a program did, as four tables and a manifest."""

import hashlib
import os
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces import schema
from traces.errors import TraceError
from traces.summary import Summary, summarize
from traces.table import Table

if TYPE_CHECKING:
    from traces.locality import Walk

MANIFEST_KEYS = ("program", "versions", "target", "precision", "x64", "batch", "options", "captured")


class Trace:
    """Kernel launches in order, the tensors they read and write, and the loops around them.

    Parameters
    ----------
    kernels, tensors, accesses, regions
        The tables that ``traces.schema`` describes; accesses are sorted by kernel.
    manifest
        program, versions, target (device id), precision, x64, batch, options, captured (how, command, date): see
        the documentation of the file format. Absent keys are None.

    Raises
    ------
    TraceError
        If an index points outside its table, accesses are not sorted, regions do not nest, or a trip count is below one.
    """

    def __init__(self, kernels: Table, tensors: Table, accesses: Table, regions: Table, manifest: dict[str, Any] | None = None) -> None:
        self.kernels = kernels
        self.tensors = tensors
        self.accesses = accesses
        self.regions = regions
        self.manifest: dict[str, Any] = {**dict.fromkeys(MANIFEST_KEYS), **(manifest or {})}
        _check(self)

    @property
    def tables(self) -> dict[str, Table]:
        """The four tables by name."""
        return {"kernels": self.kernels, "tensors": self.tensors, "accesses": self.accesses, "regions": self.regions}

    @property
    def target(self) -> str:
        """The id of the device that the trace was captured for or measured on; '' if unknown."""
        return str(self.manifest["target"] or "")

    @property
    def program(self) -> str:
        """The program's name; 'program' if unknown."""
        return str(self.manifest["program"] or "program")

    @property
    def options(self) -> dict[str, Any]:
        """The options that the program was made with, by name; empty if unknown."""
        options = self.manifest.get("options")
        return options if isinstance(options, dict) else {}

    def with_(
        self,
        *,
        kernels: Table | None = None,
        tensors: Table | None = None,
        accesses: Table | None = None,
        regions: Table | None = None,
        **manifest: Any,
    ) -> "Trace":
        """Return a trace with other tables, and other values of keys of the manifest. Raises TraceError as the class does."""
        given = {"kernels": kernels, "tensors": tensors, "accesses": accesses, "regions": regions}
        tables = {name: self.tables[name] if table is None else table for name, table in given.items()}
        return Trace(**tables, manifest={**self.manifest, **manifest})

    @cached_property
    def executions(self) -> NDArray[np.int64]:
        """How often each kernel entry runs: the product of the trip counts around it, shape [kernels]."""
        times = np.ones(len(self.regions), dtype=object)  # Python integers: a product may pass 2^63
        for region, (parent, trips) in enumerate(zip(self.regions["parent"], self.regions["trip_count"], strict=True)):
            times[region] = int(trips) * (times[parent] if parent >= 0 else 1)
        if len(times) and max(times) >= 2**63:
            raise TraceError(f"a kernel must run fewer than 2^63 times, but the trip counts multiply to {max(times)}")
        return times.astype(np.int64)[self.kernels["region"]]

    @cached_property
    def launches(self) -> int:
        """Launches in one run of the trace, loops and library calls expanded."""
        return sum(int(e) * int(n) for e, n in zip(self.executions, self.kernels["launches"], strict=True))

    @cached_property
    def alike(self) -> NDArray[np.int64]:
        """Kernel entries of one name, type, size and traffic have one number, from 0 without gaps; shape [kernels]."""
        kernels = self.kernels
        sizes = [kernels[name] for name in ("batch", "m", "n", "k")]
        moved = [kernels[name].view(np.int64) for name in ("bytes_unique", "flops_matrix", "flops_vector")]
        codes = [kernels.codes(name) for name in ("name", "dtype")]
        return np.unique(np.stack([*codes, *sizes, *moved], axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    @cached_property
    def access_offsets(self) -> NDArray[np.int64]:
        """The accesses of kernel k are the rows ``access_offsets[k]:access_offsets[k + 1]``; shape [kernels + 1]."""
        return np.searchsorted(self.accesses["kernel"], np.arange(len(self.kernels) + 1)).astype(np.int64)

    @cached_property
    def access_alias(self) -> NDArray[np.int32]:
        """The alias set of each access, numbered from 0 without gaps; shape [accesses]."""
        return self.alias_index[self.accesses["tensor"]]

    @cached_property
    def alias_index(self) -> NDArray[np.int32]:
        """The alias set of each tensor, numbered from 0 without gaps; shape [tensors]."""
        return np.unique(self.tensors["alias_set"], return_inverse=True)[1].astype(np.int32)

    @cached_property
    def alias_bytes(self) -> NDArray[np.int64]:
        """The size of each alias set: that of its largest tensor, for they are one allocation; shape [alias sets]."""
        size = np.zeros(int(self.alias_index.max(initial=-1)) + 1, dtype=np.int64)
        np.maximum.at(size, self.alias_index, self.tensors["bytes"])
        return size

    @cached_property
    def access_writes(self) -> NDArray[np.bool_]:
        """Whether each access writes; shape [accesses]."""
        return np.asarray(self.accesses["mode"] == "write", dtype=np.bool_)

    @cached_property
    def access_updates(self) -> NDArray[np.bool_]:
        """Whether each access writes only a part of what existed before the trace, whose rest stays as it is; shape [accesses].

        Such is a token's keys and values appended to a cache. What the trace itself makes part by part has no rest that anybody needs.
        """
        existed = np.zeros(len(self.alias_bytes), dtype=np.bool_)
        existed[self.alias_index[self.tensors["first_kernel"] == -1]] = True
        return self.access_writes & existed[self.access_alias] & (self.accesses["bytes_unique"] < self.alias_bytes[self.access_alias])

    @cached_property
    def access_needs(self) -> NDArray[np.bool_]:
        """Whether each access needs what its allocation holds: it reads, or updates a part; shape [accesses]."""
        return ~self.access_writes | self.access_updates

    @cached_property
    def _walk(self) -> "Walk":
        from traces.locality import walk_of

        return walk_of(self._regions, len(self.kernels))

    @property
    def _regions(self) -> dict[str, NDArray[Any]]:
        return {name: self.regions[name] for name in ("parent", "trip_count", "first_kernel", "end_kernel")}

    @cached_property
    def last_writer(self) -> NDArray[np.int32]:
        """For each access that reads: the launch that wrote its alias set last, in the steady state of the loops around it.

        -1 where nothing in the trace did, and for writes; shape [accesses].
        """
        from traces.locality import last_writers

        sets = int(self.alias_index.max(initial=-1)) + 1
        steps = self._walk.steps[self._walk.steps < len(self.kernels)]
        return last_writers(steps, self.access_offsets, self.access_alias, self.access_writes, sets)

    @cached_property
    def reuse_distance_bytes(self) -> NDArray[np.float64]:
        """For each access: distinct bytes of other alias sets since its own was touched last, loops wrapped around once.

        inf at the first touch. An LRU stack distance over whole accesses (bytes_unique; unknown counts as none). An access that touches
        another part of its tensor in every iteration (`traces.locality.Sweeps`) finds it where the loop before left it. Of ranks
        side by side each has a cache of its own; shape [accesses].
        """
        from traces.ranks import held

        ranks, stream = held(self), self.kernels["stream"]
        if ranks == 1:
            return self._reuse_distances(np.ones(len(stream), dtype=np.bool_))
        each = np.stack([self._reuse_distances(stream == rank) for rank in range(ranks)])
        found: NDArray[np.float64] = each[stream[self.accesses["kernel"]], np.arange(each.shape[1])]
        return found

    def _reuse_distances(self, kernels: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Distances where only some kernels run, bool[kernels]."""
        from traces.locality import Sweeps, reuse_distances

        owner, alias, sets = self.accesses["kernel"], self.access_alias, len(self.alias_bytes)
        size = np.nan_to_num(self.accesses["bytes_unique"], nan=0.0)
        sweeps = Sweeps.of(self._regions, self.kernels["region"][owner], size, self.alias_bytes[alias].astype(np.float64))
        later, sets = sweeps.later(alias, sets)
        added, of, bytes_, sets = sweeps.at_entries(alias, sets, len(self.regions), kernels[owner])
        walk = self._walk.only(np.concatenate((kernels, np.ones(len(self.regions), dtype=np.bool_)))[self._walk.steps])
        offsets = np.concatenate((self.access_offsets, len(alias) + added[1:]))
        first, later, size = (np.concatenate(pair) for pair in ((alias, of), (later, of), (size, bytes_)))
        touches = int(np.diff(offsets)[walk.steps].sum())
        return reuse_distances(walk.steps, walk.second, offsets, first, later, size, sets, touches)[: len(owner)]

    @cached_property
    def content_hash(self) -> str:
        """BLAKE2b over the four tables (not the manifest): equal for equal content, whatever wrote the file."""
        digest = hashlib.blake2b(digest_size=16)
        for name, table in self.tables.items():
            for column in schema.TABLES[name]:
                digest.update(f"{name}.{column.name}:{len(table)}".encode())
                if column.dtype == "string":
                    digest.update("\0".join(table.categories(column.name)).encode())
                    digest.update(table.codes(column.name).tobytes())
                else:
                    digest.update(np.ascontiguousarray(table[column.name]).tobytes())
        return digest.hexdigest()

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write the trace to one file (see ``traces.saving``)."""
        from traces.saving import save

        save(self, path)

    @property
    def statistics(self) -> list[dict[str, Any]]:
        """What real CPU runs of this program measured, a row a precision: variance of the local energy, autocorrelation time.

        Those of the trace's workload, molecule, sampler and Laplacian (loop and naive give the energies of forward); empty where nothing
        was measured: `codesign workloads NAME` says for which molecules, and what would. ``traces.statistics`` turns a row and the time
        of a step into the time to a standard error; columns and units: ``traces.recorded_statistics``.
        """
        from traces.recorded_statistics import statistics_of

        return statistics_of(self.program, self.options)

    def summary(self, by: str = "family") -> Summary:
        """Return kernels, launches, FLOP and bytes by 'family', 'phase' or 'stage', loops and library calls expanded."""
        return summarize(self, by)

    def data_parallel(self, ranks: int, *, before: str = "optimizer", of: str = "gradient") -> "Trace":
        """Return the trace of one of ``ranks`` that each run it on their part of the batch and add up gradients (see ``traces.ranks``)."""
        from traces.ranks import data_parallel

        return data_parallel(self, ranks, before=before, of=of)

    def side_by_side(self) -> "Trace":
        """Return all ranks of a program of which this trace is one (see ``traces.ranks``)."""
        from traces.ranks import side_by_side

        return side_by_side(self)

    def __repr__(self) -> str:
        return f"<Trace {self.program} for {self.target or 'unknown target'}: {len(self.kernels)} kernels, {self.launches:,} launches>"

    def _repr_html_(self) -> str:
        title = f"<b>{escape(self.program)}</b> captured for {escape(self.target or 'an unknown target')}: {len(self.kernels):,} kernels, "
        title += f"{self.launches:,} launches, {len(self.tensors):,} tensors"
        return title + self.summary("phase")._repr_html_() + self.summary("family")._repr_html_()


def _check(trace: Trace) -> None:
    _check_indices("accesses", "kernel", trace.accesses["kernel"], len(trace.kernels))
    _check_indices("accesses", "tensor", trace.accesses["tensor"], len(trace.tensors))
    _check_indices("kernels", "region", trace.kernels["region"], len(trace.regions))
    for name in ("first_kernel", "last_kernel"):
        _check_indices("tensors", name, trace.tensors[name], len(trace.kernels), low=-1)
    if np.any(np.diff(trace.accesses["kernel"]) < 0):
        row = int(np.flatnonzero(np.diff(trace.accesses["kernel"]) < 0)[0]) + 1
        raise TraceError(f"accesses must be sorted by kernel, but row {row} has a lower kernel than row {row - 1}")
    if np.any(trace.kernels["launches"] < 1):
        row = int(np.flatnonzero(trace.kernels["launches"] < 1)[0])
        raise TraceError(f"kernels.launches must be at least 1, but row {row} has {trace.kernels['launches'][row]}")
    _check_regions(trace)


def _check_indices(table: str, column: str, values: NDArray[Any], limit: int, low: int = 0) -> None:
    bad = np.flatnonzero((values < low) | (values >= limit))
    if len(bad):
        row = int(bad[0])
        raise TraceError(f"{table}.{column} must be a row below {limit}, but row {row} has {values[row]}")


def _check_regions(trace: Trace) -> None:
    """Regions are contiguous ranges of launches that nest, siblings in order; a kernel's region is the innermost."""
    regions, count = trace.regions, len(trace.kernels)
    if not len(regions) or regions["parent"][0] != -1 or np.any(regions["parent"][1:] < 0):
        raise TraceError(
            "row 0 of regions must be the root (parent null), and only it, but parents are " + str(regions["parent"][:5].tolist())
        )
    _check_indices("regions", "parent", regions["parent"], len(regions), low=-1)
    first, end, parent = regions["first_kernel"].copy(), regions["end_kernel"], regions["parent"]
    if first[0] != 0 or end[0] != count:
        raise TraceError(f"the root region must hold all launches 0 to {count}, but holds {first[0]} to {end[0]}")
    reached = first.copy()  # where the next child of each region may begin
    for row in range(1, len(regions)):
        above = int(parent[row])
        if above >= row or first[row] < reached[above] or end[row] < first[row] or end[row] > end[above]:
            raise TraceError(
                f"regions must nest in order, but region {row} ({regions['name'][row]!r}, launches {first[row]} to {end[row]}) "
                f"does not fit into region {above} ({first[above]} to {end[above]}, free from {reached[min(above, row)]})"
            )
        reached[above] = end[row]
    if np.any(regions["trip_count"] < 1) or np.any((regions["kind"] == "sequence") & (regions["trip_count"] != 1)):
        row = int(np.flatnonzero((regions["trip_count"] < 1) | ((regions["kind"] == "sequence") & (regions["trip_count"] != 1)))[0])
        raise TraceError(f"trip_count must be at least 1, and 1 for a sequence, but region {row} has {regions['trip_count'][row]}")
    innermost = np.zeros(count, dtype=np.int64)
    for row in range(len(regions)):
        innermost[first[row] : end[row]] = row
    wrong = np.flatnonzero(innermost != trace.kernels["region"])
    if len(wrong):
        k = int(wrong[0])
        raise TraceError(
            f"kernels.region must be the innermost region, {innermost[k]} for kernel {k}, but got {trace.kernels['region'][k]}"
        )
