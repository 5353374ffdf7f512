"""Dates that a query names, as evidence: memories of that time count as if they mentioned it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]  # (candidates,): UTC microseconds, NaN where unknown


def happened_within(t_ref: Times, t_end: Times, start: int, end: int) -> NDArray[np.bool_]:
    """Return which memories are of the time from `start` until `end`, (candidates,).

    Args:
        t_ref: the time of each; the start of a coarse date.
        t_end: the end of a coarse date, which must lie within as well; NaN of an instant.

    >>> known, unknown = np.array([4.0, 5.0, 5.0, 9.0]), np.nan
    >>> happened_within(known, np.array([unknown, unknown, 10.0, unknown]), 5, 9).tolist()
    [False, True, False, False]
    """
    return (t_ref >= start) & (t_ref < end) & ~(t_end > end)
