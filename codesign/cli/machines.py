"""``codesign machines``: the devices of the catalogue, or the numbers of one machine with their sources."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.cli.options import Json, Settings, deliver, parse_settings
from codesign.cli.terminal import note, quiet_output, tables
from traces.errors import CodesignError

if TYPE_CHECKING:
    from arch.machine import Machine


def machines(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A machine or a device: its numbers, with their sources.")] = None,
    as_json: Json = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A picture of one (.png, .svg, .pdf); else the JSON document.")
    ] = None,
    settings: Settings = None,
) -> None:
    """List the devices of the catalogue by kind, each with a machine that has it, or the numbers of one with their sources."""
    from arch.building import machine
    from arch.rows import catalogue_tables, machine_tables

    with quiet_output():
        if name:
            found = machine(_with_part(name)).with_(**parse_settings(settings))
            described = found.to_dict()
            if output is not None and _is_picture(output):
                _draw(found, output)
                output = None
        else:
            _refuse_for_all(output, settings)
            payload = {"devices": _catalogue(), "machines": {found.id: _overview(found) for found in map(machine, _names())}}
    if name:
        deliver(ctx, "machine", described, lambda: tables(machine_tables(described)), as_json=as_json, output=output)
    else:
        deliver(ctx, "machines", payload, lambda: tables(catalogue_tables(payload["devices"])), as_json=as_json, output=output)


def _with_part(name: str) -> str:
    """Return the name of a machine: that of the example where ``name`` is a part that no machine begins with."""
    from arch.building import FIRST
    from arch.building.equal import count_of
    from arch.examples import example_of
    from arch.registered import find

    if "+" in name or "@" in name or count_of(name) is not None:
        return name
    entry = find(name)
    if entry.kind in FIRST:
        return name
    if name.endswith(".toml"):
        raise CodesignError(f"{name} describes a {entry.kind}, a part of a machine: name the machine, such as a5000+{name}")
    example = example_of(entry)
    if example is None:
        raise CodesignError(f"{entry.id!r} is in no machine: `codesign predict` uses this timing, of another preset of a simulator")
    note(f"{entry.id} is a part of kind {entry.kind!r}; shown as it is in {example}")
    return example


def _is_picture(output: Path) -> bool:
    from codesign.figures import FORMATS

    return output.suffix.lower().lstrip(".") in FORMATS


def _draw(machine: "Machine", picture: Path) -> None:
    from codesign import files
    from codesign.figures import plot

    files.check_writable(picture)
    plot(machine, path=picture)
    note(f"wrote {picture}")


def _refuse_for_all(output: Path | None, settings: list[str] | None) -> None:
    """Raise CodesignError if what makes sense for one machine was asked for of the whole list."""
    if settings:
        raise CodesignError(
            f"--set changes one machine, but got {settings[0]!r} for all; name one: codesign machines a5000 --set {settings[0]}"
        )
    if output is not None and _is_picture(output):
        raise CodesignError(
            f"a picture shows one machine, but {output} was asked for of all; name one: codesign machines a5000+aim -o {output}"
        )


def _catalogue() -> dict[str, dict[str, Any]]:
    """Return every registered device, host, memory, link and timing, in the order of kinds and names."""
    from arch import registered
    from arch.examples import example_of
    from arch.keys import KINDS

    found = sorted(map(registered.find, registered.names()), key=lambda entry: (list(KINDS).index(entry.kind), entry.id))
    return {
        entry.id: {
            "kind": entry.kind,
            "description": entry.description,
            "aliases": list(entry.aliases),
            "hypothetical": entry.hypothetical,
            "numbers": len(entry.numbers),
            "assumptions": entry.assumptions,
            "example": example_of(entry),
            "not_modelled": list(entry.not_modelled),
        }
        for entry in found
    }


def _names() -> list[str]:
    """Return machines of one device, GPUs with each PIM that fits into their memory, and the example of every other device."""
    from arch import registered
    from arch.building import FIRST
    from arch.examples import example_of

    found = {device: registered.find(device) for device in registered.names()}
    gpus, pims = ([device for device, entry in found.items() if entry.kind == kind] for kind in ("gpu", "pim"))
    alone = [device for device, entry in found.items() if entry.kind in FIRST]
    fits = [f"{gpu}+{pim}" for gpu in gpus for pim in pims if found[gpu].text["memory_family"] == found[pim].text["memory_family"]]
    return sorted({*alone, *fits, *filter(None, map(example_of, found.values()))})


def _overview(machine: "Machine") -> dict[str, Any]:
    return {
        "description": "; ".join(entry.description for entry in machine.entries if entry.kind != "host"),
        "aliases": sorted({alias for entry in machine.entries[:1] for alias in entry.aliases}),
        "hypothetical": machine.hypothetical,
        "numbers": sum(len(entry.numbers) for entry in machine.entries),
        "assumptions": machine.assumptions,
    }
