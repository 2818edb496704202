"""Bank-level processing in memory: time from counts of commands, and what a unit can execute.

All units of all channels execute one command at a time on a column (``access_bytes``) of their bank: the time is the number
of columns that the fullest unit handles times the column interval (the longer of the DRAM's and the units' own), plus

- rows, where elementwise work goes through registers: operands of one bank lie in different rows. A unit works on as many
  columns of an operand as it has registers, then goes on in another operand's row (``read_switch``, ``write_switch``); with
  one operand it stays until the page ends;
- rows, where it goes through a bank group: a command reads two banks and writes a third, whose rows stay open until the page
  ends; more operands than banks take turns as above;
- operations beyond one a column read take a command each;
- products: the larger operand stays in the banks, its rows spread over the units (``outputs_per_unit`` at a time), the smaller
  one is broadcast column by column; every vector streams the whole operand (no reuse between vectors), tiles of outputs are
  read out one by one;
- ``program`` once a kernel, and refresh as a whole number of ``refresh_time`` in every ``refresh_interval``.

Operands are taken to lie in the layout that the units want; the machine's hand-over charges for getting there.
"""

from dataclasses import dataclass

import numpy as np

from arch.catalog import Entry, Opcodes
from arch.device import Bool, Device, Float, Int, Prices, Refusals, Work
from arch.facts import Facts, facts, itemsize, once, total
from arch.opcodes import Demand, demand
from arch.text import Text

_BANKS_AT_ONCE = 3
"""Banks of a bank group that an elementwise command uses: two sources and a destination."""
_SCALAR_BYTES = 8
"""An operand of one element travels with the command."""


@dataclass(frozen=True, eq=False)
class PIM(Device):
    """Units in the banks of ``stacks`` packages or stacks. ``shared`` says that they are the GPU's own memory."""

    entry: Entry
    id: str
    memory: str
    stacks: int
    banks_per_unit: int
    unit_clock_hz: float
    shared: bool
    refresh: bool = True
    kind: str = "pim"

    @property
    def not_modelled(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the catalogue says that the price leaves out."""
        return self.entry.not_modelled

    @property
    def price_usd(self) -> float | None:  # type: ignore[override]
        """What its stacks cost."""
        price = self.entry.get("price")
        return None if price is None else price * self.stacks

    @property
    def hypothetical(self) -> bool:  # type: ignore[override]
        """Whether nobody sells it: the catalogue says so, or a parameter differs from the device as sold."""
        entry = self.entry
        as_sold = self.banks_per_unit == entry["banks_per_unit"] and self.unit_clock_hz == entry["unit_clock"]
        return entry.hypothetical or not as_sold

    @property
    def units(self) -> float:
        """Compute units in all."""
        return self.stacks * self.entry["channels_per_stack"] * self.entry["banks_per_channel"] / self.banks_per_unit

    @property
    def interval_s(self) -> float:
        """Seconds between commands: the DRAM's column interval, or what a unit needs for a column if that is longer."""
        entry = self.entry
        cycles = np.ceil(entry["access_bytes"] / min(_width(entry.opcodes)) / entry["lanes_per_unit"])
        return float(max(entry["column_interval"], cycles / self.unit_clock_hz))

    @property
    def internal_bandwidth(self) -> float:
        """Bytes a second from the banks to the units."""
        return self.units * self.entry["access_bytes"] / self.interval_s

    @property
    def peak_flops(self) -> float:
        """Multiply-adds counted twice, a second."""
        return 2 * self.units * self.entry["lanes_per_unit"] * self.unit_clock_hz

    @property
    def stack_bytes(self) -> int:
        """Capacity of a stack: what the units take grows with their number."""
        entry = self.entry
        return round(entry["stack_bytes_plain"] - entry["stack_bytes_lost"] * entry["banks_per_unit"] / self.banks_per_unit)

    @property
    def static_watts(self) -> float | None:  # type: ignore[override]
        """Power that does not depend on what runs: of the units, and of the stacks if they are the device's own."""
        per_stack = self.entry.get("static_power_per_stack" if self.shared else "attached_power_per_stack")
        return None if per_stack is None else per_stack * self.stacks

    @property
    def area_mm2(self) -> float | None:  # type: ignore[override]
        """Silicon of the units."""
        area = self.entry.get("unit_area")
        return None if area is None else area * self.units

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel; refused ones cost infinitely much."""
        return once(work, self, lambda: _price(self, work))

    def refuse(self, work: Work) -> Refusals:
        """Refuse what the units cannot execute: the reason names the library call, dtype, opcode or operand."""
        return _abilities(self.entry, work).refusals


def _width(table: Opcodes) -> list[float]:
    return [itemsize(dtype) for dtype in table.commands] or [4.0]


@dataclass(frozen=True, eq=False)
class _Abilities:
    """What does not depend on the device's parameters, only on its opcode table."""

    refusals: Refusals
    per_vector: Float
    per_transcendental: Float


def _abilities(entry: Entry, work: Work) -> _Abilities:
    return once(work, (entry, "abilities"), lambda: _make_abilities(entry.opcodes, work))


def _make_abilities(table: Opcodes, work: Work) -> _Abilities:
    known, kernels = facts(work), work.kernels
    asked, which = _demands(table, work)
    product = known.family.is_("gemm")
    reasons = _Reasons(len(kernels))
    reasons.add(known.unknown, "work unknown")
    calls = known.library & ~product
    _refuse_calls(reasons, calls, Text.of(kernels, "library"), known.family)
    reasons.add(known.triton, "triton kernel")
    for dtype in sorted(set(known.dtype.values) - set(table.commands)):
        reasons.add(known.dtype.is_(dtype), f"dtype {dtype or 'unknown'}")
    _refuse_operands(reasons, table, known)
    _refuse_opcodes(reasons, table, work, asked, which)
    vector = np.array([d.per_vector for d in asked], dtype=np.float64)[which]
    special = np.array([d.per_transcendental for d in asked], dtype=np.float64)[which]
    return _Abilities(reasons.done(), vector, special)


def _demands(table: Opcodes, work: Work) -> tuple[list[Demand], Int]:
    """The demands of all distinct computations, and which of them each kernel has."""
    which, pairs = Text.of(work.kernels, "opcodes").pairs(Text.of(work.kernels, "dtype"))
    return [demand(opcodes, table, dtype) for opcodes, dtype in pairs], which


class _Reasons:
    """Collects why kernels are refused; the first reason counts."""

    def __init__(self, kernels: int) -> None:
        self.code = np.zeros(kernels, dtype=np.int8)
        self.reasons = [""]

    def add(self, where: Bool, reason: str) -> None:
        new = where & (self.code == 0)
        if not new.any():
            return
        if reason not in self.reasons:
            if len(self.reasons) == 126:
                reason = "other"
            self.reasons.append(reason)
        self.code[new] = self.reasons.index(reason)

    def done(self) -> Refusals:
        return Refusals(self.code, tuple(self.reasons))


def _refuse_calls(reasons: _Reasons, calls: Bool, library: Text, family: Text) -> None:
    """Calls of closed routines, by the routine's name, or the family where that is not known."""
    for name in sorted({library.values[c] for c in set(library.code[calls].tolist())} - {""}):
        reasons.add(calls & library.is_(name), f"library call {name}")
    for name in sorted({family.values[c] for c in set(family.code[calls].tolist())}):
        reasons.add(calls & family.is_(name), f"library call {name}")


def _refuse_operands(reasons: _Reasons, table: Opcodes, known: Facts) -> None:
    """Operands of another type, and ones whose layout would have to change on the way."""
    kernels = len(reasons.code)
    masks = any("select" in commands for commands in table.commands.values())
    allowed = {"", *table.commands} | ({"pred"} if masks else set())  # of unknown type: the kernel's
    large = known.unique > _SCALAR_BYTES
    for dtype in sorted(set(known.tensor_dtype.values) - allowed):
        reasons.add(_any(known, large & known.tensor_dtype.is_(dtype), kernels), f"operand dtype {dtype or 'unknown'}")
    other = ~known.family.is_("gemm")
    for stride in ("gather", "transposed"):
        reasons.add(other & _any(known, known.stride.is_(stride), kernels), f"{stride} operand")


def _any(known: Facts, chosen: Bool, kernels: int) -> Bool:
    """Kernels with at least one operand that is chosen."""
    return np.bincount(known.owner, weights=chosen, minlength=kernels) > 0


def _refuse_opcodes(reasons: _Reasons, table: Opcodes, work: Work, asked: list[Demand], which: Int) -> None:
    known, opcodes = facts(work), Text.of(work.kernels, "opcodes")
    dots = {dtype for dtype, commands in table.commands.items() if "dot" in commands}
    product = known.family.is_("gemm")
    reasons.add(product & ~known.dtype.isin(dots), "opcode dot")
    checked = ~(product & known.library) & ~Text.of(work.kernels, "launch_kind").is_("copy", "memset")
    for missing in sorted({d.missing for d in asked} - {""}):
        reasons.add(checked & np.array([d.missing == missing for d in asked], dtype=np.bool_)[which], f"opcode {missing}")
    reasons.add(checked & opcodes.is_(""), "opcodes unknown")


@dataclass(frozen=True, eq=False)
class _Commands:
    """What the fullest unit does: columns read and written, further operations, and the time between rows."""

    columns: Float
    operations: Float
    rows_s: Float
    bytes: Float


def _price(pim: PIM, work: Work) -> Prices:
    known, able = facts(work), _abilities(pim.entry, work)
    chosen = _choose(known.family.is_("gemm"), _products(pim, known), _elementwise(pim, known, able))
    busy = (chosen.columns + chosen.operations) * pim.interval_s
    refresh = _refresh(pim, busy + chosen.rows_s + pim.entry["program"])
    duration = busy + chosen.rows_s + pim.entry["program"] + refresh
    refused = able.refusals.code != 0
    terms = {
        "column_s": chosen.columns * pim.interval_s,
        "operation_s": chosen.operations * pim.interval_s,
        "row_s": chosen.rows_s,
        "program_s": np.full(len(refused), pim.entry["program"]),
        "refresh_s": refresh,
    }
    never = np.where(refused, np.inf, 0.0)
    return Prices(
        np.where(refused, np.inf, duration),
        np.where(refused, np.inf, chosen.bytes),
        np.where(refused, np.inf, _energy(pim, known, chosen.bytes)),
        {name: values + never for name, values in terms.items()},
    )


def _choose(where: Bool, one: _Commands, other: _Commands) -> _Commands:
    return _Commands(
        np.where(where, one.columns, other.columns),
        np.where(where, one.operations, other.operations),
        np.where(where, one.rows_s, other.rows_s),
        np.where(where, one.bytes, other.bytes),
    )


def _refresh(pim: PIM, seconds: Float) -> Float:
    """Whole refreshes that fall into a kernel; the first is due after half an interval, on average over when it starts."""
    entry = pim.entry
    if not pim.refresh:
        return np.zeros_like(seconds)
    free = entry["refresh_interval"] - entry["refresh_time"]
    return np.asarray(np.floor(seconds / free + 0.5) * entry["refresh_time"], dtype=np.float64)


def _elementwise(pim: PIM, known: Facts, able: _Abilities) -> _Commands:
    entry, kernels = pim.entry, len(known.launches)
    width = pim.units * entry["access_bytes"]
    columns = np.ceil(known.requested / (width * entry["elementwise_share"]))
    reads = total(known.owner, np.where(known.writes, 0.0, columns), kernels)
    writes = total(known.owner, np.where(known.writes, columns, 0.0), kernels)
    lanes = pim.units * entry["elementwise_share"] * entry["lanes_per_unit"]
    asked = known.flops_vector * able.per_vector + known.flops_transcendental * able.per_transcendental
    further = np.maximum(np.ceil(asked / lanes) - reads, 0.0)
    moved = (reads + writes) * width * entry["elementwise_share"]
    if entry.text["elementwise"] == "bank-group":
        together = np.maximum(_largest(known, columns), np.ceil((reads + writes) / _BANKS_AT_ONCE))
        rows = _group_switches(pim, known, reads + writes) * entry["write_switch"]
        return _Commands(together, np.maximum(np.ceil(asked / lanes) - together, 0.0), rows, moved)
    rows = _switches(pim, known, reads) * entry["read_switch"] + _switches(pim, known, writes) * entry["write_switch"]
    return _Commands(reads + writes, further, rows, moved)


def _largest(known: Facts, columns: Float) -> Float:
    """Columns of the largest operand of each kernel."""
    largest = np.zeros(len(known.launches))
    np.maximum.at(largest, known.owner, columns)
    return largest


def _switches(pim: PIM, known: Facts, columns: Float) -> Float:
    """Row changes for ``columns`` of all operands together: after the registers are full, or at the end of a page."""
    entry = pim.entry
    page = entry["page_bytes"] / entry["access_bytes"]
    operands = np.bincount(known.owner, minlength=len(columns))
    group = np.where(operands > 1, np.minimum(entry["registers_per_unit"], page), page) * pim.banks_per_unit
    return np.asarray(np.ceil(columns / group), dtype=np.float64)


def _group_switches(pim: PIM, known: Facts, columns: Float) -> Float:
    """Row changes where each operand has a bank of its group: at the end of pages; more operands than banks take turns."""
    entry = pim.entry
    page = entry["page_bytes"] / entry["access_bytes"]
    operands = np.maximum(np.bincount(known.owner, minlength=len(columns)), 1)
    banks = 1 / entry["elementwise_share"]
    crowded = np.ceil(columns / banks / np.minimum(entry["registers_per_unit"], page))
    switches = np.where(operands > banks, crowded, np.ceil(columns / operands / page))
    return np.asarray(np.maximum(switches - 1, 0.0), dtype=np.float64)  # the first row is in `program`


def _products(pim: PIM, known: Facts) -> _Commands:
    """Matrix products: every vector of the smaller operand streams the larger one past the units, tile by tile."""
    entry = pim.entry
    element = min(_width(entry.opcodes))
    batch, m, n, k = (np.maximum(values, 1.0) for values in (known.batch, known.m, known.n, known.k))
    kept, vectors, outputs = np.maximum(m, n), np.minimum(m, n), entry["outputs_per_unit"]
    inner = np.ceil(k * element / entry["access_bytes"])
    tiles = vectors * np.ceil(batch * kept / (pim.units * outputs))
    columns = tiles * outputs * inner
    page = entry["page_bytes"] * pim.banks_per_unit  # the rows of all banks of a unit are open at once
    pages = tiles * np.ceil(outputs * inner * entry["access_bytes"] / page)
    inputs, between = _broadcast(pim, batch, vectors, tiles, inner)
    readouts = pages if outputs == 1 else tiles  # one accumulator is read before the next chunk of the input; several are kept
    rows = pages * entry["row_open"] + readouts * entry["readout"] + between
    return _Commands(columns + inputs, np.zeros_like(columns), rows, columns * pim.units * entry["access_bytes"])


def _broadcast(pim: PIM, batch: Float, vectors: Float, tiles: Float, inner: Float) -> tuple[Float, Float]:
    """Columns of input sent to the units, and the time lost around them.

    A global buffer holds a chunk of a vector for all tiles of outputs; registers are loaded again for every tile, each load
    turning the bus around. All channels listen to one vector; where there are more products than channels each has its own.
    """
    entry = pim.entry
    more = np.maximum(batch / (pim.stacks * entry["channels_per_stack"]), 1.0)
    if entry.text["elementwise"] == "bank-group":
        return np.ceil(vectors * inner * more), np.zeros_like(inner)
    sent = tiles * inner
    return sent, np.ceil(sent / entry["registers_per_unit"]) * entry["write_switch"]


def _energy(pim: PIM, known: Facts, moved: Float) -> Float:
    """Dynamic joules: rows and columns of the bytes that the units move, and their arithmetic."""
    entry = pim.entry
    row, column, flop = (entry.get(key) for key in ("row_energy_per_byte", "column_energy_per_byte", "energy_per_flop"))
    if row is None or column is None or flop is None:
        return np.full(len(moved), np.nan)
    flops = known.flops_matrix + known.flops_vector + known.flops_transcendental
    return np.asarray(moved * (row + column) + flops * flop, dtype=np.float64)
