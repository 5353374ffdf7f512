"""A data set's memories are stored for the time of a comparison, and no longer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from memstore import BadInput
from memstore.evaluation import Arm, compare, ingest_corpus, read_dataset, temporary_store


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder that temporary folders are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def test_it_is_there_within_the_block_and_gone_after_it(dataset, temporary):
    with temporary_store(encoder="hashed") as store:
        report = ingest_corpus(store, read_dataset(dataset))
        assert report.added == store.stats().memories == 8
        assert left(temporary) == [store.path.parent]
        assert left(temporary)[0].stat().st_mode & 0o77 == 0  # others may not look into it
    assert left(temporary) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, BadInput])
def test_it_is_gone_however_the_block_ends(stop, temporary):
    with pytest.raises(stop), temporary_store(encoder="hashed"):
        raise stop
    assert left(temporary) == []


def test_bad_lines_of_the_corpus_are_reported_and_the_others_stored(dataset):
    with (dataset / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"id": "empty", "text": ""}\n?\n')
    with temporary_store(encoder="hashed") as store:
        report = ingest_corpus(store, read_dataset(dataset))
    assert report.added == 8
    assert [error.line for error in report.errors] == [9, 10]


def test_a_corpus_without_any_relevant_key_is_refused_before_it_is_stored(dataset):
    judged = read_dataset(dataset)
    (dataset / "corpus.jsonl").write_text('{"id": "other", "text": "Other."}\n?\n')
    with temporary_store(encoder="hashed") as store:
        with pytest.raises(BadInput) as refusal:
            ingest_corpus(store, judged)
        assert store.stats().memories == 0
    assert str(refusal.value).startswith("None of the 8 keys that are judged relevant is in ")
    assert "1 of its lines cannot be read" in str(refusal.value)


def test_questions_alone_have_no_corpus(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"text": "Who?", "relevant": ["a"]}\n')
    with (
        temporary_store(encoder="hashed") as store,
        pytest.raises(BadInput, match=r"mine has no corpus.jsonl"),
    ):
        ingest_corpus(store, read_dataset(tmp_path / "mine.jsonl"))


def test_memories_and_questions_without_a_namespace_share_one(dataset):
    judged = read_dataset(dataset)
    for namespace in ("team", "*"):
        with temporary_store(encoder="hashed") as store:
            ingest_corpus(store, judged, namespace=namespace)
            arm = Arm("none", "semantic")
            (summary,) = compare(store, judged.questions, [arm], namespace=namespace).summaries()
        assert summary.metrics["r@10"] == 1.0


def test_a_large_corpus_is_compressed_the_same_way_every_time(dataset):
    judged = read_dataset(dataset)
    found = []
    for _ in range(2):
        with temporary_store(encoder="hashed") as store:
            ingest_corpus(store, judged, hot_tokens=10)
            stats = store.stats()
            assert (stats.segments, stats.hot_passages) == (1, 0)
            (measured,) = compare(store, judged.questions, [Arm("none", "semantic")]).measured
            found.append([[(hit.key, hit.score) for hit in one.hits] for one in measured.answers])
    assert found[0] == found[1]


def test_a_small_corpus_is_searched_exactly(dataset):
    with temporary_store(encoder="hashed") as store:
        ingest_corpus(store, read_dataset(dataset))
        assert store.stats().segments == 0


def test_progress_is_told_how_much_of_the_corpus_is_stored(dataset):
    told = []
    with temporary_store(encoder="hashed", settings={"batch_size": 5}) as store:
        ingest_corpus(store, read_dataset(dataset), progress=lambda *args: told.append(args))
    assert told == [("ingesting", 5, 8), ("ingesting", 8, 8)]
