"""Collectives between ranks as kernels: those of ``traces.workloads.llm_parallel`` and PyTorch's functional ones (`_c10d_functional`).

Adding up n ranks' values is one operation an element and rank that is not the rank's own; how many ranks there are is not known here, so
that an all-reduce counts one an element. Their time is that of messages over links (``codesign.engine.exchange``).
"""

from traces.capture.aten.call import Call, dtype_name, read, write
from traces.capture.aten.kernel import Kernel, Rule, Setting
from traces.capture.work import Flops

OPCODES = {
    "all_reduce": "all-reduce",
    "all_reduce_": "all-reduce",
    "all_gather_into_tensor": "all-gather",
    "reduce_scatter_tensor": "reduce-scatter",
    "all_to_all_single": "all-to-all",
}


def _rule(call: Call, setting: Setting) -> Kernel:
    opcode = OPCODES[call.name]
    operands = [*call.reads, *call.mutated]
    adds = float(sum(t.numel() for t in operands)) if "reduce" in opcode else 0.0
    touches = [*(read(t) for t in operands), *(write(t) for t in call.written)]
    return Kernel(
        call.full_name,
        "collective",
        touches,
        Flops(vector=adds),
        launch_kind="library",
        library="nccl",
        opcodes=f"{opcode}:1",
        dtype=dtype_name(operands[0].dtype),
    )


RULES: dict[str, Rule] = dict.fromkeys(OPCODES, _rule)
