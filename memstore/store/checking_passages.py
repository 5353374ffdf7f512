"""Passages: whether they cover the texts with sound vectors, and making them anew."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, select

from memstore.catalog import vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.tables import hot_vector, memory, passage
from memstore.store.encoding import Encodings, Written
from memstore.store.opening import OpenStore
from memstore.store.rereading import as_written, reread

_BATCH = 256  # memories read or encoded at once
_NONE: tuple[float, Iterable[Any]] = (math.inf, ())  # behind the last memory's passages


def broken_passages(connection: Connection, dim: int) -> dict[int, str]:
    """Return memory row → what is wrong with its passages or their vectors."""
    texts = connection.execute(
        select(memory.c.row, memory.c.id, memory.c.text, memory.c.forgotten_at).order_by(
            memory.c.row
        )
    ).yield_per(_BATCH)
    passages = connection.execute(
        select(
            *(passage.c[name] for name in ("memory_row", "ordinal", "start", "end", "segment_id")),
            hot_vector,
        )
        .join(memory, memory.c.row == passage.c.memory_row)  # what has no memory is an orphan
        .outerjoin(hot_vector, hot_vector.c.passage_id == passage.c.id)
        .order_by(memory.c.row, passage.c.ordinal)
    ).yield_per(_BATCH)
    groups = itertools.groupby(passages, key=lambda row: row.memory_row)
    row, own = next(groups, _NONE)
    broken: dict[int, str] = {}
    for item in texts:
        while row < item.row:
            row, own = next(groups, _NONE)
        wrong = _wrong_passages(item, own if row == item.row else (), dim)
        if wrong is not None:
            broken[item.row] = f"memory {item.id}{wrong}"
    return broken


def _wrong_passages(item: Any, passages: Iterable[Any], dim: int) -> str | None:
    covered = 0
    for own in passages:
        place = f", passage {own.ordinal}"
        if item.forgotten_at is not None:
            return f"{place}: the memory is forgotten"
        if not 0 <= own.start < own.end <= len(item.text):
            return f"{place}: characters {own.start} to {own.end}"
        if item.text[covered : own.start].strip():
            return f"{place}: characters before it are in no passage"
        if own.segment_id is not None and own.passage_id is not None:
            return f"{place}: it is sealed, and has hot vectors too"
        if own.segment_id is None and (wrong := _wrong_vectors(own, dim)):
            return f"{place}: {wrong}"
        covered = own.end
    if item.forgotten_at is None and item.text[covered:].strip():
        return ": its text is not in passages to the end"
    return None


def _wrong_vectors(row: object, dim: int) -> str | None:
    codes, scales = getattr(row, "codes", None), getattr(row, "scales", None)
    tokens = getattr(row, "tokens", None)
    if codes is None or scales is None or tokens is None:
        return "it has no vectors"
    if tokens < 1 or len(codes) != tokens * dim or len(scales) != tokens * 4:
        return f"its vectors are not {tokens} x {dim}"
    if vectors.checksum(codes, scales) != getattr(row, "checksum", None):
        return "its vectors do not match their checksum"
    return None


def reencode(opened: OpenStore, rows: Sequence[int], now: int) -> None:
    """Make the passages of memories anew; forgotten ones only lose theirs.

    Batches are transactions. An interruption leaves some memories with new, hot passages and the
    others as they were: the damage is still there for the next repair, which goes on.
    """
    for start in range(0, len(rows), _BATCH):
        _reencode_batch(opened, rows[start : start + _BATCH], now)


def _reencode_batch(opened: OpenStore, rows: Sequence[int], now: int) -> None:
    with reading(opened.engine, opened.path) as connection:
        written = as_written(connection, rows, opened.session_context)
    encodings = Encodings(opened.encoder, opened.vector_settings, written.values())
    with writing(opened.engine, opened.path) as connection:
        opened.check_encoder(connection, encodings.encoder, encodings.settings)
        current = as_written(connection, rows, opened.session_context)
        # a text that was changed meanwhile got new passages by that
        same = [row for row in rows if _texts(current.get(row)) in (None, _texts(written.get(row)))]
        reread(opened, connection, same, encodings, verb="repair", now=now)


def _texts(written: Written | None) -> tuple[str, str | None] | None:
    return None if written is None else (written.text, written.title)
