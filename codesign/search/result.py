"""What a search found, and how good that is at best and at worst."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codesign import documents
from codesign.search.designs import Design
from traces.errors import SearchError
from traces.si import show

if TYPE_CHECKING:
    import pandas as pd

KIND = "result"


@dataclass(frozen=True)
class Border:
    """A parameter of the best design that lies on a border of the space: the optimum may be beyond it.

    ``matters`` says whether a step inward, the mapping kept, changes an objective; if not, the parameter lies there by chance.
    """

    parameter: str
    value: float
    side: str
    low: float
    high: float
    matters: bool


@dataclass(frozen=True)
class Tried:
    """One trial: what it took, whether it kept the budget, and which trial of the front beats it in every objective (None: none).

    ``machine`` holds the parameters that the search set, ``policy`` the name of the one that mapped it.
    """

    trial: int
    time_s: float | None
    energy_j: float | None
    area_mm2: float | None
    price_usd: float | None
    feasible: bool
    dominated_by: int | None
    power_watts: float | None = None
    machine: dict[str, float] = dataclasses.field(default_factory=dict)
    policy: str = ""


@dataclass(frozen=True)
class Comparison:
    """The best design against another: can the model tell them apart?

    ``difference_s`` is the other's kernel time minus the best's, ``sigma_s`` the standard deviation of that difference; ``told`` says
    that the difference is larger.
    """

    design: str
    difference_s: float
    sigma_s: float
    told: bool


@dataclass(frozen=True)
class Result:
    """The outcome of ``explore``. Times are seconds of a full replay, except ``exact_partition_s``.

    Parameters
    ----------
    trace
        The content hash of the trace, which ``program`` names.
    hypothetical
        Whether the machine, or that of a design of the front, is nothing that is sold.
    objectives, budget, space
        What was to be least, the limit of each measure (SI), and the space as ``Space.to_dict`` says it.
    seed, trials
        Of the sampler; designs that were evaluated, those that could not run included.
    best, pareto
        The design of least first objective, and all that no other design beats in every objective, among those within the budget.
    best_single_device_s, best_single_device
        The best time with everything on one device, on the machine given or the best design's, and which device; None and '' where
        no such design runs within the budget.
    lower_bound_s, lower_bound_method, lower_bound_parts
        What no design of the space can beat, by which method, and what every method gave. None: nothing could be proven.
    bound_gap
        best.time_s / lower_bound_s - 1.
    exact_partition_s, partition_gap
        The proven optimum over all mappings on the best design's machine, and by how much the best design's mapping is above it, both
        under the model that ``semantics`` names, not under replay.
    on_border
        Parameters of the best design that lie on a border of the space.
    told_apart
        The best design against the others of the front and the best single device: which differences are more than the model's error.
    tried, cannot_run
        Every trial, and why some could not run: message to number of trials.
    """

    program: str
    captured_for: str
    trace: str
    machine: str
    hypothetical: bool
    objectives: tuple[str, ...]
    budget: dict[str, float]
    seed: int
    trials: int
    best: Design
    pareto: tuple[Design, ...]
    tried: tuple[Tried, ...]
    best_single_device_s: float | None
    best_single_device: str
    lower_bound_s: float | None
    lower_bound_method: str
    lower_bound_parts: dict[str, float]
    bound_gap: float | None
    exact_partition_s: float
    partition_gap: float
    semantics: str
    on_border: tuple[Border, ...]
    cannot_run: dict[str, int]
    space: dict[str, Any]
    told_apart: tuple[Comparison, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        lists = {name: [dataclasses.asdict(x) for x in getattr(self, name)] for name in ("tried", "on_border", "told_apart")}
        designs = {"best": self.best.to_dict(), "pareto": [design.to_dict() for design in self.pareto]}
        return {"kind": KIND, **self.__dict__, "objectives": list(self.objectives), **lists, **designs}

    @classmethod
    def from_dict(cls, data: Dictionary[str, Any]) -> Result:
        """Return the result that ``to_dict`` wrote; other keys are ignored. Raises SearchError if it is none."""
        try:
            given = {field.name: data[field.name] for field in dataclasses.fields(cls) if field.name != "told_apart"}
            given["objectives"] = tuple(data["objectives"])
            given["best"] = Design.from_dict(data["best"])
            given["pareto"] = tuple(Design.from_dict(d) for d in data["pareto"])
            given["tried"] = tuple(Tried(**{"price_usd": None, **t}) for t in data["tried"])  # version 0.3 knew no prices
            given["told_apart"] = tuple(Comparison(**c) for c in data.get("told_apart", ()))  # results of version 0.1 have none
            given["on_border"] = tuple(Border(**b) for b in data["on_border"])
        except (KeyError, TypeError, ValueError) as error:
            raise SearchError(f"a result must have the keys that `Result.to_dict` writes, but {error} is missing or wrong") from error
        return cls(**given)

    def table(self) -> pd.DataFrame:
        """Return every design tried, one a row: trial, the machine's parameters that varied, policy, what it took and cost (SI units).

        ``kept`` says whether it ran and kept the budget, ``front`` whether no other design beats it; what is unknown is NaN.
        """
        import pandas as pd

        measures = ("time_s", "energy_j", "power_watts", "area_mm2", "price_usd")
        front = {design.trial for design in self.pareto}
        rows = [
            {"trial": t.trial, **t.machine, "policy": t.policy, **{m: getattr(t, m) for m in measures}, "kept": t.feasible}
            | {"front": t.trial in front}
            for t in self.tried
        ]
        return pd.DataFrame(rows).astype(dict.fromkeys(measures, float)).set_index("trial")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as one JSON document, whole or not at all."""
        documents.save(path, documents.envelope(KIND, self.to_dict(), seed=self.seed), indent=1)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Read what ``save`` or ``codesign explore -o`` wrote. Raises SearchError if it is no result or a newer one."""
        return cls.from_dict(documents.load(path, KIND, "codesign explore -o", SearchError))

    def __repr__(self) -> str:
        return f"<Result {self.program} on {self.machine}: best {show(self.best.time_s, 's')} of {self.trials} trials, seed {self.seed}>"

    def _repr_html_(self) -> str:
        """Return the tables that ``codesign explore`` prints."""
        from codesign.search.rows import result_tables
        from traces import html

        return html.tables(result_tables(self.to_dict()))
