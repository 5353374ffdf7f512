"""Vectors as signed bytes keep their direction, their zeros and their bounds."""

import numpy as np
import pytest

from memstore.index import dequantize, quantize


def test_each_component_is_off_by_at_most_half_a_step():
    vectors = np.random.default_rng(1).standard_normal((200, 64), dtype=np.float32)
    codes, scales = quantize(vectors)
    assert codes.dtype == np.int8
    assert scales.dtype == np.float32
    assert (np.abs(dequantize(codes, scales) - vectors) <= scales[:, None] * 0.5001).all()


def test_the_largest_component_is_kept_exactly_up_to_float_rounding():
    vectors = np.array([[0.1, -3.0, 2.0], [7e-5, 0.0, 1e-6]], dtype=np.float32)
    restored = dequantize(*quantize(vectors))
    np.testing.assert_allclose(np.abs(restored).max(axis=1), [3.0, 7e-5], rtol=1e-6)


def test_a_vector_quantizes_the_same_alone_and_among_others():
    vectors = np.random.default_rng(2).standard_normal((50, 33), dtype=np.float32)
    codes, scales = quantize(vectors)
    own_codes, own_scales = quantize(vectors[17:18])
    np.testing.assert_array_equal(own_codes, codes[17:18])
    np.testing.assert_array_equal(own_scales, scales[17:18])


def test_zero_vectors_stay_zero():
    codes, scales = quantize(np.zeros((2, 5), dtype=np.float32))
    assert not codes.any()
    assert not scales.any()


@pytest.mark.parametrize("size", [1e-45, 1e-43, 1e-40, 1e-38])
def test_vectors_too_small_for_a_scale_stay_within_the_codes(size):
    vectors = np.array([[size, -size, size / 3]], dtype=np.float32)
    codes, scales = quantize(vectors)
    largest = np.abs(vectors).max() + scales.max()
    assert (np.abs(dequantize(codes, scales)) <= largest).all()


def test_no_vectors_give_no_codes():
    codes, scales = quantize(np.empty((0, 8), dtype=np.float32))
    assert codes.shape == (0, 8)
    assert scales.shape == (0,)
