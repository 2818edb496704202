"""Which named scope a kernel came from, and which phase and stage of the program that is.

A scope ``phase_sampling`` (``jax.named_scope("phase_sampling")``) makes the phase 'sampling', ``stage_A`` the stage 'A'; the
innermost counts. Transformations wrap scopes (``jvp(stage_A)``) without hiding them. Where no scope says the stage, the
first of a workload's rules (stage, regular expression) that is found in the path does.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from traces.capture.hlo import Instruction

StageRules = Sequence[tuple[str, str]]

WRAPPER = "jit(captured)/call_exported"
"""What handing a program over as an export puts before every path (see compile.py)."""

ARGUMENT = "kept["
"""How the arguments of the exported program are called there (see compile.py)."""

_PHASE = re.compile(r"(?:^|[/(])phase_([^/()]+)")
_STAGE = re.compile(r"(?:^|[/(])stage_([^/()]+)")


def clean(op_name: str) -> str:
    """Return the path as the user's program made it; '' for the name of an argument, which is no scope."""
    return "" if op_name.startswith(ARGUMENT) else op_name.removeprefix(WRAPPER).removeprefix("/")


def scope_of(instruction: Instruction, producers: Iterable[Instruction] = ()) -> str:
    """Return the instruction's scope; else the most frequent one inside its fused computation; else that of ``producers``."""
    own = clean(instruction.op_name)
    if "/" in own:
        return own
    inside = [i for computation in instruction.called for i in computation.instructions.values() if i.opcode != "parameter"]
    return _majority(inside) or _majority(p for p in producers if p.opcode not in ("parameter", "constant")) or own


def _majority(instructions: Iterable[Instruction]) -> str:
    counts = Counter(name for i in instructions if "/" in (name := clean(i.op_name)))
    return counts.most_common(1)[0][0] if counts else ""


def phase_of(scope: str, default: str | None) -> str:
    """Return the innermost phase that the scope names, or the default."""
    found = _PHASE.findall(scope)
    return found[-1] if found else default or ""


def stage_of(scope: str, rules: StageRules) -> str:
    """Return the innermost stage that the scope names, else that of the first rule that fits, else ''."""
    found = _STAGE.findall(scope)
    if found:
        return str(found[-1])
    return next((stage for stage, pattern in rules if re.search(pattern, scope)), "")
