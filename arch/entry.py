"""A device of the catalogue: its numbers, each with a unit, a source and a kind of source."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from arch.keys import KINDS, key_of
from traces.errors import MachineError, nearest


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

    def __repr__(self) -> str:
        return f"<Entry {self.id}: {self.kind}, {len(self.numbers)} numbers>"

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

    def or_nan(self, key: str) -> float:
        """Return the number in SI, NaN if the file does not have it."""
        return self[key] if key in self.numbers else float("nan")

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
