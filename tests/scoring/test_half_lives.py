"""Whose half-life holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.scoring.components import currency
from memstore.scoring.half_lives import KIND_HALF_LIVES, half_life_days

days = st.floats(0.01, 1e5)


def half_life(own, kind, profile):
    (result,) = half_life_days(np.array([own]), np.array([kind]), profile)
    return float(result)


def test_the_kinds_have_the_half_lives_of_the_specification():
    specified = {
        **dict.fromkeys(("task", "state"), 14.0),
        **dict.fromkeys(("episodic", "event", "message"), 90.0),
        **dict.fromkeys(("fact", "preference"), 730.0),
        "evergreen": math.inf,
    }
    assert specified == KIND_HALF_LIVES


@given(own=days, kind=days | st.just(math.nan), profile=days)
def test_a_memorys_own_half_life_comes_before_its_kinds(own, kind, profile):
    assert half_life(own * 86_400, kind, profile) == pytest.approx(own, rel=1e-12)


@given(kind=days | st.just(math.inf), profile=days)
def test_a_kinds_half_life_comes_before_the_profiles(kind, profile):
    assert half_life(math.nan, kind, profile) == kind


@given(profile=days)
def test_the_profiles_half_life_holds_where_nothing_else_is_set(profile):
    assert half_life(math.nan, math.nan, profile) == profile


def test_every_memory_is_looked_at_alone():
    own = np.array([86_400.0, np.nan, np.nan, np.inf, 43_200.0])
    kind = np.array([14.0, 14.0, np.nan, 14.0, np.nan])
    assert half_life_days(own, kind, 365.0).tolist() == [1.0, 14.0, 365.0, math.inf, 0.5]
    assert half_life_days(own[2:3], kind[2:3], 365.0).tolist() == [365.0]


@given(age=st.floats(-1e4, 1e5))
def test_what_is_evergreen_is_neither_current_nor_outdated(age):
    evergreen = half_life_days(np.array([np.nan]), np.array([KIND_HALF_LIVES["evergreen"]]), 365.0)
    assert currency(np.array([age]), evergreen).tolist() == [0.0]
