"""How fast the engines are: launches a second, designs a second, loops stepped over."""

from dataclasses import replace
from typing import Any

import numpy as np

import codesign as cd
from arch.cost import cost_table
from benchmarks.rows import Row, best_of
from codesign.engine import fast, reference
from codesign.engine.builder import ProgramBuilder
from codesign.engine.evaluator import Evaluator
from codesign.engine.plan import plan
from codesign.engine.program import Program, Rows
from schedulers.cut_points import CutPoints
from schedulers.scheduler import Mapping
from traces import Table, Trace
from traces.compiled import compiled
from traces.recordings import load_recorded

US = 1e-6
TRACE = "ferminet-ch4-a5000"
MACHINE = "a5000+aim-fp32"


def rows() -> list[Row]:
    """Return the rates of both engines, of loops that are stepped over, and of designs."""
    trace = load_recorded(TRACE)
    return [*launch_rates(trace), *event_rates(), *mapped_rates(trace), *loop_rows(trace), *design_rows(trace)]


def two_devices(iterations: int, bodies: int = 100) -> Program:
    """A GPU and a PIM that feed each other, ten kernels and two hand-overs a turn, with memory traffic that cannot collide."""
    builder = ProgramBuilder(["gpu", "pim"], launch_interval_s=2 * US, launch_latency_s=3 * US, resources={"hbm": 768e9})
    with builder.loop(iterations):
        last = -1
        for body in range(bodies):
            for k in range(10):
                queue = "pim" if k in (3, 4, 8) else "gpu"
                changes = k in (0, 3, 5, 8) and last >= 0
                if queue == "pim" and k != 4:
                    last = builder.operation("pim", 2 * US, after=[last], claims={"hbm": 0.5})
                traffic = {"claims": {"hbm": 0.5}} if queue == "pim" else {"uses": {"hbm": 1e6}}
                last = builder.launch(queue, (4 + (k * 7 + body) % 13) * US, after=[last] if changes else [], **traffic)
    return builder.build()


def launch_rates(trace: Trace) -> list[Row]:
    """Launches a second of both engines on one two-device program, and of a loop that does nothing but schedule it."""
    program = two_devices(2000)
    quick = program.launches / best_of(lambda: fast.run(program, step_over=False, record=False))
    short = two_devices(20)
    slow = short.launches / best_of(lambda: reference.run(short))
    bare = program.executions.sum() / best_of(lambda: bare_schedule(program.ops.op, program.ops.dep, int(program.loops["count"][0])))
    operations = program.executions.sum() / program.launches * quick
    mapped = plan(trace, machine := cd.machine(MACHINE), Mapping(np.zeros(len(trace.kernels), np.int32), "gpu"), cost_table(trace, machine))
    real = mapped.launches / best_of(lambda: fast.run(mapped, step_over=False, record=False), 50)
    return [
        Row("fast engine, two devices, stepping off", quick, "launches/s", 20e6, "higher"),
        Row("reference engine, same program", slow, "launches/s", 40e3, "higher"),
        Row("fast over reference", quick / slow, "1", 300, "higher"),
        Row("share of a bare list schedule's speed", float(operations / bare), "1", None, "higher"),
        Row("fast engine, FermiNet CH4 on one device, stepping off", real, "launches/s", None, "higher"),
    ]


@compiled
def bare_schedule(ops: Rows, dep: np.ndarray[Any, np.dtype[np.int32]], iterations: int) -> int:
    """Return the makespan of a list schedule without host, queue depth, memory, sharing or totals."""
    free, end = np.zeros(8, np.int64), np.zeros(len(ops), np.int64)
    for _ in range(iterations):
        for i in range(len(ops)):
            op = ops[i]
            start = free[op.queue]
            for d in range(op.dep_start, op.dep_end):
                start = max(start, end[dep[d]])
            end[i] = free[op.queue] = start + op.duration
    return int(free.max())


def event_rates() -> list[Row]:
    """Launches a second where memory is shared, so that it takes the event-driven engine."""
    builder = ProgramBuilder(["gpu", "pim"], launch_interval_s=2 * US, launch_latency_s=3 * US, resources={"hbm": 768e9})
    with builder.loop(1000):
        for k in range(100):
            builder.launch("gpu", (4 + k % 7) * US, uses={"hbm": 3e6})
            builder.launch("pim", (3 + k % 5) * US, claims={"hbm": 0.5})
    program = builder.build()
    rate = program.launches / best_of(lambda: fast.run(program, step_over=False, record=False))
    return [Row("fast engine, event by event", rate, "launches/s", None, "higher")]


def mapped_rates(trace: Trace) -> list[Row]:
    """Launches a second of FermiNet cut between two devices: where nothing is shared, and where the devices share."""
    shared, attached = cd.machine(MACHINE), cd.machine(f"{MACHINE}@link")
    apart = replace(attached, links=tuple(replace(link, duplex_bandwidth=None) for link in attached.links))
    machines = {"attached, directions of the link apart": apart, "attached, directions share": attached, "in memory": shared}
    result = []
    for how, machine in machines.items():
        mapping = CutPoints(bytes_weight=0.01).schedule(trace, machine, cost_table(trace, machine))
        program = plan(trace, machine, mapping, cost_table(trace, machine, mapping.device))
        rate = program.launches / best_of(lambda p=program: fast.run(p, step_over=False, record=False), 50)
        result.append(Row(f"fast engine, FermiNet CH4 on {MACHINE} {how}, stepping off", rate, "launches/s", None, "higher"))
    return result


def loop_rows(trace: Trace) -> list[Row]:
    """Loops that are stepped over: a billion launches, and FermiNet with ten times the sampling steps."""
    builder = ProgramBuilder(["gpu", "pim"], launch_interval_s=2 * US, launch_latency_s=3 * US)
    with builder.loop(10**8):
        for _ in range(5):
            first = builder.launch("gpu", 10 * US)
            builder.launch("pim", 5 * US, after=[first])
    billion = builder.build()
    machine = cd.machine("a5000")
    once, ten = (gpu_program(changed, machine) for changed in (trace, ten_times(trace)))
    times = [min(best_of(lambda p=p: fast.run(p, record=False), 300) for _ in range(3)) for p in (once, ten)]
    return [
        Row("a billion launches of a constant body", best_of(lambda: fast.run(billion)), "s", 0.1, "lower"),
        Row("ten times the Metropolis steps, replay time", times[1] / times[0] - 1, "1", 0.05, "lower"),
    ]


def gpu_program(trace: Trace, machine: Any) -> Program:
    """Return the program of ``trace`` with everything on the first device."""
    return plan(trace, machine, Mapping(np.zeros(len(trace.kernels), np.int32), "gpu"))


def ten_times(trace: Trace) -> Trace:
    """Return ``trace`` with ten times the trips of its sampling loop."""
    regions = trace.regions.decoded()
    phases = trace.kernels["phase"]
    loops = [r for r in range(len(trace.regions)) if regions["kind"][r] == "loop" and phases[regions["first_kernel"][r]] == "sampling"]
    trips = regions["trip_count"].copy()
    trips[loops[0]] *= 10
    return Trace(trace.kernels, trace.tensors, trace.accesses, Table.build("regions", {**regions, "trip_count": trips}), trace.manifest)


def design_rows(trace: Trace) -> list[Row]:
    """Designs a second: new mappings priced, planned and replayed."""
    machine = cd.machine(MACHINE)
    allowed = cost_table(trace, machine).refusal[1] == 0
    random = np.random.default_rng(0)
    mappings = [Mapping((allowed & (random.random(len(allowed)) < 0.3)).astype(np.int32), "random") for _ in range(40)]
    evaluator = Evaluator(trace, machine)
    spent = best_of(lambda: [evaluator.evaluate(mapping) for mapping in mappings])
    return [Row(f"designs of {TRACE}: priced, planned, replayed", len(mappings) / spent, "1/s", 500, "higher")]
