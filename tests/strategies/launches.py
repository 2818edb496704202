"""Traces of a few kernels with random names, streams and times, for round trips."""

import math
from typing import Any

from hypothesis import strategies as st

from tests.toys import Toy
from traces import Trace

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)

kernels = st.fixed_dictionaries(
    {
        "name": names,
        "family": st.sampled_from(["gemm", "copy", "other"]),
        "launch_kind": st.sampled_from(["fusion", "copy", "library"]),
        "stream": st.integers(-1, 2**31 - 1),
        "measured_s": st.one_of(st.just(math.nan), st.integers(0, 10**12).map(lambda ps: ps / 1e12)),
        "grid_x": st.integers(1, 2**31),
        "registers": st.integers(-1, 255),
        "flops_vector": st.one_of(st.just(math.nan), st.floats(0, 1e15)),
        "phase": st.one_of(st.just(""), names),
        "launches": st.integers(1, 5),
    }
)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """A sequence of one to six kernels that pass one tensor on."""
    toy = Toy()
    rows: list[dict[str, Any]] = draw(st.lists(kernels, min_size=1, max_size=6))
    for row in rows:
        toy.kernel(**row, reads=["x"], writes=["y"])
    return toy.build()
