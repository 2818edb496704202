"""The cost table: every kernel priced on every device of a machine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arch.device import Device
from arch.facts import once
from arch.machine import Machine
from arch.work import Float, Prices, Refusals, Work
from traces.errors import MachineError

if TYPE_CHECKING:
    from traces.trace import Trace


@dataclass(frozen=True, eq=False)
class CostTable:
    """Arrays of shape [devices, kernels] in the order of ``machine.devices``.

    A kernel that a device refuses has a code above 0, whose text is ``reasons[device][code]``, and costs infinitely much.
    """

    duration_s: Float
    dram_bytes: Float
    energy_j: Float
    refusal: NDArray[np.int8]
    reasons: tuple[tuple[str, ...], ...]
    joined: NDArray[np.bool_] | None = None
    """Kernels that a device starts itself behind the one before, without a launch; None: none."""
    energy_terms: tuple[dict[str, Float], ...] = ()
    """Of each device, joules of every kernel by term (``Prices.energy_terms``); empty where it knows only their sum."""

    def __repr__(self) -> str:
        devices, kernels = self.duration_s.shape
        refused = ", ".join(str(int(count)) for count in (self.refusal != 0).sum(axis=1))
        return f"<CostTable of {devices} devices, {kernels} kernels; refused by each device: {refused}>"

    @property
    def first_accepting(self) -> NDArray[np.int32]:
        """The index of the first device that accepts each kernel, shape [kernels]; 0 where none does."""
        first: NDArray[np.int32] = np.argmax(self.refusal == 0, axis=0).astype(np.int32)
        return first


def cost_table(trace: "Trace", machine: Machine, device_of_kernel: NDArray[np.int32] | None = None) -> CostTable:
    """Price every kernel of a trace on every device.

    Parameters
    ----------
    trace, machine
        What runs, and on what.
    device_of_kernel
        Index into ``machine.devices`` for each kernel, shape [kernels]: an operand that a kernel of another device wrote last is
        cold. None: everything runs on one device and nothing is cold.

    Raises
    ------
    MachineError
        If the work of a kernel is unknown, or ``device_of_kernel`` has the wrong shape or names no device.
    """
    caches, warm = _caches(machine), Work.of(trace)
    _check_target(trace, warm, machine)
    source = None
    if device_of_kernel is not None:
        device_of_kernel = np.asarray(device_of_kernel)
        _check_devices(trace, machine, device_of_kernel)
        if (caches != caches[0]).any():
            source = _writing_cache(trace, caches[device_of_kernel])
    prices, refusals = [], [device.refuse(warm) for device in machine.devices]
    for number, (device, refused) in enumerate(zip(machine.devices, refusals, strict=True)):
        work = warm if source is None else Work.of(trace, (source >= 0) & (source != caches[number]))
        mine = refused.code == 0
        if device_of_kernel is not None:
            mine &= device_of_kernel == number
        prices.append(device.arrange(trace, work, mine))
        _check_shapes(prices[-1], refused, device, trace)
    refusal = np.array([refused.code for refused in refusals])
    duration = np.array([each.duration_s for each in prices], dtype=np.float64)
    _check_times(duration, refusal, machine, trace)
    duration[refusal != 0] = np.inf
    return CostTable(
        duration_s=duration,
        dram_bytes=np.array([each.dram_bytes for each in prices]),
        energy_j=np.array([each.energy_j for each in prices]),
        refusal=refusal,
        reasons=tuple(refused.reasons for refused in refusals),
        joined=_joined([each.joined for each in prices], len(trace.kernels)),
        energy_terms=tuple(each.energy_terms for each in prices),
    )


def _check_shapes(prices: Prices, refusals: Refusals, device: Device, trace: "Trace") -> None:
    """Raise MachineError naming the device if its prices are none of the trace's kernels."""
    count, of = len(trace.kernels), f"the device {device.id!r}"
    if not isinstance(prices, Prices):
        raise MachineError(f"price of {of} must return Prices, but returned {type(prices).__name__}")
    arrays: dict[str, NDArray[Any]] = {
        "duration_s": prices.duration_s,
        "dram_bytes": prices.dram_bytes,
        "energy_j": prices.energy_j,
        "refuse's code": refusals.code,
    }
    for name, array in arrays.items():
        if np.shape(array) != (count,):
            raise MachineError(f"{name} of {of} must have one entry a kernel, shape ({count},), but its shape is {np.shape(array)}")


def _check_times(duration: Float, refusal: NDArray[np.int8], machine: Machine, trace: "Trace") -> None:
    """Raise MachineError naming the device and the kernel if a price is no time; arrays of shape [devices, kernels]."""
    right = (duration >= 0) & (duration < np.inf)  # NaN is neither
    wrong = ~(right | (refusal != 0))
    if wrong.any():
        device, kernel = (int(found[0]) for found in np.nonzero(wrong))
        raise MachineError(
            f"a device must price every kernel that it accepts with a finite time of at least 0 s, but the device "
            f"{machine.devices[device].id!r} gives kernel {kernel} ({trace.kernels['name'][kernel]!r}) {duration[device, kernel]} s; "
            "refuse the kernel, or mend price"
        )


def _caches(machine: Machine) -> NDArray[np.int64]:
    """Number the caches: devices of the same number see what the others wrote last as warm as what they wrote themselves; shape [D]."""
    names = [device.cache or f"{number}" for number, device in enumerate(machine.devices)]
    return np.array([names.index(name) for name in names], dtype=np.int64)


def _joined(rows: list[NDArray[np.bool_] | None], kernels: int) -> NDArray[np.bool_] | None:
    if all(row is None for row in rows):
        return None
    return np.stack([np.zeros(kernels, dtype=np.bool_) if row is None else row for row in rows])


def least_s(trace: "Trace", machine: Machine) -> Float:
    """Return seconds that no mapping goes below with warm operands, shape [devices, kernels]; inf where a device refuses."""
    work = Work.of(trace)
    return np.stack([np.where(device.refuse(work).code == 0, device.least(work), np.inf) for device in machine.devices])


def _check_devices(trace: "Trace", machine: Machine, devices: NDArray[np.int32]) -> None:
    """Raise MachineError unless each kernel has one of the machine's devices."""
    if devices.shape != (len(trace.kernels),):
        raise MachineError(f"device_of_kernel must have one entry a kernel, {len(trace.kernels)}, but its shape is {devices.shape}")
    if len(devices) and (devices.min() < 0 or devices.max() >= len(machine.devices)):
        raise MachineError(
            f"device_of_kernel must index the {len(machine.devices)} devices of {machine.id!r}, but got {set(devices.tolist())}"
        )


def _writing_cache(trace: "Trace", caches: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cache in which each operand was written last, -1 if no kernel wrote it; shape [accesses]. ``caches``: that of each kernel."""
    writer = trace.last_writer
    return np.where(writer >= 0, caches[writer] if len(caches) else -1, -1)


def _check_target(trace: "Trace", work: Work, machine: Machine) -> None:
    """Raise MachineError if the trace was compiled for a TPU and the machine has another device."""
    others = [device.id for device in machine.devices if device.kind != "tpu"]
    has_cycles: bool = once(work, "compiler cycles", lambda: not np.isnan(work.kernels["compiler_cycles"]).all())
    if others and has_cycles:
        raise MachineError(
            f"a TPU's trace must replay on that TPU only, since its instructions are no kernels of another device, but "
            f"{trace.program!r} is for {trace.target} and {machine.id!r} has {', '.join(others)}: capture the program for that device"
        )
