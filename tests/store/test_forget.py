"""Forgetting and purging: out of every result, and out of every file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from memstore import BadInput, IndexDamaged, MemoryNotFound, MemoryStore, Settings, StoreLocked

SECRETS = {
    "text": "zebraquartz told the whole story",
    "title": "xylophonetitle",
    "metadata": {"code": "mangrovemeta"},
    "entities": ["Thunderfig"],
    "source": "walnutsource",
    "session": "oystersession",
    "key": "papayakey",
    "namespace": "lagoonspace/deep",
}
WORDS = (
    *("zebraquartz", "xylophonetitle", "mangrovemeta", "hunderfig", "walnutsource"),
    *("oystersession", "papayakey", "lagoonspace"),
)


def _words_on_disk(folder: Path) -> set[str]:
    content = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    return {word for word in WORDS if word.encode() in content}


def test_a_forgotten_memory_is_gone_from_every_result_at_once(store: MemoryStore) -> None:
    gone = store.add("tea pot of Ana", key="pot", entities=["Ana", "Pot"])
    kept = store.add("tea cup of Ana", key="cup", entities=["Ana"])
    report = store.forget(gone.id)
    assert (report.ids, report.purged, report.dry_run) == ((gone.id,), False, False)
    assert [hit.memory.id for hit in store.query("tea pot", explain=True).hits] == [kept.id]
    assert store.query("tea pot", explain=True).suppressed == ()
    assert [memory.id for memory in store.list().memories] == [kept.id]
    assert {entity.name: entity.memories for entity in store.entities()} == {"Ana": 1}
    for call in (lambda: store.get(gone.id), lambda: store.get_by_key("pot")):
        with pytest.raises(MemoryNotFound):
            call()
    assert [event.verb for event in store.history(gone.id)] == ["add", "forget"]
    stats = store.stats()
    assert (stats.memories, stats.passages, stats.forgotten, stats.entities) == (1, 1, 1, 1)
    assert store.verify().clean


def test_forgotten_memories_take_no_place_among_the_hits(store: MemoryStore) -> None:
    doomed = store.add_many([{"text": "tea pot", "metadata": {"n": n}} for n in range(30)])
    store.add_many([{"text": "tea cup", "metadata": {"n": n}} for n in range(10)])
    store.forget([memory.id for memory in doomed])
    hits = store.query("tea pot", limit=10).hits
    assert [hit.memory.text for hit in hits] == ["tea cup"] * 10


def test_a_filter_forgets_within_its_namespace_only(store: MemoryStore) -> None:
    for name in ("default", "default/sub", "other"):
        store.add("from crm", namespace=name, source="crm")
        store.add("from mail", namespace=name, source="mail")
    assert len(store.forget(where={"source": "crm"}).ids) == 2
    left = {(memory.namespace, memory.source) for memory in store.list(namespace="*").memories}
    assert left == {
        ("default", "mail"),
        ("default/sub", "mail"),
        ("other", "crm"),
        ("other", "mail"),
    }
    assert len(store.forget(where={"source": "crm"}, namespace="*").ids) == 1


def test_a_dry_run_says_which_and_changes_nothing(
    store: MemoryStore, fingerprint: Callable[[Path], str]
) -> None:
    memories = [store.add(f"tea {n}", source="crm") for n in range(3)]
    before = fingerprint(store.path)
    for purge in (False, True):
        report = store.forget(where={"source": "crm"}, dry_run=True, purge=purge)
        assert report.ids == tuple(memory.id for memory in memories)
        assert (report.purged, report.dry_run) == (False, True)
    assert store.forget(memories[0].id, dry_run=True).ids == (memories[0].id,)
    assert fingerprint(store.path) == before
    with MemoryStore.open(store.path, read_only=True) as reader:
        assert len(reader.forget(where={"recorded_at": {"exists": True}}, dry_run=True).ids) == 3


def test_one_unknown_id_keeps_all_of_them(
    store: MemoryStore, fingerprint: Callable[[Path], str]
) -> None:
    memory = store.add("tea")
    before = fingerprint(store.path)
    for purge in (False, True):
        with pytest.raises(MemoryNotFound, match="Nothing was forgotten"):
            store.forget([memory.id, "0" * 26], purge=purge)
    assert fingerprint(store.path) == before


def test_ids_and_filter_exclude_each_other_and_one_is_needed(store: MemoryStore) -> None:
    memory = store.add("tea")
    with pytest.raises(BadInput, match="either ids or where"):
        store.forget()
    with pytest.raises(BadInput, match="either ids or where"):
        store.forget(memory.id, where={"key": "x"})
    for ids in (5, {"source": "crm"}, [5], ["\ud800"]):
        with pytest.raises(BadInput):
            store.forget(ids)  # type: ignore[arg-type]
    assert store.get(memory.id) == memory
    assert store.forget([]).ids == ()
    assert store.forget(iter([memory.id, memory.id])).ids == (memory.id,)  # type: ignore[arg-type]


def test_no_byte_of_a_purged_memory_is_left_in_any_file(store: MemoryStore) -> None:
    memory = store.add_many([SECRETS])[0]
    kept = store.add("tea stays")
    store.update(memory.id, text="zebraquartz told another story", metadata={"code": "new"})
    store.update(memory.id, title="new title", source="new source", entities=["Bruno"])
    assert _words_on_disk(store.path) == set(WORDS)
    report = store.forget(memory.id, purge=True)
    assert (report.ids, report.purged) == ((memory.id,), True)
    assert _words_on_disk(store.path) == set()
    assert [event.verb for event in store.history(memory.id)] == ["purge"]
    receipt = {"memories": 1, "passages": 1, "vectors": 6, "events": 3, "entities": 1}
    receipt |= {"aliases": 0, "namespaces": 1, "sources": 2, "pages": 0}
    assert store.history(memory.id)[0].details == receipt
    assert report.removed == {**receipt, "segments": 0, "centroids": 0}
    assert report.bytes_after == sum(
        file.stat().st_size for file in store.path.rglob("*") if file.is_file()
    )
    assert [hit.memory for hit in store.query("tea").hits] == [kept]
    assert store.verify().clean
    path = store.path
    store.close()
    assert _words_on_disk(path) == set()


def test_a_purge_by_filter_also_erases_what_was_forgotten_before(store: MemoryStore) -> None:
    [memory] = store.add_many([SECRETS])
    store.forget(memory.id)
    assert "zebraquartz" in _words_on_disk(store.path)
    where = {"metadata.code": "mangrovemeta"}
    assert store.forget(where=where, namespace="lagoonspace").ids == ()
    assert store.forget(where=where, namespace="lagoonspace", purge=True).ids == (memory.id,)
    assert _words_on_disk(store.path) == set()


def test_a_forgotten_memory_can_be_purged_by_its_id_and_purged_again(store: MemoryStore) -> None:
    [memory] = store.add_many([SECRETS])
    store.forget(memory.id)
    store.forget(memory.id, purge=True)
    assert _words_on_disk(store.path) == set()
    assert store.forget(memory.id, purge=True).ids == ()
    with pytest.raises(MemoryNotFound):
        store.forget(memory.id)


def test_names_that_other_memories_use_survive_a_purge(store: MemoryStore) -> None:
    [memory] = store.add_many([SECRETS])
    other = store.add(
        "another", namespace="lagoonspace/deep", source="walnutsource", entities=["Thunderfig"]
    )
    store.forget(memory.id, purge=True)
    assert store.get(other.id) == other
    assert _words_on_disk(store.path) == {"hunderfig", "walnutsource", "lagoonspace"}
    store.forget(other.id, purge=True)
    assert _words_on_disk(store.path) == set()


def test_namespaces_made_after_a_purge_hold_only_their_own(store: MemoryStore) -> None:
    gone = store.add("tea pot", namespace="old")
    with MemoryStore.open(store.path) as other:
        assert len(other.query("tea", namespace="old").hits) == 1
        store.forget(gone.id, purge=True)
        store.add("tea cup", namespace="new")
        for handle in (store, other):
            assert handle.query("tea", namespace="old").hits == ()
            hits = handle.query("tea", namespace="new").hits
            assert [hit.memory.text for hit in hits] == ["tea cup"]


def test_a_purge_that_readers_hold_up_says_so_and_can_be_repeated(store_path: Path) -> None:
    with MemoryStore.open(store_path, settings=Settings(lock_timeout=0.05)) as store:
        [memory] = store.add_many([SECRETS])
        with closing(sqlite3.connect(store_path / "memstore.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM memory").fetchone()
            with pytest.raises(StoreLocked, match="run the same purge again"):
                store.forget(memory.id, purge=True)
            assert store.query("zebraquartz", namespace="*").hits == ()
            reader.execute("ROLLBACK")
        store.forget(memory.id, purge=True)
        assert _words_on_disk(store_path) == set()


def test_an_empty_filter_forgets_nothing_and_says_how_to_forget_all(store):
    store.add("Ana moved to Lisbon.")
    with pytest.raises(BadInput, match="empty filter"):
        store.forget(where={})
    assert len(store.forget(where={"recorded_at": {"exists": True}}).ids) == 1


def test_a_damaged_database_is_not_purged(store_path: Path) -> None:
    with MemoryStore.open(store_path) as store:
        store.add("big", metadata={"long": "x" * 9000})
        kept = store.add("Ana lives in Porto.")
    file = store_path / "memstore.db"
    with closing(sqlite3.connect(file)) as connection:
        find = "SELECT rootpage FROM sqlite_master WHERE name = 'memory'"
        (root,) = connection.execute(find).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    database = bytearray(file.read_bytes())
    database[root * size - 4 : root * size] = b"\xff" * 4  # on which page the first row goes on
    file.write_bytes(database)
    with MemoryStore.open(store_path) as store:
        with pytest.raises(IndexDamaged, match=r"Nothing was forgotten(.|\n)*verify --repair"):
            store.forget(kept.id, purge=True)
        assert store.get(kept.id) == kept
