"""Reads and checks one file of the catalogue, ours or a user's: TOML in which every number says where it comes from."""

import os
import tomllib
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from arch import units
from arch.entry import Entry, Opcodes, Quantity
from arch.entry_checks import check_complete, check_limits
from arch.following import of_a_file
from arch.keys import DTYPES, KINDS, OPTIONAL_TEXTS, SOURCE_KINDS, TEXTS, Key, key_of
from traces.errors import MachineError, nearest

FOLDER = Path(str(resources.files("arch") / "catalog"))
"""Where our files are: a user's may name one of them as its base."""
_TOP = {
    "id",
    "kind",
    "base",
    "abstract",
    "hypothetical",
    "description",
    "aliases",
    "sources",
    "numbers",
    "opcodes",
    "not_modelled",
    "calibration",
    "residuals",
    "left_out",
}
_TYPES: dict[str, tuple[type, str]] = {
    "sources": (dict, "a table of texts"),
    "numbers": (dict, "a table of numbers"),
    "opcodes": (dict, "a table"),
    "aliases": (list, "a list of texts"),
    "hypothetical": (bool, "true or false"),
    "abstract": (bool, "true or false"),
    "base": (str, "text"),
    "kind": (str, "text"),
}
_FIELDS = {"value", "unit", "source", "source_kind", "note"}


def load_entry(path: "str | os.PathLike[str]") -> Entry:
    """Read one catalogue file, a user's or ours.

    Raises
    ------
    MachineError
        If the file is not TOML, a key is unknown or absent, a unit is ambiguous or of another dimension, a number is NaN,
        infinite or negative, or has no source; the message names file and key.
    """
    path = Path(path)
    entry = _read(path)
    check_complete(entry, str(path))
    check_limits(entry, str(path))
    return entry


def parsed(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file. Raises MachineError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise MachineError(f"{path} must be a readable TOML file: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MachineError(f"{path} must be TOML: {error}") from error


def _read(path: Path, derived: tuple[Path, ...] = ()) -> Entry:
    """Read a file and its bases; ``derived`` are the files that led here."""
    raw = parsed(path)
    _check_types(raw, path)
    kind = _kind(raw, path)
    ours = path.parent.resolve() == FOLDER.resolve()  # files of ours give all that differs from their base
    if not (ours or derived) and (FOLDER / f"{raw['id']}.toml").is_file():
        raise MachineError(f"{path}: id must be its own, but {raw['id']!r} is a device of the catalogue; name that in `base`")
    base = _base(raw, kind, path, (*derived, path.resolve()))
    _check_top(raw, kind, path)
    sources = raw.get("sources", {})
    given = {key: _quantity(table, key, kind, sources, path) for key, table in _flat(raw.get("numbers", {}), kind, path)}
    numbers = (dict(base.numbers) if ours else of_a_file(base, given)) | given if base else given
    text = dict(base.text) if base else {}
    text |= {key: _text(raw[key], key, path) for key in TEXTS[kind] | OPTIONAL_TEXTS if key in raw}
    opcodes = _opcodes(raw["opcodes"], sources, path) if "opcodes" in raw else (base.opcodes if base else Opcodes())
    return Entry(
        id=raw["id"],
        kind=kind,
        description=_text(raw.get("description", ""), "description", path),
        aliases=tuple(raw.get("aliases", ())),
        hypothetical=bool(raw.get("hypothetical", False)),
        text=text,
        numbers=numbers,
        opcodes=opcodes,
        not_modelled=_texts(raw["not_modelled"], "not_modelled", path) if "not_modelled" in raw else base.not_modelled if base else (),
    )


def _check_types(raw: dict[str, Any], path: Path) -> None:
    for key, (kind, name) in _TYPES.items():
        if key in raw and not isinstance(raw[key], kind):
            raise MachineError(f"{path}: {key} must be {name}, but got {raw[key]!r}")
    _texts(raw.get("aliases", []), "aliases", path)


def _base(raw: dict[str, Any], kind: str, path: Path, derived: tuple[Path, ...]) -> Entry | None:
    if "base" not in raw:
        return None
    name = _stem(raw["base"], path.parent)
    for folder in (path.parent, FOLDER):
        found = folder / f"{name}.toml"
        if found.is_file() and found.resolve() not in derived:
            base = _read(found, derived)
            if base.kind != kind:
                raise MachineError(f"{path}: base must be of the kind {kind!r}, but {name!r} is of the kind {base.kind!r}")
            return base
    known = nearest(name, (file.stem for file in FOLDER.glob("*.toml")))
    raise MachineError(f"{path}: there is no other file for the base {name!r}; {known}")


def _stem(name: str, folder: Path) -> str:
    """Return the name of the file of ours that has ``name`` as an alias, unless it is a file's own name."""
    if any((place / f"{name}.toml").is_file() for place in (folder, FOLDER)):
        return name
    return next((file.stem for file in sorted(FOLDER.glob("*.toml")) if name in parsed(file).get("aliases", ())), name)


def _kind(raw: dict[str, Any], path: Path) -> str:
    kind, name = raw.get("kind"), raw.get("id")
    if "kind" not in raw or "id" not in raw:  # perhaps under a misspelt key
        _check_keys(raw, _TOP.union(OPTIONAL_TEXTS, *TEXTS.values()), path)
    if kind not in KINDS:
        near = f"; {nearest(kind, KINDS)}" if isinstance(kind, str) else ""
        raise MachineError(f"{path}: kind must be one of {', '.join(KINDS)}, but got {kind!r}{near}")
    if not isinstance(name, str) or not name or name != name.lower() or any(c in name for c in "+@ "):
        raise MachineError(f"{path}: id must be lower case without '+', '@' or spaces, but got {name!r}")
    return str(kind)


def _check_top(raw: dict[str, Any], kind: str, path: Path) -> None:
    _check_keys(raw, _TOP | TEXTS[kind] | OPTIONAL_TEXTS, path)


def _check_keys(raw: dict[str, Any], known: Iterable[str], path: Path) -> None:
    for key in raw:
        if key not in known:
            raise MachineError(f"{path}: unknown key {key!r}; {nearest(key, known)}")


def _text(value: Any, key: str, path: Path) -> str:
    if not isinstance(value, str):
        raise MachineError(f"{path}: {key} must be text, but got {value!r}")
    return value


def _texts(value: Any, key: str, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise MachineError(f"{path}: {key} must be a list of texts, but got {value!r}")
    return tuple(value)


def _flat(numbers: Any, kind: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, table) of all numbers; those of groups as 'group.dtype'."""
    keys = KINDS[kind]
    for name, table in numbers.items():
        if name not in keys:
            raise MachineError(f"{path}: unknown number {name!r}; {nearest(name, keys)}")
        if keys[name].group:
            if not isinstance(table, dict):
                raise MachineError(f"{path}: {name} must be a table of numbers by name, such as {name}.f32, but got {table!r}")
            for dtype, inner in table.items():
                if keys[name].by == "dtype" and dtype not in DTYPES:
                    raise MachineError(f"{path}: {name} has numbers by dtype, but there is no dtype {dtype!r}; {nearest(dtype, DTYPES)}")
                yield f"{name}.{dtype}", inner
        else:
            yield name, table


def _quantity(table: Any, name: str, kind: str, sources: dict[str, str], path: Path) -> Quantity:
    where = f"{path}: {name}"
    table = _with_unit(table, where)
    for key in table:
        if key not in _FIELDS:
            raise MachineError(f"{where}: unknown field {key!r}; {nearest(key, _FIELDS)}")
    missing = [field for field in ("value", "unit", "source", "source_kind") if field not in table]
    if missing:
        hint = ", or a text with its unit as value, such as '1.5 TB/s'" if missing[0] == "unit" else ""
        raise MachineError(f"{where} must have {missing[0]}{hint}: {_FORM}, but got {table!r}")
    for key in _FIELDS - {"value"}:
        if not isinstance(table.get(key, ""), str):
            raise MachineError(f"{where}: {key} must be text, but got {table[key]!r}")
    source = _source(table, sources, where)
    scale = units.factor(table["unit"], key_of(kind, name).dimension, where)
    value = _value(table["value"], key_of(kind, name), where)
    si = tuple(v * scale for v in value) if isinstance(value, tuple) else value * scale
    _check_range(si, key_of(kind, name), where, fitted=table["source_kind"] == "fitted")
    return Quantity(si, value, table["unit"], source, table["source_kind"], table.get("note", ""))


_FORM = "{ value, unit, source, source_kind }"


def _with_unit(table: Any, where: str) -> dict[str, Any]:
    """Return a number's table; a value that is a text with its unit is taken apart."""
    if not isinstance(table, dict):
        raise MachineError(f"{where} must be a table {_FORM}, but got {table!r}")
    if not isinstance(table.get("value"), str):
        return table
    if "unit" in table:
        raise MachineError(f"{where} must have its unit once, but the value is the text {table['value']!r} and unit is {table['unit']!r}")
    number, unit = units.split(table["value"], where)
    return {**table, "value": number, "unit": unit}


def _check_range(si: float | tuple[float, ...], key: Key, where: str, *, fitted: bool) -> None:
    """Raise MachineError for shares above one and parts of things; a fitted constant may stand for more than its name says."""
    for number in si if isinstance(si, tuple) else (si,):
        if number > key.most and not fitted:
            raise MachineError(f"{where} must be at most {key.most:g}, but got {number:g}")
        if key.whole and number != round(number):
            raise MachineError(f"{where} must be a whole number, but got {number:g}")


def _source(table: dict[str, Any], sources: dict[str, str], where: str) -> str:
    if table["source_kind"] not in SOURCE_KINDS:
        raise MachineError(f"{where}: source_kind must be one of {', '.join(SOURCE_KINDS)}, but got {table['source_kind']!r}")
    if table["source"] not in sources:
        raise MachineError(f"{where}: source must be a key of [sources]; {nearest(str(table['source']), sources)}")
    return sources[table["source"]]


def _value(value: Any, key: Key, where: str) -> float | tuple[float, ...]:
    if key.many:
        if not isinstance(value, list) or not value:
            raise MachineError(f"{where}: value must be a list of numbers, but got {value!r}")
        return tuple(_one(v, key, where) for v in value)
    return _one(value, key, where)


def _one(value: Any, key: Key, where: str) -> float:
    number = units.parse(value, key.dimension, where)
    if key.positive and number == 0:
        raise MachineError(f"{where} must be above zero, but got {value!r}")
    return number


def _opcodes(raw: Any, sources: dict[str, str], path: Path) -> Opcodes:
    where = f"{path}: opcodes"
    tables = {dtype: table for dtype, table in raw.items() if isinstance(table, dict)}
    for key in set(raw) - set(tables) - {"source", "source_kind", "note", "free"}:
        raise MachineError(f"{where}: unknown key {key!r}; known are source, source_kind, note, free and a table a dtype")
    source = _source({"source": raw.get("source", ""), "source_kind": raw.get("source_kind", "")}, sources, where)
    commands = {dtype: {op: units.parse(n, "1", f"{where}.{dtype}.{op}") for op, n in table.items()} for dtype, table in tables.items()}
    return Opcodes(commands, frozenset(_texts(raw.get("free", []), "opcodes.free", path)), source, raw["source_kind"], raw.get("note", ""))
