"""What the commands print: JSON for programs, tables for people. The only module that prints."""

from __future__ import annotations

import codecs
import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from memstore.times import iso
from memstore.types import Memory

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table

    from memstore.evaluation.tables import Table as NumberTable
    from memstore.types import (
        Entity,
        Event,
        Hit,
        LineError,
        Namespace,
        Neighbour,
        QueryResult,
        Source,
        TokenMatch,
    )

_TEXT_WIDTH = 400  # characters of a passage in a table; --json has all of it
_ID_WIDTH = 26
_KEY_WIDTH = 24
_TOKEN_WIDTH = 24  # a token is some characters, unless a text is one word of thousands
_SHOWN_MATCHES = 5
_SHOWN_ERRORS = 20
_BAR_WIDTH = 4  # columns on each side of a bar's middle
_PIPED_WIDTH = 120  # columns of a table: piped output has no width of its own

# what a terminal obeys instead of showing: C0 but tab and newline, DEL, C1
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROL_IN_JSON = re.compile(r"[\x7f-\x9f]")  # json escapes the others


def harmless(text: str) -> str:
    """Return a text as a terminal may show it: stored texts are anyone's.

    >>> harmless("a\\x1b[2Jb")
    'a�[2Jb'
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: dataclasses as objects, times as ISO-8601 with Z."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        written = {
            item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)
        }
        if isinstance(value, Memory):
            written["version"] = value.version
        return written
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """Print one document."""
    click.echo(_json(value, indent=2))


def print_jsonl(values: Iterable[Any]) -> None:
    """Print one line per value."""
    for value in values:
        click.echo(_json(value))


def _json(value: Any, indent: int | None = None) -> str:
    written = json.dumps(plain(value), ensure_ascii=not _prints_utf8(), indent=indent)
    return _CONTROL_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def _prints_utf8() -> bool:
    encoding = getattr(sys.stdout, "encoding", None)
    return encoding is not None and codecs.lookup(encoding).name == "utf-8"


def line(text: str) -> None:
    """Print a line for people."""
    click.echo(harmless(text))


def note(text: str) -> None:
    """Say something that is no data."""
    click.echo(harmless(text), err=True)


def errors(found: Sequence[LineError]) -> None:
    """Say which inputs could not be stored, the first of many."""
    for error in found[:_SHOWN_ERRORS]:
        note(f"Error: {error}")
    if len(found) > _SHOWN_ERRORS:
        note(f"… and {len(found) - _SHOWN_ERRORS} more errors; --json lists them all")


def print_result(result: QueryResult, *, explain: bool) -> None:
    """Print the hits of one query as a table."""
    table = _table("#", "score", "when", "memory")
    for hit in result.hits:
        text = shortened(hit.passage.text)
        if hit.memory.title:
            text = f"{hit.memory.title}: {text}"
        if hit.status != "current":
            text = f"({hit.status}) {text}"
        if explain:
            text = "\n  ".join([text, *_explained(hit)])
        _add_row(table, str(hit.rank), f"{hit.score:.2f}", _when(hit.memory), text)
    _print_table(table, empty="Nothing found.")
    for left_out in result.dropped:
        why = left_out.reason.replace("_", " ")
        of = f" of {left_out.like}" if left_out.like else f", {left_out.tokens} tokens"
        note(f"left out: {shortened(left_out.memory.text)!r} ({why}{of})")
    for item in result.suppressed:
        note(f"not shown: {shortened(item.memory.text)!r} ({item.reason})")
    if result.temporal is not None:
        cue = result.temporal
        note(f"read as {cue.kind}: {cue.cue!r}")
        if cue.suggested_as_of is not None:
            note(f"what held then: --as-of {iso(cue.suggested_as_of)}")
    for flag in result.flags:
        because = f": {result.rerank_error}" if flag == "rerank_skipped" else ""
        note(f"note: {flag.replace('_', ' ')}{because}")


def _explained(hit: Hit) -> list[str]:
    """Return what a hit's score is made of, a line each, with bars for what was added to
    relevance.
    """
    cap = 0.0 if hit.explanation is None else hit.explanation.cap
    lines = []
    for part in hit.parts:
        # a part of relevance may be any number; of the others the cap says how long a bar is
        drawn = _bar(part.nats / cap if part.weight is not None and cap else 0.0)
        lines.append(f"{part.nats:+.2f} {drawn} {part.name}: {part.why}")
    if hit.explanation is not None and hit.explanation.semantic_rank != hit.rank:
        lines.append(f"by relevance alone: rank {hit.explanation.semantic_rank}")
    if hit.token_matches:
        lines.append(f"tokens: {_strongest(hit.token_matches)}")
    return lines


def _bar(share: float) -> str:
    """Draw a share from -1 to 1 in nine columns, to the left of the middle or to the right.

    >>> [_bar(share) for share in (0.5, -1.0, 0.0)]
    ['    ┃██  ', '████┃    ', '    ┃    ']
    """
    filled = min(round(abs(share) * _BAR_WIDTH), _BAR_WIDTH)
    drawn = "█" * filled
    left, right = ("", drawn) if share > 0 else (drawn, "")
    return f"{left:>{_BAR_WIDTH}}┃{right:<{_BAR_WIDTH}}"


def print_ranked(hits: Iterable[Hit], lines: Sequence[int]) -> None:
    """Print documents that are not stored as a table, by their keys or the lines they stand in."""
    table = _table("#", "score", "document", "memory")
    for hit in hits:
        place = hit.memory.key or f"line {lines[hit.index or 0]}"
        _add_row(table, str(hit.rank), f"{hit.score:.2f}", place, shortened(hit.passage.text))
    _print_table(table, empty="Nothing to rank.")


def _strongest(matches: Iterable[TokenMatch]) -> str:
    """Return the matches that give most to the score, the first first."""
    counted = [match for match in matches if match.weight > 0]
    counted.sort(key=lambda match: -match.weight * match.similarity)
    shown = [
        f"{shortened(match.query_token, _TOKEN_WIDTH)}→"
        f"{shortened('+'.join((match.passage_token, *match.pooled_with)), _TOKEN_WIDTH)} "
        f"{_two_digits(match.similarity)}"
        for match in counted[:_SHOWN_MATCHES]
    ]
    return ", ".join(shown) + (" …" if len(counted) > len(shown) else "")


def _two_digits(similarity: float) -> str:
    """Write a number of at most 1 without its zero.

    >>> [_two_digits(value) for value in (0.814, -0.05, 1.0)]
    ['.81', '-.05', '1.00']
    """
    return f"{similarity:.2f}".replace("0.", ".")


def print_memories(memories: Iterable[Memory]) -> None:
    """Print memories as a table."""
    table = _table("id", "when", "key", "memory")
    for item in memories:
        _add_row(table, item.id, _when(item), item.key or "", shortened(item.text))
    _print_table(table, empty="No memories.")


def print_namespaces(namespaces: Iterable[Namespace]) -> None:
    """Print namespaces as a table."""
    table = _table("namespace", "memories")
    for item in namespaces:
        _add_row(table, item.name, str(item.memories))
    _print_table(table, empty="No memories.")


def print_entities(entities: Iterable[Entity]) -> None:
    """Print entities as a table."""
    table = _table("entity", "label", "memories", "aliases")
    for item in entities:
        names = ", ".join(item.aliases)
        _add_row(table, item.name, item.label or "", str(item.memories), names)
    _print_table(table, empty="No entities.")


def print_neighbours(neighbours: Iterable[Neighbour]) -> None:
    """Print what is mentioned together with an entity as a table."""
    table = _table("entity", "label", "together", "memories", "tie")
    for item in neighbours:
        counts = (str(item.together), str(item.memories))
        _add_row(table, item.name, item.label or "", *counts, f"{item.npmi:.2f}")
    _print_table(table, empty="Nothing is mentioned together with it twice.")


def print_sources(sources: Iterable[Source]) -> None:
    """Print sources as a table."""
    table = _table("source", "reliability", "vote weight", "memories")
    for item in sources:
        numbers = (f"{item.reliability:g}", f"{item.vote_weight:g}", str(item.memories))
        _add_row(table, item.name, *numbers)
    _print_table(table, empty="No sources.")


def print_events(events: Iterable[Event]) -> None:
    """Print a memory's history as a table."""
    table = _table("recorded", "what", "source", "details")
    for item in events:
        details = json.dumps(plain(item.details), ensure_ascii=False) if item.details else ""
        _add_row(table, iso(item.recorded_at), item.verb, item.source or "", details)
    _print_table(table, empty="No events.")


def print_table(numbers: NumberTable) -> None:
    """Print a table of numbers, under its title."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for place, name in enumerate(numbers.columns):
        justify: JustifyMethod = "left" if place < numbers.text_columns else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for row in numbers.rows:
        _add_row(table, *row)
    line(numbers.title)
    # a terminal that is too narrow wraps the lines, where rich would cut off digits
    unbounded = Console(width=10_000)
    needed = Measurement.get(unbounded, unbounded.options, table).maximum
    Console(width=needed, highlight=False).print(table)
    if numbers.legend is not None:
        line(numbers.legend)


def print_fields(values: Mapping[str, Any]) -> None:
    """Print names and values, one per line."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        # indented, so that no line of a text can pass for a field of its own
        shown = harmless(str(plain(value))).replace("\n", "\n" + " " * (width + 2))
        click.echo(f"{name.replace('_', ' '):<{width}}  {shown}")


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for name in columns:
        # what is read takes the room there is; a long key gives way; an id is never cut
        wide = name in ("memory", "details")
        table.add_column(
            name,
            overflow="ellipsis" if name == "key" else "fold",
            no_wrap=not wide,
            ratio=1 if wide else None,
            min_width={"id": _ID_WIDTH, "memory": 20}.get(name),
            max_width=_KEY_WIDTH if name == "key" else None,
        )
    return table


def _print_table(table: Table, *, empty: str) -> None:
    if not table.row_count:
        note(empty)
        return
    from rich.console import Console

    piped = sys.stdout is None or not sys.stdout.isatty()
    Console(width=_PIPED_WIDTH if piped else None, highlight=False).print(table)


def _add_row(table: Table, *cells: str) -> None:
    from rich.text import Text

    # Text and not str, in which rich would find [markup] and :emoji: codes
    table.add_row(*(Text(harmless(cell)) for cell in cells))


def shortened(text: str, width: int = _TEXT_WIDTH) -> str:
    """Return a text on one line, cut to a width."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _when(memory: Memory) -> str:
    if memory.precision == "unknown":
        return "unknown"
    form = {"year": "%Y", "month": "%Y-%m"}.get(memory.precision, "%Y-%m-%d")
    return (memory.occurred_at or memory.recorded_at).strftime(form)
