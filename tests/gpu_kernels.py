"""Single kernels made by hand, and what a GPU of the catalogue charges for them."""

from typing import Any

import arch
from arch.gpu import GPU
from arch.work import Prices, Work
from tests.toys import Toy


def gpu(name: str = "a5000") -> GPU:
    """Return a GPU of the catalogue."""
    return arch.machine(name).gpu


def price(toy: Toy, name: str = "a5000", **manifest: Any) -> Prices:
    """Return the prices of a toy's kernels on a GPU."""
    return gpu(name).price(Work.of(toy.build(**manifest)))


def elementwise(size: int, grid: int = 2048, **columns: Any) -> Toy:
    """One kernel that adds two tensors of ``size`` bytes into a third, none of which anything touched before."""
    toy = Toy()
    for name in "xyz":
        toy.tensor(name, size)
    toy.kernel("add", ["x", "y"], ["z"], flops_vector=size / 4, grid_x=grid, **columns)
    return toy


def product(m: int, n: int, k: int, precision: str = "highest", batch: int = 1, dtype: str = "f32") -> Toy:
    """One library call that multiplies ``batch`` matrices."""
    size = 4 if dtype == "f32" else 2
    toy = Toy()
    for name, elements in (("a", m * k), ("b", k * n), ("c", m * n)):
        toy.tensor(name, batch * elements * size)
    toy.kernel(
        "gemm", ["a", "b"], ["c"], family="gemm", launch_kind="library", library="gemm", precision=precision, dtype=dtype,
        batch=batch, m=m, n=n, k=k, flops_matrix=2.0 * batch * m * n * k, flops_vector=0.0,
        grid_x=-1, grid_y=-1, grid_z=-1, block_x=-1, block_y=-1, block_z=-1, registers=-1,
    )  # fmt: skip
    return toy
