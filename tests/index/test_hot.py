"""The hot tier holds what was put in and not taken out, and its views never change."""

from threading import Event, Thread

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memstore import maxsim
from memstore.errors import BadInput, IndexDamaged
from memstore.index import HotTier, HotView, dequantize, quantize

DIM = 24


class Passages:
    """Passages to append, with random vectors; the id decides the vectors."""

    def __init__(self, ids, dim=DIM):
        self.ids = np.array(ids, dtype=np.int64)
        self.owners = self.ids // 3
        self.lengths = 1 + self.ids % 7
        vectors = [
            np.random.default_rng(id_).standard_normal((length, dim), dtype=np.float32)
            for id_, length in zip(ids, self.lengths, strict=True)
        ]
        self.codes, self.scales = quantize(np.concatenate([*vectors, np.empty((0, dim))]))

    def append_to(self, tier, **changes):
        arguments = {
            "passage_ids": self.ids,
            "owners": self.owners,
            "lengths": self.lengths,
            "codes": self.codes,
            "scales": self.scales,
        }
        tier.append(**arguments | changes)


def tier_of(ids):
    tier = HotTier(DIM)
    Passages(ids).append_to(tier)
    return tier


def query_of(tokens, seed=0):
    return np.random.default_rng(seed).standard_normal((tokens, DIM), dtype=np.float32)


def live_slots(view):
    return np.flatnonzero(view.live)


def held(view: HotView, query):
    """What a view holds: id to owner, length and similarities, of live passages."""
    slots = live_slots(view)
    return {
        int(view.passage_ids[slot]): (int(view.owners[slot]), int(view.lengths[slot]), tuple(row))
        for slot, row in zip(slots, view.similarities(query, slots).tolist(), strict=True)
    }


def expected(ids, query):
    """The same, from a tier that was filled in one call."""
    return held(tier_of(sorted(ids)).view(), query)


class AnyHistory(RuleBasedStateMachine):
    """Appends and removals in any order, against a set of ids."""

    @initialize()
    def start(self):
        self.tier = HotTier(DIM)
        self.query = query_of(5)
        self.model = set()
        self.next_id = 0
        self.earlier = []

    @rule(count=st.integers(0, 60), seed=st.integers(0, 1000))
    def append(self, count, seed):
        ids = np.random.default_rng(seed).permutation(range(self.next_id, self.next_id + count))
        self.next_id += count
        Passages(ids.tolist()).append_to(self.tier)
        self.model.update(ids.tolist())

    @rule(data=st.data(), share=st.floats(0, 1))
    def remove(self, data, share):
        known = sorted(self.model)
        ids = known[: int(len(known) * share)] if data.draw(st.booleans()) else known[::2]
        assert self.tier.remove(np.array([*ids, 10**9], dtype=np.int64)) == len(ids)
        self.model.difference_update(ids)

    @rule(data=st.data())
    def append_again_what_was_removed(self, data):
        removed = sorted(set(range(self.next_id)) - self.model)
        if removed:
            ids = [data.draw(st.sampled_from(removed))]
            Passages(ids).append_to(self.tier)
            self.model.update(ids)

    @rule()
    def keep_a_view(self):
        self.earlier.append((self.tier.view(), expected(self.model, self.query)))

    @invariant()
    def holds_what_the_model_holds(self):
        assert held(self.tier.view(), self.query) == expected(self.model, self.query)
        assert len(self.tier) == len(self.model)
        assert self.tier.tokens == sum(1 + id_ % 7 for id_ in self.model)

    @invariant()
    def spends_no_more_on_removed_passages_than_on_live_ones(self):
        assert self.tier.view().lengths.sum() <= 2 * self.tier.tokens

    @invariant()
    def earlier_views_are_as_they_were(self):
        for view, contents in self.earlier:
            assert held(view, self.query) == contents


AnyHistory.TestCase.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
TestAnyHistory = AnyHistory.TestCase


def test_similarities_are_maxima_over_each_passage_s_tokens():
    passages = Passages(range(40))
    tier = HotTier(DIM)
    passages.append_to(tier)
    query = query_of(9)
    found = tier.view().similarities(query, np.arange(40))
    reference = maxsim.token_maxima(
        query,
        dequantize(passages.codes, passages.scales),
        np.cumsum(passages.lengths) - passages.lengths,
        passages.lengths,
    )
    np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-3)


def test_vectors_of_a_passage_are_what_was_put_in_while_it_is_live():
    tier = tier_of([4, 2, 9])
    before = tier.view()
    tier.remove(np.array([2]))
    for id_ in (4, 9):
        own = Passages([id_])
        assert np.array_equal(tier.view().vectors(id_), dequantize(own.codes, own.scales))
    assert tier.view().vectors(2) is None
    assert before.vectors(2).shape == (3, DIM)
    assert before.vectors(5) is None


def test_slots_may_come_in_any_order_and_number():
    view = tier_of(range(40)).view()
    whole = view.similarities(query_of(9), np.arange(40))
    slots = np.array([39, 0, 7, 7])
    np.testing.assert_array_equal(view.similarities(query_of(9), slots), whole[slots])
    assert view.similarities(query_of(9), np.empty(0, dtype=np.int64)).shape == (0, 9)


def test_an_empty_tier_has_an_empty_view():
    view = HotTier(DIM).view()
    assert len(view.passage_ids) == 0
    assert view.similarities(query_of(2), np.empty(0, dtype=np.int64)).shape == (0, 2)


def test_one_call_may_add_many_times_what_the_tier_holds():
    tier = tier_of(range(5))
    Passages(range(5, 3000)).append_to(tier)
    assert held(tier.view(), query_of(3)) == expected(range(3000), query_of(3))


def test_a_view_cannot_be_written_to():
    view = tier_of(range(3)).view()
    for name in ("passage_ids", "owners", "lengths", "live"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(view, name)[0] = 0


def test_what_is_appended_later_does_not_follow_changes_of_the_caller_s_arrays():
    passages = Passages(range(5))
    tier = HotTier(DIM)
    passages.append_to(tier)
    before = held(tier.view(), query_of(3))
    for array in (passages.ids, passages.owners, passages.codes, passages.scales):
        array[:] = 1
    assert held(tier.view(), query_of(3)) == before


def test_removed_passages_keep_their_slots_until_they_outweigh_the_live_ones():
    tier = tier_of([0, 7, 14, 21])  # one token each
    tier.remove(np.array([7, 21]))
    assert tier.view().live.tolist() == [True, False, True, False]
    tier.remove(np.array([0]))
    assert tier.view().passage_ids.tolist() == [14]


def test_views_are_whole_while_another_thread_appends_and_removes():
    tier = HotTier(DIM)
    query = query_of(3)
    batches = [list(range(start, start + 6)) for start in range(0, 240, 6)]
    truth = expected(range(240), query)
    done = Event()
    torn = []

    def read():
        while not done.is_set():
            contents = held(tier.view(), query)
            if len(contents) % 6 or any(truth[id_] != value for id_, value in contents.items()):
                torn.append(contents)

    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(3):
        for batch in batches:
            Passages(batch).append_to(tier)
        for batch in batches:
            tier.remove(np.array(batch))
    done.set()
    for reader in readers:
        reader.join()
    assert not torn


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"owners": np.array([1])}, "3 passages come with 1 owners and 3 lengths"),
        ({"lengths": np.array([4, 5, 0])}, "passage 12 has 0 token vectors"),
        ({"lengths": np.array([4, 5, 7])}, "3 passages of 16 tokens"),
        ({"codes": np.zeros((15, 23), dtype=np.int8)}, "in 24 dimensions come with int8 codes"),
        ({"codes": np.zeros((15, 24), dtype=np.uint8)}, "come with uint8 codes"),
        ({"scales": np.zeros(14, dtype=np.float32)}, r"scales \(14,\)"),
        ({"scales": np.full(15, np.nan, dtype=np.float32)}, "negative or not finite"),
        ({"scales": np.full(15, -1, dtype=np.float32)}, "negative or not finite"),
        ({"passage_ids": np.array([10, 11, 11])}, "comes twice"),
        ({"passage_ids": np.array([10, 11, 2])}, "passage 2 is in the hot tier already"),
    ],
)
def test_passages_that_contradict_are_refused_and_change_nothing(changes, message):
    tier = tier_of([2, 3])
    before = held(tier.view(), query_of(3))
    with pytest.raises(IndexDamaged, match=message):
        Passages([10, 11, 12]).append_to(tier, **changes)
    assert held(tier.view(), query_of(3)) == before
    Passages([10, 11, 12]).append_to(tier)
    assert len(tier) == 5


@pytest.mark.parametrize(
    "query",
    [
        np.ones((2, DIM + 1), dtype=np.float32),
        np.empty((0, DIM), dtype=np.float32),
        np.full((2, DIM), np.nan, dtype=np.float32),
    ],
)
def test_a_query_that_does_not_fit_is_refused(query):
    with pytest.raises(BadInput, match="cannot search with this query"):
        tier_of([1]).view().similarities(query, np.array([0]))


@pytest.mark.parametrize("slot", [-1, 3])
def test_a_slot_outside_the_view_is_refused(slot):
    with pytest.raises(IndexError, match="of a view of 3 slots"):
        tier_of(range(3)).view().similarities(query_of(1), np.array([slot]))
