"""Elementwise kernels on PIM, by how the units are driven."""

from dataclasses import dataclass

import numpy as np

from arch.facts import Facts, facts, once, total
from arch.pim import global_buffer, registers
from arch.pim.abilities import Abilities
from arch.pim.parts import Parts
from arch.pim.products import register_shape
from arch.pim.units import Units
from arch.work import Float, Work

_BANKS_AT_ONCE = 3
"""Banks of a bank group that an elementwise command uses: two sources and a destination."""


@dataclass(frozen=True, eq=False)
class _Operands:
    """What does not depend on the device, shape [kernels]: bytes of the largest operand, how many operands, commands asked for."""

    largest: Float
    count: Float
    asked: Float

    @classmethod
    def of(cls, known: Facts, able: Abilities) -> "_Operands":
        largest = np.ones(len(known.launches))
        np.maximum.at(largest, known.owner, known.requested)
        count = np.maximum(np.bincount(known.owner, minlength=len(largest)), 1).astype(np.float64)
        return cls(largest, count, known.flops_vector * able.per_vector + known.flops_transcendental * able.per_transcendental)


def elementwise(pim: Units, work: Work, able: Abilities) -> Parts:
    """Return the parts of elementwise kernels, shape [kernels]; what other kernels get means nothing."""
    entry, known = pim.entry, facts(work)
    given = once(work, (entry, "pim elementwise"), lambda: _Operands.of(known, able))
    kernels, asked = len(known.launches), given.asked
    share = entry["elementwise_share"]
    width = pim.units * entry["access_bytes"] * share
    columns = np.ceil(known.requested / width)
    reads = total(known.owner, np.where(known.writes, 0.0, columns), kernels)
    writes = total(known.owner, np.where(known.writes, columns, 0.0), kernels)
    commands = np.ceil(asked / (pim.units * share * entry["lanes_per_unit"]))
    moved = (reads + writes) * width
    if pim.style == "global-buffer":
        return _groups(pim, given.count, np.ceil(given.largest / width), reads + writes, commands, moved)
    if pim.style == "streaming":
        memory = moved / pim.internal_bandwidth
        compute = asked / (pim.peak_flops / 2)
        return Parts.of(moved, column_s=memory, operation_s=np.maximum(compute - memory, 0.0))
    if pim.style != "registers":
        return _stored(pim, total(known.owner, known.requested, kernels))
    return _registers(pim, np.ceil(given.largest / width), reads, writes, commands, moved)


def _stored(pim: Units, moved: Float) -> Parts:
    """Units without elementwise commands: what is copied or stored passes the stacks' interface, as from outside."""
    return Parts.of(moved, column_s=moved / (pim.stacks * pim.entry["stack_bandwidth"]))


def _registers(pim: Units, most: Float, reads: Float, writes: Float, commands: Float, moved: Float) -> Parts:
    """Runs of as many columns as a unit has registers, of every operand in turn; small operands have fewer."""
    shape, clock = register_shape(pim), pim.clock_s
    runs = np.ceil(most / shape.run)
    spent = registers.elementwise(pim.timing, runs / 2, reads / most, writes / most, refresh=False, shape=shape)
    return Parts.of(
        moved,
        column_s=clock * spent.columns,
        turn_s=clock * spent.turns,
        operation_s=np.maximum(commands - reads, 0.0) * pim.interval_s,
        program_s=clock * spent.program,
    )


def _groups(pim: Units, operands: Float, most: Float, accesses: Float, commands: Float, moved: Float) -> Parts:
    """A command reads two banks of a group and writes a third; more operands than banks take turns in the rows of one."""
    t, clock = pim.timing, pim.clock_s
    together = np.maximum(most, np.ceil(accesses / _BANKS_AT_ONCE))
    banks = 1 / pim.entry["elementwise_share"]
    page = pim.entry["page_bytes"] / pim.entry["access_bytes"]
    crowded = np.ceil(accesses / banks / min(pim.entry["registers_per_unit"], page))
    rows = np.where(operands > banks, crowded, np.ceil(together / page))
    clocks = global_buffer.groups(t, together, rows)
    column = together * max(t["nCCDS"], t["nCCDL"])
    return Parts.of(
        moved,
        column_s=clock * column,
        turn_s=clock * (clocks - column),
        operation_s=np.maximum(commands - together, 0.0) * pim.interval_s,
    )
