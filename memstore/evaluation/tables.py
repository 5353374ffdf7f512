"""A comparison as rows of text, for a terminal or for Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memstore.evaluation.comparison import Comparison, Difference, Summary
from memstore.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLUMNS = (
    *("reranker", "profile", "nDCG@10", "to first arm [95 %]", "R@1", "R@5", "R@10", "MRR@10"),
    *("p50 ms", "p95 ms", "candidates", "parameters"),
)
_NONE = "–"
_CERTAIN = "*"
LEGEND = (
    f"{_CERTAIN} the 95 % interval excludes 0: the difference is unlikely to be an accident of "
    "which questions were asked."
)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows under a title: names in the first columns, then numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 2

    @property
    def legend(self) -> str | None:
        """What its marks mean, if there are any."""
        return LEGEND if any(_CERTAIN in cell for row in self.rows for cell in row) else None


def comparison_table(comparison: Comparison, name: str, category: str | None = None) -> Table:
    """Return a row per arm, the ones that were left out last.

    Args:
        name: of the data set.
    """
    summaries = comparison.summaries(category)
    group = name if category is None else f"{name}, {category}"
    rows = [_row(summary) for summary in summaries]
    for item in comparison.left_out:
        cells = [item.arm.reranker, item.arm.profile, "left out"]
        rows.append(cells + [_NONE] * (len(_COLUMNS) - len(cells)))
    return Table(f"{group}: {summaries[0].questions} questions", _COLUMNS, rows)


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    rule = ["---" if place < table.text_columns else "---:" for place in range(len(table.columns))]
    lines = [f"| {' | '.join(_escaped(row))} |" for row in (table.columns, rule, *table.rows)]
    legend = ["", _escaped([table.legend])[0]] if table.legend else []
    return "\n".join([f"### {table.title}", "", *lines, *legend, ""])


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|").replace("*", "\\*") for cell in cells]


def _row(summary: Summary) -> list[str]:
    ndcg, *others = (share(summary.metrics[name]) for name in METRICS)
    return [
        summary.arm.reranker,
        summary.arm.profile,
        ndcg,
        _difference(summary.differences.get("ndcg@10")),
        *others,
        _milliseconds(summary.p50_ms),
        _milliseconds(summary.p95_ms),
        str(summary.candidates),
        millions(summary.parameters),
    ]


def share(value: float, sign: str = "") -> str:
    """Write a number of at most 1 without its zero.

    >>> share(0.6084), share(1.0), share(-0.0312, "+"), share(0.0, "+")
    ('.608', '1.000', '-.031', '+.000')
    """
    return f"{value:{sign}.3f}".replace("0.", ".", 1)


def _difference(found: Difference | None) -> str:
    if found is None:
        return _NONE
    if found.low is None or found.high is None:
        return f"{share(found.mean, '+')} (too few)"
    between = f"{share(found.mean, '+')} [{share(found.low, '+')}, {share(found.high, '+')}]"
    return f"{between} {_CERTAIN}" if found.certain else between


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def millions(parameters: int | None) -> str:
    """Write a number of weights.

    >>> millions(22_713_601), millions(0), millions(None)
    ('22.7 M', '–', 'unknown')
    """
    if parameters is None:
        return "unknown"
    return f"{parameters / 1e6:,.1f} M" if parameters else _NONE
