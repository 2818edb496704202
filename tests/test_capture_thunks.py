"""Are launches read from XLA's thunk sequence as they nest?"""

import pytest

from traces.capture.thunks import parse
from traces.errors import CaptureError

SEQUENCE = """001: kCopy           [source       | next=004 (3)] kCopy
000: kCommandBuffer  [source       | next=035 (1) ]
    002: kCustomKernel [source | sink] loop_fusion grid: [5, 2, 1] threads: [128, 1, 1]  shared_memory: 16 bytes
    003: kCopy         [source       | sink        ] kCopy
004: kWhile          [prev=003 (1) | next=034 (1)]
condition:
    005: kCustomKernel [source | sink] compare grid: [1, 1, 1] threads: [1, 1, 1]  shared_memory: 0 bytes
  body:
    008: kWhile              [prev=007 (1) | next=015 (1)]
condition:
        009: kCustomKernel [source       | next=010 (1)] inner_condition grid: [1, 1, 1] threads: [1, 1, 1]  shared_memory: 0 bytes
      body:
        012: kCublasLtMatmul [source | next=014 (1)] kCublasLtMatmul
    017: kSequential     [prev=074 (1)  | next=080 (1)  ]       015: kCopy            [source       | next=016 (1)] kCopy
      016: kTriangularSolve [prev=015 (1) | sink        ] (no description)
    021: kConditional        [prev=015 (1) | next=022 (1)]
      false_branch:
        018: kCopy           [source       | next=017 (1)] kCopy
      true_branch:
        019: kCopy           [source       | next=017 (1)] kCopy
        020: kCopy           [source       | next=017 (1)] kCopy
    030: kDynamicSliceFusion [prev=029 (1) | next=033 (2)] params=1, results=1
        031: kCopy [source | sink] kCopy
    032: kCopy [source | sink] kCopy
034: kCublasLtMatmul [prev=004 (1) | next=035 (1)] kCublasLtMatmul
"""

METADATA = """thunk_metadata {
  thunk_info {
    profile_annotation: "copy.1"
    thunk_id: 1
  }
  thunk_kind: "kCopy"
}
thunk_metadata {
  thunk_info {
    thunk_id: 17
  }
  thunk_kind: "kSequential"
}
thunk_metadata {
  thunk_info {
    profile_annotation: "solve.2"
    thunk_id: 16
  }
  thunk_kind: "kTriangularSolve"
}
"""


@pytest.fixture(scope="module")
def top():
    return parse(SEQUENCE, METADATA)


def test_the_top_level_is_in_order(top):
    assert [t.kind for t in top] == ["kCopy", "kCommandBuffer", "kWhile", "kCublasLtMatmul"]


def test_launch_dimensions_and_shared_memory_are_read(top):
    kernel = top[1].groups["children"][0]
    assert (kernel.kernel, kernel.grid, kernel.block, kernel.shared_bytes) == ("loop_fusion", (5, 2, 1), (128, 1, 1), 16)


def test_loops_nest(top):
    outer = top[2]
    assert [t.id for t in outer.groups["condition"]] == [5]
    assert [t.id for t in outer.groups["body"]] == [8, 17, 21, 30, 32]
    inner = outer.groups["body"][0]
    assert [t.id for t in inner.groups["condition"]] == [9]
    assert [t.id for t in inner.groups["body"]] == [12]


def test_a_sequence_holds_the_member_on_its_own_line(top):
    assert [t.id for t in top[2].groups["body"][1].groups["children"]] == [15, 16]


def test_branches_and_slice_fusions_hold_their_members(top):
    conditional, fusion = top[2].groups["body"][2:4]
    assert [t.id for t in conditional.groups["false_branch"]] == [18]
    assert [t.id for t in conditional.groups["true_branch"]] == [19, 20]
    assert [t.id for t in fusion.groups["children"]] == [31]


def test_metadata_names_the_instruction_of_each_launch(top):
    assert top[0].instruction == "copy.1"
    assert [t.instruction for t in top[2].groups["body"][1].groups["children"]] == ["", "solve.2"]


def test_leaves_are_the_launches(top):
    assert [leaf.id for leaf in top[2].leaves()] == [5, 9, 12, 15, 16, 18, 19, 20, 31, 32]


def test_an_empty_sequence_is_an_error():
    with pytest.raises(CaptureError, match="must hold a launch"):
        parse("")
