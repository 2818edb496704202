"""Small traces made by hand, for tests of everything after capture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from traces import Table, Trace


@dataclass
class Toy:
    """Collects kernels, tensors and loops; ``build`` makes the trace. Times and sizes are the test's own business."""

    tensors: dict[str, dict[str, Any]] = field(default_factory=dict)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    accesses: list[dict[str, Any]] = field(default_factory=list)
    regions: list[dict[str, Any]] = field(default_factory=lambda: [{"parent": -1, "kind": "sequence", "name": "root", "trip_count": 1}])
    inside: list[int] = field(default_factory=lambda: [0])

    def tensor(self, name: str, size: int = 4096, kind: str = "temporary", alias: str | None = None) -> str:
        """Declare a tensor of ``size`` bytes; ``alias`` names a tensor that it shares its allocation with."""
        alias_set = self.tensors[alias]["alias_set"] if alias else len(self.tensors)
        self.tensors[name] = {"name": name, "bytes": size, "kind": kind, "alias_set": alias_set, "row": len(self.tensors)}
        return name

    def kernel(self, name: str, reads: Sequence[str] = (), writes: Sequence[str] = (), **columns: Any) -> int:
        """Launch a kernel; unknown tensors are declared as parameters where read first, as temporaries where written."""
        row = len(self.kernels)
        self.kernels.append({"name": name, "region": self.inside[-1], **columns})
        for mode, names in (("read", reads), ("write", writes)):
            for tensor in names:
                if tensor not in self.tensors:
                    self.tensor(tensor, kind="parameter" if mode == "read" else "temporary")
                size = float(self.tensors[tensor]["bytes"])
                self.accesses.append(
                    {"kernel": row, "tensor": self.tensors[tensor]["row"], "mode": mode, "bytes_unique": size, "bytes_requested": size}
                )
        return row

    def loop(self, trips: int, name: str = "loop", condition: str = "host") -> "Toy":
        """Open a loop; use as a context manager."""
        self.regions.append(
            {
                "parent": self.inside[-1],
                "kind": "loop",
                "name": name,
                "trip_count": trips,
                "condition": condition,
                "first": len(self.kernels),
            }
        )
        self.inside.append(len(self.regions) - 1)
        return self

    def __enter__(self) -> "Toy":
        return self

    def __exit__(self, *_: object) -> None:
        self.regions[self.inside.pop()]["end"] = len(self.kernels)

    def build(self, **manifest: Any) -> Trace:
        """Return the trace; lifetimes span from the first to the last access of an alias set, loops included."""
        return Trace(self._kernels(), self._tensors(), self._accesses(), self._regions(), {"program": "toy", "target": "a5000", **manifest})

    def _kernels(self) -> Table:
        defaults: dict[str, Any] = {
            "family": "elementwise", "phase": "", "stage": "", "launch_kind": "fusion", "opcodes": "add:1", "dtype": "f32",
            "launches": 1, "command_buffer": -1, "grid_x": 64, "grid_y": 1, "grid_z": 1, "block_x": 128, "block_y": 1, "block_z": 1,
            "shared_bytes": 0, "registers": 32, "spill_bytes": 0, "flops_matrix": 0.0, "flops_vector": 1024.0, "flops_transcendental": 0.0,
        }  # fmt: skip
        rows = []
        for row, kernel in enumerate(self.kernels):
            moved = sum(a["bytes_unique"] for a in self.accesses if a["kernel"] == row)
            rows.append({**defaults, "bytes_unique": moved, "bytes_requested": moved, **kernel})
        names = {name: None for row in rows for name in row} or {"name": None, "region": None}
        return Table.build("kernels", {name: [row[name] for row in rows] for name in names})

    def _tensors(self) -> Table:
        rows = []
        for tensor in self.tensors.values():
            same = {t["row"] for t in self.tensors.values() if t["alias_set"] == tensor["alias_set"]}
            users = [a["kernel"] for a in self.accesses if a["tensor"] in same]
            first, last = self._widened(min(users, default=0), max(users, default=0))
            lives = tensor["kind"] in ("parameter", "constant")
            ends = tensor["kind"] in ("parameter", "constant", "output")
            rows.append({"first_kernel": -1 if lives or not users else first, "last_kernel": -1 if ends or not users else last, **tensor})
        names = ("name", "bytes", "kind", "alias_set", "first_kernel", "last_kernel")
        return Table.build("tensors", {name: [row[name] for row in rows] for name in names})

    def _widened(self, first: int, last: int) -> tuple[int, int]:
        """A lifetime that enters or leaves a loop covers the whole loop."""
        for region in self.regions[1:]:
            begin, end = region["first"], region["end"]
            if begin <= last and first < end and not (begin <= first and last < end):
                first, last = min(first, begin), max(last, end - 1)
        return first, last

    def _accesses(self) -> Table:
        names = ("kernel", "tensor", "mode", "bytes_unique", "bytes_requested")
        columns: dict[str, Any] = {name: [row[name] for row in self.accesses] for name in names}
        return Table.build("accesses", {**columns, "stride": [row.get("stride", "contiguous") for row in self.accesses]})

    def _regions(self) -> Table:
        rows = [{"condition": "host", "first": 0, "end": len(self.kernels), **region} for region in self.regions]
        names = {"parent": "parent", "kind": "kind", "name": "name", "trip_count": "trip_count", "condition": "condition"}
        columns = {name: [row[key] for row in rows] for name, key in names.items()}
        return Table.build("regions", {**columns, "first_kernel": [r["first"] for r in rows], "end_kernel": [r["end"] for r in rows]})
