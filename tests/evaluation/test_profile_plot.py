"""The picture of what profiles gain and cost."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest

from memstore.evaluation import Arm, Comparison, Observed, Report
from memstore.evaluation.profile_plot import draw_profiles


@pytest.fixture
def profiles(comparison) -> Comparison:
    names = ("semantic", "balanced", "recent")
    measured = tuple(
        dataclasses.replace(item, arm=Arm("none", name))
        for item, name in zip(comparison.measured, names, strict=True)
    )
    return dataclasses.replace(comparison, measured=measured)


def texts(path) -> list[str]:
    return ["".join(item.itertext()) for item in ElementTree.fromstring(path.read_bytes()).iter()]


def test_it_names_every_arm_and_data_set_and_is_the_same_every_time(profiles, tmp_path):
    reports = [Report(dataset=name, comparison=profiles) for name in ("people", "places")]
    for name in ("a.svg", "b.svg"):
        draw_profiles(reports, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    drawn = texts(tmp_path / "a.svg")
    for text in ("semantic", "balanced", "recent", "people: 20 questions", "places: 20 questions"):
        assert text in drawn
    assert "share of the pairs" not in drawn


def test_pairs_have_a_panel_of_their_own(profiles, tmp_path):
    some = Observed(np.array([0, 1]), np.array([1.0, 0.0]))
    seen = {"new above old": some, "stale@1": some, "fresh@1": some}
    paired = profiles.with_further([seen, seen, {}])  # a third arm without any
    draw_profiles([Report(dataset="people", comparison=paired)], tmp_path / "a.svg")
    drawn = texts(tmp_path / "a.svg")
    for text in ("share of the pairs", "new above old", "stale@1", "fresh@1"):
        assert text in drawn


def test_it_may_be_a_png_of_a_single_arm_and_any_name(profiles, tmp_path):
    one = dataclasses.replace(profiles, measured=profiles.measured[:1])
    draw_profiles([Report(dataset="$x$ <b>", comparison=one)], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
