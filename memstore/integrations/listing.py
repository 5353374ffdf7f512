"""All memories that a filter lets in, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from memstore import Memory, MemoryStore
from memstore.settings import MAX_LIMIT

_GROWTH = 4  # of each page after the one before it


def newest_first(
    store: MemoryStore, namespace: str, where: Mapping[str, Any], *, first: int = MAX_LIMIT
) -> Iterator[Memory]:
    """Yield memories, what was stored last first.

    Args:
        first: how many are read at once, to begin with: about as many as will be looked at.
    """
    cursor = None
    size = first
    while True:
        size = min(size, MAX_LIMIT)
        page = store.list(
            namespace=namespace, where=where, limit=size, cursor=cursor, newest_first=True
        )
        yield from page.memories
        cursor, size = page.cursor, size * _GROWTH
        if cursor is None:
            return
