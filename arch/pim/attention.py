"""Closed forms of AttAcc's attention: a score and a context product and a softmax for each head, in the banks of HBM3.

Units sit at banks (one command reads all banks of a channel), at bank groups (one bank of each group), or on the buffer die
(one bank of each pseudo-channel). Heads are spread over channels; a channel works on two heads in turn, so that one's
moves to and from the softmax unit hide behind the other's products. All times are in clocks and built from the named timing
parameters of a ``dram`` entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch.pim.refresh import refreshes
from arch.work import Float
from traces.errors import MachineError

Timing = Mapping[str, float]
LEVELS = ("bank", "bg", "buffer")
_GROUP = 16
"""Keys whose scores move to the softmax unit together."""


@dataclass(frozen=True)
class Shape:
    """Pseudo-channels of a channel, ranks, bank groups, banks of a group, column accesses of a row, bytes of an access."""

    pseudo_channels: int = 2
    ranks: int = 2
    bank_groups: int = 4
    banks: int = 4
    page: int = 32
    access: int = 32

    def parallel(self, level: str) -> int:
        """Units of a channel that work on different keys."""
        return self.pseudo_channels * (1 if level == "buffer" else self.ranks * self.bank_groups)

    def split(self, level: str) -> int:
        """Units that share the elements of a key."""
        return self.banks if level == "bank" else 1

    def reads(self, level: str) -> int:
        """Banks that one command reads."""
        return self.parallel(level) * self.split(level)

    def moves(self, level: str) -> int:
        """Moves that bring the results of all units of a channel to or from the softmax unit."""
        return 1 if level == "buffer" else self.ranks * self.bank_groups


@dataclass(frozen=True, eq=False)
class Counts:
    """Commands of one channel, shape [kernels]."""

    multiply: Float
    rows: Float
    write_input: Float
    move_out: Float
    move_in: Float
    softmax: Float
    heads: Float


@dataclass(frozen=True, eq=False)
class Heads:
    """One query for each of ``heads`` heads in all, of ``positions`` keys of ``head_dim`` elements of ``element`` bytes."""

    positions: Float
    heads: Float
    head_dim: Float
    element: float
    channels: Float


def counts(level: str, work: Heads) -> Counts:
    """Return the commands of a channel.

    A first product of the first key only warms a channel with two heads up. The input of a second head
    is written in equal shares behind the groups of keys of the first; what does not divide is left out, as in the
    simulator's trace. Raises MachineError for an unknown level.
    """
    if level not in LEVELS:
        raise MachineError(f"AttAcc's units are at one of the levels {', '.join(LEVELS)}, but got {level!r}")
    shape, channels = Shape(), work.channels
    lanes = shape.access / work.element
    mine = np.ceil(work.heads / channels)
    keys = np.ceil(work.positions / shape.parallel(level))
    width = np.ceil(work.head_dim / shape.split(level) / lanes)
    outputs = np.ceil(work.head_dim / (shape.split(level) * lanes))
    groups = np.ceil(keys / _GROUP)
    score, context = keys * width, keys * outputs
    inputs = width * shape.split(level)
    second = np.minimum(np.floor(inputs * channels / groups) * groups, inputs * channels) / channels
    pairs = np.floor(mine / 2)
    context_moves = {"bank": shape.ranks * shape.banks, "bg": shape.ranks, "buffer": 1}[level]
    return Counts(
        multiply=mine * (score + context) + (mine > 1),
        rows=mine * (np.ceil(score / shape.page) + np.ceil(context / shape.page)),
        write_input=(mine - pairs) * inputs + pairs * second,
        move_out=mine * (shape.moves(level) * groups + context_moves * outputs),
        move_in=mine * shape.moves(level) * np.ceil(work.positions / (shape.parallel(level) * lanes)),
        softmax=mine,
        heads=mine,
    )


def clocks(t: Timing, level: str, work: Heads, *, refresh: bool = True) -> Float:
    """Return the clocks of attention, shape [kernels]. Raises MachineError for an unknown level."""
    c = counts(level, work)
    busy, lost = {"bank": _banks, "bg": _groups, "buffer": _buffer}[level](t, c, work.positions)
    if not refresh:
        return busy
    return busy + refreshes(busy, t["nREFI"], t["nREFI"], lost) * lost


def _banks(t: Timing, c: Counts, positions: Float) -> tuple[Float, float]:
    """All banks at once: every change of row is seen, except one of a pair of heads whose keys fit a row each.

    A single head waits for its moves: those of its first two groups of keys hide behind a change of row.
    """
    shape, column = Shape(), t["nCCDAB"]
    row = t["nRTPL"] + t["nRP"] + t["nRCDRD"] - column
    groups = np.ceil(np.ceil(positions / shape.parallel("bank")) / _GROUP)
    single = np.mod(c.heads, 2)
    short = (c.rows <= 2 * c.heads) * np.floor(c.heads / 2)
    moves = single * shape.moves("bank") * t["nCCDS"] * np.maximum(groups - 2, 0.0)
    busy = column * c.multiply + row * (c.rows - short) + moves - np.where(c.heads > 1, column + 1, -2.0)
    return np.asarray(busy, dtype=np.float64), t["nRFC"] - t["nRP"] + 1


def _groups(t: Timing, c: Counts, positions: Float) -> tuple[Float, float]:
    """One bank of each group: the next row opens in another bank meanwhile, so that rows cost nothing.

    Between two pairs of heads the input of the next is written; a single head waits for the moves of its groups of keys.
    """
    shape, column = Shape(), t["nCCDSB"]
    moves = shape.moves("bg") * t["nCCDS"]
    groups = np.ceil(np.ceil(positions / shape.parallel("bg")) / _GROUP)
    start = 1 + t["nRCDRD"]
    pairs, single = np.floor(c.heads / 2), np.mod(c.heads, 2)
    paired = np.where(pairs > 0, start + moves - 2 * column - 3 + (pairs - 1) * (2 * moves + 1), 0.0)
    alone = start + 2 * moves + moves * groups - 8 - column
    one = column * np.floor(c.multiply / c.heads) + alone  # a head more never takes less, however few its keys
    busy = np.maximum(column * c.multiply + paired + single * alone, one)
    return np.asarray(busy, dtype=np.float64), t["nRFC"] + t["nRP"] - 1


def _buffer(t: Timing, c: Counts, positions: Float) -> tuple[Float, float]:
    """One bank of each pseudo-channel at the pace of the data bus: rows open in other banks meanwhile."""
    column = max(t["nBL"], t["nCCDS"])
    start = 1 + t["nRCDRD"]
    busy = column * c.multiply + start + t["nRCDRD"] + t["nCCDL"]
    return np.asarray(busy, dtype=np.float64), t["nRFC"] + t["nRCDRD"] + t["nRTPL"] + t["nCCDL"]


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix-vector product on its own, shape [kernels]: column commands of a channel, and clocks by cause."""

    columns: Float
    column_clocks: Float
    turns: Float
    moves: Float


def product(t: Timing, level: str, rows: Float, inner: Float, element: float, channels: Float) -> Product:
    """Return the clocks of a matrix-vector product of ``rows`` x ``inner`` on its own.

    The input is written first, as far as opening the first row does not hide it; every change of row is seen at bank level
    only; the last sums move out, the others behind the columns.
    """
    shape = Shape()
    lanes = shape.access / element
    outputs = np.ceil(rows / (shape.parallel(level) * channels))
    columns = outputs * np.ceil(inner / (shape.split(level) * lanes))
    column = {"bank": t["nCCDAB"], "bg": t["nCCDSB"], "buffer": max(t["nBL"], t["nCCDS"])}[level]
    change = t["nRTPL"] + t["nRP"] + t["nRCDRD"] - column
    changes = (np.ceil(columns / shape.page) - 1) * change if level == "bank" else np.zeros_like(columns)
    opened = np.maximum(np.ceil(inner / lanes) * t["nCCDL"], 1 + t["nRCDRD"])
    moves = np.full_like(columns, shape.moves(level) * t["nCCDS"] + t["nCCDL"])
    return Product(columns, columns * column, opened + changes, moves)
