"""Processes forked while a store is open: the child's use is refused, the parent's unharmed.

Set MEMSTORE_TORTURE=1 for minutes of forks amid reads and writes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import BadInput, MemoryStore
from memstore.catalog import forking
from memstore.catalog.engine import reading

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here"),
    # Python 3.12 and newer warn of any fork of a process with threads, which is the subject here
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

Child = Callable[..., "subprocess.Popen[str]"]

TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
SECONDS = 120.0 if TORTURE else 2.0
HANGS = 60.0  # seconds after which a child counts as one that does


def in_child(work: Callable[[], object]) -> str:
    """Do work in a forked process; return what went wrong there, nothing if all went well."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(told)
            work()
        except BaseException:
            os.write(tell, traceback.format_exc().encode())
        os._exit(0)
    os.close(tell)
    limit = time.monotonic() + HANGS
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > limit:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return "it hung"
        time.sleep(0.005)
    with os.fdopen(told) as messages:
        return messages.read()


def all_texts(store: MemoryStore) -> set[str]:
    return {memory.text for memory in store.list(namespace="*", limit=10_000).memories}


def test_every_verb_of_an_inherited_store_says_to_open_it_in_the_child(store: MemoryStore) -> None:
    id_ = store.add("tea").id
    verbs: list[Callable[[], object]] = [
        lambda: store.add("x"),
        lambda: store.add_many(["x"]),
        lambda: store.ingest([{"text": "x"}]),
        lambda: store.query("x"),
        lambda: store.query_many(["x"]),
        lambda: store.rank("x", ["y"]),
        lambda: store.get(id_),
        lambda: store.list(),
        lambda: store.history(id_),
        lambda: store.update(id_, text="x"),
        lambda: store.forget(id_),
        lambda: store.reinforce(id_),
        lambda: store.entities(),
        lambda: store.stats(),
        lambda: store.verify(),
        lambda: store.compact(),
        lambda: store.rebuild(),
        lambda: store.backup("backup"),
        lambda: store.export("export"),
        lambda: store.path,
    ]

    def use() -> None:
        for verb in verbs:
            with pytest.raises(BadInput, match=rf"opened in process {parent}, .*Open the store in"):
                verb()
        store.close()
        with pytest.raises(BadInput, match="is closed"):
            store.stats()

    parent = os.getpid()
    assert in_child(use) == ""
    assert all_texts(store) == {"tea"}


ENDINGS = """
import gc, os, sys, threading
from memstore import MemoryStore
from memstore.catalog.engine import reading

path = sys.argv[1]
store = MemoryStore.open(path)
store.add("before all forks")
inside, leave = threading.Event(), threading.Event()

def read():
    with reading(store._opened.engine, store.path) as connection:
        connection.exec_driver_sql("SELECT count(*) FROM memory").scalar()
        inside.set()
        leave.wait()
        connection.exec_driver_sql("SELECT count(*) FROM memory").scalar()

def collect():
    global store
    del store
    gc.collect()
    sys.exit()

def close():
    store.close()
    sys.exit()

import memstore.catalog.forking as forking
forking._WAIT = 0.05  # the transaction does not end
reader = threading.Thread(target=read)
reader.start()
inside.wait()
for number, end in enumerate([sys.exit, lambda: os._exit(0), collect, close]):
    store.add(f"committed before fork {number}")  # in the write-ahead log, behind the reader
    pid = os.fork()
    if pid == 0:
        leave.set()
        end()
    _, status = os.waitpid(pid, 0)
    assert status == 0, (number, status)
    assert os.path.exists(path + "/memstore.db-wal"), number
    store.add(f"written after child {number}")
leave.set()
reader.join()
assert store.verify().clean
print(store.stats().memories)
os._exit(0)  # nothing is tidied up: what was committed must be in the files
"""


def test_however_a_child_ends_the_parent_loses_nothing(store_path: Path, child: Child) -> None:
    process = child(ENDINGS, store_path)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output.split()) == (0, ["9"]), errors
    with MemoryStore.open(store_path) as store:
        assert len(all_texts(store)) == 9
        assert store.verify().clean


def test_a_store_opened_in_the_child_outlives_the_parents(store_path: Path, child: Child) -> None:
    """Without locks of its own, the child would go on writing to a log that is gone."""
    inherited = MemoryStore.open(store_path)
    inherited.add("parent")
    opened, open_ = os.pipe()
    go_on, going = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with MemoryStore.open(store_path) as own:
                own.add("child, first")
                os.write(open_, b"x")
                os.read(go_on, 1)
                for number in range(5):
                    own.add(f"child, {number}")
            status = 0
        finally:
            os._exit(status)
    os.read(opened, 1)
    inherited.close()
    other = child(
        "import sys; from memstore import MemoryStore\n"
        "with MemoryStore.open(sys.argv[1]) as store: store.add('other process')\n",
        store_path,
    )
    _, errors = other.communicate(timeout=60)
    assert other.returncode == 0, errors
    os.write(going, b"x")
    assert os.waitpid(pid, 0)[1] == 0
    for descriptor in (opened, open_, go_on, going):
        os.close(descriptor)
    with MemoryStore.open(store_path) as store:
        expected = {"parent", "other process", "child, first", *(f"child, {n}" for n in range(5))}
        assert all_texts(store) == expected
        assert store.verify().clean


def _worker(path: Path, number: int, report: Path) -> None:
    with MemoryStore.open(path, settings={"hot_tokens": 300}) as store:
        ids = []
        for item in range(10):
            memory = store.add(f"worker{number} item{item} of many")
            ids.append(memory.id)
            assert memory.id in {hit.memory.id for hit in store.query(memory.text).hits}
    report.write_text(json.dumps(ids))


def test_workers_forked_amid_reads_and_writes_open_their_own_and_lose_nothing(
    store_path: Path, tmp_path: Path
) -> None:
    fork = multiprocessing.get_context("fork")
    done = threading.Event()
    stored: list[str] = []
    problems: list[BaseException] = []

    def write(name: str) -> None:
        try:
            while not done.is_set():
                stored.append(store.add(f"{name} number{len(stored)} of the parent").id)
                store.query("of the parent")
        except BaseException as error:  # shown by the assertion below
            problems.append(error)

    workers = []
    with MemoryStore.open(store_path, settings={"hot_tokens": 300}) as store:
        store.add("loads what is loaded on first use")
        threads = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or len(workers) < 3:
            number = len(workers)
            worker = fork.Process(
                target=_worker, args=(store_path, number, tmp_path / f"{number}.json")
            )
            worker.start()
            workers.append(worker)
            if number >= 2:
                workers[number - 2].join(HANGS)
        done.set()
        for thread in threads:
            thread.join()
        for worker in workers:
            worker.join(HANGS)
        assert problems == []
        assert [worker.exitcode for worker in workers] == [0] * len(workers)
        reports = [json.loads((tmp_path / f"{n}.json").read_text()) for n in range(len(workers))]
        pages, cursor = [], None
        while not pages or cursor is not None:
            page = store.list(limit=1000, cursor=cursor)
            pages += [memory.id for memory in page.memories]
            cursor = page.cursor
        assert set(pages) >= {*stored, *(id_ for ids in reports for id_ in ids)}
        assert len(pages) == 1 + len(stored) + 10 * len(workers)
        assert store.verify().clean
    assert not (store_path / "memstore.db-wal").exists()


def test_a_fork_waits_for_transactions_of_other_threads(store: MemoryStore) -> None:
    inside, events = threading.Event(), []

    def read() -> None:
        with reading(store._opened.engine, store.path):
            inside.set()
            time.sleep(0.2)
            events.append("read")

    thread = threading.Thread(target=read)
    thread.start()
    inside.wait()
    path = store.path

    def open_own() -> None:
        assert events == ["read"]
        with MemoryStore.open(path) as own:
            own.add("from the child")

    assert in_child(open_own) == ""
    thread.join()
    assert all_texts(store) == {"from the child"}


def test_a_child_refuses_a_file_that_was_in_the_middle_of_a_transaction(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "_WAIT", 0.01)
    path, parent = store.path, os.getpid()

    def open_own() -> None:
        for _ in range(2):
            with pytest.raises(BadInput, match=rf"in process {parent} when .* forked .*'spawn'"):
                MemoryStore.open(path)
        assert "BadInput" in in_child(lambda: MemoryStore.open(path))

    with reading(store._opened.engine, path):
        assert in_child(open_own) == ""
    assert in_child(lambda: MemoryStore.open(path).add("later")) == ""
    assert all_texts(store) == {"later"}


def test_a_connection_that_was_in_use_does_nothing_in_a_child(store: MemoryStore) -> None:
    with reading(store._opened.engine, store.path) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None

        def use() -> None:
            with pytest.raises(BadInput, match="was opened in process"):
                driver.cursor()
            driver.rollback()
            driver.commit()
            driver.close()

        assert in_child(use) == ""
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


HOLDS_THE_INDEX = """
import os, sys, time
from pathlib import Path
from memstore.store.index_files import holding_index
with holding_index(Path(sys.argv[1]), wait=0.0):
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    print(pid, flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_does_not_live_on_in_its_child(
    store_path: Path, child: Child
) -> None:
    process = child(HOLDS_THE_INDEX, store_path)
    assert process.stdout is not None
    forked = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        with MemoryStore.open(store_path, settings={"lock_timeout": 0.0}) as store:
            store.add("tea")
            assert store.compact().sealed == 1
    finally:
        os.kill(forked, 9)


TRAINS = """
import os, sys
from memstore import MemoryStore
def fill(path):
    with MemoryStore.open(path, encoder="hashed") as store:
        store.add_many([f"word{n} other{n % 97} more{n % 31} text {n}" for n in range(400)])
        assert store.compact().trained
fill(sys.argv[1])
pid = os.fork()
if pid == 0:
    fill(sys.argv[2])
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_codec_is_trained_in_a_child_of_a_process_that_trained_one(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With OpenMP's threads, which stay in the parent, training would never end."""
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "2")
    process = child(TRAINS, tmp_path / "a.mem", tmp_path / "b.mem")
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
