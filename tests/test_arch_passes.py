"""Does what a factorisation passes over again cost L2 and DRAM what it moves, and a batch of small rotations its dependent steps?"""

import numpy as np
import pytest

from arch import solvers
from arch.facts import facts
from arch.passes import Passes
from arch.registered import find
from arch.work import Work
from tests.toys import Toy
from traces.capture.spectral import SWEEPS


def passes(routine: str, batch: int, m: int, n: int) -> Passes:
    toy = Toy()
    toy.kernel(name=routine, family="other", launch_kind="library", library=routine, batch=batch, m=m, n=n, flops_matrix=1.0)
    return Passes.of(facts(Work.of(toy.build())))


def test_cholesky_reads_and_writes_the_triangle_that_is_left_once_a_panel_of_eight() -> None:
    n = 1024
    counted = sum(2 * (n - 8 * j) ** 2 / 2 * 4 for j in range(n // 8))
    assert passes("potrf", 3, n, n).bytes[0] == pytest.approx(3 * counted, rel=0.02)


@pytest.mark.parametrize(("routine", "counted"), [
    ("syevd", lambda m, n: sum((n - j) ** 2 / 2 for j in range(n))),
    ("gesvd", lambda m, n: sum(2 * (m - j) * (n - j) for j in range(n))),
    ("geqrf", lambda m, n: sum(3 * (m - 32 * j) * (n - 32 * j) for j in range(n // 32))),
])  # fmt: skip
def test_passes_over_what_is_left_are_counted_column_by_column(routine: str, counted: object) -> None:
    m = n = 2048
    assert callable(counted)
    assert passes(routine, 1, m, n).bytes[0] == pytest.approx(4 * counted(m, n), rel=0.03)


def test_kernels_of_other_routines_pass_over_nothing() -> None:
    assert len(passes("gemm", 4, 1024, 1024).rows) == 0


def test_dram_serves_the_passes_of_what_l2_does_not_hold() -> None:
    """A batch of Cholesky factorisations runs at once; eigenvalues run matrix by matrix, so that a batch holds no more than one does."""
    entry = find("h100-sxm")
    small, large = (passes("potrf", batch, 1024, 1024) for batch in (2, 64))  # 8 and 256 MiB beside 50 MB of L2
    assert small.from_dram(entry)[0] == 0
    assert large.from_dram(entry)[0] == large.bytes[0] == 32 * small.bytes[0]
    assert passes("syevd", 64, 1024, 1024).from_dram(entry)[0] == 0


def test_rotations_of_small_matrices_wait_for_each_other_however_few_there_are() -> None:
    numbers = solvers.Numbers.of(find("a100-sxm-80gb"))
    step = 5 * (numbers.shuffle + numbers.arithmetic) + 3 * numbers.divide + 2 * numbers.shared
    expected = SWEEPS * 15 * step / numbers.clock_hz + 2 * numbers.memory_s
    one, many, more = solvers.rotations_s(numbers, np.array([1.0, numbers.slots, numbers.slots + 1]), np.full(3, 16.0))
    assert one == pytest.approx(expected)
    assert many == one
    assert more == pytest.approx(2 * one, rel=0.1)
