"""Columns of one length: what each of a trace's four tables is in memory."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces import schema
from traces.errors import TraceError, nearest

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
Values = Sequence[Any] | Array

_NUMPY: dict[str, type[np.generic]] = {"int32": np.int32, "int64": np.int64, "float64": np.float64}
_MISSING: dict[str, Any] = {"int32": -1, "int64": -1, "float64": np.nan, "string": ""}
_ARROW = {"int32": pa.int32(), "int64": pa.int64(), "float64": pa.float64(), "string": pa.dictionary(pa.int32(), pa.string())}


class Table:
    """Immutable columns of one length, described by ``schema.TABLES[kind]``.

    ``table[name]`` is a read-only array: numbers as int32, int64 or float64 (missing: -1, NaN), text as an object array of
    str (missing: ''). Text is held as codes into its distinct values; ``codes`` and ``categories`` give those.
    """

    def __init__(self, kind: str, numbers: dict[str, Array], text: dict[str, tuple[Array, list[str]]]) -> None:
        self.kind = kind
        self._numbers = numbers
        self._text = text
        for array in [*numbers.values(), *(codes for codes, _ in text.values())]:
            array.setflags(write=False)

    @classmethod
    def build(cls, kind: str, columns: Mapping[str, Values]) -> "Table":
        """Make the table ``kind`` ('kernels', 'tensors', 'accesses' or 'regions') from columns by name.

        An absent column is filled with nulls where its null has a meaning. Raises TraceError for unknown or absent columns,
        unequal lengths, wrong types, and values outside a column's fixed set.
        """
        spec = schema.TABLES[kind]
        known = {c.name for c in spec}
        for name in columns:
            if name not in known:
                raise TraceError(f"the table {kind!r} has no column {name!r}; {nearest(name, known)}")
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise TraceError(f"all columns of {kind!r} must have one length, but got {lengths}")
        rows = next(iter(lengths.values()), 0)
        numbers: dict[str, Array] = {}
        text: dict[str, tuple[Array, list[str]]] = {}
        for column in spec:
            values = columns.get(column.name)
            if values is None:
                values = _all_missing(kind, column, rows)
            if column.dtype == "string":
                text[column.name] = _encode(kind, column, values)
            else:
                numbers[column.name] = _as_numbers(kind, column, values)
        return cls(kind, numbers, text)

    @classmethod
    def from_arrow(cls, kind: str, table: pa.Table) -> "Table":
        """Make the table from its Parquet form, in which missing values are nulls. Raises TraceError."""
        columns = {}
        for column in schema.TABLES[kind]:
            if column.name not in table.column_names:
                raise TraceError(f"the table {kind!r} must have the column {column.name!r}, but has {', '.join(table.column_names)}")
            columns[column.name] = _from_arrow(kind, column, table.column(column.name))
        return cls.build(kind, columns)

    def take(self, rows: Array, changed: Mapping[str, Values] | None = None) -> "Table":
        """Return these rows in this order, and columns of numbers in ``changed`` instead of their own. Raises TraceError as ``build``."""
        changed = changed or {}
        numbers: dict[str, Array] = {}
        for column in schema.TABLES[self.kind]:
            if column.name in changed:
                numbers[column.name] = _as_numbers(self.kind, column, changed[column.name])
            elif column.name in self._numbers:
                numbers[column.name] = self._numbers[column.name][rows]
        text = {name: _in_order_of_appearance(codes[rows], categories) for name, (codes, categories) in self._text.items()}
        return Table(self.kind, numbers, text)

    def to_arrow(self) -> pa.Table:
        """Return the Parquet form: missing values are nulls, text is dictionary-encoded."""
        arrays = []
        for column in schema.TABLES[self.kind]:
            if column.dtype == "string":
                codes, categories = self._text[column.name]
                missing = np.array([c == "" for c in categories], dtype=bool)[codes] if len(codes) else np.zeros(0, bool)
                arrays.append(pa.DictionaryArray.from_arrays(pa.array(codes, mask=missing), pa.array(categories, type=pa.string())))
            else:
                values = self._numbers[column.name]
                missing = np.isnan(values) if column.dtype == "float64" else (values == -1) if column.null else np.zeros(len(values), bool)
                arrays.append(pa.array(values, mask=missing))
        names = [c.name for c in schema.TABLES[self.kind]]
        return pa.Table.from_arrays(arrays, names=names)

    def __len__(self) -> int:
        return len(next(iter(self._numbers.values()))) if self._numbers else 0

    def __getitem__(self, name: str) -> Array:
        if name in self._numbers:
            return self._numbers[name]
        codes, categories = self._text_column(name)
        decoded: Array = np.array([*categories, ""], dtype=object)[codes]
        return decoded

    def codes(self, name: str) -> Array:
        """Return the int32 code of each row of a text column."""
        return self._text_column(name)[0]

    def categories(self, name: str) -> list[str]:
        """Return the distinct values of a text column, in order of first appearance: what its codes index."""
        return self._text_column(name)[1]

    def _text_column(self, name: str) -> tuple[Array, list[str]]:
        if name not in self._text:
            raise TraceError(f"the table {self.kind!r} has no column {name!r}; {nearest(name, self.columns)}")
        return self._text[name]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, in the schema's order."""
        return tuple(c.name for c in schema.TABLES[self.kind])

    def decoded(self) -> dict[str, Array]:
        """Return all columns by name, text decoded: what ``build`` takes."""
        return {name: self[name] for name in self.columns}

    def to_pandas(self) -> "pd.DataFrame":
        """Return a pandas DataFrame; missing numbers are <NA> or NaN, missing text is <NA>."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html(max_rows=20))

    def __repr__(self) -> str:
        return f"Table({self.kind!r}, {len(self)} rows)"


def _all_missing(kind: str, column: schema.Column, rows: int) -> Values:
    if not column.null and not (column.dtype == "float64") and rows:
        raise TraceError(f"the table {kind!r} must have the column {column.name!r} ({column.doc}): it may not be missing")
    return [_MISSING[column.dtype]] * rows


def _as_numbers(kind: str, column: schema.Column, values: Values) -> Array:
    try:
        given = np.asarray(values)
        array = np.array(given, dtype=_NUMPY[column.dtype])
    except (TypeError, ValueError, OverflowError) as error:
        raise TraceError(f"{kind}.{column.name} must hold {column.dtype}, but got {str(values)[:80]!r}: {error}") from error
    if column.dtype != "float64" and given.dtype.kind == "f" and not np.array_equal(array, given):
        raise TraceError(f"{kind}.{column.name} must hold whole numbers, but got {given[array != given][0]!r}")
    _check_range(kind, column, array)
    return array


def _check_range(kind: str, column: schema.Column, array: Array) -> None:
    """Numbers are finite and not negative; -1 (NaN for floats) is the one way to say that a value is missing."""
    low = -1 if column.null and column.dtype != "float64" else 0
    bad = np.flatnonzero((array < low) | np.isinf(array))
    if len(bad):
        row = int(bad[0])
        raise TraceError(f"{kind}.{column.name} must be finite and not negative, but row {row} has {array[row].item()!r}")


def _encode(kind: str, column: schema.Column, values: Values) -> tuple[Array, list[str]]:
    encoded = values if isinstance(values, pa.DictionaryArray) else pa.array(values, type=pa.string()).dictionary_encode()
    codes = np.array(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int32)
    codes, categories = _in_order_of_appearance(codes, encoded.dictionary.to_pylist())
    if "" in categories and not column.null:
        row = int(np.flatnonzero(codes == categories.index(""))[0])
        raise TraceError(f"{kind}.{column.name} ({column.doc}) must not be empty, but row {row} is")
    for value in categories:
        if column.values and value and value not in column.values:
            row = int(np.flatnonzero(codes == categories.index(value))[0])
            raise TraceError(f"{kind}.{column.name} must be one of {', '.join(column.values)}, but row {row} has {value!r}")
    return codes, categories


def _in_order_of_appearance(codes: Array, categories: list[str]) -> tuple[Array, list[str]]:
    """One content has one encoding: categories in the order in which rows use them, unused ones dropped."""
    used, first = np.unique(codes, return_index=True)
    order = used[np.argsort(first)]
    rank = np.zeros(len(categories) + 1, dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[codes], [categories[i] for i in order]


def _from_arrow(kind: str, column: schema.Column, values: pa.ChunkedArray) -> Values:
    if column.dtype == "string":
        array: pa.Array = values.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # an empty column has no chunk
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=pa.string())
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        text: Values = _null_as_category(array)
        return text
    try:
        values = values.cast(_ARROW[column.dtype])
    except pa.ArrowInvalid as error:
        raise TraceError(f"{kind}.{column.name} must hold {column.dtype}, but the file holds {values.type}: {error}") from error
    if column.dtype == "float64" and pc.any(pc.is_nan(values)).as_py():
        row = pc.index(pc.is_nan(values), True).as_py()
        raise TraceError(f"{kind}.{column.name} must be a number or null, but row {row} has NaN")
    if values.null_count and not column.null:
        raise TraceError(f"{kind}.{column.name} ({column.doc}) must not be null, but {values.null_count} rows are")
    filled: Array = values.fill_null(_MISSING[column.dtype]).to_numpy()
    return filled


def _null_as_category(array: pa.DictionaryArray) -> pa.DictionaryArray:
    if not array.null_count:
        return array
    categories = array.dictionary.to_pylist()
    indices = array.indices.fill_null(len(categories))
    return pa.DictionaryArray.from_arrays(indices, pa.array([*categories, ""], type=pa.string()))
