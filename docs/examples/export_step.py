"""Exports a small JAX program: five steps of a recurrent layer on 128 rows, and the norm of each row.

`python docs/examples/export_step.py` writes step.bin beside this file. The file holds the program and no Python: it can be captured
where neither this code nor its packages are (`codesign capture docs/examples/step.bin --target h200`).
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export


def step(weights, rows):
    """Return the rows after five steps, and their norms."""
    with jax.named_scope("phase_recurrence"):
        rows, _ = jax.lax.scan(lambda r, _: (jnp.tanh(r @ weights["w"] + weights["b"]), None), rows, None, length=5)
    with jax.named_scope("phase_norm"):
        return {"norm": jnp.sqrt((rows * rows).sum(axis=1)), "rows": rows}


def shape(*sizes):
    """Return the shape of an FP32 array."""
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


ARGUMENTS = {"w": shape(32, 32), "b": shape(32)}, shape(128, 32)
PLATFORMS = ("cuda", "tpu", "cpu")

if __name__ == "__main__":
    jax.config.update("jax_hlo_source_file_canonicalization_regex", ".*/")  # the file tells nothing of folders
    exported = export.export(jax.jit(step), platforms=PLATFORMS)(*ARGUMENTS)
    Path(__file__).with_name("step.bin").write_bytes(exported.serialize())
