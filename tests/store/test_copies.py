"""Backup, export and import: the content leaves and comes back whole."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memstore import BadInput, Memory, MemoryStore, StoreNotFound, StoreUnwritable


def _fill(store: MemoryStore) -> None:
    store.add_many(
        {
            "text": f"turn {n} — ünïcode \u2028 \r\n 🎉",
            "namespace": "team/ana" if n % 2 else "default",
            "session": "s1",
            "speaker": "Ana" if n % 3 else "Bruno",
            "title": f"title {n}",
            "source": "crm" if n % 2 else None,
            "metadata": {"n": n, "deep": {"list": [1, None, "é"]}},
            "occurred_at": f"2026-01-01T00:00:00.00000{n}Z",
            "valid_to": "2030-01-01T00:00:00.123456Z" if n % 4 else None,
            "half_life": timedelta(days=1, microseconds=n) if n % 2 else None,
            "confidence": n,
            "importance": n / 10,
        }
        for n in range(8)
    )
    store.add("city Porto", key="city")
    store.add("city Lisbon", key="city", entities=["Lisbon", "Ana"])
    store.update(store.get_by_key("city").id, text="city of Lisbon", metadata={"x": 1})
    store.forget(store.add("forgotten").id)


def _all(store: MemoryStore) -> tuple[Memory, ...]:
    return store.list(namespace="*", limit=1000).memories


@pytest.fixture
def other(tmp_path: Path) -> MemoryStore:
    return MemoryStore.open(tmp_path / "other.mem", encoder="hashed")


def test_an_import_gives_back_every_memory_its_history_and_its_entities(
    store: MemoryStore, other: MemoryStore, tmp_path: Path
) -> None:
    _fill(store)
    assert store.export(tmp_path / "out.jsonl") == 10
    with other:
        report = other.import_(tmp_path / "out.jsonl")
        assert (report.added, report.unchanged) == (10, 0)
        assert _all(other) == _all(store)
        for memory in _all(store):
            before = [(e.verb, e.at, e.recorded_at, e.source, e.details)
                      for e in store.history(memory.id)]  # fmt: skip
            after = [(e.verb, e.at, e.recorded_at, e.source, e.details)
                     for e in other.history(memory.id)]  # fmt: skip
            assert after == before
        assert other.entities(namespace="*") == store.entities(namespace="*")
        for text, namespace in (("turn 3", "*"), ("city", "default"), ("ünïcode", "team")):
            ask = {"namespace": namespace, "now": "2026-12-01T00:00:00Z", "limit": 20}
            assert other.query(text, **ask).hits == store.query(text, **ask).hits  # type: ignore[arg-type]
        assert other.query("forgotten").hits[0].memory.text != "forgotten"
        assert other.verify().clean


def test_importing_again_changes_nothing(
    store: MemoryStore,
    other: MemoryStore,
    tmp_path: Path,
    fingerprint: Callable[[Path], str],
) -> None:
    _fill(store)
    store.export(tmp_path / "out.jsonl")
    with other:
        other.import_(tmp_path / "out.jsonl")
        before = fingerprint(other.path)
        report = other.import_(tmp_path / "out.jsonl")
        assert (report.added, report.unchanged) == (0, 10)
        assert fingerprint(other.path) == before
    own = store.import_(tmp_path / "out.jsonl")
    assert (own.added, own.unchanged) == (0, 10)


def test_after_an_import_the_same_content_is_still_recognised(
    store: MemoryStore, other: MemoryStore, tmp_path: Path
) -> None:
    items = [{"id": "a", "text": "tea", "seq": 1}, {"text": "coffee"}]
    store.ingest(items)
    store.update(store.get_by_key("a").id, text="green tea")
    store.export(tmp_path / "out.jsonl")
    with other:
        other.import_(tmp_path / "out.jsonl")
        assert other.ingest(items).added == 0
        assert other.get_by_key("a").text == "green tea"


DAMAGES = {
    "not json": lambda line: line[:-9],
    "no object": lambda line: "[1]",
    "no text": lambda line: line.replace('"text"', '"txt"'),
    "naive time": lambda line: _with(line, recorded_at="2026-01-01T00:00:00"),
    "no id": lambda line: _with(line, id=None),
    "id of another kind": lambda line: _with(line, id=5),
    "too much trust": lambda line: _with(line, prior=1.5),
    "trust that is no number": lambda line: _with(line, prior="x"),
    "endless half-life": lambda line: _with(line, half_life_seconds=1e300),
    "half-life that is no number": lambda line: _with(line, half_life_seconds="x"),
    "entity without a name": lambda line: _with(line, entities=[{"role": "given"}]),
    "entity of an unknown role": lambda line: _with(
        line, entities=[{"role": "king", "canon": "a", "display": "A"}]
    ),
    "entities that are no list": lambda line: _with(line, entities=5),
    "entity with a NUL": lambda line: _with(
        line, entities=[{"role": "given", "canon": "a\0", "display": "A"}]
    ),
    "entity with half a character": lambda line: _with(
        line, entities=[{"role": "given", "canon": "a", "display": "A"}]
    ).replace('"A"', '"\\ud800"'),
    "event details with a NUL": lambda line: _with_event(line, details={"text": ["a\0", "b"]}),
    "event details that are no object": lambda line: _with_event(line, details=["text"]),
    "event without a time": lambda line: _with(line, events=[{"verb": "add"}]),
    "event whose time is null": lambda line: _with_event(line, recorded_at=None),
    "event that happened at null": lambda line: _with_event(line, at=None),
    "event whose verb is null": lambda line: _with_event(line, verb=None),
    "not utf-8": lambda line: line.replace("é", "\udce9"),
}


def _with(line: str, **values: object) -> str:
    return json.dumps({**json.loads(line), **values}, ensure_ascii=False)


def _with_event(line: str, **values: object) -> str:
    [event, *_] = json.loads(line)["events"]
    return _with(line, events=[{**event, **values}])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_named_and_its_batch_is_not_stored(
    store: MemoryStore,
    other: MemoryStore,
    tmp_path: Path,
    fingerprint: Callable[[Path], str],
    reseal: Callable[[Path], None],
    damage: str,
) -> None:
    _fill(store)
    path = tmp_path / "out.jsonl"
    store.export(path)
    lines = path.read_bytes().decode().split("\n")
    lines[3] = DAMAGES[damage](lines[3])
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    reseal(path)
    with other:
        before = fingerprint(other.path)
        with pytest.raises(BadInput, match=r"out\.jsonl:4: "):
            other.import_(path)
        assert fingerprint(other.path) == before


def _lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


BROKEN = {
    "cut off at a line's end": (lambda whole: b"".join(_lines(whole)[:6]), "cut off at line 6"),
    "cut off in a line": (lambda whole: b"".join(_lines(whole)[:6])[:-7], "cut off at line 6"),
    "cut off in the manifest": (lambda whole: whole[:-9], "cut off at line 12"),
    "one letter changed": (lambda whole: whole.replace(b"turn 3", b"turn 4", 1), "SHA-256"),
    "a line taken out": (lambda whole: b"".join(_lines(whole)[:3] + _lines(whole)[4:]), "SHA-256"),
    "one line written twice": (lambda whole: whole.replace(b"\n", b"\n\n", 1), "SHA-256"),
    "written on": (lambda whole: whole + _lines(whole)[3], "cut off at line 13"),
    "a count changed": (lambda whole: whole.replace(b'"memories": 10', b'"memories": 9'), "10 of"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_of_an_export_that_is_not_as_it_was_written_nothing_is_stored(
    store: MemoryStore,
    other: MemoryStore,
    tmp_path: Path,
    fingerprint: Callable[[Path], str],
    kind: str,
) -> None:
    _fill(store)
    store.set_source("crm", reliability=0.9)
    path = tmp_path / "out.jsonl"
    store.export(path)
    whole = path.read_bytes()
    harm, said = BROKEN[kind]
    path.write_bytes(harm(whole))
    assert path.read_bytes() != whole
    with other:
        before = fingerprint(other.path)
        with pytest.raises(BadInput, match=said):
            other.import_(path)
        assert fingerprint(other.path) == before
        path.write_bytes(whole)
        assert other.import_(path).added == 10


def test_an_export_of_the_version_before_can_be_imported_and_is_counted(
    store: MemoryStore, other: MemoryStore, tmp_path: Path
) -> None:
    _fill(store)
    path = tmp_path / "out.jsonl"
    store.export(path)
    header, *lines, _ = _lines(path.read_bytes())
    earlier = json.dumps({**json.loads(header), "version": 2, "memories": 10}).encode()
    with other:
        path.write_bytes(b"\n".join([earlier, b"".join(lines[:-1])]))
        with pytest.raises(BadInput, match="9 of the 10 memories"):
            other.import_(path)
        assert not _all(other)
        path.write_bytes(b"\n".join([earlier, b"".join(lines)]))
        assert other.import_(path).added == 10
        path.write_bytes(header.replace(b'"version": 3', b'"version": 4'))
        with pytest.raises(BadInput, match="version 4"):
            other.import_(path)


def test_what_comes_through_a_pipe_is_checked_as_a_whole_too(
    store: MemoryStore, other: MemoryStore, tmp_path: Path
) -> None:
    _fill(store)
    path, pipe = tmp_path / "out.jsonl", tmp_path / "pipe"
    store.export(path)
    os.mkfifo(pipe)

    def imported(content: bytes) -> int:
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        try:
            return other.import_(pipe).added
        finally:
            writer.join()

    with other:
        with pytest.raises(BadInput, match="cut off"):
            imported(path.read_bytes()[:-50])
        assert not _all(other)
        assert imported(path.read_bytes()) == 10
        with path.open("rb") as file:
            assert other.import_(file).unchanged == 10
        with pytest.raises(BadInput, match="opened with 'rb'"):
            other.import_(5)  # type: ignore[arg-type]
        assert sorted(file.name for file in other.path.iterdir()) == [
            "memstore.db", "memstore.db-shm", "memstore.db-wal",
        ]  # fmt: skip


def test_a_memory_twice_in_one_export_is_stored_once(
    store: MemoryStore, other: MemoryStore, tmp_path: Path, reseal: Callable[[Path], None]
) -> None:
    store.add("tea")
    path = tmp_path / "out.jsonl"
    store.export(path)
    header, line, _ = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([header, line, line]))
    reseal(path)
    with other:
        report = other.import_(path)
        assert (report.added, report.unchanged) == (1, 1)


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"text": "x"}\n', b"\xff\xfe", b"[]\n"])
def test_what_is_no_export_is_refused(store: MemoryStore, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"in\.jsonl"):
        store.import_(path)
    with pytest.raises(BadInput, match="cannot be read"):
        store.import_(tmp_path / "missing.jsonl")


class _Failing(io.FileIO):
    """A file of which one read fails."""

    left = 0  # reads that succeed before

    def readinto(self, buffer: Any) -> int | None:
        self.left -= 1
        if self.left == -1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().readinto(buffer)


@pytest.mark.parametrize("form", [None, "mem0"])
def test_a_file_that_cannot_be_read_to_its_end_is_refused_by_name(
    store: MemoryStore, other: MemoryStore, tmp_path: Path, form: str | None
) -> None:
    _fill(store)
    path = tmp_path / "in.jsonl"
    if form is None:
        store.export(path)
    else:
        path.write_text('{"results": [{"id": "m1", "memory": "likes tea", "user_id": "ana"}]}')
    refused: list[str] = []

    def imported() -> int | None:
        with _Failing(path) as raw, io.BufferedReader(raw) as file:
            raw.left = len(refused)
            try:
                return other.import_(file, format=form).added
            except BadInput as error:
                refused.append(str(error))
                return None

    with other:
        while (added := imported()) is None:
            assert other.stats().memories == 0
        assert added == other.stats().memories > 0
    assert len(refused) >= (1 if form else 3)  # an export is read twice
    for message in refused:
        assert "in.jsonl" in message
        assert "cannot be read: Input/output error" in message


def test_a_failed_export_leaves_no_file(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for destination in (tmp_path / "no" / "folder" / "x.jsonl", tmp_path / "file" / "x.jsonl"):
        with pytest.raises(StoreUnwritable, match="failed"):
            store.export(destination)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.mem", "file"]


def test_an_export_never_replaces_anything(store: MemoryStore, tmp_path: Path) -> None:
    memory = store.add("tea")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in ("folder", "file", "link", "agent.mem", "agent.mem/memstore.db"):
        with pytest.raises(BadInput, match=f"{taken} exists already"):
            store.export(tmp_path / taken)
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("agent.mem", "file", "folder", "link")
    ]
    with MemoryStore.open(store.path) as again:
        assert again.get(memory.id) == memory


def test_no_copy_lies_in_the_store_where_a_purge_would_leave_it(
    store: MemoryStore, tmp_path: Path
) -> None:
    store.add("tea")
    (store.path / "index").mkdir()
    (tmp_path / "link").symlink_to(store.path)
    before = sorted(store.path.rglob("*"))
    inside = [store.path / "copy", store.path / "index" / "copy", tmp_path / "link" / "copy"]
    for place in [*inside, tmp_path / "link" / "new" / "copy", store.path / ".." / "link" / "copy"]:
        for copy in (store.export, store.backup, store.export_index):
            with pytest.raises(BadInput, match=r"copy lies in .*outside"):
                copy(place)
    with (
        MemoryStore.open(tmp_path / "link") as linked,
        pytest.raises(BadInput, match="lies in"),
    ):
        linked.backup(store.path / "copy")
    assert sorted(store.path.rglob("*")) == before
    store.export(store.path / ".." / "agent.mem.jsonl")  # a name that begins like the store's
    store.backup(store.path.with_name("agent.mem.copy"))


def test_only_the_owner_may_read_an_export_or_a_backup(store: MemoryStore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store.export(tmp_path / "out.jsonl")
        store.backup(tmp_path / "copy.mem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "copy.mem").stat().st_mode) == 0o700


def test_an_export_and_a_backup_are_durable_in_their_folder_too(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copies" / "one"
    target.parent.mkdir()
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    for copy in (store.export, store.backup):
        copy(target)
        assert synced[-1] == (target.parent.stat().st_ino, True)
        target.rename(target.with_name(f"done by {copy.__name__}"))


def test_what_an_update_of_a_long_text_left_in_the_history_can_be_imported(
    store: MemoryStore, other: MemoryStore, tmp_path: Path
) -> None:
    memory = store.add("x" * 600_000)
    store.update(memory.id, text="y" * 600_000)
    store.export(tmp_path / "out.jsonl")
    with other:
        assert other.import_(tmp_path / "out.jsonl").added == 1
        assert other.history(memory.id)[1].details == store.history(memory.id)[1].details


def test_every_export_can_be_imported_however_long_its_lines_are(
    store: MemoryStore, other: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memstore.json_input.MAX_LINE_BYTES", 1_000)
    memory = store.add("x" * 900)
    store.update(memory.id, text="y" * 900)
    for number in range(20):
        store.set_source(f"source {number}", reliability=0.8)
        store.add("tea", key=f"{number}", source=f"source {number}")
    path = tmp_path / "out.jsonl"
    store.export(path)
    header, line, *_, manifest = _lines(path.read_bytes())
    assert len(header) > 1_000
    assert len(line) > 2 * 1_000
    assert len(manifest) < 1_000
    with other:
        assert other.import_(path).added == 21
        other.export(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("manifest", [b"", b'{"manifest": {"bytes": 1000000000000000}}\n'])
def test_a_line_is_not_read_whole_because_a_manifest_gives_a_great_number(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: bytes
) -> None:
    monkeypatch.setattr("memstore.json_input.MAX_LINE_BYTES", 1_000)
    path = tmp_path / "in.jsonl"
    header = b'{"format": "memstore-export", "version": 3}\n'
    path.write_bytes(header + b" " * 1_000_000 + b"\n" + manifest)
    with pytest.raises(BadInput, match=r"in\.jsonl:2: the line has more than"):
        store.import_(path)


def test_an_entity_with_a_long_name_can_be_imported(
    store: MemoryStore, other: MemoryStore, tmp_path: Path
) -> None:
    memory = store.add(f"We met {'Abc' * 600} there.")
    assert max(map(len, memory.entities)) > 1024
    store.export(tmp_path / "out.jsonl")
    with other:
        other.import_(tmp_path / "out.jsonl")
        assert other.get(memory.id) == memory
        assert other.entities() == store.entities()


def test_a_speaker_does_not_make_a_text_too_long_to_be_imported(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memstore.store.drafts.MAX_TEXT_CHARACTERS", 20)
    with pytest.raises(BadInput, match="25 characters"):
        store.add_many([{"text": "x" * 20, "speaker": "Ana"}])
    [memory] = store.add_many([{"text": "x" * 15, "speaker": "Ana"}])
    with pytest.raises(BadInput, match="25 characters"):
        store.update(memory.id, text="y" * 20)


def test_an_import_brings_back_what_was_forgotten(
    store: MemoryStore, other: MemoryStore, tmp_path: Path
) -> None:
    _fill(store)
    before = _all(store)
    store.export(tmp_path / "out.jsonl")
    one, two = before[1], before[-1]
    store.query("turn 1", namespace="*")
    history = {memory.id: store.history(memory.id) for memory in (one, two)}
    store.forget([one.id, two.id])
    report = store.import_(tmp_path / "out.jsonl")
    assert (report.added, report.unchanged) == (2, 8)
    assert {memory.id: memory for memory in _all(store)} == {memory.id: memory for memory in before}
    for memory in (one, two):
        events = store.history(memory.id)
        assert events[: len(history[memory.id])] == history[memory.id]  # and none of them twice
        assert [event.verb for event in events[len(history[memory.id]) :]] == ["forget", "import"]
        assert memory in [hit.memory for hit in store.query(memory.text, namespace="*").hits]
    assert store.stats().forgotten == 1
    assert store.import_(tmp_path / "out.jsonl").added == 0
    assert store.verify().clean
    with other:  # and the history of another store is not lost
        other.import_(tmp_path / "out.jsonl")
        store.update(one.id, title="new title")
        other.forget(one.id)
        store.export(tmp_path / "newer.jsonl")
        assert other.import_(tmp_path / "newer.jsonl").added == 1
        assert other.get(one.id).title == "new title"
        verbs = [event.verb for event in other.history(one.id)]
        assert verbs.count("update") == 1
        assert verbs[-1] == "import"
        assert other.verify().clean


def test_a_backup_is_a_whole_store_of_one_moment_while_others_write(
    store: MemoryStore, tmp_path: Path
) -> None:
    done = threading.Event()

    def write() -> None:
        n = 0
        while not done.is_set():
            store.add_many({"text": f"pair {n} {side}", "key": f"{n}{side}"} for side in "lr")
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        paths = [store.backup(tmp_path / f"backup {n}") for n in range(4)]
    finally:
        done.set()
        writer.join()
    counts = []
    for path in paths:
        with MemoryStore.open(path) as copy:
            assert copy.verify().clean
            keys = {memory.key for memory in copy.list(limit=10_000).memories}
            assert {f"{key[:-1]}l" for key in keys if key} <= keys  # pairs are whole
            assert len(keys) % 2 == 0
            counts.append(len(keys))
            copy.add("a store like any other")
    assert counts == sorted(counts)
    assert sorted(tmp_path.glob("*partial*")) == []


def test_a_backup_never_replaces_anything(store: MemoryStore, tmp_path: Path) -> None:
    memory = store.add("tea")
    assert store.backup(tmp_path / "one") == tmp_path / "one"
    (tmp_path / "file").write_text("mine")
    for taken in ("one", "file"):
        with pytest.raises(BadInput, match="exists already"):
            store.backup(tmp_path / taken)
    with pytest.raises(StoreUnwritable):
        store.backup(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"
    with MemoryStore.open(tmp_path / "one", read_only=True) as copy:
        assert copy.get(memory.id) == memory
    with pytest.raises(StoreNotFound):
        MemoryStore.open(tmp_path / "never", read_only=True)
