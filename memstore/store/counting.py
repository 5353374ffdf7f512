"""`stats`: how much the store holds."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from memstore.catalog import feedback, links, memories, vectors
from memstore.catalog.engine import reading
from memstore.catalog.tables import SCHEMA_VERSION, memory, passage
from memstore.store.index_files import INDEX, open_codec, open_segments, retried
from memstore.store.opening import OpenStore
from memstore.types import Stats


def stats(opened: OpenStore) -> Stats:
    """Count what is live, in one read transaction, and the bytes on disk.

    Raises:
        IndexDamaged: files that the database names are not there.
    """
    return retried(opened.path, lambda: _counted(opened))


def _counted(opened: OpenStore) -> Stats:
    with reading(opened.engine, opened.path) as connection:

        def count(statement: Any) -> int:
            return int(connection.scalar(statement) or 0)

        hot_passages, hot_vectors = vectors.counts(connection)
        folder = opened.path / INDEX
        sealed = open_segments(
            connection, folder, open_codec(connection, folder, opened.identity.dim)
        )
        namespaces = select(func.count(memory.c.namespace_id.distinct())).where(memories.live)
        by_source = [(name, held) for name, _, held in feedback.named_sources(connection) if held]
        by_source.sort(key=lambda item: -item[1])  # by name among equals
        return Stats(
            memories=count(select(func.count()).where(memories.live)),
            passages=count(select(func.count()).select_from(passage)),
            vectors=hot_vectors + sum(item.live_tokens for item in sealed),
            namespaces=count(namespaces),
            entities=links.entity_total(connection),
            hot_passages=hot_passages,
            segments=len(sealed),
            encoder=opened.identity.name,
            schema_version=SCHEMA_VERSION,
            size_bytes=size_bytes(opened.path),
            forgotten=count(select(func.count()).where(memory.c.forgotten_at.is_not(None))),
            sources=dict(by_source),
        )


def size_bytes(store: Path) -> int:
    """Return the size of all files, but for what a writer removes meanwhile."""
    total = 0
    for folder, _, files in os.walk(store):  # passes over folders that are gone; rglob fails
        for name in files:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total
