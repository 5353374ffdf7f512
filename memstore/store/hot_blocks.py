"""The hot tier's vectors, read some passages at a time, for whoever compresses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from memstore.catalog import vectors
from memstore.errors import IndexDamaged
from memstore.index import dequantize
from memstore.maxsim import TokenVectors

Hot = Sequence[tuple[int, int]]  # (passage id, tokens), ascending


@dataclass(frozen=True, slots=True, eq=False)
class HotBlock:
    """Some passages: ids, rows, lengths (passages,); vectors (tokens, dim)."""

    ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]
    vectors: TokenVectors


def hot_blocks(connection: Connection, hot: Hot, dim: int, *, tokens: int) -> Iterator[HotBlock]:
    """Yield the passages in blocks of at most so many tokens, or of a single passage.

    Raises:
        IndexDamaged: vectors are not as they were written.
    """
    for block in _blocks(hot, tokens):
        wanted = set(block)
        found = vectors.hot_passages_between(connection, block[0], block[-1])
        items = [item for item in found if item.passage_id in wanted]
        for item in items:
            if wrong := item.wrong(dim):
                raise IndexDamaged(wrong)
        codes = np.frombuffer(b"".join(item.codes for item in items), dtype=np.int8)
        scales = np.frombuffer(b"".join(item.scales for item in items), dtype="<f4")
        yield HotBlock(
            np.array([item.passage_id for item in items], dtype=np.int64),
            np.array([item.memory_row for item in items], dtype=np.int64),
            np.array([item.tokens for item in items], dtype=np.int64),
            dequantize(codes.reshape(len(scales), dim), scales),
        )


def sampled(blocks: Iterable[TokenVectors], total: int, count: int, dim: int) -> TokenVectors:
    """Return `count` of a total of vectors, chosen by chance and always the same, or all."""
    count = min(count, total)
    chance = np.random.default_rng(total)
    # without shuffling, memory grows with what is chosen and not with the total
    wanted = np.sort(chance.choice(total, count, replace=False, shuffle=False))
    chosen = np.empty((count, dim), dtype=np.float32)
    first = done = 0
    for block in blocks:
        last = int(np.searchsorted(wanted, first + len(block)))
        chosen[done:last] = block[wanted[done:last] - first]
        first, done = first + len(block), last
    return chosen


def _blocks(hot: Hot, most: int) -> Iterator[list[int]]:
    block: list[int] = []
    tokens = 0
    for id_, size in hot:
        if block and tokens + size > most:
            yield block
            block, tokens = [], 0
        block.append(id_)
        tokens += size
    if block:
        yield block
