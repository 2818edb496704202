"""Models of tables: each says which columns it needs, and adds columns to a table that has them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from traces.errors import CodesignError, nearest

if TYPE_CHECKING:
    import pandas as pd

MODULES = ("codesign.predicting.gpu_kernels", "codesign.predicting.pim_runs")
"""Modules that each hold a ``MODEL``; a new kind of table is a new module here."""


@dataclass(frozen=True)
class Options:
    """What a user may say beside the table. ``sustained_clocks``: hertz by device; ``constants``: fitted constants by key."""

    sustained_clocks: Mapping[str, float] = field(default_factory=dict)
    constants: Mapping[str, float | tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TableModel:
    """How one kind of table is predicted.

    ``price`` takes the table and the options and returns a table of the same length and index with the columns to add, which
    are among ``added``; it reads nothing of ``measured`` and raises CodesignError naming the row that it cannot price.
    ``predicted`` is compared with ``measured`` where a table has it, by ``groups``; ``baseline`` (None: none)
    is a roofline to compare with; ``notes`` (None: none) says what a user should know of a table.
    """

    name: str
    columns: frozenset[str]
    added: tuple[str, ...]
    price: Callable[["pd.DataFrame", Options], "pd.DataFrame"]
    predicted: str
    measured: str
    groups: tuple[str, ...]
    baseline: "Callable[[pd.DataFrame], pd.Series[float]] | None" = None
    notes: "Callable[[pd.DataFrame], list[str]] | None" = None


def models() -> list[TableModel]:
    """Return all models, in the order of their modules."""
    return [import_module(module).MODEL for module in MODULES]


def find(columns: Iterable[str]) -> TableModel:
    """Return the model whose required columns a table has; of several, the one that uses most of them.

    Raises CodesignError with what the nearest model lacks.
    """
    have, known = set(columns), models()
    fitting = [model for model in known if model.columns <= have]
    if fitting:
        return max(fitting, key=lambda model: len(model.columns))
    closest = max(known, key=lambda model: len(model.columns & have) / len(model.columns))
    missing = sorted(closest.columns - have)
    hints = f"; {nearest(missing[0], have)}" if have else ""
    raise CodesignError(
        f"a table must have the columns of a model to be predicted; nearest is {closest.name!r}, which also needs "
        f"{', '.join(missing)}{hints}"
    )
