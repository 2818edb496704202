"""``codesign workloads``: the programs that can be captured, their options, and which of those go together."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.cli.options import Json, Output, deliver
from codesign.cli.terminal import quiet_output, table

if TYPE_CHECKING:
    from rich.console import Group

    from traces.workloads import Conflict, Workload


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
