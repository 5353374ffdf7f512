"""A picture of what profiles gain and cost: a row per arm, two panels per data set."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memstore.evaluation.plot import COLOURS, GREY, new_figure
from memstore.evaluation.supersession import FRESH, NEW_ABOVE_OLD, STALE
from memstore.evaluation.tables import titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from memstore.evaluation.comparison import Summary
    from memstore.evaluation.reports import Report

_METRIC = "ndcg@10"
# what is drawn of supersession: its marker, where in the row it stands, its colour
_SHARES = (
    (NEW_ABOVE_OLD, "o", 0.0, COLOURS[4]),
    (FRESH, "^", -0.17, COLOURS[2]),
    (STALE, "v", 0.17, COLOURS[1]),
)
_ROW, _FRAME, _NAMES, _WIDE, _NARROW = 0.27, 1.25, 2.4, 3.4, 2.4  # inches
_TICKS = 5
_CHARACTERS = 13  # of the smallest size per inch


def draw_profiles(reports: Sequence[Report], path: Path) -> None:
    """Write the plot, as SVG or PNG by its suffix; the same reports give the same bytes.

    Left, per data set: nDCG@10 of each arm minus that of the first one, with its 95 % interval.
    Right, where a data set says what replaces what: how often the new memory is above the old one,
    and how often either is first.
    """
    summaries = [report.comparison.summaries() for report in reports]
    arms = list(dict.fromkeys(summary.arm for found in summaries for summary in found))
    several = len({arm.reranker for arm in arms}) > 1
    names = [str(arm) if several else arm.label for arm in arms]
    paired = [any(_shares(one) for one in found) for found in summaries]
    widths = [width for pair in paired for width in ((_WIDE, _NARROW) if pair else (_WIDE,))]
    height = _FRAME + _ROW * len(arms)
    with new_figure(path, width=_NAMES + sum(widths), height=height) as figure:
        axes = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
        panels = iter(axes)
        for report, found, pair in zip(reports, summaries, paired, strict=True):
            rows = [(arms.index(summary.arm), summary) for summary in found]
            title = titled(report.comparison, report.dataset)
            _draw_differences(next(panels), rows, title)
            if pair:
                _draw_shares(next(panels), rows)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.5, -0.5)  # the first arm on top
        legend = (
            f"Differences are to {names[0]}; whiskers are their 95 % intervals. Filled: certain, "
            "corrected for the number of arms."
        )
        width = int((_NAMES + sum(widths)) * _CHARACTERS)
        figure.supxlabel(textwrap.fill(legend, width), fontsize=8, color=GREY)


def _draw_differences(axes: Axes, rows: Sequence[tuple[int, Summary]], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axvline(0.0, color=GREY, linewidth=0.8, linestyle=(0, (5, 4)))
    for row, summary in rows:
        difference = summary.differences.get(_METRIC)
        mean = 0.0 if difference is None else difference.mean
        certain = difference is None or difference.certain
        colour = GREY if not difference else COLOURS[0] if mean >= 0 else COLOURS[1]
        if difference is not None and difference.low is not None and difference.high is not None:
            axes.plot([difference.low, difference.high], [row, row], color=colour, linewidth=1.4)
        face = colour if certain else "white"
        axes.plot(mean, row, "o", color=colour, markerfacecolor=face, markersize=6)
    axes.set_xlabel("nDCG@10, difference")
    axes.xaxis.set_major_locator(MaxNLocator(_TICKS))
    axes.xaxis.set_major_formatter("{x:+.3f}")
    _set_axes(axes, title)


def _draw_shares(axes: Axes, rows: Sequence[tuple[int, Summary]]) -> None:
    for name, marker, lift, colour in _SHARES:
        seen = [(row + lift, _shares(summary).get(name)) for row, summary in rows]
        places = [place for place, value in seen if value is not None]
        values = [value for _, value in seen if value is not None]
        axes.plot(values, places, marker, color=colour, markersize=5, label=name)
    axes.set_xlim(-0.04, 1.04)
    axes.set_xlabel("share of the pairs")
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(_SHARES),
        fontsize=7.5,
        frameon=False,
        handletextpad=0.1,
        columnspacing=0.9,
    )
    _set_axes(axes, "")


def _set_axes(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(color="#e9ecef")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _shares(summary: Summary) -> dict[str, float]:
    found = ((name, summary.further.get(name)) for name, *_ in _SHARES)
    return {name: value for name, value in found if value is not None}
