"""Everything a store does that writes, prepared so that it can be interrupted anywhere.

Each operation works in a folder of its own that holds the store `agent.mem` and what else it needs.
It may be run again after it was interrupted, and must then come to the same end.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from memstore import MemoryStore, Settings
from memstore.catalog.engine import open_engine, reading
from memstore.catalog.migrate import migrations_folder
from memstore.catalog.tables import metadata
from memstore.errors import BadInput
from memstore.store import importing, sealing
from memstore.store.export_files import memory_lines, read_whole
from memstore.store.index_files import named_folders

Say = Callable[[object], None]
LINES, BATCH = 12, 4
EXPORTED = 20  # more than an import stores in one transaction, as it is here:
importing._BATCH = 16
ASKED = 30  # memories at most that are each searched for
DOOMED = ("k4", "k12", "k20")  # sealed, sealed, hot


def text_of(number: int) -> str:
    return f"word{number} word{number + 1} of Ana in turn {number}"


def _add(store: MemoryStore, first: int, last: int) -> None:
    store.add_many(
        {
            "text": text_of(n),
            "key": f"k{n}",
            "session": f"s{n // 8}",
            "metadata": {"n": n},
            "source": "crm" if n % 3 == 0 else None,
            "occurred_at": f"2026-03-{n % 28 + 1:02d}T09:00:00Z",
        }
        for n in range(first, last)
    )


def _seal(store: MemoryStore) -> None:
    sealing.seal_if_due(replace(store._opened, settings=Settings(hot_tokens=0)), now=0)


def _id(store: MemoryStore, key: str) -> str:
    return store.get_by_key(key).id


def prepare(folder: Path) -> None:
    """A store of two segments and a hot tier, with deleted, changed and judged memories in each."""
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as store:
        _add(store, 0, 8)
        _seal(store)
        _add(store, 8, 16)
        _seal(store)
        _add(store, 16, 24)
        store.forget([_id(store, f"k{n}") for n in (1, 9, 17)])
        store.update(_id(store, "k2"), text="changed word2 of Bruno")
        store.add("other word3 of Carla", key="k3", occurred_at="2026-04-01T00:00:00Z")
        store.confirm(_id(store, "k4"), source="audit")
        store.reinforce(_id(store, "k20"))
        store.alias("Anna", of="Ana")


def prepare_ingest(folder: Path) -> None:
    prepare(folder)
    with (folder / "in.jsonl").open("w", encoding="utf-8") as file:
        for n in range(100, 100 + LINES):
            line = {"id": f"k{n}", "text": text_of(n), "session": f"s{n // 8}", "n": n}
            file.write(json.dumps(line) + "\n")


def prepare_import(folder: Path) -> None:
    prepare(folder)
    with MemoryStore.open(folder / "other.mem", encoder="hashed") as other:
        _add(other, 100, 100 + EXPORTED)
        other.confirm(_id(other, "k101"), source="audit")
        other.export(folder / "in.jsonl")


def prepare_index(folder: Path) -> None:
    with MemoryStore.open(folder / "other.mem", encoder="hashed") as other:
        _add(other, 100, 124)
        other.export_index(folder / "index")
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as store:
        _add(store, 0, 8)


def prepare_backup(folder: Path) -> None:
    prepare(folder)
    with MemoryStore.open(folder / "agent.mem") as store:
        store.backup(folder / "backup.mem")


def prepare_retraining(folder: Path) -> None:
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as store:
        _add(store, 0, 2)
        _seal(store)  # a codec of two memories, which the others outgrow
        _add(store, 2, 48)
        store.forget(_id(store, "k1"))


def prepare_merge(folder: Path) -> None:
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as store:
        for first in range(0, 32, 8):
            _add(store, first, first + 8)
            if first < 24:
                _seal(store)
        store.forget([_id(store, "k3"), _id(store, "k30")])


def prepare_damage(folder: Path) -> None:
    """A flipped bit in the vectors of a memory that was deleted: only `verify` meets it."""
    prepare(folder)
    segment = sorted((folder / "agent.mem" / "index").glob("segment-*"))[0]
    residuals = np.load(segment / "residuals.npy", mmap_mode="r+")
    residuals[np.load(segment / "lengths.npy")[0], 0] ^= 1  # the first token of k1
    residuals.flush()


def prepare_old_schema(folder: Path) -> None:
    """The same memories in the first schema: what it had of each row."""
    from alembic import command
    from alembic.config import Config

    path = folder / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:  # nothing sealed, nothing judged
        _add(store, 0, 24)
        store.update(_id(store, "k2"), text="changed word2 of Bruno")
        store.forget(_id(store, "k9"))
    old = folder / "old"
    old.mkdir()
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    engine = open_engine(old)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with closing(sqlite3.connect(old / "memstore.db")) as to, to:
        to.execute("ATTACH ? AS present", (str(path / "memstore.db"),))
        for table in metadata.sorted_tables:
            names = [row[1] for row in to.execute(f"PRAGMA main.table_info({table.name})")]
            there = {row[1] for row in to.execute(f"PRAGMA present.table_info({table.name})")}
            if names and table.name != "entity_alias":
                shared = ", ".join(f'"{name}"' for name in names if name in there)
                to.execute(
                    f"INSERT INTO main.{table.name} ({shared}) "
                    f"SELECT {shared} FROM present.{table.name}"
                )
        to.execute("DELETE FROM setting WHERE name IN ('columns', 'index_number')")
        to.execute(
            "INSERT INTO entity_alias SELECT 'anna', id FROM entity WHERE canon = 'ana' LIMIT 1"
        )
    for file in path.iterdir():
        if file.name.startswith("memstore.db"):
            file.unlink()
    (old / "memstore.db").rename(path / "memstore.db")
    old.rmdir()


def prepare_nothing(folder: Path) -> None:
    del folder


def add(store: MemoryStore, folder: Path, say: Say) -> None:
    store.add(text_of(100), key="k100", session="s2", title="Turn", entities=["Dora"])
    say(1)


def add_many(store: MemoryStore, folder: Path, say: Say) -> None:
    _add(store, 100, 105)
    say(1)


def ingest(store: MemoryStore, folder: Path, say: Say) -> None:
    def stored(report: Any) -> None:
        say((report.added + report.unchanged) // BATCH)

    store.ingest(folder / "in.jsonl", batch_size=BATCH, progress=stored)


def update(store: MemoryStore, folder: Path, say: Say) -> None:
    store.update(_id(store, "k5"), text="changed word5 of Bruno", importance=0.5)
    say(1)


def feedback(store: MemoryStore, folder: Path, say: Say) -> None:
    store.contradict(_id(store, "k6"), source="audit", idempotency_key="once")
    say(1)


def supersede(store: MemoryStore, folder: Path, say: Say) -> None:
    if not [item for item in store.list(limit=100).memories if item.text == "newer word7"]:
        store.supersede(_id(store, "k7"), "newer word7", at="2026-05-01T00:00:00Z")
    say(1)


def forget(store: MemoryStore, folder: Path, say: Say) -> None:
    doomed = [item.id for item in store.list(limit=100).memories if item.key in DOOMED]
    if doomed:
        store.forget(doomed)
    say(1)


def prepare_purge(folder: Path) -> None:
    prepare(folder)
    with MemoryStore.open(folder / "agent.mem") as store:
        memories = {key: store.get_by_key(key) for key in DOOMED}
    purged = {item.id: item.text for item in memories.values()}
    (folder / "purged.json").write_text(json.dumps(purged))


def purge(store: MemoryStore, folder: Path, say: Say) -> None:
    store.forget([*json.loads((folder / "purged.json").read_text())], purge=True)
    say(1)


def seal(store: MemoryStore, folder: Path, say: Say) -> None:
    _seal(store)
    say(1)


def compact(store: MemoryStore, folder: Path, say: Say) -> None:
    store.compact()
    say(1)


def rebuild(store: MemoryStore, folder: Path, say: Say) -> None:
    store.rebuild()
    say(1)


def import_(store: MemoryStore, folder: Path, say: Say) -> None:
    batches = itertools.count(1)
    importing.import_(
        store._opened, folder / "in.jsonl", now=0, wrote=lambda memories: say(next(batches))
    )
    say(2)


def import_index(store: MemoryStore, folder: Path, say: Say) -> None:
    store.import_index(folder / "index")
    say(1)


def export(store: MemoryStore, folder: Path, say: Say) -> None:
    _copied(store.export, folder / "out.jsonl")
    say(1)


def backup(store: MemoryStore, folder: Path, say: Say) -> None:
    _copied(store.backup, folder / "copy.mem")
    say(1)


def _copied(copy: Callable[[Path], object], target: Path) -> None:
    """Make a copy, or be told that it is there."""
    try:
        copy(target)
    except BadInput as error:
        if not (target.exists() and "exists already" in str(error)):
            raise


def mend(path: Path) -> None:
    with MemoryStore.open(path) as store:
        report = store.verify(repair=True)
    assert report.findings
    assert report.clean


def repair(store: MemoryStore, folder: Path, say: Say) -> None:
    if store.verify(repair=True).clean:  # not while files cannot be read
        say(1)


def read(folder: Path, say: Say) -> None:
    with MemoryStore.open(folder / "agent.mem", read_only=True) as store:
        for n in (0, 2, 6, 8, 16, 23):
            assert store.query(text_of(n), limit=1).hits
        assert len(store.list(limit=100).memories) == len(store.query("word", limit=100).hits) + 1
        assert store.verify().clean
        store.neighbours("Ana")
        say(1)


def set_source(store: MemoryStore, folder: Path, say: Say) -> None:
    store.set_source("crm", reliability=0.8)
    say(1)


def create(folder: Path, say: Say) -> None:
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as store:
        say(1)
        store.add(text_of(0), key="k0")
        say(2)


def migrate(folder: Path, say: Say) -> None:
    MemoryStore.open(folder / "agent.mem").close()
    say(1)


def restore(folder: Path, say: Say) -> None:
    _copied(partial(MemoryStore.restore, folder / "backup.mem"), folder / "copy.mem")
    say(1)


# name → how its folder is made, what it does with the open store
WITH_STORE: dict[str, tuple[Callable[[Path], None], Callable[[MemoryStore, Path, Say], None]]] = {
    "add": (prepare, add),
    "add_many": (prepare, add_many),
    "ingest": (prepare_ingest, ingest),
    "update": (prepare, update),
    "feedback": (prepare, feedback),
    "supersede": (prepare, supersede),
    "forget": (prepare, forget),
    "purge": (prepare_purge, purge),
    "seal": (prepare, seal),
    "merge": (prepare_merge, compact),
    "retrain": (prepare_retraining, compact),
    "rebuild": (prepare, rebuild),
    "import": (prepare_import, import_),
    "import_index": (prepare_index, import_index),
    "export": (prepare, export),
    "backup": (prepare, backup),
    "repair": (prepare_damage, repair),
    "set_source": (prepare, set_source),
}
# the same, for what opens the store itself
OPENING: dict[str, tuple[Callable[[Path], None], Callable[[Path, Say], None]]] = {
    "create": (prepare_nothing, create),
    "migrate": (prepare_old_schema, migrate),
    "restore": (prepare_backup, restore),
    "read": (prepare, read),
}


def describe(folder: Path, *, tidy: bool = False) -> dict[str, Any]:
    """What a fresh process finds: the store, and the copies that an operation may have made.

    Args:
        tidy: compact the store afterwards, and name what then does not belong where it lies.
    """
    path = folder / "agent.mem"
    found: dict[str, Any] = {"store": None, "copy": None}
    if (path / "memstore.db").exists():
        with MemoryStore.open(path, encoder="hashed") as store:
            found["store"] = _describe_store(store)
            if tidy:
                store.compact()
                with reading(store._opened.engine, path) as connection:
                    named = {name for name, _ in named_folders(connection)}
    if (folder / "copy.mem").exists():
        with MemoryStore.open(folder / "copy.mem", read_only=True) as copy:
            found["copy"] = _describe_store(copy)
    found["export"] = _describe_export(folder / "out.jsonl")
    found["purged texts"] = _left(folder)
    if tidy:
        wrong = [item.name for item in (path / "index").iterdir() if item.name not in named]
        # the note of who writes is replaced by the next one
        known = {"memstore.db", "index", "index.lock", "writer.json"}
        wrong += [item.name for item in path.iterdir() if item.name not in known]
        wrong += [item.name for item in folder.iterdir() if ".partial" in item.name]
        assert wrong == []
    return found


def _describe_store(store: MemoryStore) -> Any:
    report = store.verify()
    memories = store.list(namespace="*", limit=10_000).memories
    keys = {item.id: item.key for item in memories}
    described = []
    every = len(memories) // ASKED + 1
    for place, item in enumerate(memories):
        described.append(
            {
                "text": item.text,
                "key": item.key,
                "session": item.session,
                "title": item.title,
                "metadata": dict(item.metadata),
                "source": item.source,
                "entities": list(item.entities),
                "ends": None if item.valid_to is None else item.valid_to.isoformat()[:10],
                "superseded_by": item.superseded_by and keys[item.superseded_by],
                "trust": [round(item.alpha, 6), round(item.beta, 6)],
                "uses": item.uses,
                "importance": item.importance,
                # maintenance says that it was there, and nothing about what is known
                "history": [
                    event.verb for event in store.history(item.id) if event.verb != "repair"
                ],
            }
        )
        if item.superseded_by is None and place % every == 0:
            hits = store.query(item.text, limit=1, namespace="*").hits
            assert hits[0].memory == item, (item.text, hits[0].memory.text)
            assert hits[0].passage.text
    found = store.query("word", limit=1000, namespace="*", include_invalid=True).hits
    assert {hit.memory.id for hit in found} <= set(keys)
    reliabilities = [(item.name, item.reliability) for item in store.sources()]
    return {
        "findings": sorted({finding.code for finding in report.findings}),
        "memories": sorted(described, key=repr),
        "sources": reliabilities,
    }


def _left(folder: Path) -> list[str]:
    """The texts of a purge of which some file of the store still has a byte."""
    if not (folder / "purged.json").exists():
        return []
    files = [file for file in (folder / "agent.mem").rglob("*") if file.is_file()]
    content = b"".join(file.read_bytes() for file in files)
    texts = json.loads((folder / "purged.json").read_text()).values()
    return [text for text in texts if text.rpartition(" of ")[2].encode() in content]


def _describe_export(file: Path) -> Any:
    """The keys of a whole export; an import would look at the manifest in the same way."""
    if not file.exists():
        return None
    with file.open("rb") as content:
        read_whole(content, file.name)
        return sorted(item["key"] for item in memory_lines(content, file.name))
