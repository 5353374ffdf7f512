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


def use_mass(recent_ages: NDArray[np.float64], counts: Values, first_ages: Values) -> Values:
    """Return the sum of (1 + age)^-1/2 over a memory's uses, ages in days: S, at least 0.

    Exact for the retained uses. The others are spread evenly between the oldest retained one and
    the first, so S is at most a few hundredths off in use / (use + 1) where a ring holds 8.

    Args:
        recent_ages: (candidates, k) days, of the most recent uses in any order; NaN where there
            is none.
        counts: uses in all.
        first_ages: days since the first use; NaN without one.

    Source: Petrov 2006, "Computationally efficient approximation of the base-level learning
    equation in ACT-R", with the kernel shifted by one day so that it is finite at age 0.

    >>> use_mass(np.array([[0.0, 3.0], [0.0, 3.0]]), np.array([2.0, 4.0]), np.array([3.0, 24.0]))
    array([1.5       , 2.07142857])
    """
    mass = np.zeros(len(recent_ages))
    retained = np.zeros(len(recent_ages))
    oldest = np.zeros(len(recent_ages))
    # few columns; one fixed order of the sums keeps every row's bits
    for column in range(recent_ages.shape[1]):
        known = ~np.isnan(recent_ages[:, column])
        age = np.where(known, np.maximum(recent_ages[:, column], 0.0), 0.0)
        mass += np.where(known, 1.0 / np.sqrt(1.0 + age), 0.0)
        retained += known
        oldest = np.maximum(oldest, age)
    first = np.fmax(first_ages, oldest)
    # the kernel's mean between two ages, its integral over their distance, without the difference
    # of two roots that loses its digits where the ages are close
    mean = 2.0 / (np.sqrt(1.0 + first) + np.sqrt(1.0 + oldest))
    return mass + np.maximum(counts - retained, 0.0) * mean


def use(mass: Values) -> Values:
    """Return how much a memory was used, in [0, 1): 0 without a use, 1/2 for one right now.

    Args:
        mass: of `use_mass`, at least 0.

    >>> use(np.array([0.0, 1.0, 3.0])).tolist()
    [0.0, 0.5, 0.75]
    """
    return mass / (mass + 1.0)


def trust(alpha: Values, beta: Values) -> Values:
    """Return how far the evidence supports a memory, in [-2, 1]: certainty adds at most one unit,
    doubt takes up to two.

    >>> trust(np.array([1.0, 2.0, 0.0]), np.array([1.0, 0.0, 2.0])).tolist()
    [0.0, 1.0, -2.0]
    """
    share = alpha / (alpha + beta)
    return np.log2(2.0 * np.maximum(share, 0.125))


def entity_coverage(
    covered: NDArray[np.float64] | NDArray[np.bool_], mentions: Values, memories: int
) -> Values:
    """Return the share of the query's entities that a memory covers, rare ones counting more.

    Args:
        covered: (candidates, query entities), in [0, 1]: 1 or True where the memory mentions the
            entity, less where it mentions a related one.
        mentions: (query entities,), live memories of the namespace that mention it.
        memories: memories searched; fewer than mention an entity when the past is searched.

    Returns:
        (candidates,), in [0, 1]; 0 without query entities.
    """
    if memories == 0 or covered.shape[1] == 0:
        return np.zeros(len(covered))
    weights = np.log((memories + 1.0) / (mentions + 1.0)) / np.log(memories + 1.0)
    found = np.zeros(len(covered))
    total = 0.0
    # few columns; one fixed order of both sums keeps every row's bits and the share at most 1
    for column, weight in enumerate(np.maximum(weights, 0.0).tolist()):
        found += weight * covered[:, column]
        total += weight
    return found / total if total > 0.0 else np.zeros(len(covered))


def npmi(together: Values, first: Values, second: Values, memories: int) -> Values:
    """Return how much more often than by chance two entities meet, in [0, 1]: normalised pointwise
    mutual information, 0 where they meet by chance or less, 1 where neither is without the other.

    Args:
        together: memories that mention both; any shape.
        first: memories that mention the one; of a shape that fits.
        second: memories that mention the other; of a shape that fits.
        memories: memories counted.

    >>> one, ten = np.array([1.0]), np.array([10.0])
    >>> npmi(one, ten, ten, 100).tolist()  # .01 against .1 * .1
    [0.0]
    >>> npmi(one, one, ten, 100).tolist()  # ln 10 of ln 100
    [0.5]
    """
    # counts of different moments may disagree: nobody meets more often than they are mentioned
    met = np.minimum(np.minimum(together, first), second)
    with np.errstate(divide="ignore", invalid="ignore"):
        gained = np.log(met * float(memories) / (first * second)) / np.log(memories / met)
    apart = np.where(met > 0.0, np.clip(gained, 0.0, 1.0), 0.0)
    return np.where((met >= memories) & (met > 0.0), 1.0, apart)
