"""Compiles an exported program for a GPU that is not there, and collects what XLA dumps."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from traces.capture.assemble import Dump
from traces.capture.program import ExportedProgram, numerics, shaped
from traces.capture.target import CompileTarget
from traces.errors import CaptureError, MissingExtra

log = logging.getLogger("traces")

OPTIONS: dict[str, Any] = {"xla_gpu_enable_triton_gemm": False, "xla_gpu_autotune_level": 0}
"""Without a GPU nothing can be tuned: products stay library calls with their shapes, and cost models own their time."""


class NoTopology(Exception):
    """The CUDA plugin cannot come up in this process."""


def check_platform(platform: str = "cuda") -> None:
    """Raise CaptureError where the compiler does not exist, MissingExtra where CUDA's is not installed."""
    if sys.platform != "linux":
        raise CaptureError(
            f"capturing needs Linux, where XLA's compilers for absent devices exist, but this is {sys.platform}: "
            "capture on Linux and load the trace here (everything but capture works)"
        )
    if platform != "cuda":
        return
    from importlib.util import find_spec

    for module in ("jax_plugins.xla_cuda12", "jax_cuda12_plugin"):
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise MissingExtra("xla-gpu", "capturing a GPU program")


def can_compile_here() -> bool:
    """Tell whether this process can compile without a driver, unaffected by settings of its own.

    That takes JAX on the CPU (the CUDA plugin then comes up without a GPU), no XLA_FLAGS (the compiler obeys them) and no
    compilation cache (a cached program is not dumped).
    """
    import jax

    settings = jax.config.values
    return settings["jax_platforms"] == "cpu" and not os.environ.get("XLA_FLAGS") and not settings["jax_compilation_cache_dir"]


def compile_program(program: ExportedProgram, target: CompileTarget, precision: str, x64: bool) -> Dump:
    """Compile for the target and return the dump; its folder is temporary.

    Raises
    ------
    NoTopology
        If the CUDA plugin cannot come up in this process.
    CaptureError
        If XLA cannot compile the program for this target.
    """
    import jax
    from jax import export

    sharding = _replicated(target)
    with numerics(precision, x64), TemporaryDirectory(prefix="codesign-xla-") as folder:
        exported = export.deserialize(bytearray(program.blob))
        function, shapes = callable_of(exported, program.kept)
        donated = tuple(i for i, n in enumerate(program.kept) if n in program.donated)
        jitted = jax.jit(function, in_shardings=sharding, out_shardings=sharding, donate_argnums=donated, keep_unused=True)
        lowered = jitted.trace(*shapes).lower(lowering_platforms=("cuda",))
        try:
            lowered.compile(compiler_options={**OPTIONS, "xla_dump_to": folder, "xla_dump_hlo_as_text": True})
        except jax.errors.JaxRuntimeError as error:
            said = f"XLA must be able to compile the program for {target.description}, but says: {error}"
            raise CaptureError(said + mosaic_hint(lowered.as_text(), target.compute_capability)) from error
        return read_dump(Path(folder))


MOSAIC_CAPABILITY = (9, 0)
"""Hopper: what Pallas' Mosaic back end writes for it (wgmma, TMA) no earlier GPU has."""


def mosaic_hint(program: str, capability: tuple[int, int]) -> str:
    """Return what to do where Pallas' default back end wrote kernels that the target cannot run, else nothing."""
    if "mosaic_gpu" not in program or capability >= MOSAIC_CAPABILITY:
        return ""
    major, minor = capability
    return (
        f" (it has kernels of Pallas' back end Mosaic, which need compute capability 9.0, and this GPU has {major}.{minor}: "
        "give pl.pallas_call compiler_params=jax.experimental.pallas.triton.CompilerParams(), which takes Triton instead, from 8.0 on)"
    )


def _replicated(target: CompileTarget) -> Any:
    """Return a sharding for one absent device."""
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    try:
        topology = topologies.get_topology_desc(platform="cuda", topology_name="", target_config=target.config_text(), topology="1x1x1")
    except (NotImplementedError, RuntimeError) as error:
        raise NoTopology(str(error)) from error
    whole: Callable[[], Any] = PartitionSpec
    return NamedSharding(Mesh(np.array(topology.devices).reshape(1), ("device",)), whole())


def callable_of(exported: Any, used: tuple[int, ...]) -> tuple[Callable[..., Any], list[Any]]:
    """Return a function of the arguments that the program uses, and their shapes.

    Its name, and that of the call in it, stand before every op_name: ``scopes.WRAPPER``.
    """
    import jax
    import jax.numpy as jnp

    avals = exported.in_avals

    def captured(*kept: Any) -> Any:
        given = dict(zip(used, kept, strict=True))
        flat = [given[i] if i in given else jnp.zeros(aval.shape, aval.dtype) for i, aval in enumerate(avals)]
        args, kwargs = jax.tree_util.tree_unflatten(exported.in_tree, flat)
        return exported.call(*args, **kwargs)

    return captured, [shaped(avals[i].shape, avals[i].dtype) for i in used]


def read_dump(folder: Path) -> Dump:
    """Read the texts of the one module that XLA dumped into a folder. Raises CaptureError if they are not there."""
    return Dump(
        hlo=_only(folder, "*_gpu_after_optimizations.txt"),
        thunks=_only(folder, "*.thunk_sequence_after_thunk_passes.txt", "*.thunk_sequence.txt"),
        metadata=_only(folder, "*.thunk_metadata.txt"),
        buffers=_only(folder, "*-buffer-assignment.txt"),
        live_range=_only(folder, "*-live-range.txt"),
        ptx=tuple(path.read_text() for path in sorted(folder.glob("*.ptx"))),
    )


def _only(folder: Path, *patterns: str) -> str:
    for pattern in patterns:
        found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_size)
        if found:
            return found[-1].read_text()
    raise CaptureError(
        f"XLA must dump {patterns[-1]}, but did not: the program must compute at least one array (and the supported jax is 0.10.2)"
    )
