"""How far a mean difference may be an accident of which questions were asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
# Of five questions even a unanimous verdict has a two-sided chance of 1 in 16 (sign test).
LEAST_QUESTIONS = 6
_MOST_DRAWN = 2_000_000  # numbers in memory at once: 32 MB


class Interval(NamedTuple):
    """The ends between which 95 % of the means of the draws lie, and the two-sided chance `p` that
    a difference of 0 looks like this one.
    """

    low: float
    high: float
    p: float


def interval(
    differences: NDArray[np.float64],
    *,
    seed: int,
    clusters: NDArray[np.int64] | None = None,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Return the percentile bootstrap interval of the mean, None for too few questions.

    The questions are drawn again with replacement; both arms of a difference answer the same ones,
    which makes it a paired bootstrap. With clusters whole ones are drawn, since questions about the
    same conversation are not independent.

    Args:
        differences: (questions,), of one arm to another on the same question.
        clusters: (questions,), the number of each question's cluster; None if there is one.
    """
    if len(differences) < LEAST_QUESTIONS:
        return None
    of = np.arange(len(differences)) if clusters is None else clusters
    sums, counts = np.bincount(of, weights=differences), np.bincount(of)
    sums, counts = sums[counts > 0], counts[counts > 0]
    from scipy import stats  # half a second that only a comparison pays

    found = stats.bootstrap(
        (sums, counts),
        lambda drawn, sizes, axis: drawn.sum(axis=axis) / sizes.sum(axis=axis),
        n_resamples=resamples,
        batch=max(1, _MOST_DRAWN // len(sums)),
        vectorized=True,
        paired=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = found.confidence_interval
    return Interval(float(low), float(high), _chance(found.bootstrap_distribution, len(sums)))


def _chance(means: NDArray[np.float64], count: int) -> float:
    """Return twice the smaller share of draws on either side of 0, but no less than what a verdict
    that all questions (or clusters) agree in has by chance: 2^(1 - count).
    """
    tail = int(min(np.count_nonzero(means <= 0.0), np.count_nonzero(means >= 0.0)))
    return min(1.0, max(2.0 * (tail + 1) / (len(means) + 1), 2.0 ** (1 - count)))


def holm(chances: Sequence[float]) -> list[float]:
    """Return the chances of several comparisons, corrected for how many there are.

    At most 5 in 100 families of comparisons without any difference then have one below .05.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    >>> holm([0.04, 0.01, 0.5])
    [0.08, 0.03, 0.5]
    """
    corrected = [0.0] * len(chances)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=lambda at: chances[at])):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[place]))
        corrected[place] = largest
    return corrected
