"""What an update of weights must not harm, measured with the weights before and after it."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from memstore.catalog.engine import reading
from memstore.catalog.memories import live
from memstore.catalog.tables import memory, namespace
from memstore.encoders.hashed import HashedEncoder
from memstore.errors import BadInput
from memstore.scoring.profiles import Profile
from memstore.store.calibrating import made_up
from memstore.store.cognitive_pass import INVALID_PENALTY
from memstore.store.judged_questions import JudgedQuestion
from memstore.store.opening import OpenStore
from memstore.store.requests import check_query
from memstore.store.searching import answer
from memstore.times import from_microseconds
from memstore.types import QueryResult

KNOWN, STALE = "known memories", "superseded memories"
_MOST = 256  # questions of a set made of the store itself
_LEAST_PAIRS = 10
_LEAST_WORDS = 3  # that two versions of a fact must share to be asked about
_DEPTH = 10
_STALE_DEPTH = 100

Measure = Callable[[JudgedQuestion, QueryResult], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A guard set; `before` and `after` are means over its questions, 0 to 1."""

    name: str
    questions: Sequence[JudgedQuestion]
    measure: Measure
    limit: int = _DEPTH
    include_invalid: bool = False
    before: float = 0.0
    after: float = 0.0

    @property
    def drop(self) -> float:
        return self.before - self.after

    def measured(self, opened: OpenStore, before: Profile, after: Profile, *, now: int) -> Check:
        """Return it with what it measures under two sets of weights."""
        found = [self._mean(opened, profile, now) for profile in (before, after)]
        return dataclasses.replace(self, before=found[0], after=found[1])

    def _mean(self, opened: OpenStore, profile: Profile, now: int) -> float:
        groups = defaultdict(list)
        for question in self.questions:
            groups[question.namespace or "*", question.now, question.as_of].append(question)
        values = []
        for (path, present, as_of), asked in groups.items():
            request = check_query(
                namespace=path,
                limit=self.limit,
                where=None,
                profile=profile.name,
                weights=None,
                now=from_microseconds(now) if present is None else present,
                as_of=as_of,
                known_at=None,
                max_tokens=None,
                min_score=None,
                explain=False,
                rerank="none",
                include_invalid=self.include_invalid,
            )
            request = dataclasses.replace(request, profile=profile)
            results = answer(opened, [question.text for question in asked], request, log=False)
            for question, result in zip(asked, results, strict=True):
                value = self.measure(question, result)
                if value is not None:
                    values.append(value)
        return float(np.mean(values)) if values else 0.0


def question_check(name: str, questions: Sequence[JudgedQuestion]) -> Check:
    """Return the set of some judged questions: their nDCG@10."""
    if not questions:
        raise BadInput(f"The guard {name!r} has no question with an answer.")
    return Check(name=name, questions=questions, measure=_ndcg)


def own_checks(opened: OpenStore, *, seed: int, now: int) -> tuple[list[Check], list[str]]:
    """Return what is asked of the store itself, and why something is not.

    That known memories stay found; and that of two versions of a fact, asked for without regard to
    validity, the newer one stays above the older one.
    """
    checks, notes = [], []
    try:
        known = made_up(opened, "*", _MOST, seed, now)
    except BadInput as error:
        notes.append(f"no guard set of {KNOWN}: {error}")
    else:
        checks.append(Check(name=KNOWN, questions=known, measure=_ndcg))
    pairs = _versions(opened, seed)
    if len(pairs) < _LEAST_PAIRS:
        notes.append(
            f"no guard set of {STALE}: {len(pairs)} pairs of a superseded memory and its successor "
            f"share words to be asked by, {_LEAST_PAIRS} are needed"
        )
    else:
        checks.append(
            Check(
                name=STALE,
                questions=[question for question, _ in pairs],
                measure=_Newer(dict(pairs)),
                limit=_STALE_DEPTH,
                include_invalid=True,
            )
        )
    return checks, notes


def _ndcg(question: JudgedQuestion, result: QueryResult) -> float:
    """Return the nDCG@10 of an answer, every relevant memory counting the same."""
    found = 0.0
    for place, hit in enumerate(result.hits[:_DEPTH]):
        if question.relevant.intersection((hit.memory.id, hit.memory.key)):
            found += 1.0 / math.log2(place + 2)
    ideal = sum(1.0 / math.log2(place + 2) for place in range(min(_DEPTH, len(question.relevant))))
    return min(1.0, found / ideal)


@dataclass(frozen=True, slots=True)
class _Newer:
    """Whether the newer of two versions is above the older one; by question, (old, new) ids."""

    versions: dict[JudgedQuestion, tuple[str, str]]

    def __call__(self, question: JudgedQuestion, result: QueryResult) -> float | None:
        old, new = self.versions[question]
        # as if validity said nothing: that is what the weights of time are for
        scores = {
            hit.memory.id: hit.score + (0.0 if hit.status == "current" else INVALID_PENALTY)
            for hit in result.hits
        }
        if old not in scores and new not in scores:
            return None
        return float(scores.get(new, -math.inf) > scores.get(old, -math.inf))


def _versions(opened: OpenStore, seed: int) -> list[tuple[JudgedQuestion, tuple[str, str]]]:
    """Return questions in the words that two versions share, with the ids of old and new."""
    new = memory.alias("successor")
    statement = (
        select(memory.c.id, memory.c.text, new.c.id, new.c.text, namespace.c.path)
        .join(new, new.c.id == memory.c.superseded_by)
        .join(namespace, namespace.c.id == memory.c.namespace_id)
        .where(live, new.c.forgotten_at.is_(None), memory.c.expired_at.is_(None))
        .where(new.c.expired_at.is_(None))
        .order_by(memory.c.row)
    )
    with reading(opened.engine, opened.path) as connection:
        rows = connection.execute(statement).all()
    splitter = HashedEncoder()
    pairs: list[tuple[JudgedQuestion, tuple[str, str]]] = []
    for old_id, old_text, new_id, new_text, path in rows:
        later = {new_text[start:end].lower() for start, end in splitter.token_spans(new_text)}
        words = [old_text[start:end] for start, end in splitter.token_spans(old_text)]
        shared = [word for word in words if word.lower() in later]
        if len(shared) >= _LEAST_WORDS:
            question = JudgedQuestion(
                text=" ".join(shared), relevant=frozenset([new_id]), namespace=path
            )
            pairs.append((question, (old_id, new_id)))
    return random.Random(seed).sample(pairs, min(_MOST, len(pairs)))
