"""A JAX program of one's own, compiled for two GPUs that need not be there, and replayed: relaxation of a heat equation.

`JAX_PLATFORMS=cpu python docs/examples/own_jax.py` prints what a solve would take, and where the time would go (extra `xla-gpu`).
"""

import jax
import jax.numpy as jnp
from rich import print

import codesign as cd


def solve(field, source):
    """Return the field after 100 Jacobi sweeps, and its residual: nothing here knows of codesign."""

    def neighbours(u):
        return (jnp.roll(u, 1, 0) + jnp.roll(u, -1, 0) + jnp.roll(u, 1, 1) + jnp.roll(u, -1, 1)) / 4

    with jax.named_scope("phase_relaxation"):
        field = jax.lax.fori_loop(0, 100, lambda _, u: neighbours(u) + source, field)
    with jax.named_scope("phase_residual"):
        return field, jnp.linalg.norm(neighbours(field) + source - field)


def timelines(gpus=("a5000", "h200")):
    """Return a replay of the solve for each GPU, by name; shapes are all that a capture needs."""
    shape = jax.ShapeDtypeStruct((4096, 4096), jnp.float32)
    traces = {gpu: cd.capture(solve, (shape, shape), target=gpu) for gpu in gpus}
    return {gpu: cd.replay(trace, cd.machine(gpu)) for gpu, trace in traces.items()}


if __name__ == "__main__":
    for gpu, timeline in timelines().items():
        print(f"{gpu}: {1e3 * timeline.time_s:.2f} ms a solve, {timeline.launches} launches")
        for by in ("phase", "family"):
            print("  " + ", ".join(f"{name} {share:.0%}" for name, share in timeline.shares(by).items()))
