"""A bit flipped in an index of the database, then writing, then repair.

An index that does not show a row must not let a second one be made beside it, which no repair could
tell apart: a namespace, a source, the setting that says whose vectors the store holds.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reliability.matrix import TORTURE

from memstore import MemoryStore, MemstoreError

TABLES = ("setting", "namespace", "source", "entity")
TEXTS = ["Ana lives in Porto.", "Bo lives in Lisbon.", "Ana met Bo in Braga."]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("indexes") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        for number, text in enumerate(TEXTS):
            store.add(text, key=f"fact-{number}", source="crm", entities=["Ana", "Braga"])
        store.compact()
    with contextlib.closing(sqlite3.connect(path / "memstore.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def entries(path: Path, table: str) -> Iterator[int]:
    """Yield where the bytes of texts in the unique index of a table are, in the database."""
    with contextlib.closing(sqlite3.connect(f"file:{path}/memstore.db?mode=ro", uri=True)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (root,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (f"sqlite_autoindex_{table}_1",)
        ).fetchone()
        column = {"namespace": "path", "entity": "canon"}.get(table, "name")
        names = [name for (name,) in db.execute(f'SELECT "{column}" FROM "{table}"')]
    page = (path / "memstore.db").read_bytes()[(root - 1) * size : root * size]
    for name in names:
        at = page.index(name.encode())  # few names: the index is one page
        yield (root - 1) * size + at
        yield (root - 1) * size + at + len(name) - 1


@pytest.mark.parametrize("table", TABLES)
def test_what_is_written_while_an_index_hides_a_row_is_one_with_it_after_repair(
    written: Path, tmp_path: Path, table: str, record_property: Callable[[str, object], None]
) -> None:
    outcomes: Counter[str] = Counter()
    for at in entries(written, table):
        # with the eighth bit it is no UTF-8
        for bit in range(7) if TORTURE else (at % 7,):
            path = tmp_path / f"{at}-{bit}.mem"
            shutil.copytree(written, path)
            with (path / "memstore.db").open("r+b") as database:
                database.seek(at)
                (byte,) = database.read(1)
                database.seek(at)
                database.write(bytes([byte ^ 1 << bit]))
            outcomes[_written_and_repaired(path)] += 1
            shutil.rmtree(path)
            record_property("flips", 1)
    assert outcomes["written"] > 0, outcomes


def _written_and_repaired(path: Path) -> str:
    texts, outcome = [*TEXTS], "written"
    try:
        with MemoryStore.open(path) as store:  # not with the default encoder
            assert store.stats().encoder == "hashed"
            store.add("Cy lives in Faro.", source="crm", entities=["Ana", "Cy"])
            store.compact()  # writes settings
        texts.append("Cy lives in Faro.")
    except MemstoreError:
        outcome = "refused"
    with MemoryStore.open(path) as store:
        store.verify(repair=True)
        assert store.verify().clean
        assert sorted(item.text for item in store.list().memories) == sorted(texts)
        assert {item.source for item in store.list().memories} == {"crm"}
        ana, *_ = store.entities(prefix="ana")
        assert ana.memories == len(texts)
    return outcome
