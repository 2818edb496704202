"""Is work counted by XLA's convention?"""

import pytest

from traces.capture.hlo import parse
from traces.capture.work import Flops, flops_of, opcode_counts, opcodes_text

ADD = """%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%less (c: f32[], d: f32[]) -> pred[] {
  %c = f32[] parameter(0)
  %d = f32[] parameter(1)
  ROOT %lt = pred[] compare(%c, %d), direction=LT
}
"""

X = "%x = f32[8,16]{1,0} parameter(0)"
ZERO = "%z = f32[] constant(0)"
FUSIONS = {
    "elementwise": ([X, "%t = f32[8,16]{1,0} tanh(%x)", "ROOT %r = f32[8,16]{1,0} multiply(%t, %x)"], Flops(0, 128, 128)),
    "select": (
        [X, "%p = pred[8,16]{1,0} compare(%x, %x), direction=GE", "ROOT %r = f32[8,16]{1,0} select(%p, %x, %x)"],
        Flops(0, 256, 0),
    ),
    "power": ([X, "ROOT %r = f32[8,16]{1,0} power(%x, %x)"], Flops(0, 0, 128)),
    "convert": ([X, "ROOT %r = bf16[8,16]{1,0} convert(%x)"], Flops(0, 128, 0)),
    "layout": ([X, "%t = f32[16,8]{1,0} transpose(%x), dimensions={1,0}", "ROOT %r = f32[128]{0} bitcast(%t)"], Flops()),
    "reduce": ([X, ZERO, "ROOT %r = f32[8]{0} reduce(%x, %z), dimensions={1}, to_apply=%add"], Flops(0, 120, 0)),
    "window": (
        [X, ZERO, "ROOT %r = f32[8,8]{1,0} reduce-window(%x, %z), window={size=1x2 stride=1x2}, to_apply=%add"],
        Flops(0, 64, 0),
    ),
    "dot": (
        [X, "%y = f32[16,4]{1,0} parameter(1)", "ROOT %r = f32[8,4]{1,0} dot(%x, %y), lhs_contracting_dims={1}, rhs_contracting_dims={0}"],
        Flops(2 * 8 * 16 * 4, 0, 0),
    ),
    "sort": ([X, "ROOT %r = f32[8,16]{1,0} sort(%x), dimensions={1}, to_apply=%less"], Flops(0, 128 * 7, 0)),
}


def module(lines):
    body = "\n".join(f"  {line}" for line in lines)
    return f"HloModule m\n\n{ADD}\nENTRY %main () -> f32[] {{\n{body}\n}}\n"


@pytest.mark.parametrize("name", FUSIONS)
def test_work_is_one_flop_an_element(name):
    lines, expected = FUSIONS[name]
    assert flops_of(parse(module(lines)).entry) == expected


def test_a_product_of_complex_numbers_is_four_real_ones():
    lines = [X.replace("f32", "c64"), "%y = c64[16,4]{1,0} parameter(1)"]
    dot = "ROOT %r = c64[8,4]{1,0} dot(%x, %y), lhs_contracting_dims={1}, rhs_contracting_dims={0}"
    assert flops_of(parse(module([*lines, dot])).entry) == Flops(8 * 8 * 16 * 4)


@pytest.mark.parametrize("name", FUSIONS)
def test_work_equals_xlas_own_cost_analysis(name):
    _hlo = pytest.importorskip("jaxlib._hlo", reason="private to jaxlib: this version has it no more")
    _jax = pytest.importorskip("jaxlib._jax")
    if not hasattr(_jax, "hlo_module_cost_analysis") or not hasattr(_hlo, "hlo_module_from_text"):
        pytest.skip("private to jaxlib: this version has it no more")
    import jax

    text = module(FUSIONS[name][0]).replace("ENTRY %main () -> f32[] ", "ENTRY %main ")
    costs = _jax.hlo_module_cost_analysis(jax.devices("cpu")[0].client, _hlo.hlo_module_from_text(text))
    ours = flops_of(parse(text).entry)
    assert (costs.get("flops", 0.0), costs.get("transcendentals", 0.0)) == (ours.matrix + ours.vector, ours.transcendental)


def test_opcodes_are_counted_with_those_of_nested_computations():
    counts = opcode_counts(parse(module(FUSIONS["reduce"][0])).entry)
    assert opcodes_text(counts) == "add:1,reduce:1"
