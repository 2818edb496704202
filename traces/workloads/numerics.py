"""Keeps JAX's process-wide settings the user's: programs declare theirs, and imports that change some are undone."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def numerics(precision: str, x64: bool) -> Iterator[None]:
    """Set the precision of matrix products ('default', 'high', 'highest') and 64-bit types, in this thread and block only."""
    import jax

    with jax.default_matmul_precision(precision), jax.enable_x64(x64):
        yield


@contextmanager
def contained() -> Iterator[None]:
    """Undo what happens in the block to JAX's configuration, the environment and the list of warning filters.

    Importing deepqmc raises the precision of all matrix products of the process (``jax_default_matmul_precision``) and
    sets NVIDIA_TF32_OVERRIDE. Environment variables that exist keep their value; new ones are removed.
    """
    import jax

    config, environment = dict(jax.config.values), dict(os.environ)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            _restore_config(config)
            _restore_environment(environment)


def _restore_config(before: dict[str, object]) -> None:
    import jax

    for name, value in jax.config.values.items():
        if name in before and before[name] is not value and before[name] != value:
            jax.config.update(name, before[name])  # type: ignore[no-untyped-call]


def _restore_environment(before: dict[str, str]) -> None:
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
