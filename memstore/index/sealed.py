"""The sealed tier: search over compressed segments that share one codec.

PLAID's stages (Santhanam et al., CIKM 2022): score the centroids, collect candidate passages,
rank them by the centroids of their tokens, decompress the best and score these exactly.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from memstore.errors import BadInput, IndexDamaged
from memstore.index._kernels import (
    approximate_scores,
    byte_table,
    centroid_scores,
    largest,
    nearest_centroids,
    probe,
    sealed_maxima,
)
from memstore.index.codec import gpu_driver
from memstore.index.files import ADVICE
from memstore.index.segments import Ids, Segment, Slots, StoredCodec
from memstore.maxsim import TokenVectors

Owners = NDArray[np.int64]
Mask = NDArray[np.bool_]  # (slots,)

_NEAR_CENTROIDS = 4
_NEAR_PASSAGES = 4

# Passages from which on 'auto' is a GPU if there is one and torch is loaded anyway. Copying the
# tier there takes seconds, and the kernels answer from smaller ones within 2 ms.
_GPU_FROM = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class Depths:
    """How far each stage of one search goes; `depths_for` chooses them."""

    exact: int
    """Passages that are decompressed and scored exactly. Up to as many allowed ones, all are."""

    exhaustive: int
    """Up to so many allowed passages, every one is ranked by centroids; beyond, those are that the
    inverted lists of the nearest centroids name."""

    nprobe: int
    """Centroids per query token whose inverted lists are read."""


def depths_for(
    limit: int,
    passages: int,
    *,
    exact: int | None = None,
    exhaustive: int | None = None,
    nprobe: int | None = None,
) -> Depths:
    """Return the depths for the best `limit` of so many allowed passages.

    Exact scores for four times what is asked for and at least 128; beyond 32,768 passages, where
    more of them are nearly alike, six times and at least 512. Inverted lists beyond 4,096
    passages: below, passing over all codes costs no more; half as many beyond 524,288, which are
    longer. The measurements are in `docs/performance.md`.

    Args:
        exact, exhaustive, nprobe: replace what would be chosen.
    """
    chosen = max(128, 4 * limit) if passages <= 32_768 else max(512, 6 * limit)
    return Depths(
        exact=chosen if exact is None else max(exact, limit),
        exhaustive=4096 if exhaustive is None else exhaustive,
        nprobe=(8 if passages <= 524_288 else 4) if nprobe is None else nprobe,
    )


@dataclass(frozen=True, slots=True, eq=False)
class SealedView:
    """The sealed tier at one moment. Slots count through all segments, one after another.

    Shapes: owners (slots,), the store's position of the memory each passage belongs to, -1 for a
    deleted passage.
    """

    stored: StoredCodec | None  # None: nothing was ever sealed
    segments: tuple[Segment, ...]
    owners: Owners

    def __len__(self) -> int:
        return len(self.owners)

    def parts(self) -> Iterator[tuple[int, Segment]]:
        """Yield each segment with the number of slots before it."""
        base = 0
        for segment in self.segments:
            yield base, segment
            base += len(segment)

    def passage_ids(self, slots: Slots) -> Ids:
        """Return the ids of the passages in some slots, given ascending."""
        found = [segment.passage_ids[own] for segment, own in split(slots, self.segments)]
        return np.concatenate([*found, np.empty(0, np.int64)])

    def check(self, passage_ids: Ids) -> None:
        """Refuse those of some passages that are sealed here and not as they were written.

        Raises:
            IndexDamaged: one of them is not.
        """
        for segment in self.segments:
            segment.check(segment.slots_of(passage_ids))

    def vectors(self, slots: Slots) -> Iterator[TokenVectors]:
        """Yield the decoded vectors of each slot, given ascending: (tokens, dim), unit rows."""
        assert self.stored is not None or len(slots) == 0
        for segment, own in split(slots, self.segments):
            for slot in own.tolist():
                tokens = slice(int(segment.offsets[slot]), int(segment.offsets[slot + 1]))
                assert self.stored is not None
                try:
                    vectors = self.stored.codec.decode(
                        segment.codes[tokens], segment.residuals[tokens]
                    )
                except IndexError as error:
                    raise _damaged(segment, error) from error
                yield vectors

    def search(
        self, query: TokenVectors, device: str = "cpu", *, passages: int | None = None
    ) -> SealedSearch:
        """Begin a search with query vectors, (query tokens, dim), any number of them.

        Args:
            device: 'cuda' or 'cuda:1' is that GPU, 'auto' one if it pays, others the CPU.
            passages: how many are to be searched, which decides whether it pays; by default all.

        Raises:
            BadInput: another dimension, no token, a value that is not finite, or a GPU that
                cannot be used.
        """
        passages = len(self) if passages is None else passages
        if device.startswith("cuda") or (device == "auto" and _gpu_may_pay(passages)):
            from memstore.index.torch_search import TorchSearch, place_for  # loads torch

            place = place_for(self, device)
            if place is not None:
                return TorchSearch(self, query, place)
        return SealedSearch(self, query)


class SealedSearch:
    """One query over one view; its results depend on nothing that was asked before."""

    def __init__(self, view: SealedView, query: TokenVectors) -> None:
        stored = view.stored
        assert stored is not None, "there is nothing sealed to search"
        self._view = view
        self._query = np.ascontiguousarray(query, dtype=np.float32)
        if self._query.ndim != 2 or self._query.shape[1] != stored.dim:
            raise BadInput(
                f"cannot search with this query: it is {self._query.shape}, not (any, {stored.dim})"
            )
        try:
            self._scores, self._bounds = centroid_scores(
                stored.panels, len(stored), stored.unit, self._query
            )
        except ValueError as error:
            raise BadInput(f"cannot search with this query: {error}") from error

    def maxima(self, slots: Slots) -> NDArray[np.float32]:
        """Return, per slot (given ascending) and query token, the best match in the passage.

        Exact over the decoded vectors: (slots, query tokens).
        """
        stored = self._view.stored
        assert stored is not None
        found = []
        for segment, own in split(slots, self._view.segments):
            try:
                maxima = sealed_maxima(
                    segment.codes,
                    segment.residuals,
                    segment.inverse_norms,
                    segment.offsets,
                    own,
                    self._scores,
                    self._query,
                    stored.weights,
                )
            except IndexError as error:
                raise _damaged(segment, error) from error
            found.append(maxima)
        return _joined(found) if found else np.empty((0, len(self._query)), np.float32)

    def candidates(
        self,
        weights: NDArray[np.floating],
        allowed: Mask,
        depths: Depths,
        *,
        owners: Owners | None = None,
        memories: int = 0,
    ) -> Slots:
        """Return the slots worth scoring exactly, ascending: at most `depths.exact`, all of them
        allowed, and so many if as many are allowed.

        Args:
            weights: (query tokens,), each >= 0: how much each counts in the final score.
            allowed: (slots,).
            owners: (slots,), the memory each passage belongs to; if given, the slots are of at
                least so many `memories`, if so many have an allowed one and `depths.exact` is not
                less: a long text of many passages leaves room for others.
        """
        count = np.count_nonzero(allowed)
        if count <= depths.exact:
            return np.flatnonzero(allowed)
        slots = self._probe(allowed, depths.nprobe) if count > depths.exhaustive else None
        if (
            slots is None
            or len(slots) < depths.exact  # the lists missed what the filter allows
            or _count(owners, slots, memories) < memories
        ):
            slots = np.flatnonzero(allowed)
        table = byte_table(
            self._scores, self._bounds, np.ascontiguousarray(weights, dtype=np.float32)
        )
        found = []
        for segment, own in split(slots, self._view.segments):
            try:
                scores = approximate_scores(segment.codes, segment.offsets, own, table)
            except IndexError as error:
                raise _damaged(segment, error) from error
            found.append(scores)
        scores = _joined(found)
        best = slots[largest(scores, depths.exact)]
        if owners is None or _count(owners, best, memories) >= memories:
            return best
        return slots[spread(scores, owners[slots], depths.exact, memories)]

    def witnesses(self, allowed: Mask) -> Slots:
        """Return a few allowed slots near each query token, ascending: where it matches best.

        The first four allowed passages of each of the token's four nearest centroids. On LoCoMo
        their best match gives the tokens weights that rank as the true ones do (nDCG@10 .6084 and
        .6086); two passages of the nearest centroid give .605, none .597.
        """
        nearest = distinct(self._nearest(_NEAR_CENTROIDS))
        taken = np.zeros(len(nearest), dtype=np.int64)
        found = [np.empty(0, np.int64)]
        for base, segment in self._view.parts():
            lists, offsets = segment.inverted
            lengths = offsets[nearest + 1] - offsets[nearest]
            before = np.cumsum(lengths) - lengths
            places = np.repeat(offsets[nearest] - before, lengths) + np.arange(lengths.sum())
            own = lists[places].astype(np.int64)
            if len(own) and not 0 <= own.min() <= own.max() < len(segment):
                raise IndexDamaged(
                    f"{segment.folder} lists a slot {own.min()} or {own.max()} of {len(segment)}. "
                    f"{ADVICE}"
                )
            centroids = np.repeat(np.arange(len(nearest)), lengths)
            inside = allowed[base + own]
            slots, centroids = base + own[inside], centroids[inside]
            counts = np.bincount(centroids, minlength=len(nearest))
            place = np.arange(len(slots)) - np.repeat(np.cumsum(counts) - counts, counts)
            found.append(slots[place + taken[centroids] < _NEAR_PASSAGES])
            taken += counts
        return distinct(np.concatenate(found))

    def _nearest(self, count: int) -> NDArray[np.int32]:
        """Return the best centroids of each query token, (query tokens, count)."""
        return nearest_centroids(self._scores, self._bounds, len(self._query), count)

    def _probe(self, allowed: Mask, nprobe: int) -> Slots:
        cells = self._nearest(nprobe).ravel()
        found = []
        for base, segment in self._view.parts():
            try:
                own = probe(cells, *segment.inverted, allowed[base : base + len(segment)])
            except IndexError as error:
                raise _damaged(segment, error) from error
            found.append(base + own)
        return _joined(found)


def spread(
    scores: NDArray[np.generic], owners: Owners, count: int, memories: int
) -> NDArray[np.int64]:
    """Return the positions of the best scores, ascending, with no more of one owner than leave
    room for so many memories.

    Args:
        scores, owners: (n,).
        count: how many positions; at least `memories`.

    >>> spread(np.array([9, 8, 7, 1]), np.array([0, 0, 0, 1]), count=2, memories=2).tolist()
    [0, 3]
    """
    order = np.lexsort((-scores.astype(np.float64), owners))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = owners[order][1:] != owners[order][:-1]
    starts = np.flatnonzero(first)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    kept = np.sort(order[rank < max(1, count // memories)])
    best = np.argsort(-scores[kept].astype(np.float64), kind="stable")[:count]
    return np.sort(kept[best])


def _count(owners: Owners | None, slots: Slots, enough: int) -> int:
    """Return how many memories some passages are of; `enough` where nobody asks."""
    if owners is None:
        return enough
    some = len(distinct(owners[slots[: 8 * enough]]))  # mostly enough, and a tenth of the work
    return some if some >= enough else len(distinct(owners[slots]))


def distinct(numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the numbers once each, ascending: np.unique costs a cold query 7 ms to load."""
    ordered: NDArray[np.int64] = np.sort(numbers, axis=None).astype(np.int64)
    new = np.ones(len(ordered), dtype=np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new]


def _gpu_may_pay(passages: int) -> bool:
    """Say whether to ask torch for a GPU; never loads it."""
    if passages < _GPU_FROM or "torch" not in sys.modules:
        return False
    return gpu_driver()


def _damaged(segment: Segment, error: IndexError) -> IndexDamaged:
    """Return the error for a number in a segment's files that points outside an array."""
    return IndexDamaged(f"{segment.folder} is damaged: {error}. {ADVICE}")


_Number = TypeVar("_Number", bound=np.generic)


def _joined(parts: list[NDArray[_Number]]) -> NDArray[_Number]:
    """Return arrays one after another; a single one, as it mostly is, without copying it."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def split(slots: Slots, segments: Sequence[Segment]) -> Iterator[tuple[Segment, Slots]]:
    """Yield each segment that has some of the slots, which must ascend, with their positions
    in it.
    """
    base = first = 0
    for segment in segments:
        last = int(slots.searchsorted(base + len(segment)))
        if last > first:
            own = slots[first:last]
            yield segment, own - base if base else own
        base += len(segment)
        first = last
