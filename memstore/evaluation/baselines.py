"""Formulas of others that order the same candidates: for comparison only, never for use."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memstore.errors import BadInput
from memstore.evaluation.arms import Arm
from memstore.store.rerankers import NO_RERANKER
from memstore.types import Hit, Memory

Values = NDArray[np.float64]  # (candidates,)

_DAY = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the formulas know of one query's candidates; arrays are (candidates,).

    `nats` are log-odds of relevance (raw scores where the encoder is not calibrated), `ages` are
    seconds, at least 0, `importance` is -1 to 1.
    """

    nats: Values
    ages: Values
    importance: Values

    @property
    def days(self) -> Values:
        return self.ages / _DAY

    @property
    def ln_probability(self) -> Values:
        """ln of the probability of relevance: products are sums of these, and do not underflow."""
        ln: Values = -np.logaddexp(0.0, -self.nats)
        return ln


def _spread(values: Values) -> Values:
    """Return the values moved to [0, 1]; all 0 where they are all the same."""
    width = np.ptp(values)
    spread: Values = (values - values.min()) / width if width > 0 else np.zeros(len(values))
    return spread


def _sixty_forty(of: Candidates) -> Values:
    """Return 0.6 similarity + 0.4 ACT-R base level, each spread over the candidates.

    Base level: ln sum t^-1/2, ages in seconds, at least 1; the only access is the creation.

    Source: cognitive-scoring, 13.1.
    """
    base_level = -0.5 * np.log(np.maximum(of.ages, 1.0))
    return 0.6 * _spread(of.nats) + 0.4 * _spread(base_level)


def _generative_agents(of: Candidates) -> Values:
    """Return relevance + recency + importance, each spread over the candidates.

    Source: Park et al., Generative Agents, arXiv 2304.03442.
    """
    recency = 0.995 ** (of.ages / 3_600.0)
    return _spread(of.nats) + _spread(recency) + _spread(of.importance)


def _exp_decay(of: Candidates) -> Values:
    """Return ln of probability * e^(-0.03 days)."""
    return of.ln_probability - 0.03 * of.days


def _half_life_30(of: Candidates) -> Values:
    """Return ln of probability * 2^(-days/30)."""
    return of.ln_probability - math.log(2.0) * of.days / 30.0


def _sigmoid_10(of: Candidates) -> Values:
    """Return ln of probability * a factor that falls from 1.1 to 0.9 within a year."""
    recency = np.maximum(0.0, 1.0 - of.days / 365.0)
    return of.ln_probability + np.log(0.9 + 0.2 * recency)


BASELINES: Final[dict[str, Callable[[Candidates], Values]]] = {
    "60/40": _sixty_forty,
    "generative-agents": _generative_agents,
    "exp-decay": _exp_decay,
    "half-life-30": _half_life_30,
    "sigmoid-10": _sigmoid_10,
}


def baseline_arms() -> list[Arm]:
    """Return an arm per formula, over the candidates of retrieval alone."""
    return [Arm(NO_RERANKER, "semantic", formula=name) for name in BASELINES]


def _begun(memory: Memory, as_of: datetime) -> datetime:
    """Return when a memory's age begins; one of an unknown time has none."""
    recorded = as_of if memory.precision == "unknown" else memory.recorded_at
    return memory.occurred_at or memory.valid_from or recorded


def reordered(hits: Sequence[Hit], formula: str, as_of: datetime) -> list[tuple[Hit, float]]:
    """Return the hits in the order of a formula, with its scores; equal ones stay in order.

    Args:
        hits: of the profile `semantic`.
        as_of: when ages count from.

    Raises:
        BadInput: no formula has this name.
    """
    if formula not in BASELINES:
        raise BadInput(f"There is no formula {formula!r}. Known: {', '.join(BASELINES)}.")
    if not hits:
        return []
    memories = [hit.memory for hit in hits]
    begun = [_begun(memory, as_of) for memory in memories]
    scores = BASELINES[formula](
        Candidates(
            nats=np.array([hit.score for hit in hits]),
            ages=np.array([max(0.0, (as_of - time).total_seconds()) for time in begun]),
            importance=np.array([memory.importance for memory in memories]),
        )
    )
    return [(hits[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")]
