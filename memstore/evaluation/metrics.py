"""How good a ranking is: nDCG@10, recall and the reciprocal rank of the first answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

METRICS = ("ndcg@10", "r@1", "r@5", "r@10", "mrr@10")
DEPTH = 10  # hits the metrics look at


def score(keys: Sequence[str | None], grades: Mapping[str, float]) -> tuple[float, ...]:
    """Return the `METRICS` of one question, at most 1; without hits all are 0.

    The gain of nDCG is the grade itself. Recall counts all memories with a grade above 0. A key
    that comes again counts where it came first, and those below it move up.

    Args:
        keys: of the hits, the best first.
        grades: by key; at least one is above 0.

    >>> score(["b", "a"], {"a": 2.0})
    (0.6309297535714575, 0.0, 1.0, 1.0, 0.5)
    """
    ranked = distinct(keys)
    relevant = {key for key, grade in grades.items() if grade > 0}
    places = [place for place, key in enumerate(ranked[:DEPTH]) if key in relevant]
    recall = [len(relevant.intersection(ranked[:depth])) / len(relevant) for depth in (1, 5, 10)]
    return (_ndcg(ranked, grades), *recall, 1.0 / (places[0] + 1) if places else 0.0)


def distinct(keys: Sequence[str | None]) -> list[str | None]:
    """Return the keys where they come first; those below what is left out move up."""
    ranked: list[str | None] = []
    for key in keys:
        if key is None or key not in ranked:  # without keys, memories are not one another's copies
            ranked.append(key)
    return ranked


def _ndcg(ranked: Sequence[str | None], grades: Mapping[str, float]) -> float:
    gains = [0.0 if key is None else grades.get(key, 0.0) for key in ranked]
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    return _discounted(gains) / _discounted(ideal)


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains[:DEPTH]))
