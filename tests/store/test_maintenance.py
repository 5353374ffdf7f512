"""Whoever maintains a store leaves it whole, says what is wrong, and stands in nobody's way."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from memstore import (
    BadInput,
    IndexDamaged,
    Memory,
    MemoryStore,
    Settings,
    StoreLocked,
    StoreUnwritable,
)
from memstore.catalog.checksums import crc
from memstore.catalog.engine import reading
from memstore.catalog.log import last_event
from memstore.encoders import DocumentText
from memstore.encoders.hashed import HashedEncoder
from memstore.index import files
from memstore.store import (
    background,
    backing_up,
    checking,
    checking_passages,
    checking_sealed,
    columns,
    importing,
    index_files,
    rebuilding,
    sealing,
    sealing_source,
)
from memstore.store.columns import copy_row, open_copy, read_columns
from memstore.store.hot_blocks import sampled
from memstore.store.index_files import holding_index, named_folders

Sql = Callable[..., list[tuple[Any, ...]]]

NOW = "2100-01-01T00:00:00Z"


def _fill(store: MemoryStore, first: int = 0, last: int = 40) -> list[Memory]:
    return store.add_many(
        {"text": f"word{n} word{n + 1} of Ana", "key": f"k{n}"} for n in range(first, last)
    )


def _seal(store: MemoryStore) -> None:
    sealing.seal_if_due(replace(store._opened, settings=Settings(hot_tokens=0)), now=0)


def _found(store: MemoryStore, text: str = "word7") -> set[str | None]:
    return {hit.memory.key for hit in store.query(text, limit=1000, now=NOW).hits}


def _folders(store: MemoryStore) -> set[str]:
    return {path.name for path in (store.path / "index").iterdir()}


def _named(store: MemoryStore) -> set[str]:
    opened = store._opened
    with reading(opened.engine, opened.path) as connection:
        return {name for name, _ in named_folders(connection)}


def _folder(store: MemoryStore, kind: str) -> Path:
    [folder] = (store.path / "index").glob(f"{kind}-*")
    return folder


# the lock


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_the_index_is_held_does_not_keep_it_locked(
    store: MemoryStore,
) -> None:
    ended, end = os.pipe()
    with holding_index(store.path, wait=0.0):
        child = os.fork()
        if child == 0:  # lives on, with a copy of every descriptor
            os.read(ended, 1)
            os._exit(0)
    try:
        with holding_index(store.path, wait=0.0):
            pass
    finally:
        os.write(end, b"x")
        os.waitpid(child, 0)
        os.close(ended)
        os.close(end)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_that_leaves_the_block_does_not_let_others_in(store: MemoryStore) -> None:
    pid = os.getpid()
    try:
        with holding_index(store.path, wait=0.0):
            child = os.fork()
            if child:
                os.waitpid(child, 0)
                with pytest.raises(StoreLocked), holding_index(store.path, wait=0.0):
                    pass
    finally:
        if os.getpid() != pid:
            os._exit(0)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_typed_error(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    _fill(store)
    monkeypatch.setattr(
        index_files,
        "fcntl",
        SimpleNamespace(flock=refuse, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB, LOCK_UN=8),
    )
    with pytest.raises(StoreUnwritable, match="file system with locks"):
        store.compact()


def test_a_rebuild_waits_for_a_merge_however_long_it_takes(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MemoryStore.open(store_path, settings={"lock_timeout": 0.01}) as store:
        _fill(store)
        held = holding_index(store.path, wait=0.0)
        encode = rebuilding.encode
        timers = []

        def encoded(*arguments: Any) -> Any:
            held.__enter__()
            timers.append(threading.Timer(0.3, held.__exit__, (None, None, None)))
            timers[0].start()
            return encode(*arguments)

        monkeypatch.setattr(rebuilding, "encode", encoded)
        assert store.rebuild() == 40
        timers[0].join()
        assert store.verify().clean


# what is left when something goes wrong


@pytest.mark.parametrize("step", ["write_codec", "copy_to"])
def test_a_sealing_that_fails_leaves_no_file_behind(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    _fill(store)
    place: Any = sealing if step == "write_codec" else sealing_source.Source
    original = getattr(place, step)

    def fail(*arguments: Any, **options: Any) -> None:
        original(*arguments, **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(place, step, fail)
    with pytest.raises(StoreUnwritable, match="Nothing was lost"):
        store.compact()
    assert _folders(store) == set()
    monkeypatch.undo()
    assert store.compact().sealed == 40


def test_what_interrupts_a_sealing_is_raised_though_tidying_fails_too(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)

    def interrupt(*_: Any) -> None:
        monkeypatch.setattr(index_files, "remove_unnamed", fail)
        raise KeyboardInterrupt

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(KeyboardInterrupt):
        store.compact(progress=interrupt)


def test_an_error_without_a_name_in_the_background_is_logged(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("faiss: out of memory")

    monkeypatch.setattr(sealing, "train", fail)
    with (
        caplog.at_level(logging.WARNING, logger=background.__name__),
        MemoryStore.open(store_path, settings={"hot_tokens": 1}) as store,
    ):
        _fill(store)
    assert "was not sealed" in caplog.text
    assert "out of memory" in caplog.text


def test_an_interrupted_repair_never_removes_what_is_still_named(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    _damage(_folder(store, "segment") / "codes.npy")
    remove = index_files.remove_unnamed

    def interrupted(*arguments: Any) -> None:
        remove(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(index_files, "remove_unnamed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.verify(repair=True)
    with MemoryStore.open(store.path) as other:
        assert len(_found(other)) == 40
        assert other.verify().clean


def test_an_interrupted_repair_goes_on_where_it_was(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    _damage(_folder(store, "segment") / "codes.npy")
    monkeypatch.setattr(checking_passages, "_BATCH", 16)
    batches: list[int] = []
    encodings = checking_passages.Encodings

    def encoded(encoder: Any, settings: Any, items: Any) -> Any:
        batches.append(len(items))
        if len(batches) == 2:
            raise KeyboardInterrupt
        return encodings(encoder, settings, items)

    monkeypatch.setattr(checking_passages, "Encodings", encoded)
    with pytest.raises(KeyboardInterrupt):
        store.verify(repair=True)
    assert store.stats().hot_passages == 16
    assert not store.verify().clean
    assert store.verify(repair=True).clean
    assert batches == [16, 16, 16, 8]
    assert store.verify().clean
    assert len(_found(store)) == 40


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# files that cannot be read


def _queries(store: MemoryStore, tmp_path: Path) -> Iterator[Callable[[], object]]:
    yield lambda: store.query("word7")
    yield store.stats
    yield store.compact
    yield lambda: store.export_index(tmp_path / "out")


@pytest.mark.parametrize("kind", ["segment", "codec"])
@pytest.mark.parametrize("instead", [None, "a file"])
def test_a_folder_of_the_index_that_is_gone_is_named_by_whoever_needs_it(
    store: MemoryStore, tmp_path: Path, kind: str, instead: str | None
) -> None:
    _fill(store)
    store.compact()
    _fill(store, 40, 44)
    gone = _folder(store, kind)
    shutil.rmtree(gone)
    said = rf"{gone.name} is missing"
    if instead is not None:
        gone.write_text(instead)
        said = "Not a directory"
    with MemoryStore.open(store.path) as other:
        for call in _queries(other, tmp_path):
            with pytest.raises(IndexDamaged, match=rf"{said}(.|\n)*--repair"):
                call()
        assert other.verify(repair=True).clean
        assert len(_found(other)) == 44


def test_a_file_that_may_not_be_read_is_no_damage(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    _fill(store, 40, 44)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(files, "open_file", refuse)
    with MemoryStore.open(store.path) as other:
        for call in _queries(other, tmp_path):
            with pytest.raises(StoreUnwritable, match="cannot be read: Permission") as error:
                call()
            assert "--repair" not in str(error.value)


# purging


def _best(store: MemoryStore, text: str) -> Any:
    """How near the nearest centroid on disk is to each token vector of a text."""
    centroids = np.load(_folder(store, "codec") / "centroids.npy").astype(np.float32)
    [vectors] = HashedEncoder().encode_documents([DocumentText(text)])
    return (vectors @ centroids.T).max(axis=1)


SECRET = "zyxwv qqqqqq jjkkjj"


@pytest.mark.parametrize("memories", [1, 3, 30, 200])
@pytest.mark.parametrize("before", ["sealed", "forgotten", "forgotten and merged"])
def test_a_purge_leaves_no_vector_as_a_centroid(
    store: MemoryStore, memories: int, before: str
) -> None:
    _fill(store, 0, memories)
    secret = store.add(SECRET)
    store.compact()
    assert _best(store, SECRET).max() > 0.999
    if before != "sealed":
        store.forget(secret.id)
    if before == "forgotten and merged":
        store.compact()
    found = _found(store)
    store.forget(secret.id, purge=True)
    assert _best(store, SECRET).max() < 0.99
    assert _folders(store) == _named(store)
    assert store.verify().clean
    with MemoryStore.open(store.path) as other:
        assert _found(other) == _found(store) == found - {None}
    assert store.compact().merged <= 1  # all segments have the one codec that is left


def test_a_purge_of_everything_leaves_no_codec(store: MemoryStore) -> None:
    memories = _fill(store)
    store.compact()
    store.forget([memory.id for memory in memories], purge=True)
    assert not [*(store.path / "index").glob("codec-*")]
    assert _folders(store) == _named(store)


def test_centroids_of_many_passages_and_the_bytes_of_their_tokens_survive_a_purge(
    store: MemoryStore,
) -> None:
    _fill(store)
    secret = store.add(f"of Ana {SECRET}")
    store.compact()
    before = np.load(_folder(store, "codec") / "centroids.npy")
    codes = np.load(_folder(store, "segment") / "codes.npy")
    store.forget(secret.id, purge=True)
    after = np.load(_folder(store, "codec") / "centroids.npy")
    same = (before == after).all(axis=1)
    kept = np.load(_folder(store, "segment") / "codes.npy")
    np.testing.assert_array_equal(kept[same[kept]], codes[: len(kept)][same[kept]])
    assert same.sum() >= len(before) - 5  # Ana and of are of 40 others


def test_many_purges_cost_no_more_likeness_than_one(store: MemoryStore) -> None:
    _fill(store, 0, 400)
    store.compact()
    scores = {hit.memory.key: hit.score for hit in store.query("word7 word8 of Ana").hits}
    for n in range(100, 120):
        store.forget(store.get_by_key(f"k{n}").id, purge=True)
    again = {hit.memory.key: hit.score for hit in store.query("word7 word8 of Ana").hits}
    assert again["k7"] == pytest.approx(scores["k7"], abs=0.01)


def test_a_codec_most_of_which_was_purged_is_trained_anew(store: MemoryStore) -> None:
    memories = _fill(store, 0, 100)
    store.compact()
    store.forget([memory.id for memory in memories[10:]], purge=True)
    codec = np.load(_folder(store, "codec") / "centroids.npy")
    assert codec.any(axis=1).all()
    assert _found(store) == {f"k{n}" for n in range(10)}
    _fill(store, 200, 240)
    store.compact()
    assert store.query("word210 word211").hits[0].memory.key == "k210"
    assert store.verify().clean


def test_several_segments_share_the_codec_of_a_purge(store: MemoryStore) -> None:
    _fill(store, 0, 200)
    store.compact()
    for first in (200, 230):
        _fill(store, first, first + 30)
        _seal(store)
    assert store.stats().segments == 3
    with MemoryStore.open(store.path) as other:
        assert len(_found(other)) == 260
        store.forget(store.get_by_key("k210").id, purge=True)
        for handle in (store, other):
            assert len(_found(handle)) == 259
            for n in (5, 205, 245):
                hits = handle.query(f"word{n} word{n + 1}", limit=1, now=NOW).hits
                assert [hit.memory.key for hit in hits] == [f"k{n}"]
    assert store.verify().clean
    store.compact()
    assert store.verify().clean


# verify


def test_segments_are_not_replaced_while_they_are_verified(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    _fill(store, 40, 50)
    broken_segments = checking.broken_segments
    with MemoryStore.open(store.path, settings={"lock_timeout": 0.05}) as other:

        def replace_first(*arguments: Any) -> Any:
            with pytest.raises(StoreLocked):
                other.compact()
            return broken_segments(*arguments)

        monkeypatch.setattr(checking, "broken_segments", replace_first)
        assert store.verify().findings == ()
        other.compact()


def test_a_reader_says_nothing_against_folders_that_were_replaced_meanwhile(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    _fill(store, 40, 50)
    damaged_files = checking_sealed.damaged_files

    def replace_first(*arguments: Any) -> Any:
        monkeypatch.setattr(checking_sealed, "damaged_files", damaged_files)
        store.compact()
        return damaged_files(*arguments)

    with MemoryStore.open(store.path, read_only=True) as reader:
        monkeypatch.setattr(checking_sealed, "damaged_files", replace_first)
        assert reader.verify().findings == ()
        assert checking_sealed.damaged_files is damaged_files
        _damage(_folder(store, "segment") / "codes.npy")
        assert [item.code for item in reader.verify().findings] == ["segment"]


def test_a_sealed_passage_without_its_memory_is_repaired_at_once(
    store: MemoryStore, sql: Sql
) -> None:
    _fill(store)
    store.compact()
    sql(store.path, "DELETE FROM memory WHERE row = 7")
    report = store.verify(repair=True)
    assert report.clean
    assert store.verify().findings == ()
    with MemoryStore.open(store.path) as other:
        assert len(_found(other)) == 39
        other.compact()
        assert other.verify().clean


def test_what_a_repair_brings_to_light_is_reported(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    _fill(store)
    sql(store.path, "DELETE FROM memory WHERE row = 7")
    recount = checking.links.recount

    def recount_and_damage(connection: Any) -> None:
        recount(connection)
        connection.exec_driver_sql("DELETE FROM hot_vector WHERE passage_id = 1")

    monkeypatch.setattr(checking.links, "recount", recount_and_damage)
    report = store.verify(repair=True)
    assert [item.code for item in report.findings if not item.repaired] == ["passages"]
    assert store.verify(repair=True).clean


# the copy of the columns


def _rewritten(store: MemoryStore, sql: Sql, name: str, change: Callable[[Any], object]) -> None:
    """Change an array of the copy, its hash in the database too."""
    path = _folder(store, "columns") / f"{name}.npy"
    values = np.load(path)
    change(values)
    np.save(path, values)
    [(stored,)] = sql(store.path, "SELECT value FROM setting WHERE name = 'columns'")
    setting = json.loads(stored)
    raw = path.read_bytes()
    entry = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    setting["manifest"][path.name] = entry
    value = json.dumps(setting)
    statement = "UPDATE setting SET value = ?, checksum = ? WHERE name = 'columns'"
    sql(store.path, statement, value, crc(["columns", value]))


def _poke(values: Any) -> None:
    values[3] -= 1


def _repeat(values: Any) -> None:
    values[3] = values[2]


def _rename(values: Any) -> None:
    values[3] = b"A" * 26


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, _poke) for name in columns.NAMES),
        ("ids", _rename),
        ("by_id", _poke),
        ("by_id", _repeat),
    ],
)
def test_a_copy_that_does_not_say_what_the_rows_say_is_found_and_repaired(
    store: MemoryStore, sql: Sql, name: str, change: Callable[[Any], object]
) -> None:
    memories = _fill(store)
    store.compact()
    store.update(memories[9].id, importance=0.5)
    store.forget(memories[11].id)
    _fill(store, 50, 60)
    assert store.verify().clean
    _rewritten(store, sql, name, change)
    report = store.verify()
    assert [item.code for item in report.findings] == ["columns"]
    assert store.verify(repair=True).clean
    assert store.verify().findings == ()
    with MemoryStore.open(store.path) as other:
        assert len(_found(other)) == 49


@pytest.mark.parametrize("place", [10**9, -1])
def test_a_copy_with_places_that_are_none_is_not_used(
    store: MemoryStore, sql: Sql, place: int
) -> None:
    memories = _fill(store)
    store.compact()
    store.update(memories[5].id, importance=0.5)
    _rewritten(store, sql, "by_id", lambda values: values.fill(place))
    with MemoryStore.open(store.path) as other:
        assert len(_found(other)) == 40


def test_columns_are_read_in_pages_in_the_order_of_their_rows(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories = _fill(store, 0, 25)
    store.forget([memories[n].id for n in (4, 5, 6, 24)])
    wanted = [memory.id for memory in reversed(memories)]
    opened = store._opened
    with reading(opened.engine, opened.path) as connection:
        whole, some = read_columns(connection), read_columns(connection, wanted[:15])
        monkeypatch.setattr(columns, "_PAGE", 4)
        for ids, expected in ((None, whole), (wanted[:15], some), ([], None)):
            found = read_columns(connection, ids)
            if expected is None:
                assert len(found) == 0
                continue
            np.testing.assert_array_equal(found.ids, expected.ids)
            np.testing.assert_array_equal(found.by_id, expected.by_id)
            for name in columns.NAMES:
                np.testing.assert_array_equal(found.values[name], expected.values[name])
            assert (np.diff(found.values["row"]) > 0).all()
    assert len(whole) == 21


@pytest.mark.parametrize("ids", [("é" * 20, "é" * 20 + "x"), ("a" * 25 + "é", "a" * 25 + "è")])
def test_imported_ids_of_any_letters_and_length_are_told_apart(
    store: MemoryStore, tmp_path: Path, ids: tuple[str, str], reseal: Callable[[Path], None]
) -> None:
    memories = store.add_many(["word1", "word2"])
    store.export(tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text("utf-8")
    for memory, id_ in zip(memories, ids, strict=True):
        lines = lines.replace(memory.id, id_)
    (tmp_path / "long.jsonl").write_text(lines, "utf-8")
    reseal(tmp_path / "long.jsonl")
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        other.import_(tmp_path / "long.jsonl")
        other.compact()
        other.update(ids[1], importance=0.5)
        for path in (other.path, other.backup(tmp_path / "copy")):
            with MemoryStore.open(path) as again:
                assert {hit.memory.id for hit in again.query("word").hits} == {*ids}
        assert other.verify().clean
        other.forget(ids[0])
        assert [hit.memory.id for hit in other.query("word").hits] == [ids[1]]


def test_an_imported_index_opens_from_a_copy_of_the_columns(
    store: MemoryStore, tmp_path: Path
) -> None:
    _fill(store)
    store.export_index(tmp_path / "index")
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        assert other.import_index(tmp_path / "index").added == 40
        opened = other._opened
        with reading(opened.engine, opened.path) as connection:
            row = copy_row(connection)
            assert row is not None
            copied = open_copy(other.path / "index", row)
            assert copied is not None
            assert (len(copied), row.version) == (40, last_event(connection))
        assert other.verify().clean
        assert _folders(other) == _named(other)


# backups


def test_a_backup_does_without_a_copy_of_the_columns_that_is_gone(
    store: MemoryStore, tmp_path: Path
) -> None:
    _fill(store)
    store.compact()
    shutil.rmtree(_folder(store, "columns"))
    with MemoryStore.open(store.backup(tmp_path / "copy")) as copy:
        assert len(_found(copy)) == 40
        assert copy.verify().findings == ()
        assert _folders(copy) == _named(copy)


def test_a_backup_without_a_segment_says_so_and_can_be_repaired(
    store: MemoryStore, tmp_path: Path
) -> None:
    _fill(store)
    store.compact()
    (_folder(store, "segment") / "codes.npy").unlink()
    with pytest.raises(IndexDamaged, match=r"codes.npy is missing(.|\n)*--repair"):
        store.backup(tmp_path / "copy")
    with MemoryStore.open(tmp_path / "copy") as copy:
        assert copy.verify(repair=True).clean
        assert len(_found(copy)) == 40


def test_a_reader_whose_backup_meets_a_merge_is_told_to_try_again(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    _fill(store, 40, 50)
    copy_folder = backing_up._copy_folder

    def replace_first(*arguments: Any) -> list[str]:
        monkeypatch.setattr(backing_up, "_copy_folder", copy_folder)
        store.compact()
        return copy_folder(*arguments)

    with MemoryStore.open(store.path, read_only=True) as reader:
        # the codec stays, the segment after it is replaced
        monkeypatch.setattr(backing_up, "_copy_folder", replace_first)
        with pytest.raises(StoreLocked, match="try again"):
            reader.backup(tmp_path / "copy")
        with MemoryStore.open(reader.backup(tmp_path / "copy")) as copy:
            assert len(_found(copy)) == 50


# sealing what was written by other ways


def test_an_import_notes_each_batch_and_a_repair_what_became_hot(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    store.export(tmp_path / "out.jsonl")
    noted: list[int] = []
    monkeypatch.setattr(importing, "_BATCH", 16)
    monkeypatch.setattr(background.BackgroundSealing, "wrote", lambda _, n: noted.append(n))
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        assert other.import_(tmp_path / "out.jsonl").added == 40
    assert noted == [16, 16, 8]
    store.verify(repair=True)
    assert noted == [16, 16, 8]
    _damage(_folder(store, "segment") / "codes.npy")
    store.verify(repair=True)
    assert noted == [16, 16, 8, 40]


def test_an_import_that_fails_has_noted_what_it_stored(
    store: MemoryStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reseal: Callable[[Path], None],
) -> None:
    _fill(store)
    store.export(tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    lines[-2] = "no json"
    (tmp_path / "out.jsonl").write_text("\n".join(lines), "utf-8")
    reseal(tmp_path / "out.jsonl")
    noted: list[int] = []
    monkeypatch.setattr(importing, "_BATCH", 16)
    monkeypatch.setattr(background.BackgroundSealing, "wrote", lambda _, n: noted.append(n))
    with (
        MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other,
        pytest.raises(BadInput),
    ):
        other.import_(tmp_path / "out.jsonl")
    assert noted == [16, 16]


# the sample of a training


def test_a_sample_is_of_distinct_vectors_in_their_order_and_always_the_same() -> None:
    vectors = np.arange(100, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    blocks = [vectors[:10], vectors[10:11], vectors[11:11], vectors[11:90], vectors[90:]]
    chosen = sampled(blocks, 100, 30, 3)
    assert chosen.shape == (30, 3)
    assert (np.diff(chosen[:, 0]) > 0).all()
    np.testing.assert_array_equal(chosen, sampled([vectors], 100, 30, 3))
    np.testing.assert_array_equal(sampled(blocks, 100, 100, 3), vectors)
    np.testing.assert_array_equal(sampled(blocks, 100, 500, 3), vectors)
