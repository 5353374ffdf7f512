"""Trust and use are replayed from events: by hand on small logs, in any order, to the byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memstore.scoring.evidence import (
    BURST,
    RECENT_USES,
    Vote,
    count_uses,
    pack_uses,
    posterior,
    unpack_uses,
)

TEN_MINUTES = BURST
times = st.integers(0, 10**15)
uses = st.lists(st.tuples(times, st.sampled_from([None, "a", "b"])), max_size=30)


def confidence(prior, votes):
    alpha, beta = posterior(prior, votes)
    return round(10 * alpha / (alpha + beta), 6)


def test_three_confirmations_make_an_unknown_memory_an_eight_and_three_contradictions_a_two():
    assert confidence(0.5, []) == 5.0
    assert confidence(0.5, [Vote(n, True) for n in range(3)]) == 8.0
    assert confidence(0.5, [Vote(n, False) for n in range(3)]) == 2.0
    assert confidence(0.5, [Vote(n, n % 2 == 0) for n in range(40)]) == 5.0


def test_a_vote_counts_as_much_as_its_source_is_believed():
    assert posterior(0.9, [Vote(1, True, 0.25), Vote(2, False, 0.0)]) == (1.8 + 0.25, 0.2)


@given(weights=st.lists(st.floats(0, 1), max_size=8), data=st.data())
def test_the_order_of_votes_changes_no_bit(weights, data):
    votes = [Vote(n, n % 3 > 0, weight) for n, weight in enumerate(weights)]
    shuffled = data.draw(st.permutations(votes))
    assert posterior(0.3, shuffled) == posterior(0.3, votes)


def test_uses_of_one_session_within_ten_minutes_are_one_at_the_time_of_the_last():
    near = [(0, "a"), (TEN_MINUTES - 1, "a"), (2 * TEN_MINUTES - 2, "a")]
    found = count_uses(near)
    assert (found.count, found.first, found.recent) == (1, 0, (2 * TEN_MINUTES - 2,))
    assert count_uses([(0, "a"), (TEN_MINUTES, "a")]).count == 2
    assert count_uses([(0, "a"), (1, "b"), (2, None)]).count == 3


@given(uses=uses, data=st.data())
def test_uses_that_arrive_in_another_order_are_counted_alike(uses, data):
    assert count_uses(data.draw(st.permutations(uses))) == count_uses(uses)


@given(uses=uses, more=st.tuples(times, st.sampled_from([None, "a", "b"])))
def test_one_more_use_never_lowers_the_count_and_keeps_the_first(uses, more):
    before, after = count_uses(uses), count_uses([*uses, more])
    # one between two bursts joins them, and takes one away
    assert after.count >= before.count - 1
    assert after.first == min(at for at, _ in [*uses, more])
    assert len(after.recent) == min(after.count, RECENT_USES)


@given(recent=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=RECENT_USES))
def test_stored_uses_come_back_as_they_were(recent):
    assert unpack_uses(pack_uses(recent)) == tuple(recent)
    assert unpack_uses(None) == ()
