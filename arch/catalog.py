"""The catalogue: hardware as TOML files in which every number has a unit, a source and a kind of source."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from arch import units
from arch.keys import DTYPES, KINDS, OPTIONAL_TEXTS, SOURCE_KINDS, TEXTS, Key
from traces.errors import MachineError, nearest

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


@dataclass(frozen=True)
class Quantity:
    """One number: in SI, as written, and where it comes from."""

    si: float | tuple[float, ...]
    value: float | tuple[float, ...]
    unit: str
    source: str
    source_kind: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return value and unit as written, source, kind of source and note, ready for JSON."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {"value": value, "unit": self.unit, "source": self.source, "source_kind": self.source_kind, "note": self.note}


@dataclass(frozen=True)
class Opcodes:
    """What a PIM unit executes: commands an element by dtype and opcode; ``free`` opcodes cost none."""

    commands: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    source: str = ""
    source_kind: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Entry:
    """One catalogue file, checked. ``entry[key]`` is the number in SI; keys of groups are 'group.dtype'."""

    id: str
    kind: str
    description: str
    aliases: tuple[str, ...]
    hypothetical: bool
    text: Mapping[str, str]
    numbers: Mapping[str, Quantity]
    opcodes: Opcodes = field(default_factory=Opcodes)
    not_modelled: tuple[str, ...] = ()
    """What the real thing does and its price leaves out."""

    @cached_property
    def _si(self) -> dict[str, float | tuple[float, ...]]:
        return {key: quantity.si for key, quantity in self.numbers.items()}

    @cached_property
    def _groups(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for key in self.numbers:
            name, dot, dtype = key.partition(".")
            if dot:
                found.setdefault(name, {})[dtype] = self[key]
        return found

    def __getitem__(self, key: str) -> float:
        value = self._si[key] if key in self._si else self.quantity(key).si
        if isinstance(value, tuple):
            raise MachineError(f"{self.id}.{key} is a list; use entry.list({key!r})")
        return value

    def get(self, key: str) -> float | None:
        """Return the number in SI, None if the file does not have it."""
        return self[key] if key in self.numbers else None

    def list(self, key: str) -> tuple[float, ...]:
        """Return a list of numbers in SI."""
        value = self.quantity(key).si
        return value if isinstance(value, tuple) else (value,)

    def group(self, name: str) -> dict[str, float]:
        """Return the numbers of a group by dtype, in SI; empty if there are none."""
        return dict(self._groups.get(name, ()))

    def quantity(self, key: str) -> Quantity:
        """Return a number with unit and source. Raises MachineError with the nearest keys."""
        if key not in self.numbers:
            raise MachineError(f"the device {self.id!r} has no number {key!r}; {nearest(key, self.numbers)}")
        return self.numbers[key]

    def changed(self, numbers: Mapping[str, float]) -> "Entry":
        """Return a hypothetical entry with some numbers (in SI) changed; the same object for the same changes."""
        return _changed(self, tuple(sorted(numbers.items())), ()) if numbers else self

    def without(self, *keys: str) -> "Entry":
        """Return the entry without some numbers, which are not known any more; the same object for the same keys."""
        present = tuple(key for key in keys if key in self.numbers)
        return _changed(self, (), present) if present else self

    def refitted(self, values: Mapping[str, float | tuple[float, ...]]) -> "Entry":
        """Return the same device with other numbers, in SI, such as constants that are being fitted.

        Raises MachineError for other keys.
        """
        numbers = dict(self.numbers)
        for key, value in values.items():
            if key.split(".")[0] not in KINDS[self.kind]:
                raise MachineError(f"a {self.kind} has no number {key!r}; {nearest(key, KINDS[self.kind])}")
            numbers[key] = Quantity(value, value, key_of(self.kind, key).dimension, "given to Entry.refitted", "fitted")
        return replace(self, numbers=numbers)

    def recalibrated(self, values: Mapping[str, float | tuple[float, ...]]) -> "Entry":
        """Return the same device with other constants, in SI; what the device itself has from another source than a fit stays."""
        return self.refitted({key: value for key, value in values.items() if key not in self.numbers or self._is_fitted(key)})

    def _is_fitted(self, key: str) -> bool:
        return self.numbers[key].source_kind == "fitted"

    @property
    def assumptions(self) -> int:
        """How many of its numbers, the table of opcodes among them, are assumptions."""
        return [*(quantity.source_kind for quantity in self.numbers.values()), self.opcodes.source_kind].count("assumption")

    def to_dict(self) -> dict[str, Any]:
        """Return the whole file, every number with its source, ready for JSON."""
        return {
            "id": self.id,
            "kind": self.kind,
            "description": self.description,
            "hypothetical": self.hypothetical,
            **dict(self.text),
            "not_modelled": list(self.not_modelled),
            "numbers": {key: quantity.to_dict() for key, quantity in self.numbers.items()},
            **({"opcodes": self._opcodes_dict()} if self.opcodes.commands else {}),
        }

    def _opcodes_dict(self) -> dict[str, Any]:
        table = self.opcodes
        commands = {dtype: dict(codes) for dtype, codes in table.commands.items()}
        return {
            "commands": commands,
            "free": sorted(table.free),
            "source": table.source,
            "source_kind": table.source_kind,
            "note": table.note,
        }


@lru_cache(maxsize=256)
def _changed(entry: Entry, numbers: tuple[tuple[str, float], ...], dropped: tuple[str, ...]) -> Entry:
    new = {key: _override(entry.quantity(key), si) for key, si in numbers}
    kept = {key: quantity for key, quantity in entry.numbers.items() if key not in dropped}
    return replace(entry, hypothetical=True, numbers={**kept, **new})


def _override(old: Quantity, si: float) -> Quantity:
    assert not isinstance(old.si, tuple)
    assert not isinstance(old.value, tuple)
    scale = old.si / old.value if old.value else 1.0
    return replace(old, si=si, value=si / scale, source_kind="assumption", note=f"changed from {old.value:g} {old.unit}")


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
    _check_complete(entry, str(path))
    return entry


@cache
def builtin_ids() -> tuple[str, ...]:
    """Return the ids of the files in arch/catalog, sorted; those that only serve as a base are left out."""
    return tuple(sorted(path.stem for path in _files() if not _toml(path).get("abstract", False)))


@cache
def builtin(entry_id: str) -> Entry:
    """Return a file of arch/catalog by its id. Raises MachineError with the nearest ids."""
    if entry_id not in builtin_ids():
        raise MachineError(f"there is no device {entry_id!r} in the catalogue; {nearest(entry_id, builtin_ids())}")
    return load_entry(_folder() / f"{entry_id}.toml")


@cache
def aliases() -> dict[str, str]:
    """Return the id of every alias of the catalogue's devices; ids stand for themselves."""
    table = {entry_id: entry_id for entry_id in builtin_ids()}
    for entry_id in builtin_ids():
        for alias in builtin(entry_id).aliases:
            if table.setdefault(alias, entry_id) != entry_id:
                raise MachineError(f"the alias {alias!r} must name one device, but both {table[alias]!r} and {entry_id!r} claim it")
    return table


def calibrated_path() -> Path:
    """Return the file of the fitted constants."""
    return _folder() / "calibrated.toml"


@cache
def residuals() -> dict[str, dict[str, float]]:
    """Return how far the fitted model was off on devices left out of its fit: ``row`` and ``total`` by class of rows."""
    found: dict[str, dict[str, float]] = _toml(calibrated_path()).get("residuals", {})
    return found


@cache
def left_out() -> dict[str, dict[str, float]]:
    """Return what devices left out of the fit showed, by 'device/op': ``median`` error and ``bias`` of the summed time."""
    found: dict[str, dict[str, float]] = _toml(calibrated_path()).get("left_out", {})
    return found


def _folder() -> Path:
    return Path(str(resources.files("arch") / "catalog"))


def _files() -> list[Path]:
    return sorted(_folder().glob("*.toml"))


def _toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise MachineError(f"{path} must be a readable TOML file: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MachineError(f"{path} must be TOML: {error}") from error


def _read(path: Path, derived: tuple[Path, ...] = ()) -> Entry:
    """Read a file and its bases; ``derived`` are the files that led here."""
    raw = _toml(path)
    _check_types(raw, path)
    kind = _kind(raw, path)
    base = _base(raw, kind, path, (*derived, path.resolve()))
    _check_top(raw, kind, path)
    sources = raw.get("sources", {})
    numbers = dict(base.numbers) if base else {}
    numbers |= {key: _quantity(table, key, kind, sources, path) for key, table in _flat(raw.get("numbers", {}), kind, path)}
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
    name = raw["base"]
    for folder in (path.parent, _folder()):
        found = folder / f"{name}.toml"
        if found.is_file() and found.resolve() not in derived:
            base = _read(found, derived)
            if base.kind != kind:
                raise MachineError(f"{path}: base must be of the kind {kind!r}, but {name!r} is of the kind {base.kind!r}")
            return base
    raise MachineError(f"{path}: there is no other file for the base {name!r}; {nearest(name, (p.stem for p in _files()))}")


def _kind(raw: dict[str, Any], path: Path) -> str:
    kind, name = raw.get("kind"), raw.get("id")
    if kind not in KINDS:
        raise MachineError(f"{path}: kind must be one of {', '.join(KINDS)}, but got {kind!r}")
    if not isinstance(name, str) or not name or name != name.lower() or any(c in name for c in "+@ "):
        raise MachineError(f"{path}: id must be lower case without '+', '@' or spaces, but got {name!r}")
    return str(kind)


def _check_top(raw: dict[str, Any], kind: str, path: Path) -> None:
    known = _TOP | TEXTS[kind] | OPTIONAL_TEXTS
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


def key_of(kind: str, name: str) -> Key:
    """Return the specification of a number, 'group.dtype' included."""
    return KINDS[kind][name.split(".")[0]]


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


def _check_complete(entry: Entry, where: str) -> None:
    """Every required number is there: a base may leave some to its devices."""
    present = {name.split(".")[0] for name in entry.numbers}
    missing = [name for name, key in KINDS[entry.kind].items() if key.required and name not in present]
    if missing:
        raise MachineError(
            f"{where} must have the number {missing[0]!r} ({KINDS[entry.kind][missing[0]].doc}); missing: {', '.join(missing)}"
        )
    _check_modes(entry, where)
    for key in TEXTS[entry.kind]:
        if key not in entry.text:
            raise MachineError(f"{where} must have the text {key!r}")


def _check_modes(entry: Entry, where: str) -> None:
    """Every group by mode has a number for every mode of the others."""
    groups = [name for name, key in KINDS[entry.kind].items() if key.group and key.by == "mode"]
    modes = list(dict.fromkeys(mode for name in groups for mode in entry.group(name)))
    for name in groups:
        for mode in modes:
            if mode not in entry.group(name):
                known = f"{name} has {', '.join(entry.group(name))}"
                raise MachineError(f"{where} must have {name}.{mode}, as other groups have the mode {mode!r}; {known}")
