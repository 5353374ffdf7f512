"""Stress sets that change what is known of memories: at random, against the truth, to nothing."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from memstore.evaluation.comparison import Answer, Comparison, Observed
from memstore.evaluation.stored import Stored
from memstore.evaluation.stress import Bench, Stress
from memstore.types import NewMemory

BEYOND, IDENTICAL = "beyond 2M", "identical"
_WINDOW = timedelta(days=730)  # before the first question
_MOST_USES: Final = 3
_DEPTH = 100  # hits among which the bound is looked at
_AT_ONCE = 64  # memories that are stored together
_TOLERANCE = 1e-9  # nats
_METRICS = ("ndcg@10", "r@10")


def random_metadata(bench: Bench) -> Stress:
    """Give every memory a random time, confidence, importance and number of uses."""
    random = bench.random("random-metadata")
    end = _before_all(bench)
    with bench.copy() as store:
        memories = list(Stored(store))
        for number, memory in enumerate(memories, start=1):
            store.update(
                memory.id,
                occurred_at=end - float(random.random()) * _WINDOW,
                valid_from=None,
                valid_to=None,
                half_life=None,
                confidence=10.0 * float(random.random()),
                importance=2.0 * float(random.random()) - 1.0,
            )
            for share in random.random(int(random.integers(_MOST_USES + 1))).tolist():
                store.reinforce(memory.id, at=end - share * _WINDOW)
            bench.told("random metadata", number, len(memories))
        comparison = bench.ask(store, bench.questions)
    return Stress(
        name="random-metadata",
        note="times within two years, confidences, importances and uses are random",
        comparison=comparison,
        metrics=_METRICS,
    )


def adversarial_metadata(bench: Bench) -> Stress:
    """Make what answers a question old, distrusted and unimportant, and everything else new, used,
    trusted and important.
    """
    end = _before_all(bench)
    stored = Stored(bench.store, bench.namespace)
    relevant = {
        stored.seen_by(question)[key].id
        for question in bench.questions
        for key in question.answers
        if key in stored.seen_by(question)
    }
    with bench.copy() as store:
        memories = list(stored)
        for number, memory in enumerate(memories, start=1):
            bad = memory.id in relevant
            store.update(
                memory.id,
                occurred_at=end - _WINDOW if bad else end,
                valid_from=None,
                valid_to=None,
                half_life=None,
                confidence=0.0 if bad else 10.0,
                importance=-1.0 if bad else 1.0,
            )
            for days in range(0 if bad else _MOST_USES):
                store.reinforce(memory.id, at=end - timedelta(days=days))
            bench.told("adversarial metadata", number, len(memories))
        comparison = _with_bound(bench.ask(store, bench.questions, limit=_DEPTH))
    return Stress(
        name="adversarial-metadata",
        note="what is relevant is old, distrusted and unimportant, all else new, trusted, "
        f"important and in use. {BEYOND}: questions where a memory passed one that was more than "
        "2M nats ahead (M: the profile's cap)",
        comparison=comparison,
        metrics=_METRICS,
    )


def no_metadata(bench: Bench) -> Stress:
    """Store the texts anew, without times, sources, confidences, importances and entities."""
    memories = list(Stored(bench.store))
    last = {(memory.namespace, memory.key): memory.id for memory in memories}
    with bench.empty() as store:
        for start in range(0, len(memories), _AT_ONCE):
            store.add_many(
                NewMemory(
                    text=memory.text,
                    namespace=memory.namespace,
                    # without times nobody knows which version of a key is the last
                    key=memory.key if last[memory.namespace, memory.key] == memory.id else None,
                    session=memory.session,
                    title=memory.title,
                    occurred_at="unknown",
                    entities=[],
                )
                for memory in memories[start : start + _AT_ONCE]
            )
            bench.told("no metadata", min(start + _AT_ONCE, len(memories)), len(memories))
        questions = [
            dataclasses.replace(question, now=None, as_of=None) for question in bench.questions
        ]
        comparison = bench.ask(store, questions)
    return Stress(
        name="no-metadata",
        note=f"no times, sources, confidences, importances and entities. {IDENTICAL}: questions "
        "whose hits have the order and the scores of the profile semantic",
        comparison=_with_identical(comparison),
        metrics=("ndcg@10",),
    )


def _before_all(bench: Bench) -> datetime:
    """Return a time before all questions, which no question may see as its future."""
    return min(bench.moment(question) for question in bench.questions) - timedelta(hours=1)


def _with_bound(comparison: Comparison) -> Comparison:
    """Return the comparison with the share of questions at which a profile's bound did not hold."""
    plain = _semantic_answers(comparison)
    further: list[dict[str, Observed]] = []
    for item in comparison.measured:
        bound = 2.0 * item.arm.resolved.cap + _TOLERANCE
        pairs = zip(item.answers, plain[item.arm.reranker], strict=True)
        seen = [_passes_beyond(mine, its, bound) for mine, its in pairs]
        numbers = [number for number, passed in enumerate(seen) if passed is not None]
        values = [passed for passed in seen if passed is not None]
        further.append({BEYOND: Observed(np.array(numbers, np.int64), np.array(values, float))})
    return comparison.with_further(further)


def _passes_beyond(mine: Answer, plain: Answer, bound: float) -> bool | None:
    """Return whether a hit is above a memory that is by more than the bound more relevant, found
    or not; None where relevance is not in nats.

    Args:
        plain: the hits of the profile semantic, the most relevant first.
    """
    left = [(hit.id, hit.nats) for hit in reversed(plain.hits)]
    placed: set[str] = set()
    for hit in mine.hits:
        placed.add(hit.id)
        while left and left[-1][0] in placed:
            left.pop()
        best = left[-1][1] if left else None
        if hit.nats is None or (left and best is None):
            return None
        if best is not None and best - hit.nats > bound:
            return True
    return False


def _semantic_answers(comparison: Comparison) -> dict[str, tuple[Answer, ...]]:
    """Return what the profile semantic answered, by reranker."""
    return {
        item.arm.reranker: item.answers
        for item in reversed(comparison.measured)
        if item.arm.formula is None and item.arm.resolved.cap == 0.0
    }


def _with_identical(comparison: Comparison) -> Comparison:
    """Return the comparison with the share of answers that are those of the profile semantic."""
    plain = _semantic_answers(comparison)
    numbers = np.arange(len(comparison.questions), dtype=np.int64)
    further = []
    for item in comparison.measured:
        same = [
            [(hit.id, hit.score) for hit in mine.hits] == [(hit.id, hit.score) for hit in its.hits]
            for mine, its in zip(item.answers, plain[item.arm.reranker], strict=True)
        ]
        further.append({IDENTICAL: Observed(numbers, np.array(same, np.float64))})
    return comparison.with_further(further)
