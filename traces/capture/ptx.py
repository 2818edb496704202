"""Instructions and registers of the kernels that XLA generated, from their PTX.

Instructions are counted as they stand in the text: a loop's body once, both sides of a branch, predicated ones always. Multiplied by the
launched threads this overcounts threads of the last block that have no element, and undercounts kernels that loop.
``flops_ncu`` is what a profiler's add + mul + 2 fma counts (16, 32 and 64 bit floats; two for a packed pair).
Registers, spills and static shared memory come from ptxas, one call for all kernels.
"""

import logging
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

log = logging.getLogger("traces")

_ENTRY = re.compile(r"^\s*\.visible \.entry (\w+)\(", re.M)
_INSTRUCTION = re.compile(r"^\s+(?:@!?%\w+\s+)?([a-z][a-z0-9_]*(?:\.[a-z0-9_:]+)*)[ ;]", re.M)
_COMPILING = re.compile(r"Compiling entry function '(\w+)'")
_USED = re.compile(r"Used (\d+) registers")
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_SHARED = re.compile(r"(\d+) bytes smem")
_FLOATS = frozenset({"f16", "bf16", "f32", "f64", "f16x2", "bf16x2", "f32x2"})
_FLOP = {"add": 1, "sub": 1, "mul": 1, "fma": 2, "mad": 2}


@dataclass(slots=True)
class Entry:
    """One kernel: instructions of a thread by opcode, FLOP of a thread; -1 where ptxas did not say."""

    name: str
    opcodes: Counter[str] = field(default_factory=Counter)
    flops: int = 0
    registers: int = -1
    spill_bytes: int = -1
    shared_bytes: int = 0

    @property
    def instructions(self) -> int:
        """Instructions of a thread."""
        return sum(self.opcodes.values())


def parse(text: str) -> list[Entry]:
    """Return the kernels of a PTX file with their instruction counts."""
    found = list(_ENTRY.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)][: len(found)]
    return [_counted(match.group(1), text[match.end() : end]) for match, end in zip(found, ends, strict=True)]


def _counted(name: str, body: str) -> Entry:
    entry = Entry(name)
    body = body[body.find("{") :]
    for mnemonic, count in Counter(_INSTRUCTION.findall(body)).items():
        parts = mnemonic.split(".")
        entry.opcodes[parts[0]] += count
        kind = next((p for p in reversed(parts) if p in _FLOATS), "")
        if kind:
            entry.flops += _FLOP.get(parts[0], 0) * count * (2 if kind.endswith("x2") else 1)
    return entry


def ptxas_path() -> str | None:
    """Return the assembler of the nvcc wheel, None if the wheel is not installed."""
    import importlib.util

    try:
        found = importlib.util.find_spec("nvidia.cuda_nvcc")
    except ModuleNotFoundError:
        return None
    for folder in found.submodule_search_locations or [] if found else []:
        path = Path(folder) / "bin" / "ptxas"
        if path.exists():
            return str(path)
    return None


class Assembly:
    """A run of ptxas in the background; a context that ends it."""

    def __init__(self, texts: list[str], architecture: str) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._texts, self._architecture = texts, architecture
        self._temporary = TemporaryDirectory(prefix="codesign-ptx-")
        self._folder = Path(self._temporary.name)

    def __enter__(self) -> "Assembly":
        tool = ptxas_path()
        if tool is not None and any(_ENTRY.search(text) for text in self._texts):
            source = self._folder / "kernels.ptx"
            source.write_text(joined(self._texts))
            self._process = _start(tool, self._architecture, source)
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.returncode is None:  # an error came before its results were read
            self._process.kill()
            self._process.communicate()
        self._temporary.cleanup()

    def results(self, entries: dict[str, Entry]) -> None:
        """Wait for ptxas and write registers, spills and shared memory into the entries."""
        if self._process is None:
            return
        output = self._process.communicate()[0]
        if self._process.returncode:
            log.info("ptxas could not assemble all kernels at once, trying one by one: %s", output[-300:])
            output = self._one_by_one()
        read_report(output, entries)

    def _one_by_one(self) -> str:
        tool = ptxas_path()
        assert tool is not None
        reports = []
        for number, text in enumerate(self._texts):
            source = self._folder / f"kernel{number}.ptx"
            source.write_text(text)
            reports.append(_start(tool, self._architecture, source).communicate()[0])
        return "\n".join(reports)


def _start(tool: str, architecture: str, source: Path) -> "subprocess.Popen[str]":
    command = [tool, "-v", f"-arch={architecture}", str(source), "-o", os.devnull]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def joined(texts: Iterable[str]) -> str:
    """Return several PTX modules as one: one header, each module-level declaration once."""
    header, seen, parts = "", set(), []
    for text in texts:
        head, mark, body = text.partition(".address_size 64")
        header = header or head + mark
        lines = []
        for line in body.splitlines():
            if line.startswith((".visible .global", ".global", ".extern", ".visible .shared", ".shared")) and line.rstrip().endswith(";"):
                if line in seen:
                    continue
                seen.add(line)
            lines.append(line)
        parts.append("\n".join(lines))
    return header + "\n" + "\n".join(parts)


def read_report(report: str, entries: dict[str, Entry]) -> None:
    """Read what ``ptxas -v`` prints into the entries."""
    current: Entry | None = None
    for line in report.splitlines():
        if (compiling := _COMPILING.search(line)) is not None:
            current = entries.get(compiling.group(1))
        elif current is not None:
            _read_line(line, current)


def _read_line(line: str, entry: Entry) -> None:
    if (spills := _SPILLS.search(line)) is not None:
        entry.spill_bytes = int(spills.group(1)) + int(spills.group(2))
    elif (used := _USED.search(line)) is not None:
        entry.registers = int(used.group(1))
        shared = _SHARED.search(line)
        entry.shared_bytes = int(shared.group(1)) if shared else 0
