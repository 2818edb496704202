"""Closed forms of Pimba's state-update units and of the designs it is compared with: rounds over all banks of a pseudo-channel.

A round opens one row in every bank while operands are written to the units, computes on its columns, closes the rows and
reads results out. All times are in clocks and built from the named timing parameters of a ``dram`` entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch.work import Float
from traces.errors import MachineError

Timing = Mapping[str, float]

DESIGNS = {"Pimba": 2.0, "Pipelined": 2.0, "Time-multiplexed": 4.0, "HBM-PIM": 8.0}
"""Commands a column of a state update by design: Pimba's pipeline reads and writes back, the others pass more often."""
OPERATIONS = ("SU", "SCORE", "ATTEND")
_ATTENTION_COMMANDS = 2.0
_RESULTS = 8.0
"""Accesses of result for every byte of an element."""
_STATE_OPERANDS = 3.0
"""Vectors beside the values that a row of a state needs, written once as long as a bank stays in that row."""


@dataclass(frozen=True)
class Shape:
    """Bytes of an access and of a row, pseudo-channels of a channel, groups of four banks that open together."""

    access: float = 32.0
    page: float = 1024.0
    pseudo_channels: float = 2.0
    groups: float = 4.0
    banks: float = 16.0

    @property
    def columns(self) -> float:
        """Column accesses of a row."""
        return self.page / self.access


@dataclass(frozen=True, eq=False)
class Rounds:
    """Rounds of one pseudo-channel, shape [kernels]: how many, of how many pseudo-channels, and what each does."""

    count: Float
    used: Float
    first_writes: float
    """Operands written for a group of banks in a round that starts new rows of the state."""
    next_writes: float
    """In a round that goes on in them."""
    period: Float
    """Rounds from one that starts new rows to the next."""
    commands: float
    results: float

    def starting(self) -> Float:
        """Rounds that start new rows of the state."""
        return np.ceil(self.count / self.period)


def rounds(
    operation: str, design: str, heads: Float, rows: Float, columns: Float, element: float, channels: Float, *, whole: bool = False
) -> Rounds:
    """Return the rounds of ``heads`` states (or key or value caches) of ``rows`` x ``columns`` elements of ``element`` bytes.

    Banks take blocks in turn; blocks that do not fill all pseudo-channels once more are left out, as the simulator's trace
    does, unless ``whole``. Raises MachineError for an unknown operation or design.
    """
    if operation not in OPERATIONS or design not in DESIGNS:
        raise MachineError(f"a state update is one of {', '.join(OPERATIONS)} on {', '.join(DESIGNS)}, but got {operation!r} on {design!r}")
    shape = Shape()
    blocks = np.ceil(rows * element / shape.access) * heads
    across = np.ceil(columns / shape.columns)
    rounds_of_one = np.ceil(blocks * across / shape.banks)
    available = channels * shape.pseudo_channels
    used = np.minimum(rounds_of_one, available)
    update = operation == "SU"
    shared = np.ceil(used * shape.banks / blocks)  # banks that work on one row of the state
    return Rounds(
        count=np.ceil(rounds_of_one / available) if whole else np.maximum(np.floor(rounds_of_one / available), 1.0),
        used=used,
        first_writes=4 * (_STATE_OPERANDS + element) if update else 4.0,
        next_writes=4 * element if update else 4.0,
        period=np.maximum(np.floor(across / shared), 1.0) if update else np.maximum(rounds_of_one, 1.0),
        commands=shape.columns * (DESIGNS[design] if update else _ATTENTION_COMMANDS),
        results=_RESULTS if operation == "ATTEND" else _RESULTS * element,
    )


def _write(t: Timing, writes: float) -> float:
    """Operands of a group of banks."""
    return writes * max(t["nCCDL"], t["nBL"]) + 2


def _body(t: Timing, r: Rounds, writes: float) -> float:
    """First activation of a round to its precharge: groups of banks open one after the other while operands come in."""
    opening = max(t["nRRDS"], t["nFAW"], _write(t, writes))
    ready = max(t["nRCDRD"], t["nRCDWR"], _write(t, writes))
    computed = ready + (r.commands - 1) * t["nCCDL"] + max(t["nRTPL"], t["nWR"])
    return (Shape().groups - 1) * opening + max(computed, t["nRAS"])


def _between(t: Timing, r: Rounds) -> float:
    """The precharge of a round to the first activation of the next: results leave meanwhile."""
    return max(t["nRP"], r.results * max(t["nCCDL"], t["nBL"]) + 1) + 2


def _estimate(t: Timing, r: Rounds, writes: float) -> float:
    """What the simulator allows for a round when it decides whether one still fits before the next refresh is due."""
    column = max(t["nBL"], t["nCCDL"])
    written = 1 + np.floor((Shape().groups * writes + 3) / 4) * column
    return float(
        3 * max(t["nRRDS"], t["nFAW"], written)
        + max(t["nRCDRD"], t["nRCDWR"], written)
        + max(t["nRP"], r.results * column)
        + r.commands * t["nCCDL"]
        + max(t["nRTPL"], t["nWR"])
    )


def clocks(t: Timing, r: Rounds, *, waits_at_refresh: bool = False) -> Float:
    """Return the clocks of kernels, shape [kernels]; nothing is refreshed.

    ``waits_at_refresh`` is a peculiarity of Pimba's simulator: a round that would not end before the next refresh is due
    starts after it, although no refresh is ever issued.
    """
    new, old = _body(t, r, r.first_writes), _body(t, r, r.next_writes)
    between, start = _between(t, r), 5.0
    if not waits_at_refresh:
        starting = r.starting()
        return np.asarray(start + starting * new + (r.count - starting) * old + (r.count - 1) * between, dtype=np.float64)
    needs = _estimate(t, r, r.first_writes), _estimate(t, r, r.next_writes)
    now = np.ones(np.shape(r.count))  # when the barrier of a round may pass
    done = np.zeros(np.shape(r.count))
    for index in range(int(np.max(r.count, initial=0))):
        starts = index % r.period == 0
        body, need = np.where(starts, new, old), np.where(starts, *needs)
        late = np.mod(now, t["nREFI"]) + need >= t["nREFI"]
        begin = np.where(late & (need < t["nREFI"]), (np.floor(now / t["nREFI"]) + 1) * t["nREFI"], now)
        done = np.where(index < r.count, begin + body, done)
        now = begin + body + between
    return done + start - 1
