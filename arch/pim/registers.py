"""Closed forms of units with register files (HBM-PIM): one command drives the even or the odd banks of a channel.

A unit sits between two banks. Kernels are runs of ``run`` column accesses (as many as a unit has registers for each bank)
between which a row closes, the bus turns around, or both; the commands that set the mode lie in rows of their own. All
times are in clocks and built from the named timing parameters of a ``dram`` entry; what is counted rather than timed is in
``Shape``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from arch.pim.refresh import refreshes
from arch.work import Float

Timing = Mapping[str, float]
Access = Literal["read", "write"]
READ: Access = "read"
WRITE: Access = "write"
_ACTIVATE = {READ: "tRCDRD", WRITE: "tRCDWR"}
"""From the activation of a row to a column access of each kind."""

PARK_BANKS = 16
"""Banks that are opened once before and once after a kernel, to leave and to re-enter normal operation."""
MODE_BANKS = 4
"""Banks whose mode rows are written to switch all banks to one command."""


@dataclass(frozen=True)
class Shape:
    """What a unit and its banks hold: accesses of a run, runs of a tile of a matrix, column accesses of a row."""

    run: int = 8
    page: int = 32

    @property
    def tile(self) -> int:
        """Column accesses of a tile of a matrix: every input register with every output register."""
        return self.run * self.run


@dataclass(frozen=True)
class Gaps:
    """Clocks from the last command of one run to the first of the next."""

    column: float
    other_column: float
    read_close: float
    write_close: float
    read_to_write: float
    write_to_read: float
    timing: Timing

    @classmethod
    def of(cls, t: Timing) -> "Gaps":
        """Return the gaps of a set of timing parameters."""
        burst = t["BL"] / 2
        return cls(
            column=max(t["tCCDL"], burst),
            other_column=max(t["tCCDS"], burst),
            read_close=burst + max(t["tRTPL"], t["tCCDL"]) - t["tCCDL"],
            write_close=t["WL"] + burst + t["tWR"],
            read_to_write=t["RL"] + burst + t["tRTRS"] - t["WL"],
            write_to_read=t["WL"] + burst + t["tWTRL"],
            timing=t,
        )

    def run(self, accesses: float) -> float:
        """First to last command of a run."""
        return (accesses - 1) * self.column

    def reopen(self, accesses: float, before: Access, after: Access, ahead: float = 0.0) -> float:
        """Last command of a run of ``accesses`` in a bank to the first in another row of the same bank.

        ``before`` and ``after`` say whether the run and what follows it read or write. The row was opened ``ahead`` of the run, or
        as late as it could.
        """
        t = self.timing
        opened = max(ahead, t[_ACTIVATE[before]]) + self.run(accesses)
        close = max(self.write_close if before == WRITE else self.read_close, t["tRAS"] - opened)
        return max(close + t["tRP"], t["tRC"] - opened) + t[_ACTIVATE[after]]

    def other_bank(self, after: Access) -> float:
        """A read to a write or a write to a read, of a bank whose row is opened meanwhile, behind the last command."""
        opened = 1 + self.timing[_ACTIVATE[after]]
        return max(self.read_to_write, opened) if after == WRITE else max(self.write_to_read, opened - self.column)

    def mode_write(self) -> float:
        """A write to the write of a mode row of the other bank, which is not opened ahead."""
        return max(self.column, 1 + self.timing["tRCDWR"])


def _prologue(g: Gaps) -> float:
    """Start of a kernel to the write that starts the units: park all banks, go to all-bank mode, program, start."""
    t = g.timing
    parked = 1 + _pace(g) + 2 * t["tRCDRD"] + 1
    mode = parked + max(g.read_to_write, 1 + t["tRCDWR"]) + (MODE_BANKS - 2) * g.other_column
    program = max(mode + g.reopen(1, WRITE, WRITE), mode + 1 + t["tRCDWR"] + g.column)
    return program + g.mode_write()


def _epilogue(g: Gaps) -> float:
    """The write that stops the units to the end: leave all-bank mode, then re-open all banks."""
    leave = g.reopen(1, WRITE, WRITE) + g.mode_write() + g.write_close
    return leave + 2 + max(0.0, g.timing["tRP"] - 2 - _pace(g)) + _reopen_all(g)


def _pace(g: Gaps) -> float:
    """Activations of many banks."""
    return (PARK_BANKS - 2) * max(g.timing["tRRDS"], g.other_column)


def _reopen_all(g: Gaps) -> float:
    """First activation to the last data of a read of every bank; the last bank is opened behind the reads of the others."""
    t = g.timing
    return _pace(g) + 1 + 2 * t["tRCDRD"] + t["RL"] + t["BL"] / 2 + 1


@dataclass(frozen=True, eq=False)
class Clocks:
    """Clocks of kernels, shape [kernels], and their parts; ``total`` is the sum of the others."""

    columns: Float
    turns: Float
    program: Float
    refresh: Float

    @property
    def total(self) -> Float:
        """All of it."""
        return self.columns + self.turns + self.program + self.refresh


def _tile(g: Gaps, shape: Shape, *, odd: bool) -> tuple[float, list[float]]:
    """Clocks of a tile up to the next write of input, and the gaps among them.

    Inputs are written through a row of the odd bank: a tile of odd banks must close that row first.
    """
    rows = shape.tile / shape.page
    inside = [g.reopen(shape.page, READ, READ)] * int(rows - 1)
    if odd:
        gaps = [g.reopen(shape.run, WRITE, READ), *inside, max(g.reopen(shape.page, READ, WRITE), g.read_to_write)]
    else:
        gaps = [g.other_bank(READ), *inside, g.other_bank(WRITE)]
    return g.run(shape.run) + rows * g.run(shape.page) + sum(gaps), gaps


def _lost(g: Gaps, gaps: Float, busy: Float) -> Float:
    """What a refresh costs: rows close, tRFC, and the row opens again; less what a gap hides that it falls into.

    ``gaps`` is the sum of the squares of the gaps of a period of ``busy`` clocks: a refresh falls into a gap in proportion to
    its length and then hides half of it on average.
    """
    t = g.timing
    return np.asarray(g.read_close + 1 + t["tRFC"] + t["tRCDRD"] - g.column - gaps / (2 * busy), dtype=np.float64)


def _with_refresh(g: Gaps, clocks: Clocks, lost: Float, on: bool) -> Clocks:
    """Ranks take turns: the first of the rank in use is due after its share of the interval.

    A refresh that is due while the banks re-open at the end waits for them.
    """
    if not on:
        return clocks
    t = g.timing
    count = refreshes(clocks.total - _reopen_all(g), t["tREFI"] / t["ranks"], t["tREFI"], lost)
    return Clocks(clocks.columns, clocks.turns, clocks.program, count * lost)


def gemv(
    t: Timing,
    outputs: Float,
    inputs: Float,
    vectors: Float | float = 1.0,
    *,
    refresh: bool = True,
    tree: bool = False,
    shape: Shape = Shape(),
) -> Clocks:
    """Return the clocks of a matrix-vector product for each of ``vectors``, shape [kernels].

    The matrix is ``outputs`` tiles high (a tile: as many outputs as all units of all channels accumulate at once) and
    ``inputs`` tiles wide (registers full of input); tiles that are not full cost as much. The input is written again for every
    tile. ``tree``: results leave the accumulators after every tile of input, to be summed outside.
    """
    g = Gaps.of(t)
    (even, even_gaps), (odd, odd_gaps) = _tile(g, shape, odd=False), _tile(g, shape, odd=True)
    evens, odds = np.ceil(inputs / 2), np.floor(inputs / 2)
    passes = outputs * vectors
    work = evens * even + odds * odd
    squares = evens * sum(x * x for x in even_gaps) + odds * sum(x * x for x in odd_gaps)
    if tree:
        extra, between = _tree(g, shape)
        work = work + inputs * extra
    else:
        # accumulators go to a row of the odd bank, the units stop and start, the row of the inputs opens again
        between = g.run(shape.run) + max(g.mode_write() + 2 * g.column, g.reopen(shape.run, WRITE, WRITE))
    columns = passes * inputs * (shape.tile + shape.run) * g.column
    total = passes * work + np.maximum(passes - 1, 0) * between
    # the first tile waits for the row that started the units, where that is later than the inputs
    late = max(0.0, g.reopen(1, WRITE, READ) - (g.column + g.run(shape.run) + g.other_bank(READ)))
    last = _leave_tree(g) if tree else g.run(shape.run) + g.mode_write()
    program = np.full(np.shape(total), _prologue(g) + g.column + late + last + _epilogue(g) + (_zero(g) + g.column if tree else 0.0))
    clocks = Clocks(columns, total - columns, program, np.zeros_like(total))
    return _with_refresh(g, clocks, _lost(g, squares, np.maximum(work, 1.0)), refresh)


def _tree(g: Gaps, shape: Shape) -> tuple[float, float]:
    """Clocks that the tree adds to a tile, and between passes: results out, zeros in from a row of the even bank."""
    extra = g.run(shape.run) + g.write_to_read + g.run(shape.run) + g.read_to_write
    between = _leave_tree(g) + 1 + g.timing["tRCDWR"]
    return extra, between


def _leave_tree(g: Gaps) -> float:
    """The last zeros were read where the mode row lies: that bank must close its row, the bus has turned meanwhile."""
    return g.reopen(Shape().run, READ, WRITE) - g.other_bank(WRITE)


def _zero(g: Gaps) -> float:
    """Zeros written to a row of every bank before a tree starts; two bank groups interleave but at the ends."""
    run = Shape().run
    return g.timing["tRCDWR"] + (2 * run - 1) * g.column + (PARK_BANKS - 2) * run * g.other_column


def elementwise(
    t: Timing, tiles: Float, reads: Float, writes: Float | float = 1.0, *, refresh: bool = True, shape: Shape = Shape()
) -> Clocks:
    """Return the clocks of elementwise kernels, shape [kernels].

    A tile is a run of every operand in the even and then in the odd banks; operands of one bank lie in different rows, so
    that a row closes between any two runs.
    """
    g = Gaps.of(t)
    enter, again = g.other_bank(READ), g.reopen(shape.run, READ, READ)
    ahead = enter + g.column - 1  # the row opens behind the last but one write to the other bank
    first = np.where(reads > 1, g.reopen(shape.run, READ, READ, ahead) - again, 0.0)
    store = np.where(
        reads == 1, max(g.reopen(shape.run, READ, WRITE, ahead), g.read_to_write), max(g.reopen(shape.run, READ, WRITE), g.read_to_write)
    )
    more = g.reopen(shape.run, WRITE, WRITE)
    bank = enter + first + np.maximum(reads - 1, 0) * again + store + np.maximum(writes - 1, 0) * more + (reads + writes) * g.run(shape.run)
    squares = enter**2 + np.maximum(reads - 1, 0) * again**2 + store**2 + np.maximum(writes - 1, 0) * more**2
    columns = 2 * tiles * (reads + writes) * shape.run * g.column
    total = 2 * tiles * bank + g.reopen(1, WRITE, READ) - enter  # the first run follows the row that started the units
    program = np.full(np.shape(total), _prologue(g) + g.mode_write() + _epilogue(g))
    clocks = Clocks(columns, total - columns, program, np.zeros_like(total))
    return _with_refresh(g, clocks, _lost(g, squares, bank), refresh)


def read_results(t: Timing, accesses: Float) -> Float:
    """Return the clocks in which the host reads results of all units of a channel: banks of several groups take turns."""
    g = Gaps.of(t)
    return np.asarray(accesses * g.other_column + t["tRP"] + t["tRCDRD"] + t["RL"] + t["BL"] / 2, dtype=np.float64)
