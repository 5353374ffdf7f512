"""Whether the order of two memories depends on which others were candidates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from memstore.evaluation import Arm, Question, baseline_arms, combined
from memstore.evaluation.flips import FLIPS, observe_flips
from memstore.scoring import calibration

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def many(store, monkeypatch):
    """A store of 240 dated memories, the later the less they have to do with the question."""
    fitted = calibration.ContrastCalibration(-1.0, 8.0, 0.0, 0.0)
    monkeypatch.setitem(calibration._SHIPPED, "hashed", fitted)
    words = ["ana", "keeps", "a", "red", "boat", "in", "the", "old", "harbour", "of", "the", "town"]
    store.add_many(
        {
            "text": f"{' '.join(words[: max(1, 11 - number // 22)])} note {number}",
            "key": f"m{number}",
            # the farther behind, the older: more candidates stretch the range of ages
            "occurred_at": NOW
            - timedelta(days=1 + (number * 7) % 40 + 30 * (number > 60) * number),
        }
        for number in range(240)
    )
    return store


def test_profiles_never_flip_and_scores_spread_over_the_candidates_do(many):
    questions = [
        Question(id=str(number), text=text, relevant={"m0": 1})
        for number, text in enumerate(
            ["Ana keeps a red boat", "the old harbour of the town", "a red boat in the town"]
        )
    ]
    arms = [*combined(["none"], ["semantic", "balanced", "recent"]), *baseline_arms()]
    found = observe_flips(many, questions, arms, namespace="default", now=NOW)
    flips = {arm.label: one[FLIPS].values.mean() for arm, one in zip(arms, found, strict=True)}
    assert (flips["semantic"], flips["balanced"], flips["recent"]) == (0.0, 0.0, 0.0)
    assert flips["exp-decay"] == flips["sigmoid-10"] == 0.0  # no look at the others
    assert flips["60/40"] > 0


def test_arms_with_a_reranker_have_a_depth_of_their_own(many):
    question = Question(id="1", text="Ana", relevant={"m0": 1})
    arm = Arm("colbert", "balanced")
    assert observe_flips(many, [question], [arm], namespace="default", now=NOW) == [{}]
