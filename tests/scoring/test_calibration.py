"""Raw scores become log-odds without changing their order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import IndexDamaged
from memstore.scoring.calibration import calibration_for, probability

minilm = calibration_for("minilm")
raw = st.floats(-1.0, 1.0)
places = st.fixed_dictionaries(
    {"mean": raw, "memories": st.integers(0, 10**7), "query_tokens": st.integers(1, 512)}
)


def test_the_shipped_calibration_is_the_fitted_formula():
    scores = np.array([0.9, 0.5, -0.25])
    for mean, memories, tokens in [(0.4, 1, 1), (0.35, 1000, 9), (0.0, 50_000, 64)]:
        expected = [
            -1.665
            + (score - mean) * (5.349 + 4.413 * math.log(tokens))
            - 0.877 * math.log(memories)
            for score in scores
        ]
        given_ = minilm(scores, mean=mean, memories=memories, query_tokens=tokens)
        np.testing.assert_allclose(given_, expected, rtol=0, atol=1e-12)


def test_an_encoder_without_a_fit_has_no_calibration():
    assert calibration_for("hashed") is None
    assert calibration_for("") is None


@given(places=places, scores=st.lists(raw, min_size=2, max_size=20))
def test_log_odds_are_in_the_order_of_the_scores(places, scores):
    scores = np.array(sorted(scores))
    nats = minilm(scores, **places)
    apart = np.diff(scores) > 1e-9
    assert (np.diff(nats)[apart] > 0).all()
    assert (np.diff(nats) >= 0).all()


@given(places=places, scores=st.lists(raw, min_size=1, max_size=20), data=st.data())
def test_a_score_means_the_same_in_any_company(places, scores, data):
    whole = minilm(np.array(scores), **places)
    chosen = data.draw(st.permutations(range(len(scores))))
    chosen = chosen[: data.draw(st.integers(1, len(scores)))]
    part = minilm(np.array(scores)[chosen], **places)
    assert part.tobytes() == whole[chosen].tobytes()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(wrong):
    with pytest.raises(IndexDamaged, match="1 of 3 scores are not finite"):
        minilm(np.array([0.5, wrong, 0.1]), mean=0.2, memories=3, query_tokens=4)
    with pytest.raises(IndexDamaged, match="mean"):
        minilm(np.array([0.5]), mean=wrong, memories=3, query_tokens=4)


def test_no_scores_are_no_log_odds():
    assert minilm(np.empty(0), mean=0.0, memories=0, query_tokens=3).shape == (0,)


@pytest.mark.parametrize(
    ("nats", "expected"),
    [(0.0, 0.5), (math.log(3), 0.75), (-math.log(3), 0.25), (800.0, 1.0), (-800.0, 0.0)],
)
def test_probability_is_the_logistic_of_the_log_odds(nats, expected):
    assert probability(nats) == pytest.approx(expected, abs=1e-15)


def test_small_probabilities_keep_their_digits():
    assert probability(-50.0) == pytest.approx(math.exp(-50.0), rel=1e-12)


@given(first=st.floats(-1e4, 1e4), second=st.floats(-1e4, 1e4))
def test_probability_rises_with_the_log_odds_and_stays_in_its_range(first, second):
    low, high = sorted([first, second])
    assert 0.0 <= probability(low) <= probability(high) <= 1.0
