"""Do all devices of the catalogue keep the rules that a user's device must keep?"""

import numpy as np
import pytest

import arch
from arch.device import Device
from arch.work import Float, Prices, Refusals, Work
from codesign.testing import DeviceConformance, example_trace


class TestA5000(DeviceConformance):
    def device(self) -> Device:
        return arch.machine("a5000").devices[0]


class TestA100(DeviceConformance):
    def device(self) -> Device:
        return arch.machine("a100").devices[0]


class TestH200InHalfPrecision(DeviceConformance):
    dtype = "bf16"

    def device(self) -> Device:
        return arch.machine("h200").devices[0]


class TestA100InDoublePrecision(DeviceConformance):
    dtype = "f64"

    def device(self) -> Device:
        return arch.machine("a100").devices[0]


class TestAiM(DeviceConformance):
    dtype, opcodes = "bf16", "multiply:1"

    def device(self) -> Device:
        return arch.machine("a5000+aim").device("aim")


class TestAiMInSinglePrecision(DeviceConformance):
    opcodes = "add:2,multiply:3,exponential:1"

    def device(self) -> Device:
        return arch.machine("a5000+aim-fp32").device("aim-fp32")


class TestHBMPIM(DeviceConformance):
    dtype = "f16"

    def device(self) -> Device:
        return arch.machine("a100+hbm-pim").device("hbm-pim")


class TestHBMPIMInSinglePrecision(DeviceConformance):
    def device(self) -> Device:
        return arch.machine("a100+hbm-pim-fp32@link").device("hbm-pim-fp32")


class _Shifted(Device):
    """A device with a fault of its own, to see that the class finds it."""

    id, kind, memory = "shifted", "test", "m"

    def __init__(self, fault: str) -> None:
        self.fault = fault
        if fault == "text":
            self.not_modelled = "everything"  # type: ignore[assignment]

    def price(self, work: Work) -> Prices:
        count = len(work)
        seconds = np.full(count, 1e-6) + work.kernels["bytes_unique"] * (-1e-15 if self.fault == "faster" else 1e-15)
        if self.fault == "negative":
            seconds = -seconds
        if self.fault == "nan":
            seconds[0] = np.nan
        if self.fault == "neighbour":
            seconds = seconds * count
        if self.fault == "milliseconds":
            seconds = seconds * 1e12
        terms = {"all_s": seconds[:1]} if self.fault == "one term" else {}
        refused = self.refuse(work).code != 0
        if self.fault != "finite":
            seconds = np.where(refused, np.inf, seconds)
        return Prices(seconds, np.zeros(count), np.full(count, np.nan), terms)

    def refuse(self, work: Work) -> Refusals:
        refuses = self.fault in ("finite", "silent")
        reasons = ("", "") if self.fault == "silent" else ("", "no such unit")
        return Refusals((refuses & (work.kernels["family"] == "gemm")).astype(np.int8), reasons)

    def least(self, work: Work) -> Float:
        return self.price(work).duration_s * (2 if self.fault == "bound" else 1)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("faster", "test_more_bytes_never_take_less_time"),
        ("negative", "test_prices_are_positive_finite_and_in_seconds"),
        ("nan", "test_nothing_but_energy_is_ever_nan"),
        ("neighbour", "test_a_kernel_costs_alone_what_it_costs_among_others"),
        ("milliseconds", "test_prices_are_positive_finite_and_in_seconds"),
        ("one term", "test_terms_explain_the_duration"),
        ("finite", "test_what_it_refuses_has_a_reason_and_an_infinite_price"),
        ("silent", "test_what_it_refuses_has_a_reason_and_an_infinite_price"),
        ("bound", "test_its_lower_bound_is_not_above_its_price"),
        ("text", "test_what_it_leaves_out_is_a_tuple_of_texts"),
    ],
)
def test_a_faulty_device_is_found(fault: str, test: str) -> None:
    class Faulty(DeviceConformance):
        def device(self) -> Device:
            return _Shifted(fault)

    with pytest.raises(AssertionError):
        getattr(Faulty(), test)()


def test_an_example_trace_is_the_same_for_the_same_seed() -> None:
    assert example_trace(seed=3).content_hash == example_trace(seed=3).content_hash
    assert example_trace(seed=3).content_hash != example_trace(seed=4).content_hash


def test_rows_keep_the_operands_of_their_kernels() -> None:
    work = Work.of(example_trace(6))
    some = work.rows([4, 1])
    assert list(some.kernels["name"]) == ["k4", "k1"]
    assert list(some.accesses["tensor"]) == [*work.accesses["tensor"][12:15], *work.accesses["tensor"][3:6]]
    assert list(some.access_offsets) == [0, 3, 6]


def test_a_device_without_a_fault_passes_every_test() -> None:
    class Sound(DeviceConformance):
        def device(self) -> Device:
            return _Shifted("")

    tests = [name for name in dir(Sound) if name.startswith("test_")]
    assert len(tests) >= 13
    for name in tests:
        getattr(Sound(), name)()
