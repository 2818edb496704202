"""Does the HLO parser read what XLA prints?"""

import pytest

from traces.capture.hlo import parse, parse_shape
from traces.errors import CaptureError

MODULE = """HloModule jit_f, is_scheduled=true, input_output_alias={ {0}: (1, {}, may-alias) }, entry_computation_layout={(f32[8])->f32[8]}

FileNames
1 "/home/user/with (brackets] and, commas.py"

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum.1 = f32[] add(%a, %b), metadata={op_name="reduce_sum"}
}

%body (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %t = (s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %x = f32[8]{0} get-tuple-element(%t), index=1
  ROOT %r = (s32[], f32[8]{0}) tuple(%i, %x)
}

%cond (t.1: (s32[], f32[8])) -> pred[] {
  %t.1 = (s32[], f32[8]{0}) parameter(0)
  ROOT %true = pred[] constant(true)
}

ENTRY %main (p0: f32[8,4], p1: f32[8]) -> (f32[8]) {
  %p0 = f32[8,4]{0,1} parameter(0), sharding={replicated}, metadata={op_name="params[\\'w\\']"}
  %p1 = f32[8]{0} parameter(1)
  %c = s32[2,2]{1,0} constant({ { 0, 1 }, { 2, 3 } })
  %zero = s32[] constant(0)
  %pad.1 = f32[12,4]{1,0} pad(%p0, %zero), padding=1_3x0_0_2
  %slice.1 = f32[4,2]{1,0} slice(%p0), slice={[0:8:2], [1:3]}
  %reduce.1 = f32[8]{0} reduce(%p0, /*index=1*/%zero), dimensions={1}, to_apply=%add, metadata={op_name="jit(f)/a/sum" stack_frame_id=3}
  %init = (s32[], /*index=1*/f32[8]{0}) tuple(%zero, %reduce.1)
  %while.1 = (s32[], f32[8]{0}) while(%init), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"12"},"t":"a, {b"}
  %out = f32[8]{0} get-tuple-element(%while.1), index=1
  ROOT %result = (f32[8]{0}) tuple(%out)
}
"""


@pytest.fixture(scope="module")
def module():
    return parse(MODULE)


def test_computations_and_the_entry_are_found(module):
    assert list(module.computations) == ["add", "body", "cond", "main"]
    assert module.entry.name == "main"
    assert module.entry.root.name == "result"
    assert [p.name for p in module.entry.parameters] == ["p0", "p1"]


def test_a_layout_gives_the_strides():
    shape = parse_shape("f32[8,4]{0,1}")
    assert (shape.dims, shape.minor_to_major, shape.strides) == ((8, 4), (0, 1), (1, 8))
    assert shape.bytes == 128


def test_a_tuple_shape_gives_its_leaves():
    shape = parse_shape("(f32[8]{0}, (s32[], pred[2,3]{1,0}))")
    assert [(index, leaf.dtype, leaf.bytes) for index, leaf in shape.leaves()] == [
        ((0,), "f32", 32),
        ((1, 0), "s32", 4),
        ((1, 1), "pred", 6),
    ]
    assert shape.at((1, 1)).dims == (2, 3)


@pytest.mark.parametrize(("text", "size"), [("bf16[3]{0}", 6), ("s4[3]{0}", 2), ("c128[2]{0}", 32), ("token[]", 0), ("f8e4m3fn[5]{0}", 5)])
def test_every_type_has_its_width(text, size):
    assert parse_shape(text).bytes == size


def test_comments_do_not_hide_operands(module):
    assert module.by_name["reduce.1"].operands == ("p0", "zero")
    assert module.by_name["while.1"].operands == ("init",)


def test_attributes_are_read(module):
    assert module.by_name["reduce.1"].integers("dimensions") == (1,)
    assert module.by_name["reduce.1"].op_name == "jit(f)/a/sum"
    assert module.by_name["pad.1"].padding == [(1, 3, 0), (0, 0, 2)]
    assert module.by_name["slice.1"].slices == [(0, 8, 2), (1, 3, 1)]
    assert [c.name for c in module.by_name["while.1"].called] == ["cond", "body"]


def test_a_known_trip_count_is_read_from_json_with_brackets_in_its_text(module):
    assert module.by_name["while.1"].trip_count == 12
    assert module.by_name["while.1"].backend_config["t"] == "a, {b"


def test_donated_parameters_are_read(module):
    assert module.input_output_alias == {(0,): (1, ())}


def test_a_constant_has_no_operands(module):
    assert module.by_name["c"].operands == ()


def test_text_that_is_no_module_is_an_error():
    with pytest.raises(CaptureError, match="must hold an ENTRY"):
        parse("HloModule empty\n")
