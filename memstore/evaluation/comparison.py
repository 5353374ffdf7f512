"""What every arm answered to every question, and what the arms are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memstore.evaluation.arms import Arm, LeftOut
from memstore.evaluation.bootstrap import interval
from memstore.evaluation.metrics import METRICS
from memstore.evaluation.questions import Question

NO_CATEGORY = "(no category)"
DIFFERENCES = ("ndcg@10", "r@10")  # metrics compared with the first arm's


@dataclass(frozen=True, slots=True)
class Found:
    """A hit: its place, the key and id of its memory, and its score."""

    rank: int
    key: str | None
    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What an arm found for a question; `took` is seconds per stage, `seconds` the whole call.

    Both as for a text that the encoder has not seen before.
    """

    hits: tuple[Found, ...]
    took: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class Measured:
    """An arm's answers, one per question, in the order of the questions.

    `parameters` are its reranker's weights: 0 without one, None where nobody can count them.
    `candidates` is the most memories per question that the reranker read, or without one those
    that the cognitive pass saw.
    """

    arm: Arm
    parameters: int | None
    candidates: int
    answers: tuple[Answer, ...]
    scores: NDArray[np.float64]  # (questions, METRICS)

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """How long each query took, (questions,)."""
        return np.array([answer.seconds for answer in self.answers])


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better an arm is than the first one, on average over the questions.

    Between `low` and `high` lies the mean in 95 % of the paired bootstrap's draws of questions;
    both are None where the questions are too few to tell.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """The interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Summary:
    """What an arm is worth on some questions: means of the metrics, milliseconds per query.

    `differences`, by metric, are those to the first arm, which itself has none.
    """

    arm: Arm
    questions: int
    metrics: Mapping[str, float]
    differences: Mapping[str, Difference]
    p50_ms: float
    p95_ms: float
    candidates: int
    parameters: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What every arm answered to every question; the first arm is the baseline.

    `unjudged` questions were not asked, because nothing answers them. `unknown_keys` are judged
    relevant, but no memory in the question's namespace has them: nobody can find those. `memories`
    is the number in the store.
    """

    questions: tuple[Question, ...]
    measured: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...]
    unjudged: int
    unknown_keys: tuple[str, ...]
    memories: int
    encoder: str
    limit: int
    rerank_depth: int
    namespace: str
    now: datetime
    seed: int

    @property
    def categories(self) -> list[str]:
        """The categories of the questions, sorted; none if no question has one."""
        found = {question.category or NO_CATEGORY for question in self.questions}
        return sorted(found) if found != {NO_CATEGORY} else []

    def summaries(self, category: str | None = None) -> list[Summary]:
        """Return what each arm is worth, on all questions or on those of a category."""
        chosen = np.array(
            [
                category is None or (question.category or NO_CATEGORY) == category
                for question in self.questions
            ]
        )
        first = self.measured[0].scores[chosen]
        return [
            Summary(
                arm=item.arm,
                questions=int(chosen.sum()),
                metrics=dict(zip(METRICS, item.scores[chosen].mean(axis=0).tolist(), strict=True)),
                differences={}
                if item is self.measured[0]
                else _differences(item.scores[chosen] - first, self.seed),
                p50_ms=float(np.percentile(item.seconds[chosen], 50)) * 1000,
                p95_ms=float(np.percentile(item.seconds[chosen], 95)) * 1000,
                candidates=item.candidates,
                parameters=item.parameters,
            )
            for item in self.measured
        ]


def _differences(scores: NDArray[np.float64], seed: int) -> dict[str, Difference]:
    found = {}
    for metric in DIFFERENCES:
        column = scores[:, METRICS.index(metric)]
        found[metric] = Difference(
            float(column.mean()), *(interval(column, seed=seed) or (None, None))
        )
    return found
