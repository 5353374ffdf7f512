"""Disturbed copies of a store: what is disturbed, and what the arms make of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from memstore import MemoryStore
from memstore.evaluation import Arm, combined, ingest_corpus, open_arms, read_dataset
from memstore.evaluation.comparison import Answer, Found
from memstore.evaluation.disturbed_metadata import (
    _passes_beyond,
    _with_identical,
    adversarial_metadata,
    no_metadata,
    random_metadata,
)
from memstore.evaluation.future_leaks import future_leaks
from memstore.evaluation.injected_updates import injected_updates
from memstore.evaluation.stored import Stored
from memstore.evaluation.stress import Bench, Stress
from memstore.evaluation.swapped_answers import introduced, swaps
from memstore.evaluation.unreliable_sources import unreliable_sources

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROFILES = ("semantic", "balanced", "recent", "trusted")


@pytest.fixture
def bench(moves, tmp_path) -> Iterator[Bench]:
    """The people who have moved, in a store whose encoder knows what words mean."""
    dataset = read_dataset(moves)
    with MemoryStore.open(tmp_path / "moves.mem", encoder="minilm") as store:
        ingest_corpus(store, dataset)
        yield Bench(
            store=store,
            questions=dataset.questions,
            arms=open_arms(store, combined(["none"], PROFILES)),
            namespace="default",
            now=NOW,
            seed=0,
        )


def seen(stress: Stress) -> dict[str, dict[str, float | None]]:
    assert stress.comparison is not None
    return {summary.arm.label: summary.further for summary in stress.comparison.summaries()}


def state(store: MemoryStore) -> list[object]:
    return list(Stored(store))


def test_an_answer_is_swapped_for_another_of_the_same_kind_and_no_memory_twice(bench):
    twice = dataclasses.replace(bench.questions[0], id="again")
    several = dataclasses.replace(bench, questions=[*bench.questions, twice])
    found = swaps(several, Stored(bench.store), bench.random("test"))
    assert len(found) == 8
    for swap in found:
        assert swap.memory.key == f"{swap.question.id.removeprefix('q.')}.new"
        others = {question.answer for question in bench.questions} - {swap.question.answer}
        (put,) = [other for other in others if other in swap.text]
        assert swap.text == swap.memory.text.replace(swap.question.answer, put)


def test_only_whole_words_are_an_answer(bench):
    short = [dataclasses.replace(one, answer=one.answer[:3]) for one in bench.questions]
    part = dataclasses.replace(bench, questions=short)
    assert swaps(part, Stored(bench.store), bench.random("test")) == []


def test_a_number_is_swapped_for_a_number(bench):
    bench.store.add("The flat has 3 rooms.", key="rooms", namespace="s0")
    bench.store.add("The house has 12 rooms.", key="more", namespace="s0")
    rooms = dataclasses.replace(bench.questions[0], id="r", answer="3", relevant={"rooms": 1.0})
    more = dataclasses.replace(bench.questions[0], id="m", answer="12", relevant={"more": 1.0})
    both = dataclasses.replace(bench, questions=[*bench.questions, rooms, more])
    texts = {swap.text for swap in swaps(both, Stored(bench.store), bench.random("test"))}
    assert {"The flat has 12 rooms.", "The house has 3 rooms."} <= texts


def test_more_words_stand_behind_the_name_of_who_speaks():
    assert introduced("Ana: I sail.", "Well:", ["Ana"]) == "Ana: Well: I sail."
    assert introduced("Note: I sail.", "Well:", ["Ana"]) == "Well: Note: I sail."


def test_links_hide_as_many_stale_memories_as_they_cover(bench):
    before = state(bench.store)
    found = seen(injected_updates(bench))
    assert state(bench.store) == before
    assert list(found)[:5] == [*(f"{name}, links 0%" for name in PROFILES), "semantic, links 50%"]
    for name in PROFILES:
        stale = [found[f"{name}, links {share}"]["stale in 5"] for share in ("0%", "50%", "100%")]
        assert stale == [1.0, 0.5, 0.0]
        assert found[f"{name}, links 100%"]["new above old"] == 1.0
        assert found[f"{name}, links 100%"]["stale@1"] == 0.0


def test_an_update_comes_after_what_it_updates_and_before_the_question(bench, monkeypatch):
    added = []
    add_many = MemoryStore.add_many

    def noting(store, new):
        added.extend(new)
        return add_many(store, new)

    monkeypatch.setattr(MemoryStore, "add_many", noting)
    injected_updates(bench)
    assert len(added) == 8
    long = [new for new in added if len(new.text) > 100]
    assert len(long) == 4
    for new in added:
        old = bench.store.get_by_key(new.key.removesuffix("#update"), namespace=new.namespace)
        assert old.occurred_at < new.occurred_at < NOW
        # a session that begins later, if there is one before the question
        assert new.session != old.session


def test_without_answers_there_is_nothing_to_update_and_that_is_said(bench):
    mute = [dataclasses.replace(question, answer=None) for question in bench.questions]
    silent = dataclasses.replace(bench, questions=mute)
    for stress in (injected_updates(silent), unreliable_sources(silent)):
        assert stress.comparison is None
        assert "no question has an answer" in stress.note


def test_votes_find_out_who_errs_and_one_voter_counts_once(bench):
    before = state(bench.store)
    found = seen(unreliable_sources(bench))
    assert state(bench.store) == before
    for name in PROFILES:
        for belief in ("0.9", "0.5", "0.2"):
            row = found[f"{name}, source {belief}"]
            assert row["counted once"] == 1.0
            assert row["×10"] == row["colluder ×1"]
    trusted = [found[f"trusted, source {belief}"]["0 votes"] for belief in ("0.2", "0.9")]
    assert trusted[0] < trusted[1]  # whom one believes decides before there are votes
    believed = found["trusted, source 0.9"]
    assert believed["5 votes"] < believed["0 votes"]
    plain = found["semantic, source 0.9"]
    assert plain["5 votes"] == plain["0 votes"]


def test_metadata_against_the_truth_does_harm_up_to_the_bound_and_no_further(bench):
    before = state(bench.store)
    # what words alone find first
    old = [
        dataclasses.replace(one, relevant={f"{one.id.removeprefix('q.')}.old": 1.0})
        for one in bench.questions
    ]
    stress = adversarial_metadata(dataclasses.replace(bench, questions=old))
    assert state(bench.store) == before
    semantic, balanced, recent, trusted = stress.comparison.summaries()
    assert recent.metrics["ndcg@10"] < semantic.metrics["ndcg@10"]
    for summary in (semantic, balanced, recent, trusted):
        assert summary.further == {"beyond 2M": 0.0}


def test_a_memory_that_passes_beyond_the_bound_would_be_seen(bench):
    cheat = Arm("none", "semantic", formula="exp-decay")  # bounded by nothing
    arms = dataclasses.replace(bench.arms, ready=(*bench.arms.ready, cheat))
    found = seen(adversarial_metadata(dataclasses.replace(bench, arms=arms)))
    assert found["exp-decay"]["beyond 2M"] == 1.0


@pytest.mark.parametrize(
    ("mine", "bound", "passed"),
    [
        ("abc", 0.0, False),
        ("bac", 2.0, False),
        ("bac", 1.9, True),
        ("b", 1.9, True),  # what it passed need not be among the hits
        ("cba", 2.0, True),
        ("ab", 0.0, False),
    ],
)
def test_what_passing_beyond_the_bound_is(mine, bound, passed):
    nats = {"a": 3.0, "b": 1.0, "c": 0.5}
    answers = [
        Answer(tuple(Found(1, id_, id_, 0.0, nats[id_]) for id_ in ids), {}, 0.0)
        for ids in (mine, "abc")
    ]
    assert _passes_beyond(*answers, bound) is passed


def test_random_metadata_moves_profiles_and_not_the_semantic_order(bench):
    stress = random_metadata(bench)
    plain, *others = stress.comparison.measured
    order = [[hit.key for hit in answer.hits] for answer in plain.answers]
    for item in others:
        assert [[hit.key for hit in answer.hits] for answer in item.answers] != order
    again = random_metadata(bench)
    for one, other in zip(stress.comparison.measured, again.comparison.measured, strict=True):
        assert (one.scores == other.scores).all()


def test_without_metadata_every_profile_is_semantic(bench):
    # who says something is an entity too, and two versions of a key are two memories
    bench.store.ingest([{"id": "a", "text": "I am at home.", "speaker": "Ana", "scope": "s0"}])
    bench.store.ingest([{"id": "a", "text": "I am in town.", "speaker": "Ana", "scope": "s0"}])
    stress = no_metadata(bench)
    assert seen(stress) == {name: {"identical": 1.0} for name in PROFILES}
    assert stress.comparison.memories == 18


def test_a_profile_that_were_not_semantic_would_be_seen(bench):
    # with its metadata it is not
    found = _with_identical(bench.ask(bench.store, bench.questions)).summaries()
    assert [one.further["identical"] == 1.0 for one in found] == [True, False, False, False]


def test_nothing_leaks_from_the_future_and_a_leak_would_be_seen(bench, monkeypatch):
    assert seen(future_leaks(bench)) == {name: {"leaks": 0.0} for name in PROFILES}
    query = MemoryStore.query

    def leaking(store, text, **options):
        return query(store, text, **{**options, "as_of": None})

    monkeypatch.setattr(MemoryStore, "query", leaking)
    assert all(0.0 < row["leaks"] < 1.0 for row in seen(future_leaks(bench)).values())


def test_what_happened_at_an_unknown_time_is_no_leak(bench):
    bench.store.add("Ana's home is a tent.", key="t", namespace="s0", occurred_at="unknown")
    found = seen(future_leaks(bench))
    assert found == {name: {"leaks": 0.0} for name in PROFILES}
    hits = bench.store.query("Ana's home", namespace="s0", as_of="2025-02-01T00:00:00Z").hits
    assert "t" in [hit.memory.key for hit in hits]
