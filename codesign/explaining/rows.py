"""The rows of the tables that ``codesign explain`` shows, from what ``Explanation.to_dict`` gives."""

from typing import Any

from arch.labels import hypothetical_label
from traces.rows import Rows
from traces.si import percent, show

NAMES = {
    "queue": "device, link or host",
    "kind": "kind of operation",
    "family": "family",
    "phase": "phase",
    "stage": "stage",
    "limit": "what binds a kernel",
}


def explanation_tables(found: dict[str, Any]) -> list[Rows]:
    """Return the tables of an explanation: the critical path, what to make twice as fast, the machine's numbers."""
    machine = hypothetical_label(found["machine"], found["hypothetical"])
    title = f"{found['program']} on {machine}, {found['scheduler']}: {show(found['time_s'], 's')}"
    about = [
        ("operations on the critical path", f"{found['operations_on_path']:,}"),
        ("places where another path is as long", f"{found['ties']:,}"),
        ("not explained", show(found["path_unknown_s"], "s")),
    ]
    path = [
        Rows(f"Critical path by {NAMES[by]}", (NAMES[by], "% of the time"), [(name, percent(share)) for name, share in group.items()])
        for by, group in found["path"].items()
        if len(group) > 1 or by == "limit"
    ]
    return [Rows(title, ("", ""), about), *path, _gains(found), _parameters(found), *_sizes(found)]


def _gains(found: dict[str, Any]) -> Rows:
    rows = [
        (f"{gain['by']} {gain['name']}", percent(gain["share_of_path"]), show(gain["time_s"], "s"), percent(gain["gain"]))
        for gain in found["gains"]
    ]
    return Rows("What to make twice as fast (replayed)", ("kernels", "% of the path", "time then", "gain, %"), rows)


def _parameters(found: dict[str, Any]) -> Rows:
    rows = [
        (
            p["name"],
            show(p["value"], p["unit"]),
            f"{p['elasticity'] or 0.0:+.3f}{' tie' if p['tie'] else ''}",
            f"{show(p['holds_low'], p['unit'])} to {show(p['holds_high'], p['unit'])}",
            show(p["doubled_s"], "s"),
            _gain(p["doubled_s"], found["time_s"]),
        )
        for p in found["parameters"]
    ]
    columns = ("parameter", "value", "elasticity", "same path within", "time at twice", "gain, %")
    return Rows("The machine's numbers: elasticity -0.9 says that 1 % more saves 0.9 % of the time", columns, rows)


def _sizes(found: dict[str, Any]) -> list[Rows]:
    rows = [
        (s["name"], f"{s['value']:g}", f"{s['other']:g}", show(s["time_s"], "s"), _gain(s["time_s"], found["time_s"]))
        for s in found["sizes"]
    ]
    return [Rows("Other sizes (replayed)", ("parameter", "value", "other value", "time then", "gain, %"), rows)] if rows else []


def _gain(then_s: float | None, now_s: float) -> str:
    return percent(None if then_s is None else 1 - then_s / now_s)
