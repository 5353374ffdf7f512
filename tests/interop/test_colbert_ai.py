"""Indexes come from colbert-ai and go to it without a changed bit, and both score alike."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from memstore.index.codec import Codec
from memstore.index.interchange import IndexContent, read_colbert_index, write_colbert_index

DRIVER = "drive_colbert_ai.py"
QUERIES = ["where lives ana", "how many people moved to lisbon", "the printer works"]
PASSAGES = 90


@pytest.fixture(scope="module")
def built(drive, checkpoint, sentences, tmp_path_factory):
    """An index that colbert-ai built, in three chunks, with what it loads and finds itself."""
    root = tmp_path_factory.mktemp("built")
    texts = sentences(PASSAGES, seed=1)
    index = root / "tests" / "indexes" / "answers"
    same = {"checkpoint": checkpoint, "texts": texts}
    chunks = {"name": "answers", "nbits": 2, "passages_per_chunk": 40}
    asked = {"index": index, "texts": texts, "queries": QUERIES, "k": PASSAGES}
    drive(
        DRIVER,
        ("build", {"root": root, **same, **chunks}),
        ("load", {"index": index, "output": root / "loaded.npz"}),
        ("search", {"output": root / "found.npz", **asked}),
    )
    return SimpleNamespace(
        index=index,
        texts=texts,
        loaded=np.load(root / "loaded.npz"),
        found=np.load(root / "found.npz"),
        content=read_colbert_index(index),
    )


@pytest.fixture(scope="module")
def exported(drive, built, tmp_path_factory):
    """The same index written by memstore, with what colbert-ai loads and finds then."""
    root = tmp_path_factory.mktemp("exported")
    index = root / "copy"
    write_colbert_index(index, built.content, chunk_passages=50)
    asked = {"index": index, "texts": built.texts, "queries": QUERIES}
    drive(
        DRIVER,
        ("load", {"index": index, "output": root / "loaded.npz"}),
        ("search", {"output": root / "found.npz", "k": PASSAGES, **asked}),
    )
    return SimpleNamespace(
        index=index, loaded=np.load(root / "loaded.npz"), found=np.load(root / "found.npz")
    )


def assert_scores_agree(exact: np.ndarray, pids: np.ndarray, scores: np.ndarray) -> None:
    """Compare where colbert-ai's clamping of negative maxima cannot matter."""
    comparable = ~np.isnan(exact[pids])
    assert comparable.sum() >= 20
    np.testing.assert_allclose(scores[comparable], exact[pids][comparable], atol=1e-3)


def unpadded(loaded) -> np.ndarray:
    return loaded["ivf"][: loaded["ivf_lengths"].sum()]


# reading


def test_every_array_is_what_colbert_ai_loads(built):
    content, loaded = built.content, built.loaded
    assert len(list(built.index.glob("*.codes.pt"))) == 3
    for name in ("codes", "residuals", "lengths"):
        np.testing.assert_array_equal(getattr(content, name), loaded[name])
    for name in ("centroids", "cutoffs", "weights"):
        np.testing.assert_array_equal(getattr(content.codec, name), loaded[name])
    assert content.codec.bits == 2
    assert content.texts is None


def test_vectors_decode_as_colbert_ai_decodes_them(built):
    decoded = built.content.codec.decode(built.content.codes, built.content.residuals)
    np.testing.assert_allclose(decoded, built.loaded["vectors"], atol=1e-6)


def test_the_model_and_its_settings_are_read(built, checkpoint):
    assert built.content.checkpoint == str(checkpoint)
    expected = {"query_maxlen": 16, "doc_maxlen": 40, "mask_punctuation": True}
    assert built.content.model_settings.items() >= expected.items()


def test_exact_scores_are_those_of_colbert_ai_and_rank_alike(built, exact_scores):
    assert built.found["pids"].shape == (len(QUERIES), PASSAGES)
    for number, query in enumerate(built.found["queries"]):
        exact = exact_scores(built.content, query)
        pids, scores = built.found["pids"][number], built.found["scores"][number]
        assert_scores_agree(exact, pids, scores)
        ranked = exact[pids][~np.isnan(exact[pids])]
        assert (np.diff(ranked) <= 2e-3).all()


# writing


def test_an_index_that_passed_through_memstore_is_the_same_to_colbert_ai(built, exported):
    assert set(exported.loaded.files) == set(built.loaded.files)
    for name in built.loaded.files:
        if name != "ivf":  # memstore leaves the padding out; the loader pads by itself
            np.testing.assert_array_equal(exported.loaded[name], built.loaded[name], err_msg=name)
    np.testing.assert_array_equal(unpadded(exported.loaded), unpadded(built.loaded))


def test_files_are_byte_identical_in_what_they_hold(built, tmp_path):
    import torch

    write_colbert_index(tmp_path / "copy", built.content, chunk_passages=40)
    for name in (
        *(f"{number}.{kind}.pt" for number in range(3) for kind in ("codes", "residuals")),
        *("centroids.pt", "buckets.pt"),
    ):
        original, copy = (
            torch.load(folder / name, weights_only=True)
            for folder in (built.index, tmp_path / "copy")
        )
        for old, new in zip(
            *(item if isinstance(item, tuple) else (item,) for item in (original, copy)),
            strict=True,
        ):
            assert old.dtype == new.dtype
            assert old.numpy().tobytes() == new.numpy().tobytes(), name
    for number in range(3):
        for name in (f"doclens.{number}.json", f"{number}.metadata.json"):
            original, copy = (
                json.loads((folder / name).read_text())
                for folder in (built.index, tmp_path / "copy")
            )
            assert original == copy


def test_colbert_ai_finds_the_same_passages_with_the_same_scores_in_an_export(built, exported):
    np.testing.assert_array_equal(exported.found["queries"], built.found["queries"])
    np.testing.assert_array_equal(exported.found["pids"], built.found["pids"])
    np.testing.assert_array_equal(exported.found["scores"], built.found["scores"])
    assert json.loads(str(exported.found["settings"])) == {"dim": 32, "nbits": 2}


def positive_content(bits: int) -> IndexContent:
    """Vectors in one corner of the space, so that similarities are positive."""
    rng = np.random.default_rng(bits)
    lengths = rng.integers(1, 30, 60)
    lengths[[0, 7, 59]] = 0  # deleted
    centroids = np.abs(rng.standard_normal((40, 64)))
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return IndexContent(
        codec=Codec(
            centroids.astype(np.float16).astype(np.float32),
            np.sort(rng.normal(0, 0.02, 2**bits - 1)).astype(np.float32),
            np.sort(rng.normal(0, 0.02, 2**bits)).astype(np.float32),
        ),
        codes=rng.integers(0, 40, lengths.sum(), dtype=np.uint16),
        residuals=rng.integers(0, 256, (lengths.sum(), 8 * bits), dtype=np.uint8),
        lengths=lengths,
    )


def test_vectors_of_another_model_are_searched_by_vectors_given(drive, exact_scores, tmp_path):
    rng = np.random.default_rng(3)
    queries = np.abs(rng.standard_normal((2, 8, 64))).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=2, keepdims=True)
    np.save(tmp_path / "queries.npy", queries)
    contents = {bits: positive_content(bits) for bits in (1, 2, 4, 8)}
    steps = []
    for bits, content in contents.items():
        index = tmp_path / f"bits-{bits}"
        write_colbert_index(index, content, chunk_passages=25)
        asked = {"queries": tmp_path / "queries.npy", "output": tmp_path / f"found-{bits}.npz"}
        steps.append(("search_vectors", {"index": index, **asked}))
    drive(DRIVER, *steps)
    for bits, content in contents.items():
        found = np.load(tmp_path / f"found-{bits}.npz")
        for query, pids, scores in zip(queries, found["pids"], found["scores"], strict=True):
            assert sorted(pids) == np.flatnonzero(content.lengths).tolist()
            assert_scores_agree(exact_scores(content, query), pids, scores)


# what colbert-ai's own updates leave


def copy_of(built, folder: Path) -> Path:
    write_colbert_index(folder, built.content, chunk_passages=50)
    return folder


def test_an_export_can_be_added_to_by_colbert_ai(
    drive, built, checkpoint, sentences, exact_scores, tmp_path
):
    index = copy_of(built, tmp_path / "copy")
    added = sentences(5, seed=2)
    texts = [*built.texts, *added]
    same = {"index": index, "checkpoint": checkpoint}
    drive(
        DRIVER,
        ("update", {"texts": built.texts, "remove": [0, 60], "add": added, **same}),
        ("load", {"index": index, "output": tmp_path / "loaded"}),
        (
            "search",
            {"texts": texts, "queries": QUERIES, "k": 93, **same} | {"output": tmp_path / "found"},
        ),
    )
    content = read_colbert_index(index)
    assert len(content.lengths) == PASSAGES + 5
    assert np.flatnonzero(content.lengths == 0).tolist() == [0, 60]
    loaded = np.load(tmp_path / "loaded.npz")
    # their count of tokens has grown beyond what there is; the lengths say how many are real
    tokens = content.lengths.sum()
    np.testing.assert_array_equal(content.lengths, loaded["lengths"])
    np.testing.assert_array_equal(content.codes, loaded["codes"][:tokens])
    np.testing.assert_array_equal(content.residuals, loaded["residuals"][:tokens])
    found = np.load(tmp_path / "found.npz")
    for number, query in enumerate(found["queries"]):
        pids = found["pids"][number]
        assert set(pids) == set(range(PASSAGES + 5)) - {0, 60}
        assert_scores_agree(exact_scores(content, query), pids, found["scores"][number])


# the model


def test_queries_are_encoded_alike_by_a_checkpoint_that_colbert_ai_saved(built, checkpoint):
    from memstore.encoders.colbert import ColBERTEncoder

    encoded = ColBERTEncoder(checkpoint, device="cpu").encode_queries(QUERIES)
    for query, expected in zip(encoded, built.found["queries"], strict=True):
        np.testing.assert_allclose(query.vectors, expected, atol=1e-5)


def test_documents_are_encoded_alike_up_to_the_buckets(built, checkpoint):
    from memstore.encoders import DocumentText
    from memstore.encoders.colbert import ColBERTEncoder

    encoder = ColBERTEncoder(checkpoint, device="cpu")
    encoded = encoder.encode_documents([DocumentText(text) for text in built.texts])
    assert [len(vectors) for vectors in encoded] == built.content.lengths.tolist()
    similarities = (np.concatenate(encoded) * built.loaded["vectors"]).sum(axis=1)
    assert similarities.min() > 0.8
    assert similarities.mean() > 0.95


def test_settings_given_by_hand_reach_the_searcher(built, tmp_path):
    content = replace(built.content, model_settings={"query_maxlen": 24})
    write_colbert_index(tmp_path / "index", content)
    metadata = json.loads((tmp_path / "index" / "metadata.json").read_text())
    assert metadata["config"]["query_maxlen"] == 24
    assert "doc_maxlen" not in metadata["config"]
