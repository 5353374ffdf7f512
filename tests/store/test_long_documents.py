"""Texts far beyond what an encoder reads at once become passages that slice them.

Set MEMSTORE_TORTURE=1 for five megabytes instead of one.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memstore import MemoryStore, Settings
from memstore.encoders import DocumentText
from memstore.encoders.hashed import HashedEncoder

LINES = 95_000 if os.environ.get("MEMSTORE_TORTURE") == "1" else 19_000


def test_a_book_is_passages_and_every_part_is_found(tmp_path: Path) -> None:
    # else it would be sealed on closing, and a million tokens take minutes
    settings = Settings(hot_tokens=10_000_000)
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed", settings=settings) as store:
        _check_a_long_document(store)


def _check_a_long_document(store: MemoryStore) -> None:
    sentences = [f"Line {n} is about subject{n}, told at length for once." for n in range(LINES)]
    text = "\n".join(sentences)
    assert len(text) > 50 * LINES
    memory = store.add(text, key="book", title="A long book")
    store.add("unrelated words")
    assert store.get(memory.id).text == text
    for n in (0, LINES // 2, LINES - 1):
        hit = store.query(f"subject{n}").hits[0]
        assert hit.memory.id == memory.id
        assert f"subject{n}," in hit.passage.text
        assert hit.passage.text == text[hit.passage.start : hit.passage.end]
    assert len(store.query("subject1 subject2").hits) == 2  # a memory is one hit
    with closing(sqlite3.connect(store.path / "memstore.db")) as connection:
        spans = connection.execute('SELECT start, "end" FROM passage ORDER BY id').fetchall()[:-1]
        longest = connection.execute("SELECT max(tokens) FROM hot_vector").fetchone()[0]
    assert len(spans) > LINES / 30
    assert longest <= 256
    covered = 0
    for start, end in spans:
        assert not text[covered:start].strip()
        covered = end
    assert covered == len(text)
    assert store.stats().passages == len(spans) + 1


def test_a_title_is_read_with_every_passage_of_its_text(store: MemoryStore) -> None:
    body = " ".join(f"Sentence {n} goes on." for n in range(300))
    memory = store.add(body, title="Zanzibar")
    store.add(body + " More.", title="Madagascar")
    assert store.query("Zanzibar").hits[0].memory.id == memory.id
    assert store.query("Zanzibar Sentence 299").hits[0].memory.id == memory.id
    assert store.query("Zanzibar").hits[0].passage.text in body


@pytest.mark.parametrize("session_context", [0, 1, 2])
def test_each_passage_is_read_behind_the_end_of_what_its_text_says_before(
    tmp_path: Path, session_context: int
) -> None:
    read: dict[str, DocumentText] = {}

    class Reading(HashedEncoder):
        def encode_documents(self, documents: Any, **options: Any) -> Any:
            read.update((document.text, document) for document in documents)
            return super().encode_documents(documents, **options)

    settings = {
        "session_context": session_context,
        "passage_tokens": 40,
        "overlap_tokens": 8,
        "pooling": 2,
    }
    text = "  " + " ".join(f"Sentence number{n} goes on." for n in range(400))
    with MemoryStore.open(tmp_path / "a.mem", encoder=Reading(), settings=settings) as store:
        store.add("Hello.", session="s")
        read.clear()
        store.add(text, title="Zanzibar", session="s")
        stored = dict(read)
        [hit] = store.query("number399", limit=1, explain=True).hits  # which reads it again
        assert "token_matches_unavailable" not in store.query("number399", explain=True).flags
        assert hit.token_matches
        store.rebuild()
        assert {key: read[key] for key in stored} == stored
    assert len(stored) > 50
    for document in stored.values():
        start = text.index(document.text.removeprefix("Zanzibar "))
        if start == 2:
            assert document.context == (("Hello.",) if session_context else ())
            assert document.before == ""
        else:
            assert document.context == ()
            assert document.before == (text[:start][-1000:] if session_context else "")


def test_a_shortened_text_leaves_no_passage_of_the_long_one(store: MemoryStore) -> None:
    memory = store.add(" ".join(f"Sentence {n} about topic{n}." for n in range(300)))
    assert store.stats().passages > 3
    store.update(memory.id, text="short now")
    assert store.stats().passages == 1
    assert store.query("topic299").hits[0].score < 0.9
    assert store.verify().clean
