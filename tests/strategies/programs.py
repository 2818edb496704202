"""Random programs: nested loops, several queues, command buffers, shallow queues, shared resources, round trips."""

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from codesign.engine.builder import ProgramBuilder
from codesign.engine.program import HAND_OVER, Program

PS = 1e-12
QUEUES = ("gpu", "pim", "link", "copy", "others")


@dataclass
class Sketch:
    """What a random program is grown from; times are small whole picoseconds so that ties happen."""

    draw: st.DrawFn
    builder: ProgramBuilder
    shared: bool
    left: int
    ops: list[int] = field(default_factory=list)

    def fill(self, level: int) -> None:
        while self.left > 0 and self.draw(st.integers(0, 4)):
            choice = self.draw(st.integers(0, 9))
            if choice < 3 and level < 3:
                self.loop(level)
            elif choice == 3:
                self.buffer()
            elif choice == 4 and level > 0:
                self.ops.append(self.builder.round_trip(self.draw(st.integers(0, 5)) * PS))
            else:
                self.launch()

    def loop(self, level: int) -> None:
        first = len(self.ops)
        with self.builder.loop(self.draw(st.sampled_from([1, 2, 3, 5, 9, 40]))):
            self.fill(level + 1)
        inside = self.ops[first:]
        for _ in range(self.draw(st.integers(0, 2)) if len(inside) > 0 else 0):
            self.builder.depend(self.draw(st.sampled_from(inside)), self.draw(st.sampled_from(inside)))

    def buffer(self) -> None:
        with self.builder.command_buffer(self.draw(st.integers(0, 3)) * PS):
            for _ in range(self.draw(st.integers(1, 3))):
                self.launch()

    def launch(self) -> None:
        self.left -= 1
        for _ in range(self.draw(st.sampled_from([0, 0, 0, 1, 2]))):
            self.add(self.builder.operation, self.draw(st.sampled_from(QUEUES[2:4])), kind=HAND_OVER)
        self.add(self.builder.launch, self.draw(st.sampled_from(QUEUES[:2])))

    def add(self, method: object, queue: str, **extra: int) -> None:
        duration = self.draw(st.integers(0, 12))
        after = self.draw(st.lists(st.sampled_from(self.ops[-6:]), max_size=2)) if self.ops else []
        uses, claims = self.resources(duration)
        self.ops.append(method(queue, duration * PS, after=after, uses=uses, claims=claims, **extra))  # type: ignore[operator]

    def others(self) -> None:
        for _ in range(self.draw(st.integers(0, 4))):
            duration = self.draw(st.integers(0, 60))
            uses, claims = self.resources(duration)
            self.ops.append(self.builder.guest("others", duration * PS, uses=uses, claims=claims))

    def resources(self, duration: int) -> tuple[dict[str, float], dict[str, float]]:
        uses: dict[str, float] = {}
        claims: dict[str, float] = {}
        if self.shared and duration:
            for resource in ("hbm", "host"):
                use = self.draw(st.sampled_from([0, 0, 1, 2, 3]))
                if use == 3:
                    claims[resource] = self.draw(st.sampled_from([0.25, 0.5, 0.9]))
                elif use:
                    uses[resource] = float(self.draw(st.integers(1, 4)) * duration)
        return uses, claims


@st.composite
def programs(draw: st.DrawFn, shared: bool = False, size: int = 8, disturbed: bool = False) -> Program:
    """A program of up to ``size`` launches, some hundreds or thousands when run; ``disturbed`` by others, wires and jitter."""
    others = ["others"] if disturbed and draw(st.booleans()) else []
    wires = draw(st.sampled_from([[], [("link", "copy")], [("link", "copy"), ("gpu", "pim")], [QUEUES[2:]]])) if disturbed else []
    builder = ProgramBuilder(
        QUEUES,
        launch_interval_s=draw(st.integers(0, 6)) * PS,
        launch_latency_s=draw(st.integers(0, 9)) * PS,
        queue_depth=draw(st.sampled_from([1, 2, 3, 7, 1024])),
        resources={"hbm": 4e12, "host": 5e12} if shared else {},
        wires=wires,
        guests=others,
    )
    sketch = Sketch(draw, builder, shared, draw(st.integers(1, size)))
    if others:
        sketch.others()
    sketch.fill(0)
    program = builder.build()
    if disturbed and draw(st.booleans()):
        hardware = program.hardware._replace(spread=draw(st.sampled_from([0.1, 0.5])), seed=draw(st.integers(0, 2**40)))
        program = replace(program, hardware=hardware)
    return program
