"""Measured GPU kernels and framework operators: products, elementwise operators, softmax and layer norm, by device and shape."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arch import operators
from arch.entry import Entry
from codesign.predicting import floors
from codesign.predicting.columns import Labels, Rows, refuse, renamed, sizes, split
from codesign.predicting.registry import Options, TableModel
from traces.errors import CodesignError, MachineError, nearest

if TYPE_CHECKING:
    import pandas as pd

Float = NDArray[np.float64]

DTYPES = {
    "float64": "f64",
    "float32": "f32",
    "tfloat32": "tf32",
    "bfloat16": "bf16",
    "float16": "f16",
    "float8_e4m3fn": "f8e4m3fn",
    "float8_e5m2": "f8e5m2",
    "int8": "s8",
}
"""Frameworks' names of dtypes and XLA's, which are accepted too. float32 is plain FP32: no TF32, no tensor cores."""

_SIZE = "a whole number above zero"
_MOST = 2**53
"""Above it not every whole number is a double."""


def price(table: "pd.DataFrame", options: Options) -> "pd.DataFrame":
    """Return predicted_us, kernel_us and relative_uncertainty of every row. Raises CodesignError naming the first faulty row."""
    import pandas as pd

    kernel, seen, relative = (np.zeros(len(table)) for _ in range(3))
    for rows, entry, work, source in groups(table, options):
        kernel[rows] = operators.kernel_s(entry, work)
        seen[rows] = floors.measured_s(entry, source, work, kernel[rows])
        relative[rows] = operators.relative_uncertainty(entry, work, kernel[rows])
    return pd.DataFrame({"predicted_us": 1e6 * seen, "kernel_us": 1e6 * kernel, "relative_uncertainty": relative}, index=table.index)


def roofline(table: "pd.DataFrame") -> "pd.Series[float]":
    """Return microseconds of a plain roofline: data-sheet peaks, every operand moved once, nothing else."""
    import pandas as pd

    seconds = np.zeros(len(table))
    for rows, entry, work, _ in groups(table, Options()):
        seconds[rows] = operators.roofline_s(entry, work)
    return pd.Series(1e6 * seconds, index=table.index)


def groups(table: "pd.DataFrame", options: Options) -> Iterator[tuple[Rows, Entry, operators.Operators, str]]:
    """Yield the rows of each device, op, name, dtype and source with their catalogue entry and their work."""
    device, op, name, source = (Labels.of(table, column) for column in ("device", "op", "name", "source"))
    dtype = renamed(Labels.of(table, "dtype"), lambda given: DTYPES.get(given, given))
    entries = _entries(table, device, options)
    shapes = _checked(table, op, name, dtype)
    for rows, (on, kind, called, kept, measured_by) in split((device, op, name, dtype, source)):
        entry = entries[on]
        known = operators.dtypes(entry, kind)
        if kept not in known:
            refuse(table, np.isin(np.arange(len(table)), rows), "dtype", f"one that {entry.id} has for {kind}, {', '.join(known)}")
        shape = {column: shapes[column][rows] for column in operators.SHAPES[kind]}
        yield rows, entry, operators.Operators(kind, called, kept, shape, measured_by), measured_by


def _entries(table: "pd.DataFrame", device: Labels, options: Options) -> dict[str, Entry]:
    """Return the catalogue entries by the table's names, with sustained clocks where given."""
    clocks = _clocks_by_id(options.sustained_clocks)
    found = {name: _gpu(name) for name in device.present}
    unknown = [name for name, entry in found.items() if entry is None]
    if unknown:
        refuse(table, device.isin(unknown), "device", "a GPU of the catalogue", _known_gpus())
    known = {
        name: entry.recalibrated(options.constants) if options.constants else entry for name, entry in found.items() if entry is not None
    }
    return {name: entry.refitted({"sustained_clock": clocks[entry.id]}) if entry.id in clocks else entry for name, entry in known.items()}


def _clocks_by_id(clocks: Mapping[str, float]) -> dict[str, float]:
    """Return sustained clocks by catalogue id. Raises CodesignError for a device that is none, or that has two clocks."""
    found: dict[str, float] = {}
    for name, clock in clocks.items():
        entry = _gpu(name)
        if entry is None:
            raise CodesignError(
                f"sustained clocks must be of GPUs of the catalogue, but there is none {name!r}; {nearest(name, _known_gpus())}"
            )
        if found.setdefault(entry.id, clock) != clock:
            raise CodesignError(f"a GPU must have one sustained clock, but {entry.id} has two, the second as {name!r}; leave one")
    return found


def _gpu(name: str) -> Entry | None:
    from arch import registered

    try:
        entry = registered.find(name)
    except MachineError:
        return None
    return entry if entry.kind == "gpu" else None


def _known_gpus() -> list[str]:
    from arch import catalog, registered

    return [name for name in {*registered.names(), *catalog.aliases()} if _gpu(name) is not None]


def _checked(table: "pd.DataFrame", op: Labels, name: Labels, dtype: Labels) -> dict[str, Float]:
    """Return the shape columns after checking that every row has an op, an operator, a dtype and a shape."""
    refuse(table, ~op.isin(list(operators.SHAPES)), "op", f"one of {', '.join(operators.SHAPES)}", list(operators.SHAPES))
    elementwise = op.isin(["elementwise"])
    refuse(
        table, elementwise & ~name.isin(list(operators.ELEMENTWISE)), "name", "a known elementwise operator", list(operators.ELEMENTWISE)
    )
    refuse(table, ~dtype.isin([*DTYPES.values()]), "dtype", "a known dtype", [*DTYPES, *DTYPES.values()])
    shapes = {}
    for column in ("batch", "m", "n", "k", "rows", "cols"):
        shapes[column] = sizes(table, column)
        needed = op.isin([kind for kind, columns in operators.SHAPES.items() if column in columns])
        size = shapes[column]
        refuse(table, needed & ~((size >= 1) & (size == np.floor(size))), column, _SIZE)
        refuse(table, needed & (size > _MOST), column, f"at most {_MOST:,}")
    return shapes


def notes(table: "pd.DataFrame") -> list[str]:
    """Return a sentence if sources are missing or unknown: nothing is added to their kernels."""
    source = Labels.of(table, "source")
    unknown = sorted(name for name in source.present if not floors.known(name))
    rows = int(source.isin(unknown).sum())
    names = ", ".join(repr(name) if name else "none" for name in unknown)
    return [f"{rows:,} rows of unknown source ({names}): predicted_us is the kernel alone, no floor is added"] if rows else []


MODEL = TableModel(
    name="GPU kernels",
    columns=frozenset({"device", "op", "dtype"}),
    added=("predicted_us", "kernel_us", "relative_uncertainty"),
    price=price,
    predicted="predicted_us",
    measured="latency_us",
    groups=("device", "op", "source"),
    baseline=roofline,
    notes=notes,
)
