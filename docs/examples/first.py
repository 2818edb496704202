"""A first program of one's own: a training step of a small network in BF16, captured for an H100 that need not be there."""

import jax
import jax.numpy as jnp

import codesign as cd


def loss(weights, x):
    for w in weights:
        x = jax.nn.gelu(x @ w)
    return (x**2).mean()


def step(weights, x):
    gradients = jax.grad(loss)(weights, x)
    return [w - 1e-3 * g for w, g in zip(weights, gradients, strict=True)]


weights = [jax.ShapeDtypeStruct((4096, 4096), jnp.bfloat16)] * 4  # shapes are enough: nothing runs
x = jax.ShapeDtypeStruct((8192, 4096), jnp.bfloat16)
trace = cd.capture(step, (weights, x), target="h100")
trace.save("step.trace")
print(cd.replay(trace, cd.machine("h100")))
