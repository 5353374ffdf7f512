"""JSON from outside is bounded in size and depth, and has one meaning; the rest is still read."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import BadInput, MemoryStore
from memstore.evaluation.questions import read_questions
from memstore.json_input import _object, check_nesting, json_lines, parse_json
from memstore.settings import MAX_JSON_DEPTH, MAX_METADATA_DEPTH

DEEP = "[" * 100_000 + "]" * 100_000
REFUSED = [
    ('{"a": NaN}', "NaN is no JSON number"),
    ("[-Infinity]", "-Infinity is no JSON number"),
    ('{"text": "a", "text": "b"}', "the name 'text' twice"),
    ('{"a": {"b": 1, "b": 1}}', "the name 'b' twice"),
    ("[" * 102 + "0" + "]" * 102, "nested more than 100 levels"),
    (DEEP, "nested more than 100 levels"),
    ("9" * 5_000, "digits"),
    ("{", "Expecting property name"),
    ("", "Expecting value"),
]


@pytest.mark.parametrize(("written", "said"), REFUSED)
def test_json_that_others_would_read_otherwise_is_refused(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(written)


def test_a_name_given_twice_is_found_in_one_pass() -> None:
    compared = 0

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    names = [Name(number) for number in range(1_000)]
    with pytest.raises(ValueError, match="the name '999' twice"):
        _object([(name, None) for name in [*names, Name(999)]])
    assert compared < 10 * len(names)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=25)
@given(values)
def test_all_other_json_is_read_as_python_reads_it(value: Any) -> None:
    assert parse_json(json.dumps(value)) == json.loads(json.dumps(value))


@settings(max_examples=25)
@given(values)
def test_a_value_takes_no_more_characters_than_it_is_said_to_at_most(value: Any) -> None:
    check_nesting(value, most_characters=len(json.dumps(value, ensure_ascii=False)))


def test_a_line_without_end_is_passed_over_and_the_next_ones_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("memstore.json_input.MAX_LINE_BYTES", 1_000)

    def lines(*written: bytes) -> list[tuple[int, Any]]:
        return list(json_lines(io.BytesIO(b"\n".join(written))))

    long = b'"' + b"x" * 5_000_000 + b'"'
    (first, second, third) = lines(b"1", long, b"3")
    assert (first, third) == ((1, 1), (3, 3))
    assert second[0] == 2
    assert "the line has more than 1,000 bytes" in str(second[1])
    assert [number for number, _ in lines(b"1", b"", long)] == [1, 3]
    exactly = b'"' + b"x" * 998 + b'"'
    assert lines(exactly, exactly)[1] == (2, "x" * 998)
    tracemalloc.start()
    list(json_lines(io.BytesIO(long * 10)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60_000_000  # the 50 MB of the file itself, and not a second time


EVIL_LINES = [
    (DEEP, "nested more than 100 levels"),
    ('{"text": "x", "metadata": {"n": NaN}}', "NaN is no JSON number"),
    ('{"text": "x", "metadata": {"n": 1e999}}', "metadata"),
    ('{"text": "x", "text": "y"}', "twice"),
    ('{"text": "x", "n": ' + "9" * 5_000 + "}", "digits"),
    ('{"text": "x", "n": ' + "[" * 70 + "]" * 70 + "}", "nested more than 64 levels"),
]


@pytest.mark.parametrize(("line", "said"), EVIL_LINES)
def test_an_evil_line_is_named_and_the_others_are_stored(
    store: MemoryStore, tmp_path: Path, line: str, said: str
) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"text": "before"}\n' + line + '\n{"text": "after"}\n')
    report = store.ingest(file)
    assert report.added == 2
    (error,) = report.errors
    assert (error.file, error.line) == (str(file), 2)
    assert said in error.message


@pytest.mark.parametrize(("line", "said"), EVIL_LINES[:5])
def test_an_evil_line_of_an_export_or_of_queries_is_named(
    store: MemoryStore, tmp_path: Path, run_memstore: Any, line: str, said: str
) -> None:
    store.add("tea")
    store.export(tmp_path / "out.jsonl")
    header, memory, _ = (tmp_path / "out.jsonl").read_text().splitlines()
    older = json.dumps({**json.loads(header), "version": 2})  # which has no manifest
    (tmp_path / "out.jsonl").write_text("\n".join([older, memory, line]) + "\n")
    if "1e999" not in line:
        with pytest.raises(BadInput, match=rf"out\.jsonl:3: not a JSON object: .*{said}"):
            store.import_(tmp_path / "out.jsonl")
        (tmp_path / "queries.jsonl").write_text('{"text": "tea"}\n' + line + "\n")
        at = ("--store", str(store.path), "query", "--queries", "queries.jsonl", "--jsonl")
        done = run_memstore(tmp_path, *at)
        assert done.returncode == 1
        assert "queries.jsonl:2" in done.stderr
        assert said in done.stderr
        done = run_memstore(tmp_path, "--store", str(store.path), "list", "--where", line)
        assert done.returncode == 2
        assert said in done.stderr


@pytest.mark.parametrize(("line", "said"), [*EVIL_LINES[:2], *EVIL_LINES[3:5]])
def test_an_evil_line_of_questions_is_named_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    file = tmp_path / "questions.jsonl"
    question = '{"text": "tea?"}'
    file.write_text("\n".join([question, line, question]))
    questions, (error,) = read_questions(file, timezone=None, judged=False)
    assert [question.id for question in questions] == ["1", "3"]
    assert (error.file, error.line) == (str(file), 2)
    assert said in error.message
    monkeypatch.setattr("memstore.json_input.MAX_LINE_BYTES", 20)
    file.write_text("\n".join([question, question + " " * 20, question]))
    questions, (error,) = read_questions(file, timezone=None, judged=False)
    assert [question.id for question in questions] == ["1", "3"]
    assert "the line has more than 20 bytes" in error.message


def test_metadata_that_never_ends_is_refused_at_once(store: MemoryStore) -> None:
    own: dict[str, Any] = {}
    own["again"] = own
    twice: dict[str, Any] = {}
    twice.update(a=twice, b=twice)
    laughs: Any = "ha" * 1_000
    for _ in range(20):
        laughs = [laughs] * 20
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for metadata in (own, twice, {"joke": laughs}, deep, {"long": ["x" * 1_000] * 10_000}):
        with pytest.raises(BadInput, match=r"metadata: it (takes|is nested) more than"):
            store.add("tea", metadata=metadata)
    assert store.stats().memories == 0
    while deep:  # else freeing it goes as deep
        deep = deep.pop("a")


def test_the_deepest_metadata_comes_back_from_an_export(store: MemoryStore, tmp_path: Path) -> None:
    deep: Any = 0
    for _ in range(MAX_METADATA_DEPTH - 1):
        deep = {"a": deep}
    memory = store.add("tea", metadata={"a": deep})
    store.update(memory.id, metadata={"b": deep})
    store.export(tmp_path / "out.jsonl")
    with MemoryStore.open(tmp_path / "again.mem", encoder="hashed") as again:
        assert again.import_(tmp_path / "out.jsonl").added == 1
        assert again.get(memory.id).metadata == {"b": deep}
    assert MAX_METADATA_DEPTH < MAX_JSON_DEPTH


def test_a_text_file_that_is_too_large_is_named_and_not_read(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memstore.store.ingesting.MAX_LINE_BYTES", 100)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "large.txt").write_text("x" * 101)
    (tmp_path / "notes" / "small.txt").write_text("x" * 100)
    report = store.ingest(tmp_path / "notes")
    assert report.added == 1
    assert "more than 100 bytes" in report.errors[0].message
