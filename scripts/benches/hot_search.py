"""Hot-tier search against numpy: nanoseconds per token vector, and how many times numpy's time.

The peer is a BLAS product with the token vectors, as 32-bit floats that are there already, and
`np.maximum.reduceat` over passages: in either order of axes, in one piece or in pieces that stay in
the cache, into memory that is there already; whichever is fastest. All take turns in one run; the
figures are medians.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from memstore.index import HotTier, dequantize, quantize
from memstore.index._kernels import instruction_sets

PASSAGES = 2000
DIM = 128
PASSAGES_IN_CACHE = 50
SHORTEST, LONGEST = 10, 52  # tokens of a passage; 31 on average


def unit_rows(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    vectors = rng.standard_normal((rows, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def numpy_contenders(
    vectors: NDArray[np.float32], starts: NDArray[np.int64], query: NDArray[np.float32]
) -> dict[str, Callable[[], Any]]:
    tokens, query_tokens = len(vectors), len(query)
    tall = np.empty((tokens, query_tokens), dtype=np.float32)
    wide = np.empty((query_tokens, tokens), dtype=np.float32)
    pieces = [
        (vectors[first:end], own - first, tall[: end - first])
        for own in np.array_split(starts, PASSAGES // PASSAGES_IN_CACHE)
        for first, end in [(own[0], min([*starts[starts > own[-1]], tokens]))]
    ]

    def tokens_by_query() -> NDArray[np.float32]:
        return np.maximum.reduceat(np.matmul(vectors, query.T, out=tall), starts, axis=0)

    def query_by_tokens() -> NDArray[np.float32]:
        return np.maximum.reduceat(np.matmul(query, vectors.T, out=wide), starts, axis=1)

    def in_pieces() -> NDArray[np.float32]:
        return np.concatenate(
            [
                np.maximum.reduceat(np.matmul(part, query.T, out=out), own, axis=0)
                for part, own, out in pieces
            ]
        )

    return {f.__name__: f for f in (tokens_by_query, query_by_tokens, in_pieces)}


def median_seconds(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            # BLAS threads go on spinning for a while and would slow down whoever comes next.
            time.sleep(0.01)
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: float(np.median(seconds)) for name, seconds in times.items()}


def comparisons(threads: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one result per number of query tokens; the kernel always runs on one thread.

    Args:
        threads: of numpy's BLAS.
    """
    rng = np.random.default_rng(0)
    lengths = rng.integers(SHORTEST, LONGEST + 1, PASSAGES)
    starts = np.cumsum(lengths) - lengths
    codes, scales = quantize(unit_rows(rng, lengths.sum()))
    vectors = dequantize(codes, scales)
    tier = HotTier(DIM)
    ids = np.arange(PASSAGES)
    tier.append(ids, ids, lengths, codes, scales)
    view = tier.view()

    for query_tokens in (8, 16, 32):
        query = unit_rows(rng, query_tokens)
        contenders = {
            "kernel": lambda query=query: view.similarities(query, ids),
            **numpy_contenders(vectors, starts, query),
        }
        with threadpool_limits(threads):
            seconds = median_seconds(contenders, rounds)
        kernel = seconds.pop("kernel")
        fastest, numpy = min(seconds.items(), key=lambda item: item[1])
        yield {
            "bench": "hot_search",
            "instruction_set": instruction_sets()[0],
            "passages": PASSAGES,
            "tokens": len(codes),
            "query_tokens": query_tokens,
            "numpy_threads": threads,
            "kernel_ns_per_token": round(kernel / len(codes) * 1e9, 1),
            "numpy_way": fastest,
            "numpy_ns_per_token": round(numpy / len(codes) * 1e9, 1),
            "numpy_over_kernel": round(numpy / kernel, 2),
            "target": ">= 4 on equal threads" if threads == 1 else "none: two threads against one",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    rounds = parser.parse_args().rounds
    for threads in (1, 2):
        for result in comparisons(threads, rounds):
            print(json.dumps(result))


if __name__ == "__main__":
    main()
