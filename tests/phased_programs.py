"""Random programs of phases: bursts and loops of different paces, of which the host is now ahead and now behind, in short queues."""

from contextlib import nullcontext

import numpy as np

from codesign.engine.builder import ProgramBuilder
from codesign.engine.program import Program

US = 1e-6
QUEUES = ("gpu", "pim", "link")


def phased(seed: int, *, shared: bool) -> Program:
    """Return a program of some hundred to thousand operations; ``shared``: some of them share a memory."""
    random = np.random.default_rng(seed)
    builder = ProgramBuilder(
        QUEUES,
        launch_interval_s=random.choice([0.5, 1.0, 2.0, 3.0]) * US,
        launch_latency_s=random.choice([0.0, 1.0, 3.0, 7.0]) * US,
        queue_depth=int(random.choice([2, 3, 5, 8, 13, 20, 40])),
        resources={"hbm": 768e9},
    )
    last: list[int] = []
    for _ in range(random.integers(2, 7)):
        trips, pace = int(random.integers(2, 60)), random.choice([0.05, 0.2, 1.0, 5.0]) * US
        with builder.loop(trips) if random.random() < 0.6 else nullcontext():
            for _ in range(random.integers(1, 8)):
                last = [_one(builder, pace, last, shared and random.random() < 0.5, random)]
        if random.random() < 0.2:
            builder.round_trip(2 * US)
    return builder.build()


def _one(builder: ProgramBuilder, pace: float, last: list[int], shares: bool, random: np.random.Generator) -> int:
    """Add a launch, perhaps with something moved before it, and perhaps after the last; return its number."""
    queue, takes = random.choice(QUEUES, p=[0.5, 0.3, 0.2]), random.integers(1, 8) * pace
    after = last if random.random() < 0.5 else []
    if random.random() < 0.2:
        after = [builder.operation(queue, takes, after=after)]
        queue = random.choice(QUEUES)
    uses = {"hbm": takes * random.integers(1, 12) * 100e9} if shares and queue == "gpu" else None
    return builder.launch(queue, takes, after=after, uses=uses, claims={"hbm": 0.5} if shares and queue != "gpu" else None)
