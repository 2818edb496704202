"""The operations of a timeline as they are kept: what was run, and which stretches of it repeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codesign.engine.expand import expand
from codesign.engine.program import KERNEL, KINDS, PS, Codes, Floats, Indices, Program, Records
from traces.errors import TraceError

if TYPE_CHECKING:
    from traces.trace import Trace

LABELS = ("kernel", "family", "phase", "stage")


@dataclass(frozen=True, eq=False)
class Spans:
    """Operations over time, in launch order, arrays of one length: ``queue`` indexes the entries' ``queues``.

    ``kind`` is 'kernel', 'transfer', 'hand_over' or 'round_trip'; name, family, phase and stage are of the kernel ('' for others).
    """

    queue: Indices
    start_s: Floats
    end_s: Floats
    kind: npt.NDArray[np.object_]
    name: npt.NDArray[np.object_]
    family: npt.NDArray[np.object_]
    phase: npt.NDArray[np.object_]
    stage: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.queue)


@dataclass(frozen=True, eq=False)
class Entries:
    """Records of operations (see `Records`), and of each operation its queue (-1: the host), kind and labels."""

    queues: tuple[str, ...]
    records: Records
    queue: Indices
    kind: Codes
    labels: dict[str, npt.NDArray[np.object_]]

    def __len__(self) -> int:
        return len(self.records.op)

    def spans(self, *, repeats: int | None = None) -> Spans:
        """Return the operations with loops written out; ``repeats`` limits how often each stretch that was stepped over appears."""
        instances = expand(self.records, repeats)
        shown = instances.op >= 0
        op = instances.op[shown]
        kinds = np.array(KINDS, object)
        text = [self.labels[name][op] for name in LABELS]
        return Spans(self.queue[op], instances.start_ps[shown] / PS, instances.end_ps[shown] / PS, kinds[self.kind[op]], *text)

    def to_dict(self) -> dict[str, Any]:
        """Return the entries for JSON: texts once each, start and duration in picoseconds."""
        records = self.records
        texts = {name: _coded(column) for name, column in self.labels.items()}
        steps = (records.step_first, records.step_end, records.step_count, records.step_period_ps)
        return {
            "queues": list(self.queues),
            "operations": {"queue": self.queue.tolist(), "kind": self.kind.tolist(), **texts},
            "op": records.op.tolist(),
            "start_ps": records.start_ps.tolist(),
            "duration_ps": (records.end_ps - records.start_ps).tolist(),
            "steps": np.stack(steps, axis=1).tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Entries":
        """Return what ``to_dict`` wrote. Raises TraceError."""
        try:
            operations = data["operations"]
            start = np.array(data["start_ps"], np.int64)
            steps = np.array(data["steps"], np.int64).reshape(-1, 4).T
            records = Records(np.array(data["op"], np.int32), start, start + np.array(data["duration_ps"], np.int64), *steps)
            labels = {name: np.array(operations[name]["values"], object)[operations[name]["codes"]] for name in LABELS}
            entries = cls(
                tuple(data["queues"]), records, np.array(operations["queue"], np.int32), np.array(operations["kind"], np.int8), labels
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise TraceError(f"the entries of a timeline must be what `Timeline.save` writes, but {error!r} is missing or wrong") from error
        return entries


def entries_of(program: Program, records: Records, trace: "Trace") -> Entries:
    """Return the entries of a replay of ``trace``."""
    kernels = trace.kernels
    mine = program["kind"] == KERNEL
    labels = {}
    for label in LABELS:
        column = np.full(len(program), "", object)
        column[mine] = kernels["name" if label == "kernel" else label][program["kernel"][mine]]
        labels[label] = column
    return Entries(program.queues, records, program["queue"], program["kind"], labels)


def _coded(column: npt.NDArray[np.object_]) -> dict[str, list[Any]]:
    values, codes = np.unique(column.astype(str), return_inverse=True)
    return {"values": values.tolist(), "codes": codes.tolist()}
