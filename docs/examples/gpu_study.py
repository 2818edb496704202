"""How many SMs and how much bandwidth do two programs want of a GPU, and what is the best one of a given area and power?

`python docs/examples/gpu_study.py` prints a table, draws it as sweep.png, and searches, in some seconds.
"""

import pandas as pd
from rich import print

import codesign as cd

PROGRAMS = ("ferminet-ch4-h200", "psiformer-ch4-h200")
SPACE = cd.Space(
    machine={"sm_count": (66, 264), "l2_bytes": ("25 MiB", "100 MiB"), "stack_bandwidth_bytes_per_s": ("400 GB/s", "1.2 TB/s")}
)
BUDGET = {"area_mm2": 858, "power_watts": "600 W"}  # the largest die that one exposure prints; power on average


def sweep(gpu):
    """Return a table: seconds and watts of each program by SMs and TB/s."""
    rows = []
    stacks = gpu.parameters["hbm_stacks"].value
    for name in PROGRAMS:
        trace = cd.load(name)
        for sms in (66, 99, 132, 198, 264):
            for bandwidth in (1.675e12, 3.35e12, 6.7e12):
                made = cd.replay(trace, gpu.with_(sm_count=sms, stack_bandwidth_bytes_per_s=bandwidth / stacks))
                rows.append((trace.program, sms, bandwidth / 1e12, made.time_s, made.power_watts))
    return pd.DataFrame(rows, columns=("program", "SMs", "TB/s", "time_s", "power_watts"))


def draw(table, path):
    """Draw time over SMs, a line a bandwidth, a panel a program."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    panels = figure.subplots(1, table["program"].nunique(), sharex=True)
    for axes, (program, mine) in zip(panels, table.groupby("program"), strict=True):
        mine.pivot(index="SMs", columns="TB/s", values="time_s").mul(1e3).plot(ax=axes, marker="o", title=program, ylabel="ms", ylim=0)
    figure.savefig(path)


def best(gpu, trials=60):
    """Return what a search finds within the budget for one program after the other, and why they take as long on its best GPU."""
    both = cd.merge([cd.load(name) for name in PROGRAMS])
    found = cd.explore(both, gpu, space=SPACE, budget=BUDGET, trials=trials, seed=1)
    return found, cd.explain(both, gpu.with_(**found.best.machine))


if __name__ == "__main__":
    h100 = cd.machine("h100")
    table = sweep(h100)
    draw(table, "sweep.png")
    print(table.pivot(index=["program", "SMs"], columns="TB/s", values="time_s"))
    found, why = best(h100)
    print(f"{1e3 * found.best.time_s:.1f} ms, {found.best.area_mm2:.0f} mm2: {found.best.machine}")
    print(f"nothing within that area takes less than {1e3 * found.lower_bound_s:.1f} ms")
    print(why)
