"""Real processes killed at random moments: what was acknowledged is there, nothing is half there.

Set MEMSTORE_TORTURE=1 for many more kills.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import MemoryStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")

Child = Callable[..., "subprocess.Popen[str]"]

TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
LINES = 12_000 if TORTURE else 2400
KILLS = 50 if TORTURE else 8
LOOP_KILLS = 10 if TORTURE else 1
BATCH = 8

INGEST = """
import sys
from memstore import MemoryStore
path, source, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
def acknowledge(report):
    print(report.added + report.unchanged, report.added, flush=True)
with MemoryStore.open(path) as store:
    store.ingest(source, batch_size=batch, progress=acknowledge)
print("end", flush=True)
"""


def _text(number: int) -> str:
    return f"word{number} and word{number + 1} of Ana López in line {number}"


def _kill(process: subprocess.Popen[str], delay: float) -> list[str]:
    """End a process the hard way after a while and return the lines it had printed."""
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGKILL, 0), errors
    return output.splitlines()


def test_a_killed_ingest_loses_nothing_acknowledged_and_resumes_to_the_full_set(
    store_path: Path, child: Child, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(
        "".join(
            json.dumps({"id": f"k{n}", "text": _text(n), "session": f"s{n // 50}", "n": n}) + "\n"
            for n in range(LINES)
        ),
        encoding="utf-8",
    )
    chance = random.Random(20_260_301)
    stored = in_the_middle = 0
    for _ in range(KILLS):
        process = child(INGEST, store_path, source, BATCH)
        assert process.stdout is not None
        acknowledged = stored
        for _ in range(chance.randrange(1, 6)):  # batches beyond those stored before
            for line in process.stdout:
                if line == "end\n" or int(line.split()[1]) > 0:
                    break
            if line == "end\n":
                break
            acknowledged = int(line.split()[0])
        for line in _kill(process, chance.uniform(0.0, 0.03)):
            acknowledged = int(line.split()[0]) if line != "end" else LINES
        with MemoryStore.open(store_path) as store:
            report = store.verify()
            assert report.clean, report.findings
            memories = []
            cursor = None
            while True:
                page = store.list(limit=1000, cursor=cursor)
                memories += page.memories
                cursor = page.cursor
                if cursor is None:
                    break
            assert [memory.key for memory in memories] == [f"k{n}" for n in range(len(memories))]
            assert [memory.text for memory in memories] == [_text(n) for n in range(len(memories))]
            assert all(memory.metadata == {"n": n} for n, memory in enumerate(memories))
            assert all("Ana López" in memory.entities for memory in memories)
            stored = len(memories)
            assert stored >= acknowledged
            assert stored % BATCH == 0 or stored == LINES
            in_the_middle += 0 < stored < LINES
            assert len(store.query(f"word{stored - 1}", limit=1).hits) == 1
    assert in_the_middle > 0  # else the kills came too late to mean anything
    with MemoryStore.open(store_path) as store:
        report = store.ingest(source, batch_size=BATCH)
        assert (report.added, report.unchanged) == (LINES - stored, stored)
        assert store.stats().memories == LINES
        assert store.verify().clean


LOOP = """
import itertools, sys
from memstore import MemoryStore
path, operation, first, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
with MemoryStore.open(path) as store:
    for n in itertools.count(first):
        if operation == "add":
            print("begin", n, flush=True)
        memory = store.add(f"original secret{n}x of Ana", key=f"k{n}", entities=["Ana", f"E{n}"])
        if operation != "add":
            print("begin", n, flush=True)
        if operation == "update":
            store.update(memory.id, text=f"changed secret{n}x of Ana", entities=["Bruno"])
        elif operation in ("forget", "purge"):
            store.forget(memory.id, purge=operation == "purge")
        elif operation == "rebuild":
            store.rebuild()
        elif operation == "backup":
            store.backup(f"{folder}/backup{n}")
        elif operation == "export":
            store.export(f"{folder}/out{n}.jsonl")
        print("done", n, flush=True)
"""


@pytest.mark.parametrize(
    "operation", ["add", "update", "forget", "purge", "rebuild", "backup", "export"]
)
def test_a_process_killed_in_any_operation_leaves_it_done_or_not_begun(
    store_path: Path, child: Child, tmp_path: Path, operation: str
) -> None:
    chance = random.Random(f"kill {operation}")
    done: set[int] = set()
    begun: set[int] = set()
    for _ in range(LOOP_KILLS):
        process = child(LOOP, store_path, operation, max(begun, default=-1) + 1, tmp_path)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2 * chance.randrange(2, 9))]
        lines += _kill(process, chance.uniform(0.0, 0.02))
        for line in lines:
            word, number = line.split()
            (begun if word == "begin" else done).add(int(number))
        with MemoryStore.open(store_path) as store:
            report = store.verify()
            assert report.clean, report.findings
            _check(store, operation, done, begun, tmp_path)
            assert store.add(f"after {len(done)}").text == f"after {len(done)}"


def _check(
    store: MemoryStore, operation: str, done: set[int], begun: set[int], folder: Path
) -> None:
    found = {memory.key: memory for memory in store.list(limit=10_000).memories if memory.key}
    for number in begun:
        memory = found.get(f"k{number}")
        searched = store.query(f"secret{number}x", limit=1).hits
        if operation in ("forget", "purge"):
            assert not (memory is not None and number in done)
        elif number in done or operation != "add":
            assert memory is not None
        if memory is None:
            assert not searched or f"secret{number}x" not in searched[0].memory.text
            continue
        assert searched[0].memory == memory
        original, changed = (
            (f"{word} secret{number}x of Ana", entities)
            for word, entities in (
                ("original", ("Ana", f"E{number}")),
                ("changed", ("Bruno",)),
            )
        )
        state = (memory.text, memory.entities)
        allowed = {original, changed} if operation == "update" else {original}
        assert state in ({changed} if operation == "update" and number in done else allowed)
    if operation == "purge":
        _check_erased(store.path, done)
    for copy in folder.glob("backup*"):
        if "partial" not in copy.name:
            with MemoryStore.open(copy, read_only=True) as backup:
                assert backup.verify().clean
                assert f"k{copy.name.removeprefix('backup')}" in {
                    memory.key for memory in backup.list(limit=10_000).memories
                }
    for file in folder.glob("out*.jsonl"):
        header, *rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        assert len(rows) == header["memories"]
        assert f"k{file.stem.removeprefix('out')}" in {row["key"] for row in rows}


def _check_erased(path: Path, done: set[int]) -> None:
    content = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
    for number in done:
        assert f"secret{number}x".encode() not in content
