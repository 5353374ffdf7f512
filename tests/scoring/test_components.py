"""What time, evidence and entities say about a memory, and where they say nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.scoring.components import currency, entity_coverage, trust

ages = st.floats(-1e4, 1e5)
half_lives = st.floats(0.01, 1e5)
votes = st.floats(0.1, 100.0)


def one(function, *values):
    (result,) = function(*(np.array([value], dtype=np.float64) for value in values))
    return float(result)


@pytest.mark.parametrize(
    ("half_lives", "expected"), [(0, 1.0), (1, 0.0), (5, -0.5), (21, -0.75), (-3, 1.0)]
)
def test_currency_follows_the_power_law(half_lives, expected):
    assert one(currency, half_lives * 365.0, 365.0) == pytest.approx(expected, abs=1e-12)


@given(first=ages, second=ages, half_life=half_lives)
def test_currency_never_increases_with_age(first, second, half_life):
    young, old = sorted([first, second])
    assert 1.0 >= one(currency, young, half_life) >= one(currency, old, half_life) > -1.0


@given(half_life=half_lives)
def test_currency_is_neutral_at_the_half_life(half_life):
    assert one(currency, half_life, half_life) == pytest.approx(0.0, abs=1e-12)


@given(age=ages)
def test_currency_is_neutral_for_what_never_ages_and_for_unknown_times(age):
    assert one(currency, age, math.inf) == 0.0
    assert one(currency, math.nan, 365.0) == 0.0
    assert one(currency, math.nan, math.inf) == 0.0


@given(age=st.floats(-1e4, 0.0), half_life=half_lives)
def test_what_is_not_yet_is_as_current_as_what_is_new(age, half_life):
    assert one(currency, age, half_life) == 1.0


def test_a_half_life_of_next_to_nothing_is_no_error():
    assert one(currency, 1e5, 5e-324) == -1.0


@pytest.mark.parametrize(
    ("alpha", "beta", "expected"),
    [(1, 1, 0.0), (2, 0, 1.0), (0, 2, -2.0), (1, 7, -2.0), (4, 1, math.log2(1.6))],
)
def test_trust_is_the_logarithm_of_the_share_of_evidence_for_it(alpha, beta, expected):
    assert one(trust, alpha, beta) == pytest.approx(expected, abs=1e-12)


@given(alpha=votes, beta=votes, more=votes)
def test_trust_rises_with_confirmations_and_falls_with_contradictions(alpha, beta, more):
    before = one(trust, alpha, beta)
    assert -2.0 <= one(trust, alpha, beta + more) <= before <= one(trust, alpha + more, beta) <= 1.0
    if alpha / (alpha + beta) > 0.125:
        assert one(trust, alpha + more, beta) > before


@given(both=votes)
def test_trust_is_neutral_when_the_evidence_is_even(both):
    assert one(trust, both, both) == 0.0


@given(
    memories=st.integers(0, 1000),
    data=st.data(),
    rows=st.integers(0, 6),
    columns=st.integers(0, 20),
)
def test_entity_coverage_is_a_share_whatever_is_counted(memories, data, rows, columns):
    # more mentions than memories: counts are of the present, the search may be of the past
    counted = st.lists(st.integers(0, 2000), min_size=columns, max_size=columns)
    mentions = np.array(data.draw(counted), dtype=np.float64)
    bits = st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns)
    shared = np.array(data.draw(bits), dtype=np.bool_).reshape(rows, columns)
    coverage = entity_coverage(shared, mentions, memories)
    assert coverage.shape == (rows,)
    assert ((coverage >= 0.0) & (coverage <= 1.0)).all()
    assert (coverage[~shared.any(axis=1)] == 0.0).all()
    informative = memories > 0 and bool((mentions < memories).any())
    full = coverage[shared.all(axis=1)]
    assert (full == (1.0 if informative else 0.0)).all()
    more = entity_coverage(shared | (np.arange(columns) == 0), mentions, memories)
    assert (more >= coverage).all()


def test_entity_coverage_is_weighted_by_rarity():
    shared = np.array([[True, False], [False, True], [True, True]])
    rare, common = math.log(100 / 2) / math.log(100), math.log(100 / 50) / math.log(100)
    expected = [rare / (rare + common), common / (rare + common), 1.0]
    coverage = entity_coverage(shared, np.array([1.0, 49.0]), 99)
    np.testing.assert_allclose(coverage, expected, rtol=1e-12)


def test_an_entity_that_every_memory_mentions_says_nothing():
    shared = np.array([[True], [True]])
    assert entity_coverage(shared, np.array([2.0]), 2).tolist() == [0.0, 0.0]


@given(data=st.data(), rows=st.integers(1, 12), columns=st.integers(1, 12))
def test_a_memory_is_covered_the_same_in_any_company(data, rows, columns):
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    shared = random.random((rows, columns)) < 0.5
    mentions = random.integers(0, 50, columns).astype(np.float64)
    whole = entity_coverage(shared, mentions, 77)
    chosen = random.permutation(rows)[: data.draw(st.integers(1, rows))]
    assert entity_coverage(shared[chosen], mentions, 77).tobytes() == whole[chosen].tobytes()
