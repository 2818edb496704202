"""Do boxes stay the same elements, whatever shape they are seen in?"""

from itertools import product
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from traces.capture.boxes import clipped, shifted, through_bitcast, union_volume, whole
from traces.capture.hlo import Shape


def positions(box, shape):
    """Return where the box's elements stand in memory."""
    return {sum(i * s for i, s in zip(index, shape.strides, strict=True)) for index in product(*box)}


@st.composite
def shapes(draw, factors=(2, 2, 3, 2)):
    """Draw a shape of 24 elements: groups of factors, ones between them, any layout."""
    order = draw(st.permutations(factors))
    dims, group = [], 1
    for factor in order:
        group *= factor
        if draw(st.booleans()):
            dims.append(group)
            group = 1
    dims.append(group)
    if draw(st.booleans()):
        dims.insert(draw(st.integers(0, len(dims))), 1)
    return Shape("f32", tuple(dims), tuple(draw(st.permutations(range(len(dims))))))


def boxes(shape):
    def one(n):
        return st.tuples(st.integers(0, n - 1), st.integers(1, n), st.integers(1, 3)).map(lambda t: range(t[0], min(n, t[0] + t[1]), t[2]))

    return st.tuples(*(one(n) for n in shape.dims))


@given(st.data())
def test_a_box_seen_through_a_bitcast_is_the_same_memory(data):
    seen, stored = data.draw(shapes()), data.draw(shapes())
    box = data.draw(boxes(seen))
    found = through_bitcast(box, seen, stored)
    if found is not None:
        assert positions(found, stored) == positions(box, seen)


@given(st.data())
def test_the_whole_array_is_always_a_box(data):
    seen, stored = data.draw(shapes()), data.draw(shapes())
    assert through_bitcast(whole(seen), seen, stored) == whole(stored)


@given(st.data())
def test_a_union_counts_each_element_once(data):
    shape = data.draw(shapes())
    drawn = data.draw(st.lists(boxes(shape), max_size=5))
    assert union_volume(drawn) == len(set().union(*(set(product(*box)) for box in drawn)))


@given(st.integers(0, 9), st.integers(1, 9), st.integers(1, 3), st.integers(-5, 15), st.integers(0, 9))
def test_clipping_and_shifting_keep_the_right_elements(start, length, step, low, width):
    r = range(start, start + length, step)
    assert set(clipped(r, low, low + width)) == {i for i in r if low <= i < low + width}
    assert set(shifted(r, low)) == {i + low for i in r}


def test_half_of_a_flattened_dimension_is_found():
    seen, stored = Shape("f32", (4, 10, 8), (2, 1, 0)), Shape("f32", (40, 8), (1, 0))
    assert through_bitcast((range(4), range(10), range(0, 4)), seen, stored) == (range(40), range(0, 4))
    assert through_bitcast((range(1, 3), range(10), range(8)), seen, stored) == (range(10, 30), range(8))
    assert prod(stored.dims) == 320


def test_a_step_along_a_major_dimension_of_a_flattened_one_is_no_box():
    seen, stored = Shape("f32", (4, 10), (1, 0)), Shape("f32", (40,), (0,))
    assert through_bitcast((range(4), range(2, 3)), seen, stored) == (range(2, 33, 10),)
    assert through_bitcast((range(4), range(2, 5)), seen, stored) is None
