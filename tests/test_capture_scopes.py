"""Do named scopes give the phase and the stage?"""

import pytest

from traces.capture.hlo import parse
from traces.capture.scopes import WRAPPER, clean, phase_of, scope_of, stage_of


def test_what_the_export_adds_is_taken_off():
    assert clean(f"{WRAPPER}/jit(f)/phase_a/add") == "jit(f)/phase_a/add"
    assert clean(WRAPPER) == ""
    assert clean("kept[3]") == ""


@pytest.mark.parametrize(
    ("scope", "phase"),
    [
        ("jit(f)/phase_sampling/while/body/add", "sampling"),
        ("jit(f)/vmap(phase_laplacian)/add", "laplacian"),
        ("phase_one/phase_two/add", "two"),
        ("jit(f)/my_phase_x/add", "default"),
        ("", "default"),
    ],
)
def test_the_innermost_phase_counts(scope, phase):
    assert phase_of(scope, "default") == phase


def test_stages_come_from_scopes_then_from_rules_in_order():
    rules = [("D", "slogdet|solve"), ("B", "layer"), ("E", "while/body")]
    assert stage_of("jit(f)/jvp(stage_C)/slogdet", rules) == "C"
    assert stage_of("jit(f)/while/body/layer_1/slogdet", rules) == "D"
    assert stage_of("jit(f)/while/body/layer_1/dot", rules) == "B"
    assert stage_of("jit(f)/while/body/add", rules) == "E"
    assert stage_of("jit(f)/add", rules) == ""


MODULE = """HloModule m

%fused (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %a = f32[8]{0} sine(%p), metadata={op_name="jit(f)/x/sin"}
  %b = f32[8]{0} cosine(%a), metadata={op_name="jit(f)/y/cos"}
  %c = f32[8]{0} tanh(%b), metadata={op_name="jit(f)/y/cos"}
  ROOT %d = f32[8]{0} negate(%c)
}

%silent (q: f32[8]) -> f32[8] {
  %q = f32[8]{0} parameter(0)
  ROOT %e = f32[8]{0} negate(%q)
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0), metadata={op_name="x"}
  %named = f32[8]{0} fusion(%x), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/z/neg"}
  %inside = f32[8]{0} fusion(%named), kind=kLoop, calls=%fused
  ROOT %last = f32[8]{0} fusion(%named), kind=kLoop, calls=%silent
}
"""


def test_a_kernel_without_a_scope_takes_that_of_its_instructions_then_of_its_producers():
    names = parse(MODULE).by_name
    assert scope_of(names["named"]) == "jit(f)/z/neg"
    assert scope_of(names["inside"]) == "jit(f)/y/cos"
    assert scope_of(names["last"], [names["x"], names["named"]]) == "jit(f)/z/neg"
    assert scope_of(names["last"], [names["x"]]) == ""
