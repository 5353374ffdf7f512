"""Whatever a store does, its rows match their checksums; what does not is never an answer."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore import IndexDamaged, MemoryStore, Settings
from memstore.catalog.damage import CHECKED, damaged_rows
from memstore.catalog.engine import reading

Sql = Callable[..., list[tuple[Any, ...]]]


def wrong_rows(store: MemoryStore) -> list[str]:
    opened = store._opened
    with reading(opened.engine, opened.path) as connection:
        return [row.place for table in CHECKED for row in damaged_rows(connection, table)]


def test_no_verb_leaves_a_row_with_a_wrong_checksum(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"text": "Bo sells tea in Faro.", "source": "Bo"}\n{"text": "a ferry"}\n')
    path, seen = tmp_path / "agent.mem", 0
    settings = Settings(log_pages=True, hot_tokens=40)
    with MemoryStore.open(path, encoder="hashed", settings=settings) as store:

        def check(what: str) -> None:
            nonlocal seen
            assert wrong_rows(store) == [], what
            seen += 1

        first = store.add("Ana: I live in Porto.", key="home", session="s", source="Ana")
        check("add")
        second = store.add("Ana: I live in Braga.", key="home", session="s", confidence=8)
        check("add under the same key")
        store.add_many([{"text": f"note {n} of Lisbon", "entities": ["Lisbon"]} for n in range(9)])
        check("add_many")
        store.ingest(lines)
        check("ingest")
        third, fourth, fifth, *_ = store.list(where={"entity": "Lisbon"}).memories
        store.update(third.id, text="another text", importance=0.5, half_life=None, source="Cy")
        check("update")
        store.supersede(third.id, fourth.id)
        check("supersede")
        store.reinforce(fourth.id, session="s")
        store.confirm(fourth.id, source="Ana", refresh=True)
        store.contradict(second.id, source="Bo")
        store.set_importance(fourth.id, 1.0)
        check("feedback")
        store.set_source("Ana", reliability=0.9, vote_weight=0.5)
        check("set_source")
        store.retract(fifth.id, reason="a mistake")
        check("retract")
        store.alias("Olisipo", of="Lisbon")
        store.alias("Lisbon", of="Lisboa")
        check("alias")
        store.remove_alias("Lisbon")
        check("remove_alias")
        store.query("Porto")
        check("query that logs a page")
        store.compact()
        check("compact")
        store.export(tmp_path / "out.jsonl")
        store.forget(first.id)
        check("forget")
        store.forget(second.id, purge=True)
        check("purge")
        store.import_(tmp_path / "out.jsonl")
        check("import")
        store.rebuild()
        check("rebuild")
        store.compact()
        store.export_index(tmp_path / "index")
        with contextlib.suppress(Exception):  # too little evidence is refused, and changes nothing
            store.learn()
        check("learn")
        assert store.verify(repair=True).clean
        check("verify")
        copy = store.backup(tmp_path / "copy.mem")
    with MemoryStore.open(copy) as store:
        assert wrong_rows(store) == []
    with MemoryStore.open(tmp_path / "adopted.mem", encoder="hashed") as store:
        store.import_index(tmp_path / "index", same_encoder=True)
        assert store.stats().memories
        assert wrong_rows(store) == []
    assert seen == 19


# one changed value each of what a hit shows
DAMAGE = {
    "text": "UPDATE memory SET text = 'Ana lives in Norto.'",
    "time": "UPDATE memory SET recorded_at = recorded_at + 1024",
    "no UTF-8": "UPDATE memory SET text = CAST(x'c328' AS TEXT)",
    "a blob": "UPDATE memory SET text = CAST(text AS BLOB)",
    "trust": "UPDATE memory SET alpha = alpha * 2",
    "namespace": "UPDATE namespace SET path = 'defaulu'",
    "source": "UPDATE source SET name = 'Anb'",
    "entity": "UPDATE memory_entity SET display = 'Pnrto'",
    "span": 'UPDATE passage SET "end" = "end" - 1',
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_changed_value_is_never_shown(store: MemoryStore, sql: Sql, damage: str) -> None:
    memory = store.add("Ana lives in Porto.", key="home", source="Ana", entities=["Porto"])
    sql(store.path, DAMAGE[damage])
    with MemoryStore.open(store.path) as other:
        with pytest.raises(IndexDamaged, match=r"verify --repair|damaged"):
            other.query("Porto", namespace="*")
        if damage != "span":
            for ask in (lambda: other.get(memory.id), lambda: other.list(namespace="*")):
                with pytest.raises(IndexDamaged):
                    ask()
        assert not other.verify().clean


# one changed value each of an entity, whether it has an alias, and what reads that value then
CHANGED_ENTITIES = [
    ("UPDATE entity_count SET display = 'Pnrto'", False, {"entities", "neighbours"}),
    ("UPDATE entity_count SET display = 'Pnrto'", True, {"neighbours"}),
    ("UPDATE entity SET label = 'PERSON'", False, {"entities", "neighbours"}),
    ("UPDATE entity SET label = 'PERSON'", True, {"entities", "neighbours"}),
    ("UPDATE memory_entity SET display = 'A'", True, {"entities"}),
]


@pytest.mark.parametrize(("damage", "aliased", "refused"), CHANGED_ENTITIES)
def test_an_entity_that_was_changed_is_not_shown(
    store: MemoryStore, sql: Sql, damage: str, aliased: bool, refused: set[str]
) -> None:
    for text in ("Ana lives in Porto.", "Ana left Porto."):
        store.add(text, entities=["Ana", "Porto"])
    if aliased:
        store.alias("Oporto", of="Porto")
        store.alias("Anita", of="Ana")
    before = {"entities": store.entities(), "neighbours": store.neighbours("Ana")}
    assert all(before.values())
    sql(store.path, damage)
    with MemoryStore.open(store.path) as other:
        asked = {"entities": other.entities, "neighbours": lambda: other.neighbours("Ana")}
        for name, ask in asked.items():
            if name in refused:
                with pytest.raises(IndexDamaged, match=r"verify --repair|damaged"):
                    ask()
            else:
                assert ask() == before[name]
        assert not other.verify().clean


def test_an_event_that_was_changed_is_not_told(store: MemoryStore, sql: Sql) -> None:
    memory = store.add("tea")
    sql(store.path, "DROP TRIGGER event_is_append_only")
    sql(store.path, "UPDATE event SET at = at + 1 WHERE memory_id = ?", memory.id)
    with pytest.raises(IndexDamaged, match=r"event \d+ \(add\) of memory"):
        store.history(memory.id)


def test_a_source_that_was_changed_is_not_named(tmp_path: Path, sql: Sql) -> None:
    path = tmp_path / "agent.mem"
    settings = Settings(log_pages=True)
    with MemoryStore.open(path, encoder="hashed", settings=settings) as store:
        id_ = store.add("Ana lives in Porto.", source="Ana").id
        page = store.query("Porto").page
        assert page is not None
        store.confirm(id_, source="Ana", page=page, idempotency_key="once")
        sql(path, DAMAGE["source"])
        asks: dict[str, Callable[[], Any]] = {
            "stats": store.stats,
            "sources": store.sources,
            "history": lambda: store.history(id_),
            "the same call": lambda: store.confirm(id_, source="Ana", idempotency_key="once"),
            "learn": lambda: store.learn(dry_run=True),
            "export": lambda: store.export(tmp_path / "export.jsonl"),
        }
        for name, ask in asks.items():
            with pytest.raises(IndexDamaged, match="source 'Anb'"):
                pytest.fail(f"{name} answered {ask()!r}")


def test_what_is_there_already_does_not_fail_over_a_source_that_was_changed(
    store: MemoryStore, sql: Sql, tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    line = '{"text": "Ana lives in Porto.", "id": "1", "source": "Ana"}\n'
    file.write_text(line)
    store.ingest(file)
    sql(store.path, "UPDATE source SET m0 = 0.9")
    file.write_text(f'{line}{{"text": "Bo lives in Faro.", "id": "2"}}\n')
    report = store.ingest(file)
    assert (report.added, report.unchanged) == (1, 1)
    with pytest.raises(IndexDamaged, match="source 'Ana'"):
        store.add("Ana lives in Braga.", source="Ana")


@pytest.mark.parametrize("column", ["namespace_id", "expired_at"])
def test_a_hit_that_the_columns_have_elsewhere_is_refused(
    store: MemoryStore, sql: Sql, stamp: Callable[[Path, str], None], column: str
) -> None:
    store.add("Ana lives in Porto.")
    store.add("Bo lives in Faro.", namespace="other")
    assert store.query("Porto").hits
    # a row that is true in itself, and that the snapshot in memory knows as another one
    sql(store.path, f"UPDATE memory SET {column} = 2 WHERE text LIKE 'Ana%'")
    stamp(store.path, "memory")
    with pytest.raises(IndexDamaged, match=f"The {column} of memory"):
        store.query("Porto")


def test_a_repair_mends_one_bit_and_forgets_what_it_cannot_mend(
    store: MemoryStore, sql: Sql
) -> None:
    mended = store.add("Ana lives in Porto.", key="home")
    lost = store.add("Bo lives in Faro.", key="away", namespace="team")
    kept = store.add("a ferry")
    sql(store.path, "UPDATE memory SET text = 'Ana lives in Pozto.' WHERE key = 'home'")
    sql(store.path, "UPDATE memory SET text = 'Bo left.' WHERE key = 'away'")
    with MemoryStore.open(store.path) as other:
        report = other.verify(repair=True)
        told = {item.message: item.repaired for item in report.findings if item.code == "checksum"}
        assert not report.clean
        assert other.verify().findings == ()
        assert other.get(mended.id) == mended
        assert other.get(kept.id).text == "a ferry"
        assert [item.verb for item in other.history(lost.id)] == ["add", "lost"]
        assert {hit.memory.id for hit in other.query("Porto", namespace="*").hits} == {
            mended.id,
            kept.id,
        }
    (saved,) = [message for message, repaired in told.items() if repaired]
    (gone,) = [message for message, repaired in told.items() if not repaired]
    assert mended.id in saved
    assert "character 15 is 'r' again" in saved
    for part in (lost.id, "'away'", "'team'", "'Bo left.'", "backup"):
        assert part in gone


def test_trust_that_was_changed_is_counted_anew_to_its_last_bit(
    store: MemoryStore, sql: Sql
) -> None:
    memory = store.add("Ana lives in Porto.", confidence=7.5)
    sql(store.path, "UPDATE memory SET alpha = alpha * (1 + 1e-14)")  # as several bits would
    with MemoryStore.open(store.path) as other:
        assert len(other.verify(repair=True).findings) == 1
        assert other.get(memory.id) == memory


def test_a_flipped_bit_of_the_encoders_identity_is_mended_on_opening(
    store: MemoryStore, sql: Sql
) -> None:
    store.add("tea")
    path = store.path
    store.close()
    flip = "UPDATE setting SET value = replace(value, ?, ?) WHERE name = 'encoder'"
    sql(path, flip, '"name": "hashed', '"name": "iashed')
    with pytest.raises(IndexDamaged, match="setting 'encoder'"):
        MemoryStore.open(path, read_only=True)
    with MemoryStore.open(path) as other:
        assert other.encoder == "hashed"
        assert other.verify().clean


def test_one_writer_never_makes_the_damage_of_another_true(store: MemoryStore, sql: Sql) -> None:
    memory = store.add("tea", source="Ana")
    with contextlib.closing(sqlite3.connect(store.path / "memstore.db")) as connection:
        with connection:
            connection.execute("UPDATE source SET name = 'Anb'")
        with pytest.raises(IndexDamaged):
            store.set_source("Anb", reliability=0.1)
        with connection:
            connection.execute("UPDATE memory SET title = 'x'")
    for change in (lambda: store.update(memory.id, kind="fact"), lambda: store.forget(memory.id)):
        with pytest.raises(IndexDamaged):
            change()
