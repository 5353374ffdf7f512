"""Damage that `verify` must find, and what it can repair from the texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore import IndexDamaged, MemoryStore
from memstore.catalog.checksums import crc
from memstore.encoders.hashed import HashedEncoder

Sql = Callable[..., list[tuple[Any, ...]]]

LONG = " ".join(f"Sentence number {n} speaks of topic{n}." for n in range(120))


@pytest.fixture
def filled(store: MemoryStore) -> MemoryStore:
    store.add("tea pot", entities=["Ana"], key="short")
    store.add(LONG, entities=["Ana", "Bruno"], key="long")
    store.add("cup", namespace="other", entities=["Ana"])
    store.forget(store.add("gone", entities=["Carla"]).id)
    return store


LAST = "(SELECT max(passage.id) FROM passage JOIN memory ON row = memory_row WHERE key = 'long')"
FIRST = "(SELECT id FROM passage WHERE memory_row = (SELECT row FROM memory WHERE key = 'short'))"
DAMAGE = {
    "missing vector": f"DELETE FROM hot_vector WHERE passage_id = {LAST}",
    "wrong checksum": f"UPDATE hot_vector SET checksum = checksum + 1 WHERE passage_id = {LAST}",
    "changed codes": f"UPDATE hot_vector SET codes = zeroblob(length(codes)) WHERE passage_id = {LAST}",  # noqa: E501
    "short codes": f"UPDATE hot_vector SET codes = x'00' WHERE passage_id = {LAST}",
    "wrong length": f"UPDATE hot_vector SET tokens = tokens + 1 WHERE passage_id = {LAST}",
    "truncated span": f'UPDATE passage SET "end" = "end" - 5 WHERE id = {LAST}',
    "span beyond the text": f'UPDATE passage SET "end" = "end" + 5 WHERE id = {LAST}',
    "empty span": f'UPDATE passage SET "end" = start WHERE id = {FIRST}',
    "span that begins late": f"UPDATE passage SET start = start + 1 WHERE id = {FIRST}",
    "missing passage": f"DELETE FROM passage WHERE id = {LAST}",
    "passage of a forgotten memory": "INSERT INTO passage (memory_row, ordinal, start, end) "
    "SELECT row, 0, 0, 4 FROM memory WHERE text = 'gone'",
    "passage without its memory": "INSERT INTO passage (memory_row, ordinal, start, end) "
    "VALUES (999, 0, 0, 4)",
    "vectors without their passage": "INSERT INTO hot_vector SELECT 999, tokens, codes, scales, "
    "checksum FROM hot_vector LIMIT 1",
    "link without its memory": "INSERT INTO memory_entity "
    "SELECT 999, id, 'given', 'X', 0 FROM entity LIMIT 1",
    "link without its entity": "INSERT INTO memory_entity SELECT row, 999, 'given', 'X', 0 "
    "FROM memory WHERE key = 'short'",
    "wrong entity count": "UPDATE entity_count SET memories = memories + 1",
    "missing entity count": "DELETE FROM entity_count",
}


def test_an_undamaged_store_is_clean_and_says_what_was_checked(filled: MemoryStore) -> None:
    report = filled.verify()
    assert report.clean
    assert report.findings == ()
    assert report.checked["memories"] == 3
    assert report.checked["passages"] == filled.stats().passages > 3
    assert filled.verify(repair=True).findings == ()


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_what_is_derived_is_repaired(
    filled: MemoryStore, sql: Sql, stamp: Callable[[Path, str], None], damage: str
) -> None:
    question = ("topic119 topic3", 5)
    expected = [(h.memory.id, h.score) for h in filled.query(question[0], limit=5).hits]
    entities = filled.entities(namespace="*")
    sql(filled.path, DAMAGE[damage])
    if damage.startswith("link"):
        stamp(filled.path, "memory_entity")  # as if it had been written so
    with MemoryStore.open(filled.path) as store:
        found = store.verify()
        assert not found.clean
        assert not any(finding.repaired for finding in found.findings)
        assert store.verify().findings == found.findings  # looking repairs nothing
        repaired = store.verify(repair=True)
        assert repaired.clean
        assert all(finding.repaired for finding in repaired.findings)
        assert store.verify().findings == ()
        assert [(h.memory.id, h.score) for h in store.query(question[0], limit=5).hits] == expected
        assert store.entities(namespace="*") == entities
    assert [(h.memory.id, h.score) for h in filled.query(question[0], limit=5).hits] == expected


def test_a_memory_without_an_event_is_found_and_not_called_repaired(
    filled: MemoryStore, sql: Sql
) -> None:
    memory = filled.get_by_key("short")
    sql(filled.path, "DELETE FROM event WHERE memory_id = ?", memory.id)
    report = filled.verify(repair=True)
    assert [(item.code, item.repaired) for item in report.findings] == [("event", False)]
    assert memory.id in report.findings[0].message
    assert not report.clean


def test_vectors_of_the_wrong_size_are_never_searched(store: MemoryStore, sql: Sql) -> None:
    store.add("tea pot")
    sql(store.path, "UPDATE hot_vector SET tokens = 7")
    with MemoryStore.open(store.path) as other:
        with pytest.raises(IndexDamaged, match="verify --repair"):
            other.query("tea")
        assert other.verify(repair=True).clean
        assert other.query("tea").hits[0].memory.text == "tea pot"


def test_a_repair_leaves_texts_ids_and_history_alone(filled: MemoryStore, sql: Sql) -> None:
    before = filled.list(namespace="*").memories
    sql(filled.path, "DELETE FROM hot_vector")
    filled.verify(repair=True)
    assert filled.list(namespace="*").memories == before
    verbs = [event.verb for event in filled.history(before[0].id)]
    assert verbs == ["add", "repair"]


class Meddling(HashedEncoder):
    """Lets something happen between the reading of the texts and the storing of the vectors."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__()
        self.meddle = meddle

    def encode_documents(self, documents: Any, **options: Any) -> Any:
        self.meddle()
        return super().encode_documents(documents, **options)


@pytest.mark.parametrize("change", ["metadata", "text", "forget", "purge"])
def test_what_is_changed_during_a_repair_ends_with_the_passages_it_should_have(
    filled: MemoryStore, sql: Sql, change: str
) -> None:
    memory = filled.update(filled.get_by_key("short").id, entities=[])  # forget unlinks none
    calls: dict[str, Callable[[], object]] = {
        "metadata": lambda: filled.update(memory.id, metadata={"a": 1}),
        "text": lambda: filled.update(memory.id, text="tea cup"),
        "forget": lambda: filled.forget(memory.id),
        "purge": lambda: filled.forget(memory.id, purge=True),
    }
    sql(filled.path, DAMAGE["empty span"])
    with MemoryStore.open(filled.path, encoder=Meddling(calls[change])) as store:
        assert store.verify(repair=True).clean
    assert filled.verify().findings == ()


def test_only_what_was_repaired_is_called_repaired(
    filled: MemoryStore, sql: Sql, stamp: Callable[[Path, str], None]
) -> None:
    def rewrite() -> None:
        sql(filled.path, "UPDATE memory SET text = 'another text' WHERE key = 'short'")
        stamp(filled.path, "memory")

    sql(filled.path, "DELETE FROM hot_vector")
    event = ("x", "add", 999, None, 0, 0, "{}", None)
    values = ", ".join("?" * (len(event) + 2))
    sql(filled.path, f"INSERT INTO event VALUES ({values})", 999, *event, crc(event))
    meddling = Meddling(rewrite)
    with MemoryStore.open(filled.path, encoder=meddling) as store:
        findings = store.verify(repair=True).findings
        short = store.get_by_key("short").id
        state = {item.message: item.repaired for item in findings if item.code == "passages"}
        assert len(state) == 3
        assert all(repaired is (short not in message) for message, repaired in state.items())
        assert [item.repaired for item in findings if item.code == "foreign_key"] == [False]
        store.verify(repair=True)
        left = store.verify().findings
        assert [item.code for item in left] == ["foreign_key"]


@pytest.mark.parametrize("table", ["memory", "passage", "memory_entity", "event"])
def test_a_database_with_damaged_pages_is_reported_not_raised(
    filled: MemoryStore, sql: Sql, table: str
) -> None:
    path = filled.path
    [(root,)] = sql(path, "SELECT rootpage FROM sqlite_master WHERE name = ?", table)
    [(size,)] = sql(path, "PRAGMA page_size")
    filled.close()
    with (path / "memstore.db").open("r+b") as database:
        database.seek((root - 1) * size)
        database.write(b"\xa5" * 300)
    with MemoryStore.open(path) as store:
        report = store.verify()
        assert not report.clean
        assert report.findings[0].code == "sqlite"


def test_metadata_that_was_changed_behind_the_stores_back_is_named_and_never_a_traceback(
    filled: MemoryStore, sql: Sql
) -> None:
    sql(filled.path, "UPDATE memory SET metadata = 'xx' || substr(metadata, 3) WHERE row = 1")
    with pytest.raises(IndexDamaged, match=r"memory .* is not as it was written"):
        filled.list()
