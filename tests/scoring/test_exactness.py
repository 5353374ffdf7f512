"""When a pool of candidates certainly holds the best of all."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from memstore.scoring.cognitive import COMPONENTS, adjust
from memstore.scoring.exactness import exact_topk
from memstore.scoring.profiles import PROFILES, Profile

balanced, semantic = PROFILES["balanced"], PROFILES["semantic"]
LOW = {"currency": -1.0, "use": 0.0, "trust": -2.0, "entity": 0.0, "importance": -1.0}


def test_what_the_components_can_add_at_most_decides():
    most = math.tanh(0.25 + 0.25 + 0.25 + 0.5 + 0.5)
    for currency, most_of_it in [(0.25, most), (1.0, math.tanh(2.5)), (0.0, math.tanh(1.5))]:
        for margin, exact in [(1e-6, True), (-1e-6, False)]:
            kth = 1.0 + most_of_it + margin
            assert exact_topk(1.0, kth, currency=currency, profile=balanced) is exact


def test_without_a_cap_the_semantic_order_decides():
    assert exact_topk(1.0, 1.0 + 1e-12, currency=0.0, profile=semantic)
    assert not exact_topk(1.0, 1.0, currency=0.0, profile=semantic)
    # no weight counts under a cap of 0
    heavy = dataclasses.replace(balanced, cap=0.0)
    assert exact_topk(1.0, 1.0 + 1e-12, currency=4.0, profile=heavy)


def test_an_index_that_sets_no_bound_leaves_it_open():
    assert not exact_topk(None, 100.0, currency=0.0, profile=semantic)
    assert not exact_topk(None, 100.0, currency=0.25, profile=balanced)


def test_fewer_hits_than_asked_for_leave_it_open():
    assert not exact_topk(-100.0, None, currency=0.25, profile=balanced)


@pytest.mark.parametrize("kth", [None, -3.0])
@pytest.mark.parametrize("outside", [None, 3.0])
def test_where_nothing_is_outside_nothing_was_missed(outside, kth):
    assert exact_topk(outside, kth, currency=1.0, profile=balanced, nothing_outside=True)


def test_a_score_that_is_no_number_leaves_it_open():
    assert not exact_topk(math.nan, 1.0, currency=0.25, profile=balanced)
    assert not exact_topk(1.0, math.nan, currency=0.0, profile=semantic)


@given(data=st.data(), cap=st.sampled_from([0.0, 0.05, 0.5, 4.0]))
def test_what_is_called_exact_is_what_scoring_everything_gives(data, cap):
    seed = data.draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    size, pool, k = 20, data.draw(st.integers(1, 19)), data.draw(st.integers(1, 5))
    weights = dict(zip(COMPONENTS, random.uniform(0, 4, 5).tolist(), strict=True))
    profile = Profile(name="any", cap=cap, **weights)
    relevance = np.sort(random.uniform(-15, 15, size))[::-1].copy()
    components = {name: random.uniform(low, 1.0, size) for name, low in LOW.items()}
    scores = adjust(relevance, components, profile).scores
    best = np.sort(scores[:pool])[::-1]
    kth = float(best[k - 1]) if pool >= k else None
    exact = exact_topk(float(relevance[pool]), kth, currency=profile.currency, profile=profile)
    event(f"exact {exact}")
    if exact:
        assert set(np.argsort(-scores)[:k]) <= set(range(pool))
