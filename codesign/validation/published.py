"""The published numbers and the bars, as the data file has them."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def published() -> dict[str, Any]:
    """Return published.toml."""
    text = resources.files("codesign.validation").joinpath("published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
