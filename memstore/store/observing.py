"""What retrieval, or a reranker, finds for questions whose answers are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from memstore.rerank import Reranker
from memstore.scoring.fitting import Observations
from memstore.store.candidates import Candidates
from memstore.store.judged_questions import JudgedQuestion
from memstore.store.opening import OpenStore
from memstore.store.requests import check_query
from memstore.store.searching import candidates
from memstore.types import When

DEPTH = 100  # candidates per question


def observe(
    opened: OpenStore,
    questions: Sequence[JudgedQuestion],
    *,
    namespace: str,
    now: When,
    rerank: str | Reranker = "none",
    depth: int = DEPTH,
    progress: Callable[[int], None] | None = None,
) -> Observations:
    """Return the candidates of every question, and which of them answer it.

    Args:
        namespace, now: of questions that have none themselves.
        rerank: whose scores are observed; `none` for those of the store's encoder.
        depth: candidates per question.
        progress: called with the number of questions asked since the last call.
    """
    groups = defaultdict(list)
    for place, question in enumerate(questions):
        asked = (question.namespace or namespace, question.now or now, question.as_of)
        groups[asked].append(place)
    parts = []
    for (path, present, as_of), places in groups.items():
        request = check_query(
            namespace=path,
            limit=1,
            where=None,
            profile="semantic",
            weights=None,
            now=present,
            as_of=as_of,
            known_at=None,
            max_tokens=None,
            min_score=None,
            explain=False,
            rerank=rerank,
            rerank_depth=depth,
        )
        found = candidates(opened, [questions[place].text for place in places], request, depth)
        for place, one in zip(places, found, strict=True):
            parts.append(_judged(questions[place], one))
        if progress is not None:
            progress(len(places))
    return Observations.joined(parts) if parts else _NOTHING


_NOTHING = Observations(*(np.empty(0, dtype=kind) for kind in ("f8",) * 7 + ("i8", "?")))


def _judged(question: JudgedQuestion, found: Candidates) -> Observations:
    named = list(zip(found.ids, found.keys, strict=True))
    relevant = np.array([bool(question.relevant.intersection(names)) for names in named])
    uncertain = np.array([names[0] in question.uncertain for names in named])
    count = len(named)
    observed = Observations(
        scores=found.scores,
        words=found.words,
        exact=found.exact,
        most=np.full(count, found.most),
        means=np.full(count, found.mean),
        memories=np.full(count, float(found.memories)),
        query_tokens=np.full(count, float(found.query_tokens)),
        questions=np.zeros(count, dtype=np.int64),
        relevant=relevant.astype(np.bool_),
    )
    return observed.of(observed.relevant | ~uncertain.astype(np.bool_))
