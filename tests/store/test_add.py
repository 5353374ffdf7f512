"""Storing single memories and lists of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memstore import BadInput, MemoryStore, NewMemory


def test_an_added_memory_is_returned_with_every_field_it_was_given(store: MemoryStore) -> None:
    memory = store.add(
        "Ana moved from Porto to Lisbon.",
        namespace="team/ana",
        key="ana.city",
        session="monday",
        title="Moving",
        occurred_at="2026-03-02T10:00:00+01:00",
        valid_from=datetime(2026, 3, 1, tzinfo=UTC),
        valid_to="2030-01-01T00:00:00.000001Z",
        half_life=timedelta(days=90),
        confidence=8,
        importance=0.5,
        source="crm",
        metadata={"topic": "move", "list": [1, {"deep": None}], "é": True},
        entities=["Ana", "Lisbon"],
    )
    assert len(memory.id) == 26
    assert (memory.namespace, memory.key, memory.session) == ("team/ana", "ana.city", "monday")
    assert (memory.title, memory.source) == ("Moving", "crm")
    assert memory.occurred_at == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert memory.valid_from == datetime(2026, 3, 1, tzinfo=UTC)
    assert memory.valid_to == datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert memory.half_life == timedelta(days=90)
    assert (memory.confidence, memory.importance) == (pytest.approx(8.0), 0.5)
    assert memory.metadata == {"topic": "move", "list": [1, {"deep": None}], "é": True}
    assert memory.entities == ("Ana", "Lisbon")
    assert memory.superseded_by is None
    assert store.get(memory.id) == memory


def test_a_memory_without_options_has_neutral_values_and_extracted_entities(
    store: MemoryStore,
) -> None:
    before = datetime.now(UTC)
    memory = store.add("We met Ana López in Lisbon.")
    assert memory.namespace == "default"
    assert (memory.confidence, memory.importance, dict(memory.metadata)) == (5.0, 0.0, {})
    assert before - timedelta(seconds=1) <= memory.recorded_at <= datetime.now(UTC)
    assert memory.recorded_at.tzinfo is UTC
    assert (memory.key, memory.session, memory.title, memory.source) == (None,) * 4
    assert (memory.occurred_at, memory.valid_from, memory.valid_to) == (None,) * 3
    assert "Ana López" in memory.entities


def test_an_empty_list_of_entities_means_that_there_are_none(store: MemoryStore) -> None:
    assert store.add("We met Ana López in Lisbon.", entities=[]).entities == ()


def test_what_add_returned_is_found_by_the_next_query_and_by_another_handle(
    store: MemoryStore,
) -> None:
    memory = store.add("The spare key is under the blue pot.")
    assert store.query("blue pot").hits[0].memory == memory
    with MemoryStore.open(store.path, read_only=True) as other:
        assert other.query("blue pot").hits[0].memory == memory


def test_adding_the_same_text_twice_leaves_one_undamaged_memory(store: MemoryStore) -> None:
    first = store.add("Tea, never coffee.")
    assert store.add("Tea, never coffee.") == first
    assert store.stats().memories == 1
    assert [hit.memory for hit in store.query("tea").hits] == [first]
    assert [event.verb for event in store.history(first.id)] == ["add"]


def test_the_same_text_in_another_namespace_or_with_other_fields_is_another_memory(
    store: MemoryStore,
) -> None:
    ids = {
        store.add("Tea, never coffee.").id,
        store.add("Tea, never coffee.", namespace="other").id,
        store.add("Tea, never coffee.", source="crm").id,
        store.add("Tea, never coffee.", metadata={"a": 1}).id,
        store.add("Tea, never coffee.", occurred_at="2026-01-01T00:00:00Z").id,
    }
    assert len(ids) == 5


def test_a_forgotten_text_can_be_added_again_as_a_new_memory(store: MemoryStore) -> None:
    first = store.add("Tea, never coffee.")
    store.forget(first.id)
    again = store.add("Tea, never coffee.")
    assert again.id != first.id
    assert [hit.memory.id for hit in store.query("tea").hits] == [again.id]


def test_a_memory_that_was_ended_is_stored_anew_when_it_is_said_again(store: MemoryStore) -> None:
    first = store.add("Ana works at Acme.")
    store.update(first.id, valid_to=datetime.now(UTC) - timedelta(seconds=1))
    assert store.query("Acme").hits == ()
    again = store.add("Ana works at Acme.")
    assert again.id != first.id
    assert [hit.memory.id for hit in store.query("Acme").hits] == [again.id]
    assert store.add("Ana works at Acme.") == again


def test_a_memory_added_with_a_past_end_is_not_stored_twice(store: MemoryStore) -> None:
    past = "2020-01-01T00:00:00Z"
    first = store.add("Ana worked at Acme.", valid_to=past)
    assert store.add("Ana worked at Acme.", valid_to=past) == first


def test_add_many_takes_objects_mappings_and_texts_in_order(store: MemoryStore) -> None:
    stored = store.add_many(
        [NewMemory(text="one", key="1"), {"text": "two", "namespace": "n"}, "three", "three"]
    )
    assert [memory.text for memory in stored] == ["one", "two", "three", "three"]
    assert stored[2] == stored[3]
    assert (stored[0].key, stored[1].namespace) == ("1", "n")
    assert store.stats().memories == 3


def test_add_many_of_nothing_stores_nothing(store: MemoryStore) -> None:
    assert store.add_many([]) == []
    assert store.stats().memories == 0


def test_a_speaker_is_an_entity_and_the_beginning_of_the_text(store: MemoryStore) -> None:
    plain, prefixed = store.add_many(
        [
            {"text": "I like tea.", "speaker": "Ana"},
            {"text": "Ana: I like milk.", "speaker": "Ana"},
        ]
    )
    assert plain.text == "Ana: I like tea."
    assert prefixed.text == "Ana: I like milk."
    assert plain.entities == prefixed.entities == ("Ana",)


@pytest.mark.parametrize(
    "bad",
    [
        {"text": " "},
        {"text": "x", "confidence": 11},
        {"text": "x", "when": "now"},
        {"namespace": "n"},
        NewMemory(text="x", valid_from="2026-01-02T00:00:00Z", valid_to="2026-01-01T00:00:00Z"),
        7,
    ],
)
def test_one_bad_memory_of_many_keeps_all_of_them_out(
    store: MemoryStore, fingerprint: Callable[[Path], str], bad: object
) -> None:
    before = fingerprint(store.path)
    with pytest.raises(BadInput):
        store.add_many(["good", bad, "also good"])  # type: ignore[list-item]
    assert fingerprint(store.path) == before


def test_the_same_key_twice_in_one_call_is_refused_and_nothing_is_stored(
    store: MemoryStore, fingerprint: Callable[[Path], str]
) -> None:
    before = fingerprint(store.path)
    with pytest.raises(BadInput, match=r"'city'.*twice"):
        store.add_many([{"text": "Porto", "key": "city"}, {"text": "Lisbon", "key": "city"}])
    assert fingerprint(store.path) == before
    both = [{"text": "Porto", "key": "city", "namespace": name} for name in ("a", "b")]
    assert len(store.add_many(both)) == 2


@pytest.mark.parametrize("given", ["one text", {"text": "one"}, NewMemory(text="one")])
def test_add_many_refuses_what_is_not_a_list(store: MemoryStore, given: object) -> None:
    with pytest.raises(BadInput, match="list of memories"):
        store.add_many(given)  # type: ignore[arg-type]
    assert store.stats().memories == 0


def test_ids_sort_in_the_order_of_storing(store: MemoryStore) -> None:
    ids = []
    for number in range(5):
        ids.append(store.add(f"number {number}").id)
    milliseconds = [id_[:10] for id_ in ids]
    assert milliseconds == sorted(milliseconds)
    assert [memory.id for memory in store.list().memories] == ids
