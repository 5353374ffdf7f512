"""Opening, closing, and everything a path or an encoder can be that it should not."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memstore import (
    BadInput,
    EncoderMismatch,
    EncoderUnavailable,
    IndexDamaged,
    MemoryStore,
    SchemaTooNew,
    Settings,
    StoreNotFound,
    StoreUnwritable,
)
from memstore.encoders.bert_weights import find_model_folder
from memstore.encoders.hashed import HashedEncoder


def test_a_store_is_made_in_a_new_or_an_empty_folder_for_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "new" / "deep", str(tmp_path / "text")):
        with MemoryStore.open(path, encoder="hashed") as store:
            assert store.add("tea").text == "tea"
            assert store.encoder == "hashed"
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o077 == 0


def test_an_opened_store_uses_its_own_encoder(store: MemoryStore) -> None:
    memory = store.add("tea")
    for encoder in (None, "hashed", HashedEncoder()):
        with MemoryStore.open(store.path, encoder=encoder) as other:
            assert other.query("tea").hits[0].memory == memory


def test_another_encoder_by_name_or_object_is_refused_with_the_fix(
    store: MemoryStore, fingerprint: Callable[[Path], str]
) -> None:
    before = fingerprint(store.path)
    with pytest.raises(EncoderMismatch, match="'hashed', but 'minilm' was asked for"):
        MemoryStore.open(store.path, encoder="minilm")
    with pytest.raises(EncoderMismatch, match="other weights or settings"):
        MemoryStore.open(store.path, encoder=HashedEncoder(dim=8))
    assert fingerprint(store.path) == before


def test_an_unknown_encoder_leaves_no_empty_store_behind(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="'nonsense'"):
        MemoryStore.open(tmp_path / "agent.mem", encoder="nonsense")
    assert not (tmp_path / "agent.mem").exists()


def test_a_store_that_is_missing_is_not_made_when_it_should_not_be(tmp_path: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreNotFound, match="init"):
            MemoryStore.open(tmp_path / "agent.mem", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "note.txt").write_text("mine")
    with pytest.raises(BadInput, match="is a file"):
        MemoryStore.open(tmp_path / "file")
    with pytest.raises(BadInput, match="other files"):
        MemoryStore.open(tmp_path / "folder")
    with pytest.raises(StoreUnwritable, match="cannot be"):
        MemoryStore.open(tmp_path / "file" / "below", encoder="hashed")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["note.txt"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("path", ["", "  ", "a\0b", None, 5])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(BadInput, match="path"):
        MemoryStore.open(path, encoder="hashed")


def test_a_name_too_long_for_the_disk_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable):
        MemoryStore.open(tmp_path / ("x" * 300), encoder="hashed")


def test_a_database_that_is_none_is_damaged_not_new(tmp_path: Path) -> None:
    (tmp_path / "memstore.db").write_text("This is not a database, but it is long enough. " * 50)
    with pytest.raises(IndexDamaged):
        MemoryStore.open(tmp_path, encoder="hashed")


def test_an_interrupted_creation_is_finished_by_the_next_opening(tmp_path: Path) -> None:
    (tmp_path / "memstore.db").write_bytes(b"")
    with pytest.raises(IndexDamaged, match="never finished"):
        MemoryStore.open(tmp_path, read_only=True)
    with MemoryStore.open(tmp_path, encoder="hashed") as store:
        assert store.add("tea").text == "tea"


def test_a_newer_schema_is_refused_untouched(
    store: MemoryStore,
    sql: Callable[..., list[tuple[Any, ...]]],
    fingerprint: Callable[[Path], str],
) -> None:
    sql(store.path, "UPDATE alembic_version SET version_num = '9999'")
    before = fingerprint(store.path)
    for read_only in (False, True):
        with pytest.raises(SchemaTooNew, match=r"schema 9999.*up to"):
            MemoryStore.open(store.path, read_only=read_only)
    assert fingerprint(store.path) == before


def test_a_read_only_store_answers_everything_and_changes_nothing(
    store: MemoryStore, tmp_path: Path, fingerprint: Callable[[Path], str]
) -> None:
    memory = store.add("tea pot", key="k", entities=["Ana"])
    path = store.path
    store.close()
    before = fingerprint(path)
    with MemoryStore.open(path, read_only=True) as reader:
        assert reader.query("tea").hits[0].memory == memory
        assert reader.get_by_key("k") == reader.get(memory.id) == memory
        assert reader.stats().memories == 1
        assert reader.verify().clean
        assert reader.export(tmp_path / "out.jsonl") == 1
        reader.backup(tmp_path / "copy.mem")
        for call in (
            lambda: reader.add("x"),
            lambda: reader.add_many(["x"]),
            lambda: reader.ingest([{"text": "x"}]),
            lambda: reader.update(memory.id, title="x"),
            lambda: reader.forget(memory.id),
            lambda: reader.forget(memory.id, purge=True),
            lambda: reader.verify(repair=True),
            lambda: reader.rebuild(),
            lambda: reader.import_(tmp_path / "out.jsonl"),
        ):
            with pytest.raises(StoreUnwritable, match="read_only"):
                call()
    assert fingerprint(path) == before
    assert fingerprint(tmp_path / "copy.mem") == before


def test_a_closed_store_can_be_closed_again_but_not_used(store: MemoryStore) -> None:
    store.close()
    store.close()
    for call in (
        lambda: store.add("x"),
        lambda: store.query("x"),
        lambda: store.get("x"),
        lambda: store.list(),
        lambda: store.stats(),
        lambda: store.ingest([]),
        lambda: store.encoder,
        lambda: store.verify(),
    ):
        with pytest.raises(BadInput, match="closed"):
            call()


def test_a_moved_store_is_the_same_store(store: MemoryStore, tmp_path: Path) -> None:
    memory = store.add("tea")
    path = store.path
    store.close()
    moved = Path(shutil.move(path, tmp_path / "sp ace ü#?%41.mem"))
    with MemoryStore.open(moved) as again:
        assert again.query("tea").hits[0].memory == memory


@pytest.mark.parametrize(
    "settings",
    [
        {"batchsize": 3},
        {"batch_size": 0},
        {"batch_size": True},
        {"passage_tokens": 0},
        {"candidates": 1.5},
        {"overlap_tokens": -1},
        {"lock_timeout": "long"},
        {"lock_timeout": float("nan")},
        Settings(session_context=-1),
    ],
)
def test_settings_that_mean_nothing_are_refused_before_anything_is_made(
    tmp_path: Path, settings: Any
) -> None:
    with pytest.raises(BadInput, match="Setting"):
        MemoryStore.open(tmp_path / "agent.mem", encoder="hashed", settings=settings)
    assert list(tmp_path.iterdir()) == []


def test_settings_may_be_a_mapping(tmp_path: Path) -> None:
    settings = {"batch_size": 2, "lock_timeout": 1}
    seen: list[int] = []
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed", settings=settings) as store:
        store.ingest(
            [{"text": str(n)} for n in range(5)], progress=lambda report: seen.append(report.added)
        )
    assert seen == [2, 4, 5]


def test_a_folder_of_the_same_weights_is_the_same_encoder(tmp_path: Path) -> None:
    named = f"minilm:{find_model_folder()}"
    with MemoryStore.open(tmp_path / "agent.mem", encoder="minilm") as store:
        memory = store.add("Ana moved to Lisbon.")
    with MemoryStore.open(tmp_path / "agent.mem", encoder=named) as store:
        assert store.query("where is Ana?").hits[0].memory == memory
    with MemoryStore.open(tmp_path / "other.mem", encoder=named) as store:
        assert store.add("Ana moved to Lisbon.").text == memory.text
    with MemoryStore.open(tmp_path / "other.mem") as store:
        assert len(store.query("where is Ana?").hits) == 1


def test_the_same_weights_under_another_name_open_the_store(tmp_path):
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path) as store:
        store.add("Ana moved to Lisbon.")
    with MemoryStore.open(path, encoder=f"minilm:{find_model_folder(None)}") as store:
        assert store.query("where is Ana?").hits[0].memory.text == "Ana moved to Lisbon."
        assert store.encoder == "minilm"


def test_a_store_stays_usable_when_the_process_changes_its_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with MemoryStore.open("agent.mem", encoder="hashed") as store:
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.add("Ana moved to Lisbon.")
        assert store.stats().size_bytes > 0
        store.forget(store.list().memories[0].id, purge=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.mem", "elsewhere"]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_newer_schema_is_named_even_if_its_tables_are_others(tmp_path):
    path = tmp_path / "agent.mem"
    MemoryStore.open(path, encoder="hashed").close()
    with closing(sqlite3.connect(path / "memstore.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '0099'")
        database.execute("ALTER TABLE setting RENAME TO settings")
        database.commit()
    with pytest.raises(SchemaTooNew, match="0099"):
        MemoryStore.open(path)


READ_AS_NOBODY = """
import os, sys
from memstore import MemoryStore, StoreUnwritable

def read():
    with MemoryStore.open(sys.argv[1], read_only=True) as store:
        return store.query("Lisbon").hits[0].memory.text, store.verify().clean

read()  # whatever is imported on first use: the other user may not read this Python installation
os.setgid(65534); os.setuid(65534)
try:
    MemoryStore.open(sys.argv[1]).add("not allowed")
    raise SystemExit("written")
except StoreUnwritable:
    print(*read())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who may not write")
def test_a_store_one_may_read_but_not_write_can_be_read():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own folders are private
        os.chmod(folder, 0o755)
        path = Path(folder) / "agent.mem"
        with MemoryStore.open(path, encoder="hashed") as store:
            store.add("Ana moved to Lisbon.")
        path.chmod(0o755)
        (path / "memstore.db").chmod(0o644)
        environment = {**os.environ, "HOME": "/nonexistent"}
        done = subprocess.run(
            [sys.executable, "-c", READ_AS_NOBODY, path],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            cwd="/",
        )
        assert done.stdout == "Ana moved to Lisbon. True\n", done.stderr
