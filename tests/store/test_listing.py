"""Reading without a question: get, list, history, entities, stats."""

from __future__ import annotations

import pytest

from memstore import BadInput, MemoryNotFound, MemoryStore


def test_get_returns_the_memory_or_says_that_there_is_none(store: MemoryStore) -> None:
    memory = store.add("tea")
    assert store.get(memory.id) == memory
    with pytest.raises(MemoryNotFound, match="never stored here, or it was forgotten"):
        store.get("0" * 26)


def test_pages_hold_every_memory_once_while_others_add_and_forget(store: MemoryStore) -> None:
    first = [store.add(f"memory {n}").id for n in range(10)]
    seen: list[str] = []
    cursor = None
    turn = 0
    while True:
        page = store.list(limit=3, cursor=cursor)
        seen += [memory.id for memory in page.memories]
        if page.cursor is None:
            break
        cursor = page.cursor
        if turn < 4:
            store.add(f"late {turn}")
            store.forget(seen[turn])
        turn += 1
    assert seen[:10] == first
    assert len(seen) == len(set(seen)) == 14


def test_the_newest_come_first_when_asked_for(store: MemoryStore) -> None:
    ids = [store.add(f"memory {n}", namespace=f"n{n % 2}").id for n in range(9)]
    seen: list[str] = []
    cursor = None
    while True:
        page = store.list(namespace="*", limit=4, cursor=cursor, newest_first=True)
        seen += [memory.id for memory in page.memories]
        cursor = page.cursor
        if cursor is None:
            break
        store.add(f"late {len(seen)}")  # is before the first page: not looked back at
    assert seen == ids[::-1]
    assert [m.id for m in store.list(namespace="n0", newest_first=True).memories] == ids[::-2]


def test_a_cursor_of_the_other_order_is_refused(store: MemoryStore) -> None:
    for n in range(3):
        store.add(f"memory {n}")
    oldest, newest = (store.list(limit=1, newest_first=way).cursor for way in (False, True))
    for cursor, way in ((oldest, True), (newest, False)):
        with pytest.raises(BadInput, match="cursor"):
            store.list(cursor=cursor, newest_first=way)


def test_namespaces_are_counted_without_those_below(store: MemoryStore) -> None:
    assert store.namespaces() == ()
    for path in ("team/ana", "team", "team/ana", "teams", "default"):
        store.add(f"memory of {path} {len(store.list(namespace='*').memories)}", namespace=path)
    gone = store.add("gone", namespace="empty")
    store.forget(gone.id)
    found = {item.name: item.memories for item in store.namespaces()}
    assert found == {"default": 1, "team": 1, "team/ana": 2, "teams": 1}
    assert [item.name for item in store.namespaces(under="team")] == ["team", "team/ana"]
    assert store.namespaces(under="nowhere") == ()
    with pytest.raises(BadInput, match="namespace"):
        store.namespaces(under="a//b")


def test_the_last_page_has_no_cursor_even_when_it_is_full(store: MemoryStore) -> None:
    for n in range(4):
        store.add(f"memory {n}")
    page = store.list(limit=2)
    assert page.cursor is not None
    last = store.list(limit=2, cursor=page.cursor)
    assert (len(last.memories), last.cursor) == (2, None)
    assert store.list(limit=4).cursor is None


def test_a_list_holds_invalid_memories_too_and_obeys_filters(store: MemoryStore) -> None:
    store.add("old", key="k", source="crm")
    store.add("new", key="k", source="crm")
    store.add("other")
    assert [memory.text for memory in store.list().memories] == ["old", "new", "other"]
    found = store.list(where={"source": "crm", "superseded_by": None}).memories
    assert [memory.text for memory in found] == ["new"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, 5, "١"])
def test_a_made_up_cursor_is_refused(store: MemoryStore, cursor: str) -> None:
    with pytest.raises(BadInput, match="cursor"):
        store.list(cursor=cursor)


def test_the_history_of_an_unknown_id_is_an_error(store: MemoryStore) -> None:
    for id_ in ("0" * 26, ""):
        with pytest.raises(MemoryNotFound, match="never held"):
            store.history(id_)


def test_entities_are_counted_over_a_namespace_most_mentioned_first(store: MemoryStore) -> None:
    store.add("a", namespace="n", entities=["Ana", "Äpfel"])
    store.add("b", namespace="n/m", entities=["ana", "Bruno_1"])
    store.add("c", namespace="other", entities=["Ana", "Zoe"])
    found = store.entities(namespace="n")
    assert (found[0].name, found[0].memories) == ("Ana", 2)
    assert {entity.name for entity in found} == {"Ana", "Äpfel", "Bruno_1"}
    assert [entity.name for entity in store.entities(namespace="n", limit=1)] == ["Ana"]
    for prefix, names in (("AN", {"Ana"}), ("ä", {"Äpfel"}), ("%", set()), ("bruno_", {"Bruno_1"})):
        assert {entity.name for entity in store.entities(namespace="n", prefix=prefix)} == names


def test_stats_count_what_is_live(store: MemoryStore) -> None:
    empty = store.stats()
    assert (empty.memories, empty.passages, empty.vectors, empty.namespaces) == (0, 0, 0, 0)
    assert (empty.entities, empty.segments, empty.forgotten, dict(empty.sources)) == (0, 0, 0, {})
    assert (empty.encoder, empty.schema_version) == ("hashed", "0005")
    store.add("one two three", namespace="a", source="crm", entities=["Ana"])
    store.add("four five", namespace="b", source="crm", entities=["Ana", "Bruno"])
    gone = store.add("six", namespace="c", source="mail", entities=["Carla"])
    store.forget(gone.id)
    stats = store.stats()
    assert (stats.memories, stats.passages, stats.hot_passages, stats.vectors) == (2, 2, 2, 5)
    assert (stats.namespaces, stats.entities, stats.forgotten) == (2, 2, 1)
    assert stats.sources == {"crm": 2}
    files = [file for file in store.path.rglob("*") if file.is_file()]
    assert stats.size_bytes == sum(file.stat().st_size for file in files) > 10_000
