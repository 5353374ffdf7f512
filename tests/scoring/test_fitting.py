"""Calibrations are fitted to judged candidates, and never turn an order around."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import IndexDamaged
from memstore.scoring.calibration import (
    MOST_TOKENS,
    ContrastCalibration,
    PlattCalibration,
    calibration_from,
    parameters_of,
    reranker_calibration,
)
from memstore.scoring.fitting import (
    LEAST_SLOPE,
    Observations,
    cross_validated,
    fit_contrast,
    fit_lexical,
    fit_platt,
    log_odds_of,
    quality,
)
from memstore.scoring.lexical import EXACT, LexicalWeights

TRUTH = ContrastCalibration(bias=-1.2, slope=4.0, slope_ln_tokens=3.0, slope_ln_memories=-0.8)


def nothing_named(count):
    return {name: np.zeros(count) for name in ("words", "exact", "most")}


def drawn(truth=TRUTH, *, questions=400, each=100, seed=0, sizes=(20, 200, 2000)):
    """Candidates whose relevance is drawn with the odds that a calibration says."""
    random = np.random.default_rng(seed)
    parts = []
    for number in range(questions):
        memories = sizes[number % len(sizes)]
        tokens = int(random.integers(3, 30))
        mean = float(random.uniform(0.2, 0.4))
        scores = random.uniform(mean - 0.1, 0.9, each)
        nats = truth(scores, mean=mean, memories=memories, query_tokens=tokens)
        parts.append(
            Observations(
                scores=scores,
                means=np.full(each, mean),
                memories=np.full(each, float(memories)),
                query_tokens=np.full(each, float(tokens)),
                questions=np.zeros(each, dtype=np.int64),
                relevant=random.random(each) < 1 / (1 + np.exp(-nats)),
                **nothing_named(each),
            )
        )
    return Observations.joined(parts)


def test_the_numbers_that_made_the_data_are_found_again():
    found = fit_contrast(drawn())
    assert found.slope_at(8) == pytest.approx(TRUTH.slope_at(8), rel=0.05)
    assert found.slope_at(25) == pytest.approx(TRUTH.slope_at(25), rel=0.05)
    assert found.slope_ln_memories == pytest.approx(TRUTH.slope_ln_memories, abs=0.05)
    assert found.bias == pytest.approx(TRUTH.bias, abs=0.3)


@pytest.mark.parametrize("kind", ["maxsim", "logit", "prob01"])
def test_a_scorer_without_a_corpus_gets_a_bias_and_a_slope(kind):
    random = np.random.default_rng(1)
    scores = random.uniform(0.02, 0.98, 40_000)
    truth = PlattCalibration(kind=kind, bias=-2.0, slope=1.7)
    nats = truth(scores, mean=0.0, memories=1, query_tokens=1)
    relevant = random.random(len(scores)) < 1 / (1 + np.exp(-nats))
    ones = np.ones(len(scores))
    questions = np.arange(len(scores)) // 20
    data = Observations(
        scores, 0 * ones, ones, ones, questions, relevant, **nothing_named(len(scores))
    )
    found = fit_platt(data, kind)
    assert (found.slope, found.bias) == pytest.approx((1.7, -2.0), abs=0.15)


def test_what_one_size_of_namespace_leaves_open_is_one_answer_in_all_its_memories():
    found = fit_contrast(drawn(sizes=(500,), questions=100))
    assert found.slope_ln_memories == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_say_the_opposite_get_the_least_slope_and_no_less(seed):
    data = drawn(questions=30, seed=seed)
    upside_down = dataclasses.replace(data, scores=-data.scores, means=-data.means)
    found = fit_contrast(upside_down)
    assert found.rises
    assert found.slope_at(1) == pytest.approx(LEAST_SLOPE)
    assert found.slope_at(MOST_TOKENS) == pytest.approx(LEAST_SLOPE)
    assert fit_platt(upside_down, "maxsim").slope == pytest.approx(LEAST_SLOPE)


@given(
    scores=st.lists(st.floats(-1, 1), min_size=2, max_size=12),
    labels=st.data(),
    means=st.floats(-1, 1),
    memories=st.integers(0, 10**7),
    tokens=st.integers(1, 2_000),
)
def test_a_fit_to_anything_keeps_the_order_of_scores_for_every_query(
    scores, labels, means, memories, tokens
):
    relevant = labels.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    ones = np.ones(len(scores))
    data = Observations(
        np.array(scores),
        means * ones,
        10.0 * ones,
        labels.draw(st.integers(1, 600)) * ones,
        np.zeros(len(scores), dtype=np.int64),
        np.array(relevant),
        **nothing_named(len(scores)),
    )
    asked = np.sort(np.array(scores))
    apart = np.diff(asked) > 1e-9
    for found in (fit_contrast(data), fit_platt(data, "maxsim")):
        nats = found(asked, mean=means, memories=memories, query_tokens=tokens)
        assert (np.diff(nats)[apart] > 0).all()
        assert (np.diff(nats) >= 0).all()


def test_a_calibration_is_as_good_as_its_log_odds_are_true():
    data = drawn()
    right = quality(log_odds_of(TRUTH, data), data.relevant)
    assert right.slope == pytest.approx(1.0, abs=0.05)
    assert right.ece < 0.005
    too_sure = quality(2 * log_odds_of(TRUTH, data), data.relevant)
    assert too_sure.slope == pytest.approx(right.slope / 2, rel=1e-3)
    assert too_sure.log_loss > right.log_loss
    assert too_sure.ece > right.ece


def test_a_constant_probability_has_the_error_one_computes_by_hand():
    relevant = np.array([True] * 2 + [False] * 8)
    found = quality(np.full(10, math.log(3)), relevant)
    assert found.ece == pytest.approx((2 * 0.25 + 8 * 0.75) / 10)
    assert found.log_loss == pytest.approx(-(2 * math.log(0.75) + 8 * math.log(0.25)) / 10)


def test_cross_validation_judges_by_questions_the_fit_has_not_seen():
    data = drawn(questions=50)
    seen = []

    def fit(some):
        seen.append(set(np.unique(some.questions).tolist()))
        return fit_contrast(some)

    found = cross_validated(fit, data, seed=3)
    everything = set(range(50))
    assert sorted(len(everything - part) for part in seen) == [10] * 5
    assert set.union(*(everything - part for part in seen)) == everything
    assert found == cross_validated(fit_contrast, data, seed=3)
    assert found.log_loss >= quality(log_odds_of(fit_contrast(data), data), data.relevant).log_loss


def test_questions_of_joined_parts_stay_apart():
    joined = Observations.joined([drawn(questions=3, each=4), drawn(questions=2, each=4)])
    assert np.unique(joined.questions).tolist() == [0, 1, 2, 3, 4]


def test_weights_count_like_repeated_candidates():
    data = drawn(questions=20)
    twice = Observations.joined([data, data])
    double = fit_contrast(data, np.full(len(data), 2.0))
    repeated = fit_contrast(twice)
    assert double.slope_at(8) == pytest.approx(repeated.slope_at(8), rel=1e-4)
    assert double.bias == pytest.approx(repeated.bias, rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "made"),
    [("maxsim", TRUTH), ("logit", PlattCalibration(kind="logit", bias=0.5, slope=2.0))],
)
def test_a_calibration_comes_back_from_its_parameters(kind, made):
    assert calibration_from(kind, parameters_of(made)) == made


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"bias": 1.0},
        {"bias": 1.0, "slope": -0.5},
        {"bias": 1.0, "slope": 0.0},
        {"bias": math.nan, "slope": 1.0},
        {"bias": 1.0, "slope": "steep"},
        {"bias": 0.0, "slope": 1.0, "slope_ln_tokens": -1.0, "slope_ln_memories": -1.0},
        {"bias": 1.0, "slope": 1.0, "more": 1.0},
        [1.0, 2.0],
    ],
)
def test_damaged_parameters_are_no_calibration(parameters):
    with pytest.raises(IndexDamaged, match="memstore calibrate"):
        calibration_from("maxsim", parameters)


def test_a_reranker_is_taken_at_its_word_where_it_has_one():
    where = {"mean": 0.0, "memories": 1, "query_tokens": 1}
    assert reranker_calibration("logit")(np.array([1.5]), **where).tolist() == [1.5]
    half = reranker_calibration("prob01")(np.array([0.5]), **where)
    assert half.tolist() == [0.0]
    assert reranker_calibration("maxsim") is None


def test_the_numbers_of_what_is_named_are_found_again_beside_a_calibration():
    random = np.random.default_rng(4)
    data = drawn(questions=900)
    count = len(data)
    held = random.random(count) < 0.05
    words = np.where(held, random.uniform(1, 8, count), 0.0)
    exact = np.where(random.random(count) < 0.02, 6.0, 0.0)
    most = np.repeat(random.uniform(4, 14, count // 100), 100)
    truth = LexicalWeights(word=0.4, exact=EXACT, absent=0.15)
    nats = log_odds_of(TRUTH, data) + truth.nats(words, exact, most)
    relevant = random.random(count) < 1 / (1 + np.exp(-nats))
    named = dataclasses.replace(data, words=words, exact=exact, most=most, relevant=relevant)
    found = fit_lexical(named, TRUTH)
    assert found.word == pytest.approx(truth.word, abs=0.03)
    assert found.absent == pytest.approx(truth.absent, abs=0.01)
    assert found.exact == EXACT
    nothing = fit_lexical(data, TRUTH)
    assert (nothing.word, nothing.absent) == (0.0, 0.0)
