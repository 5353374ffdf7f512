"""Exports: every live memory with its history as JSONL; `importing` reads them."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, func, select

from memstore.catalog import aliases, feedback, links, log, memories
from memstore.catalog.engine import reading
from memstore.catalog.tables import SCHEMA_VERSION, memory, source
from memstore.errors import BadInput, StoreUnwritable
from memstore.index import sync_folder
from memstore.private_files import create_file
from memstore.store.opening import OpenStore
from memstore.times import from_microseconds, iso

FORMAT = "memstore-export"
FORMAT_VERSION = 2
TIMES = (
    *("recorded_at", "occurred_at", "t_end", "observed_at"),
    *("valid_from", "valid_to", "expired_at"),
)


def new_path(destination: str | os.PathLike[str], kind: str) -> Path:
    """Return the path of a copy, refusing one that is taken, be it by a broken link."""
    target = Path(destination)
    if os.path.lexists(target):
        raise BadInput(f"{target} exists already. Give the path of a new {kind}.")
    return target


def export(opened: OpenStore, destination: str | os.PathLike[str]) -> int:
    """Write every live memory with its history as JSONL and return their number.

    The first line names the format, the schema, the encoder, the number of memories, the sources of
    which it was said how far they are believed, and the aliases of names; then one memory per line.
    The file appears whole or not at all, and only its owner may read it.

    Raises:
        BadInput: the destination exists.
        StoreUnwritable: it cannot be written.
    """
    target = new_path(destination, "file")
    try:
        with _partial(target) as (partial, file):
            count = _write(opened, file)
            partial.rename(target)
    except OSError as error:
        raise StoreUnwritable(f"The export to {target} failed: {error.strerror}.") from error
    sync_folder(target.parent)
    return count


@contextlib.contextmanager
def _partial(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield a new private file beside the target; it is removed if it is still there at the end."""
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    file = create_file(partial)
    try:
        yield partial, file
    finally:
        partial.unlink(missing_ok=True)


def _write(opened: OpenStore, file: BinaryIO) -> int:
    with io.TextIOWrapper(file, encoding="utf-8") as out:
        with reading(opened.engine, opened.path) as connection:
            paths = memories.namespaces_under(connection, "*")
            header = {
                "format": FORMAT,
                "version": FORMAT_VERSION,
                "schema": SCHEMA_VERSION,
                "encoder": opened.identity.name,
                "memories": connection.scalar(select(func.count()).where(memories.live)),
                "sources": [
                    {"name": name, "said": said}
                    for name, _, _ in feedback.named_sources(connection)
                    if (said := _said_of(connection, name))
                ],
                "aliases": [
                    {"namespace": path, "alias": alias, "canon": canon}
                    for path, alias, canon in map(tuple, aliases.aliases(connection, paths))
                ],
            }
            out.write(json.dumps(header) + "\n")
            count = 0
            for item in _exported(connection):
                out.write(json.dumps(item, ensure_ascii=False) + "\n")
                count += 1
        out.flush()
        os.fsync(out.fileno())
    return count


def _said_of(connection: Connection, name: str) -> list[dict[str, Any]]:
    """Return how far a source was believed, from when on."""
    return [
        {
            "recorded_at": iso(from_microseconds(at)),
            "reliability": known.prior,
            "vote_weight": known.vote,
        }
        for at, known in feedback.reliability_history(connection, name)
    ]


def _exported(connection: Connection) -> Iterator[dict[str, Any]]:
    paths = memories.namespaces_under(connection, "*")
    names: dict[int, str] = {
        row.id: row.name for row in connection.execute(select(source.c.id, source.c.name))
    }
    rows = connection.execute(select(memory).where(memories.live).order_by(memory.c.row))
    for row in rows:
        times = {
            name: None if (value := getattr(row, name)) is None else iso(from_microseconds(value))
            for name in TIMES
        }
        yield {
            "id": row.id,
            "namespace": paths[row.namespace_id],
            "key": row.key,
            "session": row.session,
            "title": row.title,
            "text": row.text,
            "metadata": json.loads(row.metadata),
            "kind": row.kind,
            "source": None if row.source_id is None else names[row.source_id],
            **times,
            "precision": row.t_precision,
            "superseded_by": row.superseded_by,
            "half_life_seconds": row.half_life_s,
            "prior": row.prior,
            "importance": row.importance,
            "entities_given": row.entities_given,
            "content_hash": row.content_hash,
            "entities": [
                {
                    "canon": link.canon,
                    "display": link.display,
                    "label": link.label,
                    "role": link.role,
                }
                for link in links.links_of(connection, row.row)
            ],
            "events": [
                {
                    "verb": item.verb,
                    "at": iso(item.at),
                    "recorded_at": iso(item.recorded_at),
                    "source": item.source,
                    "session": item.session,
                    "idempotency_key": item.idempotency_key,
                    "details": dict(item.details),
                }
                for item in log.history(connection, row.id)
            ],
        }
