"""XLA's buffer assignment: where each value lives, and how much memory the program takes.

The dump (``*-buffer-assignment.txt``) lists allocations, each with the values that share it::

    allocation 0: size 262144, maybe-live-out:
     value: <73 loop_add_fusion @0> (size=262144,offset=0): f32[8192,8]{1,0}
"""

import re
from dataclasses import dataclass, field

from traces.capture.hlo import Index
from traces.capture.values import Value

_ALLOCATION = re.compile(r"allocation (\d+): size (\d+)(.*)")
_VALUE = re.compile(r" value: <\d+ (\S+?)(?:\{([\d,]*)\})?(?: \(phi\))? @\d+> \(size=(\d+),offset=(\d+)\)")
_PEAK = re.compile(r"peak usage: ([\d ]+) bytes")


@dataclass(slots=True)
class Buffers:
    """``place`` maps a value to (allocation, offset, size); sizes in bytes."""

    place: dict[Value, tuple[int, int, int]] = field(default_factory=dict)
    allocated_bytes: int = 0
    """All allocations of the program, without those local to a kernel's threads."""

    def same_place(self, one: Value, other: Value) -> bool:
        """Tell whether two values have the same bytes of memory."""
        place = self.place.get(one)
        return place is not None and place == self.place.get(other)


def parse(text: str) -> Buffers:
    """Parse the dump of a buffer assignment; an empty text gives none."""
    buffers, current = Buffers(), -1
    for line in text.splitlines():
        if line.startswith(" value:"):
            found = _VALUE.match(line)
            if found is not None:
                name, index, size, offset = found.groups()
                buffers.place[name, _index(index)] = (current, int(offset), int(size))
        elif (allocation := _ALLOCATION.match(line)) is not None:
            current = int(allocation.group(1))
            if "thread-local" not in allocation.group(3):
                buffers.allocated_bytes += int(allocation.group(2))
    return buffers


def live_peak(text: str) -> int | None:
    """Return the peak of live bytes that XLA prints in ``*-live-range.txt``, None if it does not."""
    found = _PEAK.search(text)
    return int(found.group(1).replace(" ", "")) if found else None


def _index(text: str | None) -> Index:
    return tuple(int(n) for n in text.split(",") if n) if text else ()
