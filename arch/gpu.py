"""The price of a kernel on a GPU: a roofline whose terms know pipes, waves, occupancy, caches and latencies.

duration = floor + max(together(memory, on_sm), latency), where memory = max(l2, dram) and on_sm the longest of the others:

- ``compute_matrix``: multiply-adds of products, on tensor cores or, for FP32 at precision 'highest', on the vector pipes;
  a library call whose grid is unknown is tiled by ``arch.gemm``, FlashAttention by ``arch.attention_calls``; else blocks fall onto
  SMs in whole waves;
- ``compute_vector``: other arithmetic, one result a lane and clock (HLO arithmetic is not taken to fuse into multiply-adds);
- ``transcendental``: results of the special-function units;
- ``issue``: instructions of the PTX at one warp instruction a scheduler and clock, where they are known;
- ``solver``: LU and triangular solves, as the library was measured to take them (``arch.solvers``);
- ``l1``, ``l2``, ``dram``: bytes of ``arch.traffic`` over what streaming reaches (``arch.streaming``);
- ``latency``: turns of resident blocks times rounds of loads times the load latency (Little's law: a grid that keeps too few
  bytes in flight does not reach the bandwidth).

Memory and SM overlap but for the first turns of a grid. Compute terms use the busiest SM (ceil(blocks / SMs) blocks) and fall
short of the peak where fewer warps are resident than hide the arithmetic latency. Everything but the DRAM terms is worked out once
a trace and GPU; an operand that another device wrote last is cold and comes from DRAM.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from arch import attention_calls, gemm, solvers, streaming, trust
from arch.device import Device, derived
from arch.energy import kernel_terms, of_the_cap
from arch.entry import Entry
from arch.facts import NEED_MATRIX, SOLVERS, Facts, facts, itemsize, once, total
from arch.gemm_choices import Products
from arch.library_calls import Distinct, calls, distinct
from arch.measuring import drawn_by_programs
from arch.occupancy import Shape, blocks_per_sm, limits, shape
from arch.traffic import Caches, Traffic, traffic
from arch.uncertainty import Trust
from arch.work import Bool, Float, Prices, Refusals, Work
from traces.errors import MachineError

ASSUMPTIONS = ("memory-bound",)

_LIKE = {"f64": "f64", "c128": "f64", "f32": "f32", "c64": "f32", "": "f32", "f16": "f16", "bf16": "bf16"}
_INTEGERS = ("pred", "s4", "s8", "s16", "s32", "s64", "u4", "u8", "u16", "u32", "u64")


def pipe_of(dtype: str) -> str:
    """Return the dtype whose peak holds for an XLA type on the vector pipes: complex as real, integers as s32; '' if none."""
    return "s32" if dtype in _INTEGERS else _LIKE.get(dtype, "")


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that does not depend on which operands are cold; shapes [kernels], and [accesses] for the last four."""

    floor: Float
    on_sm: Float
    """The longest of the terms of an SM: arithmetic, issue, L1, solvers."""
    turns: Float
    """How many times the blocks that are resident at once make the grid."""
    tiled: Bool
    """Library calls of unknown grid and FlashAttention, whose terms overlap as ``arch.gemm`` says."""
    products: NDArray[np.int64]
    """Which kernels these are; shape [such kernels]."""
    apart: Float
    """Share of the bytes that move before or behind all else: by kernels around attention's backward pass."""
    l2_bytes: Float
    rounds: Float
    """Turns times rounds of loads: how many load latencies follow each other."""
    energy: dict[str, Float]
    """Joules by term, without DRAM."""
    joules: Float
    """Their sum."""
    measured: Float
    """Seconds where the kernel was measured on this device, else NaN."""
    passing: Float
    """L2 bytes of each access, shape [accesses]."""
    scale: Float
    """Measured over predicted on the GPU that the kernel was measured on, 1 where there is none such or its work is unknown."""
    modelled: bool
    """No kernel was measured anywhere, and nothing is assumed."""
    terms: dict[str, Float]
    unknown: Bool
    assumed: Bool
    """The work is not known and taken to be bound by memory, as the user asked."""
    extra_dram: Float
    warm: "_FromDram"
    """If no operand is cold."""
    cold_bytes: Float
    resident: Float


@dataclass(frozen=True, eq=False)
class _Kinds:
    """What depends on the trace alone; shapes [kernels] where nothing else is said."""

    product: Bool
    tiled: Bool
    unit: NDArray[np.int64]
    """Which of ``asked`` each kernel asks for."""
    asked: list[tuple[str, str, bool]]
    """Distinct dtypes and precisions, without tensor cores and then with them."""
    wide: Bool
    rows: NDArray[np.int64]
    """The tiled kernels, shape [calls]."""
    calls: Products
    attention: list[attention_calls.Group]
    lu: "_Matrices"
    solve: "_Matrices"
    """Of the kernels that factorise and of those that solve."""


@dataclass(frozen=True, eq=False)
class _Matrices:
    """What solver kernels work on: which kernels they are, and of each the batch, rows and right-hand sides; shape [such kernels]."""

    rows: NDArray[np.int64]
    batch: Float
    m: Float
    columns: Float


@dataclass(frozen=True, eq=False)
class _FromDram:
    """Bytes of listed operands that DRAM serves, and those of them that are read; shape [kernels]."""

    moved: Float
    read: Float


@dataclass(frozen=True, eq=False)
class _Geometry:
    """What depends on the trace and the numbers of ``_GEOMETRY`` alone; shapes [kernels]."""

    moved: Traffic
    warm: _FromDram
    """If no operand is cold."""
    share: Float
    """Blocks of the busiest SM over its fair share."""
    hidden: Float
    turns: Float
    rounds: Float


_GEOMETRY = (
    *("warp_threads", "max_warps_per_sm", "max_blocks_per_sm", "registers_per_sm", "register_unit", "warp_unit", "shared_per_sm"),
    *("shared_unit_bytes", "shared_reserved_bytes", "sm_count", "sector_bytes", "strided_step", "l2", "default_block_threads"),
    *("l2_full", "l2_none"),
    *("default_bytes_per_thread", "outstanding_bytes_per_thread", "fp32_lanes_per_sm", "arithmetic_latency_cycles"),
)
"""Numbers on which the shape of grids and their traffic depend: GPUs that share them share both."""


@dataclass(frozen=True, eq=False)
class GPU(Device):
    """A GPU of the catalogue. ``dram_bandwidth`` (B/s) may differ from the data sheet's where stacks were replaced.

    With ``use_measured`` a kernel that was measured on this very device costs what was measured, and one that was measured on
    another GPU of the catalogue what the model says times measured over predicted there.
    """

    entry: Entry
    id: str
    memory: str
    dram_bandwidth: float
    static_watts: float | None = None
    area_mm2: float | None = None
    hypothetical: bool = False
    use_measured: bool = True
    kind: str = "gpu"
    price_usd: float | None = None
    not_modelled: tuple[str, ...] = ()
    assume: str = ""
    """'memory-bound': what was measured on another GPU of the catalogue, and whose work is not known, moves as many bytes here as it
    could there in its time. '' refuses such kernels."""

    @classmethod
    def of(cls, entry: Entry, memory: str = "") -> "GPU":
        """Return the GPU that a catalogue entry describes."""
        return cls(
            entry,
            entry.id,
            memory or f"{entry.id}-memory",
            entry["memory_bandwidth"],
            entry.get("static_power"),
            entry.get("die_area"),
            entry.hypothetical,
            price_usd=entry.get("price"),
            not_modelled=entry.not_modelled,
        )

    @derived
    def cache(self) -> str:
        """Its L2, which what is built into the GPU shares."""
        return f"{self.id}-l2"

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel. Raises MachineError naming a kernel whose work is unknown."""
        ready = self.ready(work)
        if ready.unknown.any():
            raise _unknown_work(self, work, ready.unknown)
        if work.cold.any():
            missed = np.where(work.cold, 1.0, 1.0 - ready.resident)
            return _combine(self, ready, _from_dram(facts(work), ready.cold_bytes * missed))
        return once(work, self, lambda: _combine(self, ready, ready.warm))

    def ready(self, work: Work) -> Prepared:
        """Return all of the prices that does not depend on which operands are cold."""
        return once(work, (self.entry, self.use_measured, self.assume), lambda: _prepare(self, work))

    def assumed(self, work: Work) -> Bool:
        """Return which kernels are taken to be bound by memory."""
        return self.ready(work).assumed

    def trust(self, work: Work) -> Trust:
        """Return how far each price can be off: the calibration's residuals, or the stated prior of what was not measured.

        What was measured on this very GPU is no prediction: it is not off.
        """
        known = facts(work)
        tensor = _units(self.entry, work, _kinds(work)).tensor
        predicted = trust.of_kernels(self.entry, known, tensor, self.price(work).duration_s)
        measured = ~np.isnan(self._measured(work))
        return Trust(np.where(measured, 0.0, predicted.relative), predicted.validated | measured)

    def _measured(self, work: Work) -> Float:
        """Return what each kernel took on this very GPU, NaN where it was not measured here or that is not to be used."""
        known = facts(work)
        return known.measured if self.use_measured and work.target == self.id else np.full(len(work), np.nan)

    def refuse(self, work: Work) -> Refusals:
        """Refuse only kernels of a dtype for which the GPU has no peak."""
        peaks, matrix = self.entry.group("vector_flops"), self.entry.group("matrix_flops")
        missing = sorted(d for d in facts(work).dtype.values if pipe_of(d) not in peaks and d not in matrix)
        return once(work, ("gpu refusals", *missing), lambda: _refusals(facts(work), missing, len(work)))


def _refusals(known: Facts, missing: list[str], kernels: int) -> Refusals:
    code = np.zeros(kernels, dtype=np.int8)
    for number, dtype in enumerate(missing[:126], start=1):
        code[known.dtype.is_(dtype)] = number
    return Refusals(code, ("", *(f"dtype {d}" for d in missing[:126])))


def _unknown_work(gpu: GPU, work: Work, unknown: Bool) -> MachineError:
    """Say how many kernels lack what, and how much of the time they are where that was measured (on another device)."""
    kernel = int(np.flatnonzero(unknown)[0])
    name, family = work.kernels["name"][kernel], work.kernels["family"][kernel]
    measured = np.nan_to_num(work.kernels["measured_s"])
    hint = "; or assume that they are bound by memory (--assume memory-bound)" if measured[unknown].all() and not gpu.assume else ""
    share = f", {measured[unknown].sum() / measured.sum():.1%} of the measured time".replace("%", " %") if measured.any() else ""
    return MachineError(
        f"the work of a kernel must be known to price it on {gpu.id!r}, but {int(unknown.sum()):,} of {len(work):,} kernels{share} lack "
        f"their bytes, FLOP or size, first kernel {kernel} ({name[:80]!r}, {family}); fill bytes_unique, flops_vector, flops_matrix or "
        f"batch and m, or give measured_s on this device{hint}"
    )


def _from_dram(known: Facts, served: Float) -> _FromDram:
    """Add up by kernel what DRAM serves of each operand, bytes."""
    kernels = len(known.launches)
    return _FromDram(total(known.owner, served, kernels), total(known.owner, np.where(known.writes, 0.0, served), kernels))


def _combine(gpu: GPU, ready: Prepared, operands: _FromDram) -> Prices:
    """Put the DRAM terms to the rest."""
    entry = gpu.entry
    dram = operands.moved if ready.modelled else np.where(ready.assumed, 0.0, operands.moved)
    dram = dram + ready.extra_dram
    dram_s = dram / streaming.dram_rate(entry, gpu.dram_bandwidth)
    latency_s = ready.rounds * np.where(dram > 0, max(entry["dram_latency"], entry["l2_latency"]), entry["l2_latency"])
    duration = ready.floor + np.maximum(together(entry, ready, dram_s, ready.terms["l2_s"]), latency_s)
    if not ready.modelled:
        duration = np.where(np.isnan(ready.measured), duration * ready.scale, ready.measured)
        duration = np.where(ready.assumed, dram_s, duration)
    per_byte = entry.get("dram_energy_per_byte")
    of_dram = dram * (np.nan if per_byte is None else per_byte)
    terms = {**ready.terms, "dram_s": dram_s, "latency_s": latency_s}
    read = operands.read + ready.extra_dram / 2
    saved = of_the_cap(entry, gpu.static_watts, ready.joules + of_dram, duration)
    joules = {**ready.energy, "dram_j": of_dram, "cap_j": saved}
    return Prices(duration, dram, ready.joules + of_dram + saved, terms, ready.l2_bytes, np.minimum(read, dram), joules)


def together(entry: Entry, ready: Prepared, dram_s: Float, l2_s: Float) -> Float:
    """Return what memory and the SMs take together: of compiled kernels, by turns; of library products, as their model says."""
    seconds = streaming.overlapped(entry, np.maximum(dram_s, l2_s), ready.on_sm, ready.turns)
    rows = ready.products
    if len(rows):
        apart, from_dram = ready.apart[rows], dram_s[rows]
        on_chip = np.maximum(ready.on_sm[rows], l2_s[rows])
        seconds[rows] = gemm.together(entry["gemm_sharpness"], on_chip, from_dram * (1.0 - apart)) + from_dram * apart
    return seconds


def _prepare(gpu: GPU, work: Work) -> Prepared:
    known, entry = facts(work), gpu.entry
    kinds, geometry = _kinds(work), _geometry(entry, work, known)
    units, moved = _units(entry, work, kinds), geometry.moved
    matrix, l2_bytes, extra, again = _products(entry, work, units, geometry, kinds)
    tiled, apart = _attention(entry, kinds, matrix, extra)
    terms = {"compute_matrix_s": matrix} | _vector_terms(entry, known, geometry, kinds.wide)
    terms["solver_s"] = _solvers(entry, work, kinds)
    terms["l1_s"] = np.where(tiled, 0.0, moved.l1_bytes * geometry.share / _l1_rate(entry))
    on_sm = reduce(np.maximum, terms.values())
    terms["l2_s"] = l2_bytes / (entry["l2_bandwidth"] * entry["l2_efficiency"])
    terms["floor_s"] = known.launches * entry["kernel_floor"] + extra
    given = _given(gpu, work, known)
    energy = _energy(entry, known, units, kinds.product, l2_bytes)
    return Prepared(
        floor=terms["floor_s"],
        on_sm=on_sm,
        turns=geometry.turns,
        tiled=tiled,
        products=np.flatnonzero(tiled),
        apart=apart,
        l2_bytes=l2_bytes,
        passing=moved.passing,
        rounds=np.where(tiled, known.launches * entry["gemm_stages"], geometry.rounds),
        energy=energy,
        joules=reduce(np.add, energy.values()),
        measured=given.seconds,
        scale=given.scale,
        modelled=given.modelled,
        terms=terms,
        unknown=given.unknown,
        assumed=given.assumed,
        extra_dram=np.where(given.assumed, given.bytes, moved.extra_dram + again),
        cold_bytes=moved.cold_bytes,
        resident=moved.resident,
        warm=geometry.warm,
    )


@dataclass(frozen=True, eq=False)
class _Given:
    """What takes the place of the model; shapes [kernels]."""

    seconds: Float
    """Measured on this very GPU, else NaN."""
    unknown: Bool
    """Nothing was measured and the work is not known."""
    assumed: Bool
    """So it was, but the user says what to assume: that they move ``bytes``."""
    bytes: Float
    scale: Float
    """Measured over predicted on the GPU that the kernel was measured on."""
    modelled: bool
    """No kernel was measured anywhere, and nothing is assumed."""


def _given(gpu: GPU, work: Work, known: Facts) -> _Given:
    """Return what was measured or is assumed: the same for all GPUs of an id."""
    return once(work, ("gpu given", gpu.id, gpu.use_measured, gpu.assume), lambda: _make_given(gpu, work, known))


def _make_given(gpu: GPU, work: Work, known: Facts) -> _Given:
    measured = gpu._measured(work)
    unknown = known.unknown & np.isnan(measured)
    assumed_bytes = _assumed_bytes(gpu, work, known.measured)
    assumed = unknown & ~np.isnan(assumed_bytes)
    modelled = bool(np.isnan(known.measured).all() and not assumed.any())
    return _Given(measured, unknown & ~assumed, assumed, assumed_bytes, _scale(gpu, work, known.measured), modelled)


def _kinds(work: Work) -> _Kinds:
    return once(work, "gpu kinds", lambda: _make_kinds(work, facts(work)))


def _make_kinds(work: Work, known: Facts) -> _Kinds:
    product = known.family.isin(NEED_MATRIX) | (known.flops_matrix > 0)
    tiled = product & known.library & np.isnan(known.grid) & (known.k > 0)
    pair, pairs = known.dtype.pairs(known.precision)
    tensor_cores = (known.library | known.triton) & ~known.family.isin(SOLVERS)
    rows = np.flatnonzero(tiled)
    parts = np.where(known.dtype.is_("c64", "c128"), 2.0, 1.0)[rows]  # a complex product is a real one of real and imaginary parts
    size = known.dtype.number(itemsize)[rows] / parts
    return _Kinds(
        product=product,
        tiled=tiled,
        unit=np.where(tensor_cores, len(pairs), 0) + pair,
        asked=[(*each, allowed) for allowed in (False, True) for each in pairs],
        wide=known.dtype.is_("f64", "c128"),
        rows=rows,
        calls=Products(np.maximum(known.batch[rows], 1.0), parts * known.m[rows], parts * known.n[rows], known.k[rows], size),
        attention=attention_calls.groups(work, known),
        lu=_matrices(known, "lu"),
        solve=_matrices(known, "triangular_solve"),
    )


def _matrices(known: Facts, family: str) -> _Matrices:
    rows = np.flatnonzero(known.family.is_(family))
    return _Matrices(rows, np.maximum(known.batch[rows], 1.0), np.maximum(known.m[rows], 0.0), known.n[rows])


def _geometry(entry: Entry, work: Work, known: Facts) -> _Geometry:
    numbers = {name: entry[name] for name in _GEOMETRY}
    return once(work, ("gpu geometry", *numbers.values()), lambda: _make_geometry(numbers, known))


def _make_geometry(numbers: Mapping[str, float], known: Facts) -> _Geometry:
    threads, blocks = _launch(numbers, known)
    sms, grid = numbers["sm_count"], _grid(numbers, known, threads, blocks)
    moved = traffic(known, Caches.of_gpu(numbers), blocks, threads * blocks)
    return _Geometry(
        moved=moved,
        warm=_from_dram(known, moved.cold_bytes * (1.0 - moved.resident)),
        share=grid.busiest * sms / grid.blocks,
        hidden=_hidden(numbers, grid),
        turns=blocks / (sms * grid.resident),
        rounds=_rounds(numbers, grid, moved, threads * blocks),
    )


def _scale(gpu: GPU, work: Work, measured: Float) -> Float:
    """Measured over predicted on the GPU that the trace was measured on; 1 where that is this one, not known, or no price is."""
    source = _measured_on(work.target) if gpu.use_measured and work.target != gpu.id and not np.isnan(measured).all() else None
    if source is None:
        return np.ones(len(work))
    return once(work, ("measured over predicted", source.entry), lambda: _measured_over_predicted(source, work, measured))


def _measured_over_predicted(source: GPU, work: Work, measured: Float) -> Float:
    ready = _prepare(source, work)
    ratio = measured / _combine(source, ready, ready.warm).duration_s
    return np.where(ready.unknown | np.isnan(ratio), 1.0, ratio)


def _assumed_bytes(gpu: GPU, work: Work, measured: Float) -> Float:
    """Bytes that DRAM of the GPU that the trace was measured on moves in each kernel's time, NaN unless that is to be assumed."""
    source = _measured_on(work.target) if gpu.assume else None
    if source is None:
        return np.full(len(work), np.nan)
    return measured * streaming.dram_rate(source.entry, source.dram_bandwidth)


def _measured_on(target: str) -> GPU | None:
    """The GPU of the catalogue that a trace's target is, as the model alone prices it; None if it is none."""
    from arch.registered import find, names

    entry = find(target) if target in names() else None
    return replace(GPU.of(entry), use_measured=False) if entry is not None and entry.kind == "gpu" else None


def _launch(entry: Mapping[str, float], known: Facts) -> tuple[Float, Float]:
    """Threads of a block and blocks of the grid; where not known, enough default blocks for what the kernel writes."""
    threads = np.where(np.isnan(known.threads), entry["default_block_threads"], known.threads)
    written = total(known.owner, np.where(known.writes, known.unique, 0.0), len(threads))
    written = np.where(known.has_accesses, written, known.bytes_unique / 2)
    needed = np.ceil(written / (threads * entry["default_bytes_per_thread"]))
    return threads, np.where(np.isnan(known.grid), np.maximum(needed, 1.0), known.grid)


def _grid(entry: Mapping[str, float], known: Facts, threads: Float, blocks: Float) -> Shape:
    resident = blocks_per_sm(limits(entry), threads, known.registers, known.shared)
    return shape(blocks, resident, threads, entry["sm_count"], entry["warp_threads"])


def _l1_rate(entry: Entry) -> float:
    return entry["l1_bytes_per_clock"] * entry["sm_count"] * entry["clock"]


def _hidden(entry: Mapping[str, float], grid: Shape) -> Float:
    """Share of the vector peak that the resident warps can fill: enough of them hide the arithmetic latency."""
    needed = entry["fp32_lanes_per_sm"] * entry["arithmetic_latency_cycles"] / entry["warp_threads"]
    filled: Float = np.minimum(grid.warps / needed, 1.0)
    return filled


def _vector_terms(entry: Entry, known: Facts, geometry: _Geometry, wide: Bool) -> dict[str, Float]:
    """Seconds of the busiest SM."""
    hidden, share = geometry.hidden, geometry.share
    lanes = known.dtype.number(_peak(entry.group("vector_flops"))) / 2  # one operation, not a multiply-add
    special = entry["sfu_lanes_per_sm"] * entry["sm_count"] * entry["clock"]
    special_rate = np.where(wide, 2 * lanes / entry["f64_transcendental_flops"], special)
    issue = entry["schedulers_per_sm"] * entry["warp_threads"] * entry["sm_count"] * entry["clock"]
    return {
        "compute_vector_s": known.flops_vector * share / (lanes * hidden),
        "transcendental_s": known.flops_transcendental * share / special_rate,
        "issue_s": known.instructions * share / (issue * hidden),
    }


def _peak(group: dict[str, float]) -> Callable[[str], float]:
    """Peak of an XLA type on the vector pipes, infinite where there is none: such kernels are refused or use another unit."""
    return lambda dtype: group.get(pipe_of(dtype), np.inf)


def matrix_unit(entry: Entry, dtype: str, precision: str, tensor_cores: bool) -> tuple[str, float, bool]:
    """Return which peak serves a product: its name, its FLOP/s, and whether it is a tensor core's.

    FP32 uses TF32 unless its precision is 'highest' (XLA lets cuBLAS take TF32 for 'default' and 'high'); what the compiler
    fused into a loop (no library, no Triton), LU and triangular solves run on the vector pipes.
    """
    name = dtype
    if pipe_of(dtype) == "f32":
        name = "f32" if precision == "highest" else "tf32"
    peak = entry.group("matrix_flops").get(name) if tensor_cores else None
    if peak is not None:
        return name, peak, True
    vector = pipe_of(dtype)
    return vector, entry.group("vector_flops").get(vector, np.inf), False


@dataclass(frozen=True, eq=False)
class _Units:
    """Which unit serves the product of each kernel; shape [kernels]."""

    peak: Float
    tensor: Bool
    energy: Float
    """Joules a FLOP, NaN if unknown."""
    calls: list[Distinct]
    """The library calls of unknown grid by unit."""


def _units(entry: Entry, work: Work, kinds: _Kinds) -> _Units:
    """``matrix_unit`` of every kernel, worked out once for each distinct combination."""
    units = [matrix_unit(entry, *each) for each in kinds.asked]
    names = tuple(name for name, _, _ in units)
    groups = entry.group("vector_energy_per_flop"), entry.group("matrix_energy_per_flop")
    return _Units(
        np.array([peak for _, peak, _ in units])[kinds.unit],
        np.array([tensor for _, _, tensor in units], dtype=np.bool_)[kinds.unit],
        np.array([groups[tensor].get(name, np.nan) * drawn_by_programs(entry, name) for name, _, tensor in units])[kinds.unit],
        once(work, ("gpu calls", names), lambda: distinct(np.array(names, dtype=np.str_)[kinds.unit[kinds.rows]], kinds.calls)),
    )


def _products(entry: Entry, work: Work, units: _Units, geometry: _Geometry, kinds: _Kinds) -> tuple[Float, Float, Float, Float]:
    """Seconds of the matrix term, bytes through L2, seconds that nothing overlaps, and bytes that DRAM serves again.

    Library calls of unknown grid are tiled by ``arch.gemm``, each as often as its FLOP are those of its sizes (both gradients of a
    convolution are one row); blocks of known grids fall onto SMs in whole turns.
    """
    known = facts(work)
    reached = units.peak * np.where(units.tensor, entry["gemm_efficiency_matrix"], entry["gemm_efficiency_vector"])
    fill = np.where(units.tensor, 1.0, geometry.hidden)
    matrix = np.where(kinds.product, known.flops_matrix * geometry.share / (reached * fill), 0.0)
    l2_bytes, extra, again = geometry.moved.l2_bytes.copy(), np.zeros(len(matrix)), np.zeros(len(matrix))
    rows = kinds.rows
    if len(rows):
        found = calls(entry, work, units.calls, len(rows))
        times = np.maximum(known.flops_matrix[rows] / kinds.calls.flops, 1.0)
        matrix[rows] = np.maximum(times * found.compute_s, known.flops_matrix[rows] / units.peak[rows])
        l2_bytes[rows] = np.maximum(l2_bytes[rows], times * found.l2_bytes)
        extra[rows], again[rows] = times * found.extra_s, times * found.again_bytes
    return matrix, l2_bytes, extra, again


def _attention(entry: Entry, kinds: _Kinds, matrix: Float, extra: Float) -> tuple[Bool, Float]:
    """Fill in the terms of fused attention; return which library calls overlap as products and the share of bytes that move apart."""
    tiled, apart = kinds.tiled.copy(), np.zeros(len(matrix))
    for group in attention_calls.needed(entry, kinds.attention):
        matrix[group.rows], extra[group.rows] = group.on_sm_s, group.start_s
        tiled[group.rows], apart[group.rows] = True, group.apart
    return tiled, apart


def _solvers(entry: Entry, work: Work, kinds: _Kinds) -> Float:
    seconds, lu, solve = np.zeros(len(kinds.product)), kinds.lu, kinds.solve
    if len(lu.rows) or len(solve.rows):
        numbers = solvers.Numbers.of(entry)
        factorised, solved = once(
            work,
            ("gpu solvers", *numbers.cycles),
            lambda: (solvers.Factorisations.of(numbers, lu.batch, lu.m), solvers.Solves.of(numbers, solve.batch, solve.m, solve.columns)),
        )
        seconds[lu.rows], seconds[solve.rows] = factorised.seconds(numbers), solved.seconds(numbers)
    return seconds


def _rounds(entry: Mapping[str, float], grid: Shape, moved: Traffic, threads: Float) -> Float:
    """How many load latencies a kernel waits for: at least one if it loads at all."""
    loads = np.ceil(moved.read_bytes / threads / entry["outstanding_bytes_per_thread"])
    waits: Float = grid.waves * loads
    return waits


def _energy(entry: Entry, known: Facts, units: _Units, product: Bool, l2_bytes: Float) -> dict[str, Float]:
    """Dynamic joules without DRAM by term; NaN where the catalogue lacks a constant."""
    vector = entry.group("vector_energy_per_flop")
    per_op = known.dtype.number(lambda d: vector.get(pipe_of(d), np.nan))
    return kernel_terms(entry, known, per_op, units.energy, product, l2_bytes)


def with_bandwidth(gpu: GPU, dram_bandwidth: float) -> GPU:
    """Return the GPU with another DRAM bandwidth (B/s); what is prepared for a trace is shared with the first."""
    return gpu if dram_bandwidth == gpu.dram_bandwidth else replace(gpu, dram_bandwidth=dram_bandwidth)
