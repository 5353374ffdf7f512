"""What maintenance is due: which segments to merge, when a codec has had its day, and which of its
centroids tell of what was purged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memstore.catalog.segments import Dropped
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


def dropped_by(stored: StoredCodec, found: Sequence[OpenSegment]) -> Dropped:
    """Return the centroids that deleted passages of segments have."""
    centroids: set[int] = set()
    close: set[int] = set()
    for item in found:
        for slots in item.files.blocks(~item.keep) if len(item.deleted) else ():
            codes, residuals = item.files.encoded(item.files.tokens_of(slots))
            centroids.update(codes.tolist())
            close.update(codes[stored.codec.close(codes, residuals)].tolist())
    return Dropped(frozenset(centroids), frozenset(close))


def telling_centroids(
    stored: StoredCodec, found: Sequence[OpenSegment], dropped: Dropped
) -> NDArray[np.bool_]:
    """Return the centroids that may tell a deleted passage's vector, (K,).

    Those that few living passages have beside a deleted one; those that may be the very vector of
    a deleted token, unless it may be that of many living ones too; and those that no passage has.

    Args:
        dropped: what deleted passages had that earlier merges dropped.
    """
    dropped |= dropped_by(stored, found)
    touched, close = np.zeros((2, len(stored)), dtype=np.bool_)
    touched[[code for code in dropped.centroids if code < len(stored)]] = True
    close[[code for code in dropped.close if code < len(stored)]] = True
    kept = np.zeros(len(stored), dtype=np.int64)
    kept_close = np.zeros_like(kept)
    for item in found:
        slots, offsets = item.files.inverted
        if len(slots) and not 0 <= slots.min() <= slots.max() < len(item.files):
            raise IndexDamaged(f"{item.files.folder}: its inverted lists are damaged. {ADVICE}")
        sums = np.zeros(len(slots) + 1, dtype=np.int64)
        np.cumsum(item.keep[slots], out=sums[1:])
        kept += np.diff(sums[offsets])
        kept_close += _close_passages(stored.codec, item, close)
    few = (touched & (kept < _FEW_PASSAGES)) | (close & (kept_close < _FEW_PASSAGES))
    telling: NDArray[np.bool_] = few | (kept == 0)
    return telling & stored.codec.centroids.any(axis=1)  # the others were replaced before


def _close_passages(
    codec: Codec, item: OpenSegment, wanted: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return how many living passages have tokens close to each of the wanted centroids, (K,)."""
    count = np.zeros(len(wanted), dtype=np.int64)
    for slots in item.files.blocks(item.keep) if has_any(item, wanted) else ():
        lengths = item.files.offsets[slots + 1] - item.files.offsets[slots]
        tokens = item.files.tokens_of(slots)
        chosen = wanted[item.files.codes[tokens]]
        codes, residuals = item.files.encoded(tokens[chosen])
        near = codec.close(codes, residuals)
        pairs = np.stack([codes[near], np.repeat(slots, lengths)[chosen][near]])
        np.add.at(count, np.unique(pairs, axis=1)[0], 1)
    return count


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
