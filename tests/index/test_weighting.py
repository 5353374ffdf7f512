"""Weights and scores are what the formula says, to the bit the same in any batch and order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import BadInput
from memstore.index import token_weights, weighted_scores


def random_maxima(seed, passages, query_tokens):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.2, 1, (passages, query_tokens)).astype(np.float32)


@given(seed=st.integers(0, 2**32), passages=st.integers(1, 200), query_tokens=st.integers(1, 70))
def test_scoring_a_subset_of_passages_gives_the_same_bits(seed, passages, query_tokens):
    rng = np.random.default_rng(seed)
    maxima = random_maxima(seed, passages, query_tokens)
    weights = rng.random(query_tokens) + 0.01
    whole = weighted_scores(maxima, weights)
    rows = rng.integers(0, passages, rng.integers(1, passages + 1))
    np.testing.assert_array_equal(weighted_scores(maxima[rows], weights), whole[rows])
    np.testing.assert_array_equal(weighted_scores(np.asfortranarray(maxima), weights), whole)


@given(seed=st.integers(0, 2**32), passages=st.integers(1, 200), query_tokens=st.integers(1, 70))
def test_scores_are_weighted_means_of_the_maxima(seed, passages, query_tokens):
    maxima = random_maxima(seed, passages, query_tokens)
    weights = np.random.default_rng(seed).random(query_tokens) + 0.01
    expected = np.average(maxima.astype(np.float64), axis=1, weights=weights)
    np.testing.assert_allclose(weighted_scores(maxima, weights), expected, rtol=1e-12, atol=1e-15)


@given(seed=st.integers(0, 2**32), passages=st.integers(2, 200), query_tokens=st.integers(1, 70))
def test_contrast_weighs_a_token_by_its_rise_above_the_mean(seed, passages, query_tokens):
    maxima = random_maxima(seed, passages, query_tokens)
    factors = np.random.default_rng(seed).choice([0.5, 1.0], query_tokens).astype(np.float32)
    weights = token_weights(maxima, factors, contrast=True)
    exact = maxima.astype(np.float64)
    np.testing.assert_allclose(weights, (exact.max(0) - exact.mean(0)) * factors, atol=1e-12)
    shuffled = np.random.default_rng(seed).permutation(maxima)
    np.testing.assert_array_equal(token_weights(shuffled, factors, contrast=True), weights)


def test_without_contrast_the_weights_are_the_factors():
    factors = np.array([0.5, 1.0, 0.0], dtype=np.float32)
    weights = token_weights(random_maxima(1, 10, 3), factors, contrast=False)
    assert weights.tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("passages", [0, 1, 3, 1000])
def test_passages_that_nothing_tells_apart_leave_the_factors(passages):
    row = np.array([0.3, 1e-12, -0.1], dtype=np.float32)
    maxima = np.tile(row, (passages, 1))
    weights = token_weights(maxima, np.array([0.5, 1.0, 1.0]), contrast=True)
    assert weights.tolist() == [0.5, 1.0, 1.0]


@pytest.mark.parametrize("contrast", [True, False])
def test_tokens_without_any_factor_count_the_same(contrast):
    weights = token_weights(random_maxima(1, 10, 3), np.zeros(3), contrast=contrast)
    assert weights.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_maxima_of_any_size_are_contrasted(size):
    maxima = np.array([[1.0, 0.5], [0.0, 0.5]], dtype=np.float32) * np.float32(size)
    weights = token_weights(maxima, np.ones(2), contrast=True)
    np.testing.assert_allclose(weights, [size / 2, 0], rtol=1e-6)


def test_no_passages_have_no_scores():
    assert weighted_scores(np.empty((0, 3), dtype=np.float32), np.ones(3)).shape == (0,)


def test_weights_that_do_not_fit_are_refused():
    maxima = random_maxima(1, 4, 3)
    with pytest.raises(BadInput, match="weights for maxima"):
        weighted_scores(maxima, np.ones(4))
    with pytest.raises(BadInput, match="not to more than zero"):
        weighted_scores(maxima, np.zeros(3))
    with pytest.raises(BadInput, match="factors for maxima"):
        token_weights(maxima, np.ones(2), contrast=True)
