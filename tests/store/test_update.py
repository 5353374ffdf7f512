"""Changing a memory: its id stays, its history tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memstore import BadInput, MemoryNotFound, MemoryStore


def test_a_new_text_is_found_under_the_same_id_and_the_old_one_is_not(store: MemoryStore) -> None:
    memory = store.add("tea with milk", key="drink")
    changed = store.update(memory.id, text="coffee without sugar")
    assert (changed.id, changed.key, changed.text) == (memory.id, "drink", "coffee without sugar")
    assert store.get(memory.id) == changed
    hit = store.query("coffee sugar").hits[0]
    assert hit.memory == changed
    assert hit.passage.text == changed.text
    assert hit.score == pytest.approx(1.0, abs=0.02)
    assert store.query("tea milk").hits[0].score < 0.7
    assert store.verify().clean


def test_the_history_holds_what_was_there_before(store: MemoryStore) -> None:
    memory = store.add("tea", source="crm", metadata={"a": 1}, confidence=5)
    store.update(memory.id, text="coffee", metadata={"b": 2})
    store.update(memory.id, valid_to="2030-01-01T00:00:00Z")
    added, first, second = store.history(memory.id)
    assert (added.verb, added.source) == ("add", "crm")
    assert (first.verb, second.verb) == ("update", "update")
    assert first.details == {"text": ["tea", "coffee"], "metadata": [{"a": 1}, {"b": 2}]}
    assert set(second.details) == {"valid_to"}
    assert added.id < first.id < second.id
    assert {event.memory_id for event in (added, first, second)} == {memory.id}


def test_an_update_that_changes_nothing_leaves_no_event(store: MemoryStore) -> None:
    memory = store.add("tea", title="Drinks", source="crm")
    assert store.update(memory.id, text="tea", title="Drinks", source="crm") == memory
    assert store.update(memory.id) == memory
    assert len(store.history(memory.id)) == 1


FULL: dict[str, Any] = {
    "title": "Drinks",
    "metadata": {"a": 1},
    "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
    "valid_from": datetime(2026, 1, 2, tzinfo=UTC),
    "valid_to": datetime(2026, 1, 3, tzinfo=UTC),
    "half_life": timedelta(days=3),
    "confidence": 8.0,
    "source": "crm",
}


@pytest.mark.parametrize("field", FULL)
def test_none_clears_a_field_and_leaves_the_others(store: MemoryStore, field: str) -> None:
    memory = store.add("tea", **FULL)
    changed = store.update(memory.id, **{field: None})
    empty = {"metadata": {}, "confidence": 5.0}.get(field)
    assert getattr(changed, field) == empty
    for other in FULL.keys() - {field}:
        assert getattr(changed, other) == getattr(memory, other)


@pytest.mark.parametrize("field", FULL)
def test_every_field_can_be_set_later(store: MemoryStore, field: str) -> None:
    memory = store.add("tea")
    changed = store.update(memory.id, **{field: FULL[field]})
    assert getattr(changed, field) == FULL[field]
    assert store.get(memory.id) == changed


def test_entities_follow_a_new_text_unless_they_were_given(store: MemoryStore) -> None:
    extracted = store.add("We met Ana López there.")
    given = store.add("We met Ana López here.", entities=["Bruno"])
    assert "Carla Dias" in store.update(extracted.id, text="We met Carla Dias there.").entities
    assert store.update(given.id, text="We met Carla Dias here.").entities == ("Bruno",)
    assert store.update(given.id, entities=["Eva"]).entities == ("Eva",)
    assert store.update(given.id, entities=None).entities == ("Carla Dias",)
    names = {entity.name: entity.memories for entity in store.entities()}
    assert names == {"Carla Dias": 2}
    assert store.verify().clean


def test_a_speaker_stays_an_entity_when_the_text_changes(store: MemoryStore) -> None:
    [memory] = store.add_many([{"text": "I like tea.", "speaker": "Ana"}])
    assert store.update(memory.id, text="Ana: I like milk.").entities == ("Ana",)


def test_a_new_text_without_the_speaker_gets_the_speaker_in_front(store: MemoryStore) -> None:
    store.add("x", entities=["ANA  MARÍA", "user:42"])  # decides how the entity is displayed
    for speaker in ("Ana  María", "ana maría", "user:42"):
        [memory] = store.add_many([{"text": "I like tea.", "speaker": speaker}])
        changed = store.update(memory.id, text="I like milk.")
        assert changed.text == f"{speaker}: I like milk."
        assert store.query("I like milk", limit=3).hits[0].passage.text.endswith("I like milk.")
        assert store.update(memory.id, text=f"{speaker}: I like tea.").text == memory.text
        assert store.update(memory.id, text="I like tea.") == memory
        assert len(store.history(memory.id)) == 3
        assert store.update(memory.id, title="Drinks").text == memory.text


def test_an_update_moves_the_reference_time_only_with_a_time(
    store: MemoryStore,
    tmp_path: Path,
    sql: Callable[..., list[tuple[Any, ...]]],
    stamp: Callable[[Path, str], None],
    reseal: Callable[[Path], None],
) -> None:
    times = {
        "observed_at": "2026-01-03T00:00:00Z",
        "valid_from": "2026-01-02T00:00:00Z",
        "occurred_at": "2026-01-01T00:00:00Z",
    }
    store.add("tea")
    store.export(tmp_path / "out.jsonl")
    header, line, _ = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    item = json.dumps({**json.loads(line), "observed_at": times["observed_at"]})
    (tmp_path / "out.jsonl").write_text(f"{header}\n{item}\n", encoding="utf-8")
    reseal(tmp_path / "out.jsonl")
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        other.import_(tmp_path / "out.jsonl")
        [memory] = other.list().memories

        def reference() -> int:
            return int(sql(other.path, "SELECT t_ref FROM memory")[0][0])

        def microseconds(name: str) -> int:
            return int(datetime.fromisoformat(times[name]).timestamp()) * 1_000_000

        other.update(memory.id, title="Drinks", valid_to="2030-01-01T00:00:00Z")
        assert reference() == microseconds("observed_at")
        other.update(memory.id, valid_from=times["valid_from"])
        assert reference() == microseconds("valid_from")
        other.update(memory.id, occurred_at=times["occurred_at"])
        assert reference() == microseconds("occurred_at")
        other.update(memory.id, occurred_at=None, valid_from=None)
        assert reference() == microseconds("observed_at")
        sql(other.path, "UPDATE memory SET t_ref = 5")
        stamp(other.path, "memory")
        other.update(memory.id, importance=0.5)
        assert reference() == 5


def test_validity_is_changed_by_an_update_in_every_open_handle(store: MemoryStore) -> None:
    memory = store.add("tea pot", occurred_at="2026-01-01T00:00:00Z")
    with MemoryStore.open(store.path) as other:
        assert len(other.query("tea").hits) == 1
        store.update(memory.id, valid_to="2026-02-01T00:00:00Z")
        assert other.query("tea").hits == ()
        assert len(other.query("tea", as_of="2026-01-15T00:00:00Z").hits) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"text": None},
        {"text": " "},
        {"text": "a\0b"},
        {"importance": None},
        {"importance": 1.5},
        {"confidence": float("nan")},
        {"confidence": 10**400},
        {"metadata": [1]},
        {"occurred_at": "2026-01-01T00:00:00"},
        {"valid_from": "2026-01-02T00:00:00Z", "valid_to": "2026-01-01T00:00:00Z"},
        {"half_life": 5},
        {"half_life": timedelta(0)},
        {"half_life": timedelta.max},
        {"half_life": timedelta(days=3_650_001)},
        {"entities": "Ana"},
        {"entities": [None]},
        {"source": ""},
    ],
)
def test_a_value_that_add_would_refuse_changes_nothing(
    store: MemoryStore, fingerprint: Callable[[Path], str], changes: dict[str, Any]
) -> None:
    memory = store.add("tea", title="Drinks")
    before = fingerprint(store.path)
    with pytest.raises(BadInput):
        store.update(memory.id, **{"title": "Other", **changes})
    assert fingerprint(store.path) == before


def test_an_end_before_the_stored_beginning_is_refused(store: MemoryStore) -> None:
    memory = store.add("tea", valid_from="2026-01-02T00:00:00Z")
    with pytest.raises(BadInput, match=r"valid_to .*is before valid_from"):
        store.update(memory.id, valid_to="2026-01-01T00:00:00Z")


def test_an_unknown_or_forgotten_memory_cannot_be_updated(store: MemoryStore) -> None:
    memory = store.add("tea")
    store.forget(memory.id)
    for id_ in (memory.id, "0" * 26, ""):
        with pytest.raises(MemoryNotFound):
            store.update(id_, text="coffee")


def test_a_new_text_is_not_extracted_from_when_the_writer_named_the_entities(store):
    for given in ([], ["Project X"]):
        memory = store.add(f"Nothing here about {len(given)}.", entities=given)
        changed = store.update(memory.id, text="Ana moved to Lisbon.")
        assert changed.entities == tuple(given)
    assert store.update(memory.id, entities=None).entities == ("Ana", "Lisbon")
    assert store.update(memory.id, text="Bruno lives in Rome.").entities == ("Bruno", "Rome")
