"""memstore's own index: built, searched and checked below the store, as the store does it."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from serving import Data, folder_bytes, measured, serve, timed

import memstore
from memstore.index import (
    Depths,
    SealedView,
    Segment,
    SegmentWriter,
    StoredCodec,
    depths_for,
    sample_size,
    train,
    write_codec,
)
from memstore.index._kernels import instruction_sets

BITS = 4
LIMIT = 10
BLOCK_TOKENS = 32_768  # as the store seals

opened: dict[str, Any] = {}


def versions() -> dict[str, Any]:
    return {"memstore": memstore.__version__, "instruction_set": instruction_sets()[0]}


def build(data: str, index: str) -> dict[str, Any]:
    """Build from vectors that are read block by block."""
    source = Data(data)
    vectors = source.vectors(mapped=True)
    parts = {}

    def whole() -> None:
        began = time.perf_counter()
        tokens = len(vectors)
        chosen = np.sort(np.random.default_rng(0).permutation(tokens)[: sample_size(tokens)])
        codec = train(np.asarray(vectors[chosen]), tokens=tokens, bits=BITS)
        manifests = {"codec": write_codec(Path(index) / "codec", codec, made_for=tokens)}
        parts["train_s"] = time.perf_counter() - began
        with SegmentWriter(Path(index) / "segment", codec) as writer:
            first = 0
            while first < len(source.lengths):
                limit = source.offsets[first] + BLOCK_TOKENS
                last = int(np.searchsorted(source.offsets, limit, side="right")) - 1
                last = max(first + 1, last)
                ids = np.arange(first, last, dtype=np.int64)
                block = np.array(vectors[source.offsets[first] : source.offsets[last]])
                writer.append_vectors(ids, ids, source.lengths[first:last], block)
                first = last
            manifests["segment"] = writer.finish()
        (Path(index) / "manifests.json").write_text(json.dumps(manifests, default=dict))

    Path(index).mkdir()
    return {**measured(whole), **parts, "bytes": folder_bytes(index)}


def open_index(index: str) -> None:
    manifests = json.loads((Path(index) / "manifests.json").read_text())
    dim = np.load(Path(index) / "codec" / "centroids.npy", mmap_mode="r").shape[1]
    stored = StoredCodec(Path(index) / "codec", manifests["codec"], dim)
    segment = Segment(Path(index) / "segment", manifests["segment"], stored)
    opened["view"] = SealedView(stored, (segment,), segment.rows)
    opened["allowed"] = np.ones(len(segment), dtype=np.bool_)


def best(query: np.ndarray, depths: Depths) -> tuple[np.ndarray, np.ndarray]:
    """Return the ten best slots and their scores."""
    view = opened["view"]
    search = view.search(query)
    weights = np.ones(len(query), dtype=np.float32)
    slots = search.candidates(weights, opened["allowed"], depths)
    scores = search.maxima(slots).sum(axis=1)
    top = np.argsort(-scores, kind="stable")[:LIMIT]
    return slots[top], scores[top]


def depths() -> dict[str, int]:
    """Return how far a search goes by default."""
    return asdict(depths_for(LIMIT, len(opened["view"])))


def search(data: str, numbers: list[int], **chosen: int) -> dict[str, Any]:
    """Search with the default depths, or with some that are chosen."""
    source = opened.setdefault("data", Data(data))
    count = len(opened["view"])

    def ids(query: np.ndarray) -> np.ndarray:
        return best(query, depths_for(LIMIT, count, **chosen))[0]

    return timed(ids, [source.queries[number] for number in numbers])


def check(data: str, numbers: list[int]) -> dict[str, float]:
    """Compare the ten best at full depth with numpy's over decoded vectors.

    Raises:
        AssertionError: a set differs by more than ties, or a score by more than rounding explains:
            the kernels round queries to about 15 bits.
    """
    view, source = opened["view"], Data(data)
    queries = [source.queries[number] for number in numbers]
    stacked = np.concatenate(queries)
    bounds = np.cumsum([0, *map(len, queries)])
    maxima = np.empty((len(view), len(stacked)), dtype=np.float32)
    for first in range(0, len(view), 2_000):
        slots = np.arange(first, min(first + 2_000, len(view)))
        decoded = np.concatenate(list(view.vectors(slots)))
        starts = source.offsets[slots] - source.offsets[first]
        maxima[slots] = np.maximum.reduceat(decoded @ stacked.T, starts, axis=0)
    largest_error = 0.0
    everything = Depths(exact=len(view), exhaustive=len(view), nprobe=1)
    for number, query in enumerate(queries):
        exact = maxima[:, bounds[number] : bounds[number + 1]].sum(axis=1)
        slots, scores = best(query, everything)
        tolerance = 2e-4 * len(query)
        error = float(np.abs(scores - exact[slots]).max())
        assert error <= tolerance, f"scores differ by {error}"
        expected = np.argsort(-exact, kind="stable")[:LIMIT]
        lowest = exact[expected[-1]]
        for slot in set(slots.tolist()) ^ set(expected.tolist()):
            assert abs(exact[slot] - lowest) <= 2 * tolerance, f"passage {slot} is no tie"
        largest_error = max(largest_error, error)
    return {"queries": len(queries), "largest_score_error": largest_error}


def export(index: str, data: str, folder: str, kind: str) -> None:
    """Write the very same codes as another library's index."""
    open_index(index)
    (segment,) = opened["view"].segments
    lengths = Data(data).lengths
    if kind == "colbert-ai":
        from memstore.index.interchange import IndexContent, write_colbert_index

        content = IndexContent(
            codec=opened["view"].stored.codec,
            codes=segment.codes,
            residuals=segment.residuals,
            lengths=lengths,
        )
        write_colbert_index(Path(folder), content)
    else:
        write_fast_plaid_index(Path(folder), opened["view"].stored, segment, lengths)


def write_fast_plaid_index(
    folder: Path, stored: StoredCodec, segment: Segment, lengths: np.ndarray
) -> None:
    """Write what fast-plaid's own build leaves, in one chunk; it merges the files when it opens."""
    folder.mkdir()
    codec = stored.codec
    lists, offsets = segment.inverted
    arrays = {
        "centroids": codec.centroids.astype(np.float16),
        "bucket_cutoffs": codec.cutoffs,
        "bucket_weights": codec.weights,
        "avg_residual": np.full(codec.dim, np.abs(codec.weights).mean(), dtype=np.float32),
        "cluster_threshold": np.ones(1, dtype=np.float32),
        "ivf": lists.astype(np.int64),
        "ivf_lengths": np.diff(offsets).astype(np.int32),
        "0.codes": segment.codes.astype(np.int64),
        "0.residuals": segment.residuals,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    chunk = {"num_documents": len(lengths), "num_embeddings": segment.tokens}
    whole = {
        **chunk,
        "num_chunks": 1,
        "nbits": codec.bits,
        "num_partitions": len(codec.centroids),
        "avg_doclen": segment.tokens / len(lengths),
        "compress_only": False,
    }
    texts = {
        "doclens.0": lengths.tolist(),
        "0.metadata": {**chunk, "embedding_offset": 0},
        "plan": {"nbits": codec.bits, "num_chunks": 1},
        "metadata": whole,
    }
    for name, value in texts.items():
        (folder / f"{name}.json").write_text(json.dumps(value))


if __name__ == "__main__":
    serve(
        {
            "versions": versions,
            "build": build,
            "open": open_index,
            "depths": depths,
            "search": search,
            "check": check,
            "export": export,
        }
    )
