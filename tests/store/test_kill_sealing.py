"""Sealing, merging and retraining, ended at every point: nothing is lost, and all goes on.

One variant ends the process itself between any two steps that reach the disk, the other kills it
from outside at random moments. Set MEMSTORE_TORTURE=1 for every step and many more kills.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from memstore import MemoryStore, Settings
from memstore.catalog.engine import reading
from memstore.store import sealing
from memstore.store.index_files import named_folders

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")

Child = Callable[..., "subprocess.Popen[str]"]

TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
POINTS = 10_000 if TORTURE else 3  # of each operation
KILLS = 200 if TORTURE else 4

# Counts what reaches the disk or the database, and ends the process at one of them: opening a file
# to write, syncing, making, renaming or removing a file or folder, and each commit. Where an
# operation is begun and ended is told on standard output, with the number of steps.
STEPS = """
import os, sys
from dataclasses import replace
from memstore import MemoryStore, Settings
from memstore.store import sealing, sealing_source
path, operation, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps, counting = 0, False
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            step()
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"):
        step()
def step():
    global steps
    if counting:
        steps += 1
        if steps == last:
            os.kill(os.getpid(), 9)
fsync = os.fsync
def synced(descriptor):
    step()
    fsync(descriptor)
    step()
os.fsync = synced
import memstore.catalog.engine as engine
from memstore.store import sealing as subject
writing = subject.writing
import contextlib
@contextlib.contextmanager
def stepping(*arguments):
    with writing(*arguments) as connection:
        step()
        yield connection
        step()  # everything is written, nothing is committed
    step()
subject.writing = stepping
from memstore.index.files import ArrayWriter
append = ArrayWriter.append
def appended(self, rows):
    append(self, rows)
    self._file.flush()
    step()
ArrayWriter.append = appended
sealing_source.BLOCK_TOKENS = 60
sys.addaudithook(hook)
with MemoryStore.open(path) as store:
    store.query("word1")
    opened = replace(store._opened, settings=Settings(hot_tokens=0))
    counting = True
    if operation == "seal":
        sealing.seal_if_due(opened, now=0)
    else:
        store.compact(progress=lambda *_: step())
    counting = False
print(steps, flush=True)
"""


def _add(store: MemoryStore, first: int, last: int) -> None:
    store.add_many(
        {"text": f"word{n} word{n + 1} of Ana", "key": f"k{n}"} for n in range(first, last)
    )


def _seal(store: MemoryStore) -> None:
    sealing.seal_if_due(replace(store._opened, settings=Settings(hot_tokens=0)), now=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stores in which a seal, a merge or a retraining is due, each of 90 memories but three."""
    folder = tmp_path_factory.mktemp("prepared")
    paths = {}
    for operation, bounds in {
        "seal": (60, 90),  # hot passages beside a segment
        "first": (90,),  # everything hot
        "merge": (60, 68, 76, 90),  # segments, deleted passages among them
        "retrain": (2, 90),  # a codec of two memories
    }.items():
        path = paths[operation] = folder / operation
        with MemoryStore.open(path, encoder="hashed") as store:
            first = 0
            for last in bounds:
                _add(store, first, last)
                first = last
                if last < 90 or operation == "merge":
                    _seal(store)
            store.forget([store.get_by_key(f"k{n}").id for n in (1, 5, 70)])
            assert (
                len(_named(store)) == {"seal": 3, "first": 0, "merge": 6, "retrain": 3}[operation]
            )
    return paths


def _named(store: MemoryStore) -> set[str]:
    opened = store._opened
    with reading(opened.engine, opened.path) as connection:
        return {name for name, _ in named_folders(connection)}


def _check(path: Path) -> None:
    """Everything is there, agrees with itself, is found, and maintenance goes on."""
    kept = {f"k{n}" for n in range(90) if n not in (1, 5, 70)}
    with MemoryStore.open(path) as store:
        _check_found(store, kept)
        report = store.verify()
        assert report.clean, report.findings
        store.add("word200 word201 after it", key="after")
        store.compact()
        stats = store.stats()
        assert (stats.segments, stats.hot_passages, stats.passages) == (1, 0, 88)
        _check_found(store, kept | {"after"})
        assert {item.name for item in (path / "index").iterdir()} == _named(store)
        report = store.verify()
        assert report.clean, report.findings


def _check_found(store: MemoryStore, kept: set[str]) -> None:
    assert store.stats().memories == store.stats().passages == len(kept)
    hits = store.query("word7 word8", limit=1000).hits
    assert {hit.memory.key for hit in hits} == kept
    assert hits[0].memory.key == "k7"
    for n in (0, 2, 6, 33, 62, 69, 71, 89):
        assert store.get_by_key(f"k{n}").text == f"word{n} word{n + 1} of Ana"
        found = store.query(f"word{n} word{n + 1} of Ana", limit=1).hits
        assert [hit.memory.key for hit in found] == [f"k{n}"]


def _run(child: Child, path: Path, operation: str, last: int) -> int | None:
    """Run an operation until a step; return the number of steps if it came to its end."""
    process = child(STEPS, path, operation, last)
    output, errors = process.communicate(timeout=120)
    if process.returncode == -signal.SIGKILL:
        return None
    assert process.returncode == 0, errors
    return int(output)


@pytest.mark.parametrize("operation", ["seal", "first", "merge", "retrain"])
def test_a_process_that_ends_between_any_two_steps_of_maintenance_loses_nothing(
    prepared: dict[str, Path], child: Child, tmp_path: Path, operation: str
) -> None:
    whole = shutil.copytree(prepared[operation], tmp_path / "whole")
    total = _run(child, whole, operation, 0)
    assert total is not None
    assert total > 25
    _check(whole)
    chance = random.Random(f"steps of {operation}")
    points = sorted(chance.sample(range(1, total + 1), min(POINTS, total)))
    for point in points:
        path = shutil.copytree(prepared[operation], tmp_path / f"{point}")
        assert _run(child, path, operation, point) is None, f"step {point} of {total}"
        _check(path)
        shutil.rmtree(path)


# Ends itself again and again on one store, each time one step later than before or so.
LOOP = """
import itertools, sys
from memstore import MemoryStore
from memstore.store import sealing, sealing_source
path, first = sys.argv[1], int(sys.argv[2])
sealing_source.BLOCK_TOKENS = 60
with MemoryStore.open(path) as store:
    for n in itertools.count(first):
        store.add_many(
            {"text": f"word{n} word{n + 1} part{i}", "key": f"k{n}.{i}"} for i in range(12)
        )
        store.forget(store.get_by_key(f"k{n}.11").id)
        print("added", n, flush=True)
        store.compact(progress=lambda what, *_: print(what, n, flush=True))
        print("compacted", n, flush=True)
"""


def test_a_process_killed_at_random_moments_of_compacting_loses_nothing(
    store_path: Path, child: Child
) -> None:
    chance = random.Random(20_261_123)
    begun = -1  # the highest number that may have been added
    added = -1
    for _ in range(KILLS):
        process = child(LOOP, store_path, begun + 1)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randrange(1, 25))]
        time.sleep(chance.uniform(0.0, 0.02))
        process.send_signal(signal.SIGKILL)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, errors
        first = begun + 1
        for line in [*lines, *output.splitlines()]:
            what, number = line.split()
            if what == "added":
                added = int(number)
        begun = max(added + 1, first)
        with MemoryStore.open(store_path) as store:
            report = store.verify()
            assert report.clean, report.findings
            keys = {memory.key for memory in store.list(limit=10_000).memories}
            hits = store.query("word0 part3", limit=10_000).hits
            assert {hit.memory.key for hit in hits} == keys
            for n in range(added + 1):
                own = {key for key in keys if key is not None and key.startswith(f"k{n}.")}
                assert len(own) in (0, 11, 12)
            assert sum(key is not None and key.startswith(f"k{added}.") for key in keys) == 11
            # among its own: of all, a codec made for fewer words may not single it out
            own = {"key": {"in": [f"k{added}.{part}" for part in range(12)]}}
            found = store.query(f"word{added} word{added + 1} part4", limit=1, where=own).hits
            assert [hit.memory.key for hit in found] == [f"k{added}.4"]
            if chance.random() < 0.3:
                store.compact()
                assert {item.name for item in (store_path / "index").iterdir()} == _named(store)
                assert store.verify().clean


def test_a_lock_of_a_killed_process_holds_up_nobody(
    prepared: dict[str, Path], child: Child, tmp_path: Path
) -> None:
    path = shutil.copytree(prepared["merge"], tmp_path / "killed")
    assert _run(child, path, "merge", 20) is None
    with MemoryStore.open(path, settings={"lock_timeout": 0.0}) as store:
        store.compact()
    _check(path)
