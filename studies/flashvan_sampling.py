"""What key-value cache, flash attention and 16-bit types each give FlashVAN on an H100, beside the paper's speedups (arXiv 2606.22984).

    python -m studies.flashvan_sampling

The paper says neither how many configurations it draws a step nor in which types the baseline computes; so the step is replayed for three
batches, and with each change alone. A cache saves work (the prefix of every spin); at a small batch the host bounds the cached loop, so
FlashVAN takes nearly the same time for 32 configurations and 128 (as in the paper's figure 2c), and the speedup grows with the batch.
The 36 of both passes is out of reach of types and traffic: products alone differ by the ratio of the units' peaks, the rest by bytes.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import codesign as cd
from studies.printing import console, table

GPU = "h100-sxm"
VARIANTS = {
    "transformer VAN": "vanilla-full-fp32",
    "+ cache": "vanilla-kv-cache-fp32",
    "+ flash attention, BF16": "flash-full-bf16",
    "FlashVAN (both)": "flash-kv-cache-bf16",
}
BASELINE, FLASHVAN = "transformer VAN", "FlashVAN (both)"
SPINS, BATCHES = 512, (32, 128, 512)
LONG, LONG_BATCH = 1024, 128
PASSES = ("forward", "gradient")


@dataclass(frozen=True)
class Comparison:
    """A published ratio and ours, by what we assume of the batch."""

    quantity: str
    published: float
    ours: float

    @property
    def difference(self) -> float:
        """Ours over the published number, minus one."""
        return self.ours / self.published - 1


@cache
def step(variant: str, spins: int, batch: int) -> cd.Timeline:
    """Return the replay of a recorded training step."""
    name = f"flashvan-{GPU}-{VARIANTS[variant]}-size{spins}-batch{batch}"
    return cd.replay(cd.load(name), cd.machine(GPU))


def phase_time(timeline: cd.Timeline, *phases: str) -> float:
    """Return the time in seconds from the first to the last kernel of the phases, which follow each other."""
    spans = timeline.spans()
    chosen = [
        (start, end)
        for kind, phase, start, end in zip(spans.kind, spans.phase, spans.start_s, spans.end_s, strict=True)
        if kind == "kernel" and phase in phases
    ]
    return float(max(end for _, end in chosen) - min(start for start, _ in chosen))


def speedup(variant: str, spins: int, batch: int, *phases: str) -> float:
    """Return how much faster a variant is than the baseline: the step, or the phases that are named."""
    base, other = (step(name, spins, batch) for name in (BASELINE, variant))
    if not phases:
        return base.time_s / other.time_s
    return phase_time(base, *phases) / phase_time(other, *phases)


def published() -> dict[str, float]:
    """Return the paper's ratios."""
    text = (Path(__file__).parent / "published" / "flashvan.toml").read_text()
    return {name: float(entry["value"]) for name, entry in tomllib.loads(text).items()}


def compare() -> list[Comparison]:
    """Return the paper's ratios beside ours."""
    said = published()
    steps = [Comparison(f"a step, {SPINS} spins, batch {b}", said["step"], speedup(FLASHVAN, SPINS, b)) for b in BATCHES]
    passes = speedup(FLASHVAN, LONG, LONG_BATCH, *PASSES)
    return [*steps, Comparison(f"forward and backward, {LONG} spins, batch {LONG_BATCH}", said["passes"], passes)]


def rows() -> list[tuple[str, ...]]:
    """Return, for each batch and variant of 512 spins, milliseconds of the step and of its parts, and the speedups."""
    found = []
    for batch in BATCHES:
        for variant in VARIANTS:
            timeline = step(variant, SPINS, batch)
            parts = (timeline.time_s, phase_time(timeline, "sampling"), phase_time(timeline, *PASSES))
            ratios = (speedup(variant, SPINS, batch), speedup(variant, SPINS, batch, "sampling"), speedup(variant, SPINS, batch, *PASSES))
            bound = timeline.host_bound_s / timeline.time_s
            found.append((str(batch), variant, *(f"{1e3 * t:.1f}" for t in parts), *(f"{r:.1f}" for r in ratios), f"{bound:.0%}"))
    return found


def main() -> None:
    """Print ours beside the published numbers, and what each change gives."""
    beside = [(row.quantity, f"{row.published:g}", f"{row.ours:.1f}", f"{row.difference:+.0%}") for row in compare()]
    heads = ("speedup", "published", "ours", "difference")
    columns = ("batch", "variant", "step, ms", "sampling, ms", "passes, ms", "step x", "sampling x", "passes x", "host-bound")
    console().print(
        table(heads, beside, "FlashVAN over the transformer VAN, H100"), table(columns, rows(), f"{SPINS} spins: what each change gives")
    )


if __name__ == "__main__":
    main()
