"""The reference of late interaction, against its definition written as loops."""

from __future__ import annotations

import numpy as np
import pytest

from memstore.maxsim import maxsim, token_maxima


def unit_rows(random, rows, dim):
    vectors = random.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_every_query_token_takes_its_best_match_in_each_passage(seed):
    random = np.random.default_rng(seed)
    dim, lengths = 8, random.integers(1, 6, size=7)
    starts = np.cumsum(lengths) - lengths
    vectors = unit_rows(random, int(lengths.sum()), dim)
    query = unit_rows(random, int(random.integers(1, 5)), dim)
    expected = [
        [max(float(np.dot(token, vectors[start + i])) for i in range(length)) for token in query]
        for start, length in zip(starts, lengths, strict=True)
    ]
    maxima = token_maxima(query, vectors, starts, lengths)
    assert maxima.dtype == np.float32
    np.testing.assert_allclose(maxima, expected, atol=1e-6)
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        score = maxsim(query, vectors[start : start + length])
        assert score == pytest.approx(maxima[row].sum(), abs=1e-5)


def test_passages_may_come_in_any_order_and_share_vectors():
    vectors = np.eye(3, dtype=np.float32)
    query = vectors[:2]
    maxima = token_maxima(query, vectors, np.array([2, 0, 0]), np.array([1, 1, 3]))
    assert maxima.tolist() == [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]


def test_a_text_matches_itself_best():
    random = np.random.default_rng(1)
    texts = [unit_rows(random, 5, 16) for _ in range(4)]
    scores = [[maxsim(query, passage) for passage in texts] for query in texts]
    assert np.argmax(scores, axis=1).tolist() == [0, 1, 2, 3]
    assert scores[0][0] == pytest.approx(5.0, abs=1e-5)


def test_negative_similarities_are_not_lifted_to_zero():
    assert maxsim(np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0], [-0.5, 0.0]])) == -0.5


def test_no_passages_give_no_rows():
    empty = np.empty(0, dtype=np.int64)
    assert token_maxima(np.eye(2, dtype=np.float32), np.eye(2), empty, empty).shape == (0, 2)


def test_a_passage_without_tokens_is_refused():
    vectors = np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match="zero-size"):
        token_maxima(vectors, vectors, np.array([0]), np.array([0]))
