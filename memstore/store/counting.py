"""`stats`: how much the store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from memstore.catalog import links, memories, vectors
from memstore.catalog.engine import reading
from memstore.catalog.tables import SCHEMA_VERSION, memory, passage, segment, source
from memstore.store.opening import OpenStore
from memstore.types import Stats


def stats(opened: OpenStore) -> Stats:
    """Count what is live, in one read transaction, and the bytes on disk."""
    with reading(opened.engine, opened.path) as connection:

        def count(statement: Any) -> int:
            return int(connection.scalar(statement) or 0)

        hot_passages, hot_vectors = vectors.counts(connection)
        namespaces = select(func.count(memory.c.namespace_id.distinct())).where(memories.live)
        by_source = connection.execute(
            select(source.c.name, func.count())
            .join(memory, memory.c.source_id == source.c.id)
            .where(memories.live)
            .group_by(source.c.name)
            .order_by(func.count().desc(), source.c.name)
        )
        return Stats(
            memories=count(select(func.count()).where(memories.live)),
            passages=count(select(func.count()).select_from(passage)),
            vectors=hot_vectors,
            namespaces=count(namespaces),
            entities=links.entity_total(connection),
            hot_passages=hot_passages,
            segments=count(select(func.count()).select_from(segment)),
            encoder=opened.identity.name,
            schema_version=SCHEMA_VERSION,
            size_bytes=sum(map(_size_bytes, opened.path.rglob("*"))),
            forgotten=count(select(func.count()).where(memory.c.forgotten_at.is_not(None))),
            sources={row[0]: row[1] for row in by_source},
        )


def _size_bytes(path: Path) -> int:
    """Return a file's size; 0 for folders and for what a writer has removed meanwhile."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0
