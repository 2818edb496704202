"""The settings of a simulator's run, out of the text of its preset and options."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from arch import catalog
from arch.entry import Entry
from arch.pim.timing import plain, timing
from traces.errors import CodesignError, nearest

_CHANGE = re.compile(r"^([A-Za-z][A-Za-z_]*?)\s*[=:]?\s*(?:[\d.]+\s*(?:->|→)\s*)?([\d.]+(?:e\d+)?)\s*(?:ns|clocks?|cycles?|ck)?$")
_SEPARATORS = re.compile(r"[();,\[\]{}]|\s\+\s")
_OFF = frozenset({"off", "false", "no", "0"})
_NO_REFRESH = frozenset({"noref", "norefresh", "no refresh", *(f"refresh={word}" for word in _OFF)})


class Wrong(CodesignError):
    """What a column of the table must be, where another than the one that is looked at is wrong."""

    def __init__(self, column: str, must: str) -> None:
        super().__init__(must)
        self.column = column


@dataclass(frozen=True, eq=False)
class Setting:
    """One run's settings: the dram entry of its preset, the clocks of its timing parameters, and what its options say."""

    entry: Entry
    timing: Mapping[str, float]
    refresh: bool
    options: Mapping[str, str]
    clock_s: float
    """Seconds of a clock."""


@cache
def presets() -> dict[str, dict[str, Entry]]:
    """Return the dram entries of each simulator, by preset; names in lower case."""
    found: dict[str, dict[str, Entry]] = {}
    for name in catalog.builtin_ids():
        entry = catalog.builtin(name)
        if entry.kind == "dram":
            found.setdefault(entry.text["simulator"].lower(), {})[entry.text["preset"].lower()] = entry
    return found


def simulator(text: str) -> str:
    """Return the simulator that a text begins with, in lower case; versions may follow. Raises CodesignError if unknown."""
    words = text.lower().split()
    if not words or words[0] not in presets():
        raise CodesignError(f"one of {', '.join(presets())}; {nearest(text, presets())}")
    return words[0]


def setting(of: str, preset: str, options: str) -> Setting:
    """Return the settings of a run of simulator ``of``.

    The preset may be followed by what is changed in it, as in '(noref)', '(tRP=20)' or '(tRCDRD=14->7)'; options are
    separated by semicolons and may change timing parameters too. Raises CodesignError saying what a preset or option must be.
    """
    entry, rest = _entry(of, preset)
    said = _options(options)
    changes = _changes([part for part in _SEPARATORS.split(rest) if part.strip()], entry)
    for name, value in said.items():
        try:
            changes |= _change(f"{name}={value}", entry) | _change(value, entry)
        except CodesignError as error:
            raise Wrong("options", str(error)) from None
    clock = changes.pop("tCK", entry["clock_period"] * 1e9) * 1e-9
    values = timing(entry, **changes)
    if "ranks" in values and "ranks" in said:
        values["ranks"] = _number(said["ranks"], "ranks")
    off = any(part.strip().lower() in _NO_REFRESH for part in _SEPARATORS.split(rest))
    return Setting(entry, values, not off and said.get("refresh", "on") not in _OFF, said, clock)


def _entry(of: str, preset: str) -> tuple[Entry, str]:
    """The entry whose preset a text begins with, the longest that fits, and the rest of the text."""
    known = presets()[of]
    lower = preset.strip().lower()
    for name in sorted(known, key=len, reverse=True):
        for spelled in (name, name.removesuffix(".ini")):
            rest = lower[len(spelled) :].removeprefix(".ini")
            if lower.startswith(spelled) and not rest[:1].isalnum():
                cut = len(preset.strip()) - len(rest)
                return known[name], preset.strip()[cut:].strip(" _-+/:;,")
    raise CodesignError(f"a preset of {of}, such as {', '.join(e.text['preset'] for e in known.values())}; {nearest(preset, known)}")


def _options(text: str) -> dict[str, str]:
    """Options by name, in lower case but for timing parameters; words without a value are their own value."""
    found = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        name = name.strip()
        if name:
            found[name if _timing_like(name) else name.lower()] = value.strip().lower()
    return found


def _timing_like(name: str) -> bool:
    return bool(re.match(r"^(?:[nt][A-Z]|BL$|RL$|WL$|AL$)", name))


def _changes(parts: list[str], entry: Entry) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        if part.strip().lower() not in _NO_REFRESH:
            change = _change(part.strip(), entry)
            if not change:
                raise CodesignError(f"a preset of {entry.text['simulator']} with timing parameters changed as in '(tRP=20)', not {part!r}")
            found |= change
    return found


def _change(part: str, entry: Entry) -> dict[str, float]:
    """A timing parameter and its value, if a text is one; {} if it speaks of something else."""
    match = _CHANGE.match(part)
    if match is None:
        return {}
    known = {plain(name) for name in entry.group("timing")} | {plain(name) for name in entry.text["idle"].split()}
    name = "ranks" if match[1].upper() == "NUM_RANKS" else match[1]
    if name == "tCK" or (plain(name) in known and (name.lower() != "ranks" or match[1] != name)):
        return {name: _number(match[2], name)}
    if _timing_like(name):
        raise CodesignError(f"settings of {entry.text['simulator']}: there is no timing parameter {name!r} ({nearest(name, known)})")
    return {}


def _number(text: str, name: str) -> float:
    match = re.match(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)", text)
    if match is None or float(match[1]) < 0:
        raise CodesignError(f"settings with numbers, but {name} is {text!r}")
    return float(match[1])
