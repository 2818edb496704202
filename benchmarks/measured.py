"""Measure one thing in a process of its own and print its seconds and peak memory: ``compile``, ``capture``, ``replay`` or ``command``.

What Linux calls a process's peak includes that of the process which started it, up to the moment the program was loaded. So a
command is started from here, a small process, and what this one measures of itself is the peak of its own memory map.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # before jax is imported: the CUDA plugin then comes up without a driver


def local_energy(molecule: str) -> Any:
    """Return FermiNet's local-energy program at its default size."""
    from traces import registry

    return registry.get("workloads", "ferminet").programs(molecule=molecule)[1]


def compile_alone(molecule: str) -> Callable[[], object]:
    """Return a call that traces, lowers and compiles for the A5000 as JAX does, and nothing else."""
    import jax
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from codesign.capturing import compile_target

    program, text = local_energy(molecule), compile_target("a5000").config_text()
    topology = topologies.get_topology_desc(platform="cuda", topology_name="", target_config=text, topology="1x1x1")
    whole: Callable[[], Any] = PartitionSpec
    sharding = NamedSharding(Mesh(np.array(topology.devices).reshape(1), ("device",)), whole())
    shapes = program.shapes()
    options: dict[str, Any] = {"xla_gpu_enable_triton_gemm": False, "xla_gpu_autotune_level": 0}

    def run() -> object:
        with program.numerics():
            jitted = jax.jit(program.function, in_shardings=sharding, out_shardings=sharding)
            return jitted.trace(*shapes).lower(lowering_platforms=("cuda",)).compile(compiler_options=options)

    return run


def capture(molecule: str) -> Callable[[], object]:
    """Return a call that captures the same program for the A5000."""
    from codesign.capturing import compile_target

    program, target = local_energy(molecule), compile_target("a5000")
    program.shapes()
    return lambda: program.capture(target, "ferminet", {})


def replay(molecule: str) -> Callable[[], object]:
    """Return a call that replays the recorded trace on the A5000."""
    import codesign as cd
    from traces.recordings import load_recorded

    return lambda: cd.replay(load_recorded(f"ferminet-{molecule.lower()}-a5000"), cd.machine("a5000"))


def own_peak() -> int:
    """Return the most bytes that this process has held."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak) * 1024


def peak_of_children() -> int:
    """Return the most bytes that one of the commands started here has held."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(what: str, *arguments: str) -> None:
    """Run ``what`` once and print a JSON line."""
    if what == "command":
        run, peak = lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), peak_of_children
    else:
        run, peak = {"compile": compile_alone, "capture": capture, "replay": replay}[what](*arguments), own_peak
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_bytes": peak()}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
