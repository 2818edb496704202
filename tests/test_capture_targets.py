"""Does every GPU of the issue compile, with its own code and registers?"""

import jax
import jax.numpy as jnp
import pytest

import codesign as cd
from traces.capture.target import CompileTarget

CAPABILITY = {
    "v100": (7, 0), "t4": (7, 5), "a100": (8, 0), "a5000": (8, 6), "l4": (8, 9), "h100": (9, 0), "h200": (9, 0), "b200": (10, 0),
}  # fmt: skip


def program(x: jax.Array, w: jax.Array) -> jax.Array:
    """A library's product, and a kernel that XLA generates."""
    return jnp.tanh(x @ w).sum(axis=1)


@pytest.mark.parametrize("name", CAPABILITY)
def test_a_program_compiles_for_every_gpu(name: str) -> None:
    target = cd.machine(name).target
    assert isinstance(target, CompileTarget)
    assert target.compute_capability == CAPABILITY[name]
    square = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    kernels = cd.capture(program, (square, square), target=name).kernels
    assert kernels["flops_matrix"].sum() == 2 * 256**3
    generated = kernels["grid_x"] > 0
    assert generated.any()
    assert (kernels["registers"][generated] > 0).all()  # ptxas knows the architecture
