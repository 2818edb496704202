"""Do the closed forms of register-file PIM agree with a controller that is stepped clock by clock, whatever the timing?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arch.pim import registers
from arch.pim.timing import timing
from arch.registered import find
from tests.pim_controller import Controller, elementwise, gemv

BASE = timing(find("dram-hbm2-pim"))
ONE = np.ones(1)
# What PIMSimulator (b464dde) prints: kernel, its tiles, refresh, clocks.
PRINTED = [
    ("gemv", (1, 2), False, 1138),
    ("gemv", (1, 3), False, 1479),
    ("gemv", (2, 8), False, 6319),
    ("gemv", (1, 8), True, 3662),
    ("gemv", (2, 8), True, 7037),
    ("tree", (1, 2), False, 1589),
    ("tree", (1, 8), False, 4316),
    ("tree", (2, 2), True, 2885),
    ("add", (2,), False, 1053),
    ("add", (40,), True, 14729),
    ("relu", (8,), False, 2041),
]


def stepped(kernel: str, tiles: tuple[int, ...], refresh: bool, t: dict[str, float]) -> int:
    if kernel in ("gemv", "tree"):
        return Controller(t, gemv(*tiles, tree=kernel == "tree"), refresh).clocks()
    return Controller(t, elementwise(tiles[0], 2 if kernel == "add" else 1), refresh).clocks()


def closed(kernel: str, tiles: tuple[int, ...], refresh: bool, t: dict[str, float]) -> float:
    if kernel in ("gemv", "tree"):
        return float(registers.gemv(t, ONE * tiles[0], ONE * tiles[1], refresh=refresh, tree=kernel == "tree").total[0])
    return float(registers.elementwise(t, ONE * tiles[0], ONE * (2 if kernel == "add" else 1), refresh=refresh).total[0])


@pytest.mark.parametrize(("kernel", "tiles", "refresh", "clocks"), PRINTED)
def test_the_controller_takes_as_long_as_the_simulator_prints(kernel: str, tiles: tuple[int, ...], refresh: bool, clocks: int) -> None:
    assert stepped(kernel, tiles, refresh, BASE) == clocks


@pytest.mark.parametrize(("kernel", "tiles", "refresh", "clocks"), PRINTED)
def test_the_closed_form_meets_it_to_the_clock_without_refresh(kernel: str, tiles: tuple[int, ...], refresh: bool, clocks: int) -> None:
    assert closed(kernel, tiles, refresh, BASE) == pytest.approx(clocks, rel=0.008 if refresh else 1e-9)


KERNELS = [("gemv", (2, 5)), ("tree", (1, 4)), ("add", (12,)), ("relu", (12,))]
CHANGES = {
    "tCCDL": (2, 8), "tCCDS": (1, 4), "RL": (10, 30), "WL": (4, 14), "BL": (4, 8), "tRTRS": (1, 4), "tWTRL": (4, 16), "tRTPL": (3, 12),
    "tRP": (7, 28), "tRCDRD": (7, 28), "tRCDWR": (5, 20), "tWR": (8, 32), "tRAS": (20, 66), "tRC": (40, 94), "tRRDS": (2, 6),
}  # fmt: skip


@settings(max_examples=25)
@given(st.sampled_from(sorted(CHANGES)), st.floats(0, 1), st.sampled_from(KERNELS))
def test_one_timing_parameter_more_or_less_changes_both_alike(name: str, at: float, kernel: tuple[str, tuple[int, ...]]) -> None:
    low, high = CHANGES[name]
    value = 2 * round((low + at * (high - low)) / 2) if name == "BL" else round(low + at * (high - low))
    t = {**BASE, name: float(value)}
    assert closed(*kernel, False, t) == pytest.approx(stepped(*kernel, False, t), rel=0.025)


@settings(max_examples=6)
@given(st.integers(120, 600), st.integers(1500, 8000), st.sampled_from([("gemv", (3, 8)), ("add", (30,))]))
def test_refreshes_cost_both_alike(refresh_time: int, interval: int, kernel: tuple[str, tuple[int, ...]]) -> None:
    t = {**BASE, "tRFC": float(refresh_time), "tREFI": float(interval)}
    assert closed(*kernel, True, t) == pytest.approx(stepped(*kernel, True, t), rel=0.05)
