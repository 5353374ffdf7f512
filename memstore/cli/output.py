"""What the commands print: JSON for programs, tables for people. The only module that prints."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from memstore.times import iso

if TYPE_CHECKING:
    from rich.table import Table

    from memstore.types import Entity, Event, Memory, QueryResult

_TEXT_WIDTH = 200  # characters of a passage in a table; --json has all of it


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: dataclasses as objects, times as ISO-8601 with Z."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
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
    click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2))


def print_jsonl(values: Iterable[Any]) -> None:
    """Print one line per value."""
    for value in values:
        click.echo(json.dumps(plain(value), ensure_ascii=False))


def note(text: str) -> None:
    """Say something that is no data."""
    click.echo(text, err=True)


def print_result(result: QueryResult, *, explain: bool) -> None:
    """Print the hits of one query as a table."""
    table = _table("#", "score", "when", "memory")
    for hit in result.hits:
        text = _shortened(hit.passage.text)
        if hit.memory.title:
            text = f"{hit.memory.title}: {text}"
        if explain:
            parts = "\n".join(f"  {part.nats:+.2f} {part.name}: {part.why}" for part in hit.parts)
            text = f"{text}\n{parts}"
        table.add_row(str(hit.rank), f"{hit.score:.2f}", _when(hit.memory), _escaped(text))
    _print_table(table, empty="Nothing found.")
    for item in result.suppressed:
        note(f"not shown: {_shortened(item.memory.text)!r} ({item.reason})")
    for flag in result.flags:
        note(f"note: {flag.replace('_', ' ')}")


def print_memories(memories: Iterable[Memory]) -> None:
    """Print memories as a table."""
    table = _table("id", "when", "key", "memory")
    for item in memories:
        row = (item.id, _when(item), item.key or "", _shortened(item.text))
        table.add_row(*(_escaped(cell) for cell in row))
    _print_table(table, empty="No memories.")


def print_entities(entities: Iterable[Entity]) -> None:
    """Print entities as a table."""
    table = _table("entity", "label", "memories")
    for item in entities:
        table.add_row(_escaped(item.name), item.label or "", str(item.memories))
    _print_table(table, empty="No entities.")


def print_events(events: Iterable[Event]) -> None:
    """Print a memory's history as a table."""
    table = _table("recorded", "what", "source", "details")
    for item in events:
        details = json.dumps(plain(item.details), ensure_ascii=False) if item.details else ""
        row = (iso(item.recorded_at), item.verb, item.source or "", details)
        table.add_row(*(_escaped(cell) for cell in row))
    _print_table(table, empty="No events.")


def print_fields(values: Mapping[str, Any]) -> None:
    """Print names and values, one per line."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {plain(value)}")


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for name in columns:
        wide = name in ("memory", "details")
        table.add_column(name, overflow="fold", no_wrap=not wide, ratio=1 if wide else None)
    return table


def _print_table(table: Table, *, empty: str) -> None:
    if not table.row_count:
        note(empty)
        return
    from rich.console import Console

    # piped output has no width of its own
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_WIDTH else f"{line[: _TEXT_WIDTH - 1]}…"


def _when(memory: Memory) -> str:
    return (memory.occurred_at or memory.recorded_at).strftime("%Y-%m-%d")
