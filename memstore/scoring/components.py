"""What each component says about a memory, from its columns: dimensionless values around 0.

A missing value is neutral: 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]  # (candidates,)


def currency(age_days: Values, half_life_days: Values) -> Values:
    """Return how fresh a memory is, in (-1, 1]: 1 when new, 0 at its half-life.

    Args:
        age_days: age of the fact; NaN when its time is unknown.
        half_life_days: positive; infinity for what never ages.

    >>> currency(np.array([0.0, 365.0, np.nan]), np.array([365.0, 365.0, 365.0])).tolist()
    [1.0, 0.0, 0.0]
    """
    age = np.maximum(age_days, 0.0)
    fresh = 2.0 / np.sqrt(1.0 + 3.0 * age / half_life_days) - 1.0
    known = ~np.isnan(age_days) & np.isfinite(half_life_days)
    return np.where(known, fresh, 0.0)


def trust(alpha: Values, beta: Values) -> Values:
    """Return how far the evidence supports a memory, in [-2, 1]: certainty adds at most one unit,
    doubt takes up to two.

    >>> trust(np.array([1.0, 2.0, 0.0]), np.array([1.0, 0.0, 2.0])).tolist()
    [0.0, 1.0, -2.0]
    """
    share = alpha / (alpha + beta)
    return np.log2(2.0 * np.maximum(share, 0.125))


def entity_coverage(shared: NDArray[np.bool_], mentions: Values, memories: int) -> Values:
    """Return the share of the query's entities that a memory mentions, rare ones counting more.

    Args:
        shared: (candidates, query entities), whether the memory mentions the entity.
        mentions: (query entities,), live memories of the namespace that mention it.
        memories: live memories in the namespace.

    Returns:
        (candidates,), in [0, 1]; 0 without query entities.
    """
    if memories == 0 or shared.shape[1] == 0:
        return np.zeros(len(shared))
    weight = np.log((memories + 1.0) / (mentions + 1.0)) / np.log(memories + 1.0)
    total = float(weight.sum())
    if total <= 0.0:
        return np.zeros(len(shared))
    covered = np.zeros(len(shared))
    for column in range(shared.shape[1]):  # few columns; a fixed order keeps every row's bits
        covered += weight[column] * shared[:, column]
    return covered / total
