"""Commands that fit a store's numbers to its own data: calibrate, learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memstore.cli import output
from memstore.cli.options import json_option, open_store, open_to_read, timezone_option
from memstore.cli.progress import counting
from memstore.settings import DEFAULT_PROFILE
from memstore.times import zone

if TYPE_CHECKING:
    from memstore.store.calibrating import CalibrationReport
    from memstore.store.learning import LearnedWeights, LearnReport

_QUESTIONS = click.Path(exists=True, path_type=Path)


def _seed_option(function: Any) -> Any:
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of what is drawn by chance.",
    )(function)


@click.command()
@click.argument("questions", required=False, type=_QUESTIONS)
@click.option(
    "--rerank", metavar="NAME", help="The reranker to calibrate, instead of the store's encoder."
)
@click.option(
    "--namespace",
    "-n",
    default="*",
    show_default=True,
    metavar="PATH",
    help="Of questions that have none; where questions are made from.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    metavar="N",
    help="Most questions.",
)
@_seed_option
@timezone_option
@click.option("--dry-run", is_flag=True, help="Only say how well it would fit.")
@click.option("--show", is_flag=True, help="Print the calibrations the store has; fit nothing.")
@json_option
@click.pass_context
def calibrate(
    ctx: click.Context,
    questions: Path | None,
    rerank: str | None,
    namespace: str,
    limit: int,
    seed: int,
    timezone: str | None,
    dry_run: bool,
    show: bool,
    as_json: bool,
) -> None:
    """Fit how scores become log-odds of relevance to this store.

    QUESTIONS is a file or folder of judged questions as `memstore eval` reads them. Without it,
    questions are made of the store's own memories.
    """
    if show:
        _show(open_to_read(ctx).calibrations(), as_json=as_json)
        return
    asked = None if questions is None else _judged(questions, timezone)
    store = open_to_read(ctx) if dry_run else open_store(ctx)
    with counting("questions asked") as progress:
        report = store.calibrate(
            questions=asked,
            namespace=namespace,
            rerank=rerank,
            seed=seed,
            limit=limit,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        output.print_json(report)
    else:
        output.print_fields(_fields(report))
    if dry_run:
        output.note("nothing was stored")


def _judged(path: Path, timezone: str | None) -> list[dict[str, Any]]:
    """Return the questions of a file or folder, as the store takes them."""
    from memstore.evaluation import read_dataset

    dataset = read_dataset(path, timezone=zone(timezone) if timezone else None)
    return [
        {
            "text": question.text,
            "relevant": sorted(question.answers),
            "namespace": question.namespace,
            "now": question.now,
            "as_of": question.as_of,
        }
        for question in dataset.questions
        if question.answers
    ]


def _show(reports: tuple[CalibrationReport, ...], *, as_json: bool) -> None:
    if as_json:
        output.print_json(reports)
        return
    for place, report in enumerate(reports):
        if place:
            output.line("")
        output.print_fields(_fields(report))
    if not reports:
        output.note("This store has no calibration of its own.")


def _fields(report: CalibrationReport) -> dict[str, Any]:
    shown = output.plain(report)
    shown["parameters"] = ", ".join(
        f"{name} {value:.4g}" for name, value in report.parameters.items()
    )
    for name in ("log_loss", "ece", "log_loss_before", "ece_before"):
        shown[name] = None if shown[name] is None else f"{shown[name]:.4f}"
    return {name: value for name, value in shown.items() if value is not None}


@click.command()
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, metavar="NAME")
@click.option(
    "--guard",
    "guards",
    type=_QUESTIONS,
    multiple=True,
    metavar="QUESTIONS",
    help="Judged questions whose nDCG@10 must not drop. May be given several times.",
)
@_seed_option
@timezone_option
@click.option("--dry-run", is_flag=True, help="Only say what would be learned.")
@click.option("--list", "listed", is_flag=True, help="Print the weights learned so far.")
@click.option(
    "--rollback", metavar="VERSION|shipped", help="Use these weights of the profile from now on."
)
@json_option
@click.pass_context
def learn(
    ctx: click.Context,
    profile: str,
    guards: tuple[Path, ...],
    seed: int,
    timezone: str | None,
    dry_run: bool,
    listed: bool,
    rollback: str | None,
    as_json: bool,
) -> None:
    """Fit a profile's weights to what was used of the pages that queries showed.

    Pages are logged with `--set log_pages=true`. Exit 0 when new weights are in use, or would be; 1
    when the evidence does not suffice, with what is missing.
    """
    if listed:
        _list(open_to_read(ctx).learned_weights(), as_json=as_json)
        return
    if rollback is not None:
        version = _version(rollback)
        open_store(ctx).use_weights(version, profile=profile)
        output.note(f"{profile} now has {_weights_in_words(version)}")
        return
    from memstore.store.judged_questions import Guard

    checked = [Guard(name=path.stem, questions=_judged(path, timezone)) for path in guards]
    store = open_to_read(ctx) if dry_run else open_store(ctx)
    report = store.learn(profile=profile, guards=checked, seed=seed, dry_run=dry_run)
    if as_json:
        output.print_json(report)
    else:
        _print(report)
    if not report.accepted:
        ctx.exit(1)


def _version(written: str) -> int | None:
    if written == "shipped":
        return None
    if not written.isascii() or not written.isdigit():
        raise click.BadParameter(f"{written!r} is no version, and not the word shipped.")
    return int(written)


def _weights_in_words(version: int | None) -> str:
    return "the shipped weights" if version is None else f"the learned weights {version}"


def _print(report: LearnReport) -> None:
    for name, weight in report.weights.items():
        output.line(f"{name:<12} {report.weights_before[name]:.3f} -> {weight:.3f}")
    for condition in report.conditions:
        output.line(f"{'met' if condition.holds else 'not met'}: {condition}")
    for note in report.notes:
        output.note(note)
    if report.version is not None:
        output.note(f"{report.profile} now has {_weights_in_words(report.version)}")
    elif report.accepted:
        output.note("nothing was stored")
    else:
        output.note("The evidence does not suffice; nothing was changed.")


def _list(found: tuple[LearnedWeights, ...], *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    for item in found:
        weights = ", ".join(f"{name} {weight:.3f}" for name, weight in item.weights.items())
        state = " (in use)" if item.active else ""
        output.line(f"{item.version} {item.profile}{state}: {weights}")
    if not found:
        output.note("This store has learned no weights.")
