"""Captures the traces that ship with codesign: ``python -m traces.record [--only PATTERN] [--force | --check]``.

Each is made by the command a user would give, in a process of its own; the trace's manifest holds that command. A trace
that the same command and packages made is left as it is, so an interrupted run goes on where it stopped. ``--check`` captures again
what is there, writes nothing, and tells which columns today's code makes differently.
"""

import argparse
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from traces.errors import CaptureError, CodesignError, nearest
from traces.loading import load
from traces.recordings import FOLDER, SUFFIX
from traces.trace import Trace

DEEPQMC = ("ferminet", "default")
OURS = ("psiformer", "orbformer")
MOLECULES = ("LiH", "CH4", "C2H6", "C4H4")
TARGETS = ("a5000", "a100-sxm-40gb", "h200")
TPU = "tpu-v5e"
"""Needs the extra xla-tpu, and minutes a program."""
LANGEVIN = ("sampler", "langevin")
TRAINING = ("task", "training")
ROOT = FOLDER.parents[1]
log = logging.getLogger("traces")


@dataclass(frozen=True)
class Recording:
    """One trace to record, all options but these at the workload's defaults; the name ends with the values of ``changed``.

    ``molecule`` is empty for workloads that have none: those of PyTorch.
    """

    workload: str
    molecule: str
    target: str
    changed: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        values = (option + value if value.isdecimal() else value for option, value in self.changed)
        return "-".join(filter(None, (self.workload, self.molecule, self.target, *values))).lower()

    @property
    def framework(self) -> str:
        return "jax" if self.molecule else "torch"

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}{SUFFIX}"

    @property
    def arguments(self) -> list[str]:
        """The command line after ``codesign``; the file is named from the folder that holds the packages."""
        file = self.path.relative_to(ROOT).as_posix()
        changed = [word for name, value in self.changed for word in ("--set", f"{name}={value}")]
        molecule = ["--molecule", self.molecule] if self.molecule else []
        return ["capture", self.workload, *molecule, "--target", self.target, *changed, "-o", file]

    @property
    def command(self) -> str:
        return shlex.join(["codesign", *self.arguments])


def planned() -> list[Recording]:
    """Return all traces that ship: every workload on four molecules for three GPUs at its default size, and what else a study needs."""
    every = (*DEEPQMC, *OURS)
    default = [Recording(w, m, t) for m in MOLECULES for w in every for t in TARGETS]
    batches = [Recording(w, "CH4", "a5000", (("batch", count),)) for w in every for count in ("512", "256", "128")]
    training = [
        *(Recording(w, "CH4", "a5000", (TRAINING,)) for w in DEEPQMC),
        *(Recording(w, m, "a5000", (TRAINING,)) for m in MOLECULES for w in OURS),
    ]
    notebooks = [Recording("deepqmc-psiformer", m, "rtx-3090", (("batch", count),)) for m, count in (("LiH", "2048"), ("Cl", "1000"))]
    tpus = [Recording(w, "CH4", TPU) for w in ("ferminet", "psiformer")]
    langevin = [Recording(w, m, t, (LANGEVIN,)) for m in MOLECULES for w in DEEPQMC for t in TARGETS]
    langevin_training = [Recording(w, m, "a5000", (LANGEVIN, TRAINING)) for m in MOLECULES for w in DEEPQMC]
    wave_functions = [*default, *batches, *training, *notebooks, *langevin, *langevin_training]
    torch = [Recording(w, "", t, changed) for w, changed in torch_programs() for t in TARGETS]
    return [*wave_functions, *tpus, *torch, *sampling_study(), *several_gpus(), *offloading(), *attention_on_pim()]


FLASHVAN: tuple[dict[str, str], ...] = (
    {},
    {"optimizer": "adam"},
    {"attention": "vanilla", "precision": "fp32"},
    {"attention": "vanilla", "sampling": "full", "precision": "fp32"},
    {"sweeps": "1"},
    {"model": "ea2d"},
    {"model": "ea2d", "window": "local"},
    {"model": "ea3d", "sweeps": "1"},
    {"model": "ea3d", "window": "local", "sweeps": "1"},
)
"""What FlashVAN's recorded traces change of its defaults: each main option once, the paper's baseline and its 3D training."""


SAMPLING_STUDY = (
    {"attention": "flash", "sampling": "kv-cache", "precision": "bf16"},
    {"attention": "flash", "sampling": "full", "precision": "bf16"},
    {"attention": "vanilla", "sampling": "kv-cache", "precision": "fp32"},
    {"attention": "vanilla", "sampling": "full", "precision": "fp32"},
)
"""The paper's FlashVAN, the transformer VAN that it is compared with, and what lies between (studies/flashvan_sampling.py)."""


def sampling_study() -> list[Recording]:
    """Return FlashVAN's training steps on the paper's GPU: 512 spins at three batches, and 1,024 spins, whose passes are compared."""
    sizes = [("512", batch) for batch in ("32", "128", "512")] + [("1024", "128")]
    return [
        Recording("flashvan", "", "h100-sxm", (*variant.items(), ("size", size), ("batch", batch)))
        for size, batch in sizes
        for variant in SAMPLING_STUDY
    ]


def several_gpus() -> list[Recording]:
    """Return Llama 2 70B on four and eight A100, as in published runs (studies/tensor_parallel.py): one rank's traces."""
    runs = [("a100-sxm-80gb", "4", "1", "128", "0"), ("a100-sxm-80gb", "4", "1", "2048", "0"), ("a100-sxm-80gb", "4", "64", "256", "255")]
    runs += [("a100-sxm-40gb", "8", "32", "1", "2047"), ("a100-sxm-40gb", "8", "24", "1024", "1023")]
    names = ("tensor_parallel", "batch", "prompt", "tokens")
    return [Recording("llama-2-70b", "", target, tuple(zip(names, values, strict=True))) for target, *values in runs]


def offloading() -> list[Recording]:
    """Return OPT on a T4 at the batches of FlexGen's published runs (studies/flexgen.py): the prompt, and 31 tokens after the first.

    Attention over the cache is the CPU's; one run also has it as a GPU would compute it.
    """
    runs = [("opt-30b", "144", "512"), ("opt-30b", "320", "256"), ("opt-175b", "256", "512"), ("opt-175b", "512", "256")]
    common = (("tokens", "31"), ("segments", "1"))
    on_host = [
        Recording(name, "", "t4", (("batch", batch), ("prompt", prompt), *common, ("attention", "host"))) for name, batch, prompt in runs
    ]
    return [*on_host, Recording("opt-30b", "", "t4", (("batch", "144"), ("prompt", "512"), *common))]


def attention_on_pim() -> list[Recording]:
    """Return decoding on A100 at the batches that fit, with and without PIM for the cache (studies/attacc.py); of OPT-175B one of 8 ranks.

    At the batch of GPUs alone attention is there twice: as one kernel, and as products and softmax.
    """
    llama, opt = (("prompt", "2048"),), (("tensor_parallel", "8"), ("prompt", "1922"))
    common = (("tokens", "128"), ("prefill", "no"), ("segments", "1"))
    runs = [("llama-2-7b", llama, ("58", "64", "70")), ("opt-175b", opt, ("30", "64", "66"))]
    made = [Recording(name, "", "a100-sxm-80gb", (*own, ("batch", batch), *common)) for name, own, batches in runs for batch in batches]
    return made + [replace(made[at], changed=(*made[at].changed, ("attention", "unfused"))) for at in (0, 3)]


def torch_programs() -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return the PyTorch workloads that are recorded, with the options that are not at their defaults: FlashVAN, every language model."""
    from traces.workloads.llm_shapes import models

    return [*(("flashvan", tuple(changed.items())) for changed in FLASHVAN), *((name, ()) for name in models())]


def recordings(only: str = "*") -> list[Recording]:
    """Return the recordings whose names fit the pattern (as in a shell), smallest molecules first. Raises CaptureError if none does."""
    every = planned()
    chosen = [r for r in every if fnmatch(r.name, only.lower())]
    if not chosen:
        raise CaptureError(f"no recorded trace has a name like {only!r}; {nearest(only, (r.name for r in every))}")
    return chosen


def is_current(recording: Recording) -> bool:
    """Return whether the file is there, made by the same command and packages; ``differences`` tells about this package's own code."""
    manifest = _manifest(recording.path)
    if manifest is None:
        return False
    captured = manifest.get("captured") or {}
    packages = {name: made_with for name, made_with in (manifest.get("versions") or {}).items() if name != "python"}
    same_packages = all(_installed(name) == made_with for name, made_with in packages.items())
    return captured.get("command") == recording.command and same_packages


def _manifest(path: Path) -> dict[str, Any] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            manifest: dict[str, Any] = json.loads(archive.read("manifest.json"))
            return manifest
    except (OSError, zipfile.BadZipFile, KeyError, json.JSONDecodeError):
        return None


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def record(recording: Recording) -> None:
    """Capture one trace into its place. Raises CaptureError with the command's own message if it fails."""
    FOLDER.mkdir(exist_ok=True)
    _run(recording, recording.arguments)


def _run(recording: Recording, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "codesign", *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}  # JAX would look for a GPU first, and complain
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CaptureError(f"`{recording.command}` failed: {done.stderr.strip()[-2000:]}")


def differences(recording: Recording) -> list[str]:
    """Capture a trace afresh and return the columns in which it differs from the one that ships ('kernels.flops_vector').

    Raises CaptureError if it cannot be captured.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / recording.path.name
        _run(recording, [*recording.arguments[:-1], str(file)])
        fresh = load(file)
    shipped = load(recording.path)
    pairs = [(name, column) for name, table in shipped.tables.items() for column in table.columns]
    return [f"{name}.{column}" for name, column in pairs if not _same(_plain(fresh, name, column), _plain(shipped, name, column))]


def _plain(trace: Trace, name: str, column: str) -> Any:
    """Return a column; names without XLA's numbers, which differ from run to run where its passes go side by side ('fusion.1083')."""
    values = trace.tables[name][column]
    return np.array([_NUMBER.sub("", value) for value in values.tolist()]) if column == "name" else values


_NUMBER = re.compile(r"\.\d+")


def _same(one: Any, other: Any) -> bool:
    return len(one) == len(other) and bool(((one == other) | ((one != one) & (other != other))).all())


def main(arguments: list[str] | None = None) -> int:
    """Record what is not current, or compare; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m traces.record", description="Capture the traces that ship with codesign.")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names to record, as in a shell: 'ferminet-*-a5000'")
    parser.add_argument("--force", action="store_true", help="record what is up to date, too")
    parser.add_argument("--check", action="store_true", help="capture again and compare with what ships, without writing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.check:
            return int(_differ(recordings(options.only)))
        _record_all(recordings(options.only), options.force)
    except CodesignError as error:
        log.error("%s", error)
        return 2
    return 0


def _record_all(chosen: list[Recording], force: bool) -> None:
    for number, recording in enumerate(chosen, start=1):
        place = f"[{number}/{len(chosen)}] {recording.name}"
        if not force and is_current(recording):
            log.info("%s is up to date", place)
            continue
        start = time.monotonic()
        record(recording)
        log.info("%s: %.0f kB in %.0f s", place, recording.path.stat().st_size / 1e3, time.monotonic() - start)


def _differ(chosen: list[Recording]) -> bool:
    """Say of each trace whether a fresh capture equals it; return whether one does not."""
    found = {}
    for recording in chosen:
        found[recording.name] = differences(recording)
        log.info("%s: %s", recording.name, ", ".join(found[recording.name]) or "equal")
    return any(found.values())


if __name__ == "__main__":
    sys.exit(main())
