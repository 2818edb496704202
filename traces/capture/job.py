"""What a capture is: an exported program, a target, and the settings of the trace."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from traces.capture import compile_tpu
from traces.capture.assemble import Naming, assemble
from traces.capture.compile import compile_program
from traces.capture.pallas import PallasWork
from traces.capture.program import ExportedProgram
from traces.capture.schedule import TripCounts
from traces.capture.scopes import StageRules
from traces.capture.target import CompileTarget, TpuTarget
from traces.trace import Trace

TPU_PACKAGES = ("jax", "jaxlib", "libtpu")
_WHAT = {"cuda": "GPU", "tpu": "TPU"}
PACKAGES = ("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12")


@dataclass(frozen=True)
class Job:
    """Everything that decides a trace, apart from the program."""

    target: CompileTarget | TpuTarget
    program: str
    precision: str
    x64: bool
    phase: str | None = None
    trip_counts: TripCounts = None
    stage_rules: StageRules = ()
    options: Mapping[str, Any] | None = None
    seed: int = 0

    def run(self, program: ExportedProgram) -> Trace:
        """Compile here and return the trace. Raises NoTopology, CaptureError."""
        if isinstance(self.target, TpuTarget):
            dump = compile_tpu.compile_program(program, self.target, self.precision, self.x64)
        else:
            dump = compile_program(program, self.target, self.precision, self.x64)
        pallas = {work.key: work for work in program.pallas}
        naming = Naming(self.program, _kept_names(program), program.outputs, self.phase, self.stage_rules, pallas)
        return assemble(dump, naming, self.trip_counts, self._manifest())

    def _manifest(self) -> dict[str, Any]:
        options = dict(self.options or {})
        return {
            "program": self.program,
            "target": self.target.id,
            "precision": self.precision,
            "x64": self.x64,
            "batch": options.get("batch"),
            "options": options,
            "seed": self.seed,
            "versions": versions(self.target.platform),
            "captured": {
                "how": f"compiled by XLA for a {_WHAT[self.target.platform]} that is not there",
                "target": self.target.description,
                "date": datetime.now(UTC).date().isoformat(),
                "python": platform.python_version(),
            },
        }

    def save(self, folder: Path, program: ExportedProgram) -> None:
        """Write the job and its program into a folder, for a worker."""
        (folder / "program.bin").write_bytes(program.blob)
        described = {k: v for k, v in asdict(program).items() if k != "blob"}
        (folder / "job.json").write_text(json.dumps({"job": asdict(self), "program": described}))


def load_job(folder: Path) -> tuple[Job, ExportedProgram]:
    """Read what ``Job.save`` wrote."""
    written = json.loads((folder / "job.json").read_text())
    job, described = written["job"], written["program"]
    target: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in job["target"].items()}
    job["target"] = TpuTarget(**target) if "topology" in target else CompileTarget(**target)
    job["stage_rules"] = tuple((stage, pattern) for stage, pattern in job["stage_rules"])
    described |= {k: tuple(v) for k, v in described.items() if isinstance(v, list)}
    described["pallas"] = tuple(PallasWork(**work) for work in described["pallas"])
    return Job(**job), ExportedProgram(blob=(folder / "program.bin").read_bytes(), **described)


def _kept_names(program: ExportedProgram) -> list[str]:
    return [program.parameters[i] for i in program.kept if i < len(program.parameters)]


def versions(platform_: str = "cuda") -> dict[str, str]:
    """Return the versions of what a capture for a platform depends on."""
    found = {}
    for package in PACKAGES if platform_ == "cuda" else TPU_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {**found, "python": platform.python_version()}
