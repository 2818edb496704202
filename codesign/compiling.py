"""Compiles the engine to machine code ahead of its first use: ``python -m codesign.compiling``, as `make install` does once.

Numba compiles a function when it is first called and keeps the machine code beside its source. Replays that together call all of
them leave nothing to compile for a user's first replay; each is of a small recorded trace.
"""

import codesign as cd

TRACE = "ferminet-lih-a5000"


def compile_engine() -> None:
    """Replay a small trace in every way that has compiled code of its own."""
    trace, gpu = cd.load(TRACE), cd.machine("a5000")
    cd.replay(trace, gpu)
    cd.replay(trace, gpu, jitter=0.1)  # event by event
    cd.explain(trace, gpu)
    cd.explore(trace, cd.machine("a5000+aim-fp32"), trials=1)  # cuts and bounds


if __name__ == "__main__":
    compile_engine()
