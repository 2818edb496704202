"""Closed forms of units in every bank behind a global buffer (GDDR6-AiM): one command drives all banks of a channel.

Commands run in the order given. The buffer, the accumulators and the activation registers are written and read in a mode of
their own; ``nMODCH`` separates it from commands on rows. All times are in clocks and built from the named timing parameters
of a ``dram`` entry; nothing is refreshed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch.work import Float

Timing = Mapping[str, float]


@dataclass(frozen=True)
class Shape:
    """Banks of a channel, banks of a group, column accesses of a row, elements of an access."""

    banks: int = 16
    group: int = 4
    page: int = 64
    lanes: float = 16

    @property
    def chunk(self) -> float:
        """Elements of the input that the buffer holds: as many as a row has of the matrix."""
        return self.page * self.lanes


@dataclass(frozen=True, eq=False)
class Counts:
    """Commands of one channel by name; arrays of shape [kernels]."""

    activate: Float
    multiply: Float
    write_buffer: Float
    read_accumulator: Float
    write_accumulator: Float
    change_mode: Float


@dataclass(frozen=True)
class Gaps:
    """Clocks from one command to the next that follows it."""

    write: float
    multiply: float
    row: float
    read_to_write: float
    read: float
    mode: float

    @classmethod
    def of(cls, t: Timing) -> "Gaps":
        """Return the gaps of a set of timing parameters."""
        return cls(
            write=max(t["nBL"], t["nCCDS"]),
            multiply=max(t["nCCDS"], t["nCCDL"]),
            row=max(t["nRTP"], t["nRAS"] - t["nRCDRDMAC"]) + t["nRP"] + t["nRCDRDMAC"],
            read_to_write=t["nCLREG"] + t["nBL"] + 3 - t["nCWLREG"] + t["nWPRE"],
            read=t["nCLREG"] + t["nBL"] + 1,  # a register is read before the next is asked for
            mode=t["nMODCH"],
        )


def gemv_counts(rows: Float, columns: Float, channels: Float, registers: int, shape: Shape = Shape()) -> Counts:
    """Return the commands of one channel for a matrix of ``rows`` x ``columns`` elements; see ``gemv``."""
    tiles, chunks, passes, width = _tiling(rows, columns, channels, registers, shape)
    return Counts(
        activate=tiles * chunks,
        multiply=tiles * width,
        write_buffer=width,
        read_accumulator=tiles * chunks,
        write_accumulator=tiles * chunks,
        change_mode=1 + 2 * passes * chunks,
    )


def _tiling(rows: Float, columns: Float, channels: Float, registers: int, shape: Shape) -> tuple[Float, Float, Float, Float]:
    """Tiles of as many outputs as there are banks, chunks of input, groups of tiles that share a mode change, accesses of input."""
    tiles = np.ceil(rows / (shape.banks * channels))
    return tiles, np.ceil(columns / shape.chunk), np.ceil(tiles / registers), np.ceil(columns / shape.lanes)


def gemv(
    t: Timing, rows: Float, columns: Float, channels: Float, registers: int = 1, activation: bool = False, shape: Shape = Shape()
) -> Float:
    """Return the clocks of a matrix-vector product, shape [kernels].

    A chunk of the input is written to the buffer once and multiplied with all tiles of outputs. With one accumulator a bank
    each tile's partial sums are written, multiplied and read in turn, with a change of mode each way; with ``registers`` the
    tiles of a pass share the two changes. ``activation``: the last chunk's sums go through the activation function.
    """
    g = Gaps.of(t)
    tiles, chunks, passes, width = _tiling(rows, columns, channels, registers, shape)
    ends = g.read_to_write + 1 + 2 * g.mode  # from sums out to sums in, and a change of mode before and after the products
    one_pass = ends + t["nRP"] + t["nRCDRDMAC"] + g.write - g.multiply
    more = g.write + g.read + g.row - g.multiply
    groups = passes * chunks
    clocks = groups * one_pass + (tiles * chunks - groups) * more + tiles * width * g.multiply + width * g.write
    start = 1 + g.mode - g.read_to_write - t["nRP"]  # nothing is read or closed before the first
    total = clocks + start + t["nCLREG"] + t["nBL"] + 2
    if activation:
        total = total + _activation(t, g, tiles, passes, registers)
    return np.asarray(total, dtype=np.float64)


def _activation(t: Timing, g: Gaps, tiles: Float, passes: Float, registers: int) -> Float:
    """What the activation adds: the row of its table opens; several registers alternate with their read-out."""
    table = max(t["nRTP"], t["nRAS"] - t["nRCDRDMAC"]) + t["nRP"] + t["nRCDRDAF"] + 1 - g.multiply
    if registers == 1:
        return tiles * table
    alternate = g.read + g.mode + 1 + g.mode
    return passes * (table + g.read) + (tiles - passes) * alternate


def activations(t: Timing, count: Float) -> Float:
    """Return the clocks of ``count`` activations alone: write the sums, apply the function, read the result."""
    g = Gaps.of(t)
    first = 1 + g.mode + 1 + g.mode + t["nRCDRDAF"] + 1 + g.mode
    again = g.read_to_write + 1 + g.mode + 1 + g.mode
    return np.asarray(first + (count - 1) * again + t["nCLREG"] + t["nBL"] + 2, dtype=np.float64)


def elementwise(t: Timing, elements: Float, channels: Float) -> Float:
    """Return the clocks of a product of two vectors: a command reads two banks of each group and writes a third."""
    shape = Shape()
    commands = np.ceil(elements / channels / (shape.banks // shape.group * shape.lanes))
    return groups(t, commands, np.ceil(commands / shape.page))


def groups(t: Timing, commands: Float, rows: Float) -> Float:
    """Return the clocks of elementwise commands that open ``rows`` rows one after the other."""
    g = Gaps.of(t)
    close = max(t["nRTP"], t["nCWL"] + t["nWR"], t["nRAS"] - t["nRCDEWMUL"])
    row = close + t["nRP"] + t["nRCDEWMUL"] - g.multiply
    return np.asarray(1 + t["nRCDEWMUL"] + (commands - 1) * g.multiply + np.maximum(rows - 1, 0) * row + 2, dtype=np.float64)


def score(t: Timing, positions: Float, heads: Float, head_dim: Float, channels: Float) -> Float:
    """Return the clocks of a head-by-head product of queries with keys: each head's query goes through the buffer.

    A row holds the keys of several heads for as many positions as there are banks, so that a row closes only now and then.
    """
    shape, g = Shape(), Gaps.of(t)
    width = np.ceil(head_dim / shape.lanes)
    tiles = np.ceil(positions / (shape.banks * channels))
    rows = np.ceil(heads * width / shape.page)
    head = g.read_to_write + 1 + 2 * g.mode + g.write - g.multiply + width * (g.write + g.multiply)
    start = 1 + g.mode - g.read_to_write
    total = tiles * (heads * head + rows * (t["nRP"] + t["nRCDRDMAC"])) + start - t["nRP"] + t["nCLREG"] + t["nBL"] + 2
    return np.asarray(total, dtype=np.float64)


def copy(t: Timing, rows: Float, *, to_buffer: bool) -> Float:
    """Return the clocks of copying rows of one bank each between banks and the buffer."""
    shape, g = Shape(), Gaps.of(t)
    opened = t["nRCDRDCP" if to_buffer else "nRCDWRCP"]
    return np.asarray(rows * (1 + opened + (shape.page - 1) * g.multiply) + 2, dtype=np.float64)


def write_buffer(t: Timing, accesses: Float) -> Float:
    """Return the clocks of writing ``accesses`` of 32 B to the buffer."""
    g = Gaps.of(t)
    return np.asarray(1 + g.mode + (accesses - 1) * g.write + t["nCWLGB"] + t["nBL"] + 1, dtype=np.float64)
