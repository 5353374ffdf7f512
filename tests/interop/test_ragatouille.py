"""Indexes of RAGatouille are read with their texts and ids, and it opens what memstore writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from memstore.errors import BadInput
from memstore.index.interchange import read_colbert_index, write_colbert_index

DRIVER = "drive_ragatouille.py"
QUERIES = ["where lives ana", "how many people moved to lisbon"]
DOCUMENTS = 50


@pytest.fixture(scope="module")
def built(drive, checkpoint, sentences, tmp_path_factory):
    """Two indexes that RAGatouille built, with what it finds in them."""
    root = tmp_path_factory.mktemp("built")
    sentence = sentences(5 * DOCUMENTS, seed=4)
    texts = [" ".join(sentence[5 * n : 5 * n + 5]) for n in range(DOCUMENTS)]
    texts[3] = "ana lives in lisbön 🎈."
    ids = [f"doc-{n}" for n in range(DOCUMENTS)]
    metadatas = [{"page": n, "tags": ["a", None]} for n in range(DOCUMENTS)]
    same = {"checkpoint": checkpoint, "root": root, "texts": texts, "ids": ids}
    indexes = {name: root / "colbert" / "indexes" / name for name in ("whole", "split")}
    drive(
        DRIVER,
        ("index", {"name": "whole", "metadatas": None, "split": False, **same}),
        ("index", {"name": "split", "metadatas": metadatas, "split": True, "longest": 32, **same}),
        *(asked(index, root / f"{name}.json") for name, index in indexes.items()),
    )
    return SimpleNamespace(
        texts=texts,
        ids=ids,
        metadatas=metadatas,
        **{name: opened(index, root / f"{name}.json") for name, index in indexes.items()},
    )


def asked(index: Path, output: Path) -> tuple[str, dict]:
    return "search", {"index": index, "queries": QUERIES, "output": output, "k": 30}


def opened(index: Path, output: Path) -> SimpleNamespace:
    return SimpleNamespace(
        index=index, content=read_colbert_index(index), **json.loads(output.read_text())
    )


@pytest.mark.parametrize("name", ["whole", "split"])
def test_texts_and_ids_are_those_that_ragatouille_returns(built, name):
    index = getattr(built, name)
    for hits in index.found:
        assert len(hits) >= 20
        for hit in hits:
            pid = hit["passage_id"]
            assert index.content.texts[pid] == hit["content"]
            assert index.content.document_ids[pid] == hit["document_id"]
            if name == "split":
                metadata = index.content.document_metadata[hit["document_id"]]
                assert metadata == hit["document_metadata"]


def test_documents_that_were_not_split_are_passages(built):
    content = built.whole.content
    assert content.texts == built.texts
    assert content.document_ids == built.ids
    assert content.document_metadata is None
    assert content.codec.bits == 4


def test_a_document_that_was_split_has_several_passages(built):
    content = built.split.content
    assert len(content.texts) == len(content.document_ids) == len(content.lengths) > DOCUMENTS
    assert set(content.document_ids) == set(built.ids)
    assert content.document_metadata == dict(zip(built.ids, built.metadatas, strict=True))
    assert content.model_settings["doc_maxlen"] == 32


@pytest.mark.parametrize("name", ["whole", "split"])
def test_exact_scores_are_those_of_ragatouille(built, name, exact_scores):
    index = getattr(built, name)
    compared = 0
    for hits, query in zip(index.found, index.queries, strict=True):
        exact = exact_scores(index.content, np.array(query, dtype=np.float32))
        for hit in hits:
            # elsewhere their kernel counts zero for a negative maximum
            if not np.isnan(exact[hit["passage_id"]]):
                assert hit["score"] == pytest.approx(exact[hit["passage_id"]], abs=1e-3)
                compared += 1
    assert compared >= 20


def test_ragatouille_finds_the_same_in_an_export(built, drive, tmp_path):
    steps = []
    for name in ("whole", "split"):
        write_colbert_index(tmp_path / name, getattr(built, name).content)
        steps.append(asked(tmp_path / name, tmp_path / f"{name}.json"))
    drive(DRIVER, *steps)
    for name in ("whole", "split"):
        again = json.loads((tmp_path / f"{name}.json").read_text())
        assert again["queries"] == getattr(built, name).queries
        assert again["found"] == getattr(built, name).found


def test_ragatouille_adds_to_and_deletes_from_an_export(built, drive, checkpoint, tmp_path):
    folder = tmp_path / "colbert" / "indexes"
    write_colbert_index(folder / "grown", built.whole.content)
    write_colbert_index(folder / "shrunk", built.split.content)
    drive(
        DRIVER,
        ("add", {"index": folder / "grown", "texts": ["ana works in porto."], "ids": ["new"]}),
        ("delete", {"index": folder / "shrunk", "ids": ["doc-7", "doc-20"]}),
    )
    grown = read_colbert_index(folder / "grown")
    assert grown.texts == [*built.texts, "ana works in porto."]
    assert grown.document_ids == [*built.ids, "new"]

    with pytest.raises(BadInput, match="passages were deleted"):
        read_colbert_index(folder / "shrunk")
    shrunk = read_colbert_index(folder / "shrunk", deleted_at_once=True)
    before = built.split.content
    gone = np.isin(before.document_ids, ["doc-7", "doc-20"])
    assert gone.sum() > 2
    assert shrunk.lengths.tolist() == np.where(gone, 0, before.lengths).tolist()
    for pid in range(len(gone)):
        expected = ("", "") if gone[pid] else (before.texts[pid], before.document_ids[pid])
        assert (shrunk.texts[pid], shrunk.document_ids[pid]) == expected
    assert set(shrunk.document_metadata) == set(built.ids) - {"doc-7", "doc-20"}
    # vectors of the others are untouched
    kept = np.repeat(~gone, before.lengths)
    np.testing.assert_array_equal(shrunk.codes, before.codes[kept])
    np.testing.assert_array_equal(shrunk.residuals, before.residuals[kept])


def test_an_export_with_deleted_passages_and_few_centroids_is_searched(built, drive, tmp_path):
    content = built.whole.content
    gone = np.arange(DOCUMENTS) % 3 == 0
    kept = np.repeat(~gone, content.lengths)
    codec = replace(content.codec, centroids=content.codec.centroids[:5])
    shrunk = replace(
        content,
        codec=codec,
        codes=content.codes[kept] % 5,
        residuals=content.residuals[kept],
        lengths=np.where(gone, 0, content.lengths),
    )
    write_colbert_index(tmp_path / "index", shrunk)
    drive(DRIVER, asked(tmp_path / "index", tmp_path / "found.json"))
    for hits in json.loads((tmp_path / "found.json").read_text())["found"]:
        pids = [hit["passage_id"] for hit in hits]
        assert len(pids) == 30
        assert not gone[pids].any()
        assert [hit["content"] for hit in hits] == [content.texts[pid] for pid in pids]
