"""The program ``codesign``: its commands, its version, and what becomes of errors."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from codesign.cli import calibrate, capture, explain, explore, machines, plot, predict, profiles, record, replay, validate, workloads
from codesign.cli.options import COMMAND
from codesign.cli.terminal import note
from codesign.cli.version import show_version
from traces.errors import CodesignError

USER_ERROR, INTERRUPTED = 2, 130


class Commands(TyperGroup):
    """Keeps the command line for the document, and turns the errors a user can act on into exit status 2."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember the arguments as they were given."""
        ctx.meta[COMMAND] = ["codesign", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; anything but a CodesignError is a defect and keeps its traceback."""
        try:
            return super().invoke(ctx)
        except CodesignError as error:
            note(f"codesign: error: {error}")
            raise typer.Exit(USER_ERROR) from error
        except KeyboardInterrupt:
            kept = "; the trials in --storage stay" if any(word.startswith("--storage") for word in ctx.meta.get(COMMAND, ())) else ""
            note(f"codesign: interrupted{kept}")
            raise


app = typer.Typer(
    cls=Commands,
    name="codesign",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Capture a program as a trace of GPU kernels, replay it on hardware that may not exist yet, search for the machine it wants.",
    epilog="Example: codesign replay ferminet-ch4-a5000.trace --machine a5000+aim",
)


@app.callback(invoke_without_command=True)
def codesign(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --version: print one JSON document.")] = False,
) -> None:
    """Handle the options that stand before a command."""
    if version:
        show_version(ctx, as_json)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        raise typer.BadParameter("--json stands after a command, or beside --version")


app.command(epilog="Example: codesign workloads ferminet --json")(workloads.workloads)
app.command(epilog="Example: codesign machines a5000+aim")(machines.machines)
app.command(epilog="Example: codesign capture ferminet --molecule CH4 --target a5000 -o ferminet-ch4-a5000.trace")(capture.capture)
app.command(epilog="Example: codesign replay ferminet-ch4-a5000 --machine a5000 --machine h100 --machine a5000+aim-fp32")(replay.replay)
app.command(epilog="Example: codesign explore ferminet-ch4-a5000.trace --machine a5000+aim-fp32 --trials 200 --seed 1 -o result.json")(
    explore.explore
)
app.command("import", epilog="Example: codesign import profile.json.gz -o measured.trace")(profiles.import_)
app.command(
    epilog="Example: codesign record --join captured.trace -o measured.trace train.py --steps 3",
    context_settings={"allow_interspersed_args": False},
)(record.record)
app.command(epilog="Example: codesign export timeline.json --format perfetto -o timeline.perfetto.json")(profiles.export)
app.command(epilog="Example: codesign explain ferminet-ch4-a5000 --machine a5000+aim-fp32 --scheduler cut-points")(explain.explain)
app.command(epilog="Example: codesign predict kernels.parquet -o predicted.parquet")(predict.predict)
app.command(epilog="Example: codesign calibrate -o constants.toml")(calibrate.calibrate)
app.command(epilog="Example: codesign validate --only survey")(validate.validate)
app.command(epilog="Example: codesign plot timeline.json --figure breakdown -o breakdown.png")(plot.plot)


def main() -> None:
    """Run the program. A reader that goes away (``codesign machines | head -1``) ends it without a message, Ctrl-C at any time too."""
    try:
        app()
    except KeyboardInterrupt:  # as a command was ending, say: one within it is typer's to turn into this status
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
