"""Fewer token vectors for a passage: neighbours in direction share one.

Source: Clavié, Chaffin and Adams, Reducing the Footprint of Multi-Vector Retrieval with Minimal
Performance Impact via Token Pooling, 2024: hierarchical clustering by Ward's criterion keeps most.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memstore.maxsim import TokenVectors

Clusters = NDArray[np.int64]  # (tokens,), numbers from 0 in the order of their first tokens


def cluster(vectors: TokenVectors, factor: int, *, alone: Sequence[int] = ()) -> Clusters:
    """Return to which cluster each token belongs: one for every `factor` tokens, rounded up.

    Two clusters after the other are joined, always those whose union adds the least to the squared
    distances from the clusters' means; of equal ones the first.

    Args:
        vectors: (tokens, dim), unit rows.
        alone: tokens that share with no other; they do not count.

    >>> vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], dtype=np.float32)
    >>> cluster(vectors, 2).tolist()
    [0, 1, 0]
    >>> cluster(vectors, 2, alone=[0]).tolist()
    [0, 1, 1]
    """
    members = np.arange(len(vectors))
    sharing = np.delete(members, alone)
    members[sharing] = sharing[_joined(vectors[sharing], factor)]
    return np.unique(members, return_inverse=True)[1].astype(np.int64)


def _joined(vectors: TokenVectors, factor: int) -> Clusters:
    """Return, per token, the first one of its cluster."""
    count = len(vectors)
    wanted = -(-count // factor)
    # what joining adds, for single tokens; Lance and Williams (1967) say how it goes on
    costs = 1.0 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(costs, np.inf)
    sizes = np.ones(count)
    members = np.arange(count)
    for _ in range(count - wanted):
        kept, gone = divmod(int(costs.argmin()), count)  # kept < gone: the matrix is symmetric
        joined = (
            (sizes + sizes[kept]) * costs[kept]
            + (sizes + sizes[gone]) * costs[gone]
            - sizes * costs[kept, gone]
        ) / (sizes + sizes[kept] + sizes[gone])
        joined[kept] = np.inf
        costs[kept] = costs[:, kept] = joined
        costs[gone] = costs[:, gone] = np.inf
        sizes[kept] += sizes[gone]
        members[members == gone] = kept
    return members


def pool(vectors: TokenVectors, clusters: Clusters) -> TokenVectors:
    """Return the mean direction of each cluster's vectors, (clusters, dim), unit rows.

    >>> vectors = np.array([[1.0, 0.0], [-0.6, 0.8], [0.6, 0.8]], dtype=np.float32)
    >>> pool(vectors, np.array([0, 1, 1])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    sums = np.zeros((int(clusters.max()) + 1, vectors.shape[1]))
    np.add.at(sums, clusters, vectors)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # opposite vectors cancel out: their cluster matches nothing
    np.divide(sums, lengths, out=sums, where=lengths > 0)
    pooled: TokenVectors = sums.astype(np.float32)
    return pooled
