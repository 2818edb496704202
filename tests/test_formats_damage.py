"""Whatever a damaged file holds: is it a trace or an error about the file, never a crash?"""

import gzip
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import test_formats_nsight as nsight
from tests.toys import Toy
from traces import Trace
from traces.errors import TraceError
from traces.formats.chakra import Chakra
from traces.formats.reading import importers
from traces.formats.source import Source
from traces.formats.to_trace import to_trace

PROFILES = Path(__file__).parent / "data" / "profiles"


def chakra() -> bytes:
    toy = Toy()
    for name in "abc":
        toy.kernel(name, reads=["x"], writes=["y"], stream=1)
    with tempfile.TemporaryDirectory() as folder:
        Chakra().write(toy.build(), Path(folder) / "t.et")
        return (Path(folder) / "t.et").read_bytes()


WHOLE = {
    "kineto": gzip.decompress((PROFILES / "two_streams_kineto.json.gz").read_bytes()),
    "gzip": (PROFILES / "two_streams_kineto.json.gz").read_bytes(),
    "chakra": chakra(),
    "nsys-csv": nsight.GPU_TRACE.encode(),
    "details": nsight.details().encode(),
    "raw": nsight.raw().encode(),
}


def trace_or_error(content: bytes) -> list[Trace | TraceError]:
    """Read the content by every format that recognises it."""
    found: list[Trace | TraceError] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "profile"
        path.write_bytes(content)
        for importer in importers().values():
            try:
                source = Source(path)
                if importer.recognises(source):
                    found.append(to_trace(importer.read(source), target="", program="p"))
            except TraceError as error:
                found.append(error)
    assert all(str(path) in str(error) for error in found if isinstance(error, TraceError))
    return found


@pytest.mark.parametrize("kind", WHOLE)
def test_the_whole_file_is_read(kind: str) -> None:
    assert [type(found) for found in trace_or_error(WHOLE[kind])] == [Trace]


@settings(deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5),
    st.floats(0.01, 1),
)
def test_flipped_bytes_and_a_missing_end(kind: str, flips: list[tuple[float, int]], kept: float) -> None:
    content = bytearray(WHOLE[kind])
    for place, value in flips:
        content[int(place * len(content))] = value
    trace_or_error(bytes(content[: max(1, int(kept * len(content)))]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(["", "7", "kernel", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "stream", "values", "x"]), inner, max_size=3),
    max_leaves=5,
)
EVENT = {"ph": "X", "cat": "kernel", "name": "k", "ts": 1, "dur": 2, "args": {"stream": 7, "grid": [1, 1, 1], "device": 0}}
WAIT = EVENT | {"cat": "cuda_sync", "args": {"cuda_sync_kind": "Stream Wait Event", "stream": 7, "correlation": 3}}
NODE = {"id": 2, "name": "k", "type": "COMP_NODE", "ctrl_deps": 1, "cat": "kernel", "ts": 3, "inclusive_dur": 4, "stream": 7, "attrs": []}
OPERATOR = {
    "id": 2,
    "name": "aten::mm",
    "ctrl_deps": 1,
    "inputs": {"values": [[1, 1, 0, 4, 4, "cuda:0"]], "types": ["Tensor(float)"], "shapes": [[2, 2]]},
}


@settings(deadline=None)
@given(st.sampled_from([EVENT, WAIT, NODE, OPERATOR]), st.data())
def test_a_field_that_holds_something_else(record: dict[str, Any], data: st.DataObject) -> None:
    changed = record | {data.draw(st.sampled_from(sorted(record))): data.draw(json_values)}
    inner = data.draw(st.sampled_from(["args", "inputs"]))
    if isinstance(changed.get(inner), dict) and changed[inner]:
        changed[inner] = changed[inner] | {data.draw(st.sampled_from(sorted(changed[inner]))): data.draw(json_values)}
    if "ph" in record:
        documents: list[Any] = [{"traceEvents": [EVENT, changed]}]
    else:
        documents = [{"schema": "1.0.2-chakra.0.0.4", "nodes": [NODE, changed]}, {"nodes": [changed | {"data_deps": []}]}]
    for document in documents:
        trace_or_error(json.dumps(document).encode())
