"""codesign: capture a program as GPU kernels, replay it on hardware that may not exist, search for the machine it wants.

Everything a study needs is here; names are imported when first used, so that ``import codesign`` is quick.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arch.building import machine
    from arch.device import Device
    from arch.machine import Machine
    from codesign import errors, testing
    from codesign.capturing import capture
    from codesign.engine import Timeline, replay
    from codesign.engine.disturb import Disturbance
    from codesign.explaining import explain
    from codesign.figures import plot
    from codesign.html_report import report
    from codesign.importing import import_profile
    from codesign.predicting import predict
    from codesign.search import Result, Space, explore
    from codesign.validation import validate
    from schedulers.scheduler import Mapping, Scheduler
    from schedulers.tensors import Offload
    from traces import Trace, interleave, load, merge

__all__ = [
    "Device",
    "Disturbance",
    "Machine",
    "Mapping",
    "Offload",
    "Result",
    "Scheduler",
    "Space",
    "Timeline",
    "Trace",
    "capture",
    "errors",
    "explain",
    "explore",
    "import_profile",
    "interleave",
    "load",
    "machine",
    "merge",
    "plot",
    "predict",
    "replay",
    "report",
    "testing",
    "validate",
]

_HOME = {
    "Device": "arch.device",
    "Disturbance": "codesign.engine.disturb",
    "Machine": "arch.machine",
    "machine": "arch.building",
    "capture": "codesign.capturing",
    "import_profile": "codesign.importing",
    "replay": "codesign.engine",
    "Timeline": "codesign.engine",
    "plot": "codesign.figures",
    "report": "codesign.html_report",
    "explain": "codesign.explaining",
    "explore": "codesign.search",
    "Result": "codesign.search",
    "Space": "codesign.search",
    "Mapping": "schedulers.scheduler",
    "Offload": "schedulers.tensors",
    "Scheduler": "schedulers.scheduler",
    "Trace": "traces",
    "predict": "codesign.predicting",
    "validate": "codesign.validation",
    "interleave": "traces",
    "load": "traces",
    "merge": "traces",
}
"""Where each public name lives; 'errors' and 'testing' are modules of this package."""


def _check_neighbours() -> None:
    """Raise ImportError if ``arch``, ``schedulers``, ``studies`` or ``traces`` is another project's package (PyPI has such)."""
    ours = Path(__file__).resolve().parents[1]
    for name in ("traces", "arch", "schedulers", "studies"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if found != ours:
            raise ImportError(
                f"the package {name!r} must be codesign's own, in {ours}, but Python finds it in {found}: uninstall the other "
                f"package of that name (pip uninstall {name}), remove the folder from the path, or use a fresh environment"
            )


def _version() -> str:
    try:
        return version("codesign")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in ("errors", "testing"):
        value = import_module(f"codesign.{name}")
    else:
        raise AttributeError(f"module 'codesign' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


_check_neighbours()
__version__ = _version()
