"""Token vectors to index and to ask with: encoded or loaded, and multiplied to any size."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

YEAR = Path(__file__).resolve().parents[3] / "examples" / "year"
NOISE = 0.2  # length of what is added to a unit vector of a copy, before it is made unit again
NEW_PASSAGES = 101  # that are added to a finished index
BLOCK_PASSAGES = 4_096

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Shapes: x (tokens, dim), unit rows; lengths (passages,); the same of the queries."""

    x: Floats
    lengths: Counts
    q: Floats
    query_lengths: Counts


def load(path: Path) -> Vectors:
    with np.load(path, allow_pickle=False) as archive:
        return Vectors(
            np.ascontiguousarray(archive["x"], dtype=np.float32),
            archive["lengths"].astype(np.int64),
            np.ascontiguousarray(archive["q"], dtype=np.float32),
            archive["query_lengths"].astype(np.int64),
        )


def save(path: Path, vectors: Vectors) -> None:
    np.savez(
        path,
        x=vectors.x,
        lengths=vectors.lengths,
        q=vectors.q,
        query_lengths=vectors.query_lengths,
    )


def encode(corpus: Path, queries: Path) -> Vectors:
    """Encode the `text` of each line of two JSONL files with the default encoder."""
    from memstore.encoders import DocumentText, open_encoder
    from memstore.settings import DEFAULT_ENCODER

    encoder = open_encoder(DEFAULT_ENCODER)
    documents = encoder.encode_documents([DocumentText(text) for text in _texts(corpus)])
    asked = [query.vectors for query in encoder.encode_queries(_texts(queries))]
    return Vectors(
        np.concatenate(documents),
        np.array([len(rows) for rows in documents], dtype=np.int64),
        np.concatenate(asked),
        np.array([len(rows) for rows in asked], dtype=np.int64),
    )


def _texts(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines if line.strip()]


def write_size(folder: Path, vectors: Vectors, passages: int, queries: int, seed: int) -> None:
    """Write the files of one size: `serving.Data` reads them.

    Beyond the given passages come copies of them, each token moved by noise of the length `NOISE`;
    the passages that are added later are such copies too. Of more queries than wanted, some are
    chosen by chance.
    """
    folder.mkdir(parents=True)
    chosen = np.arange(passages) % len(vectors.lengths)
    lengths = vectors.lengths[chosen]
    _write_rows(folder / "vectors.npy", vectors, chosen, len(vectors.lengths), seed)
    np.save(folder / "lengths.npy", lengths)
    rng = np.random.default_rng(seed)
    new = rng.integers(0, len(vectors.lengths), NEW_PASSAGES)
    _write_rows(folder / "new_vectors.npy", vectors, new, 0, seed + 1)
    np.save(folder / "new_lengths.npy", vectors.lengths[new])
    asked = len(vectors.query_lengths)
    kept = np.sort(rng.permutation(asked)[:queries])
    ends = np.cumsum(vectors.query_lengths)
    rows = [vectors.q[ends[i] - vectors.query_lengths[i] : ends[i]] for i in kept]
    np.save(folder / "queries.npy", np.concatenate(rows))
    np.save(folder / "query_lengths.npy", vectors.query_lengths[kept])


def _write_rows(path: Path, vectors: Vectors, chosen: Counts, exact: int, seed: int) -> None:
    """Write passages one after another, those after the first `exact` ones with noise."""
    offsets = np.concatenate([[0], np.cumsum(vectors.lengths)])
    total, dim = int(vectors.lengths[chosen].sum()), vectors.x.shape[1]
    rows = np.lib.format.open_memmap(path, "w+", dtype=np.float32, shape=(total, dim))
    done = 0
    for first in range(0, len(chosen), BLOCK_PASSAGES):
        own = chosen[first : first + BLOCK_PASSAGES]
        tokens = rows_of(offsets, own)
        block = vectors.x[tokens]
        copied = np.repeat(np.arange(first, first + len(own)) >= exact, vectors.lengths[own])
        if copied.any():
            rng = np.random.default_rng([seed, first])
            noise = rng.standard_normal((int(copied.sum()), dim), dtype=np.float32)
            block[copied] += noise * np.float32(NOISE / np.sqrt(dim))
            block[copied] /= np.linalg.norm(block[copied], axis=1, keepdims=True)
        rows[done : done + len(block)] = block
        done += len(block)
    rows.flush()


def rows_of(offsets: Counts, chosen: Counts) -> Counts:
    """Return the rows of all tokens of some passages, one passage after another."""
    lengths = offsets[chosen + 1] - offsets[chosen]
    starts = np.repeat(offsets[chosen] - (np.cumsum(lengths) - lengths), lengths)
    return starts + np.arange(int(lengths.sum()))


def write_synthetic_index(
    index: Path, data: Path, vectors: Vectors, passages: int, queries: int, seed: int
) -> int:
    """Write our index alone, of so many passages that their vectors would not fit into memory.

    Centroids are tokens of copies. The passages repeat the given ones; each token keeps its
    residual and takes one of the eight centroids nearest to it, by chance. So results mean nothing;
    the work does: lists, codes and residuals are spread as in a true index of this size. Returns
    the number of tokens.
    """
    from memstore.index import Codec, SegmentWriter, centroid_count, train, write_codec
    from memstore.index._kernels import centroid_scores, nearest_centroids
    from memstore.index.codec import panels_of

    write_size(data, vectors, min(passages, len(vectors.lengths)), queries, seed)
    rng = np.random.default_rng(seed)
    own = len(vectors.x)
    tokens = int(vectors.lengths[np.arange(passages) % len(vectors.lengths)].sum())
    count = centroid_count(tokens)
    dim = vectors.x.shape[1]
    centroids = vectors.x[rng.integers(0, own, count)]
    centroids += rng.standard_normal((count, dim), dtype=np.float32) * np.float32(
        NOISE / np.sqrt(dim)
    )
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    centroids = centroids.astype(np.float16).astype(np.float32)
    buckets = train(vectors.x[rng.permutation(own)[:65_536]], tokens=own, bits=4, seed=seed)
    codec = Codec(centroids, buckets.cutoffs, buckets.weights)
    integers, unit = codec.integers
    panels = panels_of(integers)
    near = np.concatenate(
        [
            nearest_centroids(
                *centroid_scores(panels, count, unit, np.ascontiguousarray(part)), len(part), 8
            )
            for part in np.array_split(vectors.x, -(-own // 512))
        ]
    )
    _, residuals, norms = codec.encode(vectors.x)
    offsets = np.concatenate([[0], np.cumsum(vectors.lengths)])
    index.mkdir(parents=True)
    manifests = {"codec": write_codec(index / "codec", codec, made_for=tokens)}
    with SegmentWriter(index / "segment", codec) as writer:
        for first in range(0, passages, BLOCK_PASSAGES):
            ids = np.arange(first, min(first + BLOCK_PASSAGES, passages), dtype=np.int64)
            chosen = ids % len(vectors.lengths)
            rows = rows_of(offsets, chosen)
            codes = near[rows, rng.integers(0, near.shape[1], len(rows))].astype(codec.code_type)
            writer.append(ids, ids, vectors.lengths[chosen], codes, residuals[rows], norms[rows])
        manifests["segment"] = writer.finish()
    (index / "manifests.json").write_text(json.dumps(manifests, default=dict))
    return tokens


Make = Callable[[], Vectors]


def source(vectors: Path | None, dataset: Path | None) -> tuple[str, Make]:
    """Return what the data are called, and how to get them."""
    if vectors is not None:
        return vectors.stem, lambda: load(vectors)
    if dataset is not None:
        files: Sequence[Path] = (dataset / "corpus.jsonl", dataset / "queries.jsonl")
        return dataset.name, lambda: encode(*files)
    return "examples/year", lambda: encode(YEAR / "memories.jsonl", YEAR / "questions.jsonl")
