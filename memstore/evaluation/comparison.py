"""What every arm answered to every question, and what the arms are worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memstore.errors import BadInput
from memstore.evaluation.arms import Arm, LeftOut
from memstore.evaluation.bootstrap import Interval, holm, interval
from memstore.evaluation.metrics import METRICS
from memstore.evaluation.questions import Question

NO_CATEGORY = "(no category)"
DIFFERENCES = ("ndcg@10", "r@10")  # metrics compared with the first arm's
CERTAIN = 0.05  # chance below which a difference is none, over all arms


@dataclass(frozen=True, slots=True)
class Found:
    """A hit: its place, the key and id of its memory, its score, and its relevance in nats (None
    where its scorer is not calibrated).
    """

    rank: int
    key: str | None
    id: str
    score: float
    nats: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an arm found for a question; `took` is seconds per stage, `seconds` the whole call.

    Both as for a text that the encoder has not seen before.
    """

    hits: tuple[Found, ...]
    took: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Something else than the metrics that was seen in some answers, from 0 to 1.

    `values[i]` is of question number `questions[i]`; a question may have several, or none.
    """

    questions: NDArray[np.int64]  # (observations,)
    values: NDArray[np.float64]  # (observations,)

    def mean(self, chosen: NDArray[np.bool_]) -> float | None:
        """Return the mean over the chosen questions, (questions,); None if they have none."""
        values = self.values[chosen[self.questions]]
        return float(values.mean()) if len(values) else None


@dataclass(frozen=True)
class Measured:
    """An arm's answers, one per question, in the order of the questions.

    `parameters` are its reranker's weights: 0 without one, None where nobody can count them.
    `candidates` is the most memories per question that the reranker read, or without one those
    that the cognitive pass saw. `further` are measures that not every comparison has.
    """

    arm: Arm
    parameters: int | None
    candidates: int
    answers: tuple[Answer, ...]
    scores: NDArray[np.float64]  # (questions, METRICS)
    further: Mapping[str, Observed] = field(default_factory=dict)

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """How long each query took, (questions,)."""
        return np.array([answer.seconds for answer in self.answers])


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better an arm is than the first one, on average over the questions.

    Between `low` and `high` lies the mean in 95 % of the paired bootstrap's draws of questions;
    `chance` is that of a difference of 0 to look like this, corrected for the number of arms. All
    are None where the questions are too few to tell.
    """

    mean: float
    low: float | None
    high: float | None
    chance: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """The interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def certain(self) -> bool:
        """However many arms were compared, this is unlikely to be an accident."""
        return self.chance is not None and self.chance < CERTAIN


@dataclass(frozen=True, slots=True)
class Summary:
    """What an arm is worth on some questions: means of the metrics, milliseconds per query.

    `differences`, by metric, are those to the first arm, which itself has none. `further`, by
    name, are means of what else was seen, None where nothing was.
    """

    arm: Arm
    questions: int
    metrics: Mapping[str, float]
    differences: Mapping[str, Difference]
    p50_ms: float
    p95_ms: float
    candidates: int
    parameters: int | None
    further: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
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
    _summed: dict[str | None, list[Summary]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def categories(self) -> list[str]:
        """The categories of the questions, sorted; none if no question has one."""
        found = {question.category or NO_CATEGORY for question in self.questions}
        return sorted(found) if found != {NO_CATEGORY} else []

    def scopes(self, category: str | None = None) -> int:
        """Return how many namespaces the questions, or those of a category, look in."""
        return len(np.unique(self._scope_of[self._chosen(category)]))

    @cached_property
    def _scope_of(self) -> NDArray[np.int64]:
        """The number of each question's namespace, (questions,)."""
        paths = [question.namespace or self.namespace for question in self.questions]
        return np.unique(np.array(paths, dtype=np.str_), return_inverse=True)[1].astype(np.int64)

    def _chosen(self, category: str | None) -> NDArray[np.bool_]:
        return np.array(
            [
                category is None or (question.category or NO_CATEGORY) == category
                for question in self.questions
            ],
            dtype=np.bool_,
        )

    def with_further(self, further: Sequence[Mapping[str, Observed]]) -> Comparison:
        """Return the comparison with more that was seen, one mapping per arm."""
        measured = tuple(
            dataclasses.replace(item, further={**item.further, **more})
            for item, more in zip(self.measured, further, strict=True)
        )
        return dataclasses.replace(self, measured=measured)

    def summaries(self, category: str | None = None) -> list[Summary]:
        """Return what each arm is worth, on all questions or on those of a category."""
        if category not in self._summed:
            self._summed[category] = self._sum_up(self._chosen(category))
        return self._summed[category]

    def _sum_up(self, chosen: NDArray[np.bool_]) -> list[Summary]:
        differences = self._differences(chosen)
        return [
            Summary(
                arm=item.arm,
                questions=int(chosen.sum()),
                metrics=dict(zip(METRICS, item.scores[chosen].mean(axis=0).tolist(), strict=True)),
                differences=found,
                p50_ms=float(np.percentile(item.seconds[chosen], 50)) * 1000,
                p95_ms=float(np.percentile(item.seconds[chosen], 95)) * 1000,
                candidates=item.candidates,
                parameters=item.parameters,
                further={name: seen.mean(chosen) for name, seen in item.further.items()},
            )
            for item, found in zip(self.measured, differences, strict=True)
        ]

    def _differences(self, chosen: NDArray[np.bool_]) -> list[dict[str, Difference]]:
        """Return the differences of every arm to the first one."""
        first, *others = (item.scores[chosen] for item in self.measured)
        scope_of = self._scope_of[chosen]
        clusters = scope_of if len(np.unique(scope_of)) > 1 else None
        found: list[dict[str, Difference]] = [{} for _ in self.measured]
        for metric in DIFFERENCES:
            column = METRICS.index(metric)
            by_question = [scores[:, column] - first[:, column] for scores in others]
            between = [interval(one, seed=self.seed, clusters=clusters) for one in by_question]
            chances = holm([one.p for one in between if one is not None])
            for number, (one, ends) in enumerate(zip(by_question, between, strict=True)):
                # all arms answer the same questions: all have an interval, or none
                chance = None if ends is None else chances[number]
                found[number + 1][metric] = _difference(one, ends, chance)
        return found


def _difference(
    by_question: NDArray[np.float64], ends: Interval | None, chance: float | None
) -> Difference:
    low, high = (None, None) if ends is None else (ends.low, ends.high)
    return Difference(float(by_question.mean()), low, high, chance)


def joined(comparisons: Sequence[Comparison]) -> Comparison:
    """Return several comparisons on the same questions as one, with the arms of all of them.

    Raises:
        BadInput: their questions are not the same.
    """
    first = comparisons[0]
    ids = [question.id for question in first.questions]
    if any([question.id for question in other.questions] != ids for other in comparisons[1:]):
        raise BadInput("Only comparisons on the same questions can be joined.")
    return dataclasses.replace(
        first,
        measured=tuple(item for one in comparisons for item in one.measured),
        left_out=tuple(item for one in comparisons for item in one.left_out),
        unknown_keys=tuple(dict.fromkeys(key for one in comparisons for key in one.unknown_keys)),
    )
