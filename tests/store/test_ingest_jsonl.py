"""JSON lines and mappings become memories: which field goes where, which lines are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memstore import BadInput, IngestReport, Memory, MemoryStore


def _only(store: MemoryStore, **options: Any) -> Memory:
    memories = store.list(namespace="*", **options).memories
    assert len(memories) == 1
    return memories[0]


def _lines(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"\n".join(x.encode() if isinstance(x, str) else x for x in lines) + b"\n")
    return path


def test_every_named_field_becomes_a_field_and_every_other_one_metadata(
    store: MemoryStore, tmp_path: Path
) -> None:
    line = {
        "id": "d1",
        "text": "I like tea.",
        "title": "Drinks",
        "timestamp": "2026-03-02T09:00:00Z",
        "scope": "team/ana",
        "session": "s1",
        "source": "chat",
        "speaker": "Ana",
        "confidence": 7.5,
        "valid_from": "2026-03-01T00:00:00Z",
        "valid_to": "2027-03-01T00:00:00Z",
        "metadata": {"a": 1},
        "seq": 3,
        "importance": "high",
        "entities": [{"name": "tea"}],
    }
    report = store.ingest(_lines(tmp_path / "in.jsonl", json.dumps(line)))
    assert (report.added, report.unchanged, report.superseded, report.errors) == (1, 0, 0, ())
    memory = _only(store)
    assert (memory.key, memory.namespace, memory.session) == ("d1", "team/ana", "s1")
    assert (memory.title, memory.source, memory.confidence) == ("Drinks", "chat", 7.5)
    assert memory.text == "Ana: I like tea."
    assert memory.entities == ("Ana",)
    assert memory.occurred_at == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert memory.valid_from == datetime(2026, 3, 1, tzinfo=UTC)
    assert memory.valid_to == datetime(2027, 3, 1, tzinfo=UTC)
    assert memory.metadata == {
        "a": 1,
        "seq": 3,
        "importance": "high",
        "entities": [{"name": "tea"}],
    }


def test_the_exact_names_work_like_their_short_forms_and_win_over_them(store: MemoryStore) -> None:
    store.ingest(
        [
            {
                "text": "x",
                "key": "k",
                "id": "i",
                "occurred_at": "2026-01-01T00:00:00Z",
                "timestamp": "2025-01-01T00:00:00Z",
                "namespace": "n",
                "scope": "s",
            }
        ]
    )
    memory = _only(store)
    assert (memory.key, memory.namespace) == ("k", "n")
    assert memory.occurred_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert memory.metadata == {"id": "i", "timestamp": "2025-01-01T00:00:00Z", "scope": "s"}


def test_null_fields_count_as_left_out(store: MemoryStore) -> None:
    names = ("key", "title", "timestamp", "namespace", "session", "source", "speaker", "metadata")
    item = {"text": "x", "id": "i", "confidence": None} | dict.fromkeys(names)
    assert store.ingest([item]).errors == ()
    memory = _only(store)
    assert (memory.key, memory.namespace, memory.confidence) == ("i", "default", 5.0)


def test_numbers_as_ids_become_keys(store: MemoryStore) -> None:
    assert store.ingest([{"id": 17, "text": "x"}]).errors == ()
    assert store.get_by_key("17").text == "x"


def test_defaults_fill_what_lines_leave_out(store: MemoryStore) -> None:
    store.ingest(
        [{"id": "1", "text": "a"}, {"id": "2", "text": "b", "scope": "own", "source": "me"}],
        namespace="given",
        source_name="file",
    )
    first = store.get_by_key("1", namespace="given")
    second = store.get_by_key("2", namespace="own")
    assert (first.source, second.source) == ("file", "me")


@pytest.mark.parametrize("zone", ["UTC", "utc"])
def test_times_without_an_offset_are_of_the_zone_that_was_named(
    store: MemoryStore, zone: str
) -> None:
    item = {"text": "x", "timestamp": "2026-07-01T12:00:00"}
    refused = store.ingest([item])
    assert "no UTC offset" in refused.errors[0].message
    assert "timezone" in refused.errors[0].message
    assert store.stats().memories == 0
    assert store.ingest([item], timezone=zone).errors == ()
    assert _only(store).occurred_at == datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_a_zone_does_not_move_times_that_have_an_offset(store: MemoryStore) -> None:
    store.ingest([{"text": "x", "timestamp": "2026-07-01T12:00:00-03:00"}], timezone="UTC")
    assert _only(store).occurred_at == datetime(2026, 7, 1, 15, tzinfo=UTC)


BAD_LINES: list[tuple[str | bytes, str]] = [
    ("{broken", "not a JSON object"),
    ('"just text"', "not str"),
    ("[1, 2]", "not list"),
    ('{"id": "1"}', "needs a text"),
    ('{"text": ""}', "text is empty"),
    ('{"text": "  "}', "text is empty"),
    ('{"text": 5}', "text is int"),
    ('{"text": "a\\u0000b"}', "NUL character at position 1"),
    ('{"text": "a\\ud83d"}', "half of a surrogate pair at position 1"),
    (b'{"text": "caf\xe9"}', "not UTF-8: byte 0xe9"),
    ('{"text": "x", "timestamp": "yesterday"}', "no ISO-8601 time"),
    ('{"text": "x", "timestamp": 1700000000}', "int"),
    ('{"text": "x", "confidence": NaN}', "NaN is no JSON number"),
    ('{"text": "x", "confidence": 10.5}', "from 0 to 10"),
    ('{"text": "x", "confidence": "high"}', "confidence is 'high'"),
    ('{"text": "x", "scope": "a//b"}', "'a//b' is not a path"),
    ('{"text": "x", "scope": "*"}', "'*' is not a path"),
    ('{"text": "x", "metadata": [1]}', "metadata is list"),
    ('{"text": "x", "n": Infinity}', "Infinity is no JSON number"),
    ('{"text": "x", "n": ' + "9" * 5000 + "}", "not a JSON object"),
    ('{"text": "x", "n": ' + "[" * 100_000 + "}", "not a JSON object"),
    ('{"text": "x", "valid_from": "2026-02-01T00:00:00Z", "valid_to": "2026-01-01T00:00:00Z"}',
     "is before valid_from"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), BAD_LINES)
def test_a_bad_line_is_reported_with_file_and_line_and_the_good_ones_are_stored(
    store: MemoryStore, tmp_path: Path, line: str | bytes, message: str
) -> None:
    good = json.dumps({"id": "a", "text": "good"}), json.dumps({"id": "b", "text": "better"})
    path = _lines(tmp_path / "in.jsonl", good[0], line, good[1])
    report = store.ingest(path)
    assert report.added == 2
    [error] = report.errors
    assert (error.file, error.line) == (str(path), 2)
    assert message in error.message
    assert str(error).startswith(f"{path}:2: ")
    assert {store.get_by_key(key).text for key in "ab"} == {"good", "better"}


def test_strict_stores_nothing_when_one_line_is_bad(
    store: MemoryStore, tmp_path: Path, fingerprint: Callable[[Path], str]
) -> None:
    path = _lines(tmp_path / "in.jsonl", '{"text": "good"}', "bad", "worse")
    before = fingerprint(store.path)
    with pytest.raises(BadInput, match=r"in\.jsonl:2: .*1 more.*strict"):
        store.ingest(path, strict=True, batch_size=1)
    assert fingerprint(store.path) == before
    assert store.ingest(_lines(path, '{"text": "good"}'), strict=True).added == 1


def test_byte_order_mark_crlf_and_blank_lines_are_no_errors_and_count_as_lines(
    store: MemoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"id": "1", "text": "one"}\r\n\r\n   \n{"id": "2", "text": "two"}\r\nbad'
    )
    report = store.ingest(path)
    assert report.added == 2
    assert [error.line for error in report.errors] == [5]
    assert store.get_by_key("1").text == "one"


def test_line_separators_inside_a_text_do_not_end_a_line(
    store: MemoryStore, tmp_path: Path
) -> None:
    text = "one\u2028two\u0085three\x0bfour"
    path = _lines(tmp_path / "in.jsonl", json.dumps({"text": text}, ensure_ascii=False))
    assert store.ingest(path).errors == ()
    assert _only(store).text == text


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_key_used_again_for_other_content_is_an_error_wherever_batches_are_cut(
    store: MemoryStore, tmp_path: Path, batch_size: int
) -> None:
    path = _lines(
        tmp_path / "in.jsonl",
        '{"id": "k", "text": "first"}',
        '{"id": "other", "text": "between"}',
        '{"id": "k", "text": "first"}',
        '{"id": "k", "text": "second"}',
        '{"id": "k", "text": "second", "scope": "elsewhere"}',
    )
    report = store.ingest(path, batch_size=batch_size)
    assert (report.added, report.superseded) == (3, 0)
    assert [error.line for error in report.errors] == [4]
    assert f"{path}:1" in report.errors[0].message
    assert store.get_by_key("k").text == "first"


def test_a_later_ingest_with_other_content_supersedes(store: MemoryStore) -> None:
    store.ingest([{"id": "k", "text": "first"}])
    report = store.ingest([{"id": "k", "text": "second"}])
    assert (report.added, report.unchanged, report.superseded) == (1, 0, 1)
    assert [hit.memory.text for hit in store.query("first second").hits] == ["second"]


def test_reading_a_file_again_does_not_undo_what_was_changed_since(store: MemoryStore) -> None:
    lines = [{"id": "corrected", "text": "Portoo"}, {"id": "superseded", "text": "old"}]
    store.ingest(lines)
    store.update(store.get_by_key("corrected").id, text="Porto")
    store.add("new", key="superseded")
    report = store.ingest(lines)
    assert (report.added, report.unchanged) == (0, 2)
    assert store.get_by_key("corrected").text == "Porto"
    assert store.get_by_key("superseded").text == "new"


def test_progress_is_told_after_every_committed_batch(store: MemoryStore) -> None:
    seen: list[tuple[int, int]] = []

    def note(report: IngestReport) -> None:
        seen.append((report.added, store.stats().memories))

    store.ingest(({"text": f"number {n}"} for n in range(7)), batch_size=3, progress=note)
    assert seen == [(3, 3), (6, 6), (7, 7)]


@pytest.mark.parametrize(
    "source",
    [5, b"bytes.jsonl", {"text": "one mapping"}, "", "missing.jsonl", [Path("missing.jsonl")]],
)
def test_an_unusable_source_is_refused(store: MemoryStore, source: Any) -> None:
    with pytest.raises(BadInput):
        store.ingest(source)
    assert store.stats().memories == 0


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": True},
        {"batch_size": 1.5},
        {"namespace": "a//b"},
        {"format": "csv"},
        {"timezone": "Mars/Olympus"},
        {"timezone": 5},
    ],
)
def test_unusable_options_are_refused(store: MemoryStore, options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        store.ingest([{"text": "x"}], **options)
    assert store.stats().memories == 0
