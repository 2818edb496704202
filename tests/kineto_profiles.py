"""Profiles of PyTorch: the real ones among the data of the tests, and small ones made by hand."""

import json
import warnings
from pathlib import Path
from typing import Any

from traces import Trace
from traces.formats.kineto import Kineto
from traces.formats.profile import ProfileWarning
from traces.formats.source import Source
from traces.formats.to_trace import to_trace

PROFILES = Path(__file__).parent / "data" / "profiles"
A100 = PROFILES / "alexnet_kineto.json.gz"


def sample(name: str) -> Source:
    return Source(PROFILES / f"{name}_kineto.json.gz")


def trace_of(source: Source, **options: Any) -> Trace:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProfileWarning)  # the samples idle most of the time, which has a test of its own
        return to_trace(Kineto().read(source), target="", program="p", **options)


def event(name: str = "k", ts: Any = 0, dur: Any = 10, stream: int = 7, cat: str = "kernel", **args: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "args": {"device": 0, "stream": stream, **args}}


def profile(tmp_path: Path, *events: dict[str, Any], text: str | None = None) -> Source:
    path = tmp_path / "profile.json"
    path.write_text(text if text is not None else json.dumps({"schemaVersion": 1, "deviceProperties": [], "traceEvents": list(events)}))
    return Source(path)
