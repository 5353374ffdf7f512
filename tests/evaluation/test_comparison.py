"""What the arms are worth: scopes, corrections, and what else was seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from memstore import BadInput
from memstore.evaluation import Arm, Comparison, Observed
from memstore.evaluation.comparison import joined
from memstore.evaluation.tables import comparison_table, further_table


def in_scopes(comparison: Comparison, count: int) -> Comparison:
    """The same comparison with its questions spread over some scopes, neighbours together."""
    size = len(comparison.questions) // count
    questions = tuple(
        dataclasses.replace(question, namespace=f"s{place // size}")
        for place, question in enumerate(comparison.questions)
    )
    return dataclasses.replace(comparison, questions=questions)


def test_intervals_draw_whole_scopes_where_there_are_several(comparison):
    alone, scoped = comparison, in_scopes(comparison, 4)
    assert (alone.scopes(), scoped.scopes(), scoped.scopes("c1")) == (1, 4, 4)
    one, other = (it.summaries()[1].differences["ndcg@10"] for it in (alone, scoped))
    assert one.mean == other.mean
    assert (one.low, one.high) != (other.low, other.high)
    assert (one.certain, other.certain) == (True, False)  # four can agree by chance
    assert other.excludes_zero
    assert comparison_table(scoped, "people").title == "people: 20 questions in 4 scopes"


def test_a_difference_is_certain_only_for_the_number_of_arms_there_are(comparison):
    semantic, better, _ = comparison.measured
    # two arms of three: at which chance are they drawn?
    weak = dataclasses.replace(
        better, scores=semantic.scores + np.resize([[0.16], [-0.1]], (20, 1))
    )
    few = dataclasses.replace(comparison, measured=(semantic, weak))
    chance = few.summaries()[1].differences["ndcg@10"].chance
    many = dataclasses.replace(comparison, measured=(semantic, *[weak] * 10))
    corrected = many.summaries()[1].differences["ndcg@10"].chance
    assert corrected == pytest.approx(min(1.0, 10 * chance))


def test_other_measures_are_means_over_what_was_observed(comparison):
    every = Observed(np.array([0, 0, 1, 2]), np.array([1.0, 0.0, 1.0, 1.0]))
    nothing = Observed(np.array([], np.int64), np.array([]))
    seen = comparison.with_further([{"flips": every}, {"flips": nothing, "leaks": every}, {}])
    assert [one.further for one in seen.summaries()] == [
        {"flips": 0.75},
        {"flips": None, "leaks": 0.75},
        {},
    ]
    assert seen.summaries("c0")[0].further == {"flips": pytest.approx(2 / 3)}  # 0 and 2
    table = further_table(seen, "people")
    assert list(table.columns) == ["reranker", "profile", "flips", "leaks"]
    assert [row[2:] for row in table.rows] == [[".750", "–"], ["–", ".750"], ["–", "–"]]


def test_metrics_may_stand_beside_other_measures(comparison):
    assert further_table(comparison, "people") is None
    table = further_table(comparison, "people", metrics=("ndcg@10", "r@10"))
    assert list(table.columns)[2:] == [
        *("nDCG@10", "to first arm [95 %]", "R@10", "to first arm [95 %]"),
    ]
    assert {len(row) for row in table.rows} == {6}


def test_arms_in_several_settings_are_compared_with_the_first_of_them(comparison):
    linked = dataclasses.replace(
        comparison,
        measured=tuple(
            dataclasses.replace(item, arm=dataclasses.replace(item.arm, setting="linked"))
            for item in comparison.measured
        ),
    )
    both = joined([comparison, linked])
    labels = [summary.arm.label for summary in both.summaries()]
    assert labels == ["semantic"] * 3 + ["semantic, linked"] * 3
    assert both.summaries()[3].differences["ndcg@10"].mean == 0.0
    assert both.measured[3].arm == Arm("none", "semantic", setting="linked")


def test_comparisons_on_other_questions_are_not_joined(comparison):
    fewer = dataclasses.replace(comparison, questions=comparison.questions[::-1])
    with pytest.raises(BadInput, match="same questions"):
        joined([comparison, fewer])
