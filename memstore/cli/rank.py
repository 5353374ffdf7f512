"""The command `rank`: texts from a file or standard input, in the order of their relevance."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from memstore.cli import output
from memstore.cli.lines import json_lines, standard_input
from memstore.cli.options import (
    json_option,
    jsonl_option,
    on_rerank_error_option,
    open_to_read,
    rerank_option,
)
from memstore.errors import BadInput


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

    Stores nothing. FILE holds one document per line, or JSON objects (.jsonl) with a text and
    what else a memory may have.
    """
    jsonl = format_ == "jsonl" or (format_ is None and documents.endswith(".jsonl"))
    with _lines(documents) as lines:
        found = _objects(lines, documents) if jsonl else _texts(lines, documents)
    hits = open_to_read(ctx).rank(text, found, **options)
    if as_json:
        output.print_json(hits)
    elif as_jsonl:
        output.print_jsonl(hits)
    else:
        output.print_ranked(hits)


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


def _texts(lines: BinaryIO, source: str) -> list[str]:
    try:
        texts = [line.decode("utf-8-sig").strip() for line in lines]
    except UnicodeDecodeError as error:
        raise BadInput(f"{source} is not UTF-8. Convert it to UTF-8.") from error
    return [text for text in texts if text]


def _objects(lines: BinaryIO, source: str) -> list[Any]:
    found = []
    for number, item in json_lines(lines):
        if isinstance(item, BadInput):
            raise BadInput(f"{source}:{number}: {item}") from item
        found.append(item)
    return found
