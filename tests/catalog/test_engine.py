"""Transactions hold or leave nothing behind, and the system's refusals have names."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from memstore import MemoryStore
from memstore.catalog.engine import (
    DATABASE,
    bare,
    named_errors,
    open_engine,
    reading,
    rewrite,
    writing,
)
from memstore.catalog.log import append_event
from memstore.errors import IndexDamaged, StoreLocked, StoreUnwritable

PROJECT = Path(__file__).parents[2]

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from memstore.catalog.engine import open_engine, writing
store = Path(sys.argv[1])
with writing(open_engine(store), store):
    print("holding", flush=True)
    sys.stdin.readline()
"""

FILL_THE_DISK = """
import resource, sys
from memstore import MemoryStore
from memstore.errors import StoreUnwritable
text = "Ana lives in Porto, by the river. " * 10_000
with MemoryStore.open(sys.argv[1]) as store:
    before = store.stats()
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, resource.RLIM_INFINITY))
    try:
        store.add(text, source="big")
    except StoreUnwritable as error:
        print(error)
    assert store.query("river").hits == ()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    after = store.stats()
    assert (after.memories, after.passages, after.sources) == (0, 0, {}), after
    assert store.verify().clean
    store.add(text)
    assert store.query("river").hits
"""


@pytest.fixture
def holder(folder):
    """The id of another process that holds the write lock."""
    line = [sys.executable, "-c", HOLD_THE_LOCK, str(folder)]
    with subprocess.Popen(
        line, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "holding\n"
        yield process.pid
        process.stdin.close()


def names(engine, folder):
    with reading(engine, folder) as connection:
        return set(connection.scalars(text("SELECT path FROM namespace")))


def add_namespace(connection, path):
    connection.execute(text("INSERT INTO namespace (path) VALUES (:path)"), {"path": path})


def test_a_finished_transaction_is_seen_by_the_next_reader(engine, folder):
    with writing(engine, folder) as connection:
        add_namespace(connection, "kept")
    assert names(engine, folder) == {"kept"}


def write_and_fail(engine, folder):
    with writing(engine, folder) as connection:
        add_namespace(connection, "lost")
        connection.execute(text("CREATE TABLE lost (id INTEGER)"))
        connection.execute(text("ALTER TABLE setting ADD COLUMN lost TEXT"))
        raise ZeroDivisionError


def test_a_failed_transaction_leaves_neither_rows_nor_tables_behind(engine, folder):
    with pytest.raises(ZeroDivisionError):
        write_and_fail(engine, folder)
    assert names(engine, folder) == set()
    with reading(engine, folder) as connection:
        found = connection.scalar(
            text("SELECT count(*) FROM sqlite_master WHERE sql LIKE '%lost%'")
        )
    assert found == 0


def test_a_reader_sees_one_moment_while_a_writer_commits(engine, folder):
    with reading(engine, folder) as before:
        assert before.scalar(text("SELECT count(*) FROM namespace")) == 0
        with writing(engine, folder) as connection:
            add_namespace(connection, "new")
        assert before.scalar(text("SELECT count(*) FROM namespace")) == 0
    assert names(engine, folder) == {"new"}


def test_foreign_keys_are_enforced(engine, folder):
    with pytest.raises(Exception, match="FOREIGN KEY"), writing(engine, folder) as connection:
        connection.execute(
            text("INSERT INTO entity_alias (namespace_id, alias, canon) VALUES (77, 'x', 'y')")
        )


def test_commits_are_durable_and_freed_bytes_are_zeroed(engine, folder):
    with reading(engine, folder) as connection:
        found = [
            connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "secure_delete", "temp_store")
        ]
    assert found == ["wal", 2, 1, 2]


def test_the_event_log_refuses_to_be_changed(engine, folder):
    with writing(engine, folder) as connection:
        append_event(connection, "m", "add", now=1)
    for change in ("UPDATE event SET verb = 'x'", "UPDATE event SET at = at"):
        with (
            pytest.raises(Exception, match="append-only"),
            writing(engine, folder) as connection,
        ):
            connection.execute(text(change))
    with reading(engine, folder) as connection:
        assert connection.scalar(text("SELECT verb FROM event")) == "add"


def test_a_second_writer_is_told_which_process_holds_the_lock(engine, folder, holder):
    with pytest.raises(StoreLocked, match=rf"process {holder} \("), writing(engine, folder):
        pass
    assert names(engine, folder) == set()  # reading goes on


def test_the_note_of_the_holder_goes_with_the_lock(engine, folder):
    with writing(engine, folder):
        assert json.loads((folder / "writer.json").read_text())["pid"] == os.getpid()
    assert not (folder / "writer.json").exists()


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    "note",
    [
        "",
        "nonsense",
        "[]",
        "\x00\x01",
        '{"pid": 1}',
        '{"pid": 1e999, "command": "memstore", "since": 0}',
        '{"pid": "DEAD", "command": "memstore", "since": 0}',
    ],
)
def test_a_note_left_by_a_kill_names_nobody_and_stops_nobody(engine, folder, note):
    (folder / "writer.json").write_text(note.replace("DEAD", str(dead_process())))
    other = sqlite3.connect(folder / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLocked, match="written by another process"), writing(engine, folder):
        pass
    other.execute("ROLLBACK")
    other.close()
    with writing(engine, folder) as connection:
        add_namespace(connection, "written")
    assert names(engine, folder) == {"written"}


def fill(engine, folder):
    with writing(engine, folder) as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))  # as small as it is now
        for number in range(10_000):
            add_namespace(connection, f"{number}/{'x' * 400}")


def test_a_full_database_is_named_and_nothing_of_the_call_is_kept(engine, folder):
    with pytest.raises(StoreUnwritable, match="disk is full"):
        fill(engine, folder)
    assert names(engine, folder) == set()


def test_a_full_disk_stores_nothing_and_the_store_goes_on_when_there_is_room(store):
    line = [sys.executable, "-c", FILL_THE_DISK, str(store.path)]
    run = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "This transaction was not stored" in run.stdout


def test_a_file_that_is_no_database_is_named_damaged_and_left_as_it_is(tmp_path):
    (tmp_path / DATABASE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(IndexDamaged, match=r"memstore\.db.*not a database"):
        MemoryStore.open(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == b"no database at all" * 1000


def test_a_database_with_overwritten_pages_is_named_damaged(engine, folder):
    with writing(engine, folder) as connection:
        for number in range(500):
            add_namespace(connection, f"{number}/{'x' * 100}")
    engine.dispose()
    content = (folder / DATABASE).read_bytes()
    (folder / DATABASE).write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(IndexDamaged, match="backup"), reading(engine, folder) as connection:
        connection.execute(text("SELECT * FROM namespace")).all()


def test_a_reader_cannot_write(folder):
    engine = open_engine(folder, read_only=True)
    with (
        pytest.raises(StoreUnwritable, match="read_only"),
        writing(engine, folder) as connection,
    ):
        add_namespace(connection, "x")
    engine.dispose()


def test_a_missing_folder_is_named_unwritable(tmp_path):
    engine = open_engine(tmp_path / "missing")
    with pytest.raises(StoreUnwritable, match="missing"), reading(engine, tmp_path / "missing"):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whoever_keeps_an_error_sees_what_others_write_since(engine, folder, error):
    with writing(engine, folder) as connection:
        add_namespace(connection, "a")
        add_namespace(connection, "b")

    def interrupted():
        with reading(engine, folder) as connection:
            rows = connection.execute(text("SELECT path FROM namespace"))  # kept with the frame
            for _ in rows:
                raise error

    with pytest.raises(error) as kept:
        interrupted()
    other = open_engine(folder)
    with writing(other, folder) as connection:
        add_namespace(connection, "c")
    other.dispose()
    assert names(engine, folder) == {"a", "b", "c"}
    with writing(engine, folder) as connection:
        add_namespace(connection, "d")
    assert rewrite(engine, folder)
    assert kept.tb is not None


def test_a_cursor_that_somebody_keeps_is_in_nobodys_way(engine, folder):
    with writing(engine, folder) as connection:
        add_namespace(connection, "a")
        add_namespace(connection, "b")
    with bare(engine) as driver:
        kept = driver.execute("SELECT path FROM namespace")
        assert kept.fetchone() == ("a",)
    assert rewrite(engine, folder)
    assert names(engine, folder) == {"a", "b"}


@pytest.fixture
def rewrites(folder):
    """Start a rewrite in a thread of its own; in the end each has said that it was complete."""
    engines, running = [], []
    with ThreadPoolExecutor() as pool:

        def start():
            engines.append(open_engine(folder, lock_timeout=60.0))
            running.append(pool.submit(rewrite, engines[-1], folder))
            return running[-1]

        yield start
        assert [future.result() for future in running] == [True] * len(running)
    for engine in engines:
        engine.dispose()


def test_a_reader_that_must_write_before_it_ends_and_a_rewrite_do_not_wait_for_each_other(
    engine, folder, rewrites
):
    def changes():
        with closing(sqlite3.connect(folder / DATABASE)) as driver:
            return driver.execute("PRAGMA schema_version").fetchone()

    with writing(engine, folder) as connection:
        add_namespace(connection, "a")
    before = changes()
    with reading(engine, folder) as connection:
        assert connection.scalar(text("SELECT count(*) FROM namespace")) == 1
        started = rewrites()
        while changes() == before:  # written anew, it waits for the reader of the log
            assert not started.done()
            time.sleep(0.01)
        with writing(engine, folder, wait=30.0) as other:  # as a merge names what it wrote
            add_namespace(other, "b")
        assert not started.done()
    started.result()
    assert names(engine, folder) == {"a", "b"}


def test_two_rewrites_wait_for_one_reader_as_long_as_one_does(engine, folder, rewrites):
    with writing(engine, folder) as connection:
        add_namespace(connection, "a")
    with reading(engine, folder) as connection:
        assert connection.scalar(text("SELECT count(*) FROM namespace")) == 1
        both = rewrites(), rewrites()
        time.sleep(3.0)  # many times as long as one waits at first
        assert not any(started.done() for started in both)


def test_a_page_that_names_one_beyond_all_databases_is_damage_and_no_full_disk(folder):
    engine = open_engine(folder)
    with writing(engine, folder) as connection:
        append_event(connection, "a", "add", now=1, payload={"long": "x" * 10_000})
        root = connection.scalar(text("SELECT rootpage FROM sqlite_master WHERE name = 'event'"))
        (size,) = connection.execute(text("PRAGMA page_size")).one()
    engine.dispose()
    file = folder / DATABASE
    database = bytearray(file.read_bytes())
    end = slice(root * size - 4, root * size)  # of the row: on which page it goes on
    assert root < int.from_bytes(database[end], "big") <= len(database) // size
    database[end] = b"\xff" * 4
    file.write_bytes(database)

    with (
        closing(sqlite3.connect(file)) as driver,
        pytest.raises(sqlite3.OperationalError, match="disk is full"),
    ):
        driver.execute("VACUUM")
    engine = open_engine(folder)
    with pytest.raises(IndexDamaged, match=r"not written anew(.|\n)*verify --repair"):
        rewrite(engine, folder)
    with pytest.raises(IndexDamaged, match="Restore a backup"):
        rewrite(engine, folder, checked=True)
    engine.dispose()


def test_an_error_of_the_statement_itself_keeps_its_name(engine, folder):
    with pytest.raises(Exception, match="no such table"), reading(engine, folder) as connection:
        connection.execute(text("SELECT * FROM nowhere"))


@pytest.mark.parametrize(
    "name", ["a b", "a?b#c%20d", "é", b"\xff\xfe".decode(errors="surrogateescape")]
)
def test_any_folder_name_will_do(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    engine = open_engine(folder)
    with writing(engine, folder) as connection:
        connection.execute(text("CREATE TABLE made (id INTEGER)"))
    engine.dispose()
    assert os.listdir(folder) == [DATABASE]


def test_a_path_that_begins_with_two_slashes_is_a_path(folder):
    engine = open_engine(Path("/" + str(folder)))
    with reading(engine, folder) as connection:
        assert connection.scalar(text("SELECT count(*) FROM memory")) == 0
    engine.dispose()


def test_a_relative_path_stays_where_it_was_when_the_working_directory_changes(
    folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(folder.parent)
    engine = open_engine(Path(folder.name))
    (tmp_path / "elsewhere").mkdir()
    with reading(engine, folder):  # holds the first connection, so that a second one is made
        monkeypatch.chdir(tmp_path / "elsewhere")
        with reading(engine, folder) as connection:
            assert connection.scalar(text("SELECT count(*) FROM memory")) == 0
    engine.dispose()
    assert os.listdir(tmp_path / "elsewhere") == []


def test_writers_of_one_engine_take_turns(folder):
    engine = open_engine(folder, lock_timeout=30.0)

    def write(first):
        for number in range(first, first + 20):
            with writing(engine, folder) as connection:
                count = connection.scalar(text("SELECT count(*) FROM namespace"))
                add_namespace(connection, f"{number} after {count}")

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = {int(name.split(" after ")[1]) for name in names(engine, folder)}
    engine.dispose()
    assert counts == set(range(60))  # no two of them saw the same state


def test_a_sqlite_without_full_text_search_is_named():
    class Missing(sqlite3.OperationalError):
        sqlite_errorcode = sqlite3.SQLITE_ERROR

    with pytest.raises(StoreUnwritable, match="FTS5"), named_errors(Path("agent.mem")):
        raise Missing("no such module: fts5")
