"""A picture of what accuracy costs: nDCG@10 against the time of a query, a point per arm."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memstore.errors import BadInput, MissingExtra
from memstore.evaluation.artefacts import writing_to

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox, BboxBase

    from memstore.evaluation.comparison import Comparison, Summary

_SUFFIXES = (".svg", ".png")
# dark enough to be written in, and apart for people who see fewer colours
COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#aa4499", "#332288", "#8a6d00", "#000000")
GREY = "#6c757d"
_STYLE: Any = {
    "svg.hashsalt": "memstore",  # the same comparison has the same bytes
    "svg.fonttype": "none",
    "text.parse_math": False,  # names are not TeX
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_ROOM = 0.3  # of the width between the outermost points, on either side: for their labels
# where a label may go, in points from its own: the first place that is free
_PLACES = [
    (distance * side, lift)
    for distance, lifts in ((9, (0,)), (14, (13, -13)), (26, (28, -28, 43, -43, 58, -58)))
    for lift in lifts
    for side in (1, -1)
]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A point, the ends of its whisker, and what is written beside it."""

    name: str
    colour: str
    x: float
    y: float
    low: float
    high: float


def check_plot(path: Path) -> None:
    """Refuse before a long run what `draw` could not write after it.

    Raises:
        BadInput: neither .svg nor .png, or in a folder that does not exist.
        MissingExtra: matplotlib is not installed.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise BadInput(f"{path} is no plot: give a name that ends in {' or '.join(_SUFFIXES)}.")
    if not path.absolute().parent.is_dir():
        raise BadInput(f"The folder of {path} does not exist. Make it first.")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra(
            "A plot needs matplotlib, which is not installed: pip install 'memstore[plot]'"
        )


def draw(comparison: Comparison, path: Path, *, title: str) -> None:
    """Write the plot, as SVG or PNG by its suffix; the same comparison gives the same bytes."""
    with new_figure(path, width=7.5, height=4.8) as figure:
        _fill(figure, comparison.summaries(), title)


@contextlib.contextmanager
def new_figure(path: Path, *, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure, in inches, that is written to the path once it is filled."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_plot(path)
    with matplotlib.rc_context(_STYLE), writing_to(path):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)  # measures texts; needs no display
        yield figure
        suffix = path.suffix.lower()[1:]
        nothing = {"Date": None} if suffix == "svg" else {"Software": None}
        figure.savefig(path, format=suffix, dpi=160, metadata=nothing)


def _fill(figure: Figure, summaries: Sequence[Summary], title: str) -> None:
    axes = figure.add_subplot()
    rerankers = list(dict.fromkeys(summary.arm.reranker for summary in summaries))
    first = summaries[0].metrics["ndcg@10"]
    axes.axhline(first, color=GREY, linewidth=0.8, linestyle=(0, (5, 4)))
    drawn = []
    for summary in summaries:
        colour = COLOURS[rerankers.index(summary.arm.reranker) % len(COLOURS)]
        x, y = summary.p50_ms, summary.metrics["ndcg@10"]
        difference = summary.differences.get("ndcg@10")
        low = high = y
        if difference is not None and difference.low is not None and difference.high is not None:
            low, high = first + difference.low, first + difference.high
        axes.plot([x, x], [low, high], color=colour, linewidth=1.2, alpha=0.6)
        axes.plot(x, y, "o", color=colour, markersize=7)
        name = f"{summary.arm.reranker.rpartition('/')[2]} {summary.arm.profile}"
        drawn.append(_Drawn(name, colour, x, y, low, high))
    _set_axes(axes, [one.x for one in drawn])
    axes.set_title(title, loc="left", fontsize=11)
    figure.supxlabel(
        f"Dashed: {drawn[0].name}. Whiskers: the 95 % interval of the difference to it.",
        fontsize=8,
        color=GREY,
    )
    figure.draw_without_rendering()  # labels are placed where the points have come to lie
    _label(axes, drawn)


def _set_axes(axes: Axes, times: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    room = max(3.0, (max(times) / min(times)) ** _ROOM)
    axes.set_xlim(min(times) / room, max(times) * room)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3f}"))
    axes.margins(y=0.15)
    axes.grid(color="#e9ecef")
    axes.set_axisbelow(True)
    axes.set_xlabel("median time of a query, ms")
    axes.set_ylabel("nDCG@10")


def _label(axes: Axes, drawn: Sequence[_Drawn]) -> None:
    """Write each arm's name near its point, where it covers no point and no other name."""
    from matplotlib.transforms import Bbox

    taken = []
    for one in drawn:
        (x, y), (_, low), (_, high) = axes.transData.transform(
            [(one.x, one.y), (one.x, one.low), (one.x, one.high)]
        )
        taken += [Bbox([[x - 6, y - 6], [x + 6, y + 6]]), Bbox([[x - 2, low], [x + 2, high]])]
    for one in sorted(drawn, key=lambda one: -one.y):  # from above: fewer lines cross
        for place in _PLACES:
            label = _written(axes, one, place)
            box = _extent(label)
            if _holds(axes.bbox, box) and not any(box.overlaps(other) for other in taken):
                break
            if place is not _PLACES[-1]:
                label.remove()
        taken.append(box)


def _written(axes: Axes, one: _Drawn, place: tuple[float, float]) -> Annotation:
    line = {"arrowstyle": "-", "color": one.colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 5}
    label = axes.annotate(
        one.name,
        (one.x, one.y),
        place,
        textcoords="offset points",
        horizontalalignment="left" if place[0] > 0 else "right",
        verticalalignment="center",
        color=one.colour,
        fontsize=9,
        bbox={"boxstyle": "square,pad=0.1", "color": "white", "alpha": 0.8},
        arrowprops=line if place[1] else None,
    )
    label.set_in_layout(False)
    return label


def _extent(label: Annotation) -> Bbox:
    from matplotlib.text import Text

    label.get_window_extent()  # moves the text to its place; returns it with its line
    return Text.get_window_extent(label)


def _holds(outer: BboxBase, inner: Bbox) -> bool:
    margins = (inner.x0 - outer.x0, outer.x1 - inner.x1, inner.y0 - outer.y0, outer.y1 - inner.y1)
    return bool(min(margins) >= 0)
