"""Locks and notes that a killed or stopped process leaves behind: nobody has to remove a file."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from memstore import MemoryStore, StoreLocked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")

Child = Callable[..., "subprocess.Popen[str]"]

# Stores something, and says so in the middle of the next transaction, which never ends.
WRITES = """
import sys, time
from pathlib import Path
from memstore import MemoryStore
from memstore.catalog.engine import writing
from memstore.store.index_files import holding_index
store = MemoryStore.open(sys.argv[1])
store.add("committed, not checkpointed")
with holding_index(Path(sys.argv[1]), wait=0.0):
    with writing(store._opened.engine, store.path) as connection:
        connection.exec_driver_sql("UPDATE memory SET text = 'never committed'")
        print("inside", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def writer(child: Child, store_path: Path) -> subprocess.Popen[str]:
    """A process in the middle of a write, which also holds the index."""
    process = child(WRITES, store_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    return process


def test_what_a_killed_writer_leaves_behind_holds_up_nobody(
    writer: subprocess.Popen[str], store_path: Path
) -> None:
    writer.kill()
    writer.wait()
    left = {file.name for file in store_path.iterdir()}
    assert left >= {"writer.json", "index.lock", "memstore.db-wal", "memstore.db-shm"}
    with MemoryStore.open(store_path, settings={"lock_timeout": 0.0}) as store:
        assert [memory.text for memory in store.list().memories] == ["committed, not checkpointed"]
        store.add("at once")
        assert store.compact().sealed == 2
        assert store.verify().clean
    left = {file.name for file in store_path.iterdir()}
    assert left == {"memstore.db", "index", "index.lock"}


def test_a_stopped_writer_is_named_after_the_wait_and_killed_lets_the_others_go_on(
    writer: subprocess.Popen[str], store_path: Path
) -> None:
    writer.send_signal(signal.SIGSTOP)
    with MemoryStore.open(store_path, settings={"lock_timeout": 0.05}) as store:
        with pytest.raises(StoreLocked, match=rf"process {writer.pid} \(-c\), for \d+ s"):
            store.add("in vain")
        assert store.query("committed").hits  # whoever reads is not held up
        assert len(store.list().memories) == 1
        with pytest.raises(StoreLocked, match="sealed or compacted already"):
            store.compact()
        writer.kill()
        writer.wait()
        store.add("goes on")
        assert store.compact().sealed == 2


def test_who_waits_for_a_writer_goes_on_as_soon_as_it_is_killed(
    writer: subprocess.Popen[str], store_path: Path, child: Child
) -> None:
    script = (
        "import sys; from memstore import MemoryStore\n"
        "with MemoryStore.open(sys.argv[1], settings={'lock_timeout': 600.0}) as store:\n"
        "    print('waits', flush=True)\n"
        "    (store.compact if sys.argv[2] == 'compact' else lambda: store.add('x'))()\n"
    )
    waiting = [child(script, store_path, verb) for verb in ("add", "compact")]
    for process in waiting:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
    time.sleep(0.2)  # they are inside the call now, or all but
    assert [process.poll() for process in waiting] == [None, None]
    writer.kill()
    for process in waiting:
        _, errors = process.communicate(timeout=60)  # a tenth of what they would wait
        assert process.returncode == 0, errors
    with MemoryStore.open(store_path) as store:
        assert len(store.list().memories) == 2
        assert store.verify().clean


@pytest.mark.parametrize(
    "note",
    [
        {"pid": os.getppid(), "command": "someone", "began": "1", "since": 1.0},
        {"pid": 2**22 + 1, "command": "someone", "began": None, "since": 1.0},
        {"pid": "x"},
        [],
        None,
    ],
    ids=["number of another program", "no such process", "no number", "a list", "no JSON"],
)
def test_a_note_of_a_writer_that_is_not_there_is_not_believed(
    store_path: Path, note: object
) -> None:
    """Here the lock is held by a program that leaves no notes."""
    file = store_path / "writer.json"
    text = "{" if note is None else json.dumps(note)
    with MemoryStore.open(store_path, settings={"lock_timeout": 0.0}) as store:
        with closing(sqlite3.connect(store_path / "memstore.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            file.write_text(text)
            with pytest.raises(StoreLocked, match="is being written by another process;"):
                store.add("x")
        file.write_text(text)
        store.add("x")
    assert not file.exists()


def test_processes_that_create_one_store_at_the_same_time_all_open_it(
    tmp_path: Path, child: Child
) -> None:
    script = (
        "import sys; from memstore import MemoryStore\n"
        "with MemoryStore.open(sys.argv[1], encoder='hashed') as store: store.add(sys.argv[2])\n"
    )
    processes = [child(script, tmp_path / "new.mem", number) for number in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    with MemoryStore.open(tmp_path / "new.mem") as store:
        assert {memory.text for memory in store.list().memories} == {"0", "1", "2"}
        assert store.verify().clean
