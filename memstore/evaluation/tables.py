"""A comparison as rows of text, for a terminal or for Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memstore.evaluation.comparison import Comparison, Difference, Summary
from memstore.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memstore.evaluation.calibration import Calibrated
    from memstore.evaluation.reports import Report

_NAMES = {"ndcg@10": "nDCG@10", "r@1": "R@1", "r@5": "R@5", "r@10": "R@10", "mrr@10": "MRR@10"}
_DIFFERENCE = "to first arm [95 %]"
_COLUMNS = (
    *("reranker", "profile", "nDCG@10", _DIFFERENCE, "R@1", "R@5", "R@10", "MRR@10"),
    *("p50 ms", "p95 ms", "candidates", "parameters"),
)
_NONE = "–"
_CERTAIN = "*"
LEGEND = (
    f"{_CERTAIN} below 5 %, corrected for the number of arms, is the chance that the difference is "
    "an accident of which questions were asked."
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
    rows = [_row(summary) for summary in comparison.summaries(category)]
    for item in comparison.left_out:
        cells = [item.arm.reranker, item.arm.label, "left out"]
        rows.append(cells + [_NONE] * (len(_COLUMNS) - len(cells)))
    return Table(titled(comparison, name, category), _COLUMNS, rows)


def further_table(
    comparison: Comparison,
    name: str,
    category: str | None = None,
    *,
    metrics: Sequence[str] = (),
) -> Table | None:
    """Return what was seen besides the metrics, a row per arm; None if there is nothing to show.

    Args:
        name: of the data set, or what was done to it.
        metrics: to be shown all the same.
    """
    summaries = comparison.summaries(category)
    further = list(dict.fromkeys(name for summary in summaries for name in summary.further))
    if not further and not metrics:
        return None
    columns = ["reranker", "profile"]
    for metric in metrics:
        columns += [_NAMES[metric], _DIFFERENCE]
    rows = []
    for summary in summaries:
        row = [summary.arm.reranker, summary.arm.label]
        for metric in metrics:
            row += [share(summary.metrics[metric]), _difference(summary.differences.get(metric))]
        for one in further:
            seen = summary.further.get(one)
            row.append(_NONE if seen is None else share(seen))
        rows.append(row)
    return Table(titled(comparison, name, category), [*columns, *further], rows)


def calibration_table(calibrated: Sequence[Calibrated], name: str) -> Table:
    """Return a row per scorer.

    Args:
        name: of the data set.
    """
    rows = []
    for item in calibrated:
        fit = item.quality
        numbers = (
            [_NONE] * 3
            if fit is None
            else [share(fit.ece), share(fit.log_loss), f"{fit.slope:.2f}"]
        )
        rows.append([item.reranker, f"{item.candidates:,}", f"{item.relevant:.4f}", *numbers])
    columns = ("reranker", "candidates", "relevant", "ECE", "log loss", "slope")
    return Table(f"{name}: calibration", columns, rows, text_columns=1)


def report_tables(report: Report, *, by_category: bool = False) -> list[Table]:
    """Return all tables of a report, that of the arms first."""
    comparison = report.comparison
    tables: list[Table | None] = []
    for category in [None, *(comparison.categories if by_category else [])]:
        tables.append(comparison_table(comparison, report.dataset, category))
        tables.append(further_table(comparison, f"{report.dataset}: order", category))
    for stress in report.stressed:
        if stress.comparison is not None:
            name = f"{report.dataset}: {stress.name}"
            tables.append(further_table(stress.comparison, name, metrics=stress.metrics))
    if report.calibrated:
        tables.append(calibration_table(report.calibrated, report.dataset))
    return [table for table in tables if table is not None]


def titled(comparison: Comparison, name: str, category: str | None = None) -> str:
    """Return what a comparison is called: what was asked, and how much of it."""
    group = name if category is None else f"{name}, {category}"
    scopes = comparison.scopes(category)
    count = comparison.summaries(category)[0].questions
    return f"{group}: {count} questions" + (f" in {scopes} scopes" if scopes > 1 else "")


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
        summary.arm.label,
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
