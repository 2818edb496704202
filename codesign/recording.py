"""Running a user's program under JAX's profiler, in a process of its own: ``codesign record``.

``python -m codesign.recording FOLDER RUNS PROGRAM [ARGS...]`` runs the program there and leaves the profile in the folder. A program is
a Python script, or a file that ``jax.export`` serialised; the latter is called ``RUNS`` times with arguments of ones. ``workload:NAME``
with its settings (``batch=8``) is a workload: each of its programs is called ``RUNS`` times and has a profile of its own, in a folder of
its name.
"""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from traces.errors import CodesignError

AS_CAPTURED = "--xla_gpu_enable_triton_gemm=false --xla_gpu_autotune_level=0"
"""What a capture is compiled with: another choice of kernels has other names, to which nothing can be joined."""

WORKLOAD = "workload:"
_LAST_WORDS = 2000


def record(program: Path, arguments: Sequence[str], folder: Path, *, runs: int, as_captured: bool) -> Path:
    """Run a program under the profiler and return the profile's file.

    Parameters
    ----------
    program, arguments
        A Python script and what it finds in ``sys.argv``, or a file of ``jax.export`` (without arguments).
    folder
        Where JAX puts the profile.
    runs
        How often an exported program is called, after one call that is not recorded.
    as_captured
        Compile as a capture does, so that kernels have the names of a captured trace.

    Raises
    ------
    CodesignError
        If the program fails, or leaves no profile.
    """
    _run_there(folder, runs, [str(program), *arguments], as_captured)
    return _profile_in(folder, str(program))


def record_workload(name: str, settings: Mapping[str, str], folder: Path, *, runs: int, as_captured: bool) -> dict[str, Path]:
    """Run each program of a JAX workload under the profiler and return their profiles by the programs' names, in order.

    Parameters
    ----------
    name, settings
        A registered workload and its options, as a capture takes them.
    folder, runs, as_captured
        As in ``record``; every program is called ``runs`` times on its initial arguments, drawn with seed 0.

    Raises
    ------
    CodesignError
        If the options cannot be, the workload is PyTorch's, or a program fails.
    """
    from traces import registry

    workload = registry.get("workloads", name)
    if workload.framework != "jax":
        raise CodesignError(
            f"a workload that is recorded must be JAX's, but {name!r} is {workload.framework}'s: run it on the GPU under torch.profiler "
            "(docs/formats.md has the lines) and `codesign import` what export_chrome_trace writes"
        )
    programs = workload.programs(**settings)
    words = [f"{WORKLOAD}{name}", *(f"{key}={value}" for key, value in settings.items())]
    _run_there(folder, runs, words, as_captured)
    return {program.name: _profile_in(folder / program.name, f"{name}/{program.name}") for program in programs}


def _run_there(folder: Path, runs: int, words: Sequence[str], as_captured: bool) -> None:
    command = [sys.executable, "-m", "codesign.recording", str(folder), str(runs), *words]
    done = subprocess.run(command, env=_environment(as_captured), stdout=2, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CodesignError(
            f"the program must end well to be recorded, but {words[0]} ended with status {done.returncode}; its last words: "
            f"{done.stderr[-_LAST_WORDS:].strip() or 'none'}"
        )


def _profile_in(folder: Path, program: str) -> Path:
    found = sorted(folder.rglob("*.xplane.pb"))
    if len(found) != 1:
        raise CodesignError(
            f"the profiler must leave one profile of {program}, but left {len(found)}: the program must not start JAX's profiler itself"
        )
    return found[0]


def _environment(as_captured: bool) -> dict[str, str]:
    paths = [path for path in sys.path if path]
    flags = " ".join(part for part in (os.environ.get("XLA_FLAGS", ""), AS_CAPTURED if as_captured else "") if part)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **({"XLA_FLAGS": flags} if flags else {})}


def main(folder: Path, runs: int, program: Path, arguments: Sequence[str]) -> None:
    """Run the program here, under the profiler."""
    import jax

    if str(program).startswith(WORKLOAD):
        _run_workload(folder, runs, str(program).removeprefix(WORKLOAD), dict(word.split("=", 1) for word in arguments))
        return
    if program.suffix == ".py":
        sys.argv = [str(program), *arguments]
        sys.path.insert(0, str(program.parent))
        with jax.profiler.trace(str(folder)):
            _run_script(program)
        return
    _measure(folder, runs, *_exported(program))


def _measure(folder: Path, runs: int, call: Callable[..., Any], values: Sequence[Any]) -> None:
    """Call a function once without the profiler, which compiles it, then ``runs`` times with it."""
    import jax

    wait: Callable[[Any], Any] = jax.block_until_ready
    wait(call(*values))
    with jax.profiler.trace(str(folder)):
        for _ in range(runs):
            wait(call(*values))


def _run_workload(folder: Path, runs: int, name: str, settings: Mapping[str, str]) -> None:
    """Run a workload's programs; on a GPU those that a capture compiles, with the GPU's own kernels."""
    import jax

    from traces import registry

    on_gpu = jax.default_backend() == "gpu"
    for program in registry.get("workloads", name).programs(**settings):
        function = program.captured if on_gpu and program.captured else program.function
        with program.numerics():
            _measure(folder / program.name, runs, jax.jit(function), program.arguments(0))


def _run_script(program: Path) -> None:
    """Run a script to its end; leaving early with status 0 is an end too."""
    try:
        runpy.run_path(str(program), run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise


def _exported(program: Path) -> tuple[Any, list[Any]]:
    """Return an exported program as a function of its flat arguments, and arguments of ones."""
    import jax
    import jax.numpy as jnp

    from traces.capture.program import deserialised

    exported = deserialised(program.read_bytes(), str(program))

    def call(*flat: Any) -> Any:
        args, kwargs = jax.tree_util.tree_unflatten(exported.in_tree, flat)
        return exported.call(*args, **kwargs)

    return jax.jit(call), [jnp.ones(aval.shape, aval.dtype) for aval in exported.in_avals]


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    except CodesignError as error:
        sys.exit(str(error))
