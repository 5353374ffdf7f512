"""Weights follow what users prefer, and only on evidence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from memstore.scoring.cognitive import COMPONENTS
from memstore.scoring.learning import (
    LARGEST_STEP,
    Shown,
    evidence,
    fit_weights,
    gains,
    lower_bound,
    split,
)
from memstore.scoring.profiles import PROFILES

BALANCED = PROFILES["balanced"]
NO_DROPS = {"known memories": 0.0}


def pages(count=400, *, preference=None, noise=0.0, seed=0, sessions=5, sources=5, queries=100):
    """Pages of ten hits, of which a user takes the one that they like best.

    Args:
        preference: weights of the user's taste, by component; what is not there is not tasted.
        noise: share of the users who take any hit.
    """
    random = np.random.default_rng(seed)
    taste = np.array([(preference or {}).get(name, 0.0) for name in COMPONENTS])
    found = []
    for number in range(count):
        semantic = np.sort(random.normal(0.0, 1.0, 10))[::-1]
        values = random.uniform(0.0, 1.0, (10, len(COMPONENTS)))
        liked = semantic + values @ taste + random.gumbel(0.0, 0.3, 10)
        place = random.integers(10) if random.random() < noise else np.argmax(liked)
        used = np.arange(10) == place
        found.append(
            Shown(
                query=f"query {number % queries}",
                session=f"session {number % sessions}",
                at=number,
                semantic=semantic,
                values=values,
                ranks=np.arange(1, 11),
                used=used,
                rejected=np.zeros(10, dtype=np.bool_),
                sources=(f"user {number % sources}",) * 10,
            )
        )
    return found


def learned_from(shown, current=BALANCED):
    return fit_weights(split(shown)[0], shipped=BALANCED, current=current)


@pytest.mark.parametrize("name", COMPONENTS)
def test_weights_move_towards_what_users_prefer(name):
    learned = learned_from(pages(preference={name: 3.0}))
    assert getattr(learned, name) == pytest.approx(
        min(getattr(BALANCED, name) + LARGEST_STEP, 1.0 if name == "entity" else 9.0)
    )
    others = [other for other in COMPONENTS if other != name]
    moved = [getattr(learned, other) - getattr(BALANCED, other) for other in others]
    assert np.mean(moved) < 0.0


def test_what_users_avoid_loses_weight_down_to_nothing_and_no_further():
    shown = pages(preference={"trust": -3.0})
    current = BALANCED
    for _ in range(4):
        current = learned_from(shown, current)
    assert current.trust == 0.0


def test_entities_never_weigh_more_than_one():
    current = BALANCED
    for _ in range(4):
        current = learned_from(pages(preference={"entity": 5.0}), current)
    assert current.entity == 1.0


def test_users_who_take_anything_move_nothing():
    learned = learned_from(pages(noise=1.0, count=600))
    moved = [abs(getattr(learned, name) - getattr(BALANCED, name)) for name in COMPONENTS]
    assert max(moved) < 0.05


def test_neither_the_cap_nor_the_half_life_is_learned():
    learned = learned_from(pages(preference={"currency": 3.0}))
    same = {name: getattr(BALANCED, name) for name in COMPONENTS}
    assert dataclasses.replace(learned, **same) == BALANCED


def test_the_same_pages_give_the_same_weights():
    shown = pages(preference={"use": 1.0})
    assert learned_from(shown) == learned_from(shown)


def test_without_pages_the_weights_stay():
    assert fit_weights([], shipped=BALANCED, current=BALANCED) is BALANCED


def test_a_use_far_down_counts_more_than_one_at_the_top():
    top, deep = (np.arange(10) == place for place in (0, 9))
    values = np.zeros((10, len(COMPONENTS)))
    values[0, COMPONENTS.index("trust")] = values[9, COMPONENTS.index("use")] = 1.0
    page = dataclasses.replace(
        pages(1)[0], semantic=np.zeros(10), values=values, used=top, sources=("a",) * 10
    )
    learned = fit_weights(
        [page, dataclasses.replace(page, used=deep)] * 200, shipped=BALANCED, current=BALANCED
    )
    assert learned.use > learned.trust - 0.25


def test_what_was_used_and_rejected_prefers_nothing():
    page = pages(1)[0]
    assert len(page.pairs) == 9
    assert dataclasses.replace(page, rejected=page.used).pairs == []


def test_judges_are_the_latest_pages_and_share_no_moment_with_the_others():
    shown = pages(100)
    same = [dataclasses.replace(page, at=page.at // 30) for page in shown]
    earlier, later = split(same)
    assert len(earlier) + len(later) == 100
    assert max(page.at for page in earlier) < min(page.at for page in later)
    assert split([]) == ([], [])


def test_the_lower_bound_is_below_the_mean_and_the_same_for_the_same_seed():
    differences = np.random.default_rng(0).normal(0.1, 0.5, 200)
    low = lower_bound(differences, seed=1)
    assert low == lower_bound(differences, seed=1)
    assert np.mean(differences) - 0.1 < low < np.mean(differences)
    assert lower_bound(np.empty(0), seed=0) == -1.0


# the gate


def judged(shown, *, learned=None, drops=NO_DROPS):
    learned = learned_from(shown) if learned is None else learned
    return evidence(shown, current=BALANCED, learned=learned, drops=drops, seed=0)


def unmet(found):
    return [condition.name for condition in found.unmet]


GOOD = {"preference": {"trust": 4.0}}


def test_enough_good_evidence_is_accepted():
    found = judged(pages(**GOOD))
    assert found.holds, [str(condition) for condition in found.unmet]
    assert (gains(split(pages(**GOOD))[1], BALANCED, learned_from(pages(**GOOD)))).mean() > 0


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (pages(queries=49, **GOOD), "queries"),
        (pages(sessions=2, **GOOD), "sessions"),
        (pages(sources=3, **GOOD), "largest share of a source"),
    ],
)
def test_each_condition_alone_refuses(shown, missing):
    assert unmet(judged(shown)) == [missing]


def test_too_few_pairs_alone_refuse():
    shown = [
        dataclasses.replace(
            page,
            **{
                name: getattr(page, name)[:2]
                for name in ("semantic", "values", "ranks", "rejected", "sources")
            },
            used=np.array([False, True]),
        )
        for page in pages(199, **GOOD)
    ]
    better = dataclasses.replace(BALANCED, trust=0.5)
    lifted = [
        dataclasses.replace(page, semantic=np.array([0.1, 0.0]), values=page.values * 0)
        for page in shown
    ]
    for page in lifted:
        page.values[1, COMPONENTS.index("trust")] = 0.3
    assert unmet(judged(lifted, learned=better)) == ["pairs"]


def test_a_gain_that_may_be_an_accident_refuses():
    assert unmet(judged(pages(noise=1.0))) == ["lower bound of the gain in nDCG@10"]


def test_a_guard_set_that_drops_refuses():
    found = judged(pages(**GOOD), drops={"known memories": 0.0051, "superseded memories": 0.004})
    assert unmet(found) == ["drop of known memories"]


def test_a_step_too_far_refuses():
    shown = pages(**GOOD)
    far = dataclasses.replace(learned_from(shown), trust=BALANCED.trust + 0.26)
    assert unmet(judged(shown, learned=far)) == ["largest step"]


def test_no_pages_at_all_meet_nothing():
    found = judged([], learned=BALANCED)
    assert len(found.unmet) == 5
    assert not found.holds
