"""Launch dimensions of PyTorch's own kernels, where its sources fix them: reductions and normalisations.

Elementwise kernels have none here: 128 threads take 4, 8 or 16 elements each by version of PyTorch, types and alignment
(ATen/native/cuda/CUDALoops.cuh), so their grid stays unknown.
"""

Grid = tuple[int, int, int]

MOST_THREADS = 512
"""mnt_wrapper in ATen/native/cuda/Reduce.cuh."""
WARP = 32
VECTOR = 4
"""Elements of a vectorised load (input_vec_size)."""
LEAST_VALUES, MOST_VALUES = 16, 256
"""Values a thread (min_values_per_thread, max_values_per_thread)."""
NORM_THREADS = 128
"""vectorized_layer_norm_kernel: one block of four warps a row (ATen/native/cuda/layer_norm_kernel.cu)."""


def reduction(kept: int, reduced: int, fastest: bool, sms: int, threads_per_sm: int) -> tuple[Grid, Grid]:
    """Return grid and block of a reduction of ``reduced`` elements to each of ``kept`` results (setReduceConfig of Reduce.cuh).

    ``fastest`` says whether the reduced elements are neighbours in memory.
    """
    across, along = (reduced, kept) if fastest else (kept, reduced)
    outputs = VECTOR if not fastest and kept % VECTOR == 0 else 1
    across //= VECTOR if fastest and across >= 128 else outputs
    width, height = _block(across, along, MOST_THREADS // outputs)
    values = -(-reduced // width) if fastest else reduced
    step = 1 if fastest else width
    split = values >= min(height * 16, MOST_VALUES)
    values, step = (-(-values // height), step) if split else (values, step * height)
    blocks = max(-(-(kept // outputs) // step), 1)
    slots = sms * max(threads_per_sm // (width * height), 1)
    parts = 1
    if split and values >= MOST_VALUES and blocks <= slots:
        parts = max(min(-(-slots // blocks), -(-values // LEAST_VALUES)), -(-values // MOST_VALUES))
    return (blocks, parts, 1), (width, height, 1)


def _block(across: int, along: int, most: int) -> tuple[int, int]:
    """Width and height of a block: powers of two, the width a warp first, then whatever the height leaves."""
    wide, high = _power_of_two(min(across, most)), _power_of_two(min(along, most))
    height = min(high, most // min(wide, WARP))
    return min(wide, most // height), height


def _power_of_two(n: int) -> int:
    return 1 << (max(n, 1).bit_length() - 1)


def rows(count: int) -> tuple[Grid, Grid]:
    """Return grid and block of a normalisation of ``count`` rows."""
    return (count, 1, 1), (WARP, NORM_THREADS // WARP, 1)
