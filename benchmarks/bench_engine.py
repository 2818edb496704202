"""How fast planning, pricing and replay are with everything switched on, and how they grow."""

import resource
import sys

import numpy as np

import codesign as cd
from arch.cost import cost_table
from benchmarks.bench_replay import US
from benchmarks.rows import Row, best_of
from codesign.engine import fast
from codesign.engine.builder import ProgramBuilder
from codesign.engine.disturb import disturb
from codesign.engine.evaluator import Evaluator
from codesign.engine.program import Program
from codesign.engine.usage import usage
from schedulers.scheduler import Mapping
from traces import Table, Trace
from traces.recordings import load_recorded

TRACE = "psiformer-c4h4-a5000"


def rows() -> list[Row]:
    """Return the rates with links and memory tracked, of loops of several kinds, of pricing, of designs, and the growth."""
    return [*tracked_rows(), *loop_rows(), *pricing_rows(), *design_rows(), *growth_rows()]


def three_devices(iterations: int, bodies: int = 60) -> Program:
    """A GPU, PIM in its memory and a host behind a link, which feed each other; memory is taken and released all along."""
    builder = ProgramBuilder(
        ["gpu", "pim", "cpu", "down", "up"],
        launch_interval_s=2 * US,
        launch_latency_s=3 * US,
        resources={"hbm": 768e9, "dram": 50e9},
        memories={"hbm": 24 << 30, "dram": 128 << 30},
    )
    with builder.loop(iterations):
        last = -1
        for body in range(bodies):
            for k in range(8):
                first = builder.launch(
                    "gpu", (4 + (k * 7 + body) % 13) * US, uses={"hbm": 1e6}, after=[last] if last >= 0 and k == 0 else ()
                )
                builder.memory(first, "hbm", 1 << 20)
                builder.memory(first, "hbm", -(1 << 20), at_end=True)
            handed = builder.operation("pim", 2 * US, after=[first], claims={"hbm": 0.25})
            second = builder.launch("pim", 5 * US, after=[handed], claims={"hbm": 0.25})
            down = builder.operation("down", 3 * US, after=[second], uses={"hbm": 3e4, "dram": 3e4})
            builder.memory(down, "dram", 1 << 20)
            third = builder.launch("cpu", 6 * US, after=[down], uses={"dram": 6e4})
            last = builder.operation("up", 3 * US, after=[third], uses={"hbm": 3e4, "dram": 3e4})
            builder.memory(last, "dram", -(1 << 20), at_end=True)
            builder.launch("gpu", 1 * US, after=[last])
    return builder.build()


def tracked_rows() -> list[Row]:
    """Operations a second with three devices and links, with memory followed in launch order, and with its timeline."""
    program = three_devices(4000)
    operations = float(program.executions.sum())
    plain = operations / best_of(lambda: fast.run(program, step_over=False, record=False))
    short = three_devices(150)

    def timeline() -> object:
        records = fast.run(short, step_over=False).records
        assert records is not None
        return usage(short, records)

    whole = float(short.executions.sum()) / best_of(timeline)
    return [
        Row("fast engine, three devices and links, totals only, stepping off", plain, "operations/s", 10e6, "higher"),
        Row("the same, recorded, with every memory over time", whole, "operations/s", 10e6, "higher"),
    ]


def decode(positions: int) -> Program:
    """A decode loop: each position is 32 layers of a GPU's and a PIM's kernels that last longer with the position."""
    builder = ProgramBuilder(["gpu", "pim"], launch_interval_s=2 * US, launch_latency_s=3 * US)
    for position in range(positions):
        grown = (5 + position * 0.01) * US
        with builder.loop(32):
            first = builder.launch("gpu", 10 * US)
            builder.launch("pim", grown, after=[first])
    return builder.build()


def loop_rows() -> list[Row]:
    """Loops: constant, of a decode whose kernels grow, and with jitter."""
    builder = ProgramBuilder(["gpu", "pim"], launch_interval_s=2 * US, launch_latency_s=3 * US)
    with builder.loop(10**9 // 8):
        for k in range(4):
            first = builder.launch("gpu", (10 + k) * US)
            builder.launch("pim", 5 * US, after=[first])
    billion, steps = builder.build(), decode(4096)
    jittered = disturb(three_devices(100), [], spread=0.1, seed=1)
    return [
        Row("a billion launches of a body of eight", best_of(lambda: fast.run(billion)), "s", 0.1, "lower"),
        Row("a decode loop of 4,096 positions, 64 kernels each", best_of(lambda: fast.run(steps, record=False)), "s", None, "lower"),
        Row(
            "three devices with jitter, event by event",
            float(jittered.executions.sum()) / best_of(lambda: fast.run(jittered, record=False)),
            "operations/s",
            None,
            "higher",
        ),
    ]


def pricing_rows() -> list[Row]:
    """Pairs of kernel and device priced a second: a long trace on a GPU, PIM and a CPU, all terms."""
    trace = repeated(load_recorded(TRACE), 40)
    machine = cd.machine("a5000+aim-fp32+cpu+dram")
    pairs = len(trace.kernels) * len(machine.devices)
    clock = machine.parameters["clock_hz"].value
    others = iter([machine.with_(clock_hz=clock * (0.7 + 0.02 * n)) for n in range(6)])  # prices of one machine are kept
    spent = best_of(lambda: cost_table(trace, next(others)))
    return [Row(f"pricing, {len(trace.kernels):,} kernels on {len(machine.devices)} devices", pairs / spent, "pairs/s", 5e6, "higher")]


def repeated(trace: Trace, times: int) -> Trace:
    """Return a trace with the kernels of another ``times`` times, in one region."""
    kernels, accesses, regions = trace.kernels.decoded(), trace.accesses.decoded(), trace.regions.decoded()
    many = {name: np.tile(values, times) for name, values in kernels.items()}
    many["region"] = np.zeros(len(many["region"]), np.int32)
    touched = {name: np.tile(values, times) for name, values in accesses.items()}
    touched["kernel"] = touched["kernel"] + np.repeat(np.arange(times) * len(trace.kernels), len(trace.accesses)).astype(np.int32)
    root = {name: values[:1] for name, values in regions.items()}
    root["end_kernel"] = np.array([len(many["region"])], np.int32)
    build = Table.build
    return Trace(build("kernels", many), trace.tensors, build("accesses", touched), build("regions", root), trace.manifest)


def design_rows() -> list[Row]:
    """Designs a second of the widest recorded ansatz: one mapping, machine after machine, priced and replayed."""
    trace = load_recorded(TRACE)
    base = cd.machine("a5000")
    clocks = [base.with_(clock_hz=base.parameters["clock_hz"].value * (0.6 + 0.02 * n)) for n in range(20)]
    mapping = Mapping(np.zeros(len(trace.kernels), np.int32), "gpu")
    spent = best_of(lambda: [Evaluator(trace, machine).evaluate(mapping) for machine in clocks], 20)
    both = cd.machine("a5000+aim-fp32")
    random = np.random.default_rng(0)
    allowed = cost_table(trace, both).refusal[1] == 0
    mappings = [Mapping((allowed & (random.random(len(allowed)) < 0.3)).astype(np.int32), "random") for _ in range(20)]
    evaluator = Evaluator(trace, both)
    mixed = best_of(lambda: [evaluator.evaluate(each) for each in mappings], 10)
    return [
        Row(f"designs of {TRACE}: GPUs of other clocks, re-priced and replayed", len(clocks) / spent, "1/s", 1000, "higher"),
        Row(f"designs of {TRACE}: mappings to GPU and PIM, re-priced, planned, replayed", len(mappings) / mixed, "1/s", 1000, "higher"),
    ]


def growth_rows() -> list[Row]:
    """How time and memory grow with distinct operations, from a thousand to a million."""
    sizes = np.array([10**3, 10**4, 10**5, 10**6])
    programs = [_distinct(int(n)) for n in sizes]
    times = np.array([best_of(lambda p=p: fast.run(p, record=False), 3) for p in programs])
    slope = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fast.run(programs[-1], record=False)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1024 if sys.platform != "darwin" else 1)
    program = programs[-1]
    held = program.ops.op.nbytes + program.ops.dep.nbytes + program.ops.use.nbytes + program.changes.nbytes
    return [
        Row("growth: exponent of time over distinct operations, 1e3 to 1e6", slope, "1", 1.1, "lower"),
        Row("time of a million distinct operations", float(times[-1]), "s", None, "lower"),
        Row("memory of a program and its replay", (held + max(grown, 8 * len(program))) / len(program), "bytes/operation", 200, "lower"),
    ]


def _distinct(count: int) -> Program:
    builder = ProgramBuilder(["gpu", "pim"], launch_interval_s=2 * US, launch_latency_s=3 * US, resources={"hbm": 768e9})
    for k in range(count):
        builder.launch("pim" if k % 3 == 2 else "gpu", (4 + k % 7) * US, after=[k - 1] if k % 3 == 2 else (), uses={"hbm": 1e5})
    return builder.build()
