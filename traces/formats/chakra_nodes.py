"""The nodes of a Chakra execution trace, whichever way they are written: protobuf, JSON of it, PyTorch's JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from traces.errors import TraceError
from traces.formats import wire
from traces.formats.source import Source

NODE_TYPES = (
    "INVALID_NODE", "METADATA_NODE", "MEM_LOAD_NODE", "MEM_STORE_NODE", "COMP_NODE", "COMM_SEND_NODE", "COMM_RECV_NODE", "COMM_COLL_NODE",
)  # fmt: skip
COMP_NODE, COMM_NODES = 4, (5, 6, 7)

_DOUBLE, _FLOAT, _BOOL, _STRING = 3, 5, 27, 29
_SIGNED = (7, 9)
_ZIGZAG = (15, 17)
_FIXED_SIGNED = {23: 32, 25: 64}
"""Bits of signed numbers of fixed length. Field numbers of AttributeProto's values that are one number or text; lists are not needed."""


@dataclass(frozen=True)
class Nodes:
    """Nodes as dictionaries by their fields' names; ``pytorch``: from PyTorch's JSON, in which ctrl_deps is the operator around."""

    nodes: list[dict[str, Any]]
    pytorch: bool


def begins_with_metadata(start: bytes) -> bool:
    """Say whether the bytes begin with a length and a GlobalMetadata: a version as text, then only attributes."""
    try:
        size, at = wire.read_varint(start, 0)
        if at + size > len(start):
            return False
        found = list(wire.fields(start[at : at + size]))
        if not all(number in (1, 2) and isinstance(value, bytes) for number, _, value in found):
            return False
        return _is_version(found[0][2]) if found and found[0][0] == 1 else _begins_with_node(start, at + size)
    except wire.WireError:
        return False


def _is_version(value: int | bytes) -> bool:
    return isinstance(value, bytes) and value.isascii() and len(value) > 0


def _begins_with_node(start: bytes, at: int) -> bool:
    """Say whether a node follows: some converters leave the version out, and an empty message is no bytes at all."""
    size, at = wire.read_varint(start, at)
    whole = start[at : at + size]
    found = [(number, type(value)) for number, _, value in wire.fields(whole)] if len(whole) == size and size else []
    return (2, bytes) in found and all(number <= 10 for number, _ in found) and found[0][0] in (1, 2)


def read(source: Source) -> Nodes:
    """Return the nodes of a file. Raises TraceError if it is truncated or not a Chakra trace."""
    if not source.is_json:
        return Nodes(_from_wire(source), pytorch=False)
    documents = _documents(source)
    if len(documents) == 1 and "nodes" in documents[0]:
        found = documents[0]["nodes"]
        pytorch = "schema" in documents[0]
    else:
        found, pytorch = [d for d in documents if "id" in d], False
    if not isinstance(found, list):
        raise TraceError(f"{source} must hold a list of nodes, as Chakra's traces do, but has none")
    for place, node in enumerate(found):
        _check(source, place, node)
    return Nodes(found, pytorch)


def _check(source: Source, place: int, node: Any) -> None:
    """Raise TraceError naming the node unless it has an id, and type, dependencies, times and attributes can be read."""
    try:
        int(node["id"])
        dependencies(node), attributes(node), node_type(node), start_us(node), duration_us(node)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        shown = str(node.get("name", ""))[:80] if isinstance(node, dict) else ""
        raise TraceError(f"{source}: a node must be as Chakra's schema says, but node {place} ({shown!r}) is not: {error!r}") from error


def _documents(source: Source) -> list[dict[str, Any]]:
    """Return the JSON objects of a file: one, or several behind each other, as Chakra's own converter writes."""
    text, decoder, at = source.text().strip(), json.JSONDecoder(), 0
    found: list[dict[str, Any]] = []
    while at < len(text):
        try:
            document, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise TraceError(f"{source} must be whole JSON, but is truncated or damaged after {len(found)} objects: {error}") from error
        parts = document if isinstance(document, list) else [document]
        for part in parts:
            if not isinstance(part, dict):
                raise TraceError(f"{source} must hold JSON objects, as Chakra's traces do, but holds a {type(part).__name__}")
        found += parts
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def _from_wire(source: Source) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        messages = wire.messages(source.data)
        next(messages, None)  # the metadata
        for message in messages:
            found.append(_node(message))  # noqa: PERF401 (the count is for the error below)
    except (wire.WireError, UnicodeDecodeError) as error:
        raise TraceError(
            f"{source} must be whole Chakra protobuf, but is truncated or damaged after {len(found)} nodes: {error}"
        ) from error
    return found


_FIELDS = {1: "id", 3: "type", 6: "start_time_micros", 7: "duration_micros"}
_DEPENDENCIES = {4: "ctrl_deps", 5: "data_deps"}


def _node(message: bytes) -> dict[str, Any]:
    node: dict[str, Any] = {"id": 0, "attr": {}}
    for number, _, value in wire.fields(message):
        if number in _FIELDS:
            node[_FIELDS[number]] = value
        elif number in _DEPENDENCIES:
            node.setdefault(_DEPENDENCIES[number], []).extend(_varints(value))
        elif number == 2 and isinstance(value, bytes):
            node["name"] = value.decode()
        elif number == 10 and isinstance(value, bytes):
            node["attr"].update([_attribute(value)])
    return node


def _varints(value: int | bytes) -> Iterator[int]:
    """A repeated number is packed into bytes, or stands alone."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = wire.read_varint(value, at)
        yield number


def _attribute(message: bytes) -> tuple[str, Any]:
    name, content = "", None
    for number, _, value in wire.fields(message):
        if number == 1 and isinstance(value, bytes):
            name = value.decode()
        elif number == _STRING and isinstance(value, bytes):
            content = value.decode()
        elif isinstance(value, int):
            content = _number(number, value)
    return name, content


def _number(field: int, value: int) -> Any:
    if field == _DOUBLE:
        return wire.double(value)
    if field == _FLOAT:
        return wire.single(value)
    if field in _FIXED_SIGNED:
        return value - 2 ** _FIXED_SIGNED[field] if value >= 2 ** (_FIXED_SIGNED[field] - 1) else value
    if field == _BOOL:
        return bool(value)
    if field in _ZIGZAG:
        return (value >> 1) ^ -(value & 1)
    return wire.signed(value) if field in _SIGNED else value


def attribute(name: str, value: bool | int | float | str) -> bytes:
    """Return an AttributeProto."""
    if isinstance(value, bool):
        return wire.field(1, name) + wire.field(_BOOL, int(value))
    number = _STRING if isinstance(value, str) else _DOUBLE if isinstance(value, float) else 9
    return wire.field(1, name) + wire.field(number, value)


def attributes(node: dict[str, Any]) -> dict[str, Any]:
    """Return a node's attributes by name."""
    given = node.get("attr", node.get("attrs", {}))
    if isinstance(given, dict):
        return given
    return {str(a.get("name", "")): _json_value(a) for a in given if isinstance(a, dict)}


def _json_value(attribute: dict[str, Any]) -> Any:
    """The value is the one key beside name and doc_string; JSON writes 64-bit numbers as text."""
    for key, value in attribute.items():
        if key not in ("name", "doc_string", "docString", "type"):
            whole = key.lower().startswith(("int", "uint", "sint", "fixed", "sfixed")) and isinstance(value, str)
            return int(value) if whole else value
    return None


def node_type(node: dict[str, Any]) -> int:
    """Return the number of a node's type, which JSON writes as its name."""
    given = node.get("type", 0)
    if isinstance(given, str):
        return NODE_TYPES.index(given) if given in NODE_TYPES else 0
    return int(given)


def dependencies(node: dict[str, Any]) -> list[int]:
    """Return the ids of the nodes that a node waits for."""
    found: list[int] = []
    for key in ("ctrl_deps", "ctrlDeps", "data_deps", "dataDeps"):
        given = node.get(key, [])
        found += [int(g) for g in (given if isinstance(given, list) else [given])]
    return found


def start_us(node: dict[str, Any]) -> float | None:
    """Return when a node begins, None if it does not say."""
    return _first(node, "start_time_micros", "startTimeMicros", "ts")


def duration_us(node: dict[str, Any]) -> float | None:
    """Return how long a node takes, None if it does not say."""
    return _first(node, "duration_micros", "durationMicros", "inclusive_dur", "exclusive_dur", "dur")


def _first(node: dict[str, Any], *keys: str) -> float | None:
    return next((float(node[key]) for key in keys if node.get(key) is not None), None)
