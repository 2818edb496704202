"""How long a trace takes to load."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import traces
from benchmarks.rows import Row, best_of
from traces import Table, Trace

KERNELS = 10_000


def large_trace() -> Trace:
    """Return a trace of 10,000 distinct kernels with three accesses each."""
    rows = np.arange(KERNELS, dtype=np.int64)
    kernels: dict[str, Any] = {
        "name": [f"loop_multiply_fusion_{i}" for i in rows],
        "region": rows * 0,
        "family": ["gemm" if i % 7 == 0 else "elementwise" for i in rows],
        "phase": ["sampling" if i % 2 else "laplacian" for i in rows],
        "scope": [f"jit(step)/layer_{i % 100}/mul" for i in rows],
        "launch_kind": ["fusion"] * KERNELS,
        "opcodes": [f"add:{1 + i % 13},multiply:{1 + i % 5}" for i in rows],
        "launches": rows * 0 + 1,
        "flops_vector": rows * 1e3,
        "bytes_unique": rows * 1e4,
    }
    tensors: dict[str, Any] = {"name": [f"t{i}" for i in rows], "bytes": rows * 4, "kind": ["temporary"] * KERNELS, "alias_set": rows}
    modes = np.tile(["read", "read", "write"], KERNELS)
    accesses: dict[str, Any] = {
        "kernel": np.repeat(rows, 3),
        "tensor": np.repeat(rows, 3),
        "mode": modes,
        "stride": ["contiguous"] * len(modes),
    }
    regions: dict[str, Any] = {
        "kind": ["sequence"],
        "name": ["root"],
        "trip_count": [1],
        "condition": ["host"],
        "first_kernel": [0],
        "end_kernel": [KERNELS],
    }
    tables: dict[str, dict[str, Any]] = {"kernels": kernels, "tensors": tensors, "accesses": accesses, "regions": regions}
    return Trace(**{name: Table.build(name, columns) for name, columns in tables.items()}, manifest={"program": "bench"})


def rows() -> list[Row]:
    """Return the loading time of ten thousand kernels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.trace"
        large_trace().save(path)
        return [Row("load a trace of 10,000 kernels", best_of(lambda: traces.load(path)) * 1e3, "ms", 50, "lower")]
