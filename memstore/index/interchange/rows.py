"""Chosen rows of several arrays as one, read when a slice of it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memstore.index.interchange.content import TokenRows

Bounds = NDArray[np.int64]


class ChosenRows:
    """The rows [start, stop) of arrays, one run after another, without a copy of the whole.

    Args:
        parts: an array, and starts and stops of the runs wanted of it, each (runs,).

    Shapes: the arrays are (any, *row) with one row shape and type.

    >>> rows = ChosenRows([(np.arange(10), np.array([0, 7]), np.array([2, 9])),
    ...                    (np.arange(90, 99), np.array([3]), np.array([5]))])
    >>> len(rows), rows[1:5].tolist()
    (6, [1, 7, 8, 93])
    """

    def __init__(self, parts: Sequence[tuple[TokenRows, Bounds, Bounds]]) -> None:
        self._arrays = [array for array, _, _ in parts]
        self._array_of = np.repeat(np.arange(len(parts)), [len(starts) for _, starts, _ in parts])
        self._starts = np.concatenate([starts for _, starts, _ in parts])
        stops = np.concatenate([stops for _, _, stops in parts])
        self._firsts = np.concatenate([[0], np.cumsum(stops - self._starts)])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._arrays[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._arrays[0].dtype

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("only whole slices can be read")
        found = [self._arrays[0][:0]]
        run = int(np.searchsorted(self._firsts, first, side="right")) - 1
        while first < last:
            start = int(self._starts[run]) + first - int(self._firsts[run])
            count = min(last, int(self._firsts[run + 1])) - first
            found.append(self._arrays[self._array_of[run]][start : start + count])
            first += count
            run += 1
        return np.concatenate(found)
