"""Late-interaction similarity of arrays, in plain numpy: the reference of every kernel."""

import numpy as np
from numpy.typing import NDArray

TokenVectors = NDArray[np.float32]  # (tokens, dim), rows of length one


def token_maxima(
    query: TokenVectors,
    vectors: NDArray[np.floating],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return, per passage and query token, the highest dot product with any token of the passage.

    Args:
        query: (query tokens, dim).
        vectors: (tokens, dim), the token vectors of all passages.
        starts: (passages,), row in `vectors` of each passage's first token.
        lengths: (passages,), number of tokens of each passage; at least one.

    Returns:
        (passages, query tokens).

    >>> query = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=np.float32)
    >>> token_maxima(query, vectors, np.array([0, 2]), np.array([2, 1])).round(2).tolist()
    [[1.0, 0.800000011920929], [0.0, 1.0]]
    """
    maxima = np.empty((len(starts), len(query)), dtype=np.float32)
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        maxima[row] = (vectors[start : start + length] @ query.T).max(axis=0)
    return maxima


def maxsim(query: TokenVectors, passage: TokenVectors) -> float:
    """Return the sum over query tokens of the best match in the passage.

    Source: Khattab and Zaharia, ColBERT, SIGIR 2020, equation 3.

    >>> maxsim(np.eye(2, dtype=np.float32), np.array([[0.6, 0.8]], dtype=np.float32)).__round__(3)
    1.4
    """
    return float((passage @ query.T).max(axis=0).sum())
