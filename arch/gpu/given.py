"""What takes the place of the model: kernels that were measured, here or elsewhere, and those that are assumed to be memory-bound."""

from dataclasses import dataclass

import numpy as np

from arch import streaming
from arch.entry import Entry
from arch.facts import facts, once
from arch.gpu.model import make_model, modelled
from arch.work import Bool, Float, Work

ASSUMPTIONS = ("memory-bound",)


@dataclass(frozen=True, eq=False)
class Given:
    """What was measured or is assumed; shapes [kernels]."""

    seconds: Float
    """Measured on this very GPU, else NaN."""
    scale: Float
    """Measured over predicted on the GPU that the kernel was measured on, 1 where there is none such or its work is unknown."""
    unknown: Bool
    """Nothing was measured and the work is not known."""
    assumed: Bool
    """So it was, but the user says what to assume: that they move ``bytes``."""
    bytes: Float
    nothing: bool
    """No kernel was measured anywhere, and nothing is assumed."""

    @property
    def modelled(self) -> Bool:
        """Which kernels' prices are the model's own; shape [kernels]."""
        found: Bool = np.isnan(self.seconds) & (self.scale == 1) & ~self.unknown & ~self.assumed
        return found


def given(work: Work, gpu: str, *, use_measured: bool, assume: str) -> Given:
    """Return what is given of a trace for the GPU of an id: the same for all GPUs that have it."""
    return once(work, ("gpu given", gpu, use_measured, assume), lambda: _make_given(work, gpu, use_measured, assume))


def measured_here(work: Work, gpu: str, *, use_measured: bool) -> Float:
    """Return what each kernel took on this very GPU, s, NaN where it was not measured here or that is not to be used."""
    return facts(work).measured if use_measured and work.target == gpu else np.full(len(work), np.nan)


def _make_given(work: Work, gpu: str, use_measured: bool, assume: str) -> Given:
    known, seconds = facts(work), measured_here(work, gpu, use_measured=use_measured)
    unknown = known.unknown & np.isnan(seconds)
    moved = _assumed_bytes(work, known.measured) if assume else np.full(len(work), np.nan)
    assumed = unknown & ~np.isnan(moved)
    scaled = use_measured and work.target != gpu and not np.isnan(known.measured).all()
    return Given(
        seconds=seconds,
        scale=_scale(work, known.measured) if scaled else np.ones(len(work)),
        unknown=unknown & ~assumed,
        assumed=assumed,
        bytes=moved,
        nothing=bool(np.isnan(known.measured).all() and not assumed.any()),
    )


def _scale(work: Work, measured: Float) -> Float:
    """Measured over predicted on the GPU that the trace was measured on; 1 where that is not known, or no price is."""
    source = _measured_on(work.target)
    if source is None:
        return np.ones(len(work))
    return once(work, ("measured over predicted", source), lambda: _measured_over_predicted(source, work, measured))


def _measured_over_predicted(source: Entry, work: Work, measured: Float) -> Float:
    found = make_model(source, work)
    predicted = modelled(source, source["memory_bandwidth"], found, found.warm.moved + found.extra_dram)
    ratio = measured / predicted.duration_s
    return np.where(facts(work).unknown | np.isnan(ratio), 1.0, ratio)


def _assumed_bytes(work: Work, measured: Float) -> Float:
    """Bytes that DRAM of the GPU that the trace was measured on moves in each kernel's time, NaN if that GPU is not known."""
    source = _measured_on(work.target)
    return np.full(len(work), np.nan) if source is None else measured * streaming.dram_rate(source)


def _measured_on(target: str) -> Entry | None:
    """The GPU of the catalogue that a trace's target is, None if it is none."""
    from arch.registered import find, names

    entry = find(target) if target in names() else None
    return entry if entry is not None and entry.kind == "gpu" else None
