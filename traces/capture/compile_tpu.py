"""Compiles an exported program for a TPU that is not there, with libtpu."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from traces.capture.assemble import Dump
from traces.capture.compile import NoTopology, callable_of
from traces.capture.program import ExportedProgram, numerics
from traces.capture.target import TpuTarget
from traces.errors import CaptureError, MissingExtra

ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_LOG_DIR": "disabled", "TPU_MIN_LOG_LEVEL": "3"}
"""What libtpu reads when it is loaded: no machine of Google's around, several processes may compile, no logs."""


def check_libtpu() -> None:
    """Raise MissingExtra unless libtpu is installed."""
    if find_spec("libtpu") is None:
        raise MissingExtra("xla-tpu", "capturing a TPU program")


def compile_program(program: ExportedProgram, target: TpuTarget, precision: str, x64: bool) -> Dump:
    """Compile for one device of the target; the process must have been started with ``ENVIRONMENT``.

    Raises NoTopology if libtpu does not come up, CaptureError if it cannot compile the program.
    """
    import jax
    from jax import export

    sharding = _replicated(target)
    with numerics(precision, x64):
        exported = export.deserialize(bytearray(program.blob))
        function, shapes = callable_of(exported, program.kept)
        donated = tuple(i for i, n in enumerate(program.kept) if n in program.donated)
        jitted = jax.jit(function, in_shardings=sharding, out_shardings=sharding, donate_argnums=donated, keep_unused=True)
        try:
            compiled = jitted.trace(*shapes).lower(lowering_platforms=("tpu",)).compile()
        except jax.errors.JaxRuntimeError as error:
            raise CaptureError(f"XLA must be able to compile the program for {target.description}, but says: {error}") from error
    return Dump(hlo=compiled.as_text(), thunks="", platform="tpu", allocated_bytes=_allocated(compiled.memory_analysis()))


def _allocated(memory: Any) -> int | None:
    """Return the bytes of arguments, results and temporaries, what is both counted once."""
    if memory is None:
        return None
    parts = memory.argument_size_in_bytes, memory.output_size_in_bytes, memory.temp_size_in_bytes, -memory.alias_size_in_bytes
    return int(sum(parts))


def _replicated(target: TpuTarget) -> Any:
    """Return a sharding for one absent device."""
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    try:
        topology = topologies.get_topology_desc(platform="tpu", topology_name=target.topology)
    except (NotImplementedError, RuntimeError) as error:
        raise NoTopology(str(error)) from error
    whole: Callable[[], Any] = PartitionSpec
    return NamedSharding(Mesh(np.array(topology.devices[:1]).reshape(1), ("device",)), whole())
