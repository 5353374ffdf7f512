"""Telling a store which memories replace which, as somebody would who knew it all: an oracle.

What a data set says of its versions was found out by nobody who wrote into the store. So this
measures what links are worth to those who set them, not whether they would be set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from memstore.evaluation.stored import Stored, begins
from memstore.evaluation.supersession import Pair

if TYPE_CHECKING:
    from memstore.evaluation.questions import Question
    from memstore.store import MemoryStore
    from memstore.types import Memory


def link(
    store: MemoryStore, pairs: Sequence[Pair], questions: Sequence[Question], *, namespace: str
) -> int:
    """End the old memories of each pair where the first of the new ones begins, as a memory under
    the same key does that is stored later; return the number of links.

    A memory that begins after all those that are said to replace it, or nobody knows when, is left
    alone.

    Args:
        namespace: of questions that have none themselves.
    """
    stored = Stored(store, namespace)
    asked = {question.id: question for question in questions}
    links = 0
    for pair in pairs:
        if pair.question not in asked:
            continue
        seen = stored.seen_by(asked[pair.question])
        for old in (seen[key] for key in pair.old if key in seen):
            later = _first_after(old, [seen[key] for key in pair.new if key in seen])
            if later is not None:
                store.supersede(old.id, later.id)
                links += 1
    return links


def _first_after(old: Memory, new: Sequence[Memory]) -> Memory | None:
    began = begins(old)
    later = [
        (at, number)
        for number, memory in enumerate(new)
        if memory.id != old.id and (at := begins(memory)) and began and at >= began
    ]
    return new[min(later)[1]] if later else None
