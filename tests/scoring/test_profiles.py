"""The named profiles are the specified ones, and weights are checked."""

from __future__ import annotations

import dataclasses
import math

import pytest

from memstore.errors import BadInput
from memstore.scoring.cognitive import COMPONENTS
from memstore.scoring.profiles import MAX_WEIGHT, PROFILES, WEIGHTS, resolve

# columns: currency, half-life in days, use, trust, entity, importance, cap
# from the first release on, whoever changes one raises the profile's version
WEIGHTS_BY_PROFILE = {
    "semantic": (0, None, 0, 0, 0, 0, 0),
    "balanced": (0.25, 365, 0.25, 0.25, 0.5, 0.5, 1.0),
    "recent": (6.0, 270, 0.25, 0.25, 0.5, 0.5, 2.5),
    "trusted": (0.25, 365, 0.25, 1.5, 0.5, 0.5, 2.0),
}


def test_a_version_of_a_profile_keeps_its_weights():
    found = {
        name: (
            profile.currency,
            None if profile.cap == 0 else profile.half_life_days,
            profile.use,
            profile.trust,
            profile.entity,
            profile.importance,
            profile.cap,
        )
        for name, profile in PROFILES.items()
    }
    assert found == WEIGHTS_BY_PROFILE


def test_every_component_has_a_weight():
    assert set(WEIGHTS) == {*COMPONENTS, "cap", "half_life_days"}


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_profile_without_changes_is_itself(name):
    assert resolve(name) == resolve(name, None) == resolve(name, {}) == PROFILES[name]
    assert resolve(name).name == name


def test_given_weights_replace_those_of_the_profile_and_the_name_tells():
    changed = resolve("balanced", {"currency": 0, "half_life_days": 30})
    assert (changed.currency, changed.half_life_days) == (0.0, 30.0)
    assert (changed.trust, changed.cap) == (0.25, 1.0)
    assert (changed.name, changed.label) == ("balanced", "balanced@v1+weights")
    assert PROFILES["balanced"].currency == 0.25


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_profile_is_labelled_with_its_version(name):
    assert resolve(name).label == f"{name}@v1"
    assert dataclasses.replace(resolve(name), version=2).label == f"{name}@v2"


def test_weights_are_told_even_where_they_are_the_profiles_own():
    assert resolve("balanced", {"trust": 0.25}).label == "balanced@v1+weights"
    # what a question's words do to the weight of currency is no change of profile
    asked = dataclasses.replace(resolve("balanced"), currency=1.0)
    assert asked.label == "balanced@v1"


@pytest.mark.parametrize("name", ["fast", "", None, 5, ["balanced"]])
def test_an_unknown_profile_is_refused_with_the_known_ones(name):
    with pytest.raises(BadInput, match="semantic, balanced, recent, trusted") as refused:
        resolve(name)
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("weight", ["recency", "name", "version", "replaced", "label", "", 5])
def test_an_unknown_weight_is_refused_with_the_known_ones(weight):
    with pytest.raises(BadInput, match="currency, use, trust, entity, importance, cap") as refused:
        resolve("balanced", {weight: 1.0})
    assert repr(weight) in str(refused.value)


@pytest.mark.parametrize(
    "value", [-0.1, math.nan, math.inf, 10**400, MAX_WEIGHT + 1, "1", None, True, [1]]
)
def test_a_weight_that_is_no_reasonable_number_is_refused(value):
    with pytest.raises(BadInput, match=r"'trust' is .* from 0 to 1,000,000"):
        resolve("balanced", {"trust": value})


def test_a_half_life_of_zero_is_refused():
    with pytest.raises(BadInput, match="half_life_days is 0"):
        resolve("balanced", {"half_life_days": 0.0})


@pytest.mark.parametrize("weights", [["currency"], "currency", 5, 0, ()])
def test_weights_that_are_no_mapping_are_refused(weights):
    with pytest.raises(BadInput, match="mapping"):
        resolve("balanced", weights)
