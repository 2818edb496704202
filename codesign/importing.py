"""Where a profile meets a device's name: ``cd.import_profile``."""

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arch.entry import Entry
    from traces import Trace

OTHER_PRODUCTS = {"nvl", "mig", "laptop", "mobile", "ti", "super"}
"""Parts of a name that tell another product than the one with the same number, or a part of it."""
MEMORY_SLACK = 0.1
"""A driver keeps some of a device's memory for itself, so a profile says less than the data sheet."""


def import_profile(
    path: "str | os.PathLike[str]",
    *,
    target: str | None = None,
    format: str | None = None,
    copies: bool = False,
    device: int | None = None,
    member: str | None = None,
) -> "Trace":
    """Read a profile of a real run and return it as a trace: its kernels, in order of their start, with what was measured.

    Parameters
    ----------
    path
        The file: Kineto JSON, Nsight Systems SQLite or CSV, Nsight Compute CSV, Chakra, xplane; gzip, or in an archive, too.
    target
        Id of the catalogue's device that it was measured on; None: the one that the profile's device name and facts fit, else an
        id made from that name.
    format
        A registered format's name; None: told by the content.
    copies
        Whether copies and memory sets become rows too; they are no kernels, and what moves between host and device is not the
        device's work.
    device
        Number of the device whose launches are wanted; None: all.
    member
        Of an archive of several profiles (ranks, say) the one that is meant, by its name or how that ends; None: the first.

    Raises
    ------
    TraceError
        If the file is truncated, of no known format, holds no kernels, or has a clock that overflowed; the message names file and
        event.
    MachineError
        If there is no device ``target``.

    Warns
    -----
    ProfileWarning
        Of kernels that overlap on one stream, and if the device idled most of the time.
    """
    from arch.registered import find
    from traces.formats.reading import import_profile as read

    chosen = None if target is None else find(target).id
    trace = read(path, target=chosen or "", format=format, copies=copies, device=device, member=member)
    if chosen is None:
        captured = trace.manifest["captured"]
        trace.manifest["target"] = device_id(captured["device"], captured["facts"])
        captured["remarks"] += _unknown_device(captured["device"], trace.target)
    return trace


def _unknown_device(name: str, target: str) -> list[str]:
    """Say what a replay lacks where the catalogue does not have the device that a profile was measured on."""
    from arch.registered import names

    if target in names():
        return []
    what = f"the catalogue has no device that fits {name!r}" if name else "the file does not say which device it was measured on"
    return [
        f"{what}: the option target (a device's id, or a file of your own) names the one whose measured times a replay repeats or scales"
    ]


def device_id(name: str, facts: dict[str, Any]) -> str:
    """Return the id of the catalogue's GPU that a profiler's device name and facts fit; else an id made from the name; '' for none.

    A GPU fits if every part of its id or of one of its aliases is in the name, letters alone as the beginning of a part ('a100-sxm' fits
    'NVIDIA A100-SXM4-40GB', 'a10' does not fit 'NVIDIA A10G'), the name says nothing of another product with that number ('H100 NVL'), and
    its number of SMs and memory do not contradict the facts; the id or alias with the most parts decides.
    """
    from arch.registered import find, names

    parts = _parts(name)
    written = [int(part[:-2]) * 10**9 for part in parts if re.fullmatch(r"\d+gb", part)]
    facts = {"memory_bytes": written[0]} | facts if written else facts
    fitting = []
    for entry in (find(known) for known in names()):
        if entry.kind == "gpu" and not _contradicts(entry, facts):
            fitting += [(len(_parts(label)), entry.id) for label in (entry.id, *entry.aliases) if _begins(_parts(label), parts)]
    return max(fitting)[1] if fitting else "-".join(parts)


def _parts(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _begins(label: list[str], parts: list[str]) -> bool:
    if any(part in OTHER_PRODUCTS and part not in label for part in parts):
        return False
    return all(any(part == piece or (piece.isalpha() and part.startswith(piece)) for part in parts) for piece in label)


def _contradicts(entry: "Entry", facts: dict[str, Any]) -> bool:
    sms, memory = facts.get("sm_count"), facts.get("memory_bytes")
    if sms and entry.get("sm_count") not in (None, sms):
        return True
    size = entry.get("memory")
    return bool(memory and size and abs(memory / size - 1) > MEMORY_SLACK)


def report(trace: "Trace") -> dict[str, Any]:
    """Return what an import found: kernels, total_us, streams, device, and the share of the time in the family 'other'.

    ``share_communication`` is the part of that share that is known to move data between devices.
    """
    import numpy as np

    from traces.formats.families import is_communication

    kernels, captured = trace.kernels, trace.manifest["captured"]
    kind = kernels["launch_kind"]
    is_kernel = ((kind != "copy") & (kind != "memset")) if captured["copies"] else np.ones(len(kernels), np.bool_)
    known = ~np.isnan(kernels["measured_s"][is_kernel])
    measured = np.nan_to_num(kernels["measured_s"][is_kernel])
    streams = sorted({int(s) for s in kernels["stream"][is_kernel]} - {-1})
    total = float(measured.sum())
    family = kernels["family"][is_kernel]
    between = np.array([is_communication(str(name)) for name in kernels["name"][is_kernel]], np.bool_) & (family == "other")
    sums = {str(name): float(measured[family == name].sum()) for name in kernels.categories("family")}
    return {
        "format": captured["format"],
        "kernels": int(is_kernel.sum()),
        "measured": int(known.sum()),
        "total_us": round(total * 1e6, 6) if known.any() else None,
        "streams": streams,
        "device": captured["device"],
        "target": trace.target,
        "share_other": sums.get("other", 0.0) / total if total else None,
        "share_communication": float(measured[between].sum()) / total if total else None,
        "shares": {name: time / total for name, time in sums.items() if time > 0},
        "left_out": captured["left_out"],
        **{key: captured[key] for key in ("span_us", "idle_us", "longest_gap_us", "remarks")},
    }
