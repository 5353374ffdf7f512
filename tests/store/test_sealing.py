"""Sealing and merging change where vectors lie and nothing else that a caller can see."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from memstore import (
    EncoderMismatch,
    IndexDamaged,
    Memory,
    MemoryStore,
    QueryResult,
    Settings,
    StoreLocked,
    StoreUnwritable,
)
from memstore.catalog.engine import reading
from memstore.encoders import QueryVectors
from memstore.encoders.hashed import HashedEncoder
from memstore.store import (
    background,
    index_files,
    retrieval,
    sealing,
    sealing_rules,
    sealing_source,
    snapshot,
)
from memstore.store.index_files import named_folders

Sql = Callable[..., list[tuple[Any, ...]]]
Child = Callable[..., "subprocess.Popen[str]"]

NOW = "2100-01-01T00:00:00Z"


def _text(number: int) -> str:
    return f"word{number} word{number + 1} topic{number % 7} of Ana"


def _fill(store: MemoryStore, first: int = 0, last: int = 60, **fields: Any) -> list[Memory]:
    return store.add_many(
        {
            "text": _text(n),
            "key": f"k{n}",
            "metadata": {"n": n, "even": n % 2 == 0},
            "namespace": "team/ana" if n % 5 == 4 else "default",
            "source": "crm" if n % 3 else None,
            **fields,
        }
        for n in range(first, last)
    )


def _ask(store: MemoryStore, text: str, **options: Any) -> QueryResult:
    return store.query(text, **{"namespace": "*", "limit": 1000, "now": NOW, **options})


def _keys(store: MemoryStore, text: str, **options: Any) -> list[str | None]:
    return [hit.memory.key for hit in _ask(store, text, **options).hits]


def _folders(store: MemoryStore) -> set[str]:
    return {path.name for path in (store.path / "index").iterdir()}


def _named(store: MemoryStore) -> set[str]:
    opened = store._opened
    with reading(opened.engine, opened.path) as connection:
        return {name for name, _ in named_folders(connection)}


def _vectors(store: MemoryStore) -> dict[int, Any]:
    """Passage id to decoded vectors, of all sealed passages that are not deleted."""
    opened = store._opened
    with reading(opened.engine, opened.path) as connection:
        sealed = opened.snapshot.refresh(connection).sealed
    slots = np.flatnonzero(sealed.owners >= 0)
    return dict(zip(sealed.passage_ids(slots).tolist(), sealed.vectors(slots), strict=True))


def _answers(store: MemoryStore) -> list[tuple[Any, ...]]:
    """What a store answers, but for the time it took."""
    results = store.query_many(
        ["word3", "word7 topic2", "Ana", "nothing like it", "topic1 topic2 topic3"],
        namespace="*",
        now=NOW,
        explain=True,
    )
    return [(result.hits, result.suppressed, result.flags) for result in results]


# what compact does


def test_compact_moves_everything_into_one_segment(store: MemoryStore) -> None:
    _fill(store)
    before = store.stats()
    report = store.compact()
    assert (report.sealed, report.merged, report.dropped, report.trained) == (60, 0, 0, True)
    after = store.stats()
    assert (after.hot_passages, after.segments) == (0, 1)
    assert (after.memories, after.passages, after.vectors) == (60, before.passages, before.vectors)
    assert store.verify().clean
    assert _folders(store) == _named(store)


def test_compacting_again_changes_nothing(
    store: MemoryStore, fingerprint: Callable[[Path], str]
) -> None:
    _fill(store)
    store.compact()
    before, folders = fingerprint(store.path), _folders(store)
    report = store.compact()
    assert (report.sealed, report.merged, report.dropped, report.trained) == (0, 0, 0, False)
    assert (fingerprint(store.path), _folders(store)) == (before, folders)


def test_an_empty_store_can_be_compacted(store: MemoryStore) -> None:
    report = store.compact()
    assert (report.sealed, report.merged, report.dropped, report.trained) == (0, 0, 0, False)
    assert store.stats().segments == 0
    assert store.query("anything").hits == ()
    _fill(store, last=3)
    assert store.compact().sealed == 3


def test_one_memory_can_be_compacted(store: MemoryStore) -> None:
    memory = store.add("!")
    store.compact()
    assert [hit.memory for hit in store.query("!").hits] == [memory]
    assert store.query("!").hits[0].score == pytest.approx(1, abs=0.01)
    assert store.verify().clean


def test_identical_memories_can_be_compacted(store: MemoryStore) -> None:
    store.add_many({"text": "the same words", "key": f"k{n}"} for n in range(150))
    store.compact()
    assert len(_keys(store, "the same words")) == 150
    assert store.verify().clean


def test_long_texts_of_many_passages_can_be_compacted(store: MemoryStore) -> None:
    store.add(" ".join(f"sentence{n} speaks of topic{n}." for n in range(900)), key="long")
    _fill(store)
    before = store.stats().passages
    assert before > 63
    store.compact()
    assert store.stats().passages == before
    [hit] = store.query("sentence700", limit=1).hits
    assert hit.memory.key == "long"
    assert "sentence700" in hit.passage.text
    assert store.verify().clean


def test_a_store_of_which_everything_was_deleted_has_no_segment(store: MemoryStore) -> None:
    memories = _fill(store)
    store.compact()
    store.forget([memory.id for memory in memories])
    report = store.compact()
    assert (report.merged, report.dropped) == (1, 60)
    assert store.stats().segments == 0
    assert not any(name.startswith(("segment", "codec")) for name in _folders(store))
    assert _keys(store, "word3") == []
    assert store.verify().clean
    _fill(store, 100, 130)
    assert store.compact().sealed == 30
    assert _keys(store, "word103")[0] in ("k102", "k103")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_every_width_of_residuals_finds_the_same(tmp_path: Path, bits: int) -> None:
    settings = Settings(residual_bits=bits)
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed", settings=settings) as store:
        _fill(store)
        expected = set(_keys(store, "word3"))
        store.compact()
        assert set(_keys(store, "word3")) == expected
        assert set(_keys(store, "word3")[:2]) == {"k2", "k3"}


def test_progress_is_told_until_everything_is_done(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing_source, "BLOCK_TOKENS", 40)
    _fill(store)
    told: list[tuple[str, int, int]] = []
    store.compact(progress=lambda *values: told.append(values))
    total = store.stats().vectors
    assert told[0] == ("training", 0, total)
    written = [done for what, done, _ in told if what == "writing"]
    assert written == sorted(written)
    assert len(written) > 5
    assert written[-1] == total
    assert {of for _, _, of in told} == {total}


@pytest.mark.parametrize("when", ["training", "first block", "last block"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_interrupts_compacting_loses_nothing_and_leaves_nothing_named(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, when: str, error: type[BaseException]
) -> None:
    monkeypatch.setattr(sealing_source, "BLOCK_TOKENS", 40)
    _fill(store)
    before = _answers(store)

    def interrupt(what: str, done: int, total: int) -> None:
        if when == {"training": "training"}.get(what, "last block" if done == total else when):
            raise error("stop")

    with pytest.raises(error, match="stop"):
        store.compact(progress=interrupt)
    assert _answers(store) == before
    assert _named(store) == set()
    assert store.stats().segments == 0
    assert store.verify().clean
    assert store.compact().sealed == 60
    assert _folders(store) == _named(store)


def test_a_read_only_store_is_not_compacted(store: MemoryStore) -> None:
    store.add("tea")
    with (
        MemoryStore.open(store.path, read_only=True) as reader,
        pytest.raises(StoreUnwritable, match="read_only"),
    ):
        reader.compact()


def test_a_handle_that_missed_a_rebuild_does_not_compact(store: MemoryStore) -> None:
    _fill(store)
    with MemoryStore.open(store.path) as other:
        store.rebuild(encoder=HashedEncoder(dim=48))
        with pytest.raises(EncoderMismatch):
            other.compact()
    assert store.compact().sealed == 60
    assert store.verify().clean


# nothing that a caller sees changes

QUESTIONS: dict[str, dict[str, Any]] = {
    "word3": {},
    "word7 topic2": {"where": {"metadata.even": True}},
    "Ana": {"where": {"source": "crm"}, "limit": 7},
    "topic3": {"namespace": "team"},
    "topic4": {"namespace": "default", "where": {"metadata.n": {"gte": 40}}},
    "word11": {"as_of": "2026-02-15T00:00:00Z"},
    "word12": {"known_at": "2099-02-15T00:00:00Z"},
    "word13": {"profile": "semantic"},
    "word14": {"max_tokens": 30},
    "nothing like it": {"limit": 3},
}


def _compare(store: MemoryStore, other: MemoryStore) -> None:
    for text, options in QUESTIONS.items():
        mine, theirs = (_ask(handle, text, **options) for handle in (store, other))
        limit = options.get("limit", 1000)
        scores = {hit.memory.id: hit.score for hit in theirs.hits}
        if len(theirs.hits) < limit and "max_tokens" not in options:
            assert {hit.memory.id for hit in mine.hits} == set(scores)
        for hit, same in zip(mine.hits, theirs.hits, strict=True):
            assert hit.score == pytest.approx(same.score, abs=0.06)  # the order of near ties may
            if hit.memory.id in scores:
                assert hit.score == pytest.approx(scores[hit.memory.id], abs=0.06)


def _varied(store: MemoryStore) -> None:
    _fill(store)
    store.add_many(
        {
            "text": f"word{n} held for a while",
            "key": f"v{n}",
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_to": f"2026-0{1 + n % 9}-10T00:00:00Z",
        }
        for n in range(5, 20)
    )
    for n in (3, 12):
        store.add(f"word{n} is another thing now", key=f"k{n}")
    store.forget(store.get_by_key("k20").id)


def test_a_sealed_store_answers_as_its_hot_twin_does(store: MemoryStore, tmp_path: Path) -> None:
    _varied(store)
    with MemoryStore.open(store.backup(tmp_path / "twin")) as twin:
        twin.compact()
        assert twin.stats().hot_passages == 0
        _compare(twin, store)
        assert twin.list(namespace="*", limit=1000) == store.list(namespace="*", limit=1000)
        assert twin.entities(namespace="*") == store.entities(namespace="*")


def test_a_store_of_both_tiers_answers_as_its_hot_twin_does(
    store: MemoryStore, tmp_path: Path
) -> None:
    _fill(store, 0, 20)
    twin_path = store.backup(tmp_path / "twin")
    with MemoryStore.open(twin_path) as twin:
        twin.compact()
        for handle in (store, twin):
            _fill(handle, 20, 40)
            handle.update(handle.get_by_key("k7").id, text="word7 word99", metadata={"n": 41})
            handle.update(handle.get_by_key("k8").id, metadata={"even": True, "n": 50})
            handle.forget(handle.get_by_key("k10").id)
        assert 0 < twin.stats().hot_passages < twin.stats().passages
        for text in ("word7", "word99", "topic3", "word25"):
            for where in (None, {"metadata.even": True}, {"metadata.n": {"gte": 40}}):
                mine, theirs = (
                    {hit.memory.key: hit.score for hit in _ask(handle, text, where=where).hits}
                    for handle in (twin, store)
                )
                assert mine.keys() == theirs.keys()
                assert list(mine.values()) == pytest.approx(list(theirs.values()), abs=0.06)


def test_an_explained_query_names_the_tokens_of_sealed_hits(store: MemoryStore) -> None:
    _fill(store)
    before = _ask(store, "word3 topic3", explain=True, limit=1).hits[0]
    store.compact()
    after = _ask(store, "word3 topic3", explain=True, limit=1).hits[0]
    assert after.memory == before.memory
    assert [
        (m.query_token, m.passage_token, m.start, m.end, m.weight) for m in after.token_matches
    ] == [(m.query_token, m.passage_token, m.start, m.end, m.weight) for m in before.token_matches]
    for one, other in zip(after.token_matches, before.token_matches, strict=True):
        assert one.similarity == pytest.approx(other.similarity, abs=0.03)
    assert sum(part.nats for part in after.parts) == pytest.approx(after.score)


def test_every_memory_keeps_its_id_and_its_history(store: MemoryStore) -> None:
    _varied(store)
    before = store.list(namespace="*", limit=1000).memories
    histories = [store.history(memory.id) for memory in before]
    store.compact()
    _fill(store, 100, 140)
    store.compact()
    kept = store.list(namespace="*", limit=1000).memories[: len(before)]
    assert kept == before
    assert [store.history(memory.id) for memory in kept] == histories


# changes of what is sealed

CHANGES: dict[str, Callable[[MemoryStore], object]] = {
    "add": lambda s: s.add("word5 comes new", key="new"),
    "text": lambda s: s.update(s.get_by_key("k5").id, text="word77 instead"),
    "metadata": lambda s: s.update(s.get_by_key("k5").id, metadata={"even": True, "n": 5}),
    "end": lambda s: s.update(s.get_by_key("k5").id, valid_to="2026-01-01T00:00:00Z"),
    "importance": lambda s: s.update(s.get_by_key("k5").id, importance=1.0),
    "forget": lambda s: s.forget(s.get_by_key("k5").id),
    "purge": lambda s: s.forget(s.get_by_key("k5").id, purge=True),
    "forget by filter": lambda s: s.forget(where={"metadata.even": True}, namespace="*"),
    "supersede": lambda s: s.add("word5 is another thing", key="k5"),
    "rebuild": lambda s: s.rebuild(),
    "seal": lambda s: (s.add("word5 comes new", key="new"), s.compact()),
    "text twice": lambda s: [
        s.update(s.get_by_key("k5").id, text=text) for text in ("word77", "word78")
    ],
    "metadata, then text": lambda s: [
        s.update(s.get_by_key("k5").id, **change) for change in ({"metadata": {}}, {"text": "x5"})
    ],
    "metadata, sealed, then metadata": lambda s: [
        s.update(s.get_by_key("k5").id, metadata={"even": True}),
        s.add("hot"),
        s.compact(),
        s.update(s.get_by_key("k5").id, metadata={"even": True, "n": 55}),
    ],
}


def _seen(store: MemoryStore) -> list[Any]:
    asked = [
        _ask(store, text, where=where)
        for text in ("word5", "word77", "topic5")
        for where in (None, {"metadata.even": True})
    ]
    return [[(hit.memory, hit.score, hit.passage) for hit in result.hits] for result in asked]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_sealed_memories_is_seen_by_every_handle(
    store: MemoryStore, store_path: Path, tmp_path: Path, change: str
) -> None:
    _fill(store, last=20)
    twin_path = store.backup(tmp_path / "twin")
    store.compact()
    with (
        MemoryStore.open(store_path) as other,
        MemoryStore.open(store_path, read_only=True) as reader,
        MemoryStore.open(twin_path) as twin,
    ):
        for handle in (store, other, reader):
            assert set(_keys(handle, "word5")[:2]) == {"k4", "k5"}
        CHANGES[change](store)
        CHANGES[change](twin)
        mine = _seen(store)
        assert _seen(other) == mine
        with MemoryStore.open(store_path) as fresh:
            assert _seen(fresh) == mine
            assert fresh.verify().clean
        if change != "purge":  # which waits until nobody reads the log any more
            assert _seen(reader) == mine
        if change == "seal":
            twin.compact()
        for one, same in zip(mine, _seen(twin), strict=True):
            texts = {item[0].text: item[1] for item in one}
            assert texts == pytest.approx({item[0].text: item[1] for item in same}, abs=0.06)
        assert _folders(store) >= _named(store)


READ = """
import pathlib, sys, time
from memstore import MemoryStore
path, go = sys.argv[1], pathlib.Path(sys.argv[2])
def keys():
    hits = store.query("word5", namespace="*", limit=1000, now="2100-01-01T00:00:00Z").hits
    return " ".join(sorted(str(hit.memory.key) for hit in hits))
with MemoryStore.open(path, read_only=True) as store:
    print(keys(), flush=True)
    for _ in range(2):
        while not go.exists():
            time.sleep(0.005)
        go.unlink()
        print(keys(), flush=True)
"""


def test_a_reader_in_another_process_follows_seals_merges_and_changes(
    store: MemoryStore, child: Child, tmp_path: Path
) -> None:
    _fill(store, last=20)
    store.compact()
    go = tmp_path / "go"
    reader = child(READ, store.path, go)
    assert reader.stdout is not None

    def expected() -> str:
        return " ".join(sorted(str(key) for key in _keys(store, "word5")))

    assert reader.stdout.readline().strip() == expected()
    store.forget(store.get_by_key("k3").id)
    store.update(store.get_by_key("k6").id, text="word5 too")
    _fill(store, 20, 30)
    store.compact()  # replaces the files that the reader has mapped
    go.touch()
    assert reader.stdout.readline().strip() == expected()
    store.update(store.get_by_key("k7").id, metadata={"even": True})
    _fill(store, 30, 35)
    go.touch()
    assert reader.stdout.readline().strip() == expected()


def test_a_memory_under_a_long_id_that_was_imported_is_changed_like_any_other(
    store: MemoryStore, tmp_path: Path, reseal: Callable[[Path], None]
) -> None:
    memories = store.add_many(["word1", "word2"])
    store.export(tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text("utf-8")
    ids = ["a" * 30 + end for end in "xy"]
    for memory, id_ in zip(memories, ids, strict=True):
        lines = lines.replace(memory.id, id_)
    (tmp_path / "long.jsonl").write_text(lines, "utf-8")
    reseal(tmp_path / "long.jsonl")
    store.forget([memory.id for memory in memories])
    store.import_(tmp_path / "long.jsonl")
    assert {hit.memory.id for hit in store.query("word1").hits} == set(ids)
    store.update(ids[1], importance=0.5)
    assert {hit.memory.id for hit in store.query("word1").hits} == set(ids)
    store.compact()
    with MemoryStore.open(store.path) as other:
        assert {hit.memory.id for hit in other.query("word1").hits} == set(ids)
        for handle in (store, other):
            store.forget(ids.pop())
            assert [hit.memory.id for hit in other.query("word1").hits] == ids
            assert [hit.memory.id for hit in handle.query("word1").hits] == ids


def test_a_reader_that_meets_replaced_files_reads_again(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    store.compact()
    _fill(store, 60, 70)
    expected = set(_keys(store, "word3"))
    replaced: list[int] = []
    open_codec = snapshot.open_codec

    def replace_first(*arguments: Any) -> Any:
        # the reader's transaction has begun: it sees the manifest of before
        if len(replaced) < 2:
            replaced.append(1)
            _fill(store, 70, 70 + len(replaced))
            store.compact()
        return open_codec(*arguments)

    with MemoryStore.open(store.path, read_only=True) as reader:
        monkeypatch.setattr(snapshot, "open_codec", replace_first)
        found = set(_keys(reader, "word3"))
    assert len(replaced) == 2
    assert found == expected | {"k70", "k71"}


def test_stats_are_right_while_files_are_replaced(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memstore.store import counting

    _fill(store)
    store.compact()
    _fill(store, 60, 70)
    replaced: list[int] = []
    open_segments = counting.open_segments

    def replace_first(*arguments: Any) -> Any:
        if not replaced:
            replaced.append(1)
            store.compact()
        return open_segments(*arguments)

    with MemoryStore.open(store.path, read_only=True) as reader:
        monkeypatch.setattr(counting, "open_segments", replace_first)
        stats = reader.stats()
    assert (stats.memories, stats.passages, stats.segments) == (70, 70, 1)


# deletion


def test_tombstones_go_when_their_segment_is_rewritten(store: MemoryStore, sql: Sql) -> None:
    memories = _fill(store)
    store.compact()
    vectors = store.stats().vectors
    store.forget([memory.id for memory in memories[:10]])
    assert sql(store.path, "SELECT count(*) FROM tombstone") == [(10,)]
    assert store.stats().vectors == vectors - 50
    report = store.compact()
    assert (report.merged, report.dropped) == (1, 10)
    assert sql(store.path, "SELECT count(*) FROM tombstone") == [(0,)]
    assert sql(store.path, "SELECT sum(tokens), sum(passages) FROM segment") == [(250, 50)]
    assert len(_vectors(store)) == 50
    assert store.verify().clean


class Marked(HashedEncoder):
    """Words that are told apart from all others by a direction of their own."""

    def __init__(self) -> None:
        super().__init__(dim=64)


def _holds(folder: Path, wanted: Any) -> list[str]:
    """The segments that hold a vector near one of those wanted, decoded from their files."""
    found = []
    [codec] = folder.glob("codec-*")
    centroids = np.load(codec / "centroids.npy").astype(np.float32)
    weights = np.load(codec / "weights.npy")
    bits = len(weights).bit_length() - 1
    for path in folder.glob("segment-*"):
        fields = np.unpackbits(np.load(path / "residuals.npy"), axis=1)
        buckets = fields.reshape(len(fields), -1, bits) @ (1 << np.arange(bits))
        vectors = centroids[np.load(path / "codes.npy")] + weights[buckets]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if len(vectors) and (vectors @ wanted.T).max() > 0.9:
            found.append(path.name)
    return found


def test_a_purge_leaves_no_vector_of_the_memory_in_any_segment(tmp_path: Path, sql: Sql) -> None:
    encoder = Marked()
    wanted = encoder.encode_queries(["zebraquartz mangrove"])[0].vectors
    with MemoryStore.open(tmp_path / "purge.mem", encoder=encoder) as store:
        _fill(store)
        secret = store.add("zebraquartz mangrove", key="secret")
        store.compact()
        _fill(store, 60, 90)
        sealing.seal_if_due(replaced(store, hot_tokens=0), now=0)
        assert store.stats().segments == 2
        index = store.path / "index"
        [old] = _holds(index, wanted)
        ids = [row[0] for row in sql(store.path, "SELECT passage_id FROM tombstone")]
        assert ids == []
        store.forget(secret.id, purge=True)
        assert _holds(index, wanted) == []
        assert sql(store.path, "SELECT count(*) FROM tombstone") == [(0,)]
        assert not (index / old).exists()
        assert _folders(store) == _named(store)
        content = b"".join(file.read_bytes() for file in index.rglob("*") if file.is_file())
        assert secret.id.encode() not in content
        assert len(_keys(store, "word3")) == 90
        assert store.verify().clean


def test_what_was_forgotten_before_leaves_the_segments_with_the_next_purge(
    tmp_path: Path,
) -> None:
    encoder = Marked()
    wanted = encoder.encode_queries(["zebraquartz"])[0].vectors
    with MemoryStore.open(tmp_path / "purge.mem", encoder=encoder) as store:
        _fill(store)
        secret = store.add("zebraquartz", key="secret")
        store.compact()
        store.forget(secret.id)
        assert len(_holds(store.path / "index", wanted)) == 1
        store.forget(secret.id, purge=True)
        assert _holds(store.path / "index", wanted) == []


def replaced(store: MemoryStore, **settings: Any) -> Any:
    """The open store under other settings."""
    return replace(store._opened, settings=Settings(**settings))


# merging


def sized(tokens: int, live: int | None = None) -> Any:
    return SimpleNamespace(
        live_tokens=tokens if live is None else live, files=SimpleNamespace(tokens=tokens)
    )


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        ([], []),
        ([100] * 3, []),
        ([100] * 4, [0, 1, 2, 3]),
        ([100] * 9, [0, 1, 2, 3]),
        ([5000, 100, 100, 100], []),
        ([5000, 100, 100, 100, 100], [1, 2, 3, 4]),
        ([300, 1500, 300, 1500, 300, 1500, 300, 1500], [0, 2, 4, 6]),
        ([0, 1], []),
    ],
)
def test_four_segments_of_about_one_size_are_merged(sizes: list[int], merged: list[int]) -> None:
    found = [sized(tokens) for tokens in sizes]
    assert sealing_rules.next_pile(found) == [found[place] for place in merged]


def test_a_segment_of_which_more_than_a_quarter_was_deleted_is_rewritten() -> None:
    found = [sized(100), sized(100, 75), sized(100, 74), sized(100)]
    assert sealing_rules.next_pile(found) == [found[2]]


@pytest.mark.parametrize("steps", [(2,), (1, 9)])
def test_the_number_of_segments_stays_small_however_often_is_sealed(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sealing_rules, "_GROWTH", 10**9)  # merging only
    opened = replaced(store, hot_tokens=0)
    done = 0
    most = 0
    rewritten = 0
    for turn in range(20):
        count = steps[turn % len(steps)]
        _fill(store, done, done + count)
        done += count
        report = sealing.seal_if_due(opened, now=turn)
        rewritten += report.merged
        most = max(most, store.stats().segments)
    assert most <= 7
    assert rewritten > 0
    assert len(_keys(store, "Ana")) == done
    assert store.verify().clean
    assert _folders(store) == _named(store)


def test_ids_and_answers_survive_any_mix_of_changes_and_maintenance(store: MemoryStore) -> None:
    chance = np.random.default_rng(7)
    held: dict[str, str] = {}  # key to text
    ids: dict[str, str] = {}
    number = 0
    with MemoryStore.open(store.path) as other:
        for turn in range(40):
            for _ in range(int(chance.integers(1, 12))):
                key = f"k{number}"
                held[key] = f"word{number} topic{number % 7}"
                ids[key] = store.add(held[key], key=key).id
                number += 1
            for key in chance.choice(sorted(held), size=min(len(held), 3), replace=False).tolist():
                match int(chance.integers(0, 3)):
                    case 0:
                        store.forget(ids[key])
                        del held[key], ids[key]
                    case 1:
                        held[key] = f"changed{turn} {held[key].split()[0]}"
                        store.update(ids[key], text=held[key])
                    case 2:
                        store.update(ids[key], metadata={"turn": turn})
            match int(chance.integers(0, 4)):
                case 0:
                    sealing.seal_if_due(replaced(store, hot_tokens=0), now=turn)
                case 1 if turn % 3 == 0:
                    other.compact()
            handle = (store, other)[turn % 2]
            hits = _ask(handle, "word3 topic1").hits
            assert {(hit.memory.key, hit.memory.id, hit.memory.text) for hit in hits} == {
                (key, ids[key], text) for key, text in held.items()
            }
            key = sorted(held)[turn % len(held)]
            assert _ask(handle, held[key], limit=1).hits[0].memory.text == held[key]
        assert other.verify().clean
        assert store.verify().clean


def test_folders_that_nothing_names_are_never_read_and_removed_by_the_next_maintenance(
    store: MemoryStore,
) -> None:
    _fill(store)
    store.compact()
    before = _answers(store)
    index = store.path / "index"
    for name in ("segment-000099", "codec-000099", "segment-000002"):
        (index / name).mkdir()
        (index / name / "codes.npy").write_bytes(b"half")
    (index / "stray").write_text("x")
    with MemoryStore.open(store.path) as other:
        assert _answers(other) == before
        assert other.verify().clean
        _fill(other, 60, 61)
        other.compact()
    assert _folders(store) == _named(store)


# the codec


def test_a_codec_that_the_store_outgrew_is_trained_anew_and_loses_little(
    store: MemoryStore,
) -> None:
    _fill(store, last=12)
    assert store.compact().trained
    codec = next(name for name in _folders(store) if name.startswith("codec"))
    _fill(store, 12, 20)
    assert not store.compact().trained
    before = _vectors(store)
    keys = {memory.key for memory in store.list(namespace="*", limit=1000).memories}
    _fill(store, 20, 300)
    report = store.compact()
    assert report.trained
    assert codec not in _folders(store)
    after = _vectors(store)
    assert after.keys() > before.keys()
    cosines = np.concatenate([(before[id_] * after[id_]).sum(axis=1) for id_ in before])
    assert cosines.mean() > 0.98
    assert cosines.min() > 0.9
    assert keys < set(_keys(store, "Ana"))
    assert len(_keys(store, "Ana")) == 300
    for n in (0, 3, 5, 11, 12, 299):
        assert set(_keys(store, f"word{n} word{n + 1}", limit=1)) == {f"k{n}"}
    assert store.verify().clean
    assert not store.compact().trained


def test_a_codec_is_trained_without_what_was_deleted(store: MemoryStore) -> None:
    memories = _fill(store, last=10)
    store.compact()
    store.forget([memory.id for memory in memories[:5]])
    _fill(store, 10, 300)
    report = store.compact()
    assert report.trained
    assert report.dropped == 5
    assert len(_vectors(store)) == 295
    assert store.verify().clean


# in the background


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the size of the hot tier after every write."""
    monkeypatch.setattr(background, "_EVERY", 1)


@pytest.mark.usefixtures("eager")
def test_a_hot_tier_over_its_threshold_is_sealed_in_the_background(store_path: Path) -> None:
    with MemoryStore.open(store_path, settings={"hot_tokens": 100}) as store:
        memories = _fill(store)  # 300 tokens
    with MemoryStore.open(store_path) as store:  # closing waited for it
        stats = store.stats()
        assert (stats.hot_passages, stats.segments, stats.memories) == (0, 1, 60)
        assert len(_keys(store, "word3")) == 60
        assert store.list(namespace="*", limit=1000).memories == tuple(memories)
        assert store.verify().clean


@pytest.mark.usefixtures("eager")
def test_a_hot_tier_at_its_threshold_is_not_sealed(store_path: Path) -> None:
    with MemoryStore.open(store_path, settings={"hot_tokens": 300}) as store:
        _fill(store)
    with MemoryStore.open(store_path) as store:
        assert store.stats().segments == 0


@pytest.mark.usefixtures("eager")
def test_everything_added_is_found_at_once_while_it_is_sealed_in_the_background(
    store_path: Path,
) -> None:
    with (
        MemoryStore.open(store_path, settings={"hot_tokens": 60}) as store,
        MemoryStore.open(store_path, read_only=True) as reader,
    ):
        for n in range(0, 150, 3):
            _fill(store, n, n + 3)
            for handle in (store, reader):
                assert _keys(handle, f"word{n + 1} word{n + 2}", limit=1) == [f"k{n + 1}"]
                assert len(_keys(handle, "Ana")) == n + 3
            if n % 30 == 0:
                store.update(store.get_by_key(f"k{n}").id, text=f"word{n} changed of Ana")
    with MemoryStore.open(store_path) as store:
        assert store.stats().segments >= 1
        assert store.verify().clean
        assert len(_keys(store, "Ana")) == 150


@pytest.mark.usefixtures("eager")
def test_changes_during_a_sealing_are_not_lost(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    monkeypatch.setattr(sealing_source, "BLOCK_TOKENS", 40)
    _fill(store)
    done: list[int] = []

    def meddle(what: str, tokens: int, total: int) -> None:
        if what == "writing" and not done:
            done.append(1)
            with MemoryStore.open(store.path) as other:
                other.forget(other.get_by_key("k1").id)
                other.forget(other.get_by_key("k50").id)
                other.update(other.get_by_key("k3").id, text="word3 changed")
                other.update(other.get_by_key("k5").id, metadata={"n": 999})
                other.add("word3 new", key="new")
                other.add("word6 superseding", key="k6")

    sealing.seal_if_due(replaced(store, hot_tokens=0), now=0, progress=meddle)
    found = {hit.memory.key: hit.memory for hit in _ask(store, "word3 word6").hits}
    assert found.keys() == {f"k{n}" for n in range(60) if n not in (1, 50)} | {"new"}
    assert found["k3"].text == "word3 changed"
    assert found["k5"].metadata == {"n": 999}
    assert found["k6"].text == "word6 superseding"
    assert store.verify().clean
    assert sql(store.path, "SELECT count(*) FROM tombstone") == [(3,)]
    with MemoryStore.open(store.path) as other:
        assert _answers(other) == _answers(store)
    store.compact()
    assert sql(store.path, "SELECT count(*) FROM tombstone") == [(0,)]
    assert {hit.memory.key for hit in _ask(store, "word3").hits} == found.keys()


def test_a_purge_during_a_merge_is_complete_when_it_returns(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing_source, "BLOCK_TOKENS", 40)
    with MemoryStore.open(store_path, settings={"lock_timeout": 0.05}) as store:
        _fill(store)
        id_ = store.get_by_key("k7").id

        def purge(what: str, done: int, total: int) -> None:
            if what == "writing" and done == total:
                with pytest.raises(StoreLocked):
                    store.forget(id_, purge=True)

        store.compact(progress=purge)
        assert "k7" not in _keys(store, "word7")
        store.forget(id_, purge=True)  # as the error said
        assert len(_vectors(store)) == 59
        content = b"".join(p.read_bytes() for p in store.path.rglob("*") if p.is_file())
        assert b"word7 word8" not in content
        assert store.verify().clean


@pytest.mark.usefixtures("eager")
def test_what_goes_wrong_in_the_background_is_logged_and_loses_nothing(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sealing, "write_codec", full)
    with MemoryStore.open(store_path, settings={"hot_tokens": 10}) as store:
        _fill(store)
    assert "was not sealed" in caplog.text
    assert "No space left" in caplog.text
    with MemoryStore.open(store_path) as store:
        assert len(_keys(store, "word3")) == 60
        assert store.verify().clean
        with pytest.raises(StoreUnwritable, match="Nothing was lost"):
            store.compact()


@pytest.mark.usefixtures("eager")
def test_damage_met_in_the_background_is_logged_and_ends_no_thread(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    _fill(store)
    store.compact()
    shutil.rmtree(store.path / "index")
    with MemoryStore.open(store.path, settings={"hot_tokens": 10}) as other:
        _fill(other, 60, 90)
    assert "verify --repair" in caplog.text


@pytest.mark.usefixtures("eager")
def test_hot_vectors_of_no_memory_do_not_keep_the_background_busy(
    store: MemoryStore, sql: Sql
) -> None:
    _fill(store)
    sql(store.path, "UPDATE memory SET forgotten_at = 1")
    with MemoryStore.open(store.path, settings={"hot_tokens": 10}) as other:
        other.add("tea")
    with MemoryStore.open(store.path) as other:
        assert other.stats().segments <= 1


def test_hot_vectors_of_the_wrong_size_are_never_sealed(store: MemoryStore, sql: Sql) -> None:
    _fill(store)
    sql(store.path, "UPDATE hot_vector SET tokens = tokens + 1 WHERE passage_id = 30")
    with pytest.raises(IndexDamaged, match=r"passage 30 .* verify --repair"):
        store.compact()
    assert _named(store) == set()
    store.verify(repair=True)
    assert store.compact().sealed == 60
    assert store.verify().clean


@pytest.mark.parametrize(
    "damage",
    [
        "codes = CAST(substr(codes, 2) || x'55' AS BLOB)",
        "scales = CAST(substr(scales, 1, 4) || zeroblob(length(scales) - 4) AS BLOB)",
        "scales = CAST(x'0000c07f' || substr(scales, 5) AS BLOB)",  # not a number
    ],
)
def test_hot_vectors_that_do_not_match_their_checksum_are_never_sealed(
    store: MemoryStore, sql: Sql, damage: str
) -> None:
    _fill(store)
    sql(store.path, f"UPDATE hot_vector SET {damage} WHERE passage_id = 30")
    with pytest.raises(IndexDamaged, match="passage 30"):
        store.compact()
    assert store.verify(repair=True).clean
    assert store.compact().sealed == 60


# one at a time


@contextmanager
def compacting(store: MemoryStore) -> Any:
    """Another thread compacts, and is in the middle of it inside the block."""
    middle, go_on = threading.Event(), threading.Event()

    def wait(what: str, done: int, total: int) -> None:
        middle.set()
        assert go_on.wait(60)

    thread = threading.Thread(target=store.compact, kwargs={"progress": wait})
    thread.start()
    try:
        assert middle.wait(60)
        yield
    finally:
        go_on.set()
        thread.join()


def test_two_at_once_do_not_compact_and_the_second_is_told(store: MemoryStore) -> None:
    _fill(store)
    with MemoryStore.open(store.path, settings={"lock_timeout": 0.05}) as other:
        with compacting(store):
            with pytest.raises(StoreLocked, match="sealed or compacted already"):
                other.compact()
            with pytest.raises(StoreLocked):
                sealing.seal_if_due(replaced(other, hot_tokens=0), now=0)
            assert len(_keys(other, "word3")) == 60  # readers wait for nobody
            other.add("word3 new", key="new")  # nor do writers
        assert store.stats().segments == 1
        assert other.compact().sealed == 1
    assert len(_keys(store, "word3")) == 61
    assert store.verify().clean


COMPACT = """
import sys
from memstore import MemoryStore, StoreLocked
with MemoryStore.open(sys.argv[1], settings={"lock_timeout": 0.05}) as store:
    try:
        store.compact()
        print("compacted")
    except StoreLocked as error:
        print("locked")
"""


def test_two_processes_do_not_compact_at_once(store: MemoryStore, child: Child) -> None:
    _fill(store)
    with compacting(store):
        output, errors = child(COMPACT, store.path).communicate(timeout=60)
        assert output == "locked\n", errors
    output, errors = child(COMPACT, store.path).communicate(timeout=60)
    assert output == "compacted\n", errors


def test_the_second_waits_as_long_as_it_may(store: MemoryStore) -> None:
    _fill(store)
    with MemoryStore.open(store.path) as other:
        waiting = threading.Thread(target=other.compact)
        with compacting(store):
            waiting.start()
        waiting.join()
    assert store.stats().segments == 1
    assert store.verify().clean


def test_an_index_folder_that_cannot_be_written_is_named(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(store)
    (store.path / "index").write_text("in the way")
    with pytest.raises(StoreUnwritable, match="Nothing was lost"):
        store.compact()
    assert len(_keys(store, "word3")) == 60
    monkeypatch.setattr(index_files.os, "open", _refuse)
    with pytest.raises(StoreUnwritable, match=r"index\.lock cannot be made"):
        store.compact()


def _refuse(*_: Any, **__: Any) -> int:
    raise PermissionError(13, "Permission denied")


# larger namespaces, known by a sample


class Contrasting(HashedEncoder):
    """Weighs each query token by how far its best passage rises above the mean."""

    def encode_queries(self, texts: Any) -> list[QueryVectors]:
        return [replace(item, contrast=True) for item in super().encode_queries(texts)]


@pytest.fixture(scope="module")
def four_hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed store of 400 passages."""
    path = tmp_path_factory.mktemp("sampled") / "agent.mem"
    with MemoryStore.open(path, encoder=Contrasting()) as store:
        _fill(store, last=400)
        store.compact()
    return path


@pytest.fixture
def sampled(four_hundred: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same store, when it is too large to be scored wholly."""
    path = shutil.copytree(four_hundred, tmp_path / "agent.mem")
    for module in (snapshot, retrieval):
        monkeypatch.setattr(module, "SMALL", 100)
    monkeypatch.setattr(snapshot, "_SAMPLE", 40)

    @contextmanager
    def opened(**settings: Any) -> Any:
        with MemoryStore.open(path, encoder=Contrasting(), settings=settings) as store:
            yield store

    return opened


PATHS = [
    {},
    {"exact": 20},
    {"exact": 20, "exhaustive": 0},
    {"exact": 400, "exhaustive": 0, "nprobe": 1},
]


@pytest.mark.parametrize("settings", PATHS)
def test_a_large_namespace_gives_the_best_first_on_every_path(
    sampled: Any, settings: dict[str, int]
) -> None:
    with sampled(**settings) as store:
        for n in range(0, 399, 17):
            assert _keys(store, f"word{n} word{n + 1}", limit=3)[0] == f"k{n}"
        for where, count in (({"metadata.even": True}, 200), ({"metadata.n": {"lt": 7}}, 7)):
            hits = _ask(store, "word3 word4", where=where, limit=50).hits
            assert all(
                hit.memory.metadata["even"] if count == 200 else hit.memory.metadata["n"] < 7
                for hit in hits
            )
            assert len(hits) == min(count, 50)
        assert _keys(store, "word4", namespace="team", limit=1) == ["k4"]
        assert len(_keys(store, "word3", limit=400)) == 400


def test_a_large_namespace_scores_as_a_small_one_does(
    sampled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sampled() as store:
        large = _ask(store, "word3 topic3", profile="semantic", limit=5)
        for module in (snapshot, retrieval):
            monkeypatch.setattr(module, "SMALL", 1024)
        with MemoryStore.open(store.path, encoder=Contrasting()) as whole:
            small = _ask(whole, "word3 topic3", profile="semantic", limit=5)
    assert large.hits[0].memory == small.hits[0].memory
    for one, other in zip(large.hits, small.hits, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.05)


@pytest.mark.parametrize("settings", PATHS)
def test_weights_of_query_tokens_do_not_depend_on_filters(
    sampled: Any, settings: dict[str, int]
) -> None:
    with sampled(**settings) as store:
        seen = []
        for where in (None, {"metadata.even": True}, {"metadata.n": {"lt": 20}}):
            for limit in (1, 30):
                hit = _ask(store, "word4 topic4 Ana", where=where, explain=True, limit=limit).hits[
                    0
                ]
                seen.append([match.weight for match in hit.token_matches])
        assert len(seen[0]) == 3
        assert all(weights == seen[0] for weights in seen)
        assert seen[0][0] > 2 * seen[0][2]  # a word of two memories, and one of all


@pytest.mark.parametrize("settings", PATHS)
def test_answers_are_the_same_bytes_with_any_number_of_threads(
    sampled: Any, settings: dict[str, int]
) -> None:
    texts = [f"word{n} topic{n % 5} Ana" for n in range(0, 30, 3)]
    answers = []
    for threads in (1, 4, 1):
        with sampled(threads=threads, **settings) as store:
            results = store.query_many(texts, namespace="*", now=NOW, explain=True)
            answers.append(repr([(result.hits, result.suppressed) for result in results]))
            alone = [store.query(text, namespace="*", now=NOW, explain=True) for text in texts]
            assert repr([(result.hits, result.suppressed) for result in alone]) == answers[-1]
    assert answers[0] == answers[1] == answers[2]


def test_a_large_namespace_of_both_tiers_finds_in_both(sampled: Any) -> None:
    with sampled(exact=20) as store:
        _fill(store, 400, 430)
        store.forget(store.get_by_key("k100").id)
        store.update(store.get_by_key("k101").id, text="word101 word102 anew")
        store.update(store.get_by_key("k103").id, metadata={"n": 7777})
        for n in (3, 399, 400, 429, 101):
            assert _keys(store, f"word{n} word{n + 1}", limit=2)[0] == f"k{n}"
        assert "k100" not in _keys(store, "word100", limit=429)
        assert _keys(store, "Ana", where={"metadata.n": 7777}) == ["k103"]
        assert len(_keys(store, "Ana", limit=429)) == 429


def test_a_memory_that_is_not_valid_is_suppressed_not_found_in_a_large_namespace(
    sampled: Any,
) -> None:
    with sampled(exact=20) as store:
        store.update(store.get_by_key("k50").id, valid_to="2026-01-01T00:00:00Z")
        result = _ask(store, "word50 word51", explain=True, limit=5)
        assert "k50" not in [hit.memory.key for hit in result.hits]
        assert result.suppressed[0].memory.key == "k50"


# copies


def test_a_backup_with_sealed_segments_opens_and_answers_the_same(
    store: MemoryStore, tmp_path: Path
) -> None:
    _fill(store)
    store.compact()
    _fill(store, 60, 70)
    store.forget(store.get_by_key("k3").id)
    (store.path / "index" / "segment-009999").mkdir()
    with MemoryStore.open(store.backup(tmp_path / "copy")) as copy:
        assert _answers(copy) == _answers(store)
        assert copy.verify().clean
        assert _folders(copy) == _named(copy) == _named(store)
        copy.compact()
    with MemoryStore.open(store.path, read_only=True) as reader:
        reader.backup(tmp_path / "by a reader")
    with MemoryStore.open(tmp_path / "by a reader", read_only=True) as copy:
        assert _answers(copy) == _answers(store)


def test_a_backup_during_a_sealing_waits_and_is_whole(store: MemoryStore, tmp_path: Path) -> None:
    _fill(store)
    with MemoryStore.open(store.path) as other:
        backing = threading.Thread(target=other.backup, args=(tmp_path / "copy",))
        with compacting(store):
            backing.start()
            _fill(other, 60, 65)
        backing.join()
    with MemoryStore.open(tmp_path / "copy") as copy:
        assert copy.verify().clean
        assert len(_keys(copy, "word3")) == 65
        assert _folders(copy) == _named(copy)


def test_an_export_of_sealed_memories_comes_back_whole(store: MemoryStore, tmp_path: Path) -> None:
    _fill(store)
    store.compact()
    store.export(tmp_path / "out.jsonl")
    last = json.loads((tmp_path / "out.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["manifest"]["memories"] == 60
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        other.import_(tmp_path / "out.jsonl")
        assert set(_keys(other, "word3")) == set(_keys(store, "word3"))
