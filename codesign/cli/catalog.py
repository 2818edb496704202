"""``codesign workloads``, ``codesign machines`` and ``codesign --version``: what there is."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.cli.options import Json, Output, Settings, deliver, parse_settings
from codesign.cli.terminal import note, quiet_output, table, tables
from codesign.rows import catalogue_tables, machine_tables
from traces.errors import CodesignError

if TYPE_CHECKING:
    from rich.console import Group

    from arch.machine import Machine
    from traces.workloads import Conflict, Workload

PACKAGES = ("numpy", "scipy", "numba", "pyarrow", "simpy", "optuna", "matplotlib", "jax", "deepqmc", "torch")


def version(ctx: typer.Context, as_json: bool) -> None:
    """Print codesign's version; as a document also Python's and those of the packages that matter to a result."""
    name = f"codesign {installed('codesign')}"
    payload = {"python": platform.python_version(), "packages": {package: _installed(package) for package in PACKAGES}}
    deliver(ctx, "version", payload, lambda: name, as_json=as_json)


def _installed(package: str) -> str | None:
    try:
        return installed(package)
    except PackageNotFoundError:
        return None


def workloads(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One workload: its options.")] = None,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """List the workloads that can be captured, or the options of one and the traces of it that were recorded."""
    from traces import registry

    with quiet_output():
        if name:
            described = _describe(registry.get("workloads", name), [])
        else:
            listed = _by_own_name(registry.load("workloads"))
    if name:
        deliver(ctx, "workload", described, lambda: _options_table(described), as_json=as_json, output=output)
    else:
        deliver(ctx, "workloads", {"workloads": listed}, lambda: _workloads_table(listed), as_json=as_json, output=output)


def _by_own_name(found: dict[str, "Workload"]) -> dict[str, dict[str, Any]]:
    """Return each workload once, under its own name, with the other names it is registered under."""
    own = {workload.name: workload for workload in found.values()}
    return {name: _describe(w, [key for key, other in found.items() if other is w and key != name]) for name, w in sorted(own.items())}


def _describe(workload: "Workload", aliases: list[str]) -> dict[str, Any]:
    from traces.measure import unmeasured
    from traces.recorded_statistics import statistics_of
    from traces.recordings import recorded_of

    options = {
        o.name: {"default": o.default, "doc": o.doc, "choices": list(o.choices), "at_least": None if o.choices else o.at_least}
        for o in workload.options
    }
    return {
        "name": workload.name,
        "aliases": aliases,
        "framework": workload.framework,
        "description": workload.description,
        "source": workload.source,
        "options": options,
        "combinations": [_combination(values, conflict) for values, conflict in workload.combinations()],
        "targets": [
            {"values": dict(c.values), "before": ".".join(map(str, c.before)), "because": c.because, "instead": c.instead}
            for c in workload.conflicts
            if c.before
        ],
        "counts": [{"must": limit.must, "because": limit.because, "instead": limit.instead} for limit in workload.limits],
        "statistics": statistics_of(workload.name, {}),
        "not_measured": unmeasured(workload.name),
        "recorded": recorded_of(workload.name),
    }


def _combination(values: dict[str, Any], conflict: "Conflict | None") -> dict[str, Any]:
    told = {"because": conflict.because, "instead": conflict.instead} if conflict else {"because": None, "instead": None}
    return {"values": values, "valid": conflict is None, **told}


def _workloads_table(described: dict[str, dict[str, Any]]) -> "Group":
    rows = [(", ".join([name, *d["aliases"]]), d["framework"], d["description"], d["source"]) for name, d in described.items()]
    return table("Workloads", ("name", "framework", "what it is", "source"), rows)


def _options_table(described: dict[str, Any]) -> "Group":
    from rich.console import Group

    return Group(
        _options(described),
        *_matrix(described),
        *_statistics(described["statistics"]),
        *_not_measured(described),
        *_recorded(described["recorded"]),
    )


def _not_measured(described: dict[str, Any]) -> list[str]:
    """Say for which molecules no statistics were measured, and what would."""
    found = [f"{molecule} ({', '.join(samplers)})" for molecule, samplers in described["not_measured"].items()]
    if not found:
        return []
    return [
        f"No variance of the energy and autocorrelation time was measured for {', '.join(found)}. To measure: "
        f"python -m traces.measure --only '{described['name']}-*', minutes to hours of a CPU a molecule."
    ]


def _recorded(names: list[str]) -> list["Group"]:
    """Return the recorded traces of a workload, nothing where there are none."""
    if not names:
        return []
    return [table("Recorded traces (codesign replay NAME --machine MACHINE)", ("name",), [(name,) for name in names])]


def _statistics(rows: list[dict[str, Any]]) -> list["Group"]:
    """Return what was measured of a wave function, nothing where nothing was."""
    if not rows:
        return []
    keys = ("molecule", "sampler", "laplacian", "precision")
    cells = [
        (
            *(str(row[key]) for key in keys),
            *(f"{row[name]:.3f} ± {row[f'{name}_error']:.3f}" for name in ("energy", "variance")),
            f"{row['tau_transitions']:.1f} ± {row['tau_error']:.1f}",
            f"{row['training']} {row['optimizer']}",
        )
        for row in rows
    ]
    heads = (*keys, "energy, hartree", "variance, hartree²", "tau, transitions", "trained, steps")
    return [table("Measured on a CPU (docs/workloads.md: time to a standard error)", heads, cells)]


def _matrix(described: dict[str, Any]) -> list["Group"]:
    """Return which combinations run: tables of options that depend on each other, of GPUs that are too old, of what counts must hold."""
    combinations, found = described["combinations"], []
    if len(combinations) > 1:
        names = tuple(combinations[0]["values"])
        rows = [
            (*(str(c["values"][name]) for name in names), "yes" if c["valid"] else f"no: {c['because']}; {c['instead']}")
            for c in combinations
        ]
        found.append(table("Combinations (every other one runs)", (*names, "runs"), rows))
    if described["targets"]:
        rows = [
            (", ".join(f"{k}={v}" for k, v in t["values"].items()), t["before"], f"{t['because']}; {t['instead']}")
            for t in described["targets"]
        ]
        found.append(table("GPUs", ("not with", "below compute capability", "why"), rows))
    if described["counts"]:
        found.append(table("Counts", ("must hold", "why", "else"), [(c["must"], c["because"], c["instead"]) for c in described["counts"]]))
    return found


def _options(described: dict[str, Any]) -> "Group":
    rows = [
        (name, str(o["default"]), ", ".join(o["choices"]) or f"a whole number from {o['at_least']}", o["doc"])
        for name, o in described["options"].items()
    ]
    return table(f"{described['name']}: {described['description']}", ("option", "default", "choices", "meaning"), rows)


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

    with quiet_output():
        if name:
            found = machine(_with_part(name)).with_(**parse_settings(settings))
            described, output = found.to_dict(), _without_picture(found, output)
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


def _is_picture(output: Path | None) -> bool:
    from codesign.figures import FORMATS

    return output is not None and output.suffix.lower().lstrip(".") in FORMATS


def _without_picture(machine: "Machine", output: Path | None) -> Path | None:
    """Draw the machine if ``output`` is the name of a picture, and return where the document goes, if anywhere."""
    if output is None or not _is_picture(output):
        return output
    from codesign import files
    from codesign.figures import plot

    files.check_writable(output)
    plot(machine, path=output)
    note(f"wrote {output}")
    return None


def _refuse_for_all(output: Path | None, settings: list[str] | None) -> None:
    """Raise CodesignError if what makes sense for one machine was asked for of the whole list."""
    if settings:
        raise CodesignError(
            f"--set changes one machine, but got {settings[0]!r} for all; name one: codesign machines a5000 --set {settings[0]}"
        )
    if _is_picture(output):
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
