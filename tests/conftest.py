"""Settings of the whole test run, before any test imports JAX."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine fails no test
settings.load_profile("untimed")

LONG = ("test_fuzz", "test_workloads_vmc", "test_workloads_deepqmc", "test_record", "test_workloads_oracles", "test_recorded")
"""Files that take long: they begin first, so that no process is left with one when the others have ended."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of LONG first; the others stay in order."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="module", autouse=True)
def imports_are_no_garbage() -> Iterator[None]:
    """Captures collect garbage: keep them from looking through all that was imported, again and again."""
    gc.freeze()
    yield
    gc.unfreeze()
