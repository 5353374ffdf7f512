"""Several processes and handles on one store: what one does, the others see."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from memstore import MemoryStore, Settings, StoreLocked

Child = Callable[..., "subprocess.Popen[str]"]


def _finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def test_two_processes_that_read_the_same_file_store_everything_once(
    store: MemoryStore, child: Child, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(f'{{"id": "{n}", "text": "line {n}"}}\n' for n in range(300)))
    script = (
        "import sys; from memstore import MemoryStore\n"
        "with MemoryStore.open(sys.argv[1]) as store:\n"
        "    report = store.ingest(sys.argv[2], batch_size=7)\n"
        "    print(report.added, report.unchanged, len(report.errors))\n"
    )
    processes = [child(script, store.path, source) for _ in range(2)]
    reports = []
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        reports.append([int(number) for number in output.split()])
    assert sum(added for added, _, _ in reports) == 300
    assert all(added + same == 300 and not wrong for added, same, wrong in reports)
    assert store.stats().memories == 300
    assert store.verify().clean


def test_an_old_handle_sees_every_change_of_another_one(store: MemoryStore) -> None:
    def seen() -> set[str]:
        return {hit.memory.text for hit in reader.query("tea", limit=50).hits}

    with MemoryStore.open(store.path, read_only=True) as reader:
        assert seen() == set()
        first = store.add("tea one", key="k")
        assert seen() == {"tea one"}
        second = store.add("tea two", key="k")
        assert seen() == {"tea two"}
        store.update(second.id, text="tea three")
        assert seen() == {"tea three"}
        store.add_many(["tea four", "tea five"])
        assert seen() == {"tea three", "tea four", "tea five"}
        store.forget(second.id)
        assert seen() == {"tea four", "tea five"}
        store.update(first.id, valid_to=None)
        assert seen() == {"tea one", "tea four", "tea five"}
        store.forget(where={"text": {"contains": "f"}}, purge=True)
        assert seen() == {"tea one"}
        store.rebuild()
        assert seen() == {"tea one"}
        assert reader.get_by_key("k").text == "tea one"


def test_an_old_handle_sees_what_another_process_did(store: MemoryStore, child: Child) -> None:
    old = store.add("tea one", key="k")
    gone = store.add("tea gone")
    assert len(store.query("tea").hits) == 2
    script = (
        "import sys; from memstore import MemoryStore\n"
        "with MemoryStore.open(sys.argv[1]) as store:\n"
        "    store.add('tea two', key='k')\n"
        "    store.forget(sys.argv[2], purge=True)\n"
        "    store.add('tea three')\n"
    )
    _finish(child(script, store.path, gone.id))
    assert {hit.memory.text for hit in store.query("tea").hits} == {"tea two", "tea three"}
    assert store.get(old.id).superseded_by == store.get_by_key("k").id


def test_a_held_lock_is_a_typed_error_that_names_the_holder_and_stores_nothing(
    store_path: Path, fingerprint: Callable[[Path], str]
) -> None:
    with MemoryStore.open(store_path, settings=Settings(lock_timeout=0.05)) as store:
        memory = store.add("tea")
        before = fingerprint(store_path)
        with closing(sqlite3.connect(store_path / "memstore.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for call in (
                lambda: store.add("x"),
                lambda: store.update(memory.id, title="x"),
                lambda: store.forget(memory.id),
                lambda: store.ingest([{"text": "x"}]),
                lambda: store.rebuild(),
            ):
                with pytest.raises(StoreLocked, match="lock_timeout"):
                    call()
            assert store.query("tea").hits[0].memory == memory  # readers are not locked out
            other.execute("ROLLBACK")
        assert fingerprint(store_path) == before
        assert store.add("x").text == "x"
