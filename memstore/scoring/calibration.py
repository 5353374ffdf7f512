"""Raw semantic scores to log-odds of relevance, in nats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memstore.errors import IndexDamaged
from memstore.types import ScoreKind


class Calibration(Protocol):
    """Maps raw scores to log-odds. Strictly increasing, so the order never changes."""

    def __call__(
        self, scores: NDArray[np.float64], *, mean: float, memories: int, query_tokens: int
    ) -> NDArray[np.float64]:
        """Return log-odds in nats, one per score.

        Args:
            scores: (candidates,), raw.
            mean: mean raw score over the searched namespace.
            memories: number of memories in the searched namespace.
            query_tokens: number of query vectors.
        """


@dataclass(frozen=True, slots=True)
class ContrastCalibration:
    """`L = bias + (s - mean) * (slope + slope_ln_tokens * ln n_q) + slope_ln_memories * ln N`.

    The slope grows with the query's length, and the prior falls with the size of the namespace;
    one slope for all left an expected calibration error of .02 to .06, this form .003 to .018.
    """

    bias: float
    slope: float
    slope_ln_tokens: float
    slope_ln_memories: float

    def __call__(
        self, scores: NDArray[np.float64], *, mean: float, memories: int, query_tokens: int
    ) -> NDArray[np.float64]:
        check_finite(scores, mean)
        slope = self.slope + self.slope_ln_tokens * math.log(max(query_tokens, 1))
        prior = self.bias + self.slope_ln_memories * math.log(max(memories, 1))
        return prior + (scores - mean) * slope


# fitted on four development sets for the bundled 128-dimension head
_SHIPPED: dict[str, Calibration] = {
    "minilm": ContrastCalibration(
        bias=-0.944, slope=4.622, slope_ln_tokens=3.942, slope_ln_memories=-0.916
    ),
}


def check_finite(scores: NDArray[np.float64], mean: float = 0.0) -> None:
    """Refuse raw scores that no order can be made of.

    Raises:
        IndexDamaged: a score is not a number or infinite, which finite vectors cannot give.
    """
    wrong = np.count_nonzero(~np.isfinite(scores))
    if wrong or not math.isfinite(mean):
        raise IndexDamaged(
            f"{wrong} of {len(scores)} scores are not finite, and their mean is {mean}: stored "
            "vectors are damaged, or the encoder made values that are no numbers. Check the store:"
            "\n    memstore verify"
        )


def log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds of probabilities, kept from the infinite: what is not in [1e-6, 1 - 1e-6]
    is moved to its nearer end.

    >>> log_odds(np.array([0.5, 1.2])).round(3).tolist()
    [0.0, 13.816]
    """
    bounded = np.clip(scores, 1e-6, 1.0 - 1e-6)
    odds: NDArray[np.float64] = np.log(bounded) - np.log1p(-bounded)
    return odds


def reranker_calibration(
    kind: ScoreKind,
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """Return how a reranker's scores become log-odds; None where nothing says how.

    A cross-encoder's logit is taken at its word, since it was trained to be one.
    """
    if kind == "logit":
        return lambda scores: scores
    return log_odds if kind == "prob01" else None


def calibration_for(encoder: str) -> Calibration | None:
    """Return the shipped calibration of an encoder; None when it was never fitted."""
    return _SHIPPED.get(encoder)


def probability(nats: float) -> float:
    """Return the probability of log-odds.

    >>> probability(0.0)
    0.5
    """
    if nats >= 0:
        return 1.0 / (1.0 + math.exp(-nats))
    odds = math.exp(nats)  # 1 minus the other branch would lose what is below 1e-16
    return odds / (1.0 + odds)
