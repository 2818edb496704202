"""A reconfigurable accelerator: an array with a few modes, each its own balance of compute, memory and buffers.

Alone, in one mode, a kernel takes floor + max(compute, memory), where

- compute is the longest of product, vector, transcendental and solver work. Products and factorisations fall onto the mode's
  arrays as ``arch.arrays`` says: padding, fill and drain are counted, there is no constant utilisation;
- memory is the bytes that the mode's buffers do not hold (operands kept since their last use; products that are too large are
  blocked and read again) over the bandwidth that the mode's address generators reach.

``price`` gives each kernel the mode that is best for it alone. ``arrange`` knows which kernels the device runs in what order:

- a mode holds for a whole run (``arch.runs``: region, phase and stage), chosen by ``arch.modes``;
- a switch at a run's border drains the array, writes live data of the buffers to memory (they are read again as cold operands) and
  loads a configuration; it is charged to the first kernel of the run;
- kernels of a chain (``arch.chains``) stream: one floor, a fill a kernel, and max(sum of compute, sum of memory), where what stays
  inside the chain moves no bytes. The chain's time is divided over its kernels: each its compute, the rest by what it took alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from arch import arrays, modes
from arch.chains import Chains, chains_of, sums
from arch.device import Device, derived
from arch.entry import Entry
from arch.facts import SOLVERS, Facts, facts, itemsize, once, total
from arch.pipes import pipe_of
from arch.refusing import Reasons, unknown_work
from arch.runs import Lives, lives_of, runs_of
from arch.traffic import buffered_share
from arch.work import Bool, Float, Int, Prices, Refusals, Work
from traces.errors import MachineError, nearest

if TYPE_CHECKING:
    from traces.trace import Trace


@dataclass(frozen=True)
class Mode:
    """One configuration of the array."""

    name: str
    array: arrays.Array
    vector_lanes: float
    transcendental_lanes: float
    buffer_bytes: float
    memory_bandwidth: float
    bits: float
    """Width of its operands: wider types cannot run in it, narrower ones run as fast."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """What the device does with the kernels given to it: modes of runs, chains, and where it switches."""

    mode: Int
    """Of each kernel, an index into ``Reconfigurable.modes``; -1 where another device runs it."""
    switches: Int
    """How often the border before each kernel is crossed with a change of mode, over all executions; shape [kernels]."""
    switch_s: Float
    """What each of these takes; shape [kernels]."""
    chains: Chains


@dataclass(frozen=True, eq=False, repr=False)
class Reconfigurable(Device):
    """A reconfigurable accelerator of the catalogue. ``forced`` is the mode of all runs, '' for the cheapest choice."""

    entry: Entry
    id: str
    memory: str
    memory_bandwidth: float
    forced: str = ""
    fuses: bool = True
    kind: str = "reconfigurable"

    @classmethod
    def of(cls, entry: Entry, memory_bandwidth: float | None = None) -> "Reconfigurable":
        """Return the accelerator that a catalogue entry describes."""
        return cls(entry, entry.id, f"{entry.id}-memory", memory_bandwidth or entry["memory_bandwidth"])

    @derived
    def hypothetical(self) -> bool:
        """Whether nobody sells it."""
        return self.entry.hypothetical

    @derived
    def static_watts(self) -> float | None:
        """Power that does not depend on what runs."""
        return self.entry.get("static_power")

    @derived
    def area_mm2(self) -> float | None:
        """Silicon of its dies."""
        return self.entry.get("die_area")

    @derived
    def price_usd(self) -> float | None:
        """What it costs."""
        return self.entry.get("price")

    @derived
    def not_modelled(self) -> tuple[str, ...]:
        """What the catalogue says that the price leaves out."""
        return self.entry.not_modelled

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Its modes, in the order of the catalogue."""
        return tuple(_mode(self, name) for name in self.entry.group("engines"))

    def peak_flops(self, mode: str) -> float:
        """Return multiply-adds a second, counted twice, of a mode's arrays. Raises MachineError with the nearest mode."""
        return 2 * self._named(mode).array.macs * self.entry["clock"]

    def _named(self, name: str) -> Mode:
        found = {mode.name: mode for mode in self.modes}
        if name not in found:
            raise MachineError(f"{self.id!r} has no mode {name!r}; {nearest(name, found)}")
        return found[name]

    @property
    def switch_s(self) -> float:
        """Seconds of a change of mode without what is spilled: drain and load of a configuration."""
        entry = self.entry
        return entry["drain_cycles"] / entry["clock"] + entry["configuration"] / entry["configuration_bandwidth"]

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel alone, in the mode that is best for it."""
        return once(work, (self, work.cold.tobytes()), lambda: _alone(self, work))

    def refuse(self, work: Work) -> Refusals:
        """Refuse types wider than every mode's operands and what no array computes: sorts and library calls of unknown work."""
        return once(work, (self.entry, "refuse"), lambda: _refuse(self, work))

    def arrange(self, trace: "Trace", work: Work, mine: Bool) -> Prices:
        """Return the cost of every kernel where the device runs ``mine`` [kernels] in the order of the program."""
        if not mine.any():
            return self.price(work)
        return _arranged(self, trace, work, self.arrangement(trace, work, mine))

    def arrangement(self, trace: "Trace", work: Work, mine: Bool) -> Arrangement:
        """Return modes, switches and chains for the kernels ``mine``."""
        return _arrangement(self, trace, work, mine)

    def least(self, work: Work) -> Float:
        """Return seconds that no arrangement goes below: compute alone in the best mode."""
        known, refused = facts(work), self.refuse(work).code != 0
        compute = [np.maximum.reduce(list(_compute(self, mode, known).values())) for mode in self._usable()]
        return np.where(refused, np.inf, np.minimum.reduce([np.where(np.isnan(c), np.inf, c) for c in compute]))

    def _usable(self) -> tuple[Mode, ...]:
        return (self._named(self.forced),) if self.forced else self.modes


def _mode(device: Reconfigurable, name: str) -> Mode:
    entry = device.entry
    return Mode(
        name=name,
        array=arrays.Array(entry[f"engines.{name}"], entry[f"rows.{name}"], entry[f"columns.{name}"], entry[f"step_cycles.{name}"]),
        vector_lanes=entry[f"vector_lanes.{name}"],
        transcendental_lanes=entry[f"transcendental_lanes.{name}"],
        buffer_bytes=entry[f"buffer.{name}"],
        memory_bandwidth=device.memory_bandwidth * entry[f"bandwidth_share.{name}"],
        bits=entry[f"bits.{name}"],
    )


def _bits(dtype: str) -> float:
    """Bits that a mode's operands must have for a type: complex numbers are computed as real ones, integers as 32 bits at most.

    Types narrower than a byte take one; what is no number, such as a token, takes more than any mode has.
    """
    if dtype == "pred" or dtype.startswith(("f8", "f4")):
        return 8.0
    pipe = pipe_of(dtype)
    return 8 * min(itemsize(dtype), itemsize(pipe)) if pipe else np.inf


def _of_type(per_flop: Mapping[str, float], dtype: str) -> float:
    """The number of a type, that of the pipe which computes it where it has none of its own; NaN if neither is known."""
    return per_flop.get(dtype, per_flop.get(pipe_of(dtype), np.nan))


def _refuse(device: Reconfigurable, work: Work) -> Refusals:
    known, widest = facts(work), max(mode.bits for mode in device._usable())
    reasons = Reasons(len(work))
    for dtype in sorted(set(known.dtype.values)):
        if _bits(dtype) > widest:
            reasons.add(known.dtype.is_(dtype), f"dtype {dtype}")
    reasons.add(known.family.is_("sort"), "family sort")
    return reasons.done()


@dataclass(frozen=True, eq=False)
class _InMode:
    """Every kernel in one mode; shapes [kernels], and [accesses] for ``bytes_of``. NaN where the mode cannot run it."""

    terms: dict[str, Float]
    compute: Float
    bytes_of: Float
    """Memory bytes of each access."""
    extra: Float
    """Memory bytes of operands that are not listed, and those that a product reads again."""

    def memory(self, known: Facts, moved: Bool | None = None) -> Float:
        """Memory bytes of each kernel, of the accesses ``moved`` only if given."""
        counted = self.bytes_of if moved is None else np.where(moved, self.bytes_of, 0.0)
        return total(known.owner, counted, len(self.extra)) + self.extra


def _in_mode(device: Reconfigurable, mode: Mode, work: Work, cold: Bool) -> _InMode:
    known = facts(work)
    if known.unknown.any():
        raise unknown_work(device.id, work, known.unknown)
    terms = _compute(device, mode, known)
    missed = np.where(cold, 1.0, 1.0 - buffered_share(known.unique, known.reuse, mode.buffer_bytes))
    granule = np.maximum(device.entry["access_bytes"] / known.itemsize, 1.0)
    sparse = known.stride.is_("strided", "gather")
    moved = np.where(sparse, np.minimum(known.unique * granule, known.tensor_bytes), known.unique) * missed
    product = known.family.is_("gemm") & (known.k > 0)
    size = known.dtype.number(itemsize)
    again = np.maximum(known.batch, 1.0) * arrays.product_bytes(known.m, known.n, known.k, size, mode.buffer_bytes)
    extra = np.where(known.has_accesses, 0.0, known.bytes_unique) + np.where(product, again, 0.0)
    return _InMode(terms, np.maximum.reduce(list(terms.values())), moved, extra)


def _compute(device: Reconfigurable, mode: Mode, known: Facts) -> dict[str, Float]:
    """Seconds of each kind of work in a mode; NaN where its operands are too narrow."""
    clock, batch = device.entry["clock"], np.maximum(known.batch, 1.0)
    solver = known.family.isin(SOLVERS)
    shaped = (known.m > 0) & (known.n > 0) & (known.k > 0)
    m, n, k = (np.where(shaped, size, 1.0) for size in (known.m, known.n, known.k))
    useful = known.flops_matrix / 2 / mode.array.macs
    cycles = np.where(shaped, np.maximum(arrays.product_cycles(mode.array, batch, m, n, k), useful), useful)
    rows = np.maximum(known.m, 0.0)
    lu = np.where(known.family.is_("lu"), arrays.lu_cycles(mode.array, batch, np.where(solver, rows, 0.0)), 0.0)
    solve = arrays.triangular_cycles(mode.array, batch, np.where(solver, rows, 0.0), known.n)
    too_wide = np.where(known.dtype.number(_bits) > mode.bits, np.nan, 0.0)
    found = {
        "compute_matrix_s": np.where((known.flops_matrix > 0) & ~solver, cycles, 0.0),
        "compute_vector_s": known.flops_vector / mode.vector_lanes,
        "transcendental_s": known.flops_transcendental / mode.transcendental_lanes,
        "solver_s": np.where(known.family.is_("triangular_solve"), solve, lu),
    }
    return {name: value / clock + too_wide for name, value in found.items()}


def _alone(device: Reconfigurable, work: Work) -> Prices:
    known, usable = facts(work), device._usable()
    options = [_in_mode(device, mode, work, work.cold) for mode in usable]
    memory = [option.memory(known) for option in options]
    seconds = [np.maximum(o.compute, bytes_ / m.memory_bandwidth) for o, bytes_, m in zip(options, memory, usable, strict=True)]
    best = np.argmin([np.where(np.isnan(s), np.inf, s) for s in seconds], axis=0)
    floor = np.full(len(work), device.entry["kernel_floor"])
    parts = {
        **{name: _pick([o.terms[name] for o in options], best) for name in options[0].terms},
        "memory_s": _pick([bytes_ / m.memory_bandwidth for bytes_, m in zip(memory, usable, strict=True)], best),
        "floor_s": floor,
    }
    moved = _pick(memory, best)
    return _prices(device, work, floor + _pick(seconds, best), moved, _energy(device, known, moved), parts)


def _pick(values: Sequence[Float], which: Int) -> Float:
    return np.asarray(np.choose(which, values) if len(values) > 1 else values[0], dtype=np.float64)


def _prices(device: Reconfigurable, work: Work, seconds: Float, moved: Float, joules: dict[str, Float], terms: dict[str, Float]) -> Prices:
    """Put infinities where a kernel is refused."""
    refused = device.refuse(work).code != 0
    all_terms = {name: np.where(refused, np.inf, value) for name, value in terms.items()}
    joules = {name: np.where(refused, np.inf, value) for name, value in joules.items()}
    energy = np.sum(list(joules.values()), axis=0)
    seconds, moved = (np.where(refused, np.inf, values) for values in (seconds, moved))
    return Prices(seconds, moved, energy, all_terms, energy_terms=joules)


def _energy(device: Reconfigurable, known: Facts, moved: Float) -> dict[str, Float]:
    """Dynamic joules by term: arithmetic by type, every operand once through a buffer, and memory; NaN where a constant is unknown."""
    entry, per_flop = device.entry, device.entry.group("energy_per_flop")
    of_dtype = known.dtype.number(lambda dtype: _of_type(per_flop, dtype))
    asked = total(known.owner, known.requested, len(moved)) + np.where(known.has_accesses, 0.0, known.bytes_unique)
    return {
        "compute_matrix_j": known.flops_matrix * of_dtype,
        "compute_vector_j": known.flops_vector * of_dtype,
        "transcendental_j": known.flops_transcendental * entry["transcendental_energy_flops"] * of_dtype,
        "buffer_j": asked * entry.or_nan("buffer_energy_per_byte"),
        "dram_j": moved * entry.or_nan("memory_energy_per_byte"),
    }


def _arrangement(device: Reconfigurable, trace: "Trace", work: Work, mine: Bool) -> Arrangement:
    known, runs = facts(work), once(work, "runs", lambda: runs_of(trace))
    lives = once(work, "lives", lambda: lives_of(trace))
    row = min(mode.buffer_bytes for mode in device.modes) / 2
    chains = chains_of(trace, known, runs, mine, row, 1 << 30 if device.fuses else 1)
    used = np.flatnonzero(np.bincount(runs.of_kernel, weights=mine) > 0).astype(np.int64)
    source, target, times = runs.edges(used)
    spill = _spill_s(device, known, lives)[runs.first[used[target]]]
    each = device.switch_s + spill
    place = np.full(len(runs.first), -1, np.int64)
    place[used] = np.arange(len(used))
    cost = _run_costs(device, trace, work, mine, chains, place[runs.of_kernel], len(used))
    chosen = modes.choose(cost, source, target, each * times)
    mode = np.where(mine, chosen[np.maximum(place[runs.of_kernel], 0)], -1)
    switches, switch_s = np.zeros(len(work), np.int64), np.zeros(len(work))
    differ = chosen[source] != chosen[target]
    first = runs.first[used[target[differ]]]
    np.add.at(switches, first, times[differ])
    np.add.at(switch_s, first, each[differ] * times[differ])
    return Arrangement(mode, switches, np.where(switches > 0, switch_s / np.maximum(switches, 1), 0.0), chains)


def _spill_s(device: Reconfigurable, known: Facts, lives: Lives) -> Float:
    """Seconds to write what is alive in the buffers at the border before each kernel, at most the buffers; shape [kernels + 1]."""
    buffer = max(mode.buffer_bytes for mode in device.modes)
    held = buffered_share(known.unique, known.reuse, buffer) * known.unique
    alive = np.minimum(lives.alive(held[lives.access], len(known.launches)), buffer)
    return alive / device.memory_bandwidth


def _run_costs(device: Reconfigurable, trace: "Trace", work: Work, mine: Bool, chains: Chains, run: Int, runs: int) -> Float:
    """Seconds of all executions of each used run in each mode, float64[R, M]; inf where a mode cannot run a kernel of it."""
    known, rows = facts(work), []
    here = mine & (run >= 0)
    for mode in device.modes:
        if device.forced and mode.name != device.forced:
            rows.append(np.full(runs, np.inf))
            continue
        option = _in_mode(device, mode, work, work.cold)
        seconds = _chained(device, mode, option, known, chains)[0] * trace.executions
        rows.append(np.bincount(run[here], weights=np.where(np.isnan(seconds), np.inf, seconds)[here], minlength=runs))
    return np.stack(rows, axis=1)


def _chained(device: Reconfigurable, mode: Mode, option: _InMode, known: Facts, chains: Chains) -> tuple[Float, Float]:
    """Seconds and memory bytes of every kernel as part of its chain."""
    moved = option.memory(known, ~chains.internal)
    memory_s = moved / mode.memory_bandwidth
    fill = (chains.length - 1) / chains.length * device.entry["drain_cycles"] / device.entry["clock"]
    compute = option.compute + fill + device.entry["kernel_floor"] / chains.length
    together = np.maximum(sums(chains, compute), sums(chains, memory_s + device.entry["kernel_floor"] / chains.length))
    alone = np.maximum(option.compute, option.memory(known) / mode.memory_bandwidth) - option.compute
    rest = np.maximum(together - sums(chains, compute), 0.0)
    weight = sums(chains, alone)
    share = np.divide(alone, weight, out=1.0 / chains.length, where=weight > 0)
    return compute + rest * share, moved


def _arranged(device: Reconfigurable, trace: "Trace", work: Work, plan: Arrangement) -> Prices:
    known = facts(work)
    lives = once(work, "lives", lambda: lives_of(trace))
    lost = np.zeros(len(work.cold), dtype=np.bool_)
    lost[lives.access[lives.crosses(plan.switches > 0)]] = True
    alone = device.price(work)
    seconds, moved = alone.duration_s.copy(), alone.dram_bytes.copy()
    terms = {name: values.copy() for name, values in alone.terms.items()}
    for number, mode in enumerate(device.modes):
        here = plan.mode == number
        if not here.any():
            continue
        option = _in_mode(device, mode, work, work.cold | lost)
        in_chain, bytes_ = _chained(device, mode, option, known, plan.chains)
        seconds[here], moved[here] = in_chain[here], bytes_[here]
        for name, values in option.terms.items():
            terms[name][here] = values[here]
        terms["memory_s"][here] = (bytes_ / mode.memory_bandwidth)[here]
    of_switch = plan.switch_s * plan.switches / np.maximum(trace.executions, 1)
    spilled = np.maximum(plan.switch_s - device.switch_s, 0.0) * plan.switches / np.maximum(trace.executions, 1) * device.memory_bandwidth
    terms["switch_s"], terms["floor_s"] = of_switch, device.entry["kernel_floor"] / plan.chains.length
    joules = _energy(device, known, moved)
    joules["switch_j"] = _switch_energy(device, trace, plan, spilled)
    return _prices(device, work, seconds + of_switch, moved + spilled, joules, terms)


def _switch_energy(device: Reconfigurable, trace: "Trace", plan: Arrangement, spilled: Float) -> Float:
    """Joules to load configurations and to write ``spilled`` bytes of the buffers to memory, an execution of each kernel."""
    times = plan.switches / np.maximum(trace.executions, 1)
    moved = times * device.entry["configuration"] + spilled
    return np.where(plan.switches > 0, moved * device.entry.or_nan("memory_energy_per_byte"), 0.0)


def with_mode(device: Reconfigurable, mode: str) -> Reconfigurable:
    """Return the device with one mode for everything, '' for the cheapest choice. Raises MachineError with the nearest mode."""
    if mode:
        device._named(mode)
    return replace(device, forced=mode)
