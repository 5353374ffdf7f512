"""The interval of a mean difference: where it lies, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.evaluation import bootstrap
from memstore.evaluation.bootstrap import LEAST_QUESTIONS, interval

differences = st.lists(st.floats(-1, 1), min_size=LEAST_QUESTIONS, max_size=50).map(np.array)


@given(values=differences)
def test_the_interval_lies_between_the_smallest_and_the_largest_difference(values):
    low, high = interval(values, seed=0, resamples=500)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12


@given(values=differences)
def test_the_other_sign_turns_the_interval_around(values):
    low, high = interval(values, seed=0, resamples=500)
    assert interval(-values, seed=0, resamples=500) == pytest.approx((-high, -low), abs=1e-12)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        # as differences of nDCG are: most are 0, the others skewed; their mean is 0.05
        values = random.binomial(1, 0.25, 100) * (random.beta(2, 3, 100) - 0.2)
        low, high = interval(values, seed=trial, resamples=1000)
        covered += low <= 0.05 <= high
    assert 0.90 <= covered / 400 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly():
    values = np.random.default_rng(1).normal(0.1, 0.3, 80)
    first = interval(values, seed=5)
    assert interval(values, seed=5) == first
    assert interval(values, seed=6) != first
    assert interval(values, seed=6) == pytest.approx(first, abs=0.01)


def test_differences_that_are_all_the_same_leave_no_doubt():
    assert interval(np.full(20, 0.25), seed=0) == pytest.approx((0.25, 0.25))
    assert interval(np.zeros(20), seed=0) == (0.0, 0.0)


@pytest.mark.parametrize("count", range(LEAST_QUESTIONS))
def test_too_few_questions_have_no_interval(count):
    assert interval(np.full(count, 0.5), seed=0) is None


def test_more_questions_than_fit_into_memory_at_once_give_the_same_kind_of_interval(monkeypatch):
    values = np.random.default_rng(2).normal(0.0, 1.0, 300)
    at_once = interval(values, seed=0)
    monkeypatch.setattr(bootstrap, "_MOST_DRAWN", 100)
    assert interval(values, seed=0) == pytest.approx(at_once, abs=0.02)


def test_it_is_the_interval_of_means_of_draws_with_replacement():
    values = np.random.default_rng(3).beta(1, 3, 60) - 0.2
    drawn = np.random.default_rng(0).integers(60, size=(10_000, 60))
    expected = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    assert interval(values, seed=0) == pytest.approx(tuple(expected), abs=0.005)
