"""Do both engines do what the documentation says, and the same?"""

import numpy as np
from hypothesis import HealthCheck, given, settings

from codesign.engine import fast, reference
from codesign.engine.program import Program, Records, Run
from tests.strategies.programs import programs

RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def expand(records: Records) -> list[tuple[int, int, int]]:
    """Write out the stretches that were stepped over: every instance of the program, in launch order."""
    rows = list(zip(records.op.tolist(), records.start_ps.tolist(), records.end_ps.tolist(), strict=True))
    steps = list(zip(records.step_first, records.step_end, records.step_count, records.step_period_ps, strict=True))
    inserted: dict[int, list[tuple[int, int, int]]] = {}
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
    assert not inserted
    return result


def totals(run: Run) -> tuple[int, int, int, list[float]]:
    return run.time_ps, run.host_bound_ps, run.launches_run + run.launches_stepped, run.elapsed_ps.tolist()


def agree(program: Program) -> None:
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


@RELAXED
@given(programs())
def test_engines_agree_event_by_event_with_and_without_stepping(program: Program) -> None:
    agree(program)
