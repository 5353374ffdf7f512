"""The command `rank`: texts from a file or standard input, in the order of their relevance."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from memstore.cli import output, progress
from memstore.cli.lines import standard_input
from memstore.cli.options import (
    json_option,
    jsonl_option,
    on_rerank_error_option,
    open_to_read,
    rerank_option,
)
from memstore.errors import BadInput
from memstore.json_input import bounded_lines, json_lines, too_long

_PLACE = re.compile(r"^Document (\d+): ")


@click.command()
@click.argument("text")
@click.argument("documents", metavar="FILE|-")
@rerank_option
@on_rerank_error_option
@click.option("-k", "--limit", type=int, help="Most documents; all of them by default.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "jsonl"]),
    help="One document per line, or objects with a text; by the file's suffix otherwise.",
)
@json_option
@jsonl_option
@click.pass_context
def rank(
    ctx: click.Context,
    /,
    text: str,
    documents: str,
    format_: str | None,
    as_json: bool,
    as_jsonl: bool,
    **options: Any,
) -> None:
    """Rank documents that are not stored, with the store's encoder or a reranker.

    Stores nothing. FILE holds one document per line, or JSON objects (.jsonl) of which text, title,
    speaker and key (or id) are read.
    """
    jsonl = format_ == "jsonl" or (format_ is None and documents.endswith(".jsonl"))
    with _lines(documents) as lines:
        found = _objects(lines, documents) if jsonl else _texts(lines, documents)
    store = open_to_read(ctx)
    try:
        with progress.counting("texts read") as told:
            hits = store.rank(text, list(found.values()), progress=told, **options)
    except BadInput as error:  # by its line, not by its place among those that are not blank
        numbers = list(found)
        raise BadInput(
            _PLACE.sub(lambda at: f"{documents}:{numbers[int(at[1])]}: ", str(error))
        ) from error
    if as_json:
        output.print_json(hits)
    elif as_jsonl:
        output.print_jsonl(hits)
    else:
        output.print_ranked(hits, list(found))
    if hits and hits[0].rerank_error is not None:
        output.note(f"note: rerank skipped: {hits[0].rerank_error}")


@contextlib.contextmanager
def _lines(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield standard_input()
        return
    try:
        with Path(source).open("rb") as file:
            yield file
    except OSError as error:
        raise BadInput(f"{source} cannot be read: {error.strerror}.") from error


def _texts(lines: BinaryIO, source: str) -> dict[int, Any]:
    """Return the texts by the numbers of their lines."""
    texts = {}
    for number, line in enumerate(bounded_lines(lines), start=1):
        if line is None:
            raise BadInput(f"{source}:{number}: {too_long()}")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise BadInput(f"{source} is not UTF-8. Convert it to UTF-8.") from error
        if text:
            texts[number] = text
    return texts


def _objects(lines: BinaryIO, source: str) -> dict[int, Any]:
    """Return what memories have by the numbers of their lines; `id` is a key, as in an ingest."""
    found: dict[int, Any] = {}
    for number, item in json_lines(lines):
        if isinstance(item, BadInput):
            raise BadInput(f"{source}:{number}: {item}") from item
        if not isinstance(item, dict):
            raise BadInput(f"{source}:{number}: a document is a JSON object with a text.")
        read = {name: item[name] for name in ("text", "title", "speaker") if name in item}
        key = item.get("key") if item.get("key") is not None else item.get("id")
        found[number] = read | {"key": key if key is None else str(key)}
    return found
