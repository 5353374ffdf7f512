"""One key, several versions: which of them holds when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from memstore import MemoryNotFound, MemoryStore

JANUARY, MARCH, MAY, JULY = (f"2026-0{month}-01T00:00:00Z" for month in (1, 3, 5, 7))


def _answer(store: MemoryStore, **when: str) -> list[str]:
    return [hit.memory.text for hit in store.query("city", **when).hits]  # type: ignore[arg-type]


def test_the_same_key_with_the_same_content_changes_nothing(store: MemoryStore) -> None:
    first = store.add("city Porto", key="city")
    assert store.add("city Porto", key="city") == first
    assert store.stats().memories == 1


def test_other_content_under_a_key_ends_the_earlier_memory(store: MemoryStore) -> None:
    old = store.add("city Porto", key="city")
    new = store.add("city Lisbon", key="city")
    assert _answer(store) == ["city Lisbon"]
    ended = store.get(old.id)
    assert ended.superseded_by == new.id
    assert ended.valid_to == new.recorded_at
    assert store.get_by_key("city") == new
    assert [event.verb for event in store.history(old.id)] == ["add", "supersede"]
    assert store.history(old.id)[1].details["by"] == new.id


def test_a_superseded_memory_is_still_the_answer_for_its_own_time(store: MemoryStore) -> None:
    store.add("city Porto", key="city", occurred_at=JANUARY)
    store.add("city Lisbon", key="city", occurred_at=MAY)
    assert _answer(store, as_of=MARCH) == ["city Porto"]
    assert _answer(store, as_of=MAY) == ["city Lisbon"]  # half-open: the new one begins
    assert _answer(store, as_of="2026-04-30T23:59:59.999999Z") == ["city Porto"]
    assert _answer(store, as_of="2025-12-31T00:00:00Z") == []
    assert _answer(store, now=MARCH) == ["city Porto"]
    assert _answer(store, now=JULY) == ["city Lisbon"]


def test_a_value_that_returns_becomes_the_present_one_again(store: MemoryStore) -> None:
    first = store.add("city Porto", key="city")
    second = store.add("city Lisbon", key="city")
    third = store.add("city Porto", key="city")
    assert third.id not in (first.id, second.id)
    assert _answer(store) == ["city Porto"]
    assert store.get(second.id).superseded_by == third.id
    assert store.add("city Porto", key="city") == third
    assert store.stats().memories == 3


def test_repeating_a_dated_statement_that_was_superseded_changes_nothing(
    store: MemoryStore,
) -> None:
    first = store.add("city Porto", key="city", occurred_at=JANUARY)
    store.add("city Lisbon", key="city", occurred_at=MARCH)
    again = store.add("city Porto", key="city", occurred_at=JANUARY)
    assert again.id == first.id
    assert _answer(store) == ["city Lisbon"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_versions_answer_the_same_in_whatever_order_they_arrive(
    store: MemoryStore, order: tuple[int, ...]
) -> None:
    versions = [("city Porto", JANUARY), ("city Lisbon", MARCH), ("city Faro", MAY)]
    for position in order:
        text, time = versions[position]
        store.add(text, key="city", occurred_at=time)
    assert _answer(store, as_of="2026-02-01T00:00:00Z") == ["city Porto"]
    assert _answer(store, as_of="2026-04-01T00:00:00Z") == ["city Lisbon"]
    assert _answer(store, as_of=JULY) == ["city Faro"]
    assert store.get_by_key("city").text == "city Faro"
    by_text = {memory.text: memory for memory in store.list().memories}
    chain = [by_text[text] for text, _ in versions]
    assert [memory.superseded_by for memory in chain] == [chain[1].id, chain[2].id, None]
    assert [memory.valid_to for memory in chain] == [
        chain[1].occurred_at,
        chain[2].occurred_at,
        None,
    ]


def test_of_two_versions_with_one_beginning_the_later_stored_one_holds(store: MemoryStore) -> None:
    store.add("city Porto", key="city", occurred_at=JANUARY)
    store.add("city Lisbon", key="city", occurred_at=JANUARY)
    assert _answer(store, as_of=JANUARY) == ["city Lisbon"]
    assert _answer(store) == ["city Lisbon"]
    assert store.get_by_key("city").text == "city Lisbon"


def test_a_version_that_begins_in_the_future_leaves_the_present_one_until_then(
    store: MemoryStore,
) -> None:
    soon = datetime.now(UTC) + timedelta(days=30)
    old = store.add("city Porto", key="city")
    store.add("city Lisbon", key="city", valid_from=soon)
    assert _answer(store) == ["city Porto"]
    assert store.add("city Porto", key="city").id == old.id  # it still holds
    assert _answer(store, as_of=(soon + timedelta(days=1)).isoformat()) == ["city Lisbon"]
    assert store.get(old.id).valid_to == soon


def test_an_end_of_its_own_is_not_extended_by_a_successor(store: MemoryStore) -> None:
    old = store.add("city Porto", key="city", valid_from=JANUARY, valid_to=MARCH)
    store.add("city Lisbon", key="city", valid_from=MAY)
    assert store.get(old.id).valid_to == datetime(2026, 3, 1, tzinfo=UTC)
    assert _answer(store, as_of="2026-04-01T00:00:00Z") == []


def test_an_answer_as_known_then_uses_the_ends_known_then(store: MemoryStore) -> None:
    store.add("city Porto", key="city", occurred_at=JANUARY)
    known = store.get_by_key("city").recorded_at
    store.add("city Lisbon", key="city", occurred_at=MARCH)
    assert _answer(store, as_of=JULY, known_at=known.isoformat()) == ["city Porto"]
    assert _answer(store, as_of=JULY) == ["city Lisbon"]


def test_adding_again_what_was_updated_returns_the_corrected_memory(store: MemoryStore) -> None:
    first = store.add("city Portoo", key="city")
    fixed = store.update(first.id, text="city Porto")
    assert store.add("city Portoo", key="city") == fixed
    assert _answer(store) == ["city Porto"]


def test_the_value_before_a_forgotten_one_can_be_stated_again(store: MemoryStore) -> None:
    store.add("city Porto", key="city")
    wrong = store.add("city Lisbon", key="city")
    store.forget(wrong.id)
    assert _answer(store) == []  # nothing comes back by itself
    store.add("city Porto", key="city")
    assert _answer(store) == ["city Porto"]


def test_keys_of_different_namespaces_have_nothing_to_do_with_each_other(
    store: MemoryStore,
) -> None:
    for name in ("a", "a/b", "A", "ab"):
        store.add(f"city of {name}", key="city", namespace=name)
    for name in ("a", "a/b", "A", "ab"):
        assert store.get_by_key("city", namespace=name).text == f"city of {name}"
    with pytest.raises(MemoryNotFound):
        store.get_by_key("city")
    with pytest.raises(MemoryNotFound):
        store.get_by_key("town", namespace="a")
