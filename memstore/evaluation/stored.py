"""The memories of a store, by the namespace that is asked and their keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from memstore.settings import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from memstore.evaluation.questions import Question
    from memstore.store import MemoryStore
    from memstore.types import Memory

_AT_ONCE = 1_000  # memories per look into the store


class Stored:
    """All memories that a store had when this was made.

    Args:
        namespace: of questions that have none themselves.
    """

    def __init__(self, store: MemoryStore, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._namespace = namespace
        self._all = tuple(_read(store))
        self._within: dict[str, dict[str, Memory]] = {}

    def __iter__(self) -> Iterator[Memory]:
        return iter(self._all)

    def seen_by(self, question: Question) -> dict[str, Memory]:
        """Return the memories that a question can find, by their keys; of versions the last."""
        path = question.namespace or self._namespace
        if path not in self._within:
            self._within[path] = {
                memory.key: memory
                for memory in self._all
                if memory.key is not None
                and (path in ("*", memory.namespace) or memory.namespace.startswith(f"{path}/"))
            }
        return self._within[path]


def begins(memory: Memory) -> datetime | None:
    """Return when a memory begins to hold; None where nobody knows."""
    recorded = None if memory.precision == "unknown" else memory.recorded_at
    return memory.valid_from or memory.occurred_at or recorded


def _read(store: MemoryStore) -> Iterator[Memory]:
    cursor = None
    while True:
        page = store.list(namespace="*", limit=_AT_ONCE, cursor=cursor)
        yield from page.memories
        cursor = page.cursor
        if cursor is None:
            return
