"""Rows for published accelerators and tiers of memory beside the catalogue's: SN40L's switching of experts, reads from flash."""

from collections.abc import Iterator
from typing import Any

from codesign.validation.pim import judged, not_comparable
from codesign.validation.published import published
from codesign.validation.row import Row


def rows() -> Iterator[Row]:
    """Yield the rows of SN40L and of LLM in a flash; last what is published but cannot be computed."""
    table = published()["systems"]
    sn40l, flash = table["sn40l"], table["flash"]
    for name, case in sn40l["switching"].items():
        yield judged(f"systems/sn40l/switching-{name}", sn40l, case, switching(sn40l, case))
    for name, case in sn40l["table"].items():
        yield judged(f"systems/sn40l/{name}", sn40l, case, over_h100(sn40l, case))
    for name, case in flash["cases"].items():
        yield judged(f"systems/flash/{name}", flash, case, reading_s(flash, case))
    yield from not_comparable("systems", table["not_comparable"])


def switching(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return how much sooner a node of SN40L has an expert in its first memory than one that reads it over a host link."""
    from arch.registered import find

    return float(part["sockets"] * find("sn40l")["tier_bandwidth"] / case["host_link"])


def over_h100(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return the speed-up over DGX H100: switching by our bandwidths, its weight against execution from the A100 column."""
    slow, fast = (switching(part, part["switching"][name]) for name in ("a100", "h100"))
    execute = (slow - case["a100"]) / (case["a100"] - case["expert_a100"])
    return float((fast + case["expert_h100"] * execute) / (1 + execute))


def reading_s(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return the seconds in which a drive of the catalogue reads some bytes in requests of one size."""
    from arch.memory import reached
    from arch.registered import find

    return float(case["bytes"] / reached(find(part["device"]), "read", case["request_bytes"]))
