"""XLA's thunk sequence: what the host launches, in order, as the compiler dumps it.

One line a thunk, nested by indentation::

    004: kWhile        [prev=003 (1) | sink        ]
    condition:
        005: kCustomKernel [source | sink] loop_compare_fusion grid: [1, 1, 1] threads: [1, 1, 1]  shared_memory: 0 bytes
      body:
        006: kCublasLtMatmul [source | next=007 (1)] kCublasLtMatmul

``thunk_metadata.txt`` beside it says which HLO instruction each thunk comes from. Thunk kinds are those of
https://github.com/openxla/xla/blob/main/xla/backends/gpu/runtime/thunk.h
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from traces.errors import CaptureError

_THUNK = re.compile(r"( *)(\d+): (k\w+)\s*\[[^\]]*\] ?")
_KERNEL = re.compile(r"(\S+) grid: \[(\d+), (\d+), (\d+)\] threads: \[(\d+), (\d+), (\d+)\]\s+shared_memory: (\d+) bytes")
_GROUP = re.compile(r"( *)(condition|body|true_branch|false_branch|branch_\d+|branch \d+):\s*$")
_METADATA = re.compile(r'profile_annotation: "([^"]*)"|thunk_id: (\d+)|(thunk_kind):')

Dim3 = tuple[int, int, int]


@dataclass(slots=True)
class Thunk:
    """One line of the dump: ``groups`` holds nested thunks by role ('condition', 'body', 'false_branch', 'children')."""

    id: int
    kind: str
    indent: int
    kernel: str = ""
    grid: Dim3 | None = None
    block: Dim3 | None = None
    shared_bytes: int = -1
    instruction: str = ""
    groups: dict[str, "list[Thunk]"] = field(default_factory=dict)

    def leaves(self) -> "Iterator[Thunk]":
        """Yield the thunks below that hold no others, or this one."""
        if not self.groups:
            yield self
        for group in self.groups.values():
            for thunk in group:
                yield from thunk.leaves()


def parse(text: str, metadata: str = "") -> list[Thunk]:
    """Parse a thunk sequence; with the metadata dump each thunk also learns its HLO instruction.

    Raises
    ------
    CaptureError
        If the text holds no thunk.
    """
    top: list[Thunk] = []
    stack: list[tuple[Thunk, list[Thunk]]] = []
    last: Thunk | None = None
    for line in text.splitlines():
        group = _GROUP.match(line)
        if group is not None and last is not None:
            _open_group(stack, last, len(group.group(1)), group.group(2))
        else:
            for thunk in _thunks_of(line):
                last = thunk
                _place(thunk, top, stack)
    if not top:
        raise CaptureError("the compiler's thunk sequence must hold a launch, but none was found: is this jax version supported?")
    _name(top, _instructions(metadata))
    return top


def _thunks_of(line: str) -> Iterator[Thunk]:
    """A line holds one thunk, or a sequence and its first member."""
    found = list(_THUNK.finditer(line))
    for i, match in enumerate(found):
        end = found[i + 1].start() if i + 1 < len(found) else len(line)
        indent = len(match.group(1)) - (1 if i else 0)
        yield _described(Thunk(int(match.group(2)), match.group(3), indent), line[match.end() : end])


def _described(thunk: Thunk, text: str) -> Thunk:
    kernel = _KERNEL.search(text)
    if kernel is not None:
        numbers = [int(n) for n in kernel.groups()[1:]]
        thunk.kernel, thunk.shared_bytes = kernel.group(1), numbers[6]
        thunk.grid, thunk.block = (numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4], numbers[5])
    return thunk


def _place(thunk: Thunk, top: list[Thunk], stack: list[tuple[Thunk, list[Thunk]]]) -> None:
    while stack and stack[-1][0].indent >= thunk.indent:
        stack.pop()
    (stack[-1][1] if stack else top).append(thunk)
    if thunk.kind in ("kCommandBuffer", "kSequential", "kDynamicSliceFusion", "kAsyncStart"):
        stack.append((thunk, thunk.groups.setdefault("children", [])))


def _open_group(stack: list[tuple[Thunk, list[Thunk]]], last: Thunk, indent: int, role: str) -> None:
    """Begin a loop's condition or body, or a branch. ('condition:' is printed without indentation.)"""
    if role == "condition":
        owner = last
    else:
        while stack and stack[-1][0].indent > indent - 2:
            stack.pop()
        owner = stack.pop()[0] if stack and stack[-1][0].indent == indent - 2 and stack[-1][0].groups else last
    stack.append((owner, owner.groups.setdefault(role, [])))


def _instructions(metadata: str) -> dict[int, str]:
    names: dict[int, str] = {}
    annotation, number = "", -1
    for name, thunk_id, end in _METADATA.findall(metadata):
        if end:
            names[number], annotation, number = annotation, "", -1
        elif thunk_id:
            number = int(thunk_id)
        else:
            annotation = name
    return names


def _name(thunks: list[Thunk], names: dict[int, str]) -> None:
    for thunk in thunks:
        thunk.instruction = "" if thunk.kind in ("kCommandBuffer", "kSequential") else names.get(thunk.id, "")
        for group in thunk.groups.values():
            _name(group, names)
