"""``codesign workloads``, ``codesign machines`` and ``codesign --version``: what there is."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.cli.options import Json, Output, deliver
from codesign.cli.terminal import quiet_output, table

if TYPE_CHECKING:
    from rich.table import Table

    from traces.workloads import Workload

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
    """List the workloads that can be captured, or the options of one."""
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
    }


def _workloads_table(described: dict[str, dict[str, Any]]) -> "Table":
    rows = [(", ".join([name, *d["aliases"]]), d["framework"], d["description"], d["source"]) for name, d in described.items()]
    return table("Workloads", ("name", "framework", "what it is", "source"), rows, left=4)


def _options_table(described: dict[str, Any]) -> "Table":
    rows = [
        (name, str(o["default"]), ", ".join(o["choices"]) or f"a whole number from {o['at_least']}", o["doc"])
        for name, o in described["options"].items()
    ]
    return table(f"{described['name']}: {described['description']}", ("option", "default", "choices", "meaning"), rows, left=4)


def machines(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One machine: its numbers, with their sources.")] = None,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """List the machines, or the numbers of one with their sources; counts the assumptions among them."""
    raise NotImplementedError
