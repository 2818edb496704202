"""The cost table: every kernel priced on every device of a machine."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arch.device import Device
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
    _check_target(trace, machine)
    writer = None if device_of_kernel is None else _writing_device(trace, machine, np.asarray(device_of_kernel))
    rows, caches, warm = [], _caches(machine), Work.of(trace)
    one_cache = len(set(caches.tolist())) == 1
    for number, device in enumerate(machine.devices):
        cold = None if writer is None or one_cache else (writer >= 0) & (caches[writer] != caches[number])
        refusals = device.refuse(warm)
        accepted = refusals.code == 0
        mine = accepted if device_of_kernel is None else accepted & (np.asarray(device_of_kernel) == number)
        prices = device.arrange(trace, warm if cold is None else replace(warm, cold=cold), mine)
        _check_prices(prices, refusals, device, trace)
        rows.append((prices, refusals))
    refusal = np.stack([refusals.code for _, refusals in rows])
    duration = np.stack([prices.duration_s for prices, _ in rows])
    duration[refusal != 0] = np.inf
    return CostTable(
        duration_s=duration,
        dram_bytes=np.stack([prices.dram_bytes for prices, _ in rows]),
        energy_j=np.stack([prices.energy_j for prices, _ in rows]),
        refusal=refusal,
        reasons=tuple(refusals.reasons for _, refusals in rows),
        joined=_joined([prices.joined for prices, _ in rows], len(trace.kernels)),
        energy_terms=tuple(prices.energy_terms for prices, _ in rows),
    )


def _check_prices(prices: Prices, refusals: Refusals, device: Device, trace: "Trace") -> None:
    """Raise MachineError naming the device, and the kernel, if a device's prices are no times of the trace's kernels."""
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
    with np.errstate(invalid="ignore"):
        wrong = ~((prices.duration_s >= 0) & (prices.duration_s < np.inf)) & (refusals.code == 0)
    if wrong.any():
        kernel = int(np.argmax(wrong))
        raise MachineError(
            f"a device must price every kernel that it accepts with a finite time of at least 0 s, but {of} gives kernel {kernel} "
            f"({trace.kernels['name'][kernel]!r}) {prices.duration_s[kernel]} s; refuse the kernel, or mend price"
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


def _writing_device(trace: "Trace", machine: Machine, devices: NDArray[np.int32]) -> NDArray[np.int32]:
    """The device that wrote each operand last, -1 if no kernel did; shape [accesses]."""
    if devices.shape != (len(trace.kernels),):
        raise MachineError(f"device_of_kernel must have one entry a kernel, {len(trace.kernels)}, but its shape is {devices.shape}")
    if len(devices) and (devices.min() < 0 or devices.max() >= len(machine.devices)):
        raise MachineError(
            f"device_of_kernel must index the {len(machine.devices)} devices of {machine.id!r}, but got {set(devices.tolist())}"
        )
    writer = trace.last_writer
    return np.where(writer >= 0, devices[writer] if len(devices) else -1, -1)


def _check_target(trace: "Trace", machine: Machine) -> None:
    """Raise MachineError if the trace was compiled for a TPU and the machine has another device."""
    others = [device.id for device in machine.devices if device.kind != "tpu"]
    if others and not np.isnan(trace.kernels["compiler_cycles"]).all():
        raise MachineError(
            f"a TPU's trace must replay on that TPU only, since its instructions are no kernels of another device, but "
            f"{trace.program!r} is for {trace.target} and {machine.id!r} has {', '.join(others)}: capture the program for that device"
        )
