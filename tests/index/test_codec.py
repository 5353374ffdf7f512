"""Any sample trains a codec, and what that encodes comes back close; bits as colbert-ai packs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.index import Codec, centroid_count, codec, sample_size, train
from memstore.index.codec import (
    LARGEST_INTEGER,
    LONGEST_INTEGER_ROW,
    integer_rows,
    panels_of,
    rows_of,
)

every_width = pytest.mark.parametrize("bits", [1, 2, 4, 8])


def unit_rows(count, dim, seed=0, clusters=None):
    """Random unit rows, scattered about a few directions if `clusters` says how many."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, dim))
    if clusters is not None:
        rows = 0.4 * rows + 2 * rng.standard_normal((clusters, dim))[np.arange(count) % clusters]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def codec_with(bits, weights, cutoffs=None, dim=8):
    """A codec of one centroid at zero: its residuals are the vectors themselves."""
    weights = np.array(weights, dtype=np.float32)
    if cutoffs is None:
        cutoffs = (weights[1:] + weights[:-1]) / 2
    assert len(weights) == 2**bits
    return Codec(np.zeros((1, dim), np.float32), np.array(cutoffs, np.float32), weights)


def cosines(vectors, decoded):
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(decoded, axis=1)
    return (vectors * decoded).sum(axis=1) / lengths


def error_of(values, cutoffs, weights):
    return ((values - weights[np.searchsorted(cutoffs, values)]) ** 2).mean()


# what is trained decodes to something close


@every_width
def test_more_bits_decode_to_vectors_that_are_closer(bits):
    vectors = unit_rows(4000, 32, clusters=100)
    fitted = train(vectors, tokens=4000, bits=bits)
    assert fitted.bits == bits
    decoded = fitted.decode(*fitted.encode(vectors)[:2])
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-6)
    # measured: .933, .971, .997, 1.000
    assert cosines(vectors, decoded).mean() > {1: 0.92, 2: 0.965, 4: 0.996, 8: 0.9999}[bits]


@pytest.mark.parametrize("count", [1, 2, 5, 20, 60, 100, 200, 300, 1000, 3000])
@pytest.mark.parametrize("clusters", [None, 200])
def test_vectors_that_no_sample_held_decode_close_however_small_it_was(count, clusters):
    vectors = unit_rows(5000, 128, clusters=clusters)
    fitted = train(vectors[:count], tokens=count, bits=4)
    decoded = fitted.decode(*fitted.encode(vectors[3000:])[:2])
    # measured: .979 at least, .990 from 20 vectors on
    assert cosines(vectors[3000:], decoded).mean() > (0.985 if count >= 20 else 0.97)
    assert cosines(vectors[3000:], decoded).min() > 0.85


SAMPLES = {
    "one vector": unit_rows(1, 32),
    "two vectors": unit_rows(2, 32),
    "the same vector many times": np.repeat(unit_rows(1, 32), 500, axis=0),
    "the same few vectors many times": np.tile(unit_rows(3, 32), (200, 1)),
    "fewer vectors than centroids": unit_rows(40, 32),
    "as many vectors as centroids": unit_rows(256, 32),
    "only zeros": np.zeros((50, 32), np.float32),
    "one row of zeros": np.zeros((1, 32), np.float32),
    "zeros among others": np.concatenate([unit_rows(50, 32), np.zeros((50, 32), np.float32)]),
    "opposite vectors": np.concatenate([unit_rows(50, 32), -unit_rows(50, 32)]),
    "tiny vectors": unit_rows(100, 32) * np.float32(1e-30),
}


@pytest.mark.parametrize("sample", SAMPLES)
@every_width
def test_any_sample_trains_a_codec_that_gives_back_the_sample(sample, bits):
    vectors = SAMPLES[sample]
    fitted = train(vectors, tokens=len(vectors), bits=bits)
    assert 1 <= len(fitted.centroids) <= max(16, len(vectors))
    assert (np.diff(fitted.cutoffs) >= 0).all()
    codes, residuals, inverse_norms = fitted.encode(vectors)
    decoded = fitted.decode(codes, residuals)
    assert np.isfinite(decoded).all()
    assert np.isfinite(inverse_norms).all()
    lengths = np.linalg.norm(decoded, axis=1)
    assert (np.isclose(lengths, 1, atol=1e-6) | (lengths == 0)).all()
    filled = np.linalg.norm(vectors, axis=1) > 0.5
    if filled.any():
        # with one bit no component can stay as its centroid has it
        own = len(np.unique(vectors, axis=0)) <= len(fitted.centroids)
        least = (0.9 if bits == 1 else 0.98) if own else 0.7
        assert cosines(vectors[filled], decoded[filled]).min() > least


@pytest.mark.parametrize(
    ("dim", "asked", "given"),
    [(8, 1, 1), (8, 4, 4), (20, 1, 2), (20, 2, 2), (4, 1, 2), (12, 1, 2), (6, 1, 4), (6, 2, 4),
     (1, 1, 8), (7, 4, 8), (32, 2, 2), (128, 4, 4), (128, 1, 1), (128, 8, 8)],
)  # fmt: skip
def test_bits_are_raised_where_they_would_not_fill_whole_bytes(dim, asked, given):
    vectors = unit_rows(300, dim)
    fitted = train(vectors, tokens=300, bits=asked)
    assert fitted.bits == given
    codes, residuals, _ = fitted.encode(vectors)
    assert residuals.shape == (300, dim * given // 8)
    assert fitted.decode(codes, residuals).shape == (300, dim)


def test_training_again_gives_the_same_codec():
    vectors = unit_rows(3000, 32, clusters=50)
    one, other = (train(vectors, tokens=3000, bits=4) for _ in range(2))
    np.testing.assert_array_equal(one.centroids, other.centroids)
    np.testing.assert_array_equal(one.cutoffs, other.cutoffs)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_centroids_are_unit_rows_that_half_precision_holds():
    fitted = train(unit_rows(3000, 32), tokens=3000, bits=4)
    np.testing.assert_array_equal(fitted.centroids.astype(np.float16), fitted.centroids)
    np.testing.assert_allclose(np.linalg.norm(fitted.centroids, axis=1), 1, atol=1e-3)


@given(tokens=st.integers(0, 10**12))
def test_a_larger_store_gets_no_fewer_centroids_and_training_needs_no_more_than_it_has(tokens):
    count = centroid_count(tokens)
    assert count & (count - 1) == 0
    assert 16 <= count <= codec.MOST_CENTROIDS
    assert count <= centroid_count(2 * tokens) <= 2 * count
    assert sample_size(tokens) <= tokens


def test_training_can_be_given_up_between_its_steps():
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(unit_rows(100, 8), tokens=100, bits=4, check=check)


# assignment


@pytest.mark.parametrize("dim", [8, 32, 128])
def test_the_nearest_centroid_is_the_one_with_the_largest_product(dim):
    vectors = unit_rows(2000, dim)
    fitted = train(vectors, tokens=2000, bits=4)
    products = vectors.astype(np.float64) @ fitted.centroids.T.astype(np.float64)
    found = products[np.arange(2000), fitted.assign(vectors)]
    # rounding to integers may only choose between centroids that are as near
    assert (products.max(axis=1) - found).max() < 2e-4


def test_assignment_by_groups_agrees_with_the_plain_one(monkeypatch):
    centroids = unit_rows(2048, 32, seed=1, clusters=100)
    vectors = unit_rows(4000, 32, seed=2)
    vectors[:2000] = centroids[:2000] + 0.2 * vectors[:2000]  # near one, as trained ones are
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = Codec(centroids, np.zeros(1, np.float32), np.array([-0.1, 0.1], np.float32))
    plain = made.assign(vectors)
    monkeypatch.setattr(codec, "GROUPED_FROM", 2048)
    grouped = made.assign(vectors)
    assert (plain[:2000] == grouped[:2000]).mean() >= 0.99
    assert (plain == grouped).mean() >= 0.95
    products = vectors @ centroids.T
    rows = np.arange(4000)
    loss = products[rows, plain] - products[rows, grouped]
    assert loss.mean() < 0.005


def test_assignment_by_groups_takes_few_vectors_and_zeros(monkeypatch):
    monkeypatch.setattr(codec, "GROUPED_FROM", 256)
    made = Codec(unit_rows(256, 32), np.zeros(1, np.float32), np.array([-0.1, 0.1], np.float32))
    assert 0 <= made.assign(np.zeros((1, 32), np.float32))[0] < 256
    assert made.assign(np.empty((0, 32), np.float32)).shape == (0,)
    assert made.assign(made.centroids).tolist() == list(range(256))


@pytest.mark.parametrize(
    ("count", "type_"), [(1, np.uint16), (65_536, np.uint16), (65_537, np.uint32)]
)
def test_codes_take_two_bytes_while_they_fit(count, type_, monkeypatch):
    monkeypatch.setattr(codec, "GROUPED_FROM", 10**9)
    centroids = np.zeros((count, 8), np.float32)
    centroids[-1, 0] = 1
    made = Codec(centroids, np.zeros(1, np.float32), np.array([-0.1, 0.1], np.float32))
    codes, _, _ = made.encode(centroids[-1:])
    assert codes.dtype == made.code_type == type_
    assert codes.tolist() == [count - 1]


# buckets and packing


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform"])
def test_buckets_change_values_less_than_equal_shares_do(bits, kind):
    rng = np.random.default_rng(0)
    draw = {"normal": rng.normal, "laplace": rng.laplace, "uniform": rng.uniform}[kind]
    values = draw(size=50_000).astype(np.float32)
    count = 2**bits
    shares = error_of(
        values,
        np.quantile(values, np.arange(1, count) / count),
        np.quantile(values, (np.arange(count) + 0.5) / count),
    )
    fitted = error_of(values, *codec._buckets(values, bits))
    assert fitted <= shares * (1.001 if kind == "uniform" or bits == 1 else 0.9)


@given(
    values=st.lists(st.sampled_from([-0.3, -0.1, 0.0, 0.1, 1 / 3, 1e-9, 0.7]), min_size=1),
    copies=st.integers(1, 3000),
    bits=st.sampled_from([1, 2, 4, 8]),
)
def test_buckets_of_few_distinct_values_still_ascend(values, copies, bits):
    values = np.repeat(np.array(values, np.float32), copies)
    cutoffs, weights = codec._buckets(values, bits)
    assert (len(cutoffs), len(weights)) == (2**bits - 1, 2**bits)
    assert (np.diff(cutoffs) >= 0).all()
    assert np.isfinite(weights).all()
    if len(set(values.tolist())) <= 2**bits // 8:
        assert error_of(values, cutoffs, weights) < 1e-8


@pytest.mark.parametrize(
    ("bits", "buckets", "packed"),
    [
        (1, [1, 0, 0, 0, 0, 0, 0, 1], "81"),
        (2, [0, 1, 2, 3], "27"),
        (2, [3, 2, 1, 0, 0, 0, 2, 1], "d806"),
        (4, [1, 10], "85"),
        (4, [15, 1, 8, 6], "f816"),
        (8, [22], "68"),
    ],
)
def test_residuals_are_packed_as_colbert_ai_packs_them(bits, buckets, packed):
    levels = np.arange(2**bits) + 1.0
    made = codec_with(bits, levels, dim=len(buckets))
    vector = levels[buckets][None].astype(np.float32)
    codes, residuals, _ = made.encode(vector)
    assert residuals.tobytes().hex() == packed
    decoded = made.decode(codes, residuals)
    np.testing.assert_allclose(decoded, vector / np.linalg.norm(vector), rtol=1e-6)


def test_a_residual_that_equals_a_cutoff_is_in_the_bucket_below_it():
    made = codec_with(1, [-1, 1], cutoffs=[0.25], dim=8)
    vector = np.array([[0.25, 0.250001, 0.2499, 0, 0, 0, 0, 1]], np.float32)
    assert made.encode(vector)[1].tobytes().hex() == "41"


@given(
    bits=st.sampled_from([1, 2, 4, 8]),
    dim=st.sampled_from([8, 16, 20, 24, 32, 96, 128]),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 30),
)
@settings(max_examples=40)
def test_inverse_norms_are_those_the_kernel_stores(bits, dim, seed, count):
    while dim * bits % 8:
        bits *= 2
    rng = np.random.default_rng(seed)
    weights = np.sort(rng.normal(scale=0.1, size=2**bits)).astype(np.float32)
    centroids = unit_rows(17, dim, seed).astype(np.float16).astype(np.float32)
    made = Codec(centroids, (weights[1:] + weights[:-1]) / 2, weights)
    codes, residuals, inverse_norms = made.encode(unit_rows(count, dim, seed + 1))
    np.testing.assert_allclose(made.inverse_norms(codes, residuals), inverse_norms, rtol=2e-7)


def test_a_vector_that_decodes_to_zeros_stays_zeros():
    made = codec_with(1, [0, 0])
    codes, residuals, inverse_norms = made.encode(unit_rows(3, 8))
    assert not made.decode(codes, residuals).any()
    assert not inverse_norms.any()
    assert not made.inverse_norms(codes, residuals).any()


@given(
    dim=st.sampled_from([1, 8, 20, 128, 1024]),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e6]),
    seed=st.integers(0, 2**32 - 1),
    lonely=st.booleans(),
)
def test_integer_rows_are_bounded_and_close(dim, scale, seed, lonely):
    rows = np.random.default_rng(seed).standard_normal((20, dim)) * scale
    if lonely:  # all of a row in one dimension
        rows[:, 1:] = 0
    rows = rows.astype(np.float32)
    integers, unit = integer_rows(rows)
    lengths = np.linalg.norm(integers.astype(np.float64), axis=1)
    assert lengths.max() <= LONGEST_INTEGER_ROW
    assert np.abs(integers.astype(np.int64)).max() <= LARGEST_INTEGER
    assert np.abs(integers * unit - rows).max() <= 0.51 * unit


@given(count=st.integers(1, 70), dim=st.integers(1, 40))
def test_rows_come_back_from_panels(count, dim):
    rows = np.arange(1, count * dim + 1, dtype=np.int16).reshape(count, dim)
    panels = panels_of(rows)
    assert panels.shape == (-(-count // 32), -(-dim // 2), 32, 2)
    np.testing.assert_array_equal(rows_of(panels, count, dim), rows, strict=True)
    assert np.count_nonzero(panels) == rows.size


def test_integer_rows_of_zeros_are_zeros():
    integers, unit = integer_rows(np.zeros((2, 8), np.float32))
    assert not integers.any()
    assert unit == 0
