"""Commands that read the store: query, get, list, history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from memstore.cli import output, progress
from memstore.cli.options import (
    json_option,
    jsonl_option,
    namespace_option,
    on_rerank_error_option,
    open_to_read,
    rerank_option,
    timezone_option,
    where_option,
)
from memstore.errors import BadInput
from memstore.json_input import json_lines
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
@rerank_option
@click.option("--rerank-depth", type=int, metavar="N", help="How many it scores (default: 20).")
@on_rerank_error_option
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
@click.option(
    "--temporal",
    type=click.Choice(["auto", "current", "historical", "none"]),
    default="auto",
    show_default=True,
    help="What TEXT asks for, where auto reads it from words such as now or originally.",
)
@click.option("--include-invalid", is_flag=True, help="Let in what does not hold, 4 nats lower.")
@click.option(
    "--undated",
    type=click.Choice(["keep", "drop"]),
    default="keep",
    show_default=True,
    help="What happened nobody knows when.",
)
@click.option("--newest-wins", is_flag=True, help="Of near-duplicates, the newest comes first.")
@click.option("--max-tokens", type=int, help="Most tokens of all hits as they are rendered.")
@click.option(
    "--near-duplicates",
    type=click.Choice(["keep", "drop"]),
    default="keep",
    show_default=True,
    help="Of hits that say the same but for case, spacing and punctuation.",
)
@click.option(
    "--render",
    type=click.Choice(["text", "markdown", "xml"]),
    help="Print the hits as a prompt takes them.",
)
@click.option(
    "--order",
    type=click.Choice(["score", "time"]),
    default="score",
    show_default=True,
    help="Of rendered hits.",
)
@click.option("--min-score", type=float, metavar="NATS")
@click.option(
    "--explain", is_flag=True, help="Show what each score is made of, and which tokens met."
)
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
    render: str | None,
    order: Literal["score", "time"],
    as_json: bool,
    as_jsonl: bool,
    **options: Any,
) -> None:
    """Ask the store. With --queries, one JSON line per query is printed, or --json of them all."""
    if (text is None) == (queries is None):
        raise click.UsageError("Give a TEXT to ask for, or --queries FILE.jsonl.")
    if render is not None:
        if queries is not None or as_json or as_jsonl:
            raise click.UsageError("--render is for one TEXT, without --json or --jsonl.")
        options["style"] = render
    elif order != "score":
        raise click.UsageError("--order is of hits that are rendered; add --render.")
    place = zone(timezone) if timezone else None
    for name in ("now", "as_of", "known_at"):
        options[name] = _time(options[name], name, place)
    store = open_to_read(ctx)
    if queries is not None:
        _answer_file(ctx, store, queries, options, place, as_json=as_json)
        return
    assert text is not None
    result = store.query(text, **options)
    if as_json:
        output.print_json(result)
    elif as_jsonl:
        output.print_jsonl(result.hits)
    elif render is not None:
        output.line(result.render(order=order))
    else:
        output.print_result(result, explain=options["explain"])


def _time(value: Any, name: str, place: Any) -> Any:
    if value is None:
        return None
    return from_microseconds(to_microseconds(value, name=name, timezone=place))


@dataclass(frozen=True, slots=True)
class _Line:
    """A query of a file: its id and text, and what it asks to differ from the command line."""

    place: str
    id: str
    text: str
    options: dict[str, Any]

    def error(self, error: BadInput) -> BadInput:
        return BadInput(f"{self.place}: {error}")


def _answer_file(
    ctx: click.Context,
    store: MemoryStore,
    path: Path,
    options: dict[str, Any],
    place: Any,
    *,
    as_json: bool,
) -> None:
    document = []
    store.query_many([], **options)  # what is wrong with the command line is not said per line
    failed = False
    with progress.counting("queries") as options["progress"]:
        for window in _windows(_read_queries(path, place)):
            for item, result in zip(window, _answers(store, window, options), strict=True):
                if isinstance(item, _Line) and not isinstance(result, BadInput):
                    answer = _answer(item.id, result)
                    if as_json:
                        document.append(answer)
                    else:
                        output.print_jsonl([answer])
                else:
                    failed = True
                    output.note(f"Error: {result}")
    if as_json:
        output.print_json(document)
    if failed:
        ctx.exit(1)


def _answers(
    store: MemoryStore, window: list[_Line | BadInput], options: dict[str, Any]
) -> list[QueryResult | BadInput]:
    """Return the answer to each query; those that ask for the same are encoded together."""
    answers: dict[int, QueryResult | BadInput] = {}
    groups: dict[str, dict[int, _Line]] = {}
    for position, item in enumerate(window):
        if isinstance(item, _Line):
            # by repr: what is not hashable is for the store to refuse
            groups.setdefault(repr(item.options), {})[position] = item
        else:
            answers[position] = item
    for group in groups.values():
        lines = list(group.values())
        try:
            found = store.query_many([line.text for line in lines], **options | lines[0].options)
            answers.update(zip(group, found, strict=True))
        except BadInput:
            answers.update((at, _answer_alone(store, line, options)) for at, line in group.items())
    return [answers[position] for position in range(len(window))]


def _answer_alone(
    store: MemoryStore, line: _Line, options: dict[str, Any]
) -> QueryResult | BadInput:
    try:
        return store.query_many([line.text], **options | line.options)[0]
    except BadInput as error:
        return line.error(error)


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
        if hit.token_matches:
            item["token_matches"] = hit.token_matches
        hits.append(item)
    answer = {"query_id": query_id, "hits": hits, "took": result.took}
    if result.rerank_error is not None:
        answer["rerank_error"] = result.rerank_error
    return answer


def _windows(items: Iterator[_Line | BadInput]) -> Iterator[list[_Line | BadInput]]:
    window: list[_Line | BadInput] = []
    for item in items:
        window.append(item)
        if len(window) == _WINDOW:
            yield window
            window = []
    if window:
        yield window


def _read_queries(path: Path, place: Any) -> Iterator[_Line | BadInput]:
    with path.open("rb") as lines:
        for number, item in json_lines(lines):
            try:
                yield _line(item, f"{path}:{number}", number, place)
            except BadInput as error:
                yield BadInput(f"{path}:{number}: {error}")


def _line(item: Any, where: str, number: int, place: Any) -> _Line:
    if isinstance(item, BadInput):
        raise item
    if not isinstance(item, dict) or item.get("text") is None:
        raise BadInput("a query is a JSON object with a text.")
    if item.get("where") is not None:
        raise BadInput("where is not read from a file of queries; use --where for all of them.")
    id_ = _first(item, "id")
    if id_ is not None and not isinstance(id_, (str, int, float)):
        raise BadInput(f"id is {type(id_).__name__}; give a string.")
    asked = {
        "namespace": _first(item, "namespace", "scope"),
        "now": _time(_first(item, "now", "timestamp"), "now", place),
        "as_of": _time(_first(item, "as_of"), "as_of", place),
    }
    return _Line(
        place=where,
        id=str(number if id_ is None else id_),
        text=item["text"],
        options={name: value for name, value in asked.items() if value is not None},
    )


def _first(item: dict[str, Any], *names: str) -> Any:
    """Return the first of several fields that has a value: null is no value."""
    return next((item[name] for name in names if item.get(name) is not None), None)


@click.command()
@click.argument("id_", metavar="ID_OR_KEY")
@namespace_option
@json_option
@click.pass_context
def get(ctx: click.Context, id_: str, namespace: str, as_json: bool) -> None:
    """Print a memory, by its id or its key."""
    from memstore.errors import MemoryNotFound

    store = open_to_read(ctx)
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
@click.option("--newest-first", is_flag=True, help="What was stored last comes first.")
@json_option
@jsonl_option
@click.pass_context
def list_command(ctx: click.Context, /, as_json: bool, as_jsonl: bool, **options: Any) -> None:
    """List memories in the order they were stored."""
    page = open_to_read(ctx).list(**options)
    if as_json:
        output.print_json(page)
    elif as_jsonl:
        output.print_jsonl(page.memories)
    else:
        output.print_memories(page.memories)
    if page.cursor is not None and not as_json:
        output.note(f"There is more: --cursor {page.cursor}")


@click.command()
@click.argument("under", metavar="[PATH]", default="*")
@json_option
@click.pass_context
def namespaces(ctx: click.Context, under: str, as_json: bool) -> None:
    """List the namespaces that hold memories, PATH and those below it or all."""
    found = open_to_read(ctx).namespaces(under=under)
    if as_json:
        output.print_json(found)
    else:
        output.print_namespaces(found)


@click.command()
@click.argument("id_", metavar="ID")
@json_option
@click.pass_context
def history(ctx: click.Context, id_: str, as_json: bool) -> None:
    """Print what happened to a memory."""
    events = open_to_read(ctx).history(id_)
    if as_json:
        output.print_json(events)
    else:
        output.print_events(events)
