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
    with np.errstate(over="ignore"):  # a half-life of next to nothing: -1 is right
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
        memories: memories searched; fewer than mention an entity when the past is searched.

    Returns:
        (candidates,), in [0, 1]; 0 without query entities.
    """
    if memories == 0 or shared.shape[1] == 0:
        return np.zeros(len(shared))
    weights = np.log((memories + 1.0) / (mentions + 1.0)) / np.log(memories + 1.0)
    covered = np.zeros(len(shared))
    total = 0.0
    # few columns; one fixed order of both sums keeps every row's bits and the share at most 1
    for column, weight in enumerate(np.maximum(weights, 0.0).tolist()):
        covered += weight * shared[:, column]
        total += weight
    return covered / total if total > 0.0 else np.zeros(len(shared))
