"""How long a memory stays current: its own half-life, or its kind's, or the profile's."""

from __future__ import annotations

import math

import numpy as np

from memstore.scoring.components import Values

# in days; a kind that is not here has the profile's
KIND_HALF_LIVES: dict[str, float] = {
    "task": 14.0,
    "state": 14.0,
    "episodic": 90.0,
    "event": 90.0,
    "message": 90.0,
    "fact": 730.0,
    "preference": 730.0,
    "evergreen": math.inf,
}


def half_life_days(own_seconds: Values, kind_days: Values, profile_days: float) -> Values:
    """Return the half-life of each memory, in days: the memory's, else its kind's, else the
    profile's.

    Args:
        own_seconds: what was set for the memory; NaN where nothing was, infinity for never.
        kind_days: what its kind has; NaN where it has none.

    >>> own, kind = np.array([86400.0, np.nan, np.nan]), np.array([14.0, 14.0, np.nan])
    >>> half_life_days(own, kind, 365.0).tolist()
    [1.0, 14.0, 365.0]
    """
    of_kind = np.where(np.isnan(kind_days), profile_days, kind_days)
    return np.where(np.isnan(own_seconds), of_kind, own_seconds / 86_400.0)
