"""What a reconfigurable array does with the kernels given to it, in order: modes of runs, switches between them, chains."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arch import modes
from arch.chains import Chains, chains_of, sums
from arch.facts import Facts, facts, once
from arch.reconfigurable.in_mode import InMode, Mode, energy, in_mode
from arch.runs import Lives, lives_of, runs_of
from arch.traffic import buffered_share
from arch.work import Bool, Float, Int, Work

if TYPE_CHECKING:
    from arch.reconfigurable.device import Reconfigurable
    from traces.trace import Trace


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


@dataclass(frozen=True, eq=False)
class Arranged:
    """What kernels cost in their place; shapes [kernels]."""

    seconds: Float
    moved: Float
    """Memory bytes, those that switches spill included."""
    joules: dict[str, Float]
    terms: dict[str, Float]


def arrangement(device: "Reconfigurable", trace: "Trace", work: Work, mine: Bool) -> Arrangement:
    """Return modes, switches and chains of a device for the kernels ``mine`` [kernels]."""
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


def _spill_s(device: "Reconfigurable", known: Facts, lives: Lives) -> Float:
    """Seconds to write what is alive in the buffers at the border before each kernel, at most the buffers; shape [kernels + 1]."""
    buffer = max(mode.buffer_bytes for mode in device.modes)
    held = buffered_share(known.unique, known.reuse, buffer) * known.unique
    alive = np.minimum(lives.alive(held[lives.access], len(known.launches)), buffer)
    return alive / device.memory_bandwidth


def _run_costs(device: "Reconfigurable", trace: "Trace", work: Work, mine: Bool, chains: Chains, run: Int, runs: int) -> Float:
    """Seconds of all executions of each used run in each mode, float64[R, M]; inf where a mode cannot run a kernel of it."""
    known, rows = facts(work), []
    here = mine & (run >= 0)
    for mode in device.modes:
        if device.forced and mode.name != device.forced:
            rows.append(np.full(runs, np.inf))
            continue
        option = in_mode(device.entry, mode, work, work.cold)
        seconds = _chained(device, mode, option, known, chains)[0] * trace.executions
        rows.append(np.bincount(run[here], weights=np.where(np.isnan(seconds), np.inf, seconds)[here], minlength=runs))
    return np.stack(rows, axis=1)


def _chained(device: "Reconfigurable", mode: Mode, option: InMode, known: Facts, chains: Chains) -> tuple[Float, Float]:
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


def arranged(device: "Reconfigurable", trace: "Trace", work: Work, plan: Arrangement) -> Arranged:
    """Return what every kernel costs under an arrangement; of kernels that another device runs, what they cost alone."""
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
        option = in_mode(device.entry, mode, work, work.cold | lost)
        in_chain, bytes_ = _chained(device, mode, option, known, plan.chains)
        seconds[here], moved[here] = in_chain[here], bytes_[here]
        for name, values in option.terms.items():
            terms[name][here] = values[here]
        terms["memory_s"][here] = (bytes_ / mode.memory_bandwidth)[here]
    of_switch = plan.switch_s * plan.switches / np.maximum(trace.executions, 1)
    spilled = np.maximum(plan.switch_s - device.switch_s, 0.0) * plan.switches / np.maximum(trace.executions, 1) * device.memory_bandwidth
    terms["switch_s"], terms["floor_s"] = of_switch, device.entry["kernel_floor"] / plan.chains.length
    joules = energy(device.entry, known, moved)
    joules["switch_j"] = _switch_energy(device, trace, plan, spilled)
    return Arranged(seconds + of_switch, moved + spilled, joules, terms)


def _switch_energy(device: "Reconfigurable", trace: "Trace", plan: Arrangement, spilled: Float) -> Float:
    """Joules to load configurations and to write ``spilled`` bytes of the buffers to memory, an execution of each kernel."""
    times = plan.switches / np.maximum(trace.executions, 1)
    moved = times * device.entry["configuration"] + spilled
    return np.where(plan.switches > 0, moved * device.entry.or_nan("memory_energy_per_byte"), 0.0)
