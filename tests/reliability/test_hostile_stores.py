"""A store or an index that somebody else made reads, writes and removes nothing outside itself,
runs nothing, and takes no more memory than it has bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memstore import BadInput, IndexDamaged, MemoryStore, StoreUnwritable
from memstore.catalog.checksums import checksums_of, crc
from memstore.catalog.tables import metadata
from memstore.errors import MemstoreError
from memstore.index.files import folder_of, read_array


@pytest.fixture(scope="module")
def sealed_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealed") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        store.add_many(f"memory number {n} of tea" for n in range(12))
        store.compact()
    return path


@pytest.fixture
def sealed(tmp_path: Path, sealed_store: Path) -> Path:
    return Path(shutil.copytree(sealed_store, tmp_path / "agent.mem"))


@pytest.fixture
def victim(tmp_path: Path, sealed_store: Path) -> Iterator[Path]:
    """A folder outside the store that must stay as it is, whatever happens."""
    folder = tmp_path / "victim"
    shutil.copytree(sealed_store / "index", folder)
    (folder / "diary.txt").write_text("mine")
    before = contents(folder)
    yield folder
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(store: Path, statement: str, *values: Any) -> list[Any]:
    """Run a statement behind the store's back, and make the checksums right, as anybody can."""
    with contextlib.closing(sqlite3.connect(store / "memstore.db")) as connection, connection:
        connection.create_function("crc", -1, lambda *values: crc(values))
        rows = connection.execute(statement, values).fetchall()
        for table in ("codec", "segment", "setting"):
            for item in checksums_of(metadata.tables[table]):
                covered = ", ".join(f'"{name}"' for name in item.covers)
                connection.execute(f'UPDATE "{table}" SET {item.name} = crc({covered})')
        return rows


def mended(path: Path, what: str) -> None:
    """`verify` names the attack, `--repair` undoes it, and everything is found again."""
    with MemoryStore.open(path) as store:
        named = [finding.message for finding in store.verify().findings]
        assert any(what in message for message in named), named
        store.verify(repair=True)
        assert store.verify().clean
        store.compact()
        assert len(store.query("memory of tea", limit=50).hits) == 12


def use(path: Path, copy: Path) -> None:
    """Read, copy and rewrite a store; only typed errors are raised."""
    calls: list[Callable[[MemoryStore], object]] = [
        lambda store: store.query("tea"),
        lambda store: store.backup(copy),
        lambda store: store.compact(),
    ]
    with MemoryStore.open(path) as store:
        for call in calls:
            with contextlib.suppress(MemstoreError):
                call(store)


@pytest.mark.parametrize("table", ["codec", "segment", "columns"])
@pytest.mark.parametrize("name", ["../../victim/{}", "{victim}/{}", "..", "", "{}/../../../victim"])
def test_a_folder_that_the_database_names_elsewhere_is_never_touched(
    sealed: Path, victim: Path, tmp_path: Path, table: str, name: str
) -> None:
    (own,) = (path.name for path in (sealed / "index").iterdir() if path.name.startswith(table))
    evil = name.replace("{victim}", str(victim)).replace("{}", own)
    if table == "columns":
        ((written,),) = run(sealed, "SELECT value FROM setting WHERE name = 'columns'")
        value = json.dumps({**json.loads(written), "name": evil})
        run(sealed, "UPDATE setting SET value = ? WHERE name = 'columns'", value)
    else:
        run(sealed, f"UPDATE {table} SET name = ?", evil)
    with MemoryStore.open(sealed) as store:
        if table == "columns":
            assert len(store.query("tea", limit=50).hits) == 12  # nothing depends on the copy
        else:
            with pytest.raises(IndexDamaged, match="no folder of an index is called"):
                store.query("tea")
            with pytest.raises(IndexDamaged, match="no folder of an index is called"):
                store.backup(tmp_path / "copy")
            assert (tmp_path / "copy" / "memstore.db").exists()  # the rows are saved
    mended(sealed, "no folder of an index is called")


@pytest.mark.parametrize("table", ["codec", "segment"])
@pytest.mark.parametrize(
    "evil",
    [
        *('{"../../../victim/diary.txt": {"size": 4, "sha256": ""}}', '{"x.npy": {"size": "4"}}'),
        *("[]", "null", "not JSON", '{"codes.npy": []}', "[" * 100_000),
    ],
)
def test_a_file_that_a_manifest_names_elsewhere_is_never_touched(
    sealed: Path, victim: Path, tmp_path: Path, table: str, evil: str
) -> None:
    run(sealed, f"UPDATE {table} SET manifest = ?", evil)
    with MemoryStore.open(sealed) as store:
        for call in (lambda: store.query("tea"), lambda: store.backup(tmp_path / "copy")):
            with pytest.raises(IndexDamaged, match=r"anifest|no file of an index is called"):
                call()
    with MemoryStore.open(sealed) as store:
        store.verify(repair=True)
        assert store.verify().clean
        assert len(store.query("memory of tea", limit=50).hits) == 12


@pytest.mark.parametrize("what", ["index", "codec", "segment", "columns"])
def test_a_linked_folder_is_not_read_and_what_lies_behind_it_not_removed(
    sealed: Path, victim: Path, tmp_path: Path, what: str
) -> None:
    index = sealed / "index"
    linked = index if what == "index" else next(index.glob(f"{what}-*"))
    shutil.rmtree(linked)
    linked.symlink_to(victim if what == "index" else victim / linked.name)
    use(sealed, tmp_path / "copy")
    with MemoryStore.open(sealed) as store:
        if what == "index":
            with pytest.raises(StoreUnwritable, match="is a symbolic link, which is not followed"):
                store.compact()
            linked.unlink()
        else:
            store.verify(repair=True)
        store.verify(repair=True)
        assert store.verify().clean
        store.compact()
        assert not linked.is_symlink()
        assert len(store.query("memory of tea", limit=50).hits) == 12


@pytest.mark.parametrize("lead", ["link", "pipe", "folder"])
@pytest.mark.parametrize("file", ["codes.npy", "segment.json", "centroids.npy", "codec.json"])
def test_what_lies_where_a_file_of_the_index_should_is_not_followed(
    sealed: Path, victim: Path, tmp_path: Path, lead: str, file: str
) -> None:
    (path,) = sealed.glob(f"index/*/{file}")
    path.unlink()
    if lead == "link":
        path.symlink_to(victim / path.parent.name / file)
    elif lead == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    use(sealed, tmp_path / "copy")
    with MemoryStore.open(sealed) as store:
        assert store.verify(repair=True).findings
        assert store.verify().clean
        assert len(store.query("memory of tea", limit=50).hits) == 12


def test_planted_links_do_not_make_a_writer_cut_off_a_file(
    sealed: Path, victim: Path, tmp_path: Path
) -> None:
    for note in ("writer.json", "index.lock"):
        (sealed / note).unlink(missing_ok=True)
        (sealed / note).symlink_to(victim / "diary.txt")
    with MemoryStore.open(sealed) as store:
        assert store.add("still written").text == "still written"
        with pytest.raises(StoreUnwritable, match=r"index\.lock cannot be made"):
            store.compact()
    for kind in ("out.jsonl", "copy.mem"):
        partial = tmp_path / f"{kind}.partial-{os.getpid()}"
        partial.symlink_to(victim / "diary.txt" if kind == "out.jsonl" else victim)
        (sealed / "index.lock").unlink(missing_ok=True)
        with MemoryStore.open(sealed) as store, pytest.raises(StoreUnwritable):
            (store.export if kind == "out.jsonl" else store.backup)(tmp_path / kind)
        assert partial.is_symlink()


def test_a_folder_in_the_way_of_a_backup_is_not_removed(sealed: Path, tmp_path: Path) -> None:
    partial = tmp_path / f"copy.mem.partial-{os.getpid()}"
    partial.mkdir()
    (partial / "diary.txt").write_text("mine")
    with MemoryStore.open(sealed) as store, pytest.raises(StoreUnwritable, match="failed"):
        store.backup(tmp_path / "copy.mem")
    assert (partial / "diary.txt").read_text() == "mine"


def test_a_linked_database_is_refused_and_left_as_it_is(sealed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    before = other.read_bytes()
    (sealed / "memstore.db").unlink()
    (sealed / "memstore.db").symlink_to(other)
    with pytest.raises(BadInput, match="is a symbolic link"):
        MemoryStore.open(sealed)
    assert other.read_bytes() == before


def array(path: Path, header: str, *, version: bytes = b"\x01\x00", rest: bytes = b"") -> None:
    """Write an array file of a header as it stands."""
    size = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    path.write_bytes(b"\x93NUMPY" + version + size + header.encode() + rest)


def header(shape: str, kind: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    ("written", "options"),
    [
        (header("(10**18,)"), {}),
        (header("(1000000000000,)"), {}),
        (header("(9223372036854775808, 0)"), {}),
        (header("(-1,)"), {"rest": b"\0" * 4}),
        (header("(True,)"), {"rest": b"\0" * 4}),
        (header("()"), {"rest": b"\0" * 4}),
        (header("(1,)", "'|O'"), {"rest": pickle.dumps([1])}),
        (header("(1,)", "[('a', '<f4', (1000000000,))]"), {}),
        (header("(1,)", order="True"), {"rest": b"\0" * 8}),
        ("{" + " " * 60_000 + "}", {}),
        ("-" * 900 + "1", {}),
        ("(" * 900, {}),
        (header("(1,)"), {"version": b"\x02\x00", "rest": b"\0" * 4}),
        (header("(1,)"), {"version": b"\x03\x00", "rest": b"\0" * 4}),
        (header("(1,)"), {"version": b"\x09\x00", "rest": b"\0" * 4}),
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(
    tmp_path: Path, written: str, options: dict[str, Any]
) -> None:
    array(tmp_path / "codes.npy", written, **options)
    with pytest.raises(IndexDamaged, match=r"codes\.npy"):
        read_array(tmp_path, "codes", np.float32, ())


def test_an_array_as_it_is_written_is_read(tmp_path: Path) -> None:
    array(tmp_path / "codes.npy", header("(2,)"), rest=np.array([1, 2], np.float32).tobytes())
    assert read_array(tmp_path, "codes", np.float32, ()).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "name", ["codec-1", "codec-000001/..", "../codec-000001", "index", "", None, 7, "codec-00000१"]
)
def test_only_folders_of_an_index_have_names_of_folders_of_an_index(
    tmp_path: Path, name: Any
) -> None:
    with pytest.raises(IndexDamaged, match="no folder of an index is called"):
        folder_of(tmp_path, name)
