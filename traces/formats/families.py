"""Which family a profiled kernel belongs to: told by its name, for a profile tells nothing else.

``families.toml`` holds the ordered patterns; the first that matches decides. What matches none is 'other'.
"""

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from traces.errors import TraceError
from traces.schema import FAMILIES

TABLE = Path(__file__).with_name("families.toml")


@cache
def patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return (pattern, family) in order. Raises TraceError if the table is wrong."""
    with TABLE.open("rb") as stream:
        rows = tomllib.load(stream)["pattern"]
    for number, row in enumerate(rows):
        if row["family"] not in FAMILIES:
            raise TraceError(f"{TABLE.name}: family must be one of {', '.join(FAMILIES)}, but pattern {number} has {row['family']!r}")
    return tuple((re.compile(row["match"], re.IGNORECASE), row["family"]) for row in rows)


@cache
def is_communication(name: str) -> bool:
    """Say whether a kernel moves data between devices: the table's first pattern, which leaves it in 'other'."""
    return patterns()[0][0].search(name) is not None


@cache
def family_of(name: str) -> str:
    """Return the family of a kernel by its name (mangled or not), 'other' if no pattern matches."""
    for pattern, family in patterns():
        if pattern.search(name):
            return family
    return "other"


_TF32 = re.compile(r"tf32|s1688|s16816", re.IGNORECASE)
_TYPES = {
    "f16": re.compile(r"\b(c10::|__)?half\b|_f16_|hgemm|h(884|1688|16816)gemm", re.IGNORECASE),
    "bf16": re.compile(r"bfloat16|_bf16", re.IGNORECASE),
    "f64": re.compile(r"\bdouble\b|dgemm"),
    "f32": re.compile(r"\bfloat\b|sgemm"),
}


def rounds_to_tf32(name: str) -> bool:
    """Say whether the name of a product's kernel tells that it rounds FP32 to TF32 (cuBLAS and CUTLASS write the instruction)."""
    return _TF32.search(name) is not None


def is_scalar_product(name: str) -> bool:
    """Say whether a product runs on the vector pipes, where a profiler counts its multiply-adds: sgemm and dgemm without TF32."""
    return re.search(r"(?<![a-z])[sd]gemm", name, re.IGNORECASE) is not None and not rounds_to_tf32(name)


def dtype_of(name: str) -> str:
    """Return the element type that a kernel's name tells, XLA's name; '' if it tells none."""
    return next((dtype for dtype, pattern in _TYPES.items() if pattern.search(name)), "")


def of_launches(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Return the family of each launch; copies and memory sets are known by their kind."""
    return ["copy" if kind in ("copy", "memset") else family_of(name) for name, kind in zip(names, kinds, strict=True)]
