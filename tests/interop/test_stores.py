"""Stores adopt what colbert-ai and RAGatouille built, and both open what a store exports."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from memstore import EncoderMismatch, MemoryStore
from memstore.index.interchange import read_colbert_index
from memstore.store.index_files import open_codec, open_segments

COLBERT, RAGATOUILLE = "drive_colbert_ai.py", "drive_ragatouille.py"
QUERIES = ["where lives ana", "how many people moved to lisbon", "the printer works"]
PASSAGES = 80
# Queries are filled up with [MASK] to so many tokens, in RAGatouille whatever the checkpoint says.
QUERY_TOKENS = 32


def segment_of(store: MemoryStore):
    """The one segment of a store, mapped into memory."""
    opened = store._opened
    with opened.engine.connect() as connection:
        stored = open_codec(connection, store.path / "index", opened.identity.dim)
        (item,) = open_segments(connection, store.path / "index", stored)
        return item.files


def scores(store: MemoryStore, query: str) -> dict[str, float]:
    """Key → MaxSim of every memory, summed over the query's tokens as colbert-ai does."""
    hits = store.query(query, profile="semantic", limit=PASSAGES).hits
    return {hit.memory.key: hit.score * QUERY_TOKENS for hit in hits}


def assert_ranked_alike(
    found: dict[str, float], keys: list[str], theirs: list[float], exact: np.ndarray
) -> None:
    """Compare the scores of passages where their kernel clamps no negative maximum."""
    assert len(keys) >= 20
    assert set(keys) <= set(found)
    comparable = ~np.isnan(exact)
    assert comparable.sum() >= 15
    ours = np.array([found[key] for key in keys])[comparable]
    np.testing.assert_allclose(ours, np.array(theirs)[comparable], atol=1e-3)
    assert (np.diff(ours) <= 2e-3).all()


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint) -> Path:
    return make_checkpoint(query_maxlen=QUERY_TOKENS)


# from colbert-ai


@pytest.fixture(scope="module")
def built(drive, checkpoint, sentences, tmp_path_factory):
    """An index that colbert-ai built, what it finds in it, and a store that adopted it."""
    root = tmp_path_factory.mktemp("built")
    texts = sentences(PASSAGES, seed=11)
    index = root / "tests" / "indexes" / "answers"
    drive(
        COLBERT,
        (
            "build",
            {"root": root, "checkpoint": checkpoint, "texts": texts}
            | {"name": "answers", "nbits": 2, "passages_per_chunk": 30},
        ),
        ("load", {"index": index, "output": root / "loaded.npz"}),
        (
            "search",
            {"index": index, "texts": texts, "queries": QUERIES, "k": PASSAGES}
            | {"output": root / "found.npz"},
        ),
    )
    collection = root / "collection.tsv"
    collection.write_text("".join(f"{pid}\t{text}\n" for pid, text in enumerate(texts)))
    with MemoryStore.open(root / "agent.mem", encoder=str(checkpoint)) as store:
        report = store.import_index(index, texts=collection)
        yield SimpleNamespace(
            index=index,
            texts=texts,
            loaded=np.load(root / "loaded.npz"),
            found=np.load(root / "found.npz"),
            content=read_colbert_index(index),
            store=store,
            report=report,
        )


def test_a_store_adopts_what_colbert_ai_loads_bit_for_bit(built):
    assert built.report.added == PASSAGES
    assert built.report.vectors == len(built.loaded["codes"])
    segment = segment_of(built.store)
    np.testing.assert_array_equal(segment.codes, built.loaded["codes"])
    np.testing.assert_array_equal(segment.residuals, built.loaded["residuals"])
    np.testing.assert_array_equal(np.diff(segment.offsets), built.loaded["lengths"])
    assert [item.text for item in built.store.list().memories] == built.texts
    assert built.store.verify().clean


def test_a_store_finds_what_colbert_ai_finds_in_its_own_index(built, exact_scores):
    for number, query in enumerate(QUERIES):
        pids = built.found["pids"][number]
        exact = exact_scores(built.content, built.found["queries"][number])[pids]
        assert_ranked_alike(
            scores(built.store, query), [*map(str, pids)], built.found["scores"][number], exact
        )


def test_the_encoder_of_the_store_must_be_the_checkpoint_of_the_index(
    built, drive, checkpoint, tmp_path
):
    words = ["other", "words"]
    drive(COLBERT, ("make_checkpoint", {"folder": tmp_path / checkpoint.name, "words": words}))
    other = tmp_path / checkpoint.name  # of the same name, elsewhere
    with MemoryStore.open(tmp_path / "agent.mem", encoder=str(other)) as store:
        with pytest.raises(EncoderMismatch, match=f"init --encoder {checkpoint}"):
            store.import_index(built.index, texts=built.texts)
        assert store.stats().memories == 0


def test_an_index_goes_back_to_colbert_ai_with_what_was_forgotten_left_out(
    built, drive, checkpoint, exact_scores, tmp_path
):
    gone = [0, 17, 18, 79]
    with MemoryStore.open(tmp_path / "agent.mem", encoder=str(checkpoint)) as store:
        store.import_index(built.index, texts=built.texts)
        store.forget([store.get_by_key(str(pid)).id for pid in gone])
        store.export_index(tmp_path / "index")
        found = {query: scores(store, query) for query in QUERIES}
    content = read_colbert_index(tmp_path / "index")
    kept = np.repeat(~np.isin(np.arange(PASSAGES), gone), built.content.lengths)
    np.testing.assert_array_equal(content.codes, built.content.codes[kept])
    np.testing.assert_array_equal(content.residuals, built.content.residuals[kept])
    again = searched(drive, tmp_path / "index", content.texts, tmp_path / "found.npz")
    for number, query in enumerate(QUERIES):
        pids = again["pids"][number]
        exact = exact_scores(content, again["queries"][number])[pids]
        names = [content.document_ids[pid] for pid in pids]
        assert_ranked_alike(found[query], names, again["scores"][number], exact)
        assert not set(names) & set(map(str, gone))


def searched(drive, index: Path, texts: list[str], output: Path):
    asked = {"index": index, "texts": texts, "queries": QUERIES, "k": len(texts)}
    drive(COLBERT, ("search", {"output": output, **asked}))
    return np.load(output)


# from a store


@pytest.fixture(scope="module")
def exported(checkpoint, sentences, tmp_path_factory):
    """A store of texts, sealed and hot ones, its export, and then the store compacted."""
    root = tmp_path_factory.mktemp("exported")
    texts = sentences(PASSAGES, seed=12)
    index = root / "colbert" / "indexes" / "memories"
    with MemoryStore.open(root / "agent.mem", encoder=str(checkpoint)) as store:
        for first, last in ((0, 60), (60, PASSAGES)):
            store.add_many(
                [
                    {"text": text, "key": f"doc-{n}", "metadata": {"page": n}}
                    for n, text in enumerate(texts[first:last], start=first)
                ]
            )
            if first == 0:
                store.compact()
        report = store.export_index(index)
        assert not store.compact().trained
        yield SimpleNamespace(index=index, texts=texts, store=store, report=report)


def test_colbert_ai_loads_the_bytes_that_the_store_has(exported, drive, tmp_path):
    assert exported.report.encoded == 20
    drive(COLBERT, ("load", {"index": exported.index, "output": tmp_path / "loaded.npz"}))
    loaded = np.load(tmp_path / "loaded.npz")
    segment = segment_of(exported.store)
    np.testing.assert_array_equal(loaded["codes"], segment.codes)
    np.testing.assert_array_equal(loaded["residuals"], segment.residuals)
    np.testing.assert_array_equal(loaded["lengths"], np.diff(segment.offsets))


def test_colbert_ai_finds_in_an_export_what_the_store_finds(
    exported, drive, exact_scores, tmp_path
):
    content = read_colbert_index(exported.index)
    found = searched(drive, exported.index, content.texts, tmp_path / "found.npz")
    for number, query in enumerate(QUERIES):
        pids = found["pids"][number]
        assert_ranked_alike(
            scores(exported.store, query),
            [content.document_ids[pid] for pid in pids],
            found["scores"][number],
            exact_scores(content, found["queries"][number])[pids],
        )


def test_ragatouille_finds_in_an_export_what_the_store_finds(
    exported, drive, exact_scores, tmp_path
):
    output = tmp_path / "found.json"
    drive(
        RAGATOUILLE,
        ("search", {"index": exported.index, "queries": QUERIES, "k": 30, "output": output}),
    )
    answer = json.loads(output.read_text())
    content = read_colbert_index(exported.index)
    for query, vectors, hits in zip(QUERIES, answer["queries"], answer["found"], strict=True):
        pids = [hit["passage_id"] for hit in hits]
        names = [hit["document_id"] for hit in hits]
        exact = exact_scores(content, np.array(vectors, dtype=np.float32))[pids]
        assert_ranked_alike(
            scores(exported.store, query), names, [hit["score"] for hit in hits], exact
        )
        for hit in hits:
            number = int(hit["document_id"].removeprefix("doc-"))
            assert hit["content"] == exported.texts[number]
            assert hit["document_metadata"] == {"page": number}


# from RAGatouille


@pytest.mark.parametrize("split", [False, True])
def test_a_store_adopts_an_index_of_ragatouille_with_texts_ids_and_metadata(
    drive, checkpoint, sentences, exact_scores, tmp_path, split
):
    sentence = sentences(5 * 40, seed=13)
    documents = [" ".join(sentence[5 * n : 5 * n + 5]) for n in range(40)]
    ids = [f"doc-{n}" for n in range(40)]
    index = tmp_path / "colbert" / "indexes" / "documents"
    output = tmp_path / "found.json"
    drive(
        RAGATOUILLE,
        (
            "index",
            {"checkpoint": checkpoint, "root": tmp_path, "name": "documents", "split": split}
            | {"texts": documents, "ids": ids, "metadatas": [{"page": n} for n in range(40)]}
            | {"longest": 32 if split else 256},
        ),
        ("search", {"index": index, "queries": QUERIES, "k": 30, "output": output}),
    )
    answer = json.loads(output.read_text())
    content = read_colbert_index(index)
    with MemoryStore.open(tmp_path / "agent.mem", encoder=str(checkpoint)) as store:
        report = store.import_index(index, namespace="docs", source="ragatouille")
        assert report.added == len(content.lengths)
        segment = segment_of(store)
        np.testing.assert_array_equal(segment.codes, content.codes)
        np.testing.assert_array_equal(segment.residuals, content.residuals)
        by_text = {}
        for query, vectors, hits in zip(QUERIES, answer["queries"], answer["found"], strict=True):
            exact = exact_scores(content, np.array(vectors, dtype=np.float32))
            found = store.query(query, namespace="docs", profile="semantic", limit=10_000).hits
            by_text = {hit.memory.text: hit for hit in found}
            for hit in hits:
                own = by_text[hit["content"]].memory
                assert own.metadata == hit["document_metadata"]
                name = hit["document_id"]
                assert (own.key == name and own.session is None) or (
                    own.key.startswith(f"{name}#") and own.session == name
                )
                if not np.isnan(exact[hit["passage_id"]]):
                    ours = by_text[hit["content"]].score * QUERY_TOKENS
                    assert ours == pytest.approx(hit["score"], abs=1e-3)
        keys = {hit.memory.key for hit in by_text.values()}
        assert ("doc-0#0" in keys) == split
        assert store.import_index(index, namespace="docs", source="ragatouille").added == 0
        assert store.verify().clean
