"""A machine as a graph: devices above the memories they work in, and the links between these."""

from collections import defaultdict
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from arch.labels import hypothetical_label
from codesign.figures import style
from traces.si import capacity, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from arch.device import Device
    from arch.link import Link
    from arch.machine import Machine
    from arch.memory import Memory

Point = tuple[float, float]

LINE, PADDING = 0.19, 0.16
"""Inches of a line of text in a box, and around all of them."""
GAP = 0.2
"""Inches between a device and what is below it."""
CELL_GAP = 1.1
"""Inches between two memories in one column: the text of their link fits between."""
FOOT = 0.75
"""Inches for the host and the legend."""
DEVICE, MEMORY = style.COLOURS["gemm"], style.PANEL


@dataclass(frozen=True)
class Box:
    """A device or a memory: its texts, the first in bold, and how it is filled."""

    lines: tuple[str, ...]
    device: bool
    hypothetical: bool = False

    @property
    def height(self) -> float:
        """Inches."""
        return LINE * len(self.lines) + PADDING


@dataclass(frozen=True)
class Layout:
    """Where memories are: the middle of each one's box in inches, the boxes from it upwards, the width of boxes, the height of all."""

    at: dict[str, Point]
    stacks: dict[str, list[Box]]
    width: float
    height: float


@style.styled
def machine(drawn: "Machine", title: str = "") -> "Figure":
    """Draw a machine: boxes for devices (hollow and dashed if hypothetical) on their memory, lines with bandwidths for links."""
    layout = _layout(drawn)
    foot = FOOT + (0.25 if _all_alike(drawn) else 0.0)
    figure, (axes,) = style.canvas(layout.height + foot + 0.3)
    axes.set_title(title or hypothetical_label(drawn.id, drawn.hypothetical))
    axes.set(xlim=(0, style.WIDTH), ylim=(-foot, layout.height))
    axes.set_axis_off()
    between = defaultdict(list)
    peers = _between_peers(drawn) if _all_alike(drawn) else ()
    for link in (link for link in drawn.links if link not in peers):
        between[frozenset((link.source, link.target))].append(link)
    for links in between.values():
        _draw_links(axes, layout, links)
    for name, stack in layout.stacks.items():
        _draw_stack(axes, layout, layout.at[name], stack)
    _draw_foot(axes, drawn)
    return figure


def _layout(drawn: "Machine") -> Layout:
    """Return a column for each number of links from the first device's memory; what is as far away stands above each other."""
    if _all_alike(drawn):
        return _grid(drawn)
    import networkx

    graph: Any = networkx.Graph([(link.source, link.target) for link in drawn.links])
    graph.add_nodes_from(memory.id for memory in drawn.memories)
    near: dict[str, int] = networkx.single_source_shortest_path_length(graph, drawn.devices[0].memory)
    columns = 1 + max(near.values())
    networkx.set_node_attributes(graph, {node: near.get(node, columns - 1) for node in graph}, "column")
    placed = networkx.multipartite_layout(graph, subset_key="column")
    stacks = {memory.id: _boxes(drawn, memory) for memory in drawn.memories}
    members: dict[int, list[str]] = defaultdict(list)
    for name in sorted(stacks, key=lambda name: float(placed[name][1])):
        members[graph.nodes[name]["column"]].append(name)
    heights = {column: sum(_height(stacks[n]) for n in names) + CELL_GAP * (len(names) - 1) for column, names in members.items()}
    middle = max(stack[0].height for stack in stacks.values()) / 2
    alone = all(len(names) == 1 for names in members.values())
    at = {}
    for column, names in members.items():
        low = 0.0 if alone else (max(heights.values()) - heights[column]) / 2
        for name in names:
            at[name] = (style.WIDTH * (column + 0.5) / columns, low + middle)
            low += _height(stacks[name]) + CELL_GAP
    return Layout(at, stacks, min(2.3, 0.56 * style.WIDTH / columns), max(heights.values()) + middle)


def _all_alike(drawn: "Machine") -> bool:
    """Tell whether three or more memories are joined, every two by equal links, and each has at most one other that hangs on it alone.

    The lines between them would hide everything else.
    """
    hanging, links = _hanging(drawn), _between_peers(drawn)
    peers, owners = len(drawn.memories) - len(hanging), list(hanging.values())
    pairs = {frozenset((link.source, link.target)) for link in links}
    rates = {(link.bandwidths, link.duplex_bandwidth, link.latency_s) for link in links}
    complete = len(pairs) == len(links) == peers * (peers - 1) // 2 and len(rates) == 1
    return peers > 2 and complete and len(set(owners)) == len(owners)


def _hanging(drawn: "Machine") -> dict[str, str]:
    """Return the memories that one link joins to the others, and to which."""
    ends = defaultdict(list)
    for link in drawn.links:
        ends[link.source].append(link.target)
        ends[link.target].append(link.source)
    return {name: others[0] for name, others in ends.items() if len(others) == 1}


def _between_peers(drawn: "Machine") -> "tuple[Link, ...]":
    hanging = _hanging(drawn)
    return tuple(link for link in drawn.links if link.source not in hanging and link.target not in hanging)


def _grid(drawn: "Machine") -> Layout:
    """Return memories in the machine's order, four in a row, from above; what hangs on one is below it."""
    stacks = {memory.id: _boxes(drawn, memory) for memory in drawn.memories}
    below = {owner: name for name, owner in _hanging(drawn).items()}
    peers = [name for name in stacks if name not in below.values()]
    columns, rows = 4, -(-len(peers) // 4)
    foot = max(stack[0].height for stack in stacks.values()) / 2
    under = max((_height(stacks[name]) for name in below.values()), default=0.0) + (CELL_GAP if below else 0.0)
    step = max(_height(stacks[name]) for name in peers) + under + 2 * GAP
    at = {
        name: (style.WIDTH * (place % columns + 0.5) / columns, (rows - 1 - place // columns) * step + under + foot)
        for place, name in enumerate(peers)
    }
    at |= {name: (at[owner][0], at[owner][1] - under) for owner, name in below.items()}
    return Layout(at, stacks, 0.9 * style.WIDTH / columns, rows * step)


def _height(stack: list[Box]) -> float:
    return sum(box.height for box in stack) + GAP * (len(stack) - 1)


def _boxes(drawn: "Machine", memory: "Memory") -> list[Box]:
    """Return a memory's box and those of the devices that work in it, upwards."""
    devices = [device for device in drawn.devices if device.memory == memory.id]
    return [Box(_memory_lines(memory), device=False), *(_device_box(drawn, device) for device in reversed(devices))]


def _memory_lines(memory: "Memory") -> tuple[str, ...]:
    reads, writes = (rate or memory.bandwidth for rate in (memory.read_bandwidth, memory.write_bandwidth))
    rates = [show(reads, "B/s")] if reads == writes else [f"reads {show(reads, 'B/s')}", f"writes {show(writes, 'B/s')}"]
    latency = [show(memory.latency_s, "s")] if memory.latency_s else []
    return memory.id, capacity(memory.capacity_bytes), *rates, *latency


def _device_box(drawn: "Machine", device: "Device") -> Box:
    from arch import show as facts

    known = facts.device_dict(device)
    inside = known.get("internal_bandwidth_bytes_per_s")
    lines = [device.id, device.kind, *(["hypothetical"] if device.hypothetical else [])]
    lines += [f"{show(inside, 'B/s')} inside"] if inside else []
    lines += (
        [f"{known['units']:g} units in {known['built_into']}", show(known["port_bandwidth_bytes_per_s"], "B/s")]
        if "built_into" in known
        else []
    )
    lines += [f"with {name}" for name in known.get("extensions", ())]
    for hand_over in drawn.hand_overs:
        if hand_over.device == device.id:
            lines += [f"hand-over {show(hand_over.layout_bandwidth, 'B/s')}", f"+ {show(hand_over.mode_switch_s + hand_over.flush_s, 's')}"]
    return Box(tuple(lines), device=True, hypothetical=device.hypothetical)


def _draw_stack(axes: "Axes", layout: Layout, at: Point, stack: list[Box]) -> None:
    x, y = at
    top = y - stack[0].height / 2 + _height(stack)
    axes.plot([x, x], [y, top - stack[-1].height / 2], color=style.INK, linewidth=1.6, zorder=1)
    low = y - stack[0].height / 2
    for box in stack:
        _draw_box(axes, (x, low), layout.width, box)
        low += box.height + GAP


def _draw_box(axes: "Axes", foot: Point, width: float, box: Box) -> None:
    """Draw a box whose lower edge has its middle at ``foot``."""
    from matplotlib.patches import FancyBboxPatch

    face = "white" if box.hypothetical else DEVICE if box.device else MEMORY
    edge, dashes = (DEVICE, "--") if box.hypothetical else (DEVICE if box.device else style.MUTED, "-")
    corner = (foot[0] - width / 2, foot[1])
    shape = FancyBboxPatch(
        corner,
        width,
        box.height,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=face,
        edgecolor=edge,
        linestyle=dashes,
        linewidth=1.3,
    )
    axes.add_patch(shape)
    ink = style.ink_on(face) if face == DEVICE else style.INK
    for row, text in enumerate(box.lines):
        y = foot[1] + box.height - PADDING / 2 - LINE * (row + 0.5)
        size, weight = (_fitting(text, width), "bold") if row == 0 else (min(9.0, _fitting(text, width)), "normal")
        axes.text(foot[0], y, text, ha="center", va="center", fontsize=size, fontweight=weight, color=ink)


def _fitting(text: str, width: float) -> float:
    """Return the size of type (points, at most 10) at which a text fits: a bold letter of DejaVu Sans is about 0.68 of it wide."""
    return min(10.0, 72 * (width - 0.1) / (0.68 * len(text)))


def _draw_links(axes: "Axes", layout: Layout, links: "list[Link]") -> None:
    """Draw what joins two memories: a line from box to box, and the rates of each link in the middle."""
    a, b = sorted((links[0].source, links[0].target), key=lambda name: (layout.at[name][0], -layout.at[name][1]))
    (ax, ay), (bx, by) = layout.at[a], layout.at[b]
    upright = ax == bx
    start, end = ((ax, ay), (bx, by)) if upright else ((ax + layout.width / 2, ay), (bx - layout.width / 2, by))
    axes.plot(*zip(start, end, strict=True), color=style.MOVING, linewidth=1.6, zorder=0)
    middle = _clear(layout, a, b) if upright else ((start[0] + end[0]) / 2, (ay + by) / 2)
    free = layout.width if upright else bx - ax - layout.width
    text = "\n\n".join(_link_text(link, a, "↓↑" if upright else "→←", free) for link in links)
    back = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(*middle, text, ha="center", va="center", fontsize=8.5, color=style.INK, linespacing=1.25, bbox=back)


def _clear(layout: Layout, upper: str, lower: str) -> Point:
    """Return the middle of what is free between two memories above each other."""
    x, top = layout.at[upper]
    below = layout.at[lower][1] - layout.stacks[lower][0].height / 2 + _height(layout.stacks[lower])
    return x, (top - layout.stacks[upper][0].height / 2 + below) / 2


def _link_text(link: "Link", first: str, arrows: str, free: float) -> str:
    """Return a link's name (broken to fit ``free`` inches), rates in each arrow's direction, limit of both, and latency."""
    name = wrap(link.id, max(8, int(free / 0.075)))
    away, back = link.bandwidths if link.source == first else link.bandwidths[::-1]
    lines = [*name, f"{arrows[0]} {show(away, 'B/s')}", f"{arrows[1]} {show(back, 'B/s')}"]
    if link.duplex_bandwidth is not None and link.duplex_bandwidth < away + back:
        lines.append(f"both {show(link.duplex_bandwidth, 'B/s')}")
    return "\n".join([*lines, show(link.latency_s, "s")])


def _draw_foot(axes: "Axes", drawn: "Machine") -> None:
    host = drawn.host
    launches = f"a launch every {show(host.launch_interval_s, 's')}, {show(host.launch_latency_s, 's')} from call to start"
    text = f"host: {launches}, round trip {show(host.round_trip_s, 's')}"
    legend = "blue: device; grey: memory" + ("; dashed: hypothetical" if drawn.hypothetical else "")
    axes.text(0.1, -0.3, text, ha="left", va="center", fontsize=9, color=style.MUTED)
    axes.text(0.1, -0.55, legend, ha="left", va="center", fontsize=9, color=style.MUTED)
    if _all_alike(drawn):
        axes.text(0.1, -0.8, _joined(drawn), ha="left", va="center", fontsize=9, color=style.MUTED)


def _joined(drawn: "Machine") -> str:
    """Say how every two memories are joined, where no lines are drawn."""
    link = _between_peers(drawn)[0]
    both = link.duplex_bandwidth or sum(link.bandwidths)
    what = "every two GPUs" if _hanging(drawn) else "every two"
    return f"{what} joined: {show(link.bandwidth, 'B/s')} one way, {show(both, 'B/s')} both ways, {show(link.latency_s, 's')}"
