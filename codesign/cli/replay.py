"""``codesign replay``: run a trace on a machine under a scheduler."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign import files
from codesign.cli.inputs import build_machine, load_trace, target_of
from codesign.cli.options import Json, Output, Scheduler, Settings, TraceFile, deliver
from codesign.cli.terminal import note, quiet_output, tables
from traces.si import show

if TYPE_CHECKING:
    from arch.machine import Machine

SINGLE = "single-device"


class Engine(StrEnum):
    """The two engines, which agree."""

    FAST = "fast"
    REFERENCE = "reference"


def replay(
    ctx: typer.Context,
    trace: TraceFile,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine",
            "-m",
            metavar="NAME",
            help="A machine: parts joined by '+', see `codesign machines`; by default the trace's target. Several: a comparison.",
        ),
    ] = None,
    scheduler: Scheduler = SINGLE,
    engine: Annotated[Engine, typer.Option("--engine", help="Which engine; both give the same numbers.")] = Engine.FAST,
    assume: Annotated[
        str | None, typer.Option("--assume", metavar="WHAT", help="memory-bound: price imported kernels of unknown work by bandwidth.")
    ] = None,
    settings: Settings = None,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Run a trace on a machine under a scheduler: times, shares, energy, memory, what could not move."""
    from codesign.engine import replay as run
    from codesign.engine.rows import comparison_tables, timeline_tables

    if output:
        files.check_writable(output, trace)
    with quiet_output():
        program = load_trace(trace)
        machines = [build_machine(name, settings) for name in machine or [target_of(program)]]
        found = [run(program, each, scheduler, engine=engine.value, assume=assume).to_dict() for each in machines]
    several = len(found) > 1
    payload = {"timelines": found} if several else found[0]
    shown = comparison_tables if several else timeline_tables
    kind = "comparison" if several else "timeline"
    deliver(ctx, kind, payload, lambda: tables(shown(payload)), as_json=as_json, output=output)
    if scheduler == SINGLE:
        note_idle(found)
    for each in machines:
        note_slower_memory(each)


def note_idle(timelines: list[dict[str, Any]]) -> None:
    """Say which devices had nothing to do because everything was to run on one."""
    idle = {name: None for each in timelines for name, device in each["devices"].items() if not device["busy_s"]}
    if idle:
        remedy = "--scheduler cut-points shares the work where that pays"
        note(f"{', '.join(idle)}: idle, for {SINGLE} runs all on a machine's first device; {remedy}")


def note_slower_memory(machine: "Machine") -> None:
    """Say where stacks of PIM in a GPU's memory leave it less bandwidth than it is sold with."""
    from arch.gpu import GPU

    for device in machine.devices:
        own = device.entry["memory_bandwidth"] if isinstance(device, GPU) else 0.0
        if isinstance(device, GPU) and device.dram_bandwidth < own:
            left = f"{show(device.dram_bandwidth, 'B/s')} of {show(own, 'B/s')}"
            note(f"{machine.id}: PIM stacks, which are slower than {device.id}'s own, leave it {left}")
