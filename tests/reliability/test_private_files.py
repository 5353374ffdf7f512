"""Whatever a store writes is for its owner alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from memstore import MemoryStore


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(path: Path) -> dict[Path, int]:
    """The permissions of a path and of all below it, links as themselves."""
    found = [path, *path.rglob("*")]
    return {item: stat.S_IMODE(os.lstat(item).st_mode) for item in found}


def open_to_others(path: Path) -> list[str]:
    return [
        f"{item} {mode:o}"
        for item, mode in modes(path).items()
        if mode != (0o700 if item.is_dir() else 0o600)
    ]


def test_every_folder_and_file_that_is_written_is_for_its_owner_alone(
    umask: int, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"text": "tea in Porto", "id": "k1"}\n{"text": "chess with Ana"}\n')
    path, copy, out = (tmp_path / name for name in ("agent.mem", "copy.mem", "out.jsonl"))
    with MemoryStore.open(path, encoder="hashed") as store:
        first = store.add("Ana plays chess", entities=["Ana"])
        store.ingest(lines)
        assert {item.name for item in path.iterdir()} > {"memstore.db-wal", "memstore.db-shm"}
        assert open_to_others(path) == []
        store.compact()
        assert {item.name.split("-")[0] for item in (path / "index").iterdir()} == {
            *("codec", "columns", "segment")
        }
        assert open_to_others(path) == []
        store.add("a later memory")
        store.backup(copy)
        store.export(out)
        store.export_index(tmp_path / "exported")
        store.forget(first.id, purge=True)
        store.verify(repair=True)
        store.rebuild()
        store.compact()
        for written in (path, copy, out, tmp_path / "exported"):
            assert open_to_others(written) == []
    with MemoryStore.open(tmp_path / "again.mem", encoder="hashed") as store:
        store.import_(out)
        assert open_to_others(store.path) == []
    with MemoryStore.open(tmp_path / "adopted.mem", encoder="hashed") as store:
        store.import_index(tmp_path / "exported", same_encoder=True)
        assert open_to_others(store.path) == []


def test_the_folders_made_above_a_store_or_a_copy_are_for_their_owner_alone(
    umask: int, tmp_path: Path
) -> None:
    above = tmp_path / "memories" / "of"
    with MemoryStore.open(above / "ana" / "agent.mem", encoder="hashed") as store:
        store.backup(above / "backups" / "copy.mem")
    assert open_to_others(tmp_path / "memories") == []


def test_what_its_owner_opened_to_others_stays_open_to_them(tmp_path: Path) -> None:
    path = tmp_path / "agent.mem"
    MemoryStore.open(path, encoder="hashed").close()
    path.chmod(0o750)
    (path / "memstore.db").chmod(0o640)
    with MemoryStore.open(path) as store:
        store.add("tea")
        found = modes(path)
    assert (found[path], found[path / "memstore.db"]) == (0o750, 0o640)
    assert found[path / "memstore.db-wal"] == 0o640  # without it, they could not read
