"""Test sets: what they may look like, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from memstore import BadInput
from memstore.evaluation import Question, read_dataset, sample


def test_a_folder_has_questions_judgements_and_a_corpus(dataset):
    found = read_dataset(dataset)
    assert found.name == "people"
    assert found.corpus == dataset / "corpus.jsonl"
    assert len(found.questions) == 8
    assert found.questions[7] == Question(
        id="q7",
        text="How does Dina get to work?",
        category="work",
        relevant={"dina.bike": 2.0, "ana.work": 1.0},
    )


def test_without_judgements_the_questions_say_what_is_relevant(dataset):
    (dataset / "qrels.tsv").unlink()
    (dataset / "queries.jsonl").write_text('{"text": "Who?", "relevant": ["ana.city", 7]}\n')
    (question,) = read_dataset(dataset).questions
    assert question.id == "1"
    assert question.relevant == {"ana.city": 1.0, "7": 1.0}


def test_a_file_has_questions_alone(tmp_path):
    line = {
        "id": 12,
        "text": "Who?",
        "relevant": {"a": 2, "b": 0},
        "category": None,
        "scope": "team/ana",
        "timestamp": "2026-03-02T09:00:00",
        "as_of": "2026-01-01T00:00:00Z",
        "answer": "Ana",
    }
    (tmp_path / "mine.jsonl").write_text("\ufeff" + json.dumps(line) + "\n\n")
    found = read_dataset(tmp_path / "mine.jsonl", timezone=ZoneInfo("Europe/Lisbon"))
    assert (found.name, found.corpus) == ("mine", None)
    assert found.questions == (
        Question(
            id="12",
            text="Who?",
            relevant={"a": 2.0, "b": 0.0},
            namespace="team/ana",
            now=datetime(2026, 3, 2, 9, tzinfo=UTC),
            as_of=datetime(2026, 1, 1, tzinfo=UTC),
            answer="Ana",
        ),
    )
    assert found.questions[0].answers == {"a"}


def test_the_last_of_two_grades_counts_and_a_heading_is_not_needed(dataset):
    (dataset / "qrels.tsv").write_text("q0\tana.city\t0\r\nq0\tana.city\t3\r\n")
    assert read_dataset(dataset).questions[0].relevant == {"ana.city": 3.0}


def test_a_corpus_is_needed_only_to_ingest_it(dataset):
    (dataset / "corpus.jsonl").unlink()
    assert read_dataset(dataset).corpus is None
    with pytest.raises(BadInput, match=r"people has no corpus.jsonl. A dataset folder holds"):
        read_dataset(dataset, needs_corpus=True)


def test_a_folder_without_queries_is_no_data_set(tmp_path):
    with pytest.raises(BadInput, match=r"has no queries.jsonl. A dataset folder holds"):
        read_dataset(tmp_path)


BAD_QUESTIONS = [
    (b"{", "not a JSON object"),
    (b"[1]", "a question is a JSON object with a text"),
    (b'{"relevant": ["a"]}', "a question is a JSON object with a text"),
    (b'{"text": " ", "relevant": ["a"]}', "the question is empty"),
    (b'{"text": "Who?"}', "relevant is missing or no list"),
    (b'{"text": "Who?", "relevant": "a"}', "relevant is missing or no list"),
    (b'{"text": "Who?", "relevant": [null]}', "a relevant key is null"),
    (b'{"text": "Who?", "relevant": [["a"]]}', "a relevant key is list"),
    (b'{"text": "Who?", "relevant": {"a": "yes"}}', "a grade is 'yes'"),
    (b'{"text": "Who?", "relevant": {"a": NaN}}', "NaN is no JSON number"),
    (b'{"text": "Who?", "relevant": {"a": 1' + b"0" * 400 + b"}}", "a grade is 1000"),
    (b'{"text": "Who?", "relevant": ["a"], "scope": "a//b"}', "is not a path"),
    (b'{"text": "Who?", "relevant": ["a"], "timestamp": "2026-03-02T09:00:00"}', "no UTC offset"),
    (b'{"text": "Who?", "relevant": ["a"], "id": ["x"]}', "id is list"),
    (b'{"text": "Who?", "relevant": ["a"], "where": {}}', "where is not read from a file"),
    (b'{"text": "\xff", "relevant": ["a"]}', "not UTF-8: byte 0xff"),
    (b'{"id": "good", "text": "Who?", "relevant": ["a"]}', "id 'good' is that of line 1 already"),
]


def test_every_line_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    good = b'{"id": "good", "text": "Who?", "relevant": ["a"]}'
    path.write_bytes(b"\n".join([good, *(line for line, _ in BAD_QUESTIONS)]))
    with pytest.raises(BadInput) as refusal:
        read_dataset(path)
    first, *lines = str(refusal.value).splitlines()
    assert first.startswith(f"{len(BAD_QUESTIONS)} lines of the test set cannot be read.")
    for number, (line, (_, reason)) in enumerate(zip(lines, BAD_QUESTIONS, strict=True), start=2):
        assert line.startswith(f"  {path}:{number}: ")
        assert reason in line


def test_of_very_many_bad_lines_the_first_are_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("?\n" * 50)
    with pytest.raises(BadInput, match=r"50 lines .*(?s:.*)… and 30 more$"):
        read_dataset(path)


BAD_JUDGEMENTS = [
    ("q0 ana.city 1", "1 fields; a judgement is a query's id, a memory's key and a grade"),
    ("q0\tana.city\tyes", "the grade is 'yes'"),
    ("q0\tana.city\tinf", "the grade is 'inf'"),
    ("q99\tana.city\t1", "no query has the id 'q99'"),
]


def test_every_judgement_that_cannot_be_read_is_named(dataset):
    lines = ["query-id\tcorpus-id\tscore", "q0\tana.city\t1", *(line for line, _ in BAD_JUDGEMENTS)]
    (dataset / "qrels.tsv").write_text("\n".join(lines))
    with pytest.raises(BadInput) as refusal:
        read_dataset(dataset)
    named = str(refusal.value).splitlines()[1:]
    for number, (line, (_, reason)) in enumerate(zip(named, BAD_JUDGEMENTS, strict=True), start=3):
        assert f"qrels.tsv:{number}: {reason}" in line


def test_a_test_set_in_which_nothing_is_relevant_is_refused(dataset):
    (dataset / "qrels.tsv").write_text("q0\tana.city\t0\n")
    with pytest.raises(BadInput, match="judges nothing relevant"):
        read_dataset(dataset)


def test_a_sample_is_drawn_by_its_seed_from_the_questions_that_have_an_answer():
    questions = [
        Question(id=str(number), text="Who?", relevant={"a": float(number % 2)})
        for number in range(40)
    ]
    drawn = sample(questions, 5, seed=3)
    assert drawn == sample(questions, 5, seed=3)
    assert drawn != sample(questions, 5, seed=4)
    assert [int(one.id) for one in drawn] == sorted(int(one.id) for one in drawn)
    assert all(one.answers for one in drawn)
    assert len(sample(questions, 99, seed=0)) == 20
