"""The invariants of the one pass. Each name says which of the specification's properties it is."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from memstore.errors import IndexDamaged
from memstore.scoring.calibration import calibration_for
from memstore.scoring.cognitive import COMPONENTS, adjust
from memstore.scoring.components import currency, trust, use, use_mass
from memstore.scoring.profiles import PROFILES, Profile

RANGES = {
    "currency": (-1.0, 1.0),
    "use": (0.0, 1.0),
    "trust": (-2.0, 1.0),
    "entity": (0.0, 1.0),
    "importance": (-1.0, 1.0),
}


@dataclass
class Case:
    """Candidates and the profile that scores them."""

    semantic: np.ndarray
    components: dict[str, np.ndarray]
    profile: Profile

    def scored(self, rows=None):
        rows = slice(None) if rows is None else rows
        chosen = {name: values[rows] for name, values in self.components.items()}
        return adjust(self.semantic[rows], chosen, self.profile)


def profiles(cap=None):
    weight = st.floats(0.0, 4.0)
    return st.builds(
        Profile,
        name=st.just("any"),
        cap=st.floats(0.05, 4.0) if cap is None else st.just(cap),
        **dict.fromkeys(COMPONENTS, weight),
    )


@st.composite
def cases(draw, profile=None, size=None):
    size = draw(st.integers(1, 20)) if size is None else size

    def column(low, high):
        return np.array(draw(st.lists(st.floats(low, high), min_size=size, max_size=size)))

    return Case(
        semantic=column(-15.0, 15.0),
        components={name: column(*RANGES[name]) for name in COMPONENTS},
        profile=draw(profiles() if profile is None else profile),
    )


@given(case=cases(), data=st.data())
def test_p1_more_relevance_or_more_of_a_component_never_lowers_a_score(case, data):
    row = data.draw(st.integers(0, len(case.semantic) - 1))
    before = case.scored().scores[row]
    name = data.draw(st.sampled_from(["semantic", *COMPONENTS]))
    if name == "semantic":
        case.semantic[row] += data.draw(st.floats(0.0, 5.0))
    else:
        value = case.components[name][row]
        case.components[name][row] = data.draw(st.floats(value, RANGES[name][1]))
    assert case.scored().scores[row] >= before - 1e-12


@given(case=cases(), data=st.data())
def test_p2_permuting_candidates_permutes_their_scores_bit_for_bit(case, data):
    order = data.draw(st.permutations(range(len(case.semantic))))
    assert case.scored(order).scores.tobytes() == case.scored().scores[order].tobytes()


@given(case=cases(), data=st.data())
def test_p3_a_subset_is_scored_as_the_whole_bit_for_bit(case, data):
    size = len(case.semantic)
    rows = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    whole, part = case.scored(), case.scored(rows)
    assert part.scores.tobytes() == whole.scores[rows].tobytes()
    for name in COMPONENTS:
        assert part.parts[name].tobytes() == whole.parts[name][rows].tobytes()


def test_p2_and_p3_hold_from_raw_columns_on_for_many_candidates():
    random = np.random.default_rng(7)
    size = 1003
    raw = {
        "score": random.random(size),
        "age": random.uniform(-10, 4000, size),
        "half_life": random.uniform(1, 700, size),
        "uses": np.where(random.random((size, 8)) < 0.5, np.nan, random.random((size, 8)) * 90),
        "count": random.integers(0, 40, size).astype(np.float64),
        "first_use": random.uniform(90, 900, size),
        "alpha": random.uniform(0.1, 9, size),
        "beta": random.uniform(0.1, 9, size),
        "entity": random.random(size),
        "importance": random.uniform(-1, 1, size),
    }

    def score(rows):
        given_ = {name: values[rows] for name, values in raw.items()}
        semantic = calibration_for("minilm")(
            given_["score"], mean=0.4, memories=size, query_tokens=9
        )
        components = {
            "currency": currency(given_["age"], given_["half_life"]),
            "use": use(use_mass(given_["uses"], given_["count"], given_["first_use"])),
            "trust": trust(given_["alpha"], given_["beta"]),
            "entity": given_["entity"],
            "importance": given_["importance"],
        }
        return adjust(semantic, components, PROFILES["recent"]).scores

    whole = score(np.arange(size))
    for count in (1, 2, 3, 7, 8, 9, 31, 100, size):
        rows = random.permutation(size)[:count]
        assert score(rows).tobytes() == whole[rows].tobytes()


@given(case=cases())
def test_p4_neutral_components_leave_the_semantic_score_bit_for_bit(case):
    case.semantic[0] = -0.0
    for name in COMPONENTS:
        case.components[name][:] = 0.0
    scored = case.scored()
    assert scored.scores.tobytes() == case.semantic.tobytes()
    assert not any(part.any() for part in scored.parts.values())
    assert (scored.uncapped == 0.0).all()
    assert (scored.scale == 1.0).all()


@given(case=cases(profile=profiles(cap=0.0)))
def test_p4_without_a_cap_the_score_is_the_semantic_one_bit_for_bit(case):
    scored = case.scored()
    assert scored.scores.tobytes() == case.semantic.tobytes()
    assert set(scored.parts) == set(COMPONENTS)
    assert not any(part.any() for part in scored.parts.values())
    assert not scored.uncapped.any()
    assert (scored.scale == 1.0).all()


@given(case=cases(size=2), lead=st.floats(1e-6, 5.0))
def test_p5_a_lead_of_more_than_twice_the_cap_is_never_overturned(case, lead):
    case.semantic[0] = case.semantic[1] + 2 * case.profile.cap + lead
    ahead, behind = case.scored().scores
    assert ahead > behind


@given(case=cases())
def test_p6_parts_add_up_to_an_adjustment_within_the_cap(case):
    scored = case.scored()
    adjustment = scored.scores - case.semantic
    np.testing.assert_allclose(sum(scored.parts.values()), adjustment, rtol=0, atol=1e-9)
    assert (np.abs(adjustment) <= case.profile.cap + 1e-12).all()


@given(case=cases())
def test_p6_what_the_cap_leaves_of_the_sum_is_the_adjustment(case):
    scored = case.scored()
    profile = case.profile
    said = sum(getattr(profile, name) * case.components[name] for name in COMPONENTS)
    np.testing.assert_allclose(scored.uncapped, said, rtol=0, atol=1e-12)
    adjustment = scored.scores - case.semantic
    np.testing.assert_allclose(scored.uncapped * scored.scale, adjustment, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        profile.cap * np.tanh(scored.uncapped / profile.cap), adjustment, rtol=0, atol=1e-9
    )
    assert ((scored.scale > 0.0) & (scored.scale <= 1.0)).all()


@given(case=cases())
def test_p16_equal_metadata_gives_the_semantic_order(case):
    for name in COMPONENTS:
        case.components[name][:] = case.components[name][0]
    scores = case.scored().scores
    order = np.argsort(case.semantic, kind="stable")
    assert (np.diff(scores[order]) >= 0).all()
    assume((np.diff(case.semantic[order]) > 1e-9).all())
    assert (np.diff(scores[order]) > 0).all()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_p17_a_score_that_is_no_number_is_refused(wrong, profile):
    neutral = {name: np.zeros(2) for name in COMPONENTS}
    with pytest.raises(IndexDamaged, match="1 of 2 scores are not finite"):
        adjust(np.array([1.0, wrong]), neutral, PROFILES[profile])


def test_a_score_is_the_sum_of_the_formula():
    components = dict(zip(COMPONENTS, np.array([[0.6], [0.8], [0.7], [0.5], [-1.0]]), strict=True))
    profile = PROFILES["balanced"]
    total = 0.25 * 0.6 + 0.25 * 0.8 + 0.25 * 0.7 + 0.5 * 0.5 + 0.5 * -1.0
    scored = adjust(np.array([3.0]), components, profile)
    assert scored.scores[0] == pytest.approx(3.0 + math.tanh(total), abs=1e-12)
    scale = math.tanh(total) / total
    assert scored.parts["use"][0] == pytest.approx(0.2 * scale, abs=1e-12)
    assert scored.parts["importance"][0] == pytest.approx(-0.5 * scale, abs=1e-12)
    assert scored.uncapped[0] == pytest.approx(total, abs=1e-12)
    assert scored.scale[0] == pytest.approx(scale, abs=1e-12)


def test_a_sum_of_next_to_nothing_is_not_scaled():
    components = {name: np.zeros(2) for name in COMPONENTS}
    components["importance"] = np.array([1e-13, -1e-13])
    assert adjust(np.zeros(2), components, PROFILES["balanced"]).scale.tolist() == [1.0, 1.0]


def test_no_candidates_give_no_scores():
    scored = adjust(np.empty(0), {name: np.empty(0) for name in COMPONENTS}, PROFILES["balanced"])
    assert scored.scores.shape == (0,)


@pytest.mark.parametrize("cap", [5e-324, 1e-300, 1e6])
def test_extreme_caps_and_weights_keep_scores_finite_and_bounded(cap):
    profile = dataclasses.replace(PROFILES["balanced"], cap=cap, **dict.fromkeys(COMPONENTS, 1e6))
    components = {name: np.array([low, high, 0.0]) for name, (low, high) in RANGES.items()}
    scored = adjust(np.zeros(3), components, profile)
    assert np.isfinite(scored.scores).all()
    assert (np.abs(scored.scores) <= cap).all()
    assert all(np.isfinite(part).all() for part in scored.parts.values())
