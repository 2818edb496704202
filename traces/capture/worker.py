"""Compiles in another process: where this one has a GPU driver in the way, or settings of its own.

The CUDA plugin comes up without a driver only in a process that starts with JAX_PLATFORMS=cpu. ``python -m
traces.capture.worker FOLDER`` reads a job from the folder and leaves a trace, or the error, there.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from traces import errors
from traces.capture import compile_tpu
from traces.capture.job import Job, load_job
from traces.capture.program import ExportedProgram
from traces.errors import CaptureError
from traces.trace import Trace

log = logging.getLogger("traces")


def run_in_worker(job: Job, program: ExportedProgram) -> Trace:
    """Run the job in a fresh process and return its trace. Raises CaptureError."""
    from traces.loading import load

    with TemporaryDirectory(prefix="codesign-capture-") as name:
        folder = Path(name)
        job.save(folder, program)
        command = [sys.executable, "-m", "traces.capture.worker", str(folder)]
        done = subprocess.run(command, env=_environment(job.target.platform), capture_output=True, text=True, check=False)
        _raise_error(folder, done)
        return load(folder / "result.trace")


def _environment(platform: str) -> dict[str, str]:
    """Return an environment in which nothing steers the compiler, and the same packages are found."""
    steering = ("JAX_", "XLA_", "TF_", "NVIDIA_TF32", "ENABLE_PJRT")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
    paths = [path for path in sys.path if path]
    more = compile_tpu.ENVIRONMENT if platform == "tpu" else {}
    return {**kept, **more, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(paths)}


def _raise_error(folder: Path, done: "subprocess.CompletedProcess[str]") -> None:
    told = folder / "error.json"
    if told.exists():
        error = json.loads(told.read_text())
        raise getattr(errors, error["type"], CaptureError)(error["message"])
    if done.returncode or not (folder / "result.trace").exists():
        raise CaptureError(
            f"the compiler's process must end with a trace, but ended with status {done.returncode} (out of memory?); "
            f"its last words: {done.stderr[-2000:].strip()}"
        )


def main(folder: Path) -> int:
    """Run the job in the folder; leave result.trace or error.json there."""
    from traces.capture.compile import NoTopology

    try:
        job, program = load_job(folder)
        job.run(program).save(folder / "result.trace")
    except (errors.TraceError, CaptureError) as error:
        _tell(folder, type(error).__name__, str(error))
        return 2
    except NoTopology as error:
        text = (
            "XLA's compiler must come up without the device, but did not: reinstall the extra 'xla-gpu' (or 'xla-tpu'; jax and its plugin "
            "must match). "
        )
        _tell(folder, "CaptureError", text + str(error))
        return 2
    return 0


def _tell(folder: Path, kind: str, message: str) -> None:
    (folder / "error.json").write_text(json.dumps({"type": kind, "message": message}))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
