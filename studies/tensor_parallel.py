"""Llama 2 70B on four and eight A100 by tensor parallelism, beside what was published.

    python -m studies.tensor_parallel

Nothing is fitted to these numbers. The traces are one rank's; a replay runs all of them side by side, with collectives over NVLink.
"""

from dataclasses import dataclass

import codesign as cd
from studies.printing import console, table

TENSORRT = "NVIDIA/TensorRT-LLM, docs/source/performance.md (version 0.5): FP16, latency of the first token"
VLLM = "vllm-project/vllm, pull request 2192: 256 + 256 tokens with a custom all-reduce; 16.37 s with NCCL"
SERVERS = "sfc-gh-zhwang/llm_benchmark: Triton; vLLM 133.70 and 76.12 s"


@dataclass(frozen=True)
class Run:
    """A published run: ``tokens`` after the first, seconds in all."""

    gpu: str
    ranks: int
    batch: int
    prompt: int
    tokens: int
    published_s: float
    source: str

    @property
    def machine(self) -> str:
        return f"{self.ranks}x{self.gpu}"

    @property
    def trace(self) -> str:
        return f"llama-2-70b-{self.gpu}-tensor_parallel{self.ranks}-batch{self.batch}-prompt{self.prompt}-tokens{self.tokens}"


RUNS = (
    Run("a100-sxm-80gb", 4, 1, 128, 0, 47e-3, TENSORRT),
    Run("a100-sxm-80gb", 4, 1, 2048, 0, 377e-3, TENSORRT),
    Run("a100-sxm-80gb", 4, 64, 256, 255, 14.57, VLLM),
    Run("a100-sxm-40gb", 8, 32, 1, 2047, 70.19, SERVERS),
    Run("a100-sxm-40gb", 8, 24, 1024, 1023, 38.97, SERVERS),
)
COLUMNS = ("GPUs", "batch", "prompt + tokens", "published, s", "ours, s", "ours / published", "collectives, %")


def replayed(run: Run) -> cd.Timeline:
    """Return our replay of a run."""
    trace = cd.load(run.trace)
    return cd.replay(trace, cd.machine(run.machine), record=False)


def row(run: Run) -> tuple[str, ...]:
    """Return a line of the table."""
    found = replayed(run)
    own = found.kernel_time_s * (1 - found.shares("family").get("collective", 0.0)) / run.ranks
    share = 100 * (1 - own / found.time_s)  # all that a rank does not compute in: no launch is waited for
    lengths = f"{run.prompt} + {run.tokens + 1}"
    seconds = (f"{run.published_s:.3g}", f"{found.time_s:.3g}", f"{found.time_s / run.published_s:.2f}")
    return (run.machine, str(run.batch), lengths, *seconds, f"{share:.1f}")


def main() -> None:
    """Print the table and where its numbers come from."""
    console().print(table(COLUMNS, map(row, RUNS)))
    for source in dict.fromkeys(run.source for run in RUNS):
        console().print(source)


if __name__ == "__main__":
    main()
