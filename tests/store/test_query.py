"""Queries: bounds, order, explanations, and that asking changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memstore import MemoryStore

NOW = "2026-06-01T00:00:00Z"
MORE_WORDS = [f"word{n}" for n in range(12)]


def _fill(store: MemoryStore, count: int = 60) -> None:
    chance = random.Random(11)
    store.add_many(
        {
            "text": " ".join(chance.sample(MORE_WORDS, 4)),
            "occurred_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=chance.randrange(99)),
            "confidence": chance.randrange(11),
            "importance": chance.choice([-1.0, 0.0, 0.5]),
            "metadata": {"n": n},  # or equal texts would be one memory
        }
        for n in range(count)
    )


def test_hits_are_ranked_from_one_by_falling_score(store: MemoryStore) -> None:
    _fill(store)
    hits = store.query("word1 word2 word3", limit=60).hits
    assert [hit.rank for hit in hits] == list(range(1, 61))
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert len({hit.memory.id for hit in hits}) == 60


def test_a_smaller_limit_gives_the_beginning_of_the_same_list(store: MemoryStore) -> None:
    _fill(store)
    everything = store.query("word1 word2", limit=60, now=NOW).hits
    for limit in (1, 7, 59, 10_000):
        assert store.query("word1 word2", limit=limit, now=NOW).hits == everything[:limit]


def test_the_same_query_at_the_same_moment_gives_the_same_result_and_changes_no_row(
    store: MemoryStore, fingerprint: Callable[[Path], str]
) -> None:
    _fill(store)
    before = fingerprint(store.path)
    ask = {"now": NOW, "explain": True, "limit": 20}
    first = store.query("word1 word2", **ask)  # type: ignore[arg-type]
    store.query("another one", explain=True)
    again = store.query("word1 word2", **ask)  # type: ignore[arg-type]
    assert replace(again, took={}) == replace(first, took={})
    [many, _] = store.query_many(["word1 word2", "x"], **ask)  # type: ignore[arg-type]
    assert replace(many, took={}) == replace(first, took={})
    with MemoryStore.open(store.path) as other:
        assert other.query("word1 word2", **ask).hits == first.hits  # type: ignore[arg-type]
    assert fingerprint(store.path) == before


def test_equal_scores_are_ordered_by_time_newest_first_then_by_id(store: MemoryStore) -> None:
    same = [
        {"text": "one text", "occurred_at": f"2026-01-0{day}T00:00:00Z", "metadata": {"n": n}}
        for n, day in enumerate([2, 1, 3, 3, 1])
    ]
    store.add_many(same)
    hits = store.query("one text", now=NOW).hits
    assert len({hit.score for hit in hits}) == 1
    order = [(hit.memory.occurred_at, hit.memory.id) for hit in hits]
    assert order == sorted(order, key=lambda item: (-item[0].timestamp(), item[1]))  # type: ignore[union-attr]


def test_the_lowest_score_allowed_is_included_and_lower_ones_are_not(store: MemoryStore) -> None:
    _fill(store)
    hits = store.query("word1 word2", limit=60, now=NOW).hits
    bar = hits[9].score
    kept = store.query("word1 word2", limit=60, now=NOW, min_score=bar).hits
    assert kept == tuple(hit for hit in hits if hit.score >= bar)
    assert 10 <= len(kept) < 60
    assert store.query("word1", min_score=1e6).hits == ()


def test_the_result_says_what_was_asked(store: MemoryStore) -> None:
    result = store.query("x", now="2026-06-01T02:00:00+02:00", as_of="2026-05-01T00:00:00Z")
    assert result.query == "x"
    assert result.now == datetime(2026, 6, 1, tzinfo=UTC)
    assert result.as_of == datetime(2026, 5, 1, tzinfo=UTC)
    assert result.known_at is None
    assert {"encode", "refresh", "retrieve", "score"} <= result.took.keys()
    later = store.query("x", now=NOW, known_at=NOW)
    assert later.as_of == later.now == later.known_at
    assert later.suppressed == ()


def test_parts_are_there_only_when_asked_for_and_sum_to_the_score(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "agent.mem", encoder="minilm") as store:
        _fill_with_meaning(store)
        for profile in ("semantic", "balanced", "recent", "trusted"):
            result = store.query("where does Ana live?", now=NOW, profile=profile, explain=True)
            assert result.profile == profile
            for hit in result.hits:
                assert hit.parts[0].name == "semantic"
                assert sum(part.nats for part in hit.parts) == pytest.approx(hit.score, abs=1e-9)
                assert all(part.why for part in hit.parts)
                assert hit.probability is not None
                assert 0 <= hit.probability <= 1
        names = {part.name for hit in result.hits for part in hit.parts}
        assert names == {"semantic", "currency", "trust", "entity", "importance"}
        plain = store.query("where does Ana live?", now=NOW, profile=profile)
        assert [hit.score for hit in plain.hits] == [hit.score for hit in result.hits]
        assert all(hit.parts == () for hit in plain.hits)
        pure = store.query("where does Ana live?", now=NOW, profile="semantic", explain=True).hits
        assert all([part.name for part in hit.parts] == ["semantic"] for hit in pure)
        raw = [float(hit.parts[0].why.removeprefix("MaxSim ")) for hit in pure]
        assert raw == sorted(raw, reverse=True)
        capped = store.query("where does Ana live?", now=NOW, weights={"cap": 0.0}).hits
        assert [hit.memory for hit in capped] == [hit.memory for hit in pure]
        long = store.query("Where does Ana live? " * 2500)
        assert long.flags == ("query_truncated",)
        assert store.query("Where does Ana live?").flags == ()
        assert "Ana" in long.hits[0].memory.text


def _fill_with_meaning(store: MemoryStore) -> None:
    texts = [
        "Ana moved from Porto to Lisbon.",
        "Bruno lives in Faro with his dog.",
        "The dentist called about the appointment.",
        "Ana bought a flat near the river.",
    ]
    for n, text in enumerate(texts):
        store.add(
            text,
            occurred_at=f"2026-0{n + 1}-01T00:00:00Z",
            confidence=3.0 + n,
            importance=0.2 * n,
            entities=[text.split()[0]],
        )


def test_memories_that_no_longer_or_not_yet_hold_are_named_with_the_reason(
    store: MemoryStore,
) -> None:
    old = store.add("city Porto", key="city", occurred_at="2026-01-01T00:00:00Z")
    new = store.add("city Lisbon", key="city", occurred_at="2026-02-01T00:00:00Z")
    plan = store.add("city Faro", valid_from="2026-09-01T00:00:00Z")
    store.add("city Rome", namespace="elsewhere", valid_to="2026-01-01T00:00:00Z")
    result = store.query("city", now=NOW, explain=True)
    assert [hit.memory.id for hit in result.hits] == [new.id]
    reasons = {item.memory.id: item.reason for item in result.suppressed}
    assert reasons == {
        old.id: f"held until 2026-02-01T00:00:00Z, superseded by {new.id}",
        plan.id: "begins 2026-09-01T00:00:00Z",
    }
    assert result.flags == store.query("city", now=NOW).flags
    assert store.query("city", now=NOW).suppressed == ()
    filtered = store.query("city", now=NOW, explain=True, where={"id": plan.id})
    assert [item.memory.id for item in filtered.suppressed] == [plan.id]


def test_what_would_not_have_been_a_hit_anyway_is_not_called_suppressed(store: MemoryStore) -> None:
    store.add("tea tea", key="a")
    store.add("nothing alike", valid_to="2026-01-01T00:00:00Z", valid_from="2025-01-01T00:00:00Z")
    close = store.add("tea pot", valid_to="2026-01-01T00:00:00Z", valid_from="2025-01-01T00:00:00Z")
    result = store.query("tea pot", explain=True, min_score=0.9)
    assert [item.memory.id for item in result.suppressed] == [close.id]


def test_a_clock_that_is_minutes_ahead_does_not_hide_a_memory_but_is_flagged(
    store: MemoryStore,
) -> None:
    now = datetime.now(UTC)
    store.add("tea pot", occurred_at=now + timedelta(minutes=3))
    store.add("tea cup", occurred_at=now + timedelta(minutes=30))
    result = store.query("tea", now=now)
    assert [hit.memory.text for hit in result.hits] == ["tea pot"]
    assert "clock_skew" in result.flags
    assert store.query("tea", now=now, as_of=now).hits == ()


def test_an_event_ahead_that_is_known_to_hold_already_is_no_clock_skew(store: MemoryStore) -> None:
    store.add(
        "dentist appointment",
        valid_from="2026-01-01T00:00:00Z",
        occurred_at="2026-07-01T00:00:00Z",
    )
    result = store.query("dentist", now=NOW)
    assert len(result.hits) == 1
    assert "clock_skew" not in result.flags


def test_what_was_recorded_later_is_not_known_earlier(store: MemoryStore) -> None:
    first = store.add("tea pot")
    second = store.add("tea cup", metadata={"n": 2})
    known = store.query("tea", known_at=first.recorded_at).hits
    assert first.recorded_at < second.recorded_at
    assert [hit.memory.id for hit in known] == [first.id]


def test_an_encoder_without_calibration_is_flagged_and_ranks_by_meaning_alone(
    store: MemoryStore,
) -> None:
    store.add("tea pot", confidence=0, importance=-1.0)
    store.add("coffee", confidence=10, importance=1.0)
    result = store.query("tea pot", profile="trusted")
    assert result.flags == ("uncalibrated",)
    assert result.profile == "semantic"
    assert result.hits[0].memory.text == "tea pot"
    assert result.hits[0].probability is None


def test_several_queries_are_answered_in_order_and_none_with_nothing(store: MemoryStore) -> None:
    store.add("tea pot")
    store.add("coffee cup")
    results = store.query_many(["coffee", "tea"], limit=1)
    assert [result.query for result in results] == ["coffee", "tea"]
    assert [result.hits[0].memory.text for result in results] == ["coffee cup", "tea pot"]
    assert store.query_many([]) == []


def test_an_empty_store_answers_with_nothing(store: MemoryStore) -> None:
    result = store.query("anything", explain=True)
    assert result.hits == ()
    assert result.suppressed == ()
    assert result.render() == ""


def test_a_part_is_its_value_times_its_weight_below_the_cap(tmp_path):
    with MemoryStore.open(tmp_path / "parts.mem") as store:
        store.add("Ana moved to Lisbon.", confidence=9, importance=0.5)
        store.add("Bruno plays chess.")
        hit = store.query("where does Ana live?", explain=True, weights={"cap": 1000.0}).hits[0]
    components = {part.name: part for part in hit.parts if part.name not in ("semantic", "lexical")}
    assert {"trust", "entity", "importance", "currency"} == set(components)
    for part in components.values():
        assert part.nats == pytest.approx(part.value * part.weight, rel=1e-4)
    assert components["importance"].value == 0.5


def test_ties_are_broken_alike_by_a_store_long_open_and_one_just_opened(tmp_path):
    settings = {"candidates": 1}
    with MemoryStore.open(tmp_path / "ties.mem", encoder="hashed", settings=settings) as store:
        ids = [store.add("The same words.", key=f"k{n}").id for n in range(6)]
        store.query("same words")
        store.update(ids[2], metadata={"n": 1})
        asked = {"limit": 1, "now": "2030-01-01T00:00:00Z"}
        long_open = store.query("same words", **asked).hits
    with MemoryStore.open(tmp_path / "ties.mem", settings=settings) as store:
        assert store.query("same words", **asked).hits == long_open
