"""What decides a store's vectors is chosen when it is made, and remembered by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore import BadInput, EncoderMismatch, MemoryStore, Settings
from memstore.encoders.hashed import HashedEncoder
from memstore.settings import VectorSettings

CHOSEN = {
    "session_context": 1,
    "passage_tokens": 40,
    "overlap_tokens": 4,
    "pooling": 2,
    "residual_bits": 2,
}
LONG = " ".join(f"word{n} is said." for n in range(60))


def _made(store: MemoryStore) -> VectorSettings:
    return store._opened.vector_settings


def test_a_store_remembers_how_its_vectors_are_made(tmp_path: Path) -> None:
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed", settings=CHOSEN) as store:
        store.add(LONG, key="a")
        passages, vectors = store.stats().passages, store.stats().vectors
    with MemoryStore.open(path) as store:
        assert _made(store) == VectorSettings(**CHOSEN)
        store.add(f"{LONG} More.", key="b")
        assert store.stats().passages >= 2 * passages
        store.rebuild()
        assert _made(store) == VectorSettings(**CHOSEN)
        store.forget(store.get_by_key("b").id, purge=True)
        assert (store.stats().passages, store.stats().vectors) == (passages, vectors)
    with MemoryStore.open(path, settings=Settings(**CHOSEN)) as store:  # the same is no change
        assert store.verify().clean


@pytest.mark.parametrize(("name", "value"), [(name, 4) for name in CHOSEN if name != "pooling"])
def test_a_store_that_is_there_refuses_other_ways_and_says_how_to_have_them(
    tmp_path: Path, name: str, value: int
) -> None:
    settings = {**CHOSEN, name: 8}
    MemoryStore.open(tmp_path / "agent.mem", encoder="hashed", settings=settings).close()
    option = name.replace("_", "-")
    with pytest.raises(BadInput, match=f"{name} 8, but {name}={value}(.|\n)*rebuild --{option} 4"):
        MemoryStore.open(tmp_path / "agent.mem", settings={name: value})


def test_a_store_that_says_nothing_of_it_has_the_defaults(
    tmp_path: Path,
    sql: Callable[..., list[tuple[Any, ...]]],
    stamp: Callable[[Path, str], None],
) -> None:
    path = tmp_path / "agent.mem"
    MemoryStore.open(path, encoder="hashed", settings=CHOSEN).close()
    sql(path, "UPDATE setting SET value = json_remove(value, '$.vectors') WHERE name = 'encoder'")
    stamp(path, "setting")
    with MemoryStore.open(path) as store:
        assert _made(store) == VectorSettings()


def test_a_rebuild_changes_them(tmp_path: Path) -> None:
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        store.add(LONG)
        vectors = store.stats().vectors
        store.compact()
        store.rebuild(settings={"pooling": 3, "residual_bits": 8})
        assert store.stats().vectors == pytest.approx(vectors / 3, abs=3)
    with MemoryStore.open(path) as store:
        assert _made(store) == VectorSettings(pooling=3, residual_bits=8)
        store.compact()
        assert store.verify().clean
        with pytest.raises(BadInput, match="pooling"):
            store.rebuild(settings={"pooling": 7})


def test_a_handle_that_missed_a_rebuild_mixes_no_vectors(tmp_path: Path) -> None:
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store, MemoryStore.open(path) as other:
        store.add("one two three four")
        other.rebuild(settings={"pooling": 2})
        with pytest.raises(EncoderMismatch, match="other settings"):
            store.add("five six seven eight")
        assert store.query("one").hits  # what it reads is the same width
        other.add("five six seven eight")
        assert other.stats().vectors == 4


def test_a_rebuild_by_another_thread_of_the_same_handle_mixes_no_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        encode = HashedEncoder.encode_documents
        waiting = [True]

        def meanwhile(self: HashedEncoder, documents: Any, **options: Any) -> Any:
            if waiting:
                waiting.clear()
                store.rebuild(settings={"pooling": 2})
            return encode(self, documents, **options)

        with monkeypatch.context() as patch:
            patch.setattr(HashedEncoder, "encode_documents", meanwhile)
            with pytest.raises(EncoderMismatch, match="other settings"):
                store.add("one two three four")
        store.add("one two three four")
        assert store.stats().vectors == 2


def test_a_copy_is_made_the_same_way_and_an_import_the_way_of_its_store(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed", settings=CHOSEN) as store:
        store.add(LONG)
        store.backup(tmp_path / "backup")
        store.export(tmp_path / "all.jsonl")
    MemoryStore.restore(tmp_path / "backup", tmp_path / "b.mem")
    with MemoryStore.open(tmp_path / "b.mem") as store:
        assert _made(store) == VectorSettings(**CHOSEN)
    with MemoryStore.open(tmp_path / "c.mem", encoder="hashed", settings={"pooling": 3}) as store:
        store.import_(tmp_path / "all.jsonl")
        assert _made(store) == VectorSettings(pooling=3)


def test_an_encoder_says_how_much_context_a_store_gives_it_by_default(tmp_path: Path) -> None:
    for name, encoder, settings, count, after in (
        ("a", "minilm", {}, 2, 0),
        ("b", "hashed", {}, 0, 2),
        ("c", "hashed", {"session_context": 3}, 3, 3),
    ):
        with MemoryStore.open(tmp_path / name, encoder=encoder, settings=settings) as store:
            assert store._opened.session_context == count
            store.rebuild(encoder="hashed" if encoder == "minilm" else "minilm")
            assert store._opened.session_context == after


def test_without_session_context_a_memory_is_read_alone(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "a.mem", settings={"session_context": 0}) as store:
        for text in ("Ana: I adopted a greyhound.", "Bo: What is she called?"):
            store.add(text, session="pets")
            store.add(text, namespace="alone")
        inside, alone = (
            {
                hit.memory.text: hit.relevance.raw
                for hit in store.query("dog", namespace=path).hits
                if hit.relevance is not None
            }
            for path in ("default", "alone")
        )
        assert inside == alone
