"""How far a price can be off, and whether measurements stand behind it."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from arch.work import Bool, Float


@dataclass(frozen=True, eq=False)
class Trust:
    """How far the price of each kernel can be off; arrays of shape [kernels].

    ``relative`` is a standard deviation over the price; ``validated`` says that measurements stand behind it.
    """

    relative: Float
    validated: Bool


def prior(what: str) -> float:
    """Return a stated prior: 'family' or 'device'."""
    return float(_stated()["prior"][what]["value"])


def rule(what: str) -> float:
    """Return a stated rule: 'long_kernel_s', 'later_generation' or 'newest_measured'."""
    return float(_stated()["rule"][what]["value"])


@cache
def _stated() -> dict[str, Any]:
    return tomllib.loads(resources.files("arch").joinpath("uncertainty.toml").read_text(encoding="utf-8"))


def unvalidated(kernels: int, what: str = "device") -> Trust:
    """Return the trust in prices of which nothing was measured."""
    return Trust(np.full(kernels, prior(what)), np.zeros(kernels, dtype=np.bool_))
