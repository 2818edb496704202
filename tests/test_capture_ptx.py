"""Are instructions, registers and FLOP of a kernel read from its PTX?"""

import pytest

from traces.capture.ptx import Assembly, joined, parse, ptxas_path, read_report

HEADER = ".version 8.8\n.target sm_86\n.address_size 64\n\n.visible .global .align 4 .b8 shared_constant[4];\n"


def kernel(name):
    return f"""
.visible .entry {name}(
\t.param .u64 .ptr .align 256 {name}_param_0
)
.reqntid 128, 1, 1
{{
\t.reg .pred \t%p<2>;
\t.reg .b32 \t%r<9>;
\t.reg .b64 \t%rd<4>;

\tld.param.b64 \t%rd1, [{name}_param_0];
\tcvta.to.global.u64 \t%rd2, %rd1;
\tmov.u32 \t%r1, %tid.x;
\tmul.wide.u32 \t%rd3, %r1, 4;
\tadd.s64 \t%rd3, %rd2, %rd3;
\tld.global.b32 \t%r2, [%rd3];
\tadd.rn.f32 \t%r3, %r2, 0f3F800000;
\tmul.rn.f32 \t%r4, %r3, %r2;
\tfma.rn.f32 \t%r5, %r4, %r3, %r2;
\tsetp.gt.f32 \t%p1, %r5, 0f00000000;
\t@%p1 st.global.b32 \t[%rd3], %r5;
$L__BB0_1:
\tret;
}}
"""


def test_flop_are_additions_multiplications_and_twice_fused_ones():
    (entry,) = parse(HEADER + kernel("one"))
    assert (entry.name, entry.flops) == ("one", 1 + 1 + 2)


def test_every_instruction_counts_predicated_ones_too():
    (entry,) = parse(HEADER + kernel("one"))
    assert entry.instructions == 12
    assert entry.opcodes["ld"] == 2
    assert entry.opcodes["st"] == 1


def test_packed_halves_count_twice():
    (entry,) = parse(HEADER + kernel("one").replace("add.rn.f32", "add.rn.f16x2"))
    assert entry.flops == 2 + 1 + 2


def test_modules_are_joined_with_each_declaration_once():
    text = joined([HEADER + kernel("one"), HEADER + kernel("two")])
    assert text.count(".version") == 1
    assert text.count("shared_constant") == 1
    assert [entry.name for entry in parse(text)] == ["one", "two"]


def test_what_ptxas_prints_is_read():
    entries = {entry.name: entry for entry in parse(HEADER + kernel("one"))}
    read_report(
        "ptxas info    : Compiling entry function 'one' for 'sm_86'\n"
        "    0 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info    : Used 38 registers, used 1 barriers, 2048 bytes smem, 440 bytes cmem[0]\n",
        entries,
    )
    assert (entries["one"].registers, entries["one"].spill_bytes, entries["one"].shared_bytes) == (38, 20, 2048)


@pytest.mark.skipif(ptxas_path() is None, reason="needs the extra xla-gpu")
@pytest.mark.parametrize("broken", [False, True])
def test_ptxas_assembles_all_kernels_and_skips_a_broken_one(broken):
    texts = [HEADER + kernel("one"), HEADER + kernel("two")]
    if broken:
        texts.append(HEADER + kernel("three").replace("ret;", "nonsense;"))
    entries = {entry.name: entry for text in texts for entry in parse(text)}
    with Assembly(texts, "sm_86") as assembly:
        assembly.results(entries)
    assert entries["one"].registers == entries["two"].registers > 0
