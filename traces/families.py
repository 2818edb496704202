"""Which family a kernel belongs to, told from the operations it holds and never from its name.

========================  ==========================================================================================
family                    kernels
========================  ==========================================================================================
gemm                      library matrix products and convolutions, fusions whose result is a ``dot``
triangular_solve          triangular solves of cuBLAS
lu                        LU factorisations (getrf) and their pivots' permutation
attention                 Triton kernels of an attention (their name holds attention, mha, mhs or flash)
sort                      sorts, alone or fused
gather_scatter            fusions that write a ``scatter``, or whose result is a ``gather``
reduce                    input fusions around a ``reduce``; loop fusions whose result is a ``reduce`` or ``reduce-window``
transpose                 fusions whose result is a ``transpose``, ``copy`` or ``reverse`` (layout changes)
slice_concat              fusions whose result is a ``concatenate``, ``slice``, ``pad`` or dynamic (update) slice, and
                          input fusions around a ``concatenate``
copy                      device-to-device copies, memory sets
elementwise               every other fusion: arithmetic, broadcasts, constants
other                     Fourier transforms, other factorisations, random bits, unknown library calls
========================  ==========================================================================================

The result is what the root of the fused computation makes; bitcasts and conversions of type are looked through, and of several
results the largest counts. So XLA's fusions around a concatenation, which hold elementwise work too, are slice_concat,
as in published kernel profiles that tell families by XLA's names (``input_concatenate_fusion``): compare
elementwise and slice_concat as one band.
"""

from collections.abc import Collection, Sequence

OF_RESULT = {
    "dot": "gemm",
    "convolution": "gemm",
    "sort": "sort",
    "scatter": "gather_scatter",
    "select-and-scatter": "gather_scatter",
    "gather": "gather_scatter",
    "reduce": "reduce",
    "reduce-window": "reduce",
    "transpose": "transpose",
    "copy": "transpose",
    "reverse": "transpose",
    "concatenate": "slice_concat",
    "slice": "slice_concat",
    "pad": "slice_concat",
    "dynamic-slice": "slice_concat",
    "dynamic-update-slice": "slice_concat",
    "fft": "other",
    "rng-bit-generator": "other",
    "cholesky": "other",
    "triangular-solve": "triangular_solve",
}
"""Family of a fusion from the operation that makes its result; elementwise where absent."""

HEROES = ("scatter", "reduce", "transpose", "concatenate")
"""An input fusion is built around one operation: the first of these that makes a result, else that it holds."""

OF_LIBRARY = {
    "gemm": "gemm",
    "convolution": "gemm",
    "triangular_solve": "triangular_solve",
    "getrf": "lu",
    "triangular_inverse": "triangular_solve",
    "pivots": "lu",
    "topk": "sort",
    "sort": "sort",
}
"""Family of a library routine; other where absent."""

ATTENTION = ("attention", "mha", "mhs", "flash")


def tiled_hero(results: Collection[str], opcodes: Collection[str]) -> str:
    """Return what an input fusion is built around, from the opcodes of its results and of all its operations; '' if nothing known."""
    return next((opcode for held in (results, opcodes) for opcode in HEROES if opcode in held), "")


def fusion_family(results: Sequence[tuple[str, int]], opcodes: Collection[str], hero: str = "") -> str:
    """Return the family of a fusion.

    Parameters
    ----------
    results
        (opcode, bytes) of what each result comes from.
    opcodes
        All operations of the fused computation.
    hero
        What an input fusion (XLA's kInput) is built around, see ``tiled_hero``; '' for other fusions.
    """
    if "sort" in opcodes:
        return "sort"
    if hero:
        return OF_RESULT[hero]
    opcode = max(results, key=lambda r: r[1])[0] if results else ""
    return OF_RESULT.get(opcode, "elementwise")


def library_family(routine: str) -> str:
    """Return the family of a library routine, by its plain name ('gemm', 'getrf', ...)."""
    return OF_LIBRARY.get(routine, "other")


def triton_family(name: str) -> str:
    """Return the family of a kernel written in Triton, which only its author's name describes."""
    return "attention" if any(part in name.lower() for part in ATTENTION) else "other"
