"""Raw semantic scores to log-odds of relevance, in nats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from memstore.errors import IndexDamaged
from memstore.types import ScoreKind

MOST_TOKENS: Final = 512  # of a query; longer ones count as this long


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
        prior = self.bias + self.slope_ln_memories * math.log(max(memories, 1))
        return prior + (scores - mean) * self.slope_at(query_tokens)

    def slope_at(self, query_tokens: int) -> float:
        """Return nats per unit of a raw score, for a query of so many tokens."""
        tokens = min(max(query_tokens, 1), MOST_TOKENS)
        return self.slope + self.slope_ln_tokens * math.log(tokens)

    @property
    def rises(self) -> bool:
        """Whether log-odds are in the order of the scores, however long the query."""
        return self.slope_at(1) > 0 and self.slope_at(MOST_TOKENS) > 0


@dataclass(frozen=True, slots=True)
class PlattCalibration:
    """`L = bias + slope * x`, x being the score, or the log-odds of a score that is a probability.

    For scorers that see a query and a text and nothing else.
    """

    kind: ScoreKind
    bias: float
    slope: float

    def __call__(
        self, scores: NDArray[np.float64], *, mean: float, memories: int, query_tokens: int
    ) -> NDArray[np.float64]:
        check_finite(scores)
        return self.bias + self.slope * self.transformed(scores, self.kind)

    @staticmethod
    def transformed(scores: NDArray[np.float64], kind: ScoreKind) -> NDArray[np.float64]:
        """Return what the slope is applied to, (candidates,)."""
        return log_odds(scores) if kind == "prob01" else scores

    @property
    def rises(self) -> bool:
        """Whether log-odds are in the order of the scores."""
        return self.slope > 0


# printed by scripts/fit_calibration; docs/calibration.md says how far they carry
_SHIPPED: dict[str, Calibration] = {
    "minilm": ContrastCalibration(
        bias=-1.665, slope=5.349, slope_ln_tokens=4.413, slope_ln_memories=-0.877
    ),
    "minilm-96": ContrastCalibration(
        bias=-1.556, slope=5.213, slope_ln_tokens=4.664, slope_ln_memories=-0.908
    ),
    "minilm-64": ContrastCalibration(
        bias=-1.424, slope=5.699, slope_ln_tokens=4.919, slope_ln_memories=-0.958
    ),
}
FITTED_FOR: Final = {  # the fingerprints of these encoders
    "minilm": "3d24effc312335eb1e8a0e73184e86e8438000ecf1900ca3db8f766943a26b54",
    "minilm-96": "98a734185d2e7c706a177cc79271a118ba74c9d507568270a117ef6d102a05d0",
    "minilm-64": "51374b2a0f907b1fa5a76951d65e2f844e100f56ad3783a27a214e4ead24ff7d",
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


def reranker_calibration(kind: ScoreKind) -> Calibration | None:
    """Return how a reranker's scores become log-odds; None where nothing says how.

    A cross-encoder's logit is taken at its word, since it was trained to be one.
    """
    return None if kind == "maxsim" else PlattCalibration(kind=kind, bias=0.0, slope=1.0)


def parameters_of(calibration: ContrastCalibration | PlattCalibration) -> dict[str, float]:
    """Return what `calibration_from` makes the same calibration of: JSON."""
    fields = (item.name for item in dataclasses.fields(calibration))
    return {name: getattr(calibration, name) for name in fields if name != "kind"}


def calibration_from(
    kind: ScoreKind, parameters: Mapping[str, Any]
) -> ContrastCalibration | PlattCalibration:
    """Return a stored calibration of scores of a kind; its parameters tell its form.

    Raises:
        IndexDamaged: they are not those of a calibration, or would turn an order around.
    """
    try:
        numbers = {name: float(value) for name, value in parameters.items()}
        found: ContrastCalibration | PlattCalibration = (
            ContrastCalibration(**numbers)
            if "slope_ln_memories" in numbers
            else PlattCalibration(kind=kind, **numbers)
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise _damaged(parameters) from error
    if not all(math.isfinite(value) for value in numbers.values()) or not found.rises:
        raise _damaged(parameters)
    return found


def _damaged(parameters: Any) -> IndexDamaged:
    return IndexDamaged(
        f"A stored calibration has the parameters {parameters!r}, which make no calibration. Fit "
        "it anew:\n    memstore calibrate"
    )


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
