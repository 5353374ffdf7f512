"""Probabilities against judgements."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from memstore.evaluation import Question
from memstore.evaluation.calibration import calibration_of
from memstore.evaluation.tables import calibration_table
from memstore.scoring import calibration
from memstore.scoring.lexical import LexicalWeights
from memstore.store import lexical

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def measured(store, questions, rerankers=("none",)):
    return calibration_of(
        store, questions, rerankers, rerank_depth=None, namespace="default", now=NOW
    )


@pytest.fixture
def asked(store):
    """Twelve memories and a question each, of which its own memory is the answer."""
    words = ["oak", "elm", "ash", "fir", "yew", "bay", "fig", "plum", "pear", "palm", "pine", "rue"]
    for word in words:
        store.add(f"A {word} stands here.", key=word, occurred_at="2025-01-01T00:00:00Z")
    return [
        Question(id=word, text=f"Where does the {word} stand?", relevant={word: 1})
        for word in words
    ]


def test_numbers_are_those_of_the_log_odds_of_all_candidates(store, asked, monkeypatch):
    fitted = calibration.ContrastCalibration(-2.0, 3.0, 0.0, 0.0)
    monkeypatch.setitem(calibration._SHIPPED, "hashed", fitted)
    (found,) = measured(store, asked)
    assert (found.reranker, found.candidates) == ("none", 144)
    assert found.relevant == pytest.approx(1 / 12)
    losses = []
    for question in asked:
        for hit in store.query(question.text, limit=100, profile="semantic", now=NOW).hits:
            share = hit.probability if hit.memory.key == question.id else 1 - hit.probability
            losses.append(-math.log(share))
    assert found.quality.log_loss == pytest.approx(np.mean(losses))


def test_log_odds_that_are_half_as_large_have_twice_the_slope(store, asked, monkeypatch):
    slopes = []
    # what a query names says the same, whatever the calibration
    monkeypatch.setattr(lexical, "WEIGHTS", LexicalWeights(0.0, 0.0, 0.0))
    for size in (1.0, 2.0):
        fitted = calibration.ContrastCalibration(0.0, size, 0.0, 0.0)
        monkeypatch.setitem(calibration._SHIPPED, "hashed", fitted)
        (found,) = measured(store, asked)
        slopes.append(found.quality.slope)
    assert slopes[0] == pytest.approx(2 * slopes[1], rel=0.1)


def test_a_scorer_without_a_calibration_has_none_to_speak_of(store, asked):
    (found,) = measured(store, asked)
    assert (found.candidates, found.quality) == (0, None)
    (row,) = calibration_table([found], "trees").rows
    assert row == ["none", "0", "0.0000", "–", "–", "–"]
