"""What a comparison leaves on disk: a summary, a run per arm, the tables."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from memstore.errors import BadInput
from memstore.evaluation.arms import Arm
from memstore.evaluation.comparison import Comparison, Measured, Summary
from memstore.evaluation.machine import machine, versions
from memstore.evaluation.reports import Report
from memstore.evaluation.tables import Table, markdown
from memstore.times import iso


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to write to, which has the name `path` once the block is done.

    Raises:
        BadInput: `path` exists and is no empty folder, or cannot be written.
    """
    with writing_to(path):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise BadInput(f"{path} exists and is no empty folder. Choose another, or remove it.")
        path = path.resolve()  # "." has no name
        partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
        partial.mkdir(parents=True)
    try:
        yield partial
        with writing_to(path):
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Say in a sentence that something cannot be written."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}.") from error


def write(
    folder: Path,
    comparison: Comparison,
    summary: Mapping[str, Any],
    tables: Sequence[Table],
) -> None:
    """Write `summary.json`, `table.md` and the runs of a comparison.

    A run has a line per question as `memstore query --queries --jsonl` prints it, but no texts.
    """
    left_out = [f"Left out: {item.arm}: {item.reason}\n" for item in comparison.left_out]
    texts = {
        "summary.json": json.dumps(summary, ensure_ascii=False, indent=2) + "\n",
        "table.md": "\n".join([*map(markdown, tables), *left_out]),
    }
    for number, measured in enumerate(comparison.measured, start=1):
        texts[_run_name(number, measured)] = "".join(
            json.dumps(line, ensure_ascii=False) + "\n" for line in _run(comparison, measured)
        )
    with writing_to(folder):
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


def document(comparison: Comparison, *, dataset: str, device: str) -> dict[str, Any]:
    """Return a comparison as JSON can hold it, and where it was measured.

    Args:
        device: what models were asked to run on.
    """
    return {
        "dataset": dataset,
        "memories": comparison.memories,
        "encoder": comparison.encoder,
        "versions": versions(),
        "machine": {**machine(), "device": device},
        "questions": len(comparison.questions),
        "scopes": comparison.scopes(),
        "unjudged_questions": comparison.unjudged,
        "unknown_keys": list(comparison.unknown_keys),
        "settings": {
            "limit": comparison.limit,
            "rerank_depth": comparison.rerank_depth,
            "namespace": comparison.namespace,
            "now": iso(comparison.now),
            "seed": comparison.seed,
        },
        "arms": [
            {**_arm(summary), "run": _run_name(number, measured)}
            for number, (summary, measured) in enumerate(
                zip(comparison.summaries(), comparison.measured, strict=True), start=1
            )
        ],
        "left_out": [{**_named(item.arm), "reason": item.reason} for item in comparison.left_out],
        "categories": {
            category: [_arm(summary) for summary in comparison.summaries(category)]
            for category in comparison.categories
        },
    }


def report_document(report: Report, *, device: str) -> dict[str, Any]:
    """Return a report as JSON can hold it: the comparison, and what else was measured."""
    return {
        **document(report.comparison, dataset=report.dataset, device=device),
        "links": report.links,
        "stress": [
            {
                "name": stress.name,
                "note": stress.note,
                "arms": []
                if stress.comparison is None
                else [_arm(summary) for summary in stress.comparison.summaries()],
            }
            for stress in report.stressed
        ],
        "calibration": [
            {
                "reranker": item.reranker,
                "candidates": item.candidates,
                "relevant": item.relevant,
                "ece": None if item.quality is None else item.quality.ece,
                "log_loss": None if item.quality is None else item.quality.log_loss,
                "slope": None if item.quality is None else item.quality.slope,
            }
            for item in report.calibrated
        ],
    }


def _named(arm: Arm) -> dict[str, Any]:
    return {
        "reranker": arm.reranker,
        "profile": arm.profile,
        "label": arm.label,
        "weights": dict(arm.weights),
        "formula": arm.formula,
        "setting": arm.setting,
    }


def _arm(summary: Summary) -> dict[str, Any]:
    return {
        **_named(summary.arm),
        "questions": summary.questions,
        "metrics": summary.metrics,
        "to_first_arm": {
            metric: {
                "mean": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "excludes_zero": difference.excludes_zero,
                "chance": difference.chance,
                "certain": difference.certain,
            }
            for metric, difference in summary.differences.items()
        },
        "further": summary.further,
        "p50_ms": summary.p50_ms,
        "p95_ms": summary.p95_ms,
        "candidates": summary.candidates,
        "parameters": summary.parameters,
    }


def _run_name(number: int, measured: Measured) -> str:
    # with its number: names of folders and of services may become the same
    name = re.sub(r"[^\w.-]+", "-", str(measured.arm)).strip("-")
    return f"run-{number}-{name}.jsonl"


def _run(comparison: Comparison, measured: Measured) -> Iterator[dict[str, Any]]:
    for question, answer in zip(comparison.questions, measured.answers, strict=True):
        hits = [
            {
                "rank": hit.rank,
                # without one its id, which tells it apart from others without one
                "key": hit.id if hit.key is None else hit.key,
                "id": hit.id,
                "score": round(hit.score, 6),
            }
            for hit in answer.hits
        ]
        took = {**answer.took, "total": answer.seconds}
        yield {"query_id": question.id, "hits": hits, "took": took}
