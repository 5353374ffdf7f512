"""However an ingest is cut into batches, interrupted or repeated, the store is the same."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import IngestReport, MemoryStore
from memstore.encoders import DocumentText, EncoderIdentity, QueryVectors
from memstore.maxsim import TokenVectors

WORDS = ["tea", "Porto", "Ana said", "lisbon", "ok"]
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"text": st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)},
        optional={
            "id": st.sampled_from("abcde"),
            "scope": st.sampled_from(["n", "n/m"]),
            "session": st.sampled_from(["s1", "s2"]),
            "timestamp": st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]),
        },
    ),
    max_size=20,
)


class ContextEncoder:
    """One vector per text that depends on every character of it and of its context."""

    identity = EncoderIdentity(
        name="context", fingerprint="context-1", dim=16, document_length=256, query_length=32
    )

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]

    def encode_documents(
        self, documents: Sequence[DocumentText], *, progress: Callable[[int], None] | None = None
    ) -> list[TokenVectors]:
        return [self._vectors(repr((item.text, item.context))) for item in documents]

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVectors]:
        ones = np.ones(1, dtype=np.float32)
        return [QueryVectors(self._vectors(text), ones, False, (text,), False) for text in texts]

    def _vectors(self, content: str) -> TokenVectors:
        numbers = np.frombuffer(hashlib.shake_256(content.encode()).digest(16), dtype=np.uint8)
        vector = numbers.astype(np.float32) - 127.5
        return np.array([vector / np.linalg.norm(vector)], dtype=np.float32)


def _content(store: MemoryStore) -> list[tuple[Any, ...]]:
    """Everything that does not depend on the clock or on chance, vectors too."""
    with closing(sqlite3.connect(store.path / "memstore.db")) as connection:
        return connection.execute(
            "SELECT path, key, session, text, occurred_at, valid_to IS NULL, content_hash, "
            "ordinal, start, end, hot_vector.checksum FROM memory JOIN namespace ON namespace_id = "
            "namespace.id JOIN passage ON memory_row = row JOIN hot_vector ON passage_id = "
            "passage.id ORDER BY row, ordinal"
        ).fetchall()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(items=ITEMS, first=st.integers(1, 8), second=st.integers(1, 8))
def test_batch_sizes_change_neither_the_store_nor_the_report(
    tmp_path_factory: pytest.TempPathFactory, items: list[dict[str, str]], first: int, second: int
) -> None:
    folder = tmp_path_factory.mktemp("batches")
    with (
        MemoryStore.open(folder / "one", encoder=ContextEncoder()) as one,
        MemoryStore.open(folder / "other", encoder=ContextEncoder()) as other,
    ):
        report = one.ingest(items, batch_size=first)
        assert other.ingest(items, batch_size=second).added == report.added
        content = _content(one)
        assert _content(other) == content
        again = one.ingest(items, batch_size=second)
        assert (again.added, again.superseded) == (0, 0)
        assert again.unchanged == report.added + report.unchanged
        assert _content(one) == content
        assert one.verify().clean


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_repeated_turn_is_no_context_twice_wherever_batches_are_cut(
    tmp_path: Path, batch_size: int
) -> None:
    items = [{"text": text, "session": "s"} for text in ("one", "ok", "ok", "two", "ok", "three")]
    with (
        MemoryStore.open(tmp_path / "one", encoder=ContextEncoder()) as one,
        MemoryStore.open(tmp_path / "other", encoder=ContextEncoder()) as other,
    ):
        assert one.ingest(items, batch_size=64).added == 4
        assert other.ingest(items, batch_size=batch_size).added == 4
        assert _content(other) == _content(one)


def test_reading_the_same_file_again_writes_no_row(
    store: MemoryStore, fingerprint: Callable[[Path], str]
) -> None:
    items = [{"id": str(n), "text": f"text {n}", "session": "s"} for n in range(10)]
    store.ingest(items, batch_size=3)
    before = fingerprint(store.path)
    assert store.ingest(items, batch_size=7).unchanged == 10
    assert fingerprint(store.path) == before


class _InterruptedError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_an_interrupted_and_resumed_session_has_the_vectors_of_an_uninterrupted_one(
    tmp_path: Path, stop_after: int
) -> None:
    items = [{"text": f"turn {n}", "session": f"s{n % 2}"} for n in range(12)]

    def interrupt(report: IngestReport) -> None:
        if report.added >= 2 * stop_after:
            raise _InterruptedError

    with (
        MemoryStore.open(tmp_path / "whole", encoder=ContextEncoder()) as whole,
        MemoryStore.open(tmp_path / "parts", encoder=ContextEncoder()) as parts,
    ):
        whole.ingest(items, batch_size=5)
        with pytest.raises(_InterruptedError):
            parts.ingest(items, batch_size=2, progress=interrupt)
        assert parts.stats().memories == 2 * stop_after
        report = parts.ingest(items, batch_size=3)
        assert (report.added, report.unchanged) == (12 - 2 * stop_after, 2 * stop_after)
        assert _content(parts) == _content(whole)


def test_neighbours_of_a_session_give_context_and_others_do_not(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "store", encoder=ContextEncoder()) as store:
        for n in range(4):
            store.add(f"turn {n}", session="s")
            store.add(f"aside {n}", session="t", namespace="elsewhere")
        alone = ContextEncoder()
        expected = DocumentText("turn 3", ("turn 1", "turn 2"))
        hit = store.query("turn 3", namespace="default", limit=4).hits[0]
        assert hit.memory.text in {f"turn {n}" for n in range(4)}
        [vectors] = alone.encode_documents([expected])
        with closing(sqlite3.connect(store.path / "memstore.db")) as connection:
            [(codes,)] = connection.execute(
                "SELECT codes FROM hot_vector JOIN passage ON passage.id = passage_id "
                "JOIN memory ON row = memory_row WHERE text = 'turn 3'"
            ).fetchall()
    direction = np.frombuffer(codes, dtype=np.int8).astype(np.float32)
    assert direction @ vectors[0] / np.linalg.norm(direction) > 0.999


def test_a_memory_has_the_same_entities_in_any_batch_and_beside_any_namespace(tmp_path):
    items = [
        {"text": "Falkirk and Quibbleton met.", "key": "a"},
        {"text": "they saw a falkirk and a quibbleton", "key": "b", "namespace": "other"},
        {"text": "Hi Melanie!", "key": "c", "session": "s", "speaker": "Caroline"},
        {"text": "Hi Caroline!", "key": "d", "session": "s", "speaker": "Melanie"},
    ]
    found = []
    for size in (1, 2, 10):
        with MemoryStore.open(tmp_path / f"{size}.mem", encoder="hashed") as store:
            store.ingest(items, batch_size=size)
            memories = store.list(namespace="*").memories
            found.append({memory.key: memory.entities for memory in memories})
    assert found[0] == found[1] == found[2]
    assert found[0]["a"] == ("Falkirk", "Quibbleton")
    assert found[0]["d"] == ("Melanie",)


def test_a_repeated_line_counts_as_unchanged(store):
    report = store.ingest([{"id": "a", "text": "same"}, {"id": "a", "text": "same"}])
    assert (report.added, report.unchanged, report.errors) == (1, 1, ())
