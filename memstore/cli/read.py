"""Commands that read the store: query, get, list, history, entities."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memstore.cli import output
from memstore.cli.options import (
    json_option,
    jsonl_option,
    namespace_option,
    open_store,
    timezone_option,
    where_option,
)
from memstore.errors import BadInput, MemstoreError
from memstore.settings import DEFAULT_LIMIT, DEFAULT_PROFILE
from memstore.times import from_microseconds, to_microseconds, zone

if TYPE_CHECKING:
    from memstore.store import MemoryStore
    from memstore.types import QueryResult

_WINDOW = 256  # queries of a file that are encoded together


@click.command()
@click.argument("text", required=False)
@click.option(
    "-k", "--limit", type=int, default=DEFAULT_LIMIT, show_default=True, help="Most hits."
)
@namespace_option
@where_option
@click.option(
    "--profile",
    default=DEFAULT_PROFILE,
    show_default=True,
    metavar="NAME",
    help="semantic, balanced, recent or trusted.",
)
@click.option("--as-of", metavar="TIME", help="What held then.")
@click.option("--known-at", metavar="TIME", help="Only what was recorded by then.")
@click.option("--now", metavar="TIME", help="The present, for ages and validity.")
@click.option("--max-tokens", type=int, help="Most tokens of all passages together.")
@click.option("--min-score", type=float, metavar="NATS")
@click.option("--explain", is_flag=True, help="Show what each score is made of.")
@click.option(
    "--queries",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="Answer a file of queries instead of TEXT.",
)
@timezone_option
@json_option
@jsonl_option
@click.pass_context
def query(
    ctx: click.Context,
    /,
    text: str | None,
    queries: Path | None,
    timezone: str | None,
    as_json: bool,
    as_jsonl: bool,
    **options: Any,
) -> None:
    """Ask the store. With --queries, one JSON line per query is printed."""
    if (text is None) == (queries is None):
        raise click.UsageError("Give a TEXT to ask for, or --queries FILE.jsonl.")
    place = zone(timezone) if timezone else None
    for name in ("now", "as_of", "known_at"):
        options[name] = _time(options[name], name, place)
    store = open_store(ctx)
    if queries is not None:
        _answer_file(ctx, store, queries, options, place)
        return
    assert text is not None
    result = store.query(text, **options)
    if as_json:
        output.print_json(result)
    elif as_jsonl:
        output.print_jsonl(result.hits)
    else:
        output.print_result(result, explain=options["explain"])


def _time(value: Any, name: str, place: Any) -> Any:
    if value is None:
        return None
    return from_microseconds(to_microseconds(value, name=name, timezone=place))


@dataclass(frozen=True, slots=True)
class _Line:
    """A query of a file: its id and text, and what it asks to differ from the command line."""

    id: str
    text: str
    options: tuple[tuple[str, Any], ...]


def _answer_file(
    ctx: click.Context, store: MemoryStore, path: Path, options: dict[str, Any], place: Any
) -> None:
    failed = False
    for window in _windows(_read_queries(path, place)):
        answers: dict[int, QueryResult] = {}
        groups: dict[tuple[tuple[str, Any], ...], list[int]] = {}
        for position, item in enumerate(window):
            if isinstance(item, _Line):
                groups.setdefault(item.options, []).append(position)
        for changed, positions in groups.items():
            lines = [
                line
                for line in (window[position] for position in positions)
                if isinstance(line, _Line)
            ]
            results = store.query_many([line.text for line in lines], **options | dict(changed))
            answers.update(zip(positions, results, strict=True))
        for position, item in enumerate(window):
            if isinstance(item, _Line):
                output.print_jsonl([_answer(item.id, answers[position])])
            else:
                failed = True
                output.note(f"Error: {item}")
    if failed:
        ctx.exit(1)


def _answer(query_id: str, result: QueryResult) -> dict[str, Any]:
    hits = []
    for hit in result.hits:
        item: dict[str, Any] = {
            "rank": hit.rank,
            "key": hit.memory.key,
            "id": hit.memory.id,
            "score": round(hit.score, 6),
            "text": hit.passage.text,
        }
        if hit.parts:
            item["parts"] = hit.parts
        hits.append(item)
    return {"query_id": query_id, "hits": hits, "took": result.took}


def _windows(items: Iterator[_Line | MemstoreError]) -> Iterator[list[_Line | MemstoreError]]:
    window: list[_Line | MemstoreError] = []
    for item in items:
        window.append(item)
        if len(window) == _WINDOW:
            yield window
            window = []
    if window:
        yield window


def _read_queries(path: Path, place: Any) -> Iterator[_Line | MemstoreError]:
    for number, raw in enumerate(path.read_bytes().splitlines(), start=1):
        if not raw.strip():
            continue
        try:
            yield _line(json.loads(raw.decode("utf-8")), number, place)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, BadInput) as error:
            yield BadInput(f"{path}:{number}: {error}")


def _line(item: Any, number: int, place: Any) -> _Line:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise BadInput("a query is a JSON object with a text.")
    if not item["text"].strip():
        raise BadInput("the query is empty.")
    options = {}
    scope = item.get("namespace", item.get("scope"))
    if scope is not None:
        options["namespace"] = scope
    now = item.get("now", item.get("timestamp"))
    if now is not None:
        options["now"] = _time(now, "now", place)
    if item.get("as_of") is not None:
        options["as_of"] = _time(item["as_of"], "as_of", place)
    if item.get("where") is not None:
        raise BadInput("where is not read from a file of queries; use --where for all of them.")
    return _Line(str(item.get("id", number)), item["text"], tuple(options.items()))


@click.command()
@click.argument("id_", metavar="ID_OR_KEY")
@namespace_option
@json_option
@click.pass_context
def get(ctx: click.Context, id_: str, namespace: str, as_json: bool) -> None:
    """Print a memory, by its id or its key."""
    from memstore.errors import MemoryNotFound

    store = open_store(ctx)
    try:
        memory = store.get(id_)
    except MemoryNotFound:
        memory = store.get_by_key(id_, namespace=namespace)
    if as_json:
        output.print_json(memory)
    else:
        shown = {
            name: value
            for name, value in output.plain(memory).items()
            if value not in (None, {}, [])
        }
        output.print_fields(shown)


@click.command(name="list")
@namespace_option
@where_option
@click.option("-k", "--limit", type=int, default=100, show_default=True)
@click.option("--cursor", metavar="CURSOR", help="Go on where the previous page ended.")
@json_option
@jsonl_option
@click.pass_context
def list_command(
    ctx: click.Context,
    namespace: str,
    where: Any,
    limit: int,
    cursor: str | None,
    as_json: bool,
    as_jsonl: bool,
) -> None:
    """List memories in the order they were stored."""
    page = open_store(ctx).list(namespace=namespace, where=where, limit=limit, cursor=cursor)
    if as_json:
        output.print_json(page)
    elif as_jsonl:
        output.print_jsonl(page.memories)
    else:
        output.print_memories(page.memories)
    if page.cursor is not None and not as_json:
        output.note(f"There is more: --cursor {page.cursor}")


@click.command()
@click.argument("id_", metavar="ID")
@json_option
@click.pass_context
def history(ctx: click.Context, id_: str, as_json: bool) -> None:
    """Print what happened to a memory."""
    events = open_store(ctx).history(id_)
    if as_json:
        output.print_json(events)
    else:
        output.print_events(events)


@click.command()
@click.argument("prefix", default="")
@namespace_option
@click.option("-k", "--limit", type=int, default=100, show_default=True)
@json_option
@click.pass_context
def entities(ctx: click.Context, prefix: str, namespace: str, limit: int, as_json: bool) -> None:
    """List the people, places and things that memories mention."""
    found = open_store(ctx).entities(namespace=namespace, prefix=prefix, limit=limit)
    if as_json:
        output.print_json(found)
    else:
        output.print_entities(found)
