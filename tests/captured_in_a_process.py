"""Captures one small program in whatever process runs this, and prints what came out as JSON.

``python -m tests.captured_in_a_process [PREPARATION ...]``: 'deepqmc' imports it first, 'highest' raises JAX's precision for
the whole process, 'error' captures a loop of unknown trip count too.
"""

import json
import os
import sys

import jax
import jax.numpy as jnp

from tests.targets import A5000
from traces.capture import capture
from traces.errors import CaptureError


def program(x, w):
    def step(carry, _):
        with jax.named_scope("phase_sampling"):
            carry = jnp.tanh(carry @ w) + jnp.linalg.slogdet(carry[:64].reshape(1, 64, 64))[1]
        return carry, carry.sum()

    return jax.lax.scan(step, x, None, length=10)


ARGUMENTS = (jax.ShapeDtypeStruct((128, 64), jnp.float32), jax.ShapeDtypeStruct((64, 64), jnp.float32))


def captured():
    return capture(program, ARGUMENTS, target=A5000)


def error_of_an_unknown_loop():
    try:
        capture(lambda x: jax.lax.while_loop(lambda c: c.sum() < 1, jnp.sin, x), ARGUMENTS[:1], target=A5000)
    except CaptureError as error:
        return str(error)
    return ""


def main(preparations):
    if "deepqmc" in preparations:
        import deepqmc  # noqa: F401
    if "highest" in preparations:
        jax.config.update("jax_default_matmul_precision", "highest")
    config, environment = dict(jax.config.values), dict(os.environ)
    trace = captured()
    result = {
        "hash": trace.content_hash,
        "platforms": jax.config.values["jax_platforms"],
        "precision": jax.config.values["jax_default_matmul_precision"],
        "config_unchanged": dict(jax.config.values) == config,
        "environment_unchanged": dict(os.environ) == environment,
        "error": error_of_an_unknown_loop() if "error" in preparations else "",
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
