"""Exact MaxSim in 32-bit floats: every vector against every query vector."""

from typing import Any

import numpy as np
from serving import Data, serve, timed
from threadpoolctl import threadpool_limits

LIMIT = 10
PIECE_TOKENS = 4_096  # their products with a query stay in the cache

opened: dict[str, Any] = {}


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def open_data(index: str) -> None:
    source = opened["data"] = Data(index)
    vectors = source.vectors()
    pieces, first = [], 0
    while first < len(source.lengths):
        limit = source.offsets[first] + PIECE_TOKENS
        last = max(first + 1, int(np.searchsorted(source.offsets, limit, side="right")) - 1)
        begin, end = source.offsets[first], source.offsets[last]
        pieces.append((vectors[begin:end], source.offsets[first:last] - begin))
        first = last
    opened["pieces"] = pieces


def best(query: np.ndarray) -> np.ndarray:
    scores = np.concatenate(
        [
            np.maximum.reduceat(vectors @ query.T, starts, axis=0).sum(axis=1)
            for vectors, starts in opened["pieces"]
        ]
    )
    if len(scores) <= LIMIT:
        return np.argsort(-scores)
    top = np.argpartition(-scores, LIMIT)[:LIMIT]
    return top[np.argsort(-scores[top])]


def search(data: str, numbers: list[int]) -> dict[str, Any]:
    del data  # it is open
    with threadpool_limits(1):
        return timed(best, [opened["data"].queries[number] for number in numbers])


if __name__ == "__main__":
    serve({"versions": versions, "open": open_data, "search": search})
