"""Damage of sealed files that `verify` must find, and what it makes again from the texts."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memstore import IndexDamaged, MemoryStore, Settings, StoreLocked
from memstore.catalog.engine import reading
from memstore.store import index_files, sealing
from memstore.store.index_files import named_folders

Sql = Callable[..., list[tuple[Any, ...]]]

NOW = "2100-01-01T00:00:00Z"
SEGMENT = [
    *("codes", "residuals", "inverse_norms", "passages", "lengths", "ivf", "ivf_lengths"),
]
CODEC = ["centroids", "panels", "cutoffs", "weights"]
FILES = [
    *(("segment", f"{name}.npy") for name in SEGMENT),
    ("segment", "segment.json"),
    *(("codec", f"{name}.npy") for name in CODEC),
    ("codec", "codec.json"),
]


@pytest.fixture(scope="module")
def sealed_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segments of one codec, one of them with deleted passages, and hot passages."""
    path = tmp_path_factory.mktemp("sealed") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        _add(store, 0, 24)
        store.compact()
        _add(store, 24, 32)
        opened = replace(store._opened, settings=Settings(hot_tokens=0))
        sealing.seal_if_due(opened, now=0)
        _add(store, 32, 36)
        store.forget([store.get_by_key(f"k{n}").id for n in (3, 4)])
        assert store.stats().segments == 2
        assert store.verify().clean
    return path


@pytest.fixture
def sealed(sealed_path: Path, tmp_path: Path) -> Iterator[MemoryStore]:
    with MemoryStore.open(shutil.copytree(sealed_path, tmp_path / "agent.mem")) as store:
        store.query("word7")
        yield store


def _add(store: MemoryStore, first: int, last: int) -> None:
    store.add_many(
        {"text": f"word{n} word{n + 1} of Ana", "key": f"k{n}"} for n in range(first, last)
    )


def _found(store: MemoryStore) -> dict[str | None, float]:
    hits = store.query("word7 word8 word30", limit=100, now=NOW).hits
    return {hit.memory.key: hit.score for hit in hits}


def _check_whole(store: MemoryStore) -> None:
    """Every memory is found again, and everything goes on as ever."""
    kept = [n for n in range(36) if n not in (3, 4)]
    found = _found(store)
    assert found.keys() == {f"k{n}" for n in kept}
    assert found["k7"] > 0.6
    answers = store.query_many([f"word{n} word{n + 1}" for n in kept], limit=1, now=NOW)
    for n, answer in zip(kept, answers, strict=True):
        [hit] = answer.hits
        assert hit.memory.key == f"k{n}"
        assert hit.memory.text == f"word{n} word{n + 1} of Ana"
        assert hit.memory == store.get_by_key(f"k{n}")
    assert store.verify().findings == ()
    store.compact()
    assert _found(store).keys() == found.keys()
    assert store.verify().findings == ()
    opened = store._opened
    with reading(opened.engine, opened.path) as connection:
        named = {name for name, _ in named_folders(connection)}
    assert {path.name for path in (store.path / "index").iterdir()} == named


def _repair(store: MemoryStore) -> None:
    """Damage is found, looking repairs nothing, and repair repairs it at the first try."""
    found = store.verify()
    assert not found.clean
    assert store.verify().findings == found.findings
    repaired = store.verify(repair=True)
    assert repaired.clean, repaired.findings
    said = [item.message for item in repaired.findings]
    assert all(any(told.startswith(item.message) for told in said) for item in found.findings)


def _file(store: MemoryStore, folder: str, name: str) -> Path:
    return sorted((store.path / "index").glob(f"{folder}-*"))[0] / name


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x55
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte in the middle": lambda path: _flip(path, path.stat().st_size // 2),
    "the last byte": lambda path: _flip(path, -1),
    "the first byte": lambda path: _flip(path, 0),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "one byte more": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize(("folder", "name"), FILES)
def test_a_damaged_file_is_named_and_what_it_held_is_made_again_from_the_texts(
    sealed: MemoryStore, folder: str, name: str
) -> None:
    path = _file(sealed, folder, name)
    original = path.read_bytes()
    for how, damage in DAMAGE.items():
        damage(path)
        report = sealed.verify()
        assert not report.clean, how
        assert any(folder in item.message for item in report.findings), how
        assert {item.code for item in report.findings} == {"segment"}
        path.write_bytes(original)
    assert sealed.verify().clean
    DAMAGE["a byte in the middle"](path)
    with MemoryStore.open(sealed.path) as other:
        _repair(other)
        _check_whole(other)
    _check_whole(sealed)  # a handle that had everything open


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize(("folder", "name"), [("segment", "codes.npy"), ("codec", "weights.npy")])
def test_every_kind_of_damage_is_repaired(
    sealed: MemoryStore, folder: str, name: str, how: str
) -> None:
    DAMAGE[how](_file(sealed, folder, name))
    with MemoryStore.open(sealed.path) as other:
        _repair(other)
        _check_whole(other)


@pytest.mark.parametrize(("folder", "name"), FILES)
@pytest.mark.parametrize("how", ["the last byte", "cut in half", "gone"])
def test_a_query_of_damaged_files_answers_or_names_the_damage(
    sealed: MemoryStore, folder: str, name: str, how: str
) -> None:
    DAMAGE[how](_file(sealed, folder, name))
    for settings in ({}, {"exact": 1, "exhaustive": 0}):
        with MemoryStore.open(sealed.path, settings=settings) as other:
            for call in (
                lambda store: store.query("word7", limit=3, explain=True),
                lambda store: store.stats(),
                lambda store: store.compact(),
            ):
                with contextlib.suppress(IndexDamaged):  # any other error fails the test
                    call(other)


def test_a_query_that_finds_a_passage_which_no_memory_has_names_the_damage(
    sealed: MemoryStore,
) -> None:
    path = _file(sealed, "segment", "passages.npy")
    passages = np.load(path)
    passages[:, 0] += 1_000_000
    np.save(path, passages)
    with (
        MemoryStore.open(sealed.path) as other,
        pytest.raises(IndexDamaged, match=r"has passage 1000\d+ of the memory in row"),
    ):
        other.query("word7")


@pytest.mark.parametrize("folder", ["segment", "codec"])
def test_a_folder_that_is_gone_is_made_again(sealed: MemoryStore, folder: str) -> None:
    gone = _file(sealed, folder, "x").parent
    shutil.rmtree(gone)
    with MemoryStore.open(sealed.path) as other:
        with pytest.raises(IndexDamaged, match=re.escape(gone.name)):
            other.query("word7")
        _repair(other)
        _check_whole(other)
    _check_whole(sealed)


def test_an_index_that_is_gone_is_made_again(sealed: MemoryStore) -> None:
    shutil.rmtree(sealed.path / "index")
    with MemoryStore.open(sealed.path) as other:
        with pytest.raises(IndexDamaged, match="verify --repair"):
            other.query("word7")
        with pytest.raises(IndexDamaged, match="verify --repair"):
            other.compact()
        _repair(other)
        _check_whole(other)


def test_a_codec_of_nothing_cannot_be_damaged(sealed: MemoryStore) -> None:
    sealed.forget(where={"recorded_at": {"exists": True}})
    sealed.compact()
    assert not [*(sealed.path / "index").glob("codec-*")]
    shutil.rmtree(sealed.path / "index")
    with MemoryStore.open(sealed.path) as other:
        assert other.query("word7").hits == ()
        assert other.verify(repair=True).clean
        other.add("word7", key="new")
        assert other.compact().sealed == 1
        assert other.verify().clean


FIRST = "(SELECT min(id) FROM passage WHERE segment_id IS NOT NULL)"
ROWS = {
    "a passage that is gone": f"DELETE FROM passage WHERE id = {FIRST}",
    "a passage said to be hot": f"UPDATE passage SET segment_id = NULL WHERE id = {FIRST}",
    "a passage said to be in the other segment": "UPDATE passage SET segment_id = "
    f"(SELECT max(id) FROM segment) WHERE id = {FIRST}",
    "a passage said to be in no segment there is": f"UPDATE passage SET segment_id = 99 "
    f"WHERE id = {FIRST}",
    "a passage of another memory": "UPDATE passage SET ordinal = 1, memory_row = "
    f"(SELECT max(row) FROM memory) WHERE id = {FIRST}",
    "a hot passage said to be sealed": "UPDATE passage SET segment_id = "
    "(SELECT min(id) FROM segment) WHERE id = (SELECT max(passage_id) FROM hot_vector)",
    "a tombstone that is gone": "DELETE FROM tombstone WHERE passage_id = "
    "(SELECT min(passage_id) FROM tombstone)",
    "a tombstone of a living passage": "INSERT INTO tombstone "
    f"SELECT id, segment_id FROM passage WHERE id = {FIRST}",
    "a segment that is not named": "DELETE FROM segment WHERE id = (SELECT min(id) FROM segment)",
    "a codec that is not named": "DELETE FROM codec",
    "a segment of another name": "UPDATE segment SET name = 'segment-009999' "
    "WHERE id = (SELECT min(id) FROM segment)",
    "a manifest of other hashes": "UPDATE segment SET manifest = "
    'replace(manifest, \'"sha256": "\', \'"sha256": "0\') '
    "WHERE id = (SELECT min(id) FROM segment)",
    "passages beyond their text": f'UPDATE passage SET "end" = 99 WHERE id = {FIRST}',
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_disagree_with_the_files_are_found_and_repaired(
    sealed: MemoryStore, sql: Sql, case: str
) -> None:
    sql(sealed.path, ROWS[case])
    with MemoryStore.open(sealed.path) as other:
        _repair(other)
        _check_whole(other)


def test_segments_of_swapped_files_are_found(sealed: MemoryStore) -> None:
    one, other = sorted((sealed.path / "index").glob("segment-*"))
    spare = one.with_name("spare")
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    with MemoryStore.open(sealed.path) as again:
        _repair(again)
        _check_whole(again)


def test_only_the_memories_of_a_damaged_segment_are_encoded_again(sealed: MemoryStore) -> None:
    first, last = sorted((sealed.path / "index").glob("segment-*"))
    _flip(last / "codes.npy", -1)
    report = sealed.verify(repair=True)
    assert [item.repaired for item in report.findings] == [True]
    assert last.name in report.findings[0].message
    again = {
        memory.key
        for memory in sealed.list(limit=1000).memories
        if "repair" in [event.verb for event in sealed.history(memory.id)]
    }
    assert again == {f"k{n}" for n in range(24, 32)}
    assert first.exists()
    assert not last.exists()
    stats = sealed.stats()
    assert (stats.segments, stats.hot_passages) == (1, 12)


def test_what_was_checked_counts_the_segments(sealed: MemoryStore) -> None:
    report = sealed.verify()
    assert report.findings == ()
    assert report.checked["segments"] == 2
    assert report.checked["passages"] == 34


def test_verify_says_nothing_against_folders_that_nothing_names(sealed: MemoryStore) -> None:
    (sealed.path / "index" / "segment-000077").mkdir()
    assert sealed.verify().clean


def test_another_handle_follows_a_repair(sealed: MemoryStore) -> None:
    before = _found(sealed)
    _flip(_file(sealed, "segment", "residuals.npy"), -1)
    with MemoryStore.open(sealed.path) as other:
        other.verify(repair=True)
    assert _found(sealed) == pytest.approx(before, abs=0.06)
    assert sealed.verify().clean


def test_a_repair_waits_for_whoever_holds_the_index(sealed: MemoryStore) -> None:
    _flip(_file(sealed, "segment", "residuals.npy"), -1)
    with (
        MemoryStore.open(sealed.path, settings={"lock_timeout": 0.05}) as other,
        index_files.holding_index(sealed.path, wait=1.0),
        pytest.raises(StoreLocked),
    ):
        other.verify(repair=True)
    assert sealed.verify(repair=True).clean


def test_a_backup_of_a_damaged_store_does_not_hide_the_damage(
    sealed: MemoryStore, tmp_path: Path
) -> None:
    _flip(_file(sealed, "segment", "residuals.npy"), -1)
    with pytest.raises(IndexDamaged, match=r"copy was made, but .*\n.*residuals.npy"):
        sealed.backup(tmp_path / "copy")
    with MemoryStore.open(tmp_path / "copy") as copy:
        _repair(copy)
        _check_whole(copy)
    assert not sealed.verify().clean
