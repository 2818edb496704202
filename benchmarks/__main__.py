"""Run all benchmarks, print a table, write build/bench.json, and exit with 1 if a bar is missed."""

import importlib
import json
import pkgutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.rows import Row


def main(chosen: list[str]) -> int:
    """Run the benchmark modules whose names are in ``chosen``, or all."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    rows: list[Row] = []
    for module in sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name.startswith("bench_")):
        if not chosen or module.removeprefix("bench_") in chosen:
            console.print(f"running {module} ...", style="dim")
            rows += importlib.import_module(f"benchmarks.{module}").rows()
    _print(console, rows)
    path = Path("build/bench.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([row.to_dict() for row in rows], indent=1) + "\n")
    console.print(f"{path}: {len(rows)} rows, {sum(not r.met for r in rows)} bars missed")
    return int(any(not row.met for row in rows))


def _print(console: Console, rows: list[Row]) -> None:
    table = Table("what", "value", "unit", "bar", "met")
    for row in rows:
        bar = "" if row.bar is None else f"{'>=' if row.better == 'higher' else '<='} {row.bar:,.6g}"
        table.add_row(row.name, f"{row.value:,.4g}", row.unit, bar, "" if row.bar is None else "yes" if row.met else "NO")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
