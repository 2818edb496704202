"""What library calls do: routine, matrix sizes, work, and how many kernels one call launches.

Launches by a documented rule, since the libraries are closed:

- matrix product (cublasLt): 1 (a split along k would add a reduction; which shapes split is not known without the GPU).
- triangular solve: 1; batched, 3: XLA's thunk fills two arrays of pointers before cublasTrsmBatched
  (https://github.com/openxla/xla/blob/main/xla/backends/gpu/runtime/triangular_solve_thunk.cc).
- getrf: batched (more than one square matrix, n / batch <= 128), 2 up to n = 32: pointers, then one cublasGetrfBatched kernel that
  holds a matrix on chip; above, 1 + 3 a panel of 32 columns (panel, triangular solve, update). Not batched: 3 a panel and matrix
  (https://github.com/jax-ml/jax/blob/main/jaxlib/gpu/solver_kernels_ffi.cc chooses).
- sytrf: 1 a column and 4 a panel of 32, matrix by matrix.
- potrf: 3 a panel of 8 columns (diagonal block, triangular solve, update), of all matrices of a batch at once, which has one more for
  the pointers. geqrf: 1 a column (the reflection and what it does to the panel) and 4 a panel of 32 (its triangular factor, three
  products); orgqr: 5 a panel. Both run matrix by matrix, except that geqrf of up to 128 rows and columns a matrix of the batch is batched.
  With these counts PyTorch's published times of the routines on an H100 come out within a factor of two for one matrix: cholesky of 16 to
  2,048 rows 35 to 1,954 us (https://github.com/pytorch/pytorch/pull/173515), qr of 128 x 32 189 us (173788).
- eigenvalues and singular values: ``traces.capture.spectral``.
- everything else: 1.

Work: getrf 2/3 n^3 a square matrix (m n^2 - n^3 / 3 in general), triangular solve n^2 a right-hand side, potrf and sytrf n^3 / 3, geqrf
2 m n^2 - 2/3 n^3, orgqr 4 m n k - 2 (m + n) k^2 + 4/3 k^3 of k reflections, ormqr 4 m n k - 2 n k^2 (LAPACK Working Note 41, appendix
C), all as matrix FLOP: blocked algorithms spend them in products, which the solver library never rounds. A convolution is the product
that it is: m outputs, n channels of a group, k weights of one output; its two gradients have the same three sizes in other roles. A
Fourier transform counts 5 n log2 n (Cooley and Tukey's operation count, as FFTW reports it), as vector FLOP.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from traces.capture import spectral
from traces.capture.hlo import Index, Instruction, Shape
from traces.capture.work import Flops, multiply_add

PANEL, CHOLESKY_PANEL = 32, 8
"""Columns of a panel in the launch rules, of LU and QR and of Cholesky factorisations."""
BATCHED_ROWS = 128
"""Rows, or columns, a matrix of the batch up to which JAX calls the batched routine (jaxlib, gpu/solver_kernels_ffi.cc)."""

UNKNOWN = Flops(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Call:
    """A library call. ``shares`` gives, for an operand of which only a part is touched, that part (a triangle)."""

    routine: str
    flops: Flops = UNKNOWN
    launches: int = 1
    batch: int = -1
    m: int = -1
    n: int = -1
    k: int = -1
    precision: str = ""
    shares: dict[int, float] = field(default_factory=dict)


def describe(instruction: Instruction) -> Call:
    """Return what a library instruction (custom call, fft) does; an unknown one has unknown work."""
    if instruction.opcode == "fft":
        return _fourier(instruction)
    target = instruction.target
    for prefix, reader in _READERS:
        if target.startswith(prefix):
            return reader(instruction)
    return Call(_plain(target))


def workspaces(instruction: Instruction) -> list[Index]:
    """Return the results that are scratch memory: the last one of a tuple, of bytes, that nobody reads."""
    elements = instruction.shape.elements
    if instruction.opcode != "custom-call" or not elements or elements[-1].dtype not in ("s8", "u8") or len(elements) < 2:
        return []
    last = len(elements) - 1
    for user in instruction.computation.instructions.values():
        if instruction.name in user.operands and (user.opcode != "get-tuple-element" or int(user.attributes["index"]) == last):
            return []
    return [(last,)]


def triton_name(instruction: Instruction) -> str:
    """Return the name that a Triton custom call's author gave the kernel; '' if it is none."""
    if instruction.target != "__gpu$xla.gpu.triton":
        return ""
    found = _TRITON_NAME.search(instruction.attributes.get("backend_config", "").replace('\\\\"', '"'))
    return found.group(1) if found else "triton"


_TRITON_NAME = re.compile(r'\bname\s*[=:]\s*\\?"([^"\\]+)')


def _plain(target: str) -> str:
    return target.strip("_").replace("$", ".").removesuffix("_ffi")


def _gemm(instruction: Instruction) -> Call:
    config = instruction.backend_config.get("gemm_backend_config", {})
    numbers = config.get("dot_dimension_numbers", {})
    lhs, rhs = instruction.operand(0).shape, instruction.operand(1).shape
    batch, k = _product(lhs, numbers, "lhs_batch_dimensions"), _product(lhs, numbers, "lhs_contracting_dimensions")
    m = lhs.size // max(1, batch * k)
    n = rhs.size // max(1, batch * k)
    flops = Flops(matrix=multiply_add(lhs.dtype) * batch * m * n * k) + _epilogue(config, float(batch * m * n))
    return Call("gemm", flops, 1, batch, m, n, k, precision_of(config.get("precision_config", {})))


def _product(shape: Shape, numbers: dict[str, Any], key: str) -> int:
    return prod(shape.dims[int(d)] for d in numbers.get(key, []))


def _epilogue(config: dict[str, Any], elements: float) -> Flops:
    """Work on the product's elements: scaling and adding C, bias, ReLU (one FLOP each), GELU (tanh form: 8 and one tanh)."""
    kind = str(config.get("epilogue", "DEFAULT"))
    vector = float("BIAS" in kind) + float("RELU" in kind) + 8.0 * float("GELU" in kind)
    vector += float(config.get("alpha_real", 1) != 1)
    beta = config.get("beta", 0)
    vector += 0.0 if beta == 0 else 1.0 if beta == 1 else 2.0
    return Flops(0.0, vector * elements, elements * float("GELU" in kind))


_ALGORITHMS = {"ALG_DOT_F32_F32_F32": "highest", "ALG_DOT_TF32_TF32_F32_X3": "high", "ALG_DOT_BF16_BF16_F32_X6": "highest"}


def precision_of(config: dict[str, Any]) -> str:
    """Return the matmul precision that a dot's precision_config asks for: default, high or highest."""
    if config.get("algorithm", "ALG_UNSET") in _ALGORITHMS:
        return _ALGORITHMS[config["algorithm"]]
    asked = {str(p).lower() for p in config.get("operand_precision", [])}
    return next((p for p in ("highest", "high") if p in asked), "default")


def _convolution(instruction: Instruction) -> Call:
    """Return 2 multiply-adds for each element of the forward result and of the kernel for one output feature."""
    shapes = [instruction.operand(0).shape, instruction.operand(1).shape, instruction.shape.at((0,))]
    if "BackwardInput" in instruction.target:
        shapes = [shapes[2], shapes[1], shapes[0]]
    elif "BackwardFilter" in instruction.target:
        shapes = [shapes[0], shapes[2], shapes[1]]
    labels = instruction.attributes["dim_labels"].split("_")[1].split("->")[0]
    channels = max(1, shapes[1].dims[labels.index("o")])
    groups = max(1, int(instruction.attributes.get("feature_group_count", 1)))
    m, n, k = shapes[2].size // channels, channels // groups, shapes[1].size // channels
    flops = Flops(matrix=multiply_add(shapes[1].dtype) * shapes[2].size * k)
    return Call("convolution", flops, 1, groups, m, n, k, asked_precision(instruction))


def asked_precision(instruction: Instruction) -> str:
    """Return the precision that an instruction's operand_precision asks for: default, high or highest."""
    asked = instruction.attributes.get("operand_precision", "")
    return "highest" if "highest" in asked else "high" if "high" in asked else "default"


def _matrices(shape: Shape) -> tuple[int, int, int]:
    """Return batch, rows and columns."""
    return prod(shape.dims[:-2]), shape.dims[-2], shape.dims[-1]


def triangular_solve(batch: int, n: int, rhs: int) -> Call:
    """Return what a solve with ``batch`` triangles of order n does, each with ``rhs`` right-hand sides."""
    flops = Flops(matrix=float(batch) * n * n * rhs)
    return Call("triangular_solve", flops, 3 if batch > 1 else 1, batch, n, rhs, shares={0: (n + 1) / (2 * n)} if n else {})


def _triangular_solve(instruction: Instruction) -> Call:
    batch, _, n = _matrices(instruction.operand(0).shape)
    return triangular_solve(batch, n, instruction.operand(1).shape.size // max(1, n * batch))


def getrf(batch: int, m: int, n: int) -> Call:
    """Return what an LU factorisation of ``batch`` matrices of m rows and n columns does."""
    panels = -(-min(m, n) // PANEL)
    is_batched = batch > 1 and m == n and n // batch <= BATCHED_ROWS
    batched = 2 if panels <= 1 else 1 + 3 * panels
    launches = batched if is_batched else max(1, 3 * panels * batch)
    small, large = min(m, n), max(m, n)
    return Call("getrf", Flops(matrix=batch * (large * small**2 - small**3 / 3.0)), launches, batch, m, n)


def _getrf(instruction: Instruction) -> Call:
    return getrf(*_matrices(instruction.operand(0).shape))


def potrf(batch: int, n: int) -> Call:
    """Return what a Cholesky factorisation of ``batch`` matrices of order n does."""
    launches = 3 * -(-n // CHOLESKY_PANEL) + (batch > 1)
    shares = {0: (n + 1) / (2 * n)} if n else {}
    return Call("potrf", Flops(matrix=batch * n**3 / 3.0), max(1, launches), batch, n, n, precision="highest", shares=shares)


def _potrf(instruction: Instruction) -> Call:
    batch, _, n = _matrices(instruction.operand(0).shape)
    return potrf(batch, n)


def sytrf(batch: int, n: int) -> Call:
    """Return what factorising ``batch`` symmetric matrices of order n without square roots does; a column and a panel as in QR."""
    launches = batch * (n + 4 * -(-n // PANEL))
    return Call("sytrf", Flops(matrix=batch * n**3 / 3.0), max(1, launches), batch, n, n, precision="highest")


def _lu_block(instruction: Instruction) -> Call:
    """XLA's own LU factorisation on TPUs."""
    a = instruction.operand(0).shape
    m, n, batch = a.dims[-2], a.dims[-1], prod(a.dims[:-2])
    return Call("getrf", Flops(matrix=batch * (m * n**2 - n**3 / 3)), 1, batch, m, n)


def _triangular_inverse(instruction: Instruction) -> Call:
    """XLA's own triangular solve on TPUs inverts the blocks of the diagonal: n^3 / 3 a block."""
    a = instruction.operand(0).shape
    n, batch = a.dims[-1], prod(a.dims[:-2])
    return Call("triangular_inverse", Flops(matrix=batch * n**3 / 3), 1, batch, n, n)


def geqrf(batch: int, m: int, n: int) -> Call:
    """Return what a QR factorisation of ``batch`` matrices of m rows and n columns does."""
    small, large = min(m, n), max(m, n)
    one = small + 4 * -(-small // PANEL)
    launches = 1 + one if batch > 1 and large // batch <= BATCHED_ROWS else batch * one
    flops = Flops(matrix=batch * (2.0 * large * small**2 - 2.0 / 3.0 * small**3))
    return Call("geqrf", flops, max(1, launches), batch, m, n, precision="highest")


def _geqrf(instruction: Instruction) -> Call:
    return geqrf(*_matrices(instruction.operand(0).shape))


def orgqr(batch: int, m: int, n: int, k: int) -> Call:
    """Return what forming n columns of the orthogonal factor of ``batch`` QR factorisations does, each of k reflections of m rows."""
    flops = Flops(matrix=batch * (4.0 * m * n * k - 2.0 * (m + n) * k**2 + 4.0 / 3.0 * k**3))
    return Call("orgqr", flops, max(1, batch * 5 * -(-k // PANEL)), batch, m, n, precision="highest")


def ormqr(batch: int, m: int, n: int, k: int) -> Call:
    """Return what applying k reflections of m rows to ``batch`` matrices of n columns does."""
    flops = Flops(matrix=batch * (4.0 * m * n * k - 2.0 * n * k**2))
    return Call("ormqr", flops, max(1, batch * 5 * -(-k // PANEL)), batch, m, n, precision="highest")


def _orgqr(instruction: Instruction) -> Call:
    return orgqr(*_matrices(instruction.operand(0).shape), instruction.operand(1).shape.dims[-1])


def eigen(batch: int, n: int, *, jacobi: bool, vectors: bool = True) -> Call:
    """Return what the eigenvalues of ``batch`` symmetric matrices of order n take, as ``spectral.eigen`` counts."""
    return _spectrum(spectral.eigen(batch, n, jacobi=jacobi, vectors=vectors), batch, n, n)


def singular(batch: int, m: int, n: int, *, driver: str, vectors: bool = True, full: bool = True) -> Call:
    """Return what the singular values of ``batch`` m by n matrices take, as ``spectral.singular`` counts."""
    return _spectrum(spectral.singular(batch, m, n, driver=driver, vectors=vectors, full=full), batch, m, n)


def _spectrum(found: spectral.Spectrum, batch: int, m: int, n: int) -> Call:
    return Call(found.routine, Flops(matrix=found.flops), max(1, found.launches), batch, m, n, precision="highest")


def _eigen(instruction: Instruction) -> Call:
    """JAX's: by rotations where asked for, and by default up to 32 rows (jaxlib/gpu/solver_kernels_ffi.cc); vectors always."""
    batch, _, n = _matrices(instruction.operand(0).shape)
    asked = re.search(r"algorithm = (\d)", instruction.attributes.get("backend_config", ""))
    algorithm = int(asked[1]) if asked else 0
    jacobi = algorithm == _BY_ROTATIONS or (algorithm == 0 and n <= spectral.BATCHED_ROWS) or "syevj" in instruction.target
    return eigen(batch, n, jacobi=jacobi)


_BY_ROTATIONS = 2
"""SyevdAlgorithm of jaxlib: 0 by size, 1 divide and conquer, 2 Jacobi."""


def _singular(instruction: Instruction) -> Call:
    """JAX's, which chooses the driver itself and names it in the call."""
    config = instruction.attributes.get("backend_config", "")
    driver = next(name for name in ("gesvdj", "gesvdp", "gesvd") if name in instruction.target)
    vectors, full = "compute_uv = false" not in config, "full_matrices = false" not in config
    return singular(*_matrices(instruction.operand(0).shape), driver=driver, vectors=vectors, full=full)


def _pivots(instruction: Instruction) -> Call:
    return Call("pivots", Flops())


def _topk(instruction: Instruction) -> Call:
    return Call("topk", Flops())


def _fourier(instruction: Instruction) -> Call:
    lengths = instruction.integers("fft_length")
    n = prod(lengths)
    size = max(instruction.operand(0).shape.size, instruction.shape.size)
    return Call("fft", Flops(vector=5.0 * size * math.log2(n) if n > 1 else 0.0))


_READERS: tuple[tuple[str, Callable[[Instruction], Call]], ...] = (
    ("__cublas$lt$matmul", _gemm),
    ("__cublas$gemm", _gemm),
    ("__cudnn$conv", _convolution),
    ("__cublas$triangularSolve", _triangular_solve),
    ("cusolver_getrf", _getrf),
    ("cu_lu_pivots_to_permutation", _pivots),
    ("cusolver_potrf", _potrf),
    ("__cusolver$cholesky", _potrf),
    ("LuDecompositionBlock", _lu_block),
    ("InvertDiagBlocks", _triangular_inverse),
    ("cusolver_geqrf", _geqrf),
    ("cublas_geqrf", _geqrf),
    ("cusolver_orgqr", _orgqr),
    ("cusolver_syev", _eigen),
    ("cusolver_gesvd", _singular),
    ("__gpu$TopK", _topk),
    ("__cub$", lambda instruction: Call("sort", Flops())),
)
