"""Exports: every live memory with its history as JSONL; `importing` reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from memstore.catalog import feedback, links, log, memories
from memstore.catalog.checksums import check_order
from memstore.catalog.engine import reading
from memstore.catalog.tables import memory
from memstore.errors import StoreUnwritable
from memstore.store.appearing import appearing, new_path
from memstore.store.export_files import TIMES, ExportWriter
from memstore.store.exported_header import header_of
from memstore.store.opening import OpenStore
from memstore.times import from_microseconds, iso

_PAGE = 512  # memories read at once, with their links and events


def export(opened: OpenStore, destination: str | os.PathLike[str]) -> int:
    """Write every live memory with its history as JSONL and return their number.

    The first line names the format, the schema, the encoder, the sources of which it was said how
    far they are believed, the aliases of names, and what was learned here; then one memory per
    line; the last line is the manifest. The file appears whole or not at all, and only its owner
    may read it.

    Raises:
        BadInput: the destination exists, or lies in the store.
        StoreUnwritable: it cannot be written.
    """
    target = new_path(destination, "file", outside=opened.path)
    try:
        with appearing(target, "file") as partial, partial.open("wb") as file:
            writer = ExportWriter(file)
            with reading(opened.engine, opened.path) as connection:
                writer.header(header_of(connection, opened.identity))
                for item in _exported(connection):
                    writer.memory(item)
            writer.manifest()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreUnwritable(f"The export to {target} failed: {error.strerror}.") from error
    return writer.counts["memories"]


def _exported(connection: Connection) -> Iterator[dict[str, Any]]:
    paths = memories.namespaces_under(connection, "*")
    names = feedback.source_names(connection)
    page = memories.checked.where(memories.live).order_by(memory.c.row).limit(_PAGE)
    last = -1
    while rows := connection.execute(page.where(memory.c.row > last)).all():
        check_order((row.row for row in rows), last)
        last = rows[-1].row
        mentions = links.links_of(connection, [row.row for row in rows])
        histories = log.histories(connection, [row.id for row in rows])
        for row in rows:
            memories.check_row(row)
            times = {
                name: None
                if (value := getattr(row, name)) is None
                else iso(from_microseconds(value))
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
                    for link in mentions.get(row.row, ())
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
                    for item in histories.get(row.id, ())
                ],
            }
