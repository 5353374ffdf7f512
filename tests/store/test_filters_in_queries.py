"""A filter is applied before anything is scored: it never costs an answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore import BadInput, Memory, MemoryStore

COUNT = 180  # more than the candidates a query looks at
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = ["billing", "tax", "Tax", "travel"]
SOURCES = ["crm", "mail", None]
PEOPLE = ["Ana", "Bruno", "Carla"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    chance = random.Random(7)
    words = [f"word{n}" for n in range(30)]
    path = tmp_path_factory.mktemp("filters") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as opened:
        opened.add_many(
            {
                "text": " ".join(chance.sample(words, 5)),
                "key": f"k{n}" if n % 3 else None,
                "occurred_at": EPOCH + timedelta(days=chance.randrange(30)),
                "confidence": chance.randrange(11),
                "source": chance.choice(SOURCES),
                "metadata": {"topic": chance.choice(TOPICS), "n": n % 7, "tags": [n % 3, "x"]}
                if n % 5
                else {},
                "entities": chance.sample(PEOPLE, chance.randrange(3)),
            }
            for n in range(COUNT)
        )
        yield opened


Check = tuple[dict[str, Any], Callable[[Memory], bool]]


def _checks() -> st.SearchStrategy[Check]:
    def occurred(memory: Memory) -> datetime:
        assert memory.occurred_at is not None
        return memory.occurred_at

    days = st.integers(-1, 31).map(lambda day: EPOCH + timedelta(days=day))
    return st.one_of(
        st.sampled_from(SOURCES).map(lambda x: ({"source": x}, lambda m: m.source == x)),
        st.sampled_from(TOPICS).map(
            lambda x: ({"metadata.topic": {"ne": x}}, lambda m: m.metadata.get("topic") != x)
        ),
        st.lists(st.sampled_from(TOPICS)).map(
            lambda x: ({"metadata.topic": {"in": x}}, lambda m: m.metadata.get("topic") in x)
        ),
        st.integers(-1, 8).map(
            lambda x: ({"metadata.n": {"gt": x}}, lambda m: m.metadata.get("n", -9) > x)
        ),
        st.sampled_from([0, 1, "x", "y"]).map(
            lambda x: (
                {"metadata.tags": {"contains": x}},
                lambda m: x in m.metadata.get("tags", ()),
            )
        ),
        st.integers(0, 10).map(
            lambda x: ({"confidence": {"gte": x}}, lambda m: m.confidence >= x - 1e-9)
        ),
        days.map(lambda x: ({"occurred_at": {"lt": x}}, lambda m: occurred(m) < x)),
        days.map(lambda x: ({"occurred_at": {"gte": x.isoformat()}}, lambda m: occurred(m) >= x)),
        st.booleans().map(lambda x: ({"key": {"exists": x}}, lambda m: (m.key is not None) == x)),
        st.sampled_from(["ana", "BRUNO", "Dora"]).map(
            lambda x: ({"entity": x}, lambda m: x.casefold() in {e.casefold() for e in m.entities})
        ),
    )


def _combined(parts: st.SearchStrategy[Check]) -> st.SearchStrategy[Check]:
    several = st.lists(parts, min_size=1, max_size=3)
    return st.one_of(
        several.map(
            lambda of: ({"or": [w for w, _ in of]}, lambda m: any(check(m) for _, check in of))
        ),
        several.map(
            lambda of: ({"and": [w for w, _ in of]}, lambda m: all(check(m) for _, check in of))
        ),
        parts.map(lambda one: ({"not": one[0]}, lambda m: not one[1](m))),
    )


@given(check=st.recursive(_checks(), _combined, max_leaves=5), limit=st.integers(1, COUNT))
def test_a_filtered_query_is_the_unfiltered_one_filtered_afterwards(
    store: MemoryStore, check: Check, limit: int
) -> None:
    where, allowed = check
    text = "word1 word2 word3"
    everything = store.query(text, limit=COUNT).hits
    assert len(everything) == COUNT
    expected = [(hit.memory.id, hit.score) for hit in everything if allowed(hit.memory)]
    found = [(hit.memory.id, hit.score) for hit in store.query(text, limit=limit, where=where).hits]
    assert found == expected[:limit]
    listed = store.list(where=where, limit=COUNT).memories
    assert {memory.id for memory in listed} == {id_ for id_, _ in expected}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"sources": "crm"}, "Known fields: id, key"),
        ({"metadata": "x"}, "Known fields"),
        ({"source": {"like": "c%"}}, "Known operators: eq, ne"),
        ({"source": {}}, "Known operators"),
        ({"source": 5}, "is text"),
        ({"confidence": "high"}, "is a number"),
        ({"occurred_at": {"gte": "2026-01-01T00:00:00"}}, "no UTC offset"),
        ({"occurred_at": {"gte": 5}}, "is a time"),
        ({"or": []}, "takes a list"),
        ({"source": {"in": "crm"}}, "takes a list"),
        ({"source": {"exists": 1}}, "true or false"),
        (["source"], "is a mapping"),
        ("source", "is a mapping"),
        ([], "is a mapping"),
        ("", "is a mapping"),
        (0, "is a mapping"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    store: MemoryStore, where: Any, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        store.query("word1", where=where)


def test_an_empty_filter_lets_everything_pass(store: MemoryStore) -> None:
    assert (
        store.query("word1", where={}, limit=COUNT).hits == store.query("word1", limit=COUNT).hits
    )


def test_memories_are_filtered_by_kind_and_by_how_often_they_were_used(store: MemoryStore) -> None:
    used = store.add("tea in the morning", kind="preference", namespace="kinds")
    store.add("tea at five", kind="event", namespace="kinds")
    store.reinforce(used.id)
    for where in ({"kind": "preference"}, {"uses": {"gte": 1}}, {"kind": {"ne": "event"}}):
        found = store.query("tea", where=where, namespace="kinds").hits
        assert [hit.memory.id for hit in found] == [used.id]
    assert store.query("tea", where={"uses": 2}, namespace="kinds").hits == ()
    both = {"kind": {"in": ["event", "preference"]}}
    assert len(store.list(where=both, namespace="kinds").memories) == 2
