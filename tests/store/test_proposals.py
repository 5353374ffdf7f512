"""What a new memory may repeat or replace is named, and nothing is done about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore import BadInput, MemoryStore, StoreLocked
from memstore.store import proposing


@pytest.fixture(scope="module")
def meaning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proposals") / "agent.mem"
    with MemoryStore.open(path, encoder="minilm") as store:
        store.add_many(
            [
                "Ana lives in Porto.",
                "I prefer Italian food for dinner.",
                "Bruno has a meeting on Tuesday.",
                {"text": "Ana lives in Braga.", "namespace": "other"},
            ]
        )
    return path


def test_a_memory_about_the_same_things_is_proposed_as_superseded(meaning: Path) -> None:
    with MemoryStore.open(meaning) as store:
        new = store.add("Ana lives in Lisbon now.")
        (proposal,) = new.proposals
        assert (proposal.relation, proposal.memory.text) == ("supersession", "Ana lives in Porto.")
        assert proposal.shared == ("Ana",)
        assert 0.5 < proposal.similarity < 1.0
        # nothing was done
        old = store.get(proposal.memory.id)
        assert (old.valid_to, old.superseded_by) == (None, None)
        assert store.get(new.id).proposals == ()
        store.forget(new.id)


def test_nearly_the_same_words_are_a_near_duplicate_and_come_first(meaning: Path) -> None:
    with MemoryStore.open(meaning) as store:
        new = store.add("I prefer Italian food for dinner!")
        assert new.proposals[0].relation == "near_duplicate"
        assert new.proposals[0].memory.text == "I prefer Italian food for dinner."
        again = store.add("I prefer Italian food for dinner!")
        assert (again.id, again.proposals) == (new.id, ())  # it was there: nothing new was said
        store.forget(new.id)


def test_what_is_about_something_else_is_not_proposed(meaning: Path) -> None:
    with MemoryStore.open(meaning) as store:
        new = store.add("The printer on the third floor is out of toner.")
        assert new.proposals == ()
        store.forget(new.id)


def test_sealed_memories_are_proposed_too(meaning: Path, tmp_path: Path) -> None:
    with MemoryStore.open(meaning) as store:
        copy = store.backup(tmp_path / "copy.mem")
    with MemoryStore.open(copy) as store:
        store.compact()
        (proposal,) = store.add("Ana lives in Lisbon now.").proposals
        assert proposal.memory.text == "Ana lives in Porto."


def test_what_holds_no_more_is_not_proposed(store: MemoryStore) -> None:
    ended = store.add("tea pot lid", valid_to="2020-01-01T00:00:00Z")
    retracted = store.add("tea pot lid top")
    store.retract(retracted.id, reason="no")
    keyed = store.add("tea pot lid", key="k")
    assert ended.id != keyed.id
    assert [item.memory.id for item in store.add("tea pot lid cup").proposals] in ([], [keyed.id])
    superseding = store.add("tea pot lid", key="k", source="x")
    assert keyed.id not in [item.memory.id for item in superseding.proposals]


def test_of_an_encoder_without_measured_thresholds_only_near_duplicates_are_named(
    store: MemoryStore,
) -> None:
    store.add("red blue green")
    assert store.add("red blue green", source="x").proposals[0].relation == "near_duplicate"
    assert store.add("red blue white black").proposals == ()


def test_another_namespace_is_never_proposed_from(store: MemoryStore) -> None:
    for namespace in ("a", "a/b", "b"):
        store.add("red blue green", namespace=namespace)
    found = store.add("red blue green", namespace="a", source="x").proposals
    assert [item.memory.namespace for item in found] == ["a"]


def test_none_are_looked_for_where_none_are_wanted(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    with MemoryStore.open(store_path, settings={"proposals": 0}) as store:
        monkeypatch.setattr(proposing, "propose", never)
        store.add("tea")
    with pytest.raises(BadInput, match="proposals"):
        MemoryStore.open(store_path, settings={"proposals": -1})


def test_a_memory_that_is_stored_is_returned_though_nobody_can_look_around(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, fingerprint: Callable[[Any], str]
) -> None:
    def locked(*_: Any, **__: Any) -> Any:
        raise StoreLocked("busy")

    monkeypatch.setattr(proposing, "propose", locked)
    memory = store.add("tea")
    assert store.get(memory.id).text == "tea"
