"""The kernels of sealed segments equal numpy references to the bit, on every instruction set."""

import ctypes
import mmap
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.index import _kernels as kernels
from memstore.index.codec import panels_of

every_instruction_set = pytest.mark.parametrize("instruction_set", kernels.instruction_sets())
every_code_type = pytest.mark.parametrize("code_type", [np.uint16, np.uint32])
seeds = st.integers(0, 2**32)
bit_widths = st.sampled_from([1, 2, 4, 8])
# 8 and more: any number of bits fills whole bytes
dims = st.sampled_from([8, 16, 24, 32, 40, 96, 128, 136, 200, 256])
LONGEST = 46340

# the contract in 64-bit integers, with the roundings to floats in the kernels' order


def padded(count):
    return -(-count // 16) * 16


def rounded_rows(rows):
    """The rows as integers no longer than LONGEST, and the scale of each."""
    rows = rows.astype(np.float64)
    limit = LONGEST - 0.5 * np.sqrt(rows.shape[1]) - 1
    dim = rows.shape[1]
    eight = np.pad(rows**2, ((0, 0), (0, -dim % 8))).reshape(len(rows), -(-dim // 8), 8)
    sums = np.add.accumulate(np.add.accumulate(eight, axis=1)[:, -1], axis=1)[:, -1]
    lengths = np.sqrt(sums)
    largest = np.abs(rows).max(axis=1)
    zero = largest == 0
    lengths[zero] = largest[zero] = 1
    factors = np.minimum(limit / lengths, 32767 / largest)
    return np.rint(rows * factors[:, None]).astype(np.int64), np.where(zero, 0.0, 1 / factors)


def rounded_weights(weights, dim):
    levels = min(32767.0, np.floor(LONGEST / np.sqrt(dim)))
    largest = float(np.abs(weights).max())
    if largest == 0:
        return np.zeros(len(weights), dtype=np.int64), 0.0
    return np.rint(weights * (levels / largest)).astype(np.int64), largest / levels


def scores_reference(centroids, scale, query):
    values, scales = rounded_rows(query)
    scores = np.zeros((len(centroids), padded(len(query))), dtype=np.float32)
    sums = centroids.astype(np.int64) @ values.T
    assert np.abs(sums).max(initial=0) < 2**31
    scores[:, : len(query)] = sums.astype(np.float32) * (scale * scales).astype(np.float32)
    return scores


def table_reference(scores, weights):
    count = len(weights)
    width = 16 if count <= 16 else 32 if count <= 32 else 64
    weighted = weights * scores[:, :count]
    lowest = weighted.min(axis=0)
    widest = (weighted.max(axis=0) - lowest).max()
    per_unit = np.float32(255) / widest if widest > 0 else np.float32(0)
    table = np.zeros((len(scores), -(-count // width) * width), dtype=np.uint8)
    table[:, :count] = np.rint((weighted - lowest) * per_unit)
    return np.ascontiguousarray(table.reshape(len(scores), -1, width).swapaxes(0, 1))


def approximate_reference(codes, offsets, slots, table):
    rows = table.swapaxes(0, 1).reshape(table.shape[1], -1)
    return np.array(
        [
            rows[codes[offsets[s] : offsets[s + 1]]].max(axis=0, initial=0).sum(dtype=np.uint32)
            for s in slots
        ],
        dtype=np.uint32,
    )


def buckets_of(residuals, bits):
    """Unpack: the bits of a byte from the highest, each field's lowest bit first."""
    dim = residuals.shape[1] * 8 // bits
    fields = np.unpackbits(residuals, axis=1).reshape(-1, dim, bits)
    return fields @ (1 << np.arange(bits))


def pack(buckets, bits):
    fields = buckets[:, :, None] >> np.arange(bits) & 1
    return np.packbits(
        fields.reshape(len(buckets), buckets.shape[1] * bits).astype(np.uint8), axis=1
    )


def maxima_reference(
    codes, residuals, inverse_norms, offsets, slots, scores, query, bucket_weights
):
    values, scales = rounded_rows(query)
    weights, weight_scale = rounded_weights(bucket_weights, query.shape[1])
    bits = len(bucket_weights).bit_length() - 1
    sums = weights[buckets_of(residuals, bits)] @ values.T
    assert np.abs(sums).max(initial=0) < 2**31
    residual_part = sums.astype(np.float32) * (weight_scale * scales).astype(np.float32)
    similarities = (scores[codes, : len(query)] + residual_part) * inverse_norms[:, None]
    maxima = [similarities[offsets[s] : offsets[s + 1]].max(axis=0, initial=-np.inf) for s in slots]
    return np.array(maxima, dtype=np.float32).reshape(len(slots), len(query))


# examples


def unit_rows(rng, shape):
    rows = rng.standard_normal(shape, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def integer_centroids(rng, count, dim):
    """Rows as long as they may be."""
    return rounded_rows(rng.standard_normal((count, dim)))[0].astype(np.int16)


def scores_of(rows, scale, query, instruction_set=None):
    """The scores of rows of integers, their bounds checked."""
    scores, bounds = kernels.centroid_scores(
        panels_of(rows), len(rows), scale, query, instruction_set=instruction_set
    )
    np.testing.assert_array_equal(bounds, bounds_of(scores), strict=True)
    return scores


def bounds_of(scores):
    panels = [scores[first : first + 32] for first in range(0, len(scores), 32)]
    bounds = [(panel.min(axis=0), panel.max(axis=0)) for panel in panels]
    return np.array(bounds, dtype=np.float32).reshape(-1, 2, scores.shape[1])


def passages_of(rng, lengths, centroids, code_type):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return rng.integers(0, centroids, offsets[-1]).astype(code_type), offsets


def sealed_arguments(rng, lengths, *, centroids, dim, bits, query_tokens, code_type=np.uint16):
    codes, offsets = passages_of(rng, lengths, centroids, code_type)
    query = unit_rows(rng, (query_tokens, dim))
    table = integer_centroids(rng, centroids, dim)
    return {
        "codes": codes,
        "residuals": rng.integers(0, 256, (len(codes), dim * bits // 8)).astype(np.uint8),
        "inverse_norms": rng.random(len(codes), dtype=np.float32) + np.float32(0.5),
        "offsets": offsets,
        "slots": rng.permutation(len(lengths)),
        "scores": scores_of(table, 1 / LONGEST, query),
        "query": query,
        "bucket_weights": np.sort(rng.standard_normal(2**bits).astype(np.float32)),
    }


@pytest.fixture
def sealed():
    rng = np.random.default_rng(7)
    return sealed_arguments(rng, [3, 0, 9, 40], centroids=11, dim=24, bits=4, query_tokens=5)


def approximate_arguments(sealed):
    table = kernels.byte_table(
        sealed["scores"], bounds_of(sealed["scores"]), np.ones(5, np.float32)
    )
    return {name: sealed[name] for name in ("codes", "offsets", "slots")} | {"table": table}


passage_lengths = st.lists(st.integers(0, 40), max_size=12)


# every kernel against its reference


@every_instruction_set
@given(
    seed=seeds,
    query_tokens=st.integers(1, 200) | st.integers(1, 40),
    centroids=st.integers(0, 70),
    dim=st.integers(1, 300) | dims,
    magnitude=st.sampled_from([1e-30, 1.0, 1e20]),
)
def test_centroid_scores_equal_integer_arithmetic(
    instruction_set, seed, query_tokens, centroids, dim, magnitude
):
    rng = np.random.default_rng(seed)
    table = integer_centroids(rng, centroids, dim)
    query = rng.standard_normal((query_tokens, dim), dtype=np.float32) * np.float32(magnitude)
    found = scores_of(table, 0.01, query, instruction_set)
    np.testing.assert_array_equal(found, scores_reference(table, 0.01, query), strict=True)


@every_instruction_set
@pytest.mark.parametrize("dim", [1, 2, 128, 1000, 65536])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_do_not_overflow(instruction_set, dim, sign):
    value = min(32767, int(LONGEST / np.sqrt(dim)))
    table = np.full((17, dim), value, dtype=np.int16)
    query = np.full((3, dim), sign, dtype=np.float32)
    found = scores_of(table, 1.0, query, instruction_set)
    np.testing.assert_array_equal(found, scores_reference(table, 1.0, query), strict=True)
    np.testing.assert_allclose(found[:, :3], sign * dim * value, rtol=5e-3)


@every_instruction_set
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("dim", [8, 128, 1024, 65536])
def test_the_largest_residuals_do_not_overflow(instruction_set, bits, dim):
    arguments = {
        "codes": np.zeros(2, dtype=np.uint16),
        "residuals": np.full((2, dim * bits // 8), 255, dtype=np.uint8),
        "inverse_norms": np.ones(2, dtype=np.float32),
        "offsets": np.array([0, 2]),
        "slots": np.array([0]),
        "scores": np.zeros((1, 16), dtype=np.float32),
        "query": np.full((2, dim), -1, dtype=np.float32),
        "bucket_weights": np.full(2**bits, 3, dtype=np.float32),
    }
    found = kernels.sealed_maxima(**arguments, instruction_set=instruction_set)
    np.testing.assert_array_equal(found, maxima_reference(**arguments), strict=True)
    np.testing.assert_allclose(found, -3.0 * dim, rtol=5e-3)


@every_instruction_set
@given(
    seed=seeds,
    query_tokens=st.integers(1, 70),
    centroids=st.integers(0, 300),
    count=st.integers(0, 12) | st.just(400),
    levels=st.integers(1, 50),
)
def test_nearest_centroids_are_those_of_a_stable_sort(
    instruction_set, seed, query_tokens, centroids, count, levels
):
    rng = np.random.default_rng(seed)
    scores = np.zeros((centroids, padded(query_tokens)), dtype=np.float32)
    scores[:, :query_tokens] = rng.integers(-levels, levels, (centroids, query_tokens))
    found = kernels.nearest_centroids(
        scores, bounds_of(scores), query_tokens, count, instruction_set=instruction_set
    )
    order = np.argsort(-scores[:, :query_tokens], axis=0, kind="stable")[:count].T
    np.testing.assert_array_equal(found, order.astype(np.int32), strict=True)


@every_instruction_set
@given(
    seed=seeds,
    query_tokens=st.integers(1, 200) | st.integers(1, 40),
    centroids=st.integers(1, 200),
    offset=st.sampled_from([-3.0, 0.0, 100.0]),
)
def test_byte_tables_round_in_one_unit(instruction_set, seed, query_tokens, centroids, offset):
    rng = np.random.default_rng(seed)
    scores = np.zeros((centroids, padded(query_tokens)), dtype=np.float32)
    scores[:, :query_tokens] = rng.standard_normal((centroids, query_tokens)) + offset
    weights = rng.random(query_tokens, dtype=np.float32) * (rng.random(query_tokens) < 0.8)
    found = kernels.byte_table(
        scores, bounds_of(scores), weights.astype(np.float32), instruction_set=instruction_set
    )
    expected = table_reference(scores, weights.astype(np.float32))
    np.testing.assert_array_equal(found, expected, strict=True)
    assert found.max() == (255 if centroids > 1 and weights.any() else 0)


@every_instruction_set
@every_code_type
@given(
    seed=seeds,
    query_tokens=st.integers(1, 200) | st.integers(1, 40),
    lengths=passage_lengths,
    centroids=st.integers(1, 300),
)
def test_approximate_scores_equal_maxsim_over_the_table(
    instruction_set, code_type, seed, query_tokens, lengths, centroids
):
    rng = np.random.default_rng(seed)
    codes, offsets = passages_of(rng, lengths, centroids, code_type)
    width = 16 if query_tokens <= 16 else 32 if query_tokens <= 32 else 64
    table = rng.integers(0, 256, (-(-query_tokens // width), centroids, width)).astype(np.uint8)
    slots = rng.integers(0, len(lengths), 2 * len(lengths)) if lengths else np.empty(0, np.int64)
    found = kernels.approximate_scores(
        codes, offsets, slots, table, instruction_set=instruction_set
    )
    expected = approximate_reference(codes, offsets, slots, table)
    np.testing.assert_array_equal(found, expected, strict=True)


@given(
    scores=st.lists(st.integers(0, 5) | st.integers(0, 2**32 - 1), max_size=80),
    count=st.integers(0, 90),
    shift=st.integers(0, 32),
)
def test_the_largest_are_those_of_a_stable_sort(scores, count, shift):
    scores = (np.array(scores, dtype=np.uint64) >> np.uint64(shift)).astype(np.uint32)
    order = np.argsort(-scores.astype(np.int64), kind="stable")[:count]
    np.testing.assert_array_equal(kernels.largest(scores, count), np.sort(order), strict=True)


def test_the_largest_of_many_scores():
    scores = np.random.default_rng(3).integers(0, 20_000, 30_000).astype(np.uint32)
    order = np.argsort(-scores.astype(np.int64), kind="stable")
    for count in (1, 100, 29_999, 30_000, 40_000):
        found = kernels.largest(scores, count)
        np.testing.assert_array_equal(found, np.sort(order[:count]), strict=True)


@every_code_type
@given(seed=seeds, lengths=passage_lengths, centroids=st.integers(1, 40))
def test_inverted_lists_hold_each_passage_once_and_probing_finds_it(
    code_type, seed, lengths, centroids
):
    rng = np.random.default_rng(seed)
    codes, offsets = passages_of(rng, lengths, centroids, code_type)
    passages = np.repeat(np.arange(len(lengths)), lengths)
    of_centroid = [np.unique(passages[codes == k]).astype(np.int32) for k in range(centroids)]
    lists, list_offsets = kernels.inverted_lists(codes, offsets, centroids)
    np.testing.assert_array_equal(lists, np.concatenate(of_centroid), strict=True)
    np.testing.assert_array_equal(list_offsets, np.cumsum([0] + [len(c) for c in of_centroid]))
    assert list_offsets.dtype == np.int64

    cells = rng.integers(0, centroids, rng.integers(0, 5)).astype(np.int32)
    allowed = rng.random(len(lengths)) < 0.7
    met = {int(slot) for k in cells for slot in of_centroid[k] if allowed[slot]}
    expected = np.array(sorted(met), dtype=np.int64)
    found = kernels.probe(cells, lists, list_offsets, allowed)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_probing_finds_slots_on_both_sides_of_a_word_of_bits():
    lists = np.array([0, 63, 64, 127, 128, 199], dtype=np.int32)
    found = kernels.probe(
        np.array([0], np.int32), lists, np.array([0, 6]), np.ones(200, dtype=np.bool_)
    )
    assert found.tolist() == lists.tolist()


@every_instruction_set
@every_code_type
@given(
    seed=seeds,
    bits=bit_widths,
    dim=dims,
    query_tokens=st.integers(1, 200) | st.integers(1, 40),
    lengths=passage_lengths,
    centroids=st.integers(1, 40),
)
def test_sealed_maxima_equal_integer_arithmetic(
    instruction_set, code_type, seed, bits, dim, query_tokens, lengths, centroids
):
    arguments = sealed_arguments(
        np.random.default_rng(seed),
        lengths,
        centroids=centroids,
        dim=dim,
        bits=bits,
        query_tokens=query_tokens,
        code_type=code_type,
    )
    found = kernels.sealed_maxima(**arguments, instruction_set=instruction_set)
    np.testing.assert_array_equal(found, maxima_reference(**arguments), strict=True)


@every_instruction_set
@given(
    seed=seeds,
    count=st.integers(0, 70),
    centroids=st.integers(1, 70),
    dim=st.integers(1, 300) | dims,
)
def test_assignment_equals_integer_arithmetic(instruction_set, seed, count, centroids, dim):
    rng = np.random.default_rng(seed)
    table = integer_centroids(rng, centroids, dim)
    table[rng.integers(0, centroids, centroids // 2)] = table[0]  # ties
    vectors = rng.standard_normal((count, dim), dtype=np.float32)
    products = rounded_rows(vectors)[0] @ table.astype(np.int64).T
    numbers, best = kernels.assign(vectors, table, instruction_set=instruction_set)
    np.testing.assert_array_equal(numbers, products.argmax(axis=1).astype(np.int32), strict=True)
    np.testing.assert_array_equal(best, products.max(axis=1).astype(np.int32), strict=True)


@every_instruction_set
def test_many_vectors_are_assigned_among_many_centroids(instruction_set):
    rng = np.random.default_rng(4)
    table = integer_centroids(rng, 2100, 24)
    vectors = rng.standard_normal((1100, 24), dtype=np.float32)
    products = rounded_rows(vectors)[0] @ table.astype(np.int64).T
    numbers, best = kernels.assign(vectors, table, instruction_set=instruction_set)
    np.testing.assert_array_equal(numbers, products.argmax(axis=1))
    np.testing.assert_array_equal(best, products.max(axis=1))


@every_code_type
@given(seed=seeds, bits=bit_widths, dim=dims, tokens=st.integers(0, 30))
def test_residuals_are_encoded_as_numpy_encodes_them(code_type, seed, bits, dim, tokens):
    rng = np.random.default_rng(seed)
    centroids = unit_rows(rng, (9, dim))
    codes = rng.integers(0, 9, tokens).astype(code_type)
    cutoffs = np.sort(rng.standard_normal(2**bits - 1).astype(np.float32) / 9)
    weights = np.sort(rng.standard_normal(2**bits).astype(np.float32) / 9)
    vectors = unit_rows(rng, (tokens, dim))
    # exactly at a cutoff is not above it
    vectors[:, ::3] = centroids[codes][:, ::3] + rng.choice(
        cutoffs, (tokens, len(range(0, dim, 3)))
    )
    residuals, inverse_norms = kernels.encode_residuals(vectors, codes, centroids, cutoffs, weights)
    buckets = np.searchsorted(cutoffs, vectors - centroids[codes], side="left")
    np.testing.assert_array_equal(residuals, pack(buckets, bits), strict=True)
    np.testing.assert_array_equal(buckets_of(residuals, bits), buckets)
    decoded = (centroids[codes] + weights[buckets]).astype(np.float64)
    lengths = np.sqrt(np.add.accumulate(decoded**2, axis=1)[:, -1])
    np.testing.assert_array_equal(inverse_norms, (1 / lengths).astype(np.float32), strict=True)


def test_the_inverse_length_of_nothing_is_zero():
    nothing = np.zeros((2, 8), dtype=np.float32)
    weights = np.zeros(2, dtype=np.float32)
    codes = np.zeros(2, dtype=np.uint16)
    _, inverse_norms = kernels.encode_residuals(nothing, codes, nothing, weights[:1], weights)
    assert inverse_norms.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("buckets", "bits", "packed"),
    [
        ([1, 0, 0, 0, 0, 0, 0, 1], 1, "81"),
        ([0, 1, 2, 3], 2, "27"),
        ([3, 2, 1, 0, 0, 0, 2, 1], 2, "d806"),
        ([1, 10], 4, "85"),
        ([15, 1, 8, 6], 4, "f816"),
        ([22], 8, "68"),
    ],
)
def test_bytes_are_those_of_colbert_ai(buckets, bits, packed):
    """The examples of its packing; searching reads what encoding wrote."""
    cutoffs = np.arange(2**bits - 1, dtype=np.float32) + np.float32(0.5)
    weights = np.arange(2**bits, dtype=np.float32)
    vectors = np.array([buckets], dtype=np.float32)
    codes = np.zeros(1, dtype=np.uint16)
    residuals, _ = kernels.encode_residuals(
        vectors, codes, np.zeros_like(vectors), cutoffs, weights
    )
    assert residuals.tobytes().hex() == packed
    for instruction_set in kernels.instruction_sets():
        for dimension, bucket in enumerate(buckets):
            found = kernels.sealed_maxima(
                codes,
                residuals,
                np.ones(1, dtype=np.float32),
                np.array([0, 1]),
                np.array([0]),
                np.zeros((1, 16), dtype=np.float32),
                np.eye(len(buckets), dtype=np.float32)[[dimension]],
                weights,
                instruction_set=instruction_set,
            )
            assert found.item() == pytest.approx(bucket, rel=1e-3, abs=1e-6)


# what callers rely on


@every_instruction_set
def test_similarities_are_those_of_the_decoded_vectors_but_for_rounding(instruction_set):
    rng = np.random.default_rng(3)
    dim, lengths = 128, rng.integers(1, 60, 40)
    centroids = unit_rows(rng, (64, dim))
    scale = 1 / LONGEST
    table = np.trunc(centroids / np.float32(scale)).astype(np.int16)
    vectors = unit_rows(rng, (lengths.sum(), dim))
    codes = kernels.assign(vectors, table)[0].astype(np.uint16)
    residuals = vectors - centroids[codes]
    cutoffs = np.quantile(residuals, np.arange(1, 16) / 16).astype(np.float32)
    weights = np.quantile(residuals, (np.arange(16) + 0.5) / 16).astype(np.float32)
    packed, inverse_norms = kernels.encode_residuals(vectors, codes, centroids, cutoffs, weights)
    query = unit_rows(rng, (32, dim))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = kernels.sealed_maxima(
        codes,
        packed,
        inverse_norms,
        offsets,
        np.arange(40),
        scores_of(table, scale, query),
        query,
        weights,
        instruction_set=instruction_set,
    )
    decoded = (centroids[codes] + weights[buckets_of(packed, 4)]) * inverse_norms[:, None]
    similarities = decoded @ query.T
    expected = [similarities[b:e].max(axis=0) for b, e in pairwise(offsets)]
    np.testing.assert_allclose(found, expected, atol=1e-3)


@every_instruction_set
def test_a_passage_of_only_negative_similarities_has_a_negative_maximum(instruction_set, sealed):
    sealed["scores"][:] = -50
    found = kernels.sealed_maxima(**sealed, instruction_set=instruction_set)
    assert (found < 0).all()


@every_instruction_set
def test_a_passage_that_matches_as_zero_does_so_in_any_company(instruction_set, sealed):
    """Whichever of +0 and -0 its tokens give first, wherever in a panel it begins."""
    sealed["inverse_norms"][3:12] = 0
    sealed["scores"][sealed["codes"][3:12:2]] *= -1
    alone, after = (
        kernels.sealed_maxima(
            **sealed | {"slots": np.array(slots)}, instruction_set=instruction_set
        )[-1]
        for slots in ([2], [3, 0, 2])
    )
    assert alone.tobytes() == after.tobytes() == bytes(4 * 5)


@every_instruction_set
def test_a_passage_without_tokens_matches_nothing(instruction_set, sealed):
    sealed["slots"] = np.array([1, 0, 1, 1])
    found = kernels.sealed_maxima(**sealed, instruction_set=instruction_set)
    assert np.isneginf(found[[0, 2, 3]]).all()
    assert np.isfinite(found[1]).all()
    found = kernels.approximate_scores(
        **approximate_arguments(sealed), instruction_set=instruction_set
    )
    assert found[[0, 2, 3]].tolist() == [0, 0, 0]
    assert found[1] > 0


def test_no_slots_give_no_rows(sealed):
    sealed["slots"] = np.empty(0, dtype=np.int64)
    assert kernels.sealed_maxima(**sealed).shape == (0, 5)
    assert kernels.approximate_scores(**approximate_arguments(sealed)).shape == (0,)


def test_a_segment_without_passages_has_empty_lists():
    lists, list_offsets = kernels.inverted_lists(np.empty(0, np.uint16), np.array([0]), 3)
    assert lists.shape == (0,)
    assert list_offsets.tolist() == [0, 0, 0, 0]


def test_a_row_does_not_depend_on_the_other_passages_of_the_call(sealed):
    whole = kernels.sealed_maxima(**sealed)
    scores = kernels.approximate_scores(**approximate_arguments(sealed))
    for rows in ([0], [3, 1], [2, 2, 0]):
        part = sealed | {"slots": sealed["slots"][rows]}
        np.testing.assert_array_equal(kernels.sealed_maxima(**part), whole[rows], strict=True)
        found = kernels.approximate_scores(**approximate_arguments(part))
        np.testing.assert_array_equal(found, scores[rows], strict=True)


def test_threads_searching_at_once_get_what_one_alone_gets():
    rng = np.random.default_rng(5)
    arguments = sealed_arguments(
        rng, rng.integers(0, 50, 200), centroids=100, dim=128, bits=4, query_tokens=32
    )
    slots = [rng.permutation(200)[:100] for _ in range(8)]
    calls = [arguments | {"slots": some} for some in slots]
    alone = [kernels.sealed_maxima(**call) for call in calls]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda call: kernels.sealed_maxima(**call), calls * 4))
    for found, expected in zip(together, alone * 4, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_read_only_arrays_are_searched(sealed):
    expected = kernels.sealed_maxima(**sealed)
    for array in sealed.values():
        array.flags.writeable = False
    np.testing.assert_array_equal(kernels.sealed_maxima(**sealed), expected, strict=True)


# bad arguments

PAGE = mmap.PAGESIZE


@pytest.fixture
def at_the_end_of_memory():
    """Copies arrays to where the next byte may not be read."""
    maps = []

    def copy(array):
        size = -(-array.nbytes // PAGE) * PAGE
        memory = mmap.mmap(-1, size + PAGE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(begin + size), PAGE, 0) == 0
        maps.append(memory)
        bytes_ = np.frombuffer(memory, np.uint8)[size - array.nbytes : size]
        copied = bytes_.view(array.dtype).reshape(array.shape)
        copied[...] = array
        return copied

    return copy


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mprotect")
@every_instruction_set
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("dim", [8, 24, 40, 128, 136])
def test_nothing_is_read_beyond_an_array(instruction_set, bits, dim, at_the_end_of_memory):
    rng = np.random.default_rng(dim)
    end, choice = at_the_end_of_memory, {"instruction_set": instruction_set}
    made = sealed_arguments(rng, [3, 0, 9, 21], centroids=33, dim=dim, bits=bits, query_tokens=17)
    sealed = {name: end(array) for name, array in made.items()}
    found = kernels.sealed_maxima(**sealed, **choice)
    np.testing.assert_array_equal(found, maxima_reference(**made))
    rows = integer_centroids(rng, 33, dim)
    scores, bounds = kernels.centroid_scores(
        end(panels_of(rows)), 33, 1.0, sealed["query"], **choice
    )
    kernels.nearest_centroids(end(scores), end(bounds), 17, 4, **choice)
    table = kernels.byte_table(end(scores), end(bounds), end(np.ones(17, np.float32)), **choice)
    parts = (sealed[name] for name in ("codes", "offsets", "slots"))
    kernels.approximate_scores(*parts, end(table), **choice)
    kernels.assign(sealed["query"], end(rows), **choice)


outside = [
    ({"codes": np.full(52, 11, dtype=np.uint16)}, "no centroid 11 of 11"),
    ({"codes": np.full(52, 2**32 - 1, dtype=np.uint32)}, "no centroid 4294967295 of 11"),
    ({"slots": np.array([0, 4])}, "no slot 4 of 4"),
    ({"slots": np.array([-1])}, "no slot -1 of 4"),
    ({"slots": np.array([2**62])}, "no slot"),
    ({"offsets": np.array([0, 3, 3, 12, 53])}, "slot 3 is tokens 12 to 53 of 52"),
    ({"offsets": np.array([-1, 3, 3, 12, 52])}, "slot 0 is tokens -1 to 3"),
    ({"offsets": np.array([0, 3, 2, 12, 52])}, "slot 1 is tokens 3 to 2"),
    ({"offsets": np.array([2**63 - 1, -(2**63), 3, 12, 52])}, "slot [01] is tokens"),
]


@every_instruction_set
@pytest.mark.parametrize(("changes", "message"), outside)
def test_a_number_that_points_outside_an_array_is_an_error(
    instruction_set, changes, message, sealed
):
    with pytest.raises(IndexError, match=message):
        kernels.sealed_maxima(**sealed | changes, instruction_set=instruction_set)
    arguments = approximate_arguments(sealed) | changes
    with pytest.raises(IndexError, match=message):
        kernels.approximate_scores(**arguments, instruction_set=instruction_set)


@pytest.mark.parametrize(
    ("changes", "message"), [case for case in outside if "slots" not in case[0]]
)
def test_inverted_lists_are_made_of_numbers_inside_their_arrays(changes, message, sealed):
    arguments = {"codes": sealed["codes"], "offsets": sealed["offsets"]} | changes
    with pytest.raises(IndexError, match=message):
        kernels.inverted_lists(**arguments, centroids=11)


def test_vectors_are_encoded_by_centroids_that_exist():
    vectors = np.zeros((1, 8), dtype=np.float32)
    weights = np.zeros(2, dtype=np.float32)
    with pytest.raises(IndexError, match="no centroid 1 of 1"):
        kernels.encode_residuals(vectors, np.ones(1, np.uint16), vectors, weights[:1], weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cells": np.array([2], dtype=np.int32)}, "no centroid 2 of 2"),
        ({"cells": np.array([-1], dtype=np.int32)}, "no centroid -1 of 2"),
        ({"lists": np.array([0, 1, 3], dtype=np.int32)}, "no slot 3 of 3"),
        ({"lists": np.array([0, -1, 2], dtype=np.int32)}, "no slot -1 of 3"),
        ({"list_offsets": np.array([0, 2, 4])}, "centroid 1 is entries 2 to 4 of 3"),
        ({"list_offsets": np.array([-1, 2, 3])}, "centroid 0 is entries -1 to 2"),
        ({"list_offsets": np.array([2, 1, 3])}, "centroid 0 is entries 2 to 1"),
    ],
)
def test_probing_reads_lists_that_exist(changes, message):
    arguments = {
        "cells": np.array([0, 1], dtype=np.int32),
        "lists": np.array([0, 1, 2], dtype=np.int32),
        "list_offsets": np.array([0, 2, 3]),
        "allowed": np.ones(3, dtype=np.bool_),
    }
    assert kernels.probe(**arguments).tolist() == [0, 1, 2]
    with pytest.raises(IndexError, match=message):
        kernels.probe(**arguments | changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"residuals": np.zeros((51, 12), np.uint8)}, ValueError, "51 residuals for 52 codes"),
        ({"residuals": np.zeros((52, 11), np.uint8)}, ValueError, "11 bytes, not 12"),
        ({"inverse_norms": np.ones(51, np.float32)}, ValueError, "51 inverse norms for 52"),
        ({"offsets": np.empty(0, np.int64)}, ValueError, "no offsets"),
        ({"scores": np.ones((11, 32), np.float32)}, ValueError, "32 columns, not 16 for 5"),
        ({"query": np.empty((0, 24), np.float32)}, ValueError, "no tokens"),
        ({"query": np.full((5, 24), np.nan, np.float32)}, ValueError, "token 0 .* not finite"),
        ({"bucket_weights": np.ones(8, np.float32)}, ValueError, "8 bucket weights"),
        ({"bucket_weights": np.full(16, np.inf, np.float32)}, ValueError, "weight 0 .* not finite"),
        ({"query": np.ones((5, 25), np.float32)}, ValueError, "25 dimensions of 4 bits"),
        ({"codes": np.zeros(52, np.int32)}, TypeError, "incompatible"),
        ({"residuals": np.zeros((52, 24), np.uint8)[:, ::2]}, TypeError, "incompatible"),
        ({"slots": np.zeros(2, np.int32)}, TypeError, "incompatible"),
        ({"instruction_set": "mmx"}, ValueError, "'mmx' is not one of this machine's"),
    ],
)
def test_bad_arguments_of_the_exact_stage_are_refused(sealed, changes, error, message):
    with pytest.raises(error, match=message):
        kernels.sealed_maxima(**sealed | changes)


centroids_of_8 = np.ones((3, 8), dtype=np.int16)
panels_of_8 = panels_of(centroids_of_8)
rows_of_8 = np.ones((2, 8), dtype=np.float32)
scores_of_2 = np.zeros((4, 16), dtype=np.float32)
bounds_of_2 = bounds_of(scores_of_2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.centroid_scores(panels_of_8, 3, np.nan, rows_of_8),
            ValueError,
            "scale .* not finite",
        ),
        (
            lambda: kernels.centroid_scores(panels_of_8, 3, 1.0, rows_of_8[:, :6].copy()),
            ValueError,
            "4 x 32 x 2 numbers, not 3 x 32 x 2 for 6 dimensions",
        ),
        (
            lambda: kernels.centroid_scores(panels_of_8[:, :, :16].copy(), 3, 1.0, rows_of_8),
            ValueError,
            "4 x 16 x 2 numbers",
        ),
        (
            lambda: kernels.centroid_scores(panels_of_8, 33, 1.0, rows_of_8),
            ValueError,
            "1 panels of 32 for 33 centroids",
        ),
        (
            lambda: kernels.centroid_scores(panels_of_8, -1, 1.0, rows_of_8),
            ValueError,
            "a count of -1",
        ),
        (
            lambda: kernels.centroid_scores(panels_of_8, 3, 1.0, rows_of_8 * np.float32(np.inf)),
            ValueError,
            "token 0 .* not finite",
        ),
        (
            lambda: kernels.centroid_scores(panels_of_8, 3, 1.0, rows_of_8[:0]),
            ValueError,
            "no tokens",
        ),
        (
            lambda: kernels.nearest_centroids(scores_of_2, bounds_of_2, 17, 1),
            ValueError,
            "16 columns, not 32",
        ),
        (
            lambda: kernels.nearest_centroids(scores_of_2, bounds_of_2, 2, -1),
            ValueError,
            "a count of -1",
        ),
        (
            lambda: kernels.nearest_centroids(scores_of_2, bounds_of_2[:0], 2, 1),
            ValueError,
            "bounds of 0 x 2 x 16 numbers, not 1 x 2 x 16",
        ),
        (
            lambda: kernels.nearest_centroids(scores_of_2, bounds_of_2 + np.float32(1), 2, 1),
            ValueError,
            "bounds of other scores",
        ),
        (
            lambda: kernels.byte_table(
                scores_of_2, bounds_of_2[:, :1].copy(), np.ones(2, np.float32)
            ),
            ValueError,
            "bounds of 1 x 1 x 16",
        ),
        (
            lambda: kernels.byte_table(scores_of_2, bounds_of_2, np.array([1, -1], np.float32)),
            ValueError,
            "token 1 is negative",
        ),
        (
            lambda: kernels.byte_table(scores_of_2, bounds_of_2, np.array([1, np.nan], np.float32)),
            ValueError,
            "token 1 .* not finite",
        ),
        (lambda: kernels.largest(np.zeros(3, dtype=np.uint32), -1), ValueError, "a count of -1"),
        (
            lambda: kernels.approximate_scores(
                np.zeros(0, np.uint16),
                np.array([0]),
                np.zeros(0, np.int64),
                np.zeros((1, 1, 8), np.uint8),
            ),
            ValueError,
            "8 bytes, not 16, 32 or 64",
        ),
        (lambda: kernels.assign(rows_of_8, centroids_of_8[:0]), ValueError, "no centroids"),
        (
            lambda: kernels.assign(rows_of_8, np.full((1, 8), 32767, np.int16)),
            ValueError,
            "centroid 0 is longer than 46340",
        ),
        (
            lambda: kernels.assign(rows_of_8 * np.float32(np.nan), centroids_of_8),
            ValueError,
            "vector 0 .* not finite",
        ),
        (
            lambda: kernels.encode_residuals(
                rows_of_8, np.zeros(2, np.uint16), rows_of_8, scores_of_2[0, :2], scores_of_2[0, :2]
            ),
            ValueError,
            "2 cutoffs for 2 bucket weights",
        ),
        (
            lambda: kernels.encode_residuals(
                rows_of_8,
                np.zeros(2, np.uint16),
                rows_of_8,
                np.array([1, 0, 2], dtype=np.float32),
                np.zeros(4, dtype=np.float32),
            ),
            ValueError,
            "not ascending",
        ),
        (
            lambda: kernels.inverted_lists(np.zeros(0, np.uint16), np.array([0]), -1),
            ValueError,
            "a count of -1",
        ),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
