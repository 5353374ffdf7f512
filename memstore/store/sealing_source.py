"""What a new segment is written from: segments that it replaces, and hot passages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from memstore.index import Codec, SegmentWriter, copy_segment
from memstore.maxsim import TokenVectors
from memstore.store.hot_blocks import Hot, HotBlock, hot_blocks, sampled
from memstore.store.index_files import OpenSegment

BLOCK_TOKENS = 32_768  # hot vectors in memory at once while they are sealed: 17 MB as floats


@dataclass(frozen=True, slots=True)
class Source:
    """Passages to be written to a new segment: whole segments, then hot ones.

    `reencode` holds the segments' codec if the new segment has another one, `only` the centroids
    in which they differ: (K,), None where all may.
    """

    connection: Connection
    dim: int
    sealed: Sequence[OpenSegment]
    hot: Hot
    reencode: Codec | None = None
    only: NDArray[np.bool_] | None = None

    @property
    def tokens(self) -> int:
        return sum(item.live_tokens for item in self.sealed) + sum(size for _, size in self.hot)

    def copy_to(self, writer: SegmentWriter, progress: Callable[[int], None]) -> None:
        for item in self.sealed:
            copy_segment(
                item.files,
                item.keep,
                writer,
                decode_with=self.reencode,
                only=self.only,
                progress=progress,
            )
        for block in self._hot_blocks():
            writer.append_vectors(block.ids, block.rows, block.lengths, block.vectors)
            progress(len(block.vectors))

    def sample(self, count: int) -> TokenVectors:
        """Return so many token vectors chosen by chance, or all if there are not more."""
        return sampled(self._vectors(), self.tokens, count, self.dim)

    def _vectors(self) -> Iterator[TokenVectors]:
        for item in self.sealed:
            assert self.reencode is not None
            for slots in item.files.blocks(item.keep):
                tokens = item.files.tokens_of(slots)
                yield self.reencode.decode(*item.files.encoded(tokens))
        for block in self._hot_blocks():
            yield block.vectors

    def _hot_blocks(self) -> Iterator[HotBlock]:
        return hot_blocks(self.connection, self.hot, self.dim, tokens=BLOCK_TOKENS)
