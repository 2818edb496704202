"""Both engines run a program: do they say the same of every instance?"""

import numpy as np

from codesign.engine import fast, reference
from codesign.engine.program import Program, Records, Run


def expand(records: Records) -> list[tuple[int, int, int]]:
    """Write out the stretches that were stepped over: every instance of the program, in launch order."""
    rows = list(zip(records.op.tolist(), records.start_ps.tolist(), records.end_ps.tolist(), strict=True))
    steps = list(zip(records.step_first, records.step_end, records.step_count, records.step_period_ps, strict=True))
    result: list[tuple[int, int, int]] = []
    position = {}
    for at in range(len(rows) + 1):
        for first, _, count, period in [s for s in steps if s[1] == at]:
            stretch = result[position[first] :]
            for k in range(1, int(count) + 1):
                result += [(op, start + k * int(period), end + k * int(period)) for op, start, end in stretch]
        position[at] = len(result)
        if at < len(rows):
            result.append(rows[at])
    return result


def totals(run: Run) -> tuple[int, int, int, list[float]]:
    """Return makespan, time that the host bounds (both ps), launches, and elapsed time by operation."""
    return run.time_ps, run.host_bound_ps, run.launches_run + run.launches_stepped, run.elapsed_ps.tolist()


def agree(program: Program) -> None:
    """Fail unless the engines agree event by event, with and without stepping over what repeats."""
    truth = reference.run(program)
    plain = fast.run(program, step_over=False)
    assert plain.records is not None
    assert truth.records is not None
    np.testing.assert_array_equal(plain.records.op, truth.records.op)
    np.testing.assert_array_equal(plain.records.start_ps, truth.records.start_ps)
    np.testing.assert_array_equal(plain.records.end_ps, truth.records.end_ps)
    assert totals(plain) == totals(truth)
    stepped = fast.run(program)
    assert stepped.records is not None
    assert expand(stepped.records) == expand(truth.records)
    assert totals(stepped) == totals(truth)
