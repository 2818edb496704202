"""What codesign's own parts are tested with, for a user's parts too.

Subclass ``DeviceConformance`` in a test file, say how to make the device, and pytest does the rest::

    from codesign.testing import DeviceConformance

    class TestMyDevice(DeviceConformance):
        def device(self):
            return MyDevice()
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from arch.device import Device
from arch.work import Work
from traces.table import Table
from traces.trace import Trace

_LIBRARY = {"gemm": "gemm", "lu": "getrf", "triangular_solve": "triangular_solve"}
_LONGEST_S = 1e3


def example_trace(kernels: int = 40, seed: int = 0, dtype: str = "f32", opcodes: str = "add:1,multiply:1", target: str = "") -> Trace:
    """Return a trace of kernels of several families with random sizes: sequence of launches that share some tensors."""
    rng = np.random.default_rng(seed)
    family = rng.choice(["elementwise", "elementwise", "reduce", "gemm", "lu", "triangular_solve"], kernels)
    tensors = max(2 * kernels // 3, 1)
    size = rng.integers(1, 2**20, tensors) * 4
    used = rng.integers(0, tensors, (kernels, 3))
    moved = size[used].astype(np.float64)
    root: dict[str, Any] = {"parent": [-1], "kind": ["sequence"], "name": ["root"], "trip_count": [1], "condition": ["host"]}
    return Trace(
        Table.build("kernels", _kernels(rng, family, dtype, opcodes, moved)),
        Table.build(
            "tensors",
            {
                "name": [f"t{i}" for i in range(tensors)],
                "dtype": [dtype] * tensors,
                "bytes": size,
                "kind": ["temporary"] * tensors,
                "alias_set": np.arange(tensors),
            },
        ),
        Table.build(
            "accesses",
            {
                "kernel": np.repeat(np.arange(kernels), 3),
                "tensor": used.ravel(),
                "mode": ["read", "read", "write"] * kernels,
                "bytes_unique": moved.ravel(),
                "bytes_requested": moved.ravel(),
                "stride": ["contiguous"] * (3 * kernels),
            },
        ),
        Table.build("regions", {**root, "first_kernel": [0], "end_kernel": [kernels]}),
        {"program": "example", "target": target},
    )


def _kernels(
    rng: np.random.Generator, family: np.ndarray[Any, Any], dtype: str, opcodes: str, moved: np.ndarray[Any, Any]
) -> dict[str, Any]:
    count = len(family)
    library = np.isin(family, list(_LIBRARY))
    batch, m, n, k = (np.where(library, rng.integers(1, top, count), -1) for top in (200, 40, 40, 40))
    threads, elements = np.where(library, -1, 128), moved.sum(axis=1) / 4
    flops = np.where(library, 2.0 * batch * m * n * k, 0.0)
    return {
        "name": [f"k{i}" for i in range(count)],
        "region": np.zeros(count, dtype=np.int64),
        "family": family,
        "launch_kind": np.where(library, "library", "fusion"),
        "library": [_LIBRARY.get(f, "") for f in family],
        "opcodes": np.where(library, "", opcodes),
        "dtype": [dtype] * count,
        "precision": np.where(family == "gemm", "highest", ""),
        "launches": np.ones(count, dtype=np.int64),
        "grid_x": np.where(library, -1, rng.integers(1, 4000, count)),
        "grid_y": np.where(library, -1, 1),
        "grid_z": np.where(library, -1, 1),
        "block_x": threads,
        "block_y": np.where(library, -1, 1),
        "block_z": np.where(library, -1, 1),
        "registers": np.where(library, -1, 32),
        "shared_bytes": np.where(library, -1, 0),
        "batch": batch,
        "m": m,
        "n": n,
        "k": k,
        "flops_matrix": flops,
        "flops_vector": np.where(library, 0.0, elements),
        "flops_transcendental": np.where(library, 0.0, elements / 8),
        "bytes_unique": moved.sum(axis=1),
        "bytes_requested": moved.sum(axis=1),
    }


def scaled(work: Work, kernels: Mapping[str, float] | None = None, accesses: Mapping[str, float] | None = None) -> Work:
    """Return the work with some number columns of its tables multiplied, everything else (grids, reuse) as it was."""
    return replace(work, kernels=_times(work.kernels, kernels or {}), accesses=_times(work.accesses, accesses or {}))


def _times(table: Table, factors: Mapping[str, float]) -> Table:
    columns = table.decoded()
    return Table.build(table.kind, {**columns, **{name: columns[name] * factor for name, factor in factors.items()}})


class DeviceConformance(ABC):
    """Tests that every device must pass: prices are positive, monotone, pure and row by row; refusals say why.

    Override ``device``; set ``dtype`` and ``opcodes`` to what it can run, or override ``work`` for kernels of your own.
    """

    dtype: ClassVar[str] = "f32"
    opcodes: ClassVar[str] = "add:1,multiply:1"

    @abstractmethod
    def device(self) -> Device:
        """Return the device to test."""

    def work(self) -> Work:
        """Return the kernels to test it with."""
        return Work.of(example_trace(dtype=self.dtype, opcodes=self.opcodes))

    def test_it_has_a_lower_case_id_and_a_memory(self) -> None:
        device = self.device()
        assert device.id, "a device must have an id"
        assert device.id == device.id.lower(), f"the id {device.id!r} must be lower case"
        assert device.kind, "kind must not be empty"
        assert device.memory, "memory must be the id of a memory"
        for value in (device.static_watts, device.area_mm2):
            assert value is None or value >= 0, f"power and area must be None or not negative, but got {value}"

    def test_what_it_leaves_out_is_a_tuple_of_texts(self) -> None:
        left_out = self.device().not_modelled
        assert isinstance(left_out, tuple), f"not_modelled must be a tuple of texts, but is {left_out!r}"
        assert all(isinstance(text, str) and text for text in left_out), f"not_modelled must hold texts, but is {left_out!r}"

    def test_it_can_run_some_of_the_kernels(self) -> None:
        assert np.any(self._runs()), f"{self.device().id!r} refuses every kernel; set dtype and opcodes to what it can run"

    def test_prices_are_positive_finite_and_in_seconds(self) -> None:
        prices, runs = self.device().price(self.work()), self._runs()
        for name in ("duration_s", "dram_bytes", "energy_j"):
            values = getattr(prices, name)
            assert values.shape == (len(self.work()),), f"{name} must have one entry a kernel"
            assert values.dtype == np.float64, f"{name} must be float64, but is {values.dtype}"
        assert np.all(prices.duration_s[runs] > 0), "durations must be positive"
        assert np.all(prices.duration_s[runs] < _LONGEST_S), "durations must be in seconds: kernels of megabytes take less than minutes"
        assert np.all(prices.dram_bytes[runs] >= 0), "bytes must not be negative"
        assert np.all(np.isnan(prices.energy_j[runs]) | (prices.energy_j[runs] >= 0)), "energy is joules, or NaN where unknown"

    def test_nothing_but_energy_is_ever_nan(self) -> None:
        prices = self.device().price(self.work())
        for name, values in {"duration_s": prices.duration_s, "dram_bytes": prices.dram_bytes, **prices.terms}.items():
            assert not np.any(np.isnan(values)), f"{name} must not be NaN; refuse a kernel or raise MachineError instead"

    def test_terms_explain_the_duration(self) -> None:
        prices, runs = self.device().price(self.work()), self._runs()
        for name, values in prices.terms.items():
            assert values.shape == runs.shape, f"the term {name} must have one entry a kernel"
            assert np.all(values[runs] >= 0), f"the term {name} must not be negative"
            assert np.all(values[runs] <= prices.duration_s[runs] * (1 + 1e-9)), f"the term {name} must not exceed the duration"

    def test_its_lower_bound_is_not_above_its_price(self) -> None:
        work = self.work()
        least, seconds = self.device().least(work), self.device().price(work).duration_s
        assert least.shape == seconds.shape, "least must have one entry a kernel"
        assert np.all(least >= 0), "least must not be negative"
        assert np.all(least <= seconds * (1 + 1e-9)), "least must not exceed the price of any kernel"

    def test_a_kernel_costs_alone_what_it_costs_among_others(self) -> None:
        work, device = self.work(), self.device()
        together, refused = device.price(work), device.refuse(work)
        for kernel in range(len(work)):
            alone = device.price(work.rows([kernel]))
            np.testing.assert_allclose(alone.duration_s[0], together.duration_s[kernel], rtol=1e-12)
            np.testing.assert_allclose(alone.energy_j[0], together.energy_j[kernel], rtol=1e-12)
            assert device.refuse(work.rows([kernel])).reason(0) == refused.reason(kernel)

    def test_pricing_twice_gives_the_same(self) -> None:
        work, device = self.work(), self.device()
        first, second = device.price(work), device.price(work)
        np.testing.assert_array_equal(first.duration_s, second.duration_s)
        np.testing.assert_array_equal(first.energy_j, second.energy_j)

    def test_more_bytes_never_take_less_time(self) -> None:
        more = {"bytes_unique": 3.0, "bytes_requested": 3.0}
        self._never_faster(scaled(self.work(), kernels=more, accesses=more))

    def test_more_flops_never_take_less_time(self) -> None:
        self._never_faster(scaled(self.work(), kernels=dict.fromkeys(("flops_matrix", "flops_vector", "flops_transcendental"), 3.0)))

    def test_cold_operands_never_take_less_time(self) -> None:
        work = self.work()
        self._never_faster(replace(work, cold=np.ones_like(work.cold)))

    def test_what_it_refuses_has_a_reason_and_an_infinite_price(self) -> None:
        work, device = self.work(), self.device()
        refused, prices = device.refuse(work), device.price(work)
        assert refused.reasons[0] == "", "reasons[0] must be empty: code 0 means that the kernel can run"
        assert all(refused.reasons[1:]), "every other reason must say something"
        assert len(set(refused.reasons)) == len(refused.reasons), "reasons must differ"
        assert refused.code.shape == (len(work),)
        assert refused.code.dtype == np.int8
        assert refused.code.min(initial=0) >= 0
        assert refused.code.max(initial=0) < len(refused.reasons)
        assert np.all(np.isinf(prices.duration_s) == (refused.code != 0)), "a kernel costs infinitely much if and only if it is refused"

    def _runs(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return np.asarray(self.device().refuse(self.work()).code == 0, dtype=np.bool_)

    def _never_faster(self, harder: Work) -> None:
        before, after = self.device().price(self.work()).duration_s, self.device().price(harder).duration_s
        worse = np.flatnonzero(after < before * (1 - 1e-12))
        assert len(worse) == 0, f"kernel {worse[0]} became faster: {before[worse[0]]} s before, {after[worse[0]]} s after"
