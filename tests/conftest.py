"""Settings of the whole test run, before any test imports JAX."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
