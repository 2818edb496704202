"""``codesign capture``: compile a workload for a GPU that need not be there, and write its trace."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign import files
from codesign.cli.options import Json, WorkloadSettings, deliver, given_settings, note_command
from codesign.cli.terminal import note, quiet_output, tables

if TYPE_CHECKING:
    from rich.console import Group

    from traces.trace import Trace


def capture(
    ctx: typer.Context,
    workload: Annotated[str, typer.Argument(metavar="WORKLOAD", help="A workload, see `codesign workloads`; or a file of jax.export.")],
    target: Annotated[str, typer.Option("--target", "-t", metavar="GPU", help="The GPU or TPU to compile for, see `codesign machines`.")],
    molecule: Annotated[str | None, typer.Option("--molecule", metavar="NAME", help="The molecule: LiH, CH4, C2H6, C4H4.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Walkers, or sequences.")] = None,
    settings: WorkloadSettings = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The trace to write; by default named after program and target.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Capture a workload as a trace of GPU kernels, compiled for a GPU that need not be there."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # this process is ours: no GPU is looked for, none is needed
    from arch.building import machine
    from traces import registry

    if workload not in registry.names("workloads") and (files.exists(Path(workload)) or os.sep in workload or Path(workload).suffix):
        _capture_file(ctx, Path(workload), target, given_settings(molecule, batch, settings), output, as_json)
        return
    with quiet_output():
        chosen = registry.get("workloads", workload)
        compile_target = machine(target).target
        given = given_settings(molecule, batch, settings)
        options = chosen.settings(**given)
        path = output or Path(_name(workload, options, compile_target.id))
        files.check_writable(path)
        note(f"capturing {workload} ({', '.join(f'{k}={v}' for k, v in options.items())}) for {compile_target.id}")
        trace = chosen.capture(compile_target, **given)
        note_command(ctx, trace)
        trace.save(path)
    note(f"wrote {path}")
    deliver(ctx, "capture", _summary(trace, path), lambda: _table(trace), as_json=as_json)


def _capture_file(ctx: typer.Context, program: Path, target: str, given: dict[str, Any], output: Path | None, as_json: bool) -> None:
    """Capture a program that jax.export serialised."""
    from codesign.capturing import capture as capture_program
    from traces.errors import CaptureError

    files.check_readable(program)
    if program.suffix == ".py":
        raise CaptureError(
            f"a Python program captures itself: call cd.capture(function, args, target={target!r}).save(path) in {program} and run it "
            "(docs/capture.md, docs/pytorch.md); a file to capture here is what jax.export's serialize() returns"
        )
    if given:
        raise CaptureError(f"an exported program has no options, but got {', '.join(given)}; options are of workloads")
    path = output or Path(f"{program.stem}-{target}.trace")
    files.check_writable(path, program)
    with quiet_output():
        trace = capture_program(program, target=target)
        note_command(ctx, trace)
        trace.save(path)
    note(f"wrote {path}")
    deliver(ctx, "capture", _summary(trace, path), lambda: _table(trace), as_json=as_json)


def _name(workload: str, options: dict[str, Any], target: str) -> str:
    return "-".join(part.lower() for part in (workload, str(options.get("molecule", "")), target) if part) + ".trace"


def _summary(trace: "Trace", path: Path) -> dict[str, Any]:
    return {
        "file": str(path),
        "manifest": trace.manifest | {"content_hash": trace.content_hash},
        "kernels": len(trace.kernels),
        "launches": trace.launches,
        "tensors": len(trace.tensors),
        "summary": {by: trace.summary(by).to_dict() for by in ("family", "phase", "stage")},
    }


def _table(trace: "Trace") -> "Group":
    from traces.summary import work_table

    return tables([work_table(trace, f"{trace.program} for {trace.target}: {len(trace.kernels):,} kernels, {trace.launches:,} launches")])
