"""The price of a TPU's instruction: the compiler's own estimate of its cycles, at the device's clock.

What the compiler does not estimate (transfers between HBM and the chip, LU factorisations, sorts, scatters) costs at least what its bytes
take from and to HBM, and its arithmetic on the vector unit: a lower bound, shown as the term ``unestimated_s``. Transfers that the
compiler starts early run beside the arithmetic on a real TPU; here they take their turn. Nothing of this was measured: every price is
unvalidated, and a trace replays on the TPU that it was compiled for, and on no other device.
"""

from dataclasses import dataclass

import numpy as np

from arch.device import Device
from arch.entry import Entry
from arch.facts import once, total
from arch.work import Bool, Float, Prices, Work
from traces.errors import MachineError


@dataclass(frozen=True, eq=False, repr=False)
class TPU(Device):
    """A TPU of the catalogue: one device of the compiler's, which may be a part of a chip."""

    entry: Entry
    id: str
    memory: str
    static_watts: float | None = None
    area_mm2: float | None = None
    price_usd: float | None = None
    hypothetical: bool = False
    not_modelled: tuple[str, ...] = ()
    kind: str = "tpu"

    @classmethod
    def of(cls, entry: Entry) -> "TPU":
        """Return the TPU that a catalogue entry describes."""
        return cls(
            entry,
            entry.id,
            f"{entry.id}-memory",
            entry.get("static_power"),
            hypothetical=entry.hypothetical,
            not_modelled=entry.not_modelled,
        )

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel. Raises MachineError for a trace of another target."""
        if work.target != self.id:
            raise MachineError(
                f"a trace must be compiled for the TPU that it replays on, but this one is for {work.target or 'an unknown device'} and "
                f"the device is {self.id}: capture it again with --target {self.id}"
            )
        return once(work, self.entry, lambda: _price(self, work))


def _price(tpu: TPU, work: Work) -> Prices:
    dram = _hbm_bytes(work)
    estimated = work.kernels["compiler_cycles"] / tpu.entry["clock"]
    flops = sum(np.nan_to_num(work.kernels[name]) for name in ("flops_matrix", "flops_vector", "flops_transcendental"))
    bound = np.maximum(dram / tpu.entry["memory_bandwidth"], flops / tpu.entry["vector_flops.f32"])
    none: Bool = np.isnan(estimated)
    terms = {"cycles_s": np.nan_to_num(estimated), "unestimated_s": np.where(none, bound, 0.0)}
    return Prices(np.where(none, bound, estimated), dram, np.full(len(work), np.nan), terms)


def _hbm_bytes(work: Work) -> Float:
    """Bytes of operands that live in HBM: tensors that the compiler keeps on the chip have no bytes of memory."""
    outside = work.tensors["bytes"][work.accesses["tensor"]] > 0
    touched = np.where(outside, work.accesses["bytes_unique"], 0.0)
    return total(work.accesses["kernel"].astype(np.int64), touched, len(work))
