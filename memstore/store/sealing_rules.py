"""What maintenance is due: which segments to merge, when a codec has had its day, and which of its
centroids tell of what was purged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memstore.errors import IndexDamaged
from memstore.index import Codec, StoredCodec, centroid_count
from memstore.index.codec import half_precision
from memstore.index.files import ADVICE
from memstore.store.index_files import OpenSegment

_FAN_IN = 4  # segments of about one size that are merged into one
_GROWTH = 4  # as many times the centroids would suit than when it was trained: trained anew
_MOST_DELETED = 0.25  # of a segment's tokens: then it is rewritten without them
_FEW_PASSAGES = 16  # whose mean a centroid is: a purged vector could be told from the others


def outgrown(stored: StoredCodec, tokens: int) -> bool:
    """Say whether a store of so many tokens needs another codec: four times the centroids."""
    # not by its centroids alone, of which there are few where most vectors are the same
    suited = max(len(stored), centroid_count(stored.made_for))
    return centroid_count(tokens) >= _GROWTH * suited


def telling_centroids(stored: StoredCodec, found: Sequence[OpenSegment]) -> NDArray[np.bool_]:
    """Return the centroids that may tell a deleted passage's vector, (K,).

    Those that few living passages have beside a deleted one, and those that none has: their
    passages may have gone with an earlier merge.
    """
    kept = np.zeros(len(stored), dtype=np.int64)
    every = np.zeros_like(kept)
    for item in found:
        slots, offsets = item.files.inverted
        if len(slots) and not 0 <= slots.min() <= slots.max() < len(item.files):
            raise IndexDamaged(f"{item.files.folder}: its inverted lists are damaged. {ADVICE}")
        sums = np.zeros(len(slots) + 1, dtype=np.int64)
        np.cumsum(item.keep[slots], out=sums[1:])
        kept += np.diff(sums[offsets])
        every += np.diff(offsets)
    telling: NDArray[np.bool_] = (kept == 0) | ((every > kept) & (kept < _FEW_PASSAGES))
    return telling & stored.codec.centroids.any(axis=1)  # the others were replaced before


def has_any(item: OpenSegment, centroids: NDArray[np.bool_]) -> bool:
    """Say whether a segment has tokens of some centroids, (K,)."""
    return bool(np.diff(item.files.inverted[1])[centroids].any())


def without(codec: Codec, found: Sequence[OpenSegment], telling: NDArray[np.bool_]) -> Codec:
    """Return a codec with means of living vectors in place of some centroids, else zeros."""
    sums = np.zeros_like(codec.centroids)
    for item in found:
        for slots in item.files.blocks(item.keep) if has_any(item, telling) else ():
            tokens = item.files.tokens_of(slots)
            codes, residuals = item.files.encoded(tokens[telling[item.files.codes[tokens]]])
            np.add.at(sums, codes, codec.decode(codes, residuals))
    centroids = codec.centroids.copy()
    centroids[telling] = half_precision(sums[telling])
    return Codec(centroids, codec.cutoffs, codec.weights)


def next_pile(found: Sequence[OpenSegment]) -> list[OpenSegment]:
    """Return the segments to merge next, none if nothing is due."""
    for item in found:
        if item.files.tokens and item.live_tokens < (1 - _MOST_DELETED) * item.files.tokens:
            return [item]
    # not only neighbours: where sizes alternate, these would never pile up
    sizes: dict[int, list[OpenSegment]] = {}
    for item in found:
        sizes.setdefault(int(np.log(max(item.live_tokens, 1)) / np.log(_FAN_IN)), []).append(item)
    for size in sorted(sizes):
        if len(sizes[size]) >= _FAN_IN:
            return sizes[size][:_FAN_IN]
    return []
