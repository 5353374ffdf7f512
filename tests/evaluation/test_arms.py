"""The arms that are compared: every pair once, and profiles that are taken apart."""

from __future__ import annotations

import pytest

from memstore import BadInput
from memstore.evaluation import Arm, combined
from memstore.scoring.cognitive import COMPONENTS
from memstore.scoring.profiles import PROFILES


def test_a_profile_is_taken_apart_into_all_but_one_and_only_one():
    arms = combined(["none"], ["semantic", "balanced"], ablate=True)
    labels = [arm.label for arm in arms]
    assert labels[:2] == ["semantic", "balanced"]
    assert labels[2:7] == [f"balanced -{name}" for name in COMPONENTS]
    assert labels[7:] == [f"balanced only {name}" for name in COMPONENTS]


def test_weights_are_what_the_names_say():
    for arm in combined(["none"], ["recent"], ablate=True)[1:]:
        kept = {name for name in COMPONENTS if getattr(arm.resolved, name) > 0}
        name = arm.label.split()[-1].lstrip("-")
        assert kept == ({name} if " only " in arm.label else set(COMPONENTS) - {name})
        full = PROFILES["recent"]
        assert all(getattr(arm.resolved, one) == getattr(full, one) for one in kept)
        assert (arm.resolved.cap, arm.resolved.half_life_days) == (full.cap, full.half_life_days)


def test_components_without_a_weight_are_not_taken_away(monkeypatch):
    import dataclasses

    bare = dataclasses.replace(PROFILES["balanced"], use=0.0, importance=0.0, trust=0.0)
    monkeypatch.setitem(PROFILES, "balanced", bare)
    labels = [arm.label for arm in combined(["none"], ["balanced"], ablate=True)]
    assert labels == [
        "balanced",
        "balanced -currency",
        "balanced -entity",
        "balanced only currency",
        "balanced only entity",
    ]
    single = dataclasses.replace(bare, entity=0.0)
    monkeypatch.setitem(PROFILES, "balanced", single)
    assert [arm.label for arm in combined(["none"], ["balanced"], ablate=True)] == ["balanced"]


def test_every_pair_is_there_once_and_arms_with_weights_are_others():
    arms = combined(["none", "colbert", "none"], ["balanced"], ablate=True)
    assert len(arms) == len(set(arms)) == 2 * (1 + 2 * len(COMPONENTS))
    assert str(arms[1]) == "none balanced -currency"


def test_a_setting_is_told_in_the_name():
    assert Arm("none", "balanced", setting="linked").label == "balanced, linked"
    assert Arm("none", "semantic", formula="60/40", setting="linked").label == "60/40, linked"


def test_an_unknown_name_is_refused():
    with pytest.raises(BadInput, match="Profile 'clever' is unknown"):
        combined(["none"], ["clever"], ablate=True)
