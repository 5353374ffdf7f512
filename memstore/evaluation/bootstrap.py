"""How far a mean difference may be an accident of which questions were asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
# Of five questions even a unanimous verdict has a two-sided chance of 1 in 16 (sign test).
LEAST_QUESTIONS = 6
_MOST_DRAWN = 2_000_000  # numbers in memory at once: 32 MB


def interval(
    differences: NDArray[np.float64], *, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of the mean, None for too few questions.

    The questions are drawn again with replacement; both arms of a difference answer the same ones,
    which makes it a paired bootstrap.

    Args:
        differences: (questions,), of one arm to another on the same question.

    Returns:
        Between these two lie 95 % of the means of `resamples` draws.
    """
    count = len(differences)
    if count < LEAST_QUESTIONS:
        return None
    from scipy import stats  # half a second that only a comparison pays

    found = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _MOST_DRAWN // count),
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
