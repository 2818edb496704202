"""Which elements does a fused computation touch, how often, and with what stride?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.capture.footprint import footprint
from traces.capture.hlo import parse

ADD = """%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%second (c: f32[], d: f32[]) -> f32[] {
  %c = f32[] parameter(0)
  ROOT %d = f32[] parameter(1)
}
"""


def of(*lines, hero="", in_place=()):
    body = "\n".join(f"  {line}" for line in lines)
    return footprint(parse(f"HloModule m\n\n{ADD}\nENTRY %main () -> f32[] {{\n{body}\n}}\n").entry, hero, in_place)


def read(print_, number=0):
    touched = print_.reads[number]
    return touched.unique, touched.requested, touched.stride


def test_an_elementwise_operand_is_read_once():
    print_ = of("%x = f32[8,4]{1,0} parameter(0)", "%t = f32[8,4]{1,0} tanh(%x)", "ROOT %r = f32[8,4]{1,0} multiply(%t, %x)")
    assert read(print_) == (32, 32, "contiguous")
    assert print_.writes[()].unique == 32


def test_a_broadcast_asks_again_for_each_element_of_the_result():
    print_ = of("%x = f32[8]{0} parameter(0)", "ROOT %b = f32[8,16]{1,0} broadcast(%x), dimensions={0}")
    assert read(print_) == (8, 128, "broadcast")


def test_a_row_that_is_broadcast_along_slower_dimensions_is_read_contiguously():
    print_ = of("%x = f32[16]{0} parameter(0)", "ROOT %b = f32[8,16]{1,0} broadcast(%x), dimensions={1}")
    assert read(print_) == (16, 128, "contiguous")


def test_a_slice_touches_its_part():
    print_ = of("%x = f32[8,16]{1,0} parameter(0)", "ROOT %s = f32[2,16]{1,0} slice(%x), slice={[3:5], [0:16]}")
    assert read(print_) == (32, 32, "contiguous")


def test_a_slice_with_a_step_along_the_fastest_dimension_is_strided():
    print_ = of("%x = f32[8,16]{1,0} parameter(0)", "ROOT %s = f32[8,4]{1,0} slice(%x), slice={[0:8], [0:16:4]}")
    assert read(print_) == (32, 32, "strided")


def test_a_column_is_strided():
    print_ = of("%x = f32[8,16]{1,0} parameter(0)", "%s = f32[8,1]{1,0} slice(%x), slice={[0:8], [2:3]}", "ROOT %b = f32[8]{0} bitcast(%s)")
    assert read(print_) == (8, 8, "strided")


def test_two_halves_are_one_whole_and_overlaps_count_once():
    halves = of(
        "%x = f32[8]{0} parameter(0)",
        "%a = f32[5]{0} slice(%x), slice={[0:5]}",
        "%b = f32[5]{0} slice(%x), slice={[3:8]}",
        "ROOT %s = f32[5]{0} add(%a, %b)",
    )
    assert read(halves) == (8, 10, "contiguous")


def test_a_transpose_reads_across():
    print_ = of("%x = f32[8,16]{1,0} parameter(0)", "ROOT %t = f32[16,8]{1,0} transpose(%x), dimensions={1,0}")
    assert read(print_) == (128, 128, "transposed")


def test_a_tiled_transpose_reads_along():
    print_ = of("%x = f32[8,16]{1,0} parameter(0)", "ROOT %t = f32[16,8]{1,0} transpose(%x), dimensions={1,0}", hero="transpose")
    assert read(print_) == (128, 128, "contiguous")


def test_a_concatenation_reads_each_operand_once():
    print_ = of(
        "%x = f32[8,3]{1,0} parameter(0)",
        "%y = f32[8,5]{1,0} parameter(1)",
        "ROOT %c = f32[8,8]{1,0} concatenate(%x, %y), dimensions={1}",
    )
    assert read(print_, 0)[:2] == (24, 24)
    assert read(print_, 1)[:2] == (40, 40)


def test_a_slice_of_a_concatenation_reads_only_what_it_meets():
    print_ = of(
        "%x = f32[3]{0} parameter(0)",
        "%y = f32[5]{0} parameter(1)",
        "%c = f32[8]{0} concatenate(%x, %y), dimensions={0}",
        "ROOT %s = f32[4]{0} slice(%c), slice={[2:6]}",
    )
    assert read(print_, 0)[:2] == (1, 1)
    assert read(print_, 1)[:2] == (3, 3)


def test_padding_is_not_read():
    print_ = of("%x = f32[8]{0} parameter(0)", "%z = f32[] constant(0)", "ROOT %p = f32[20]{0} pad(%x, %z), padding=4_8")
    assert read(print_)[:2] == (8, 8)


def test_a_reduction_reads_what_it_sums():
    print_ = of(
        "%x = f32[8,16]{1,0} parameter(0)", "%z = f32[] constant(0)", "ROOT %r = f32[8]{0} reduce(%x, %z), dimensions={1}, to_apply=%add"
    )
    assert read(print_) == (128, 128, "strided")


def test_an_input_fusion_of_a_reduction_walks_along_its_operand():
    print_ = of(
        "%x = f32[8,16]{1,0} parameter(0)",
        "%z = f32[] constant(0)",
        "ROOT %r = f32[8]{0} reduce(%x, %z), dimensions={1}, to_apply=%add",
        hero="reduce",
    )
    assert read(print_)[2] == "contiguous"


def test_a_reduction_that_is_broadcast_asks_for_its_operand_again():
    print_ = of(
        "%x = f32[8,16]{1,0} parameter(0)",
        "%z = f32[] constant(0)",
        "%r = f32[8]{0} reduce(%x, %z), dimensions={1}, to_apply=%add",
        "ROOT %b = f32[8,4]{1,0} broadcast(%r), dimensions={0}",
    )
    assert read(print_)[:2] == (128, 512)


def test_results_with_one_index_share_their_reads():
    print_ = of(
        "%x = f32[8]{0} parameter(0)",
        "%s = f32[8]{0} sine(%x)",
        "%c = f32[8]{0} cosine(%x)",
        "ROOT %t = (f32[8]{0}, f32[8]{0}) tuple(%s, %c)",
    )
    assert read(print_)[:2] == (8, 8)
    assert set(print_.writes) == {(0,), (1,)}


def test_a_gather_touches_as_many_elements_as_it_takes():
    print_ = of(
        "%x = f32[100]{0} parameter(0)",
        "%i = s32[5,1]{1,0} parameter(1)",
        "ROOT %g = f32[5]{0} gather(%x, %i), offset_dims={}, collapsed_slice_dims={0}, start_index_map={0}, slice_sizes={1}",
    )
    assert read(print_, 0) == (5, 5, "gather")
    assert read(print_, 1)[0] == 5


def test_a_dynamic_slice_touches_its_size():
    print_ = of(
        "%x = f32[30,64]{1,0} parameter(0)",
        "%i = s32[] parameter(1)",
        "%z = s32[] constant(0)",
        "ROOT %s = f32[1,64]{1,0} dynamic-slice(%x, %i, %z), dynamic_slice_sizes={1,64}",
    )
    assert read(print_, 0) == (64, 64, "contiguous")
    assert read(print_, 1)[0] == 1


UPDATE = (
    "%x = f32[30,64]{1,0} parameter(0)",
    "%u = f32[1,64]{1,0} parameter(1)",
    "%i = s32[] parameter(2)",
    "%z = s32[] constant(0)",
    "ROOT %s = f32[30,64]{1,0} dynamic-update-slice(%x, %u, %i, %z)",
)


def test_an_update_in_place_touches_the_update_only():
    print_ = of(*UPDATE, in_place=[((), 0)])
    assert print_.reads[0].unique == 0
    assert read(print_, 1)[:2] == (64, 64)
    assert print_.writes[()].unique == 64


def test_an_update_that_is_not_in_place_copies_the_rest():
    print_ = of(*UPDATE)
    assert print_.reads[0].unique == pytest.approx(29 * 64)
    assert print_.writes[()].unique == 30 * 64


SCATTER = (
    "%x = f32[100]{0} parameter(0)",
    "%i = s32[5,1]{1,0} parameter(1)",
    "%u = f32[5]{0} parameter(2)",
    "ROOT %s = f32[100]{0} scatter(%x, %i, %u), update_window_dims={}, inserted_window_dims={0}, scatter_dims_to_operand_dims={0}, "
    "index_vector_dim=1, to_apply=",
)


@pytest.mark.parametrize(("combiner", "old"), [("%add", 5), ("%second", 0)])
def test_a_scatter_reads_old_values_only_if_it_combines_them(combiner, old):
    print_ = of(*SCATTER[:-1], SCATTER[-1] + combiner, in_place=[((), 0)])
    assert print_.reads[0].unique == old
    assert print_.writes[()].unique == 5
    assert print_.writes[()].stride == "gather"


def test_bitcasts_follow_slices_into_the_parameter():
    print_ = of(
        "%x = f32[40,8]{1,0} parameter(0)",
        "%b = f32[4,10,8]{2,1,0} bitcast(%x)",
        "ROOT %s = f32[2,10,8]{2,1,0} slice(%b), slice={[0:2], [0:10], [0:8]}",
    )
    assert read(print_) == (160, 160, "contiguous")


# A property: whatever chain of index maps, the touched elements are those that numpy finds


class Chain:
    """Grows a fused computation and, beside it, the parameter's element number behind each element of the result."""

    def __init__(self, dims):
        self.lines = [f"%v0 = f32[{','.join(map(str, dims))}] parameter(0)", "%zero = f32[] constant(0)"]
        self.elements = np.arange(np.prod(dims)).reshape(dims)

    def grow(self, text, elements):
        self.elements = elements
        shape = f"f32[{','.join(map(str, elements.shape))}]"
        self.lines.append(f"%v{len(self.lines) - 1} = {shape} {text.replace('%v', f'%v{len(self.lines) - 2}')}")

    def footprint(self):
        return of(*self.lines[:-1], "ROOT " + self.lines[-1])


def grow(chain, data):
    """Apply one random index map."""
    kind = data.draw(st.sampled_from(["slice", "transpose", "broadcast", "pad", "reverse", "bitcast", "concatenate", "negate"]))
    old, rank = chain.elements, chain.elements.ndim
    dim = data.draw(st.integers(0, rank - 1))
    if kind == "slice":
        start = data.draw(st.integers(0, old.shape[dim] - 1))
        step = data.draw(st.integers(1, 3))
        cut = [(0, n, 1) if d != dim else (start, n, step) for d, n in enumerate(old.shape)]
        text = ", ".join(f"[{a}:{b}:{c}]" for a, b, c in cut)
        chain.grow(f"slice(%v), slice={{{text}}}", old[tuple(slice(*c) for c in cut)])
    elif kind == "transpose":
        order = data.draw(st.permutations(range(rank)))
        chain.grow(f"transpose(%v), dimensions={{{','.join(map(str, order))}}}", old.transpose(order))
    elif kind == "broadcast" and old.size < 200:
        dims = ",".join(str(d + (d >= dim)) for d in range(rank))
        new = np.broadcast_to(np.expand_dims(old, dim), (*old.shape[:dim], 3, *old.shape[dim:]))
        chain.grow(f"broadcast(%v), dimensions={{{dims}}}", new)
    elif kind == "pad":
        width = [(0, 0) if d != dim else (2, 1) for d in range(rank)]
        text = "x".join(f"{a}_{b}" for a, b in width)
        chain.grow(f"pad(%v, %zero), padding={text}", np.pad(old, width, constant_values=-1))
    elif kind == "reverse":
        chain.grow(f"reverse(%v), dimensions={{{dim}}}", np.flip(old, dim))
    elif kind == "bitcast":
        new = old.reshape(-1) if data.draw(st.booleans()) else old.reshape(-1, old.shape[-1])
        chain.grow("bitcast(%v)", new)
    elif kind == "concatenate" and old.size < 200:
        chain.grow(f"concatenate(%v, %v), dimensions={{{dim}}}", np.concatenate([old, old], dim))
    else:
        chain.grow("negate(%v)", old)


@given(st.data())
def test_the_elements_touched_are_those_that_numpy_finds(data):
    chain = Chain(data.draw(st.sampled_from([(4, 6), (2, 3, 4), (24,), (6, 1, 4)])))
    for _ in range(data.draw(st.integers(1, 6))):
        grow(chain, data)
    print_ = chain.footprint()
    real = chain.elements[chain.elements >= 0]
    if not any(opcode in line for line in chain.lines for opcode in ("bitcast", "concatenate")):
        assert print_.reads[0].requested == pytest.approx(real.size)
        assert print_.reads[0].unique == np.unique(real).size
    assert np.unique(real).size <= print_.reads[0].unique + 1e-9
    assert print_.reads[0].unique <= 24
