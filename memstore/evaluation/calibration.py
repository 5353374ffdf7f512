"""How far a scorer's probabilities can be taken at their word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from memstore.evaluation.questions import Question
from memstore.scoring.fitting import Quality, quality

if TYPE_CHECKING:
    from memstore.evaluation.comparing import Progress
    from memstore.store import MemoryStore

DEPTH = 100  # best memories per question


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """How well a scorer's log-odds fit the judgements of each question's best memories.

    `relevant` is the share of the candidates that are. `quality` is None for a scorer without a
    calibration, which gives no probabilities.
    """

    reranker: str
    candidates: int
    relevant: float
    quality: Quality | None


def calibration_of(
    store: MemoryStore,
    questions: Sequence[Question],
    rerankers: Sequence[str],
    *,
    rerank_depth: int | None,
    namespace: str,
    now: datetime,
    progress: Progress | None = None,
) -> list[Calibrated]:
    """Return it per reranker, `none` being the store's own encoder, for the profile `semantic`."""
    found = []
    for reranker in rerankers:
        nats: list[float] = []
        relevant: list[bool] = []
        for number, question in enumerate(questions, start=1):
            result = store.query(
                question.text,
                namespace=question.namespace or namespace,
                limit=DEPTH,
                rerank=reranker,
                rerank_depth=rerank_depth,
                profile="semantic",
                now=question.now or now,
                as_of=question.as_of,
            )
            judged = [hit for hit in result.hits if hit.probability is not None]
            nats += [hit.score for hit in judged]
            relevant += [hit.memory.key in question.answers for hit in judged]
            if progress is not None:
                progress(f"calibration of {reranker}", number, len(questions))
        found.append(
            Calibrated(
                reranker=reranker,
                candidates=len(nats),
                relevant=float(np.mean(relevant)) if relevant else 0.0,
                quality=quality(np.array(nats), np.array(relevant)) if nats else None,
            )
        )
    return found
