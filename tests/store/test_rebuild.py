"""Encoding a store anew, and handles that did not know of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore import EncoderMismatch, MemoryStore, StoreLocked
from memstore.encoders.hashed import HashedEncoder

WIDER = HashedEncoder(dim=48)
SAME_WIDTH = HashedEncoder(document_length=128)  # the same shape of vectors, another identity


def _fill(store: MemoryStore) -> None:
    store.add_many({"text": f"word{n} word{n + 1}", "key": str(n)} for n in range(20))
    store.forget(store.get_by_key("7").id)


def test_a_rebuild_with_another_encoder_keeps_ids_times_history_and_answers(
    store: MemoryStore,
) -> None:
    _fill(store)
    before = store.list().memories
    history = store.history(before[3].id)
    reported: list[int] = []
    assert store.rebuild(encoder=WIDER, progress=reported.append) == 19
    assert sum(reported) == 19
    assert store.list().memories == before
    assert store.history(before[3].id) == history
    assert {hit.memory.key for hit in store.query("word4", limit=2).hits} == {"4", "3"}
    assert store.verify().clean
    store.add("word99", key="new")
    assert store.query("word99").hits[0].memory.key == "new"
    with MemoryStore.open(store.path, encoder=WIDER) as other:
        assert other.list(limit=1000).memories[:-1] == before
        assert other.query("word4", limit=1).hits[0].memory.key in ("3", "4")
    with pytest.raises(EncoderMismatch, match="rebuild --encoder"):
        MemoryStore.open(store.path, encoder=HashedEncoder())


def test_a_rebuild_with_the_own_encoder_replaces_damaged_vectors(
    store: MemoryStore, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    _fill(store)
    expected = store.query("word4").hits
    sql(store.path, "UPDATE hot_vector SET codes = zeroblob(length(codes))")
    with MemoryStore.open(store.path) as other:
        assert other.rebuild() == 19
        assert other.query("word4").hits == expected
        assert other.verify().clean


def test_a_rebuild_without_an_encoder_keeps_the_one_in_use(
    store: MemoryStore, tmp_path: Path
) -> None:
    used: list[int] = []

    class Counting(HashedEncoder):
        def encode_documents(self, documents: Any, **options: Any) -> Any:
            used.append(len(documents))
            return super().encode_documents(documents, **options)

    with MemoryStore.open(tmp_path / "other.mem", encoder=Counting(dim=48)) as other:
        _fill(other)
        before = other._opened.identity
        used.clear()
        assert other.rebuild() == 19
        assert used == [19]
        assert other._opened.identity == before
    with MemoryStore.open(tmp_path / "other.mem") as other:  # its name alone makes another width
        with pytest.raises(EncoderMismatch, match="rebuild --encoder hashed"):
            other.rebuild()
        assert other._opened.identity == before
        assert other.rebuild(encoder="hashed") == 19


def test_a_handle_of_the_old_encoder_does_not_rebuild_back_to_it(
    store: MemoryStore, fingerprint: Callable[[Path], str]
) -> None:
    _fill(store)
    store.query("word1")
    with MemoryStore.open(store.path) as other:
        other.rebuild(encoder=WIDER)
        before = fingerprint(store.path)
        with pytest.raises(EncoderMismatch, match="re-encoded"):
            store.rebuild()
        assert fingerprint(store.path) == before


def test_a_rebuild_reads_the_same_session_context_as_storing_did(
    tmp_path: Path,
) -> None:
    read: dict[str, tuple[str, ...]] = {}

    class Reading(HashedEncoder):
        def encode_documents(self, documents: Any, **options: Any) -> Any:
            read.update((item.text, item.context) for item in documents)
            return super().encode_documents(documents, **options)

    settings = {"session_context": 2}
    with MemoryStore.open(tmp_path / "a.mem", encoder=Reading(), settings=settings) as store:
        for n in range(12):
            store.add(
                f"word{n}",
                session=None if n % 4 == 3 else f"s{n % 2}",
                namespace="a" if n % 3 else "b",
            )
        stored = dict(read)
        assert any(stored.values())
        read.clear()
        store.rebuild()
        assert read == stored


def test_the_named_default_encoder_replaces_another_one_by_its_name(store: MemoryStore) -> None:
    store.add("Ana moved to Lisbon.")
    store.add("The dentist called.")
    store.rebuild(encoder="minilm")
    assert store.stats().encoder == store.encoder == "minilm"
    path = store.path
    store.close()
    with pytest.raises(EncoderMismatch, match="'minilm', but 'hashed' was asked for"):
        MemoryStore.open(path, encoder="hashed")
    with MemoryStore.open(path) as again:
        assert "Ana" in again.query("In which city does Ana live now?").hits[0].memory.text


@pytest.mark.parametrize("encoder", [WIDER, SAME_WIDTH])
def test_a_handle_of_the_old_encoder_neither_reads_nor_writes_after_a_rebuild(
    store: MemoryStore,
    tmp_path: Path,
    fingerprint: Callable[[Path], str],
    reseal: Callable[[Path], None],
    encoder: HashedEncoder,
) -> None:
    _fill(store)
    store.export(tmp_path / "out.jsonl")
    path = tmp_path / "more.jsonl"
    path.write_text(
        (tmp_path / "out.jsonl").read_text().replace('"id": "0', '"id": "1'), encoding="utf-8"
    )
    reseal(path)
    memory = store.get_by_key("1")
    store.query("word1")
    with MemoryStore.open(store.path) as other:
        other.rebuild(encoder=encoder)
        before = fingerprint(store.path)
        for call in (
            lambda: store.query("word1"),
            lambda: store.add("new words"),
            lambda: store.ingest([{"text": "new words"}]),
            lambda: store.update(memory.id, text="changed words"),
            lambda: store.import_(path),
        ):
            with pytest.raises(EncoderMismatch, match="re-encoded") as error:
                call()
            assert "stored" not in str(error.value)  # it may be a read, or a later batch
        assert fingerprint(store.path) == before
        assert store.get(memory.id) == memory  # what needs no vectors still works
        assert len(other.query("word1", limit=50).hits) == 19
        assert other.verify().clean


def test_a_change_during_a_rebuild_is_not_lost(store: MemoryStore) -> None:
    _fill(store)

    def meddle(_: int) -> None:
        with MemoryStore.open(store.path) as other:
            other.add("came between")

    with pytest.raises(StoreLocked, match="run the rebuild again"):
        store.rebuild(encoder=WIDER, progress=meddle)
    assert store.query("came between").hits[0].memory.text == "came between"
    assert store.rebuild(encoder=WIDER) == 20
    assert store.query("came between").hits[0].memory.text == "came between"


def test_queries_in_other_threads_see_the_old_vectors_or_the_new_ones(store: MemoryStore) -> None:
    _fill(store)
    done = threading.Event()
    problems: list[object] = []

    def ask() -> None:
        while not done.is_set():
            try:
                hits = store.query("word4 word5", limit=1).hits
                if [hit.memory.key for hit in hits] != ["4"]:
                    problems.append(hits)
            except Exception as error:  # any error is what this test is about
                problems.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for encoder in (WIDER, HashedEncoder(), SAME_WIDTH, HashedEncoder(dim=24)):
            store.rebuild(encoder=encoder)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []


def test_an_empty_store_can_be_rebuilt(store: MemoryStore) -> None:
    assert store.rebuild(encoder=WIDER) == 0
    assert store.add("tea").text == "tea"
    assert len(store.query("tea").hits) == 1
