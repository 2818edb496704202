"""The figures: ``plot`` picks the one that shows a machine, a trace, a timeline or a result, and returns a matplotlib Figure."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.figures.request import Request
from traces.errors import CodesignError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from arch.machine import Machine
    from codesign.engine.timeline import Timeline
    from codesign.search.result import Result
    from traces.trace import Trace

FORMATS = ("png", "svg", "pdf")


def plot(
    subject: "Machine | Trace | Timeline | Result | Sequence[Timeline] | Sequence[Result] | Mapping[str, Timeline] | str | Path",
    kind: str | None = None,
    path: "str | Path | None" = None,
    *,
    machine: "Machine | str | None" = None,
    title: str | None = None,
    window: tuple[float, float] | None = None,
    published: Sequence[tuple[str, Mapping[tuple[str, str], float]]] = (),
) -> "Figure":
    """Return a figure, and write it to ``path`` if given (.png, .svg or .pdf; PNG under any other name).

    Parameters
    ----------
    subject
        A machine, a trace, a timeline, a result, several timelines (also by label) or results side by side, or a file that holds
        one of them.
    kind
        Of a machine: 'graph'. Of a trace: 'roofline' (default), 'breakdown', 'memory'. Of timelines: 'timeline' (default),
        'times' (default of several), 'breakdown', 'memory'. Of results: 'pareto' (default where there are two objectives) or 'progress'.
    machine
        Of a trace: whose roofs and prices; its target by default. Names are looked up.
    title
        Instead of the figure's own.
    window
        Of a timeline: what to zoom into, in seconds (from, to); by default a stretch in which every queue is busy.
    published
        Of a breakdown: the bar to draw below each of ours, as (label, {(phase, family): fraction of the kernel time}); a family may be
        two that are not told apart, joined by '+', or '' for what is not broken down.

    Raises
    ------
    CodesignError
        If there is no such figure of such a subject, it has no such window, or the file cannot be written.
    """
    from codesign.reading import read

    given: Any = read(subject) if isinstance(subject, (str, Path)) else subject
    labels = tuple(given) if isinstance(given, Mapping) else ()
    given = list(given.values()) if isinstance(given, Mapping) else given
    draw = _figures_of(given)
    chosen = kind or default_kind(given)
    if chosen not in draw:
        raise CodesignError(f"there is no figure {chosen!r} of a {_noun(given)}, but there are {', '.join(draw)}")
    if window is not None and chosen != "timeline":
        raise CodesignError(f"a window is a part of the figure 'timeline', but the figure is {chosen!r}; leave the window out")
    figure = draw[chosen](Request(given, machine, title, window, published, labels))
    if path is not None:
        save(figure, Path(path))
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure: as SVG or PDF if the name ends so, else as PNG; equal figures give equal bytes. Raises CodesignError."""
    import io

    from codesign import files

    buffer = io.BytesIO()
    form = image_format(path)
    stamp = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
    figure.savefig(buffer, format=form, metadata=stamp)
    files.write(path, buffer.getvalue())


def image_format(path: Path) -> str:
    """Return 'png', 'svg' or 'pdf' for a file's name."""
    suffix = path.suffix.lower().lstrip(".")
    return suffix if suffix in FORMATS else "png"


def default_kind(subject: Any) -> str:
    """Return the figure that is drawn of a subject if none is asked for. Raises CodesignError if there is none."""
    kinds = _figures_of(subject)
    several = isinstance(subject, (list, tuple))
    one = subject[0] if several else subject
    if several and len(subject) > 1 and "times" in kinds:
        return "times"
    return "progress" if "progress" in kinds and len(one.objectives) == 1 else next(iter(kinds))


def _figures_of(subject: Any) -> dict[str, Callable[[Request], "Figure"]]:
    """Return the figures that there are of a subject, by kind, the default first."""
    from arch.machine import Machine
    from codesign.engine.timeline import Timeline
    from codesign.figures import subjects
    from codesign.search.result import Result
    from traces.trace import Trace

    several = list(subject) if isinstance(subject, (list, tuple)) else [subject]
    alone = {Trace: subjects.OF_TRACE, Machine: subjects.OF_MACHINE}
    for kind, figures in (*alone.items(), (Timeline, subjects.OF_TIMELINES), (Result, subjects.OF_RESULTS)):
        if several and all(isinstance(one, kind) for one in several) and (kind not in alone or len(several) == 1):
            return figures
    given = ", ".join(type(one).__name__ for one in several) or "nothing"
    raise CodesignError(f"a figure is of a machine, of a trace, of timelines or of results, but got {given}")


def _noun(subject: Any) -> str:
    one = subject[0] if isinstance(subject, (list, tuple)) else subject
    return type(one).__name__.lower()
