"""The C++ kernels equal an integer reference to the bit, on every instruction set at hand."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import maxsim
from memstore.index import dequantize, quantize
from memstore.index._kernels import instruction_sets, token_maxima

every_instruction_set = pytest.mark.parametrize("instruction_set", instruction_sets())


def integer_reference(codes, scales, starts, lengths, query):
    """The kernel's contract in 64-bit integers, with its roundings in the same order."""
    dim = codes.shape[1]
    levels = min(127 * 128, (2**31 - 1) // (128 * dim))
    largest = np.abs(query).max(axis=1).astype(np.float64)
    query_scales = (largest / levels).astype(np.float32)
    factors = np.divide(levels, largest, where=largest > 0, out=np.zeros_like(largest))
    values = np.rint(query * factors[:, None]).astype(np.int64)
    sums = codes.astype(np.int64) @ values.T
    similarities = sums.astype(np.float32) * scales[:, None]
    maxima = [similarities[s : s + n].max(axis=0) for s, n in zip(starts, lengths, strict=True)]
    return np.array(maxima, dtype=np.float32).reshape(len(starts), len(query)) * query_scales


def passages_of(rng, lengths, dim):
    """Random codes of any value, in passages of the given lengths one after another."""
    lengths = np.array(lengths, dtype=np.int64)
    tokens = int(lengths.sum())
    codes = rng.integers(-128, 128, (tokens, dim), dtype=np.int8)
    scales = rng.random(tokens, dtype=np.float32)
    return codes, scales, np.cumsum(lengths) - lengths, lengths


def unit_rows(rng, shape):
    rows = rng.standard_normal(shape, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def arguments():
    rng = np.random.default_rng(7)
    codes, scales, starts, lengths = passages_of(rng, [3, 1, 9, 40], 20)
    return {
        "codes": codes,
        "scales": scales,
        "starts": starts,
        "lengths": lengths,
        "query": unit_rows(rng, (5, 20)),
    }


@every_instruction_set
@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    query_tokens=st.integers(1, 70),
    dim=st.integers(1, 200),
    lengths=st.lists(st.integers(1, 300) | st.integers(1, 20), max_size=6),
    magnitude=st.sampled_from([1e-30, 1e-3, 1.0, 1e20]),
)
def test_every_instruction_set_equals_the_integer_reference_to_the_bit(
    instruction_set, seed, query_tokens, dim, lengths, magnitude
):
    rng = np.random.default_rng(seed)
    documents = passages_of(rng, lengths, dim)
    query = rng.standard_normal((query_tokens, dim), dtype=np.float32) * np.float32(magnitude)
    found = token_maxima(*documents, query, instruction_set=instruction_set)
    np.testing.assert_array_equal(found, integer_reference(*documents, query), strict=True)


@every_instruction_set
@pytest.mark.parametrize("dim", [1032, 1033, 2049, 65536])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_of_long_vectors_do_not_overflow(instruction_set, dim, sign):
    documents = (
        np.full((2, dim), -128, dtype=np.int8),
        np.ones(2, dtype=np.float32),
        np.array([0]),
        np.array([2]),
    )
    query = np.full((3, dim), sign, dtype=np.float32)
    found = token_maxima(*documents, query, instruction_set=instruction_set)
    np.testing.assert_array_equal(found, integer_reference(*documents, query), strict=True)
    np.testing.assert_allclose(found, -128 * dim * sign, rtol=1e-6)


@every_instruction_set
def test_a_zero_query_vector_is_similar_to_nothing(instruction_set, arguments):
    arguments["query"][2] = 0
    found = token_maxima(**arguments, instruction_set=instruction_set)
    assert (found[:, 2] == 0).all()
    assert (found[:, 1] != 0).all()


@every_instruction_set
def test_passages_may_overlap_repeat_and_come_in_any_order(instruction_set, arguments):
    arguments["starts"] = np.array([50, 0, 10, 10, 0])
    arguments["lengths"] = np.array([3, 53, 7, 7, 1])
    found = token_maxima(**arguments, instruction_set=instruction_set)
    np.testing.assert_array_equal(found, integer_reference(**arguments), strict=True)


def test_similarities_are_those_of_the_numpy_reference_but_for_rounding():
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 60, 50)
    starts = np.cumsum(lengths) - lengths
    vectors = unit_rows(rng, (lengths.sum(), 128))
    query = unit_rows(rng, (32, 128))
    codes, scales = quantize(vectors)
    found = token_maxima(codes, scales, starts, lengths, query)
    of_the_codes = maxsim.token_maxima(query, dequantize(codes, scales), starts, lengths)
    np.testing.assert_allclose(found, of_the_codes, atol=3e-5)
    np.testing.assert_allclose(
        found, maxsim.token_maxima(query, vectors, starts, lengths), atol=6e-3
    )


def test_a_row_does_not_depend_on_the_other_passages_of_the_call(arguments):
    whole = token_maxima(**arguments)
    for rows in ([0], [2, 1], [3, 3, 0]):
        part = arguments | {name: arguments[name][rows] for name in ("starts", "lengths")}
        np.testing.assert_array_equal(token_maxima(**part), whole[rows], strict=True)


def test_a_column_does_not_depend_on_the_other_query_tokens(arguments):
    whole = token_maxima(**arguments)
    part = token_maxima(**arguments | {"query": arguments["query"][3:4]})
    np.testing.assert_array_equal(part, whole[:, 3:4], strict=True)


def test_threads_searching_at_once_get_what_one_alone_gets():
    rng = np.random.default_rng(5)
    documents = passages_of(rng, rng.integers(1, 50, 400), 128)
    queries = [unit_rows(rng, (n, 128)) for n in (4, 16, 31, 32, 33, 50)]
    alone = [token_maxima(*documents, query) for query in queries]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda query: token_maxima(*documents, query), queries * 8))
    for found, expected in zip(together, alone * 8, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_read_only_arrays_are_searched(arguments):
    expected = token_maxima(**arguments)
    for array in arguments.values():
        array.flags.writeable = False
    np.testing.assert_array_equal(token_maxima(**arguments), expected, strict=True)


def test_no_passages_give_no_rows(arguments):
    none = np.empty(0, dtype=np.int64)
    assert token_maxima(**arguments | {"starts": none, "lengths": none}).shape == (0, 5)
    empty = {
        "codes": np.empty((0, 20), dtype=np.int8),
        "scales": np.empty(0, dtype=np.float32),
        "starts": none,
        "lengths": none,
    }
    assert token_maxima(**arguments | empty).shape == (0, 5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"query": np.ones((2, 19), dtype=np.float32)}, ValueError, "19 dimensions .* 20"),
        ({"query": np.empty((0, 20), dtype=np.float32)}, ValueError, "no tokens"),
        ({"query": np.full((2, 20), np.nan, dtype=np.float32)}, ValueError, "token 0 .* finite"),
        ({"query": np.full((2, 20), -np.inf, dtype=np.float32)}, ValueError, "not finite"),
        ({"query": np.ones((2, 20))}, TypeError, "incompatible"),
        ({"query": np.ones((20, 2), dtype=np.float32).T}, TypeError, "incompatible"),
        ({"query": np.ones(20, dtype=np.float32)}, TypeError, "incompatible"),
        ({"codes": np.ones((53, 20), dtype=np.uint8)}, TypeError, "incompatible"),
        ({"codes": np.empty((53, 0), dtype=np.int8)}, ValueError, "0 dimensions"),
        ({"codes": np.empty((53, 65537), dtype=np.int8)}, ValueError, "65537 dimensions"),
        ({"scales": np.ones(52, dtype=np.float32)}, ValueError, "52 scales for 53 tokens"),
        ({"lengths": np.array([1])}, ValueError, "1 lengths for 4 starts"),
        ({"lengths": np.array([3, 0, 9, 40])}, IndexError, "passage 1 .* 0 long"),
        ({"lengths": np.array([3, -1, 9, 40])}, IndexError, "passage 1 .* -1 long"),
        ({"lengths": np.array([3, 1, 9, 41])}, IndexError, "passage 3 .* 41 long, in 53 tokens"),
        ({"lengths": np.array([3, 1, 2**63 - 1, 1])}, IndexError, "passage 2"),
        ({"starts": np.array([-1, 0, 0, 0])}, IndexError, "passage 0 starts at token -1"),
        ({"starts": np.array([0, 0, 53, 0])}, IndexError, "passage 2 starts at token 53"),
        ({"starts": np.array([2**63 - 1, 0, 0, 0])}, IndexError, "passage 0"),
        ({"instruction_set": "mmx"}, ValueError, "'mmx' is not one of this machine's: .*scalar"),
    ],
)
def test_bad_arguments_are_refused(arguments, changes, error, message):
    with pytest.raises(error, match=message):
        token_maxima(**arguments | changes)


def test_the_scalar_path_is_always_there_and_last():
    assert instruction_sets()[-1] == "scalar"
