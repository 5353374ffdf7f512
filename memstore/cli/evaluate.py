"""The command eval: which reranker and which profile answer best, on one's own data."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memstore.cli import output
from memstore.cli.options import (
    clean_up_when_terminated,
    encoder_option,
    json_option,
    namespace_option,
    on_rerank_error_option,
    open_to_read,
    timezone_option,
)
from memstore.cli.progress import steps
from memstore.errors import BadInput
from memstore.settings import DEFAULT_LIMIT, DEFAULT_PROFILE
from memstore.times import from_microseconds, to_microseconds, zone

if TYPE_CHECKING:
    from datetime import tzinfo

    from memstore.evaluation import Arm, Dataset, Plan, Report
    from memstore.types import LineError

_SHOWN_ERRORS = 20
_FILE = click.Path(path_type=Path)


def _names(written: str) -> list[str]:
    """Return the names of an option, between commas."""
    names = [name.strip() for name in written.split(",")]
    if not all(names):
        raise click.BadParameter(f"{written!r} has an empty name; write none,minilm-l6.")
    return names


@click.command(name="eval")
@click.argument(
    "paths",
    metavar="DATASET…",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--rerank",
    "rerankers",
    type=_names,
    default="none",
    show_default=True,
    metavar="NAME,…",
    help="The rerankers to compare; none is one of them.",
)
@click.option(
    "--profile",
    "profiles",
    type=_names,
    default=DEFAULT_PROFILE,
    show_default=True,
    metavar="NAME,…",
    help="The profiles to compare: semantic, balanced, recent, trusted.",
)
@click.option(
    "--ablate",
    is_flag=True,
    help="Each profile also without each of its components, and with each of them alone.",
)
@click.option(
    "--baselines",
    is_flag=True,
    help="Also formulas of others, and whether orders flip with the number of candidates.",
)
@click.option(
    "--links",
    type=_names,
    default="none",
    show_default=True,
    metavar="NAME,…",
    help="oracle: a store that was told what replaces what, by supersession.tsv.",
)
@click.option(
    "--stress",
    type=_names,
    metavar="NAME,…",
    help="Disturb copies of the store: updates, sources, random-metadata, adversarial-metadata, "
    "no-metadata, future-leaks.",
)
@click.option("--calibration", is_flag=True, help="Compare probabilities with the judgements.")
@click.option(
    "--rerank-depth", type=click.IntRange(min=1), metavar="N", help="Memories a reranker scores."
)
@on_rerank_error_option
@click.option(
    "-k",
    "--limit",
    type=click.IntRange(min=10),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Hits per question: the metrics look at 10, the runs hold all.",
)
@click.option(
    "--limit-queries",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ask so many of the questions, drawn by the seed.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of that draw, and of the intervals.",
)
@click.option("--by-category", is_flag=True, help="Print the table once more per category.")
@click.option("--in-store", is_flag=True, help="Ask the store instead of ingesting a corpus.")
@click.option("--now", metavar="TIME", help="The present, for questions without a time.")
@namespace_option
@timezone_option
@encoder_option
@click.option("--output", "folder", type=_FILE, metavar="FOLDER", help="Also write runs to it.")
@click.option("--plot", type=_FILE, metavar="FILE.svg|png", help="Also draw a plot.")
@json_option
@click.pass_context
def evaluate(ctx: click.Context, /, **options: Any) -> None:
    """Measure which reranker and which profile answer best, on questions with known answers.

    DATASET is a folder with corpus.jsonl, queries.jsonl and qrels.tsv: its corpus is ingested into
    a temporary store. Or it is a JSONL file of questions to the store: objects with "text" and
    "relevant", the keys of the memories that answer it. Several are measured one after the other.

    Every reranker is measured with every profile. The first pair is what the others are compared
    with.
    """
    clean_up_when_terminated()
    try:
        _evaluate(ctx, **options)
    except KeyboardInterrupt:
        output.note("stopped; nothing was written")
        ctx.exit(130)


def _evaluate(
    ctx: click.Context,
    *,
    paths: Sequence[Path],
    rerankers: Sequence[str],
    profiles: Sequence[str],
    ablate: bool,
    baselines: bool,
    links: Sequence[str],
    stress: Sequence[str] | None,
    calibration: bool,
    limit_queries: int | None,
    by_category: bool,
    in_store: bool,
    timezone: str | None,
    encoder: str | None,
    folder: Path | None,
    plot: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    from memstore.evaluation import Plan, baseline_arms, combined, read_dataset, sample
    from memstore.evaluation.artefacts import new_folder, report_document, write
    from memstore.evaluation.plot import check_plot
    from memstore.evaluation.tables import report_tables

    if encoder is not None and (in_store or any(path.is_file() for path in paths)):
        raise click.UsageError("--encoder is that of a temporary store, and here yours is asked.")
    place = zone(timezone) if timezone else None
    if how["now"] is not None:
        how["now"] = from_microseconds(to_microseconds(how["now"], name="now", timezone=place))
    arms = combined(rerankers, profiles, ablate=ablate) + (baseline_arms() if baselines else [])
    plan = Plan(links=tuple(links), stress=tuple(stress or ()), calibration=calibration)
    if plot is not None:
        check_plot(plot)
        if folder is not None and folder.resolve() == plot.resolve():
            raise click.UsageError("--output and --plot name the same path.")
    datasets = [
        read_dataset(path, timezone=place, needs_corpus=not (in_store or path.is_file()))
        for path in paths
    ]
    if len({dataset.name for dataset in datasets}) < len(datasets):
        raise click.UsageError("Two data sets have the same name.")
    if "oracle" in plan.links and not any(dataset.pairs for dataset in datasets):
        raise BadInput(f"{paths[0]} has no supersession.tsv, so there is nothing to link.")
    reports, failed = [], False
    with new_folder(folder) if folder is not None else contextlib.nullcontext() as partial:
        documents = []
        for path, dataset in zip(paths, datasets, strict=True):
            if limit_queries is not None:
                chosen = sample(dataset.questions, limit_queries, seed=how["seed"])
                dataset = dataclasses.replace(dataset, questions=tuple(chosen))
            report, errors = _measure(
                ctx,
                dataset,
                arms,
                plan,
                in_store=in_store or path.is_file(),
                encoder=encoder,
                timezone=place,
                how=how,
            )
            tables = report_tables(report, by_category=by_category)
            documents.append(report_document(report, device=ctx.obj["device"] or "auto"))
            if partial is not None:
                part = partial if len(datasets) == 1 else partial / dataset.name
                part.mkdir(exist_ok=True)
                write(part, report.comparison, documents[-1], tables)
            if not as_json:
                for table in tables:
                    output.print_table(table)
            _say(report, errors, arms[0])
            reports.append(report)
            failed = failed or bool(errors)
    if as_json:
        output.print_json(documents[0] if len(documents) == 1 else documents)
    if plot is not None:
        _draw(reports, plot)
    if failed:
        ctx.exit(1)


def _draw(reports: Sequence[Report], path: Path) -> None:
    """Draw what the run was about: rerankers and their time, or profiles."""
    from memstore.evaluation.plot import draw
    from memstore.evaluation.profile_plot import draw_profiles
    from memstore.evaluation.tables import comparison_table

    rerankers = {item.arm.reranker for report in reports for item in report.comparison.measured}
    if len(reports) > 1 or (len(rerankers) == 1 and len(reports[0].comparison.measured) > 1):
        draw_profiles(reports, path)
    else:
        comparison = reports[0].comparison
        draw(comparison, path, title=comparison_table(comparison, reports[0].dataset).title)


def _measure(
    ctx: click.Context,
    dataset: Dataset,
    arms: Sequence[Arm],
    plan: Plan,
    *,
    in_store: bool,
    encoder: str | None,
    timezone: tzinfo | None,
    how: Mapping[str, Any],
) -> tuple[Report, Sequence[LineError]]:
    """Return what came out, and the lines of the corpus that hold no memory."""
    from memstore.evaluation import ingest_corpus, measure, open_arms, temporary_store
    from memstore.store.opening import check_settings

    device, settings = ctx.obj["device"], check_settings(ctx.obj["settings"])
    with contextlib.ExitStack() as stack:
        store = (
            open_to_read(ctx)
            if in_store
            else stack.enter_context(
                temporary_store(encoder=encoder, device=device, settings=settings)
            )
        )
        # what is missing is said before the corpus is ingested, which may take hours
        opened = open_arms(store, arms, on_rerank_error=how["on_rerank_error"])
        progress = stack.enter_context(steps("reading"))
        errors: Sequence[LineError] = ()
        if not in_store:
            errors = ingest_corpus(
                store,
                dataset,
                namespace=how["namespace"],
                timezone=timezone,
                hot_tokens=settings.hot_tokens,
                progress=progress,
            ).errors
        return measure(store, dataset, opened, plan, **how, progress=progress), errors


def _say(report: Report, errors: Sequence[LineError], asked: Arm) -> None:
    """Say what is missing from the numbers, and what they are of."""
    from memstore.evaluation.known_keys import shown

    comparison = report.comparison
    for error in errors[:_SHOWN_ERRORS]:
        output.note(f"Error: {error}")
    if len(errors) > _SHOWN_ERRORS:
        output.note(f"… and {len(errors) - _SHOWN_ERRORS} more lines of the corpus")
    for item in comparison.left_out:
        output.note(f"left out: {item.arm}: {item.reason}")
    first = comparison.summaries()[0].arm
    if comparison.left_out and first != asked:
        output.note(f"the first arm was left out: differences are to {first}")
    if report.links is not None:
        output.note(f"linked: {report.links} old memories, by an oracle: the data set's own word")
    for stress in report.stressed:
        left_out = "left out: " if stress.comparison is None else ""
        output.note(f"{left_out}{stress.name}: {stress.note}")
    if comparison.unjudged:
        output.note(f"not asked: {comparison.unjudged} questions that nothing is relevant to")
    if comparison.unknown_keys:
        output.note(
            f"not in the store: {len(comparison.unknown_keys)} of the relevant keys, "
            f"{shown(comparison.unknown_keys)}; nobody can find them, and they count"
        )
