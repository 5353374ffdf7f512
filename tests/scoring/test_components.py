"""What time, use, evidence and entities say about a memory, and where they say nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.scoring.components import (
    currency,
    entity_coverage,
    npmi,
    trust,
    use,
    use_mass,
)

ages = st.floats(-1e4, 1e5)
half_lives = st.floats(0.01, 1e5)
votes = st.floats(0.1, 100.0)
use_ages = st.lists(st.floats(0.0, 1e4), max_size=30)
RING = 8


def one(function, *values):
    (result,) = function(*(np.array([value], dtype=np.float64) for value in values))
    return float(result)


@pytest.mark.parametrize(
    ("half_lives", "expected"), [(0, 1.0), (1, 0.0), (5, -0.5), (21, -0.75), (-3, 1.0)]
)
def test_currency_follows_the_power_law(half_lives, expected):
    assert one(currency, half_lives * 365.0, 365.0) == pytest.approx(expected, abs=1e-12)


@given(first=ages, second=ages, half_life=half_lives)
def test_p7_currency_never_increases_with_age(first, second, half_life):
    young, old = sorted([first, second])
    assert 1.0 >= one(currency, young, half_life) >= one(currency, old, half_life) > -1.0


@given(half_life=half_lives)
def test_p7_currency_is_neutral_at_the_half_life(half_life):
    assert one(currency, half_life, half_life) == pytest.approx(0.0, abs=1e-12)


@given(age=ages)
def test_p7_currency_is_neutral_for_what_never_ages_and_for_unknown_times(age):
    assert one(currency, age, math.inf) == 0.0
    assert one(currency, math.nan, 365.0) == 0.0
    assert one(currency, math.nan, math.inf) == 0.0


@given(age=st.floats(-1e4, 0.0), half_life=half_lives)
def test_what_is_not_yet_is_as_current_as_what_is_new(age, half_life):
    assert one(currency, age, half_life) == 1.0


def test_a_half_life_of_next_to_nothing_is_no_error():
    assert one(currency, 1e5, 5e-324) == -1.0


def mass(ages, ring=RING):
    """The mass of one history, of which the ring holds the most recent."""
    ages = sorted(ages)
    recent = np.full((1, ring), np.nan)
    recent[0, : len(ages)] = ages[:ring]
    first = np.array([ages[-1] if ages else np.nan])
    (result,) = use_mass(recent, np.array([float(len(ages))]), first)
    return float(result)


def exact_mass(ages):
    return math.fsum((1.0 + age) ** -0.5 for age in ages)


@pytest.mark.parametrize(
    ("ages", "expected"),
    [([], 0.0), ([0], 1.0), ([3], 0.5), ([0, 3, 8], 1 + 1 / 2 + 1 / 3), ([99] * 8, 0.8)],
)
def test_use_mass_is_the_sum_of_the_shifted_kernel(ages, expected):
    assert mass(ages) == pytest.approx(expected, abs=1e-12)


@given(ages=st.lists(st.floats(0.0, 1e4), max_size=RING))
def test_use_mass_is_exact_while_the_ring_holds_every_use(ages):
    assert mass(ages) == pytest.approx(exact_mass(ages), rel=1e-12, abs=0.0)


@given(ages=st.lists(st.floats(0.0, 1e4), min_size=RING + 1, max_size=30))
def test_uses_beyond_the_ring_count_with_the_kernels_mean_between_the_oldest_and_the_first(ages):
    ages = sorted(ages)
    oldest, first = ages[RING - 1], ages[-1]
    if first - oldest < 1e-3:
        mean = (1.0 + oldest) ** -0.5
    else:
        mean = ((1.0 + first) ** 0.5 - (1.0 + oldest) ** 0.5) / (0.5 * (first - oldest))
    expected = exact_mass(ages[:RING]) + (len(ages) - RING) * mean
    # the specification's difference of two roots loses digits, and so does a mean of equal ages
    assert mass(ages) == pytest.approx(expected, rel=1e-3 if first - oldest < 1e-3 else 1e-8)


def test_massed_uses_at_one_instant_count_in_full():
    assert mass([3.0] * 20) == pytest.approx(10.0, abs=1e-12)


@given(ages=use_ages)
def test_p8_there_is_no_mass_exactly_when_there_is_no_use(ages):
    assert (mass(ages) == 0.0) == (len(ages) == 0)
    assert (one(use, mass(ages)) == 0.0) == (len(ages) == 0)


@given(ages=use_ages, share=st.floats(0.0, 1.0))
def test_p8_one_more_use_never_lowers_the_mass(ages, share):
    latest = share * min(ages, default=100.0)  # a use is recorded when it happens
    assert mass([*ages, latest]) >= mass(ages) - 1e-12


@given(ages=use_ages, passed=st.floats(0.0, 1e4))
def test_p8_time_alone_never_raises_the_mass(ages, passed):
    assert mass([age + passed for age in ages]) <= mass(ages)


@given(data=st.data(), rows=st.integers(1, 12), ring=st.integers(0, 9))
def test_p2_and_p3_a_memorys_mass_is_the_same_in_any_company(data, rows, ring):
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    recent = random.uniform(0, 1e4, (rows, ring))
    recent[random.random((rows, ring)) < 0.4] = np.nan
    counts = random.integers(0, 50, rows).astype(np.float64)
    firsts = np.where(random.random(rows) < 0.2, np.nan, random.uniform(0, 2e4, rows))
    whole = use_mass(recent, counts, firsts)
    chosen = random.permutation(rows)[: data.draw(st.integers(1, rows))]
    part = use_mass(recent[chosen], counts[chosen], firsts[chosen])
    assert part.tobytes() == whole[chosen].tobytes()
    assert use(part).tobytes() == use(whole)[chosen].tobytes()


def test_the_order_within_the_ring_and_uses_ahead_of_the_clock_change_nothing():
    ring = np.array([[5.0, np.nan, 0.0, 24.0], [24.0, 5.0, -1.0, np.nan]])
    first, second = use_mass(ring, np.array([7.0, 7.0]), np.array([80.0, 80.0]))
    assert first == pytest.approx(second, abs=1e-12)
    assert first == pytest.approx(1 + 1 / math.sqrt(6) + 1 / 5 + 4 * 2 / (9 + 5), abs=1e-12)


def test_a_first_use_that_is_unknown_or_after_the_oldest_is_taken_to_be_the_oldest():
    ring = np.array([[3.0], [3.0], [3.0]])
    masses = use_mass(ring, np.array([3.0, 3.0, 3.0]), np.array([np.nan, 1.0, 3.0]))
    assert masses.tolist() == [1.5, 1.5, 1.5]


def histories(kind):
    """Ages of uses, at most 200, over 1 to 1,000 days."""
    random = np.random.default_rng(5)
    for _ in range(1500):
        lifetime = math.exp(random.uniform(0.0, math.log(1000.0)))
        uniform = random.random(random.integers(1, 201))
        yield lifetime * (uniform if kind == "poisson" else uniform**4)


def errors(kind, ring, of=math.log):
    """The 95th percentile of the error of what is made of the mass."""
    wrong = [abs(of(mass(ages, ring)) - of(exact_mass(ages))) for ages in histories(kind)]
    return float(np.quantile(wrong, 0.95))


def test_eight_uses_are_enough_for_a_steady_history():
    # the specification measured .173, .109, .065 and .047
    found = [errors("poisson", ring) for ring in (0, 1, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert 0.15 < found[0] < 0.21
    assert 0.04 < found[3] < 0.05


def test_eight_uses_are_within_a_hundredth_of_a_nat_for_a_history_that_came_late():
    wrong = errors("late", RING, of=lambda total: total / (total + 1.0))
    assert 0.25 * wrong < 0.01  # the weight of use in the profiles
    assert errors("late", 1, of=lambda total: total / (total + 1.0)) > 1.3 * wrong


@pytest.mark.parametrize(("mass_", "expected"), [(0, 0.0), (1, 0.5), (3, 0.75), (99, 0.99)])
def test_use_saturates(mass_, expected):
    assert one(use, mass_) == pytest.approx(expected, abs=1e-12)


@given(first=st.floats(0.0, 1e6), second=st.floats(0.0, 1e6))
def test_more_mass_is_more_use_and_less_than_one(first, second):
    low, high = sorted([first, second])
    assert 0.0 <= one(use, low) <= one(use, high) < 1.0


@given(total=st.floats(1e-3, 1e6))
def test_use_is_the_recall_probability_of_activation(total):
    assert one(use, total) == pytest.approx(1.0 / (1.0 + math.exp(-math.log(total))), abs=1e-12)


@pytest.mark.parametrize(
    ("alpha", "beta", "expected"),
    [(1, 1, 0.0), (2, 0, 1.0), (0, 2, -2.0), (1, 7, -2.0), (4, 1, math.log2(1.6))],
)
def test_trust_is_the_logarithm_of_the_share_of_evidence_for_it(alpha, beta, expected):
    assert one(trust, alpha, beta) == pytest.approx(expected, abs=1e-12)


@given(alpha=votes, beta=votes, more=votes)
def test_p9_trust_rises_with_confirmations_and_falls_with_contradictions(alpha, beta, more):
    before = one(trust, alpha, beta)
    assert -2.0 <= one(trust, alpha, beta + more) <= before <= one(trust, alpha + more, beta) <= 1.0
    if alpha / (alpha + beta) > 0.125:
        assert one(trust, alpha + more, beta) > before


@given(both=votes)
def test_p9_trust_is_neutral_when_the_evidence_is_even(both):
    assert one(trust, both, both) == 0.0


@given(
    memories=st.integers(0, 1000),
    data=st.data(),
    rows=st.integers(0, 6),
    columns=st.integers(0, 20),
)
def test_entity_coverage_is_a_share_whatever_is_counted(memories, data, rows, columns):
    # more mentions than memories: counts are of the present, the search may be of the past
    counted = st.lists(st.integers(0, 2000), min_size=columns, max_size=columns)
    mentions = np.array(data.draw(counted), dtype=np.float64)
    bits = st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns)
    shared = np.array(data.draw(bits), dtype=np.bool_).reshape(rows, columns)
    coverage = entity_coverage(shared, mentions, memories)
    assert coverage.shape == (rows,)
    assert ((coverage >= 0.0) & (coverage <= 1.0)).all()
    assert (coverage[~shared.any(axis=1)] == 0.0).all()
    informative = memories > 0 and bool((mentions < memories).any())
    full = coverage[shared.all(axis=1)]
    assert (full == (1.0 if informative else 0.0)).all()
    more = entity_coverage(shared | (np.arange(columns) == 0), mentions, memories)
    assert (more >= coverage).all()


def test_entity_coverage_is_weighted_by_rarity():
    shared = np.array([[True, False], [False, True], [True, True]])
    rare, common = math.log(100 / 2) / math.log(100), math.log(100 / 50) / math.log(100)
    expected = [rare / (rare + common), common / (rare + common), 1.0]
    coverage = entity_coverage(shared, np.array([1.0, 49.0]), 99)
    np.testing.assert_allclose(coverage, expected, rtol=1e-12)


def test_a_related_entity_covers_in_part():
    rare, common = math.log(100 / 2) / math.log(100), math.log(100 / 50) / math.log(100)
    covered = np.array([[0.25, 1.0], [0.5, 0.0]])
    expected = [(0.25 * rare + common) / (rare + common), 0.5 * rare / (rare + common)]
    coverage = entity_coverage(covered, np.array([1.0, 49.0]), 99)
    np.testing.assert_allclose(coverage, expected, rtol=1e-12)


@given(data=st.data(), columns=st.integers(1, 6), more=st.floats(0.0, 1.0))
def test_covering_more_of_an_entity_never_lowers_the_share(data, columns, more):
    row = st.lists(st.floats(0.0, 1.0), min_size=columns, max_size=columns)
    covered = np.array([data.draw(row)])
    mentions = np.arange(columns, dtype=np.float64)
    before = entity_coverage(covered, mentions, 50)
    column = data.draw(st.integers(0, columns - 1))
    covered[0, column] = max(covered[0, column], more)
    after = entity_coverage(covered, mentions, 50)
    assert 0.0 <= before[0] <= after[0] <= 1.0


@given(data=st.data(), columns=st.integers(0, 6))
def test_a_mention_covers_its_entity_entirely(data, columns):
    bits = st.lists(st.booleans(), min_size=columns, max_size=columns)
    shared = np.array([data.draw(bits)], dtype=np.bool_).reshape(1, columns)
    mentions = np.arange(columns, dtype=np.float64)
    as_numbers = entity_coverage(shared.astype(np.float64), mentions, 50)
    assert entity_coverage(shared, mentions, 50).tobytes() == as_numbers.tobytes()


def test_an_entity_that_every_memory_mentions_says_nothing():
    shared = np.array([[True], [True]])
    assert entity_coverage(shared, np.array([2.0]), 2).tolist() == [0.0, 0.0]


@given(data=st.data(), rows=st.integers(1, 12), columns=st.integers(1, 12))
def test_a_memory_is_covered_the_same_in_any_company(data, rows, columns):
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    shared = random.random((rows, columns)) < 0.5
    mentions = random.integers(0, 50, columns).astype(np.float64)
    whole = entity_coverage(shared, mentions, 77)
    chosen = random.permutation(rows)[: data.draw(st.integers(1, rows))]
    assert entity_coverage(shared[chosen], mentions, 77).tobytes() == whole[chosen].tobytes()


@pytest.mark.parametrize(
    ("together", "first", "second", "memories", "expected"),
    [
        (10, 10, 10, 100, 1.0),  # never one without the other
        (1, 1, 10, 100, 0.5),  # ln(.01 / .001) of ln 100
        (1, 10, 10, 100, 0.0),  # by chance
        (1, 50, 50, 100, 0.0),  # less often than by chance
        (0, 5, 5, 100, 0.0),
        (0, 0, 0, 100, 0.0),
        (100, 100, 100, 100, 1.0),  # both in every memory
        (1, 1, 1, 1, 1.0),
        (0, 0, 0, 0, 0.0),
        (3, 0, 5, 100, 0.0),  # counts of different moments
        (7, 5, 5, 100, 1.0),
        (9, 9, 9, 5, 1.0),
    ],
)
def test_npmi_of_counts(together, first, second, memories, expected):
    counts = (np.array([float(count)]) for count in (together, first, second))
    (found,) = npmi(*counts, memories)
    assert found == pytest.approx(expected, abs=1e-12)


@given(
    together=st.integers(0, 500),
    first=st.integers(0, 500),
    second=st.integers(0, 500),
    memories=st.integers(0, 400),
)
def test_npmi_is_a_share_the_same_from_both_sides(together, first, second, memories):
    counts = [np.array([float(count)]) for count in (together, first, second)]
    found = npmi(*counts, memories)
    assert 0.0 <= found[0] <= 1.0
    assert found.tobytes() == npmi(counts[0], counts[2], counts[1], memories).tobytes()


@given(first=st.integers(1, 40), second=st.integers(1, 40), memories=st.integers(80, 500))
def test_who_meets_more_often_is_closer(first, second, memories):
    together = np.arange(0.0, min(first, second) + 1.0)
    found = npmi(together, np.array(float(first)), np.array(float(second)), memories)
    assert (np.diff(found) >= -1e-12).all()
    assert found[0] == 0.0
    assert (found[-1] == pytest.approx(1.0, abs=1e-12)) == (first == second)
