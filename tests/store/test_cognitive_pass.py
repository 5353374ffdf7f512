"""What time, use, trust and entities do to the order of a store's answers, and how it is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memstore import BadInput, MemoryStore, QueryResult
from memstore.scoring.profiles import PROFILES

NOW = "2026-11-01T00:00:00Z"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with MemoryStore.open(tmp_path / "agent.mem") as opened:
        yield opened


def texts(result: QueryResult) -> list[str]:
    return [hit.memory.text for hit in result.hits]


def parts(result: QueryResult, text: str) -> dict[str, float]:
    hit = next(hit for hit in result.hits if hit.memory.text == text)
    return {part.name: part.nats for part in hit.parts}


def test_words_for_the_present_make_currency_count_and_words_for_the_past_do_not(
    store: MemoryStore,
) -> None:
    store.add("Ana's phone number is 12345.", occurred_at="2020-01-01T00:00:00Z")
    store.add("Ana's phone number is 67890.", occurred_at="2026-10-01T00:00:00Z")
    new = "Ana's phone number is 67890."

    def ask(text: str, **options: Any) -> QueryResult:
        return store.query(text, now=NOW, explain=True, **options)

    plain = ask("what is Ana's phone number?")
    current = ask("what is Ana's current phone number?")
    past = ask("what was Ana's phone number originally?")
    assert plain.temporal is None
    assert current.temporal is not None
    assert (current.temporal.kind, current.temporal.cue) == ("current", "current")
    assert past.temporal is not None
    assert past.temporal.kind == "historical"
    assert parts(current, new)["currency"] > 2 * parts(plain, new)["currency"] > 0
    assert "currency" not in parts(past, new)
    assert ask("what is Ana's current phone number?", temporal="none").temporal is None
    forced = ask("what is Ana's phone number?", temporal="historical")
    assert "currency" not in parts(forced, new)
    assert ask("current number?", profile="semantic").temporal is None
    with pytest.raises(BadInput, match="temporal"):
        ask("x", temporal="soon")


def test_a_date_in_the_query_is_suggested_and_never_applied(store: MemoryStore) -> None:
    store.add("Ana lives in Porto.", key="city", occurred_at="2023-01-01T00:00:00Z")
    store.add("Ana lives in Lisbon.", key="city", occurred_at="2025-01-01T00:00:00Z")
    result = store.query("where did Ana live in 2023?", now=NOW)
    assert texts(result) == ["Ana lives in Lisbon."]
    assert result.temporal is not None
    assert result.temporal.suggested_as_of == datetime(2023, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    then = store.query(result.query, as_of=result.temporal.suggested_as_of, now=NOW)
    assert texts(then) == ["Ana lives in Porto."]


def test_what_does_not_hold_can_be_let_in_four_nats_lower_and_marked(store: MemoryStore) -> None:
    store.add("Ana lives in Porto.", key="city", occurred_at="2023-01-01T00:00:00Z")
    store.add("Ana lives in Lisbon.", key="city", occurred_at="2025-01-01T00:00:00Z")
    store.add("Ana lives in Rome.", occurred_at="2030-01-01T00:00:00Z")
    result = store.query("Ana lives in Porto.", now=NOW, include_invalid=True, explain=True)
    assert {hit.memory.text: hit.status for hit in result.hits} == {
        "Ana lives in Porto.": "ended",
        "Ana lives in Lisbon.": "current",
        "Ana lives in Rome.": "upcoming",
    }
    assert "invalid_included" in result.flags
    assert result.suppressed == ()
    for hit in result.hits:
        found = {part.name: part.nats for part in hit.parts}
        assert found.get("invalid", 0.0) == (0.0 if hit.status == "current" else -4.0)
        assert sum(found.values()) == pytest.approx(hit.score, abs=1e-9)
    assert store.query("Ana", now=NOW).hits[0].status == "current"


def test_of_near_duplicates_the_newest_comes_first_where_that_is_asked_for(
    store: MemoryStore,
) -> None:
    store.add("The wifi password is apple tree.", occurred_at="2024-01-01T00:00:00Z")
    store.add("The wifi password is cherry tree.", occurred_at="2025-01-01T00:00:00Z")
    store.add("The printer is broken.", occurred_at="2026-01-01T00:00:00Z")
    question = "is the wifi password apple tree?"
    options: dict[str, Any] = {"now": NOW, "explain": True, "profile": "semantic"}
    plain = store.query(question, **options)
    assert texts(plain)[0] == "The wifi password is apple tree."
    guarded = store.query(question, newest_wins=True, **options)
    assert texts(guarded)[0] == "The wifi password is cherry tree."
    assert texts(guarded)[2] == texts(plain)[2]
    assert [hit.score for hit in guarded.hits] == pytest.approx([hit.score for hit in plain.hits])
    assert "near_duplicate_guard" in guarded.flags
    assert "near_duplicate_guard" not in plain.flags
    for hit in guarded.hits:
        assert sum(part.nats for part in hit.parts) == pytest.approx(hit.score, abs=1e-9)


def test_an_explanation_says_how_a_hit_came_to_its_place(store: MemoryStore) -> None:
    store.add("The wifi password is apple.", occurred_at="2020-01-01T00:00:00Z", confidence=0)
    best = store.add("The wifi password is apple pie.", occurred_at=NOW)
    for source in ("Ana", "Bruno", "Carla"):
        store.confirm(best.id, source=source)
    store.reinforce(best.id, at=NOW)
    store.set_importance(best.id, 1.0)
    result = store.query(
        "the wifi password is apple", now=NOW, profile="trusted", explain=True, weights={"cap": 9}
    )
    first = result.hits[0]
    assert first.memory.id == best.id
    assert first.explanation is not None
    assert (first.explanation.semantic_rank, first.rank) == (2, 1)
    told = {part.name: part.why for part in first.parts}
    assert told["trust"] == "3 confirm, 0 contradict: confidence 8.0 of 10"
    assert told["use"] == "used 1 time, last 0 days ago"
    assert told["importance"] == "set to 1"
    explained = first.explanation
    nats = sum(part.nats for part in first.parts if part.weight is not None)
    assert nats == pytest.approx(explained.adjustment, abs=1e-9)
    assert explained.adjustment == pytest.approx(explained.uncapped * explained.scale, abs=1e-9)
    assert abs(explained.adjustment) <= explained.cap == 9
    assert result.profile == "trusted"
    assert result.profile_version == "trusted@v1+weights"
    assert store.query("wifi").hits[0].explanation is None


def test_a_kind_says_how_fast_a_memory_ages_and_its_own_half_life_wins(store: MemoryStore) -> None:
    for text, options in (
        ("a task", {"kind": "task"}),
        ("a fact", {"kind": "fact"}),
        ("an evergreen", {"kind": "evergreen"}),
        ("its own", {"kind": "evergreen", "half_life": timedelta(days=14)}),
        ("no kind", {}),
    ):
        store.add(f"tea: {text}", occurred_at="2026-10-18T00:00:00Z", **options)
    result = store.query("tea", now=NOW, explain=True, profile="balanced")
    found = {
        hit.memory.text[5:]: next(
            (part.value for part in hit.parts if part.name == "currency"), 0.0
        )
        for hit in result.hits
    }
    assert found["a task"] == pytest.approx(0.0, abs=1e-12)
    assert found["its own"] == pytest.approx(0.0, abs=1e-12)
    assert found["an evergreen"] == 0.0
    assert 0.85 < found["no kind"] < found["a fact"] < 1.0
    with pytest.raises(BadInput, match="Known: task"):
        store.add("x", kind="rumour")


def test_one_hop_reaches_what_is_mentioned_with_the_entity_only_where_it_is_switched_on(
    store: MemoryStore,
) -> None:
    for number in range(3):
        store.add(f"Ana met Bruno at event number {number}.")
    store.add("Bruno bakes bread.")
    store.add("Tea is nice.")
    question = "what does Ana like?"
    assert "entity" not in parts(store.query(question, explain=True), "Bruno bakes bread.")
    path = store.path
    store.close()
    with MemoryStore.open(path, settings={"spreading": 0.5}) as spreading:
        result = spreading.query(question, explain=True)
        reached = parts(result, "Bruno bakes bread.")["entity"]
        assert 0 < reached < parts(result, "Ana met Bruno at event number 0.")["entity"]
        assert "entity" not in parts(result, "Tea is nice.")
    for wrong in (-0.1, 1.5, True, "much"):
        with pytest.raises(BadInput, match="spreading"):
            MemoryStore.open(path, settings={"spreading": wrong})


def test_p16_equal_metadata_leaves_the_semantic_order(store: MemoryStore) -> None:
    store.add_many(
        {"text": f"tea and {what}", "occurred_at": "2026-01-01T00:00:00Z", "confidence": 9.0}
        for what in ("milk", "honey", "lemon", "a biscuit", "nothing else")
    )
    orders = {
        name: texts(store.query("tea with lemon", profile=name, now=NOW)) for name in PROFILES
    }
    assert len(set(map(tuple, orders.values()))) == 1


def test_exactness_is_claimed_only_where_nothing_outside_could_have_won(
    tmp_path: Path,
) -> None:
    few: dict[str, Any] = {"candidates": 4}
    with MemoryStore.open(tmp_path / "few.mem", settings=few) as store:
        for number in range(12):
            store.add(f"note {number} about the weather in week {number}", entities=[])
        store.add("Ana's cello lesson is on Thursday at noon.", entities=[])
        assert store.query("cello lesson on Thursday", limit=1, profile="semantic").exact_topk
        assert not store.query("the weather note", limit=1).exact_topk
        assert store.query("cello", limit=10, where={"text": {"contains": "cello"}}).exact_topk
