"""What a catalogue file may hold: every key of every kind of device, with its dimension and meaning."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """One number of a catalogue file: the base unit of its dimension, and what it is."""

    dimension: str
    doc: str
    required: bool = True
    group: bool = False
    """The key is a table of numbers by dtype, or by ``by``."""
    many: bool = False
    """The value is a list."""
    positive: bool = True
    """Zero is refused."""
    most: float = math.inf
    """The largest value, in the base unit."""
    whole: bool = False
    """Whole numbers only."""
    by: str = "dtype"
    """What a group's numbers are for: 'dtype', 'mode' (a device's own words, the same in all of its groups) or 'name'."""


DTYPES = (
    *("f64", "f32", "tf32", "f16", "bf16", "f8e4m3fn", "f8e5m2", "f4e2m1fn"),
    *("s64", "s32", "s16", "s8", "s4", "u64", "u32", "u16", "u8", "u4", "pred", "c64", "c128"),
)
"""Types that a group by dtype may have numbers for: XLA's names, and 'tf32' for FP32 products on tensor cores."""


_COUNT = "1"


def _share(doc: str, *, required: bool = True, group: bool = False, positive: bool = True, by: str = "dtype") -> Key:
    """A part of a whole."""
    return Key(_COUNT, doc, required, group, positive=positive, most=1.0, by=by)


def _whole(doc: str) -> Key:
    """A number of things."""
    return Key(_COUNT, doc, whole=True)


GPU: dict[str, Key] = {
    "sm_count": _whole("streaming multiprocessors"),
    "fp32_lanes_per_sm": Key(_COUNT, "FP32 results a clock and SM"),
    "clock": Key("Hz", "boost clock"),
    "base_clock": Key("Hz", "clock that the board sustains under any load", required=False),
    "sustained_clock": Key("Hz", "clock under a steady load where somebody measured it", required=False),
    "memory": Key("B", "capacity"),
    "memory_bandwidth": Key("B/s", "peak bandwidth"),
    "memory_stacks": _whole("memory packages or stacks"),
    "dram_efficiency": _share("share of the peak bandwidth that a copy reaches"),
    "dram_latency": Key("s", "load to use, missing L2"),
    "l1": Key("B", "L1 and shared memory of an SM together, if global loads are cached there", required=False),
    "l2": Key("B", "capacity of L2"),
    "l2_partitions": _whole("parts of L2 that each keep a copy of what their SMs read"),
    "l2_bandwidth": Key("B/s", "peak bandwidth of L2"),
    "l2_efficiency": _share("share of it that streaming reaches"),
    "l2_full": Key(_COUNT, "bytes in use in turn over those of L2 up to which all are still there when they are used again"),
    "l2_none": Key(_COUNT, "bytes in use in turn over those of L2 from which on none are"),
    "l2_latency": Key("s", "load to use, hitting L2"),
    "warp_threads": _whole("threads of a warp"),
    "max_threads_per_block": _whole("threads of a block at most"),
    "max_warps_per_sm": _whole("resident warps at most"),
    "max_blocks_per_sm": _whole("resident blocks at most"),
    "registers_per_sm": _whole("32-bit registers"),
    "registers_per_block": _whole("32-bit registers of a block at most"),
    "register_unit": _whole("registers are given to a warp in multiples of this"),
    "warp_unit": _whole("warps are given to a block in multiples of this"),
    "shared_per_sm": Key("B", "shared memory"),
    "shared_per_block_bytes": Key("B", "shared memory of a block without opting in"),
    "shared_per_block_optin_bytes": Key("B", "shared memory of a block at most"),
    "shared_unit_bytes": Key("B", "shared memory is given in multiples of this"),
    "shared_reserved_bytes": Key("B", "shared memory that the system takes a block", positive=False),
    "shared_bytes_per_clock": Key("B", "what an SM's shared memory delivers a clock"),
    "schedulers_per_sm": _whole("warp instructions issued a clock"),
    "sfu_lanes_per_sm": Key(_COUNT, "transcendental results a clock"),
    "f64_transcendental_flops": Key(_COUNT, "FLOP of a double-precision transcendental"),
    "arithmetic_latency_cycles": Key(_COUNT, "cycles until a dependent instruction issues"),
    "shared_latency_cycles": Key(_COUNT, "load to use in shared memory"),
    "shuffle_latency_cycles": Key(_COUNT, "of a warp shuffle"),
    "divide_latency_cycles": Key(_COUNT, "of an FP32 division"),
    "lu_rows": Key(_COUNT, "rows of the matrices for which lu_cycles were measured", many=True),
    "lu_cycles": Key(_COUNT, "cycles that one more factorisation of a large batch keeps an SM busy, by rows", many=True),
    "lu_chain_rows": Key(_COUNT, "rows of the matrices for which lu_chain_cycles were measured", many=True),
    "lu_chain_cycles": Key(_COUNT, "cycles of one factorisation of a batch, by rows", many=True),
    "one_lu_rows": Key(_COUNT, "rows of the matrices for which one_lu_cycles were measured", many=True),
    "one_lu_cycles": Key(_COUNT, "cycles of the panels of a matrix that is factorised alone, by rows", many=True),
    "triangular_rows": Key(_COUNT, "rows of the matrices for which triangular_cycles were measured", many=True),
    "triangular_cycles": Key(
        _COUNT, "cycles that one more right-hand side of a large batch of solves keeps an SM busy, by rows", many=True
    ),
    "triangular_tile_columns": Key(_COUNT, "right-hand sides that a batched solve of more than 8 rows computes together"),
    "sector_bytes": Key("B", "granule of DRAM and L2 transfers"),
    "strided_step": Key(_COUNT, "elements that neighbouring threads step over at most where an access is strided"),
    "l1_bytes_per_clock": Key("B", "what an SM's L1 delivers a clock"),
    "outstanding_bytes_per_thread": Key("B", "loads a thread has in flight"),
    "default_block_threads": Key(_COUNT, "block of a kernel whose launch is not known"),
    "default_bytes_per_thread": Key("B", "bytes a thread writes where the launch is not known"),
    "kernel_floor": Key("s", "shortest kernel"),
    "l2_fills": Key(_COUNT, "1: L2 reads sectors from DRAM that are written in part, 0: it waits for the rest", positive=False),
    "partial_fill": Key(_COUNT, "what L2 so reads over what is written, where rows of a result do not begin on sectors"),
    "reuse_l1_share": _share("share of L1 that streaming kernels can use"),
    "overlap_turns": Key(_COUNT, "turns of a grid after which half of what is exposed at the start overlaps"),
    "block_softmax_instructions": Key(_COUNT, "warp instructions of a softmax of long rows, a warp and row"),
    "layernorm_row_instructions": Key(_COUNT, "warp instructions of a layer norm, a warp and row"),
    "layernorm_step_instructions": Key(_COUNT, "warp instructions of a layer norm for each 16 bytes a thread, a warp and row"),
    "eager_floors": Key(
        "s", "host time of an eager operator: tensors; a scalar or module; softmax, product; layer norm; linear", many=True
    ),
    "eager_overlap": _share("share of that time between the first event and the launch"),
    "gemm_efficiency_vector": _share("share of the vector peak that a product of known grid reaches on full SMs"),
    "gemm_efficiency_matrix": _share("share of the matrix peak that a product of known grid reaches on full SMs"),
    "gemm_simt_tile_m": Key(_COUNT, "rows of the library's tiles on the vector pipes", many=True),
    "gemm_simt_tile_n": Key(_COUNT, "columns of the library's tiles on the vector pipes", many=True),
    "gemm_tensor_tile_m": Key(_COUNT, "rows of the library's tiles on tensor cores", many=True),
    "gemm_tensor_tile_n": Key(_COUNT, "columns of the library's tiles on tensor cores", many=True),
    "gemm_batched_tile": Key(_COUNT, "side of the one tile that batched products have on the vector pipes, 1: they have all"),
    "gemm_split_k": Key(_COUNT, "ways in which the library may split the inner dimension", many=True),
    "gemm_simt_k_step": Key(_COUNT, "inner dimension of a step on the vector pipes"),
    "gemm_tensor_k_step": Key(_COUNT, "inner dimension of a step on tensor cores, in elements of two bytes"),
    "gemm_stages": Key(_COUNT, "steps in flight"),
    "gemm_persistent": Key(_COUNT, "1: a block stores a tile while it computes the next one", required=False),
    "gemm_cluster": Key(_COUNT, "blocks that share by multicast what they load from L2", required=False),
    "mma_sync_share": _share("share of the tensor peak that mma.sync reaches on chips that have wgmma", required=False),
    "gemm_simt_outputs": Key(_COUNT, "outputs that a thread keeps on the vector pipes"),
    "gemm_tensor_outputs": Key(_COUNT, "outputs that a thread keeps on tensor cores"),
    "gemm_shared_bytes": Key("B", "FP32 operands that cross shared memory for a multiply-add on the vector pipes"),
    "gemm_issue_share": _share("share of multiply-adds in a main loop on the vector pipes, where these fill the issue slots"),
    "gemm_simt_rate": _share("share of the vector peak of a tile of 128 x 128 without waits"),
    "gemm_tensor_rate": _share("share of the matrix peak of a tile of 128 x 128 without waits"),
    "gemm_tile_loss": _share("share that a tile of half the side loses"),
    "gemm_simt_threads": Key(_COUNT, "resident threads at which 64 lanes of an SM run at half their rate"),
    "gemm_tensor_threads": Key(_COUNT, "resident threads at which an SM's tensor cores run at half their rate"),
    "gemm_simt_tile_cycles": Key(_COUNT, "to start and store the tiles that fill an SM, on the vector pipes"),
    "gemm_tensor_tile_cycles": Key(_COUNT, "to start and store the tiles that fill an SM, on tensor cores"),
    "gemm_turn_cycles": Key(_COUNT, "between the tiles of an SM on tensor cores, whatever their size"),
    "gemm_dram_share": Key(_COUNT, "rate at which products read their operands over that of a copy"),
    "tlb_reach": Key("B", "what an SM's table of pages (2 MiB each) reaches"),
    "gemm_tlb_loss": Key(_COUNT, "time that a product on the vector pipes takes more where hardly a page is in that table"),
    "gemm_sharpness": Key(_COUNT, "power with which times of pipes, L2 and DRAM add: infinite if they overlap perfectly, 1 if not at all"),
    "capped_energy_12nm": Key("J/FLOP", "board power over FP32 FLOP/s of products at the power cap, 12 and 16 nm"),
    "capped_energy_8nm": Key("J/FLOP", "the same, 8 nm"),
    "capped_energy_7nm": Key("J/FLOP", "the same, 7 nm"),
    "capped_energy_4nm": Key("J/FLOP", "the same, 4 nm"),
    "capped_energy_tensor": Key("J/FLOP", "board power over BF16 (without it FP16) FLOP/s of products at the power cap"),
    "f16_energy_ratio": Key(_COUNT, "energy of an FP16 multiply-add over that of a BF16 one on tensor cores that have both"),
    "eager_rest": Key("s", "how long the GPU rests between eager operators beside the host's time, on average over a table"),
    "profiled_energy_ratio": Key(_COUNT, "board power of products in a long profile of models over that in short runs of one shape"),
    "vector_flops": Key("FLOP/s", "peak of the vector pipes by dtype, multiply-add counted twice", group=True),
    "matrix_flops": Key("FLOP/s", "peak of the tensor cores by dtype, without sparsity; none before Volta", required=False, group=True),
    "board_power": Key("W", "power cap", required=False),
    "static_power": Key("W", "power that does not depend on what runs", required=False),
    "idle_power_range": Key("W", "measured at rest or with clocks up: lowest and highest", required=False, many=True),
    "copy_power_range": Key("W", "measured while streaming from DRAM: lowest and highest", required=False, many=True),
    "product_power_range": Key("W", "measured in dense products on tensor cores: lowest and highest", required=False, many=True),
    "vector_energy_per_flop": Key("J/FLOP", "dynamic, by dtype", required=False, group=True),
    "matrix_energy_per_flop": Key("J/FLOP", "dynamic, by dtype", required=False, group=True),
    "transcendental_energy_flops": Key(_COUNT, "a transcendental costs as many FP32 operations", required=False),
    "dram_energy_per_byte": Key("J/B", "cell to L2", required=False),
    "l2_energy_per_byte": Key("J/B", "L2 to SM", required=False),
    "die_area": Key("mm2", "area of the GPU's die", required=False),
    "l2_area": Key("mm2", "of a MiB of L2 in 7 nm", required=False),
    "phy_area": Key("mm2", "pads of a stack of HBM, or of a package of GDDR, in any process", required=False, group=True, by="name"),
    "controller_area": Key("mm2", "of the controller of a stack or package, in 7 nm", required=False, group=True, by="name"),
    "price": Key("USD", "what a card costs", required=False),
}

PIM: dict[str, Key] = {
    "channels_per_stack": _whole("channels (pseudo-channels) with units, a package or stack"),
    "banks_per_channel": _whole("banks"),
    "banks_per_unit": _whole("banks that share a unit"),
    "lanes_per_unit": Key(_COUNT, "multiply-adders of a unit"),
    "outputs_per_unit": Key(_COUNT, "outputs of a product that a unit accumulates at once"),
    "registers_per_unit": Key(_COUNT, "vector registers for each bank of a unit"),
    "elementwise_share": _share("share of the units that deliver a result in an elementwise command"),
    "unit_clock": Key("Hz", "clock of the units"),
    "access_bytes": Key("B", "a column access of one bank"),
    "page_bytes": Key("B", "a row of one bank"),
    "column_interval": Key("s", "between column accesses in all-bank mode"),
    "mode_switch": Key("s", "between normal and PIM operation", positive=False),
    "host_share": _share("share of the stacks' channels that stay open to others while PIM computes", required=False, positive=False),
    "flush_share": _share("share of the GPU's L2 that is dirty at a hand-over", positive=False),
    "layout_share": _share("share of handed-over data that is laid out anew"),
    "in_memory_share": _share("share of the GPU's stacks that are PIM by default"),
    "attached_stacks": _whole("stacks of an attached device by default"),
    "stack_bytes_plain": Key("B", "capacity of a stack without units"),
    "stack_bytes_lost": Key("B", "capacity that the units take, as sold", positive=False),
    "stack_bandwidth": Key("B/s", "bandwidth to the outside"),
    "unit_area": Key("mm2", "area of a unit", required=False),
    "row_energy_per_byte": Key("J/B", "activate and precharge", required=False),
    "column_energy_per_byte": Key("J/B", "cell to unit", required=False),
    "energy_per_flop": Key("J/FLOP", "of a unit", required=False),
    "io_energy_per_byte": Key("J/B", "cell to the outside", required=False),
    "static_power_per_stack": Key("W", "added by the units, in_memory", required=False),
    "attached_power_per_stack": Key("W", "of a stack of its own, attached", required=False),
}

CPU: dict[str, Key] = {
    "cores": _whole("physical cores"),
    "clock": Key("Hz", "of all cores under vector load"),
    "vector_bits": _whole("bits of a vector instruction that a pipe executes in a clock"),
    "fma_pipes": _whole("fused multiply-add pipes of a core"),
    "last_level_cache": Key("B", "capacity of the last level of cache"),
    "cache_bandwidth": Key("B/s", "of the last level of cache, all cores together"),
    "line_bytes": Key("B", "granule of cache and DRAM transfers"),
    "gemm_tile_m": Key(_COUNT, "rows that a core computes at once in registers"),
    "gemm_tile_n": Key(_COUNT, "columns that a core computes at once in registers"),
    "gemm_efficiency": _share("share of the peak that a large product reaches"),
    "solver_efficiency": _share("share of a core's peak that factorisations of small matrices reach"),
    "transcendental_flops": Key(_COUNT, "FLOP of a transcendental: vectorised polynomials"),
    "kernel_floor": Key("s", "to start all cores on a kernel and wait for the last"),
    "matrix_flops": Key("FLOP/s", "peak of matrix units by dtype", required=False, group=True),
    "board_power": Key("W", "power cap of the package", required=False),
    "static_power": Key("W", "power that does not depend on what runs", required=False),
    "energy_per_flop": Key("J/FLOP", "dynamic, by dtype", required=False, group=True),
    "cache_energy_per_byte": Key("J/B", "last level of cache to core", required=False),
    "die_area": Key("mm2", "silicon of the package", required=False),
    "price": Key("USD", "what a package costs", required=False),
}

RECONFIGURABLE: dict[str, Key] = {
    "clock": Key("Hz", "clock of the array"),
    "memory": Key("B", "capacity of the memory beside it"),
    "memory_bandwidth": Key("B/s", "peak bandwidth of that memory"),
    "access_bytes": Key("B", "granule of transfers with that memory"),
    "tier_memory": Key("B", "capacity of a further memory behind it", required=False),
    "tier_bandwidth": Key("B/s", "of transfers between both memories, reached", required=False),
    "tier_latency": Key("s", "of a transfer between both memories", required=False),
    "kernel_floor": Key("s", "to start a chain of kernels that is configured"),
    "drain_cycles": Key(_COUNT, "until the array has filled or emptied"),
    "configuration": Key("B", "bytes of a configuration"),
    "configuration_bandwidth": Key("B/s", "at which it is loaded"),
    "engines": Key(_COUNT, "arrays that work side by side, by mode", group=True, by="mode"),
    "rows": Key(_COUNT, "rows of an array, by mode", group=True, by="mode"),
    "columns": Key(_COUNT, "columns of an array, by mode", group=True, by="mode"),
    "step_cycles": Key(_COUNT, "dependent step of a factorisation, by mode", group=True, by="mode"),
    "vector_lanes": Key(_COUNT, "results of elementwise operations a clock, by mode", group=True, by="mode"),
    "transcendental_lanes": Key(_COUNT, "transcendental results a clock, by mode", group=True, by="mode"),
    "buffer": Key("B", "on-chip memory for operands, by mode", group=True, by="mode"),
    "bandwidth_share": _share("share of the peak bandwidth that is reached, by mode", group=True, by="mode"),
    "bits": Key(_COUNT, "width of operands, by mode", group=True, by="mode"),
    "board_power": Key("W", "power cap", required=False),
    "static_power": Key("W", "power that does not depend on what runs", required=False),
    "energy_per_flop": Key("J/FLOP", "dynamic, by dtype", required=False, group=True),
    "transcendental_energy_flops": Key(_COUNT, "a transcendental costs as many operations"),
    "buffer_energy_per_byte": Key("J/B", "buffer to array", required=False),
    "memory_energy_per_byte": Key("J/B", "cell to buffer", required=False),
    "tier_energy_per_byte": Key("J/B", "between both memories", required=False),
    "die_area": Key("mm2", "silicon of its dies", required=False),
    "price": Key("USD", "what it costs", required=False),
}

_BESIDE_L2: dict[str, Key] = {
    "slice_bytes_per_clock": Key("B", "bytes a clock of the GPU's L2 for each of which there is a unit by default: the width of a slice"),
    "request_bytes": Key("B", "granule of requests to L2 and DRAM"),
    "start": Key("s", "from the launch on the device to the first request: fetch of a descriptor"),
    "l2_energy_share": Key(_COUNT, "energy of a byte of L2 seen from beside a slice over that seen from an SM"),
    "unit_area": Key("mm2", "silicon of a unit, in the file's node", required=False),
    "static_power_per_unit": Key("W", "power of a unit that does not depend on what runs", required=False),
}

LAYOUT: dict[str, Key] = {
    **_BESIDE_L2,
    "bytes_per_clock": Key("B", "bytes that a unit reads and writes together in a clock of the GPU"),
    "buffer": Key("B", "tile memory of a unit: half of it fills while the other half empties"),
    "energy_per_byte": Key("J/B", "through a unit: tile memory, addresses", required=False),
}

ELEMENTWISE: dict[str, Key] = {
    **_BESIDE_L2,
    "lanes_per_unit": Key(_COUNT, "FP32 results of a unit in a clock of the GPU"),
    "aligned_share": Key(
        _COUNT, "share of what is read that lies in the slice that computes on it: the rest crosses the crossbar", positive=False
    ),
    "energy_per_flop": Key("J/FLOP", "of a unit, by dtype", required=False, group=True),
}

CHAINS: dict[str, Key] = {
    "buffer": Key("B", "memory of an SM for tiles that kernels of a chain hand on"),
    "tile": Key("B", "tile of a result, and longest row of a reduction, that a block hands on"),
    "stage_fill": Key("s", "until the next kernel of a chain has its first tile"),
    "buffer_energy_per_byte": Key("J/B", "tile memory, written and read", required=False),
    "unit_area": Key("mm2", "silicon of the sequencer, an SM, in the file's node", required=False),
    "static_power_per_unit": Key("W", "power of the sequencer that does not depend on what runs, an SM", required=False),
}

TPU: dict[str, Key] = {
    "clock": Key("Hz", "of the tensor cores: what the compiler's cycles are counted in"),
    "memory": Key("B", "capacity of HBM"),
    "memory_bandwidth": Key("B/s", "of HBM"),
    "matrix_flops": Key("FLOP/s", "peak of the matrix units by dtype", group=True),
    "vector_flops": Key("FLOP/s", "peak of the vector units by dtype", group=True),
    "board_power": Key("W", "most that was measured of a chip", required=False),
    "static_power": Key("W", "power that does not depend on what runs", required=False),
}

MEMORY: dict[str, Key] = {
    "capacity": Key("B", "capacity"),
    "peak_bandwidth": Key("B/s", "of the pins, on paper", required=False),
    "read_bandwidth": Key("B/s", "reads that streaming in large requests reaches"),
    "write_bandwidth": Key("B/s", "writes that streaming in large requests reaches"),
    "both_bandwidth": Key("B/s", "reads and writes together at most", required=False),
    "latency": Key("s", "of a request"),
    "request_bytes": Key("B", "sizes of requests for which bandwidths are known, ascending", required=False, many=True),
    "request_read_bandwidth": Key("B/s", "reads in requests of those sizes", required=False, many=True),
    "request_write_bandwidth": Key("B/s", "writes in requests of those sizes", required=False, many=True),
    "energy_per_byte": Key("J/B", "cell to the controller", required=False),
    "static_power": Key("W", "refresh and background", required=False),
    "refresh_share": _share("share of that power that refreshes cells", required=False, positive=False),
    "price": Key("USD", "what it costs", required=False),
}

HOST: dict[str, Key] = {
    "launch_interval": Key("s", "from one launch to the next"),
    "launch_latency": Key("s", "from a launch's call to its start"),
    "queue_depth": _whole("launches that may wait"),
    "graph_gap": Key("s", "between kernels of a command buffer", positive=False),
    "round_trip": Key("s", "the host waits for the device and issues again", positive=False),
}

LINK: dict[str, Key] = {
    "peak_bandwidth": Key("B/s", "of one direction, on paper", required=False),
    "bandwidth": Key("B/s", "of one direction, from pinned memory"),
    "reverse_bandwidth": Key("B/s", "of the other direction, where it differs", required=False),
    "duplex_bandwidth": Key("B/s", "of both directions together", required=False),
    "pageable_bandwidth": Key("B/s", "of one direction, from memory that the system may page out", required=False),
    "latency": Key("s", "of a transfer", positive=False),
    "collective_overhead": Key("s", "of a collective over such links, beside its messages", required=False, positive=False),
    "energy_per_byte": Key("J/B", "both ends", required=False),
}

DRAM: dict[str, Key] = {
    "clock_period": Key("s", "of the clock that the timing counts"),
    "timing": Key(_COUNT, "clocks from one command to another, by the name that its simulator uses", group=True, positive=False, by="name"),
}

KINDS: dict[str, dict[str, Key]] = {
    "gpu": GPU,
    "pim": PIM,
    "dram": DRAM,
    "cpu": CPU,
    "reconfigurable": RECONFIGURABLE,
    "layout": LAYOUT,
    "elementwise": ELEMENTWISE,
    "chains": CHAINS,
    "tpu": TPU,
    "memory": MEMORY,
    "host": HOST,
    "link": LINK,
}
TEXTS: dict[str, frozenset[str]] = {
    "gpu": frozenset({"compute_capability", "memory_family", "host_link"}),
    "pim": frozenset({"memory_family", "style", "level", "timing"}),
    "dram": frozenset({"simulator", "preset", "idle"}),
    "cpu": frozenset({"dram"}),
    "reconfigurable": frozenset({"memory_family", "host_link", "host"}),
    "layout": frozenset(),
    "elementwise": frozenset(),
    "chains": frozenset(),
    "tpu": frozenset({"memory_family", "topology"}),
    "memory": frozenset({"memory_family", "role", "joined_by"}),
    "host": frozenset(),
    "link": frozenset(),
}
"""Keys beside the numbers that are text."""
EXTENSIONS = ("layout", "elementwise", "chains")
"""Kinds of what is built into a GPU."""
OPTIONAL_TEXTS = frozenset({"node", "peer_link"})
"""Such keys that any kind may have."""
SOURCE_KINDS = ("datasheet", "paper", "measured", "fitted", "assumption")


def key_of(kind: str, name: str) -> Key:
    """Return the specification of a number, 'group.dtype' included."""
    return KINDS[kind][name.split(".")[0]]
