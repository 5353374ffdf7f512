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
from memstore.settings import DEFAULT_LIMIT, DEFAULT_PROFILE
from memstore.times import from_microseconds, to_microseconds, zone

if TYPE_CHECKING:
    from datetime import tzinfo

    from memstore.evaluation import Arm, Comparison, Dataset
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
@click.argument("path", metavar="DATASET", type=click.Path(exists=True, path_type=Path))
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
@click.option("--plot", type=_FILE, metavar="FILE.svg|png", help="Also draw nDCG@10 and time.")
@json_option
@click.pass_context
def evaluate(ctx: click.Context, /, **options: Any) -> None:
    """Measure which reranker and which profile answer best, on questions with known answers.

    DATASET is a folder with corpus.jsonl, queries.jsonl and qrels.tsv: its corpus is ingested into
    a temporary store. Or it is a JSONL file of questions to the store: objects with "text" and
    "relevant", the keys of the memories that answer it.

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
    path: Path,
    rerankers: Sequence[str],
    profiles: Sequence[str],
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
    from memstore.evaluation import combined, read_dataset, sample
    from memstore.evaluation.artefacts import document, new_folder, write
    from memstore.evaluation.plot import check_plot, draw
    from memstore.evaluation.tables import comparison_table

    in_store = in_store or path.is_file()
    if in_store and encoder is not None:
        raise click.UsageError("--encoder is that of a temporary store, and here yours is asked.")
    place = zone(timezone) if timezone else None
    if how["now"] is not None:
        how["now"] = from_microseconds(to_microseconds(how["now"], name="now", timezone=place))
    arms = combined(rerankers, profiles)
    if plot is not None:
        check_plot(plot)
        if folder is not None and folder.resolve() == plot.resolve():
            raise click.UsageError("--output and --plot name the same path.")
    dataset = read_dataset(path, timezone=place, needs_corpus=not in_store)
    if limit_queries is not None:
        chosen = sample(dataset.questions, limit_queries, seed=how["seed"])
        dataset = dataclasses.replace(dataset, questions=tuple(chosen))
    with new_folder(folder) if folder is not None else contextlib.nullcontext() as partial:
        comparison, errors = _compare(
            ctx, dataset, arms, in_store=in_store, encoder=encoder, timezone=place, how=how
        )
        summary = document(comparison, dataset=dataset.name, device=ctx.obj["device"] or "auto")
        categories = [None, *comparison.categories] if by_category else [None]
        tables = [comparison_table(comparison, dataset.name, name) for name in categories]
        if partial is not None:
            write(partial, comparison, summary, tables)
    if as_json:
        output.print_json(summary)
    else:
        for table in tables:
            output.print_table(table)
    _say(comparison, errors, arms[0])
    if plot is not None:
        draw(comparison, plot, title=tables[0].title)
    if errors:
        ctx.exit(1)


def _compare(
    ctx: click.Context,
    dataset: Dataset,
    arms: Sequence[Arm],
    *,
    in_store: bool,
    encoder: str | None,
    timezone: tzinfo | None,
    how: Mapping[str, Any],
) -> tuple[Comparison, Sequence[LineError]]:
    """Return the comparison, and the lines of the corpus that hold no memory."""
    from memstore.evaluation import compare, ingest_corpus, open_arms, temporary_store
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
        return compare(store, dataset.questions, opened, **how, progress=progress), errors


def _say(comparison: Comparison, errors: Sequence[LineError], asked: Arm) -> None:
    """Say what is missing from the numbers."""
    from memstore.evaluation.known_keys import shown

    for error in errors[:_SHOWN_ERRORS]:
        output.note(f"Error: {error}")
    if len(errors) > _SHOWN_ERRORS:
        output.note(f"… and {len(errors) - _SHOWN_ERRORS} more lines of the corpus")
    for item in comparison.left_out:
        output.note(f"left out: {item.arm}: {item.reason}")
    first = comparison.summaries()[0].arm
    if comparison.left_out and first != asked:
        output.note(f"the first arm was left out: differences are to {first}")
    if comparison.unjudged:
        output.note(f"not asked: {comparison.unjudged} questions that nothing is relevant to")
    if comparison.unknown_keys:
        output.note(
            f"not in the store: {len(comparison.unknown_keys)} of the relevant keys, "
            f"{shown(comparison.unknown_keys)}; nobody can find them, and they count"
        )
