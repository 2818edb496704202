"""Attention where its cache lies: A100 with AttAcc beside A100 alone, and beside what AttAcc published.

    python -m studies.attacc

AttAcc (ASPLOS 2024, by its simulator) gives eight A100 five stacks of HBM3 each in place of their own, and as much memory again with
units in the banks; each system decodes at the batch that its memory holds. So here: the cache lives in AttAcc's stacks behind NVLink 3,
the GPU sends new queries, keys and values, and gets what was attended. Nothing is fitted to it; transfers, collectives and launches count.
The GPUs' own attention is there twice, since it decides: as one kernel (FlashAttention, which computes 64 rows for one query), and as
products and softmax, which their memory binds, as AttAcc's own model of GPUs has it.
"""

from dataclasses import dataclass
from functools import cache

import codesign as cd
from studies.printing import console, table

GPU, PIM = "a100-sxm-80gb", "attacc-bank@nvlink3"
STACK = "670.4 GB/s"
"""Of the HBM3 that AttAcc gives its GPUs: `stack_bandwidth` of `attacc-bank` in the catalogue."""
TOKENS = 128
KERNEL, PRODUCTS, NEAR = "GPU, one kernel", "GPU, products", "AttAcc"
"""Who attends, and how."""


@dataclass(frozen=True)
class Run:
    """A model on some GPUs: the batch that 80 GB each hold beside the weights, those for AttAcc, and the published speed-up.

    ``near`` ends with the batch that AttAcc's 80 GB a GPU hold. With 64, a tile of the GPUs' products is full.
    """

    model: str
    gpus: int
    options: str
    alone: int
    near: tuple[int, ...]
    published: float | None
    what: str

    def trace(self, batch: int, who: str) -> cd.Trace:
        """Return the decoding steps of a batch."""
        unfused = "-unfused" if who == PRODUCTS else ""
        return cd.load(f"{self.model}-{GPU}-{self.options}-batch{batch}-tokens{TOKENS}-no-segments1{unfused}")

    def machine(self, who: str) -> cd.Machine:
        """Return the GPUs, with AttAcc if it attends."""
        many, beside = f"{self.gpus}x" if self.gpus > 1 else "", f"+{PIM}" if who == NEAR else ""
        return cd.machine(f"{many}{GPU}{beside}", stack_bandwidth_bytes_per_s=STACK)


RUNS = (
    Run("opt-175b", 8, "tensor_parallel8-prompt1922", 30, (30, 64, 66), 3.91, "OPT 175B, 1,922 in, 128 out (its positions end at 2,050)"),
    Run("llama-2-7b", 1, "prompt2048", 58, (58, 64, 70), None, "Llama 2 7B, 2,048 in, 128 out"),
)
SAID = "Published (AttAcc, ASPLOS 2024, over DGX alone, 2,048 in, 128 out): GPT-3 175B 3.91; LLaMA 65B 3.49; nothing for 7B."
COLUMNS = ("attention on", "batch", "time, s", "tokens a second", "over one kernel", "over products")


@dataclass(frozen=True)
class Outcome:
    """A replay of all decoding steps: who attends, how many sequences, seconds, tokens a second."""

    who: str
    batch: int
    time_s: float
    rate: float


@cache
def outcomes(run: Run) -> tuple[Outcome, ...]:
    """Return the replays of a run: GPUs alone, with either attention, then AttAcc at each batch."""
    return tuple(_outcome(run, *row) for row in ((KERNEL, run.alone), (PRODUCTS, run.alone), *((NEAR, batch) for batch in run.near)))


def _outcome(run: Run, who: str, batch: int) -> Outcome:
    policy = "near-cache" if who == NEAR else "single-device"
    time_s = cd.replay(run.trace(batch, who), run.machine(who), policy, record=False).time_s
    return Outcome(who, batch, time_s, batch * TOKENS / time_s)


def speed_ups(run: Run) -> dict[int, tuple[float, float]]:
    """Return tokens a second of AttAcc over GPUs alone, with attention as one kernel and as products, by AttAcc's batch."""
    kernel, products, *near = outcomes(run)
    return {found.batch: (found.rate / kernel.rate, found.rate / products.rate) for found in near}


def rows(run: Run) -> list[tuple[str, ...]]:
    """Return the lines of a run's table."""
    over = {(NEAR, batch): tuple(f"{value:.2f}" for value in both) for batch, both in speed_ups(run).items()}
    return [
        (o.who, str(o.batch), f"{o.time_s:.2f}", f"{o.rate:,.0f}", *over.get((o.who, o.batch), ("—", "—"))) for o in outcomes(run)
    ]  # fmt: skip


def main() -> None:
    """Print a table a run, and what was published."""
    for run in RUNS:
        console().print(table(COLUMNS, rows(run), title=run.what))
    console().print(SAID)


if __name__ == "__main__":
    main()
