"""Tables of docs/pim.md, made from the reference runs and the catalogue: ``python -m tests.pim_pages`` writes them there."""

import re
from pathlib import Path

import pandas as pd

from arch import catalog
from codesign.predicting import predict, summarise

PAGE = Path(__file__).resolve().parents[1] / "docs" / "pim.md"
RUNS = Path(__file__).parent / "data" / "pim_runs.csv"


def runs() -> list[str]:
    """Return the comparison with the reference runs: rows, mean and worst error by simulator and kernel."""
    lines = ["| simulator | kernel | rows | mean | worst |", "| --- | --- | --- | --- | --- |"]
    for cell in summarise(predict(pd.read_csv(RUNS))):
        name, kernel = cell.group["simulator"].split()[0], cell.group["kernel"]
        lines.append(f"| {name} | {kernel} | {cell.rows} | {100 * cell.model.mean:.2f} % | {100 * cell.model.worst:.2f} % |")
    return lines


def devices() -> list[str]:
    """Return the devices of the catalogue with what follows from their numbers, and what they do not model."""
    from arch.building.pim import pim_alone

    lines = ["| device | driven as | GB/s inside a stack | TFLOP/s a stack | does not model |", "| --- | --- | --- | --- | --- |"]
    for name in catalog.builtin_ids():
        entry = catalog.builtin(name)
        if entry.kind == "pim":
            one = pim_alone(entry)
            inside, peak = one.internal_bandwidth / one.stacks / 1e9, one.peak_flops / one.stacks / 1e12
            mark = " (hypothetical)" if entry.hypothetical else ""
            style = f"{entry.text['style']} at {entry.text['level']}"
            lines.append(f"| `{name}`{mark} | {style} | {inside:,.0f} | {peak:.2f} | {'; '.join(entry.not_modelled)} |")
    return lines


def written(page: str) -> str:
    """Return the page with both tables made anew; each stands between a pair of comments."""
    for name, lines in (("runs", runs()), ("devices", devices())):
        block = "\n".join([f"<!-- {name} -->", *lines, f"<!-- /{name} -->"])
        page = re.sub(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _, block=block: block, page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
