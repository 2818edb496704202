"""``codesign --version``: which versions a result came from."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import typer

from codesign.cli.options import deliver

PACKAGES = ("numpy", "scipy", "numba", "pyarrow", "simpy", "optuna", "matplotlib", "jax", "deepqmc", "torch")


def show_version(ctx: typer.Context, as_json: bool) -> None:
    """Print codesign's version; as a document also Python's and those of the packages that matter to a result."""
    name = f"codesign {installed('codesign')}"
    payload = {"python": platform.python_version(), "packages": {package: _installed(package) for package in PACKAGES}}
    deliver(ctx, "version", payload, lambda: name, as_json=as_json)


def _installed(package: str) -> str | None:
    try:
        return installed(package)
    except PackageNotFoundError:
        return None
