"""Which of the keys that are judged relevant a store does not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from memstore.errors import BadInput

if TYPE_CHECKING:
    from memstore.evaluation.questions import Question
    from memstore.store import MemoryStore

_SHOWN = 3
_AT_ONCE = 500  # keys per look into the store


def unknown_keys(
    store: MemoryStore, questions: Sequence[Question], namespace: str
) -> tuple[str, ...]:
    """Return the relevant keys that no memory has where their question looks.

    Args:
        namespace: of questions that have none themselves.

    Raises:
        BadInput: none of the keys is there, so no arm could find anything.
    """
    wanted: dict[str, dict[str, None]] = {}  # ordered sets, by namespace
    for question in questions:
        place = wanted.setdefault(question.namespace or namespace, {})
        place.update(dict.fromkeys(sorted(question.answers)))
    unknown = [key for place, keys in wanted.items() for key in _not_in(store, place, list(keys))]
    if len(unknown) == sum(map(len, wanted.values())):
        raise nothing_known(unknown, f"{store.path}, in the namespaces that are asked")
    return tuple(dict.fromkeys(unknown))


def nothing_known(keys: Sequence[str], place: str, *, also: str = "") -> BadInput:
    """Return the error for a test set whose keys are those of other memories."""
    return BadInput(
        f"None of the {len(keys)} keys that are judged relevant is in {place}: {shown(keys)}. "
        f"A memory's key is what it was ingested with as id or key.{also}"
    )


def shown(keys: Sequence[str]) -> str:
    """Return the first few of some keys, for a message."""
    return ", ".join(map(repr, keys[:_SHOWN])) + (" …" if len(keys) > _SHOWN else "")


def _not_in(store: MemoryStore, namespace: str, keys: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        found = set(_keys(store, namespace, some))
        yield from (key for key in some if key not in found)


def _keys(store: MemoryStore, namespace: str, keys: Sequence[str]) -> Iterator[str | None]:
    cursor = None
    while True:
        page = store.list(namespace=namespace, where={"key": {"in": list(keys)}}, cursor=cursor)
        yield from (memory.key for memory in page.memories)
        cursor = page.cursor
        if cursor is None:
            return
