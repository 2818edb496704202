"""Matrix products on PIM, by how the units are driven."""

from dataclasses import dataclass

import numpy as np

from arch.facts import Facts
from arch.pim import attention, global_buffer, registers, state_update
from arch.pim.parts import Parts
from arch.pim.units import Units
from arch.work import Float


@dataclass(frozen=True, eq=False)
class _Products:
    """Matrix-vector products of ``rows`` x ``inner`` for each of ``vectors``; shape [kernels].

    Each takes ``channels`` channels; ``turns`` of them run one after the other on the same channels.
    """

    rows: Float
    inner: Float
    vectors: Float
    channels: Float
    turns: Float
    batch: Float

    @classmethod
    def of(cls, pim: Units, known: Facts) -> "_Products":
        batch, m, n, k = (np.maximum(values, 1.0) for values in (known.batch, known.m, known.n, known.k))
        channels = np.maximum(np.floor(pim.channels / batch), 1.0)
        return cls(np.maximum(m, n), k, np.minimum(m, n), channels, np.ceil(batch / pim.channels), batch)

    @property
    def repeats(self) -> Float:
        """Products that follow each other on a channel."""
        return self.vectors * self.turns


def product(pim: Units, known: Facts) -> Parts:
    """Return the parts of matrix products, shape [kernels]; what other kernels get means nothing."""
    made = {
        "registers": _registers,
        "global-buffer": _global_buffer,
        "attention": _attention,
        "state-update": _state_update,
        "streaming": _streaming,
    }
    return made[pim.style](pim, _Products.of(pim, known))


def _registers(pim: Units, p: _Products) -> Parts:
    """Tiles of registers; accumulators of all units are read by the host, each with a partial sum a lane."""
    shape, t, clock = register_shape(pim), pim.timing, pim.clock_s
    outputs = np.ceil(p.rows / (pim.units_per_channel * pim.entry["outputs_per_unit"] * p.channels))
    inputs = np.ceil(p.inner * pim.element_bytes / (pim.entry["access_bytes"] * shape.run))
    spent = registers.gemv(t, outputs, inputs, p.repeats, refresh=False, shape=shape)
    results = outputs * p.repeats * pim.units_per_channel * pim.entry["outputs_per_unit"]
    weights = outputs * p.repeats * inputs * shape.tile
    return Parts.of(
        weights * pim.units * pim.entry["access_bytes"],
        column_s=clock * spent.columns,
        turn_s=clock * spent.turns,
        program_s=clock * spent.program,
        readout_s=clock * registers.read_results(t, results),
    )


def register_shape(pim: Units) -> registers.Shape:
    """Return the runs of a device's register files and the columns of its rows."""
    entry = pim.entry
    return registers.Shape(int(entry["registers_per_unit"]), int(entry["page_bytes"] / entry["access_bytes"]))


def buffer_shape(pim: Units) -> global_buffer.Shape:
    """Return the banks and rows of a device behind a global buffer, and the elements of an access."""
    entry = pim.entry
    banks, page = round(pim.units_per_channel), round(entry["page_bytes"] * pim.banks_per_unit / entry["access_bytes"])
    return global_buffer.Shape(banks, max(round(banks * entry["elementwise_share"]), 1), page, entry["access_bytes"] / pim.element_bytes)


def _global_buffer(pim: Units, p: _Products) -> Parts:
    """Tiles of as many outputs as there are units; sums leave through the registers as part of the closed form."""
    shape, t, clock = buffer_shape(pim), pim.timing, pim.clock_s
    registers_ = int(pim.entry["outputs_per_unit"])
    counts = global_buffer.gemv_counts(p.rows, p.inner, p.channels, registers_, shape)
    clocks = global_buffer.gemv(t, p.rows, p.inner, p.channels, registers_, shape=shape)
    columns = counts.multiply * t["nCCDL"] + counts.write_buffer * max(t["nBL"], t["nCCDS"])
    return Parts.of(
        counts.multiply * p.repeats * pim.units * pim.entry["access_bytes"],
        column_s=clock * columns * p.repeats,
        turn_s=clock * (clocks - columns) * p.repeats,
    )


def _attention(pim: Units, p: _Products) -> Parts:
    """Rows of the matrix spread over the units, parts of a row over the banks of a group."""
    level = pim.entry.text["level"]
    spent = attention.product(pim.timing, level, p.rows, p.inner, pim.element_bytes, p.channels)
    read = attention.Shape().reads(level)
    return Parts.of(
        spent.columns * p.repeats * pim.channels * read * pim.entry["access_bytes"],
        column_s=pim.clock_s * spent.column_clocks * p.repeats,
        turn_s=pim.clock_s * spent.turns * p.repeats,
        readout_s=pim.clock_s * spent.moves * p.repeats,
    )


def _state_update(pim: Units, p: _Products) -> Parts:
    """Rounds of Pimba's score: a head is a product of the batch, keys are the rows of the matrix."""
    found = state_update.rounds(
        "SCORE", "Pimba", p.batch, p.inner, p.rows, pim.element_bytes, np.full(len(p.rows), pim.channels), whole=True
    )
    columns = found.count * found.commands * pim.timing["nCCDL"]
    clocks = state_update.clocks(pim.timing, found)
    moved = found.count * found.commands * pim.units * pim.entry["access_bytes"]
    return Parts.of(
        moved * p.vectors,
        column_s=pim.clock_s * columns * p.vectors,
        turn_s=pim.clock_s * (clocks - columns) * p.vectors,
    )


def _streaming(pim: Units, p: _Products) -> Parts:
    """Bound by bandwidth or by operations: the matrix is read once for all vectors that the units' buffers hold."""
    element = pim.element_bytes
    rows = np.ceil(p.rows / pim.units) * pim.units  # units that have no row of their own wait
    held = np.ceil(p.vectors / pim.entry["outputs_per_unit"])
    moved = p.batch * element * (rows * p.inner * held + p.vectors * (p.inner + p.rows))
    memory = moved / pim.internal_bandwidth
    commands = next(iter(pim.entry.opcodes.commands.values())).get("dot", 1.0)
    compute = 2 * p.batch * rows * p.inner * p.vectors * commands / pim.peak_flops
    return Parts.of(moved, column_s=memory, operation_s=np.maximum(compute - memory, 0.0))


_INTERVALS = {"bank": ("nCCDAB",), "bg": ("nCCDSB",), "buffer": ("nBL", "nCCDS")}


def fused_attention(pim: Units, known: Facts) -> Parts:
    """Return the parts of fused attention, shape [kernels]: score, softmax and context of every query's keys and values.

    Each head of a query streams its own keys and values, also where several heads share them.
    """
    level, t = pim.entry.text["level"], pim.timing
    heads, queries, keys, dim = (np.maximum(values, 1.0) for values in (known.batch, known.m, known.n, known.k))
    work = attention.Heads(keys, heads, dim, pim.element_bytes, np.full(len(heads), pim.channels))
    commands = attention.counts(level, work).multiply
    clocks = attention.clocks(t, level, work, refresh=False)
    columns = np.minimum(commands * max(t[name] for name in _INTERVALS[level]), clocks)
    return Parts.of(
        commands * queries * pim.channels * attention.Shape().reads(level) * pim.entry["access_bytes"],
        column_s=pim.clock_s * columns * queries,
        turn_s=pim.clock_s * (clocks - columns) * queries,
    )
