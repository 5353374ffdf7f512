"""Formulas of others, by numbers that can be checked by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memstore import BadInput
from memstore.evaluation import baseline_arms, compare, read_dataset
from memstore.evaluation.baselines import BASELINES, Candidates, reordered

HOUR, DAY = 3_600.0, 86_400.0


def candidates(nats, days, importance=None):
    return Candidates(
        nats=np.array(nats, float),
        ages=np.array(days, float) * DAY,
        importance=np.zeros(len(nats)) if importance is None else np.array(importance, float),
    )


def test_60_40_spreads_similarity_and_base_level_over_the_candidates():
    # base levels -0.5 ln(seconds): 0 at one second, the lowest at 100 seconds, halfway at 10
    of = candidates([2.0, 0.0, 1.0], [1 / DAY, 100 / DAY, 10 / DAY])
    assert BASELINES["60/40"](of) == pytest.approx([1.0, 0.0, 0.6 * 0.5 + 0.4 * 0.5])


def test_an_age_below_a_second_counts_as_one():
    found = BASELINES["60/40"](candidates([0.0, 0.0, 0.0], [0.0, 1 / DAY, 2 / DAY]))
    assert found[0] == found[1] > found[2]


def test_generative_agents_adds_three_factors_that_are_each_spread():
    of = candidates([3.0, 1.0], [0.0, 10.0], importance=[-1.0, 1.0])
    assert BASELINES["generative-agents"](of) == pytest.approx([2.0, 1.0])
    middle = candidates([1.0, 1.0, 1.0], [0.0, 1.0, 2.0])
    recency = [1.0, 0.995**24, 0.995**48]
    expected = (recency[1] - recency[2]) / (1 - recency[2])
    assert BASELINES["generative-agents"](middle) == pytest.approx([1.0, expected, 0.0])


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("exp-decay", lambda days: math.exp(-0.03 * days)),
        ("half-life-30", lambda days: 2 ** (-days / 30)),
        ("sigmoid-10", lambda days: 0.9 + 0.2 * max(0.0, 1 - days / 365)),
    ],
)
def test_products_are_in_the_order_of_probability_times_a_factor(name, factor):
    nats, days = [2.0, -1.0, 0.5, 4.0], [100.0, 0.0, 30.0, 500.0]
    found = BASELINES[name](candidates(nats, days))
    expected = [factor(day) / (1 + math.exp(-one)) for one, day in zip(nats, days, strict=True)]
    assert np.exp(found) == pytest.approx(expected)


def test_a_century_and_a_hopeless_score_are_still_told_apart():
    for name in ("exp-decay", "half-life-30", "sigmoid-10"):
        found = BASELINES[name](candidates([-900.0, -901.0], [36_500.0, 36_500.0]))
        assert found[0] > found[1] > -np.inf


def test_hits_are_put_in_order_and_equal_ones_stay(store):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    texts = [("Ana sails.", 900), ("Bruno plays chess.", 0), ("Ana sails.", 900)]
    for number, (text, days) in enumerate(texts):
        store.add(text, occurred_at=now - timedelta(days=days), key=str(number))
    hits = store.query("Ana sails.", now=now, profile="semantic").hits
    fresh = reordered(hits, "exp-decay", now)
    assert [hit.memory.text for hit in hits] == ["Ana sails.", "Ana sails.", "Bruno plays chess."]
    assert [hit for hit, _ in fresh] == [hits[2], hits[0], hits[1]]
    assert [score for _, score in fresh] == sorted((score for _, score in fresh), reverse=True)
    assert reordered([], "60/40", now) == []


def test_an_unknown_formula_is_refused(store):
    with pytest.raises(BadInput, match=r"no formula '70/30'. Known: 60/40, generative-agents"):
        reordered([], "70/30", datetime(2026, 1, 1, tzinfo=UTC))


def test_baselines_are_arms_beside_the_others(store, dataset):
    store.ingest(dataset / "corpus.jsonl")
    comparison = compare(store, read_dataset(dataset).questions, baseline_arms())
    assert [item.arm.label for item in comparison.measured] == list(BASELINES)
    assert {len(item.answers[0].hits) for item in comparison.measured} == {8}
    ranks = [hit.rank for hit in comparison.measured[0].answers[0].hits]
    assert ranks == list(range(1, 9))
