"""Every value that cannot be accepted has a typed error and leaves the store as it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memstore import BadInput, MemoryNotFound, MemoryStore

DEEP: Any = []
for _ in range(5000):
    DEEP = [DEEP]

FIELDS: list[tuple[str, Any]] = [
    *(("text", value) for value in ("", " \n\t\u2003", None, 5, b"bytes", ["x"])),
    *(("text", value) for value in ("a\0b", "half \ud83d", "\udc00")),
    *(("key", value) for value in ("", " ", 5, "k" * 1025, "a\0b", "\ud800")),
    *(("session", value) for value in ("", 5, "s" * 1025)),
    *(("title", value) for value in ("", 5, "t" * 1025)),
    *(("source", value) for value in ("", 5, "\ud800")),
    *(("occurred_at", value) for value in ("yesterday", "", 1_700_000_000, date(2026, 1, 1))),
    ("occurred_at", datetime(2026, 1, 1)),  # naive on purpose
    ("occurred_at", "2026-01-01T00:00:00"),
    ("occurred_at", "0001-01-01T00:00:00+14:00"),
    ("valid_to", "2026-13-01T00:00:00Z"),
    *(("half_life", value) for value in (5, "90d", timedelta(0), timedelta(days=-1))),
    *(("half_life", value) for value in (timedelta.max, timedelta(days=3_650_001))),
    *(("confidence", value) for value in (-0.1, 10.1, float("nan"), float("inf"), "5", True)),
    ("confidence", 10**400),
    *(("importance", value) for value in (-1.1, 1.1, float("nan"), None, "1", False)),
    *(("metadata", value) for value in ([], "x", {1: 2}, {"a": {1, 2}}, {"a": float("nan")})),
    ("metadata", {"a": datetime(2026, 1, 1)}),
    ("metadata", {"a": "\ud800"}),
    ("metadata", {"a": DEEP}),
    ("metadata", {"a": "x" * (1024 * 1024)}),
    *(("entities", value) for value in ("Ana", [""], [None], [5], {"Ana"}, ["a\0"])),
]


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_a_field_that_cannot_be_accepted_is_named_and_nothing_is_stored(
    store: MemoryStore, fingerprint: Callable[[Path], str], field: str, value: Any
) -> None:
    store.add("already here")
    before = fingerprint(store.path)
    with pytest.raises(BadInput) as error:
        store.add(**{"text": "fine", field: value})
    assert field.removesuffix("ities").removesuffix("y") in str(error.value)
    assert fingerprint(store.path) == before


QUERIES: list[dict[str, Any]] = [
    *({"text": value} for value in ("", "  ", None, 5, "a\0b", "\ud800", ["x"])),
    *({"limit": value} for value in (0, -1, True, 1.5, "5", None, 10_001, 10**30)),
    *({"max_tokens": value} for value in (0, -5, True, 2.5)),
    *({"min_score": value} for value in ("0", True, float("nan"), float("inf"))),
    *({"profile": value} for value in ("fast", "", None)),
    *({"weights": value} for value in ({"speed": 1}, {"trust": -1}, {"trust": float("nan")})),
    *({name: "2026-01-01T00:00:00"} for name in ("now", "as_of", "known_at")),
    *({name: 5} for name in ("now", "as_of", "known_at")),
]


@pytest.mark.parametrize("options", QUERIES)
def test_a_query_that_cannot_be_answered_is_refused(
    store: MemoryStore, options: dict[str, Any]
) -> None:
    store.add("tea")
    with pytest.raises(BadInput):
        store.query(**{"text": "tea", **options})


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.add("x", tags=["a"]),
        lambda store: store.query("x", top_k=3),
        lambda store: store.list(page=2),
        lambda store: store.update("x", namespace="y"),
    ],
)
def test_an_unknown_option_is_an_error(
    store: MemoryStore, call: Callable[[MemoryStore], object]
) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        call(store)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get(None),
        lambda store: store.get(5),
        lambda store: store.get("\ud800"),
        lambda store: store.get_by_key(None),
        lambda store: store.get_by_key(5),
        lambda store: store.get_by_key("\ud800"),
        lambda store: store.history(None),
        lambda store: store.history("\ud800"),
        lambda store: store.update(5, text="x"),
        lambda store: store.list(limit=0),
        lambda store: store.list(limit=True),
        lambda store: store.list(limit=10_001),
        lambda store: store.list(where={"nope": 1}),
        lambda store: store.list(where={"source": "\ud800"}),
        lambda store: store.query("x", where={"metadata.a": "\ud800"}),
        lambda store: store.entities(limit=0),
        lambda store: store.entities(prefix=None),
        lambda store: store.entities(prefix=5),
        lambda store: store.entities(prefix="\ud800"),
        lambda store: store.forget(where={"nope": 1}),
        lambda store: store.forget(where=[]),
        lambda store: store.query_many("one text"),
        lambda store: store.query_many(5),
    ],
)
def test_looking_for_something_impossible_is_bad_input(
    store: MemoryStore, call: Callable[[MemoryStore], object]
) -> None:
    store.add("tea", key="k")
    with pytest.raises(BadInput):
        call(store)
    assert store.stats().memories == 1


def test_not_found_is_a_kind_of_bad_input() -> None:
    assert issubclass(MemoryNotFound, BadInput)


TEXTS = [
    "🎉 party 🏳️‍🌈 👩‍👩‍👧",
    "東京で寿司を食べた",
    "انا أحب الشاي بالنعناع",
    "שלום עולם",
    "Ålesund cafe\u0301 naïve",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "!?",
    "\u200b.\u200b",
    "a" * 5000,
    "tab\tand\r\nbreaks",
    "\ufeffmark first",
    "'; DROP TABLE memory; --",
    'percent % under_score \\ "quote"',
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_of_every_script_is_stored_unchanged_and_found_again(
    store: MemoryStore, text: str
) -> None:
    store.add_many(["something else entirely", "and another one"])
    memory = store.add(text, key=text[:100], session=text[:100], metadata={text[:50]: text})
    assert store.get(memory.id).text == text
    assert store.get_by_key(text[:100]) == memory
    hit = store.query(text).hits[0]
    assert hit.memory == memory
    assert hit.passage.text == text[hit.passage.start : hit.passage.end]
    assert memory.metadata == {text[:50]: text}


@pytest.mark.parametrize("metadata", [{"m": "a\0b"}, {"a\0b": 1}, {"m": [{"n": "\0"}]}])
def test_metadata_with_a_nul_is_refused_wherever_it_hides(store, metadata):
    with pytest.raises(BadInput, match="NUL"):
        store.add("text", metadata=metadata)
    assert store.add("text", metadata={"m": r"a literal \u0000 is text"}).metadata


@pytest.mark.parametrize("text", ["\u200b", "\u200b \u2060\n", "\x01\x02"])
def test_text_without_a_visible_character_is_refused(store, text):
    with pytest.raises(BadInput, match="visible"):
        store.add(text)
    with pytest.raises(BadInput, match="visible"):
        store.query(text)
