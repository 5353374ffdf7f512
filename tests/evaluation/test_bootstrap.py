"""The interval of a mean difference: where it lies, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.evaluation import bootstrap
from memstore.evaluation.bootstrap import LEAST_QUESTIONS, holm, interval

differences = st.lists(st.floats(-1, 1), min_size=LEAST_QUESTIONS, max_size=50).map(np.array)


@given(values=differences)
def test_the_interval_lies_between_the_smallest_and_the_largest_difference(values):
    low, high, _ = interval(values, seed=0, resamples=500)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12


@given(values=differences)
def test_the_other_sign_turns_the_interval_around(values):
    low, high, _ = interval(values, seed=0, resamples=500)
    other = interval(-values, seed=0, resamples=500)
    assert other[:2] == pytest.approx((-high, -low), abs=1e-12)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        # as differences of nDCG are: most are 0, the others skewed; their mean is 0.05
        values = random.binomial(1, 0.25, 100) * (random.beta(2, 3, 100) - 0.2)
        low, high, _ = interval(values, seed=trial, resamples=1000)
        covered += low <= 0.05 <= high
    assert 0.90 <= covered / 400 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly():
    values = np.random.default_rng(1).normal(0.1, 0.3, 80)
    first = interval(values, seed=5)
    assert interval(values, seed=5) == first
    assert interval(values, seed=6) != first
    assert interval(values, seed=6)[:2] == pytest.approx(first[:2], abs=0.01)


def test_differences_that_are_all_the_same_leave_no_doubt():
    low, high, chance = interval(np.full(20, 0.25), seed=0)
    assert (low, high) == pytest.approx((0.25, 0.25))
    assert chance < 0.001
    assert interval(np.zeros(20), seed=0) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("count", range(LEAST_QUESTIONS))
def test_too_few_questions_have_no_interval(count):
    assert interval(np.full(count, 0.5), seed=0) is None


def test_more_questions_than_fit_into_memory_at_once_give_the_same_kind_of_interval(monkeypatch):
    values = np.random.default_rng(2).normal(0.0, 1.0, 300)
    at_once = interval(values, seed=0)
    monkeypatch.setattr(bootstrap, "_MOST_DRAWN", 100)
    assert interval(values, seed=0)[:2] == pytest.approx(at_once[:2], abs=0.02)


def test_it_is_the_interval_of_means_of_draws_with_replacement():
    values = np.random.default_rng(3).beta(1, 3, 60) - 0.2
    drawn = np.random.default_rng(0).integers(60, size=(10_000, 60))
    expected = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    assert interval(values, seed=0)[:2] == pytest.approx(tuple(expected), abs=0.005)


def test_questions_about_one_thing_tell_no_more_than_the_things_there_are():
    # eight conversations whose forty questions each agree with one another
    values = np.repeat(np.array([0.3, -0.1, 0.2, -0.2, 0.4, 0.0, 0.1, -0.3]), 40)
    clusters = np.repeat(np.arange(8), 40)
    low, high, chance = interval(values, seed=0)
    wide_low, wide_high, wide_chance = interval(values, seed=0, clusters=clusters)
    assert wide_high - wide_low > 3 * (high - low)
    assert chance < 0.05 < wide_chance


def test_clusters_of_one_question_each_are_the_questions():
    values = np.random.default_rng(4).normal(0.1, 0.3, 50)
    alone = interval(values, seed=0)
    assert interval(values, seed=0, clusters=np.arange(50)) == pytest.approx(alone)


def test_a_large_cluster_counts_by_its_questions():
    values, clusters = np.array([1.0] * 30 + [0.0] * 6), np.array([0] * 30 + list(range(1, 7)))
    low, high, _ = interval(values, seed=0, clusters=clusters)
    drawn = np.random.default_rng(0).integers(7, size=(20_000, 7))
    sums, counts = np.array([30.0, *[0.0] * 6]), np.array([30.0, *[1.0] * 6])
    expected = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)


@pytest.mark.parametrize(("clusters", "least"), [(5, 1 / 16), (7, 1 / 64)])
def test_few_conversations_that_all_agree_leave_the_chance_of_their_agreement(clusters, least):
    values = np.full(70, 0.2)
    assert interval(values, seed=0, clusters=np.arange(70) % clusters).p == least


def test_the_chance_agrees_with_the_interval():
    random = np.random.default_rng(5)
    for trial in range(40):
        low, high, chance = interval(random.normal(0.04, 0.2, 60), seed=trial, resamples=2000)
        if abs(chance - 0.05) > 0.01:
            assert (chance < 0.05) == (low > 0 or high < 0)


@given(chances=st.lists(st.floats(0, 1), max_size=12))
def test_corrected_chances_are_larger_in_the_same_order_and_at_most_1(chances):
    corrected = holm(chances)
    assert all(one <= more <= 1 for one, more in zip(chances, corrected, strict=True))
    order = sorted(range(len(chances)), key=chances.__getitem__)
    assert [corrected[place] for place in order] == sorted(corrected)
    if chances:
        assert min(corrected) == min(1.0, len(chances) * min(chances))
