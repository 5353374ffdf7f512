"""Backups of stores in use, and stores made of backups: whole, verified, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memstore import (
    BadInput,
    IndexDamaged,
    MemoryStore,
    SchemaTooNew,
    StoreNotFound,
    StoreUnwritable,
    private_files,
)
from memstore.catalog.tables import SCHEMA_VERSION

WRITING = """
import itertools, sys
from memstore import MemoryStore
with MemoryStore.open(sys.argv[1], settings={"hot_tokens": 400}) as store:
    for n in itertools.count():
        store.add_many({"text": f"pair word{n} {side}", "key": f"{n}{side}"} for side in "lr")
        if n % 5 == 4:
            store.forget(store.get_by_key(f"{n - 2}l").id)
            store.forget(store.get_by_key(f"{n - 2}r").id)
        if n % 7 == 6:
            store.compact()
        print(n, flush=True)
"""
RESTORING = """
import os, signal, sys
from memstore import MemoryStore
from memstore.store import restoring
stage = getattr(restoring, sys.argv[3])
def killed(*arguments, **options):
    stage(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(restoring, sys.argv[3], killed)
MemoryStore.restore(sys.argv[1], sys.argv[2])
"""


def _fill(store: MemoryStore, count: int = 40) -> None:
    store.add_many(
        {"text": f"word{n} of Ana", "key": f"{n}", "entities": ["Ana"]} for n in range(count)
    )
    store.set_source("crm", reliability=0.8)
    store.forget(store.get_by_key("3").id)


@pytest.fixture
def backup(store: MemoryStore, tmp_path: Path) -> Path:
    """A backup of a store with a sealed and a hot tier."""
    _fill(store)
    store.compact()
    store.add("word0 and more", key="hot")
    return store.backup(tmp_path / "backup")


def _content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_backups_while_another_process_writes_and_merges_hold_all_it_had_acknowledged(
    store_path: Path, tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    process = child(WRITING, store_path)
    assert process.stdout is not None
    acknowledged, counts = -1, []
    with MemoryStore.open(store_path) as store:
        for number in range(3):
            while (n := int(process.stdout.readline())) < 4 * (number + 1):
                pass
            acknowledged = n
            path = store.backup(tmp_path / f"backup {number}")
            with MemoryStore.open(path) as copy:
                assert copy.verify().clean
                there = {memory.key for memory in copy.list(limit=10_000).memories}
                expected = {n for n in range(acknowledged + 1) if n % 5 != 2}
                assert {f"{n}{side}" for n in expected for side in "lr"} <= there
                assert {f"{key[:-1]}r" for key in there if key} <= there  # of one moment: pairs
                counts.append(len(there))
    assert counts == sorted(counts)


def test_every_file_of_a_backup_and_of_a_restored_store_is_its_owners(
    store: MemoryStore, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        _fill(store)
        store.compact()
        path = store.backup(tmp_path / "backup")
        MemoryStore.restore(path, tmp_path / "again.mem")
    finally:
        os.umask(before)
    for folder in (path, tmp_path / "again.mem"):
        modes = {
            (item.is_dir(), stat.S_IMODE(item.stat().st_mode))
            for item in (folder, *folder.rglob("*"))
        }
        assert modes == {(True, 0o700), (False, 0o600)}
        assert sorted(item.name for item in folder.iterdir()) == ["index", "memstore.db"]


def test_a_restored_store_is_the_one_that_was_backed_up(
    store: MemoryStore, backup: Path, tmp_path: Path
) -> None:
    before = _content(backup)
    report = MemoryStore.restore(backup, tmp_path / "again.mem")
    assert report.clean
    assert report.checked["memories"] == 40
    assert _content(backup) == before
    with MemoryStore.open(tmp_path / "again.mem") as again:
        everything: dict[str, Any] = {"namespace": "*", "limit": 100}
        assert again.list(**everything) == store.list(**everything)
        now: dict[str, Any] = {"now": "2030-01-01T00:00:00Z", "limit": 50}
        assert again.query("word7 of Ana", **now).hits == store.query("word7 of Ana", **now).hits
        assert again.sources() == store.sources()
        assert again.stats().segments == 1
        again.add("a store like any other")


def test_a_backup_that_nobody_may_write_to_is_restored(backup: Path, tmp_path: Path) -> None:
    folders = [backup, *(path for path in backup.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o500)
        assert MemoryStore.restore(backup, tmp_path / "again.mem").clean
    finally:
        for folder in folders:
            folder.chmod(0o700)


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def _sql(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path / "memstore.db")) as connection, connection:
        connection.execute(statement)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of a sealed file": (
        lambda path: _flip(next(path.glob("index/segment-*/codes.npy")), -1),
        "codes.npy is not as it was written",
    ),
    "a sealed file gone": (
        lambda path: next(path.glob("index/segment-*/codes.npy")).unlink(),
        "codes.npy is missing",
    ),
    "the index gone": (lambda path: shutil.rmtree(path / "index"), "is missing"),
    "a hot vector": (
        lambda path: _sql(path, "UPDATE hot_vector SET codes = zeroblob(length(codes))"),
        "do not match their checksum",
    ),
    "a count of entities": (
        lambda path: _sql(path, "UPDATE entity_count SET memories = 7"),
        "memories link to it, 7 are counted",
    ),
    "what was said": (
        lambda path: _sql(path, "UPDATE memory SET alpha = 9.0 WHERE key = '5'"),
        "alpha is 9.0",
    ),
    "the database cut off": (
        lambda path: os.truncate(path / "memstore.db", 8192),
        "memstore.db",
    ),
    "no database": (lambda path: (path / "memstore.db").write_bytes(b"x" * 5000), "no memstore"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_backup_nothing_is_restored_and_it_is_said_what_is_wrong(
    backup: Path, tmp_path: Path, damage: str
) -> None:
    harm, said = DAMAGES[damage]
    harm(backup)
    before = _content(backup)
    with pytest.raises(IndexDamaged, match=said) as error:
        MemoryStore.restore(backup, tmp_path / "again.mem")
    assert str(backup) in str(error.value)
    assert "partial" not in str(error.value)
    assert _content(backup) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.mem", "backup"]


def _instead(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replace(path: Path) -> None:
        path.rename(path.with_name("elsewhere"))
        make(path)

    return replace


UNREADABLE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a link": ("codes.npy", _instead(lambda path: path.symlink_to("elsewhere")), "symbolic link"),
    "a pipe": ("codes.npy", _instead(os.mkfifo), "it is no file"),
    "a folder": ("codes.npy", _instead(Path.mkdir), "it is no file"),
    "a file for the folder": (".", _instead(Path.touch), "cannot be read: Not a directory"),
}


def _check_copy_of_damaged(store: MemoryStore, tmp_path: Path, said: str) -> None:
    """A backup says what could not be read, and holds every memory."""
    with pytest.raises(IndexDamaged, match=rf"was made, but(.|\n)*{said}"):
        store.backup(tmp_path / "backup")
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]
    with pytest.raises(IndexDamaged, match="nothing was restored"):
        MemoryStore.restore(tmp_path / "backup", tmp_path / "again.mem")
    with MemoryStore.open(tmp_path / "backup") as copy:
        copy.verify(repair=True)
        assert copy.verify().clean
        everything: dict[str, Any] = {"namespace": "*", "limit": 100}
        assert copy.list(**everything) == store.list(**everything)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_of_a_store_with_something_else_for_a_file_a_backup_is_made_and_says_so(
    store: MemoryStore, tmp_path: Path, kind: str
) -> None:
    _fill(store)
    store.compact()
    name, harm, said = UNREADABLE[kind]
    [segment] = store.path.glob("index/segment-*")
    harm(segment if name == "." else segment / name)
    _check_copy_of_damaged(store, tmp_path, said)


class _Failing:
    """A file of which the medium gives nothing, or takes nothing."""

    def __init__(self, file: Any, number: int) -> None:
        self._file, self._number = file, number

    def __enter__(self) -> _Failing:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        raise OSError(self._number, os.strerror(self._number))

    def write(self, content: bytes) -> int:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES], ids=errno.errorcode.get)
def test_of_a_store_that_the_medium_does_not_give_a_backup_is_made_and_says_so(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _fill(store)
    store.compact()
    opened = private_files.open_file

    def failing(path: Path) -> Any:
        if Path(path).name == "codes.npy" and store.path in Path(path).parents:
            if number == errno.EACCES:
                raise PermissionError(number, os.strerror(number), os.fspath(path))
            return _Failing(opened(path), number)
        return opened(path)

    monkeypatch.setattr(private_files, "open_file", failing)
    _check_copy_of_damaged(store, tmp_path, f"codes.npy cannot be read: {os.strerror(number)}")


def test_a_backup_that_cannot_be_written_fails_and_is_not_called_damage(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    created = private_files.create_file

    def failing(path: Path) -> Any:
        file = created(path)
        return _Failing(file, errno.ENOSPC) if Path(path).name == "codes.npy" else file

    monkeypatch.setattr(private_files, "create_file", failing)
    with pytest.raises(StoreUnwritable, match="No space left"):
        store.backup(tmp_path / "backup")
    assert [path.name for path in tmp_path.iterdir()] == ["agent.mem"]


def test_a_store_is_not_restored_into_its_backup(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(backup)
    before = _content(backup)
    for place in (backup / "again.mem", backup / "new" / "again.mem", tmp_path / "link" / "again"):
        with pytest.raises(BadInput, match=r"again.* lies in .*outside"):
            MemoryStore.restore(backup, place)
    assert _content(backup) == before
    assert MemoryStore.restore(backup, tmp_path / "backup.mem").clean


def test_a_backup_of_a_newer_schema_is_refused(backup: Path, tmp_path: Path) -> None:
    newer = Path(shutil.copytree(backup, tmp_path / "newer"))
    _sql(newer, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match="newer has schema 9999"):
        MemoryStore.restore(newer, tmp_path / "again.mem")
    assert not (tmp_path / "again.mem").exists()


def test_a_restore_never_replaces_anything_and_takes_only_a_backup(
    store: MemoryStore, backup: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for taken in ("agent.mem", "file", "empty"):
        with pytest.raises(BadInput, match=rf"exists already(.|\n)*mv .*{taken}"):
            MemoryStore.restore(backup, tmp_path / taken)
    store.export(tmp_path / "out.jsonl")
    with pytest.raises(BadInput, match=r"memstore import .*out\.jsonl"):
        MemoryStore.restore(tmp_path / "out.jsonl", tmp_path / "again.mem")
    with pytest.raises(BadInput, match="is a file"):
        MemoryStore.restore(tmp_path / "file", tmp_path / "again.mem")
    for missing in ("nowhere", "empty"):
        with pytest.raises(StoreNotFound, match=missing):
            MemoryStore.restore(tmp_path / missing, tmp_path / "again.mem")
    with pytest.raises(StoreUnwritable):
        MemoryStore.restore(backup, tmp_path / "file" / "again.mem")
    assert not (tmp_path / "again.mem").exists()


def test_a_backup_that_somebody_writes_to_as_a_store_is_not_restored(
    backup: Path, tmp_path: Path
) -> None:
    with MemoryStore.open(backup) as used:
        used.add("tea")
        with pytest.raises(BadInput, match=r"in use as a store(.|\n)*backup"):
            MemoryStore.restore(backup, tmp_path / "again.mem")
    MemoryStore.restore(backup, tmp_path / "again.mem")
    with MemoryStore.open(tmp_path / "again.mem") as again:
        assert "tea" in {memory.text for memory in again.list(limit=100).memories}


@pytest.mark.parametrize("stage", ["copy_file", "copy_index", "_verified"])
def test_a_killed_restore_leaves_no_store_and_the_next_one_tidies_up(
    backup: Path, tmp_path: Path, child: Callable[..., subprocess.Popen[str]], stage: str
) -> None:
    target = tmp_path / "again.mem"
    process = child(RESTORING, backup, target, stage)
    assert process.wait(60) == -signal.SIGKILL
    (left,) = tmp_path.glob("again.mem*")
    assert left.name == f"again.mem.partial-{process.pid}"
    with pytest.raises(BadInput, match=r"no memstore\.db"):
        MemoryStore.open(left)
    MemoryStore.restore(backup, target)
    assert list(tmp_path.glob("again.mem*")) == [target]


@pytest.fixture
def somebody_at_work(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "out.partial-1"
    path.write_text("")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def test_only_what_nobody_works_on_is_tidied_up_and_only_that_of_the_same_target(
    store: MemoryStore, tmp_path: Path, somebody_at_work: Path
) -> None:
    own = f"out.partial-{os.getpid()}"  # of an earlier process that had this one's number
    for name in (own, "out.partial-99999999", "other.partial-99999999", "out.partial-x"):
        (tmp_path / name).write_text("")
    (tmp_path / "out.partial-99999998").mkdir()
    store.export(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("agent.mem", "other.partial-99999999", "out", "out.partial-1", "out.partial-x")
    ]


EXPORTING = """
import sys
from memstore import MemoryStore
with MemoryStore.open(sys.argv[1]) as store:
    store.export(sys.argv[2])
"""


def test_a_pipe_with_the_name_of_a_copy_keeps_no_export_waiting_and_stays(
    store: MemoryStore, tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    os.mkfifo(tmp_path / "out.partial-1")
    process = child(EXPORTING, store.path, tmp_path / "out")
    assert process.wait(60) == 0
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out", "out.partial-1"]


def test_what_cannot_be_tidied_up_keeps_nothing_else_from_being(
    store: MemoryStore, tmp_path: Path
) -> None:
    links = [f"out.partial-1{number}" for number in range(10)]
    for link in links:  # in whatever order the folder lists them
        (tmp_path / link).symlink_to("nowhere")
        (tmp_path / link.replace("-1", "-2")).write_text("")
    store.export(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out", *links]


def renumbered(store: MemoryStore, backup: Path, number: object) -> Path:
    """A backup whose database gives another number as its schema."""
    store.add("Ana lives in Porto.")
    store.backup(backup)
    with contextlib.closing(sqlite3.connect(backup / "memstore.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [number])
    return backup


def test_a_schema_number_that_became_bytes_is_restored_as_it_is_opened(
    store: MemoryStore, tmp_path: Path
) -> None:
    backup = renumbered(store, tmp_path / "backup.mem", SCHEMA_VERSION.encode())
    MemoryStore.restore(backup, tmp_path / "restored.mem")
    with MemoryStore.open(tmp_path / "restored.mem") as restored:
        assert restored.stats().memories == 1


def test_a_backup_that_cannot_be_migrated_names_no_copy_that_is_not_there(
    store: MemoryStore, tmp_path: Path
) -> None:
    backup = renumbered(store, tmp_path / "backup.mem", "0003")  # with the tables of the present
    with pytest.raises(IndexDamaged, match="Restore another backup") as error:
        MemoryStore.restore(backup, tmp_path / "restored.mem")
    assert "is kept" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.mem", "backup.mem"]
