"""Tokens that share a vector: by Ward's criterion, as many as wanted, in their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from memstore.index import cluster, pool


def unit_rows(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def partition(numbers: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(numbers == number).tolist()) for number in set(numbers)}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(count=st.integers(1, 40), factor=st.integers(1, 3), seed=st.integers(0, 999))
def test_the_clusters_are_those_of_a_reference(count: int, factor: int, seed: int) -> None:
    vectors = unit_rows(count, seed)
    clusters = cluster(vectors, factor)
    wanted = -(-count // factor)
    assert sorted(set(clusters.tolist())) == list(range(wanted))
    firsts = [clusters.tolist().index(number) for number in range(wanted)]
    assert firsts == sorted(firsts)
    if count > 1:
        tree = linkage(vectors.astype(np.float64), "ward")
        assert partition(clusters) == partition(fcluster(tree, wanted, "maxclust"))
    pooled = pool(vectors, clusters)
    assert np.linalg.norm(pooled, axis=1) == pytest.approx(np.ones(wanted), abs=1e-6)
    if factor == 1:
        assert pooled == pytest.approx(vectors, abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5, 254])
def test_equal_tokens_share_a_vector_before_others_do(count: int) -> None:
    vectors = np.repeat(unit_rows(count, 1), 2, axis=0)
    assert cluster(vectors, 2).tolist() == np.repeat(np.arange(count), 2).tolist()
    assert pool(vectors, cluster(vectors, 2)) == pytest.approx(unit_rows(count, 1), abs=1e-6)


def test_opposite_vectors_pool_to_one_that_matches_nothing() -> None:
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0]], dtype=np.float32)
    assert pool(vectors, cluster(vectors, 2)).tolist() == [[0.0, 0.0]]
