"""Calibrations fitted to judged candidates: logistic regression whose slope cannot turn negative.

Scores chose which candidates were judged; that leaves the odds at a given score as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memstore.scoring.calibration import (
    MOST_TOKENS,
    Calibration,
    ContrastCalibration,
    PlattCalibration,
)
from memstore.scoring.lexical import EXACT, LexicalWeights
from memstore.types import ScoreKind

LEAST_SLOPE = 0.05  # nats per unit of a raw score: an order survives the rounding of its log-odds
FOLDS = 5
BINS = 10
_RIDGE = 1.0  # as much as one candidate says: decides only what the data leave open
# Of the coefficient of ln N: namespaces of a store are often nearly of one size, and a coefficient
# that says nothing there says the more of a namespace that grows.
_SIZE_DEVIATION = 0.1
_MOST_NATS = 700.0  # beyond it exp overflows


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Candidates of questions whose answers are known; all arrays are (candidates,).

    `scores` are raw; `words`, `exact` and `most` are what `LexicalWeights` takes, `means`,
    `memories` and `query_tokens` what `Calibration` does: 0, 1 and 1 for scorers that know none of
    it. `questions` numbers the question a candidate is of.
    """

    scores: NDArray[np.float64]
    words: NDArray[np.float64]
    exact: NDArray[np.float64]
    most: NDArray[np.float64]
    means: NDArray[np.float64]
    memories: NDArray[np.float64]
    query_tokens: NDArray[np.float64]
    questions: NDArray[np.int64]
    relevant: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, chosen: NDArray[np.bool_]) -> Observations:
        """Return some of them."""
        return Observations(*(getattr(self, name)[chosen] for name in self.__slots__))

    @classmethod
    def joined(cls, parts: list[Observations]) -> Observations:
        """Return several as one; their questions stay different ones."""
        firsts = np.cumsum([0, *(int(part.questions.max(initial=-1)) + 1 for part in parts)])
        numbers = [part.questions + first for part, first in zip(parts, firsts, strict=False)]
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__
        }
        return cls(**{**columns, "questions": np.concatenate(numbers)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well log-odds say what is relevant: `log_loss` in nats per candidate; `ece`, the mean
    distance of the stated probability from the share that was relevant, over `BINS` bins of equally
    many candidates; `slope`, what the log-odds would have to be multiplied by (1 is right, less
    means that they are too certain).
    """

    log_loss: float
    ece: float
    slope: float


def fit_contrast(
    observed: Observations, weights: NDArray[np.float64] | None = None
) -> ContrastCalibration:
    """Return the calibration of an encoder's scores.

    What the observations leave open is near to what holds without them: one relevant memory in a
    namespace, however many there are, and a slope that grows with the number of query tokens.

    Args:
        weights: (candidates,), what each counts; by default all the same.
    """
    share = np.log(np.clip(observed.query_tokens, 1, MOST_TOKENS)) / math.log(MOST_TOKENS)
    contrast = observed.scores - observed.means
    size = np.log(np.maximum(observed.memories, 1.0))
    columns = np.stack([contrast * (1.0 - share), contrast * share, size], axis=1)
    bias, (one, most, slope_ln_memories) = _logistic(
        columns,
        observed.relevant,
        weights,
        towards=np.array([0.0, 0.0, -1.0]),
        within=[None, None, _SIZE_DEVIATION],
        least=[LEAST_SLOPE, LEAST_SLOPE, None],
    )
    return ContrastCalibration(
        bias=bias,
        slope=one,
        slope_ln_tokens=(most - one) / math.log(MOST_TOKENS),
        slope_ln_memories=slope_ln_memories,
    )


def fit_lexical(
    observed: Observations, calibration: Calibration, weights: NDArray[np.float64] | None = None
) -> LexicalWeights:
    """Return what it says that candidates hold what is named, beside the log-odds of their scores.

    Args:
        weights: (candidates,), what each counts; by default all the same.
    """
    _, (word, absent) = _logistic(
        np.stack([observed.words, -observed.most], axis=1),
        observed.relevant,
        weights,
        towards=np.zeros(2),
        within=[None, None],
        least=[0.0, 0.0],
        beside=log_odds_of(calibration, observed) + EXACT * observed.exact,
    )
    return LexicalWeights(word=word, exact=EXACT, absent=absent)


def fit_platt(
    observed: Observations, kind: ScoreKind, weights: NDArray[np.float64] | None = None
) -> PlattCalibration:
    """Return the calibration of scores that come without the statistics of a corpus.

    Source: Platt, Probabilistic outputs for support vector machines, 1999.
    """
    columns = PlattCalibration.transformed(observed.scores, kind)[:, None]
    bias, (slope,) = _logistic(
        columns,
        observed.relevant,
        weights,
        towards=np.zeros(1),
        within=[None],
        least=[LEAST_SLOPE],
    )
    return PlattCalibration(kind=kind, bias=bias, slope=slope)


def log_odds_of(calibration: Calibration, observed: Observations) -> NDArray[np.float64]:
    """Return the log-odds of every candidate, (candidates,)."""
    nats = np.empty(len(observed))
    order = np.argsort(observed.questions, kind="stable")
    ends = np.flatnonzero(np.diff(observed.questions[order])) + 1
    for own in np.split(order, ends) if len(order) else ():
        first = own[0]
        nats[own] = calibration(
            observed.scores[own],
            mean=float(observed.means[first]),
            memories=int(observed.memories[first]),
            query_tokens=int(observed.query_tokens[first]),
        )
    return nats


def cross_validated(
    fit: Callable[[Observations], Calibration], observed: Observations, *, seed: int
) -> Quality:
    """Return how well a fit does on questions it has not seen, each in one of `FOLDS` parts."""
    questions = np.unique(observed.questions)
    fold_of = np.random.default_rng(seed).permutation(len(questions)) % FOLDS
    fold = fold_of[np.searchsorted(questions, observed.questions)]
    nats = np.empty(len(observed))
    for number in range(min(FOLDS, len(questions))):
        held = fold == number
        nats[held] = log_odds_of(fit(observed.of(~held)), observed.of(held))
    return quality(nats, observed.relevant)


def quality(nats: NDArray[np.float64], relevant: NDArray[np.bool_]) -> Quality:
    """Return how well log-odds say what is relevant; both are (candidates,)."""
    signed = np.where(relevant, nats, -nats)
    probabilities = _sigmoid(nats)
    order = np.argsort(nats, kind="stable")
    error = 0.0
    for part in np.array_split(order, min(BINS, len(order))):
        error += abs(float(np.sum(probabilities[part]) - np.count_nonzero(relevant[part])))
    _, (slope,) = _logistic(
        nats[:, None], relevant, None, towards=np.zeros(1), within=[None], least=[None]
    )
    return Quality(
        log_loss=float(np.mean(np.logaddexp(0.0, -signed))),
        ece=error / len(nats),
        slope=slope,
    )


def _logistic(
    columns: NDArray[np.float64],
    relevant: NDArray[np.bool_],
    weights: NDArray[np.float64] | None,
    *,
    towards: NDArray[np.float64],
    within: list[float | None],
    least: list[float | None],
    beside: NDArray[np.float64] | None = None,
) -> tuple[float, list[float]]:
    """Return bias and coefficients of a logistic regression.

    Args:
        columns: (candidates, coefficients).
        towards: (coefficients,), what each is where the data say nothing.
        within: how far from that it is expected to be (a standard deviation); None: as little is
            known of it as one candidate would say.
        least: lower bound per coefficient.
        beside: (candidates,), log-odds that are known and stay as they are: without a bias.
    """
    from scipy.optimize import minimize  # half a second that only a fit pays

    counts = np.ones(len(columns)) if weights is None else weights
    centre = np.average(columns, axis=0, weights=counts)
    spread = np.sqrt(np.average((columns - centre) ** 2, axis=0, weights=counts))
    known = np.zeros(len(columns)) if beside is None else beside
    if beside is not None:
        centre = np.zeros_like(centre)
    spread = np.where(spread > 1e-9, spread, 1.0)
    scaled = (columns - centre) / spread
    target = towards * spread
    strength = np.array(
        [
            _RIDGE if deviation is None else 1.0 / (deviation * width) ** 2
            for deviation, width in zip(within, spread.tolist(), strict=True)
        ]
    )
    labels = relevant.astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nats = known + parameters[0] + scaled @ parameters[1:]
        wrong = counts * (_sigmoid(nats) - labels)
        pull = parameters[1:] - target
        value = float(np.sum(counts * (np.logaddexp(0.0, nats) - labels * nats)))
        slope = np.concatenate([[np.sum(wrong)], scaled.T @ wrong + strength * pull])
        return value + 0.5 * float(strength @ pull**2), slope

    free: tuple[float | None, float | None] = (None, None) if beside is None else (0.0, 0.0)
    bounds = [free] + [
        (None if bound is None else bound * width, None)
        for bound, width in zip(least, spread.tolist(), strict=True)
    ]
    share = float(np.clip(np.average(labels, weights=counts), 1e-6, 1.0 - 1e-6))
    bias = math.log(share / (1.0 - share)) if beside is None else 0.0
    start = np.concatenate([[bias], target])
    options = {"maxiter": 1_000, "ftol": 1e-14, "gtol": 1e-9}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    coefficients = found[1:] / spread
    return float(found[0] - coefficients @ centre), coefficients.tolist()


def _sigmoid(nats: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded = np.clip(nats, -_MOST_NATS, _MOST_NATS)
    probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-bounded))
    return probabilities
