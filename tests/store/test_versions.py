"""Changing or forgetting a memory only as long as it is what the caller knew."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from memstore import BadInput, Memory, MemoryStore, VersionConflict


def test_every_change_makes_another_version(store: MemoryStore) -> None:
    memory = store.add("tea", key="drink")
    seen = {memory.version}
    changes = (
        lambda: store.update(memory.id, text="coffee"),
        lambda: store.update(memory.id, metadata={"a": [1, {"b": None}]}),
        lambda: store.update(memory.id, half_life=timedelta(days=3)),
        lambda: store.reinforce(memory.id),
        lambda: store.confirm(memory.id, source="ana"),
        lambda: store.set_importance(memory.id, 0.5),
        lambda: store.retract(memory.id, reason="never so"),
    )
    for n, change in enumerate(changes, start=2):
        change()
        seen.add(store.get(memory.id).version)
        assert len(seen) == n
    with MemoryStore.open(store.path) as other:
        assert other.get(memory.id).version == store.get(memory.id).version
    assert all(len(version) == 16 for version in seen)


def test_proposals_are_no_part_of_a_version(store: MemoryStore) -> None:
    store.add("Ana drinks green tea in the morning")
    new = store.add("Ana drinks green tea in the morning!")
    assert new.proposals
    assert new.version == store.get(new.id).version


def test_a_memory_is_changed_only_in_the_version_that_was_named(store: MemoryStore) -> None:
    memory = store.add("tea")
    changed = store.update(memory.id, text="coffee", if_version=memory.version)
    assert changed.text == "coffee"
    with pytest.raises(
        VersionConflict, match=f"has version {changed.version}, not '{memory.version}'"
    ):
        store.update(memory.id, text="water", if_version=memory.version)
    with pytest.raises(VersionConflict):
        store.forget(memory.id, if_version=memory.version)
    assert store.get(memory.id) == changed
    assert store.forget(memory.id, if_version=changed.version).ids == (memory.id,)


def test_a_version_is_that_of_one_memory(store: MemoryStore) -> None:
    one, two = store.add("tea"), store.add("coffee")
    for ids, where in (([one.id, two.id], None), (None, {"metadata.a": 1})):
        with pytest.raises(BadInput, match="Give its id alone"):
            store.forget(ids, where=where, if_version=one.version)
    with pytest.raises(BadInput, match="if_version"):
        store.update(one.id, text="x", if_version=5)  # type: ignore[arg-type]
    assert len(store.list().memories) == 2


def test_of_many_who_change_the_same_version_one_does(store: MemoryStore) -> None:
    memory = store.add("tea", metadata={"n": 0})
    done: list[Memory] = []
    refused: list[VersionConflict] = []
    start = threading.Barrier(6)

    def change(n: int) -> None:
        start.wait()
        try:
            done.append(store.update(memory.id, metadata={"n": n}, if_version=memory.version))
        except VersionConflict as error:
            refused.append(error)

    threads = [threading.Thread(target=change, args=(n,)) for n in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(refused)) == (1, 5)
    assert store.get(memory.id) == done[0]


def test_counters_kept_by_versions_lose_no_increment(store: MemoryStore) -> None:
    memory = store.add("tea", metadata={"n": 0})

    def count() -> None:
        for _ in range(5):
            while True:
                current = store.get(memory.id)
                try:
                    store.update(
                        memory.id,
                        metadata={"n": current.metadata["n"] + 1},
                        if_version=current.version,
                    )
                    break
                except VersionConflict:
                    continue

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(memory.id).metadata == {"n": 20}
