"""Whether the order of the same memories depends on which others were candidates."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from memstore.evaluation.arms import Arm
from memstore.evaluation.baselines import reordered
from memstore.evaluation.comparison import Observed
from memstore.evaluation.metrics import DEPTH
from memstore.evaluation.questions import Question
from memstore.store import MemoryStore
from memstore.store.rerankers import NO_RERANKER

if TYPE_CHECKING:
    from memstore.evaluation.comparing import Progress
    from memstore.types import Hit

SMALL, LARGE = 50, 200  # candidates
FLIPS = "flips"


def observe_flips(
    store: MemoryStore,
    questions: Sequence[Question],
    arms: Sequence[Arm],
    *,
    namespace: str,
    now: datetime,
    progress: Progress | None = None,
) -> list[Mapping[str, Observed]]:
    """Return per arm at which questions two of the best ten change places when the candidates
    become 200 instead of 50; nothing for arms with a reranker, which has a depth of its own.
    """
    found: list[Mapping[str, Observed]] = []
    numbers = np.arange(len(questions), dtype=np.int64)
    with _with_candidates(store, SMALL) as few, _with_candidates(store, LARGE) as many:
        for arm in arms:
            if arm.reranker != NO_RERANKER:
                found.append({})
                continue
            flips = []
            for number, question in enumerate(questions, start=1):
                flips.append(_flips(few, many, arm, question, namespace, now))
                if progress is not None:
                    progress(f"flips of {arm.label}", number, len(questions))
            found.append({FLIPS: Observed(numbers, np.array(flips, dtype=np.float64))})
    return found


@contextlib.contextmanager
def _with_candidates(store: MemoryStore, count: int) -> Iterator[MemoryStore]:
    opened = store._opened
    settings = dataclasses.replace(opened.settings, candidates=count)
    with MemoryStore.open(
        store.path,
        read_only=True,
        encoder=opened.encoder,
        device=opened.device,
        settings=settings,
    ) as other:
        yield other


def _flips(
    few: MemoryStore,
    many: MemoryStore,
    arm: Arm,
    question: Question,
    namespace: str,
    now: datetime,
) -> bool:
    def ask(store: MemoryStore, limit: int) -> Sequence[Hit]:
        return store.query(
            question.text,
            namespace=question.namespace or namespace,
            limit=limit,
            rerank=NO_RERANKER,
            profile=arm.profile,
            weights=dict(arm.weights) or None,
            temporal=arm.temporal,
            now=question.now or now,
            as_of=question.as_of,
        ).hits

    if arm.formula is None:
        small, large = ask(few, DEPTH), ask(many, LARGE // 4)  # a pool is four times the limit
    else:
        candidates = ask(many, LARGE)
        as_of = question.as_of or question.now or now
        small, large = (
            [hit for hit, _ in reordered(candidates[:count], arm.formula, as_of)]
            for count in (SMALL, LARGE)
        )
    places = {hit.memory.id: place for place, hit in enumerate(small[:DEPTH])}
    shared = [places[hit.memory.id] for hit in large if hit.memory.id in places]
    return shared != sorted(shared)
