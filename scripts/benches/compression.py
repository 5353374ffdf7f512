"""What a store's size costs: nDCG@10 beside bytes per memory, by the settings of `memstore init`.

usage: scripts/bench compression DATASET[:QUESTIONS]... [--table]

DATASET is a folder with corpus.jsonl, queries.jsonl and qrels.tsv; with QUESTIONS only so many of
its questions are asked, drawn with seed 0, of the memories that answer them and 1,000 more. Each
corpus goes through a real store once per setting: dimensions (128, 96, 64: `minilm`, `minilm-96`,
`minilm-64`), tokens that share a vector (pooling 1, 2, 3), and bits per dimension (8 to 1 as
compressed by `compact`, `hot` as they lie in the database before). Texts are encoded once, at 128
dimensions: the shorter vectors are the same ones, cut.

Prints a JSON line per data set and setting: nDCG@10, the mean difference to the first setting with
its 95 % interval (paired bootstrap), and bytes per memory: `vectors` alone, and `all` files of the
store. --table prints a table of all data sets instead: nDCG@10, and the mean bytes of vectors.
"""

import argparse
import json
import os
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memstore import MemoryStore
from memstore.encoders import (
    DocumentText,
    Encoder,
    EncoderIdentity,
    QueryVectors,
    VectorSpan,
    open_encoder,
)
from memstore.evaluation.bootstrap import interval
from memstore.evaluation.datasets import Dataset, read_dataset
from memstore.evaluation.metrics import METRICS, score
from memstore.evaluation.questions import Question, sample
from memstore.evaluation.temporary_store import ingest_corpus, temporary_folder, temporary_store
from memstore.maxsim import TokenVectors

OTHERS = 1_000  # memories of a sample that answer nothing
UNCOMPRESSED = 1 << 62  # token vectors
HOT = "hot"
BITS = (8, 4, 2, 1)
# dimensions, pooling → bits
GRID: dict[tuple[int, int], tuple[int, ...]] = {
    (128, 1): BITS,
    (96, 1): BITS,
    (64, 1): BITS,
    (128, 2): (4, 2, 1),
    (64, 2): (4, 2, 1),
    (128, 3): (4, 2, 1),
    (64, 3): (4, 2, 1),
}
NDCG = METRICS.index("ndcg@10")


class Shortened:
    """The bundled encoder's vectors, of the first so many dimensions; each is computed once."""

    def __init__(self, encoder: Encoder, dim: int, known: dict[DocumentText, TokenVectors]) -> None:
        self._encoder = encoder
        self._known = known
        self._asked: dict[str, QueryVectors] = {}
        self.identity: EncoderIdentity = replace(
            encoder.identity, name=f"bench-{dim}", fingerprint=f"bench-{dim}", dim=dim
        )

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return self._encoder.token_spans(text)

    def vector_spans(self, text: str) -> list[VectorSpan]:
        return self._encoder.vector_spans(text)

    def encode_documents(
        self, documents: Sequence[DocumentText], *, progress: Callable[[int], None] | None = None
    ) -> list[TokenVectors]:
        new = [document for document in dict.fromkeys(documents) if document not in self._known]
        self._known.update(zip(new, self._encoder.encode_documents(new), strict=True))
        return [self._cut(self._known[document]) for document in documents]

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVectors]:
        new = [text for text in texts if text not in self._asked]
        for text, query in zip(new, self._encoder.encode_queries(new), strict=True):
            self._asked[text] = replace(query, vectors=self._cut(query.vectors))
        return [self._asked[text] for text in texts]

    def _cut(self, vectors: TokenVectors) -> TokenVectors:
        rows = vectors[:, : self.identity.dim]
        cut: TokenVectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return cut


@dataclass(frozen=True)
class Row:
    """A setting, what each question scored, and bytes per memory."""

    dim: int
    pooling: int
    bits: int | str
    scores: NDArray[np.float64]  # (questions,)
    vectors: float
    everything: float


def rows(dataset: Dataset, questions: Sequence[Question]) -> Iterator[Row]:
    """Yield the settings of the grid, the reference first."""
    encoder = open_encoder("minilm")
    known: dict[DocumentText, TokenVectors] = {}
    for (dim, pooling), widths in GRID.items():
        settings = {"pooling": pooling, "extractor": "rules"}
        with temporary_store(encoder=Shortened(encoder, dim, known), settings=settings) as store:
            ingest_corpus(store, dataset, timezone=UTC, hot_tokens=UNCOMPRESSED)
            yield Row(dim, pooling, HOT, asked(store, questions), *hot_sizes(store))
            for bits in widths:
                store.rebuild(settings={"residual_bits": bits})
                store.compact()
                yield Row(dim, pooling, bits, asked(store, questions), *sealed_sizes(store))


def asked(store: MemoryStore, questions: Sequence[Question]) -> NDArray[np.float64]:
    """Return the nDCG@10 of every question, (questions,)."""
    found = []
    for question in questions:
        hits = store.query(
            question.text,
            namespace=question.namespace or "*",
            now=question.now,
            as_of=question.as_of,
            profile="semantic",
        ).hits
        found.append(score([hit.memory.key for hit in hits], question.relevant)[NDCG])
    return np.array(found)


def hot_sizes(store: MemoryStore) -> tuple[float, float]:
    with closing(sqlite3.connect(store.path / "memstore.db")) as connection:
        (size,) = connection.execute(
            "SELECT sum(length(codes) + length(scales)) FROM hot_vector"
        ).fetchone()
    return size / store.stats().memories, per_memory(store)


def sealed_sizes(store: MemoryStore) -> tuple[float, float]:
    index = [path for path in (store.path / "index").rglob("*") if path.is_file()]
    parts = [path for path in index if not path.parent.name.startswith("columns")]
    size = sum(os.stat(path).st_size for path in parts)
    return size / store.stats().memories, per_memory(store)


def per_memory(store: MemoryStore) -> float:
    with closing(sqlite3.connect(store.path / "memstore.db")) as connection:
        connection.execute("VACUUM")
    counted = store.stats()
    return counted.size_bytes / counted.memories


def chosen(named: str, folder: Path) -> tuple[Dataset, list[Question]]:
    """Return a data set and its questions, or a sample of both."""
    path, _, size = named.rpartition(":")
    if not size.isdigit():
        path, size = named, ""
    dataset = read_dataset(Path(path), timezone=UTC, needs_corpus=True)
    questions = [question for question in dataset.questions if question.answers]
    if not size:
        return dataset, questions
    assert dataset.corpus is not None
    questions = sample(questions, int(size), seed=0)
    wanted = set().union(*(question.relevant for question in questions))
    lines = dataset.corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    ids = [json.loads(line)["id"] for line in lines]
    others = [place for place, id_ in enumerate(ids) if id_ not in wanted]
    kept = set(random.Random(0).sample(others, min(OTHERS, len(others))))
    corpus = folder / "corpus.jsonl"
    corpus.write_text(
        "".join(line for place, line in enumerate(lines) if place in kept or ids[place] in wanted),
        encoding="utf-8",
    )
    return replace(dataset, corpus=corpus, questions=tuple(questions)), questions


def line_of(row: Row, first: Row) -> dict[str, Any]:
    line: dict[str, Any] = {
        "dim": row.dim,
        "pooling": row.pooling,
        "bits": row.bits,
        "ndcg@10": round(float(row.scores.mean()), 4),
        "bytes": {"vectors": round(row.vectors), "all": round(row.everything)},
    }
    if row is not first and (ends := interval(row.scores - first.scores, seed=0)) is not None:
        line["difference"] = round(float((row.scores - first.scores).mean()), 4)
        line["interval"] = [round(ends.low, 4), round(ends.high, 4)]
    return line


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return all data sets side by side; what is surely below the first row is in brackets."""
    names = list(found)
    lines = [
        f"| dimensions | pooling | bits | {' | '.join(names)} | mean | bytes per memory |",
        "|---|---|---|" + "---|" * (len(names) + 2),
    ]
    for same in zip(*found.values(), strict=True):
        cells = [
            f"({one['ndcg@10']:.3f})"
            if one.get("interval", [0, 0])[1] < 0
            else f"{one['ndcg@10']:.3f}"
            for one in same
        ]
        mean = sum(one["ndcg@10"] for one in same) / len(same)
        size = sum(one["bytes"]["vectors"] for one in same) / len(same)
        lines.append(
            f"| {same[0]['dim']} | {same[0]['pooling']} | {same[0]['bits']} | {' | '.join(cells)} "
            f"| {mean:.3f} | {size:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+", metavar="DATASET[:QUESTIONS]")
    parser.add_argument("--table", action="store_true", help="print one table of all data sets")
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for named in options.datasets:
        with temporary_folder() as folder:
            dataset, questions = chosen(named, folder)
            first = None
            found[dataset.name] = []
            for row in rows(dataset, questions):
                first = first or row
                line = line_of(row, first)
                found[dataset.name].append(line)
                shown = json.dumps({"dataset": dataset.name, **line})
                print(shown, file=sys.stderr if options.table else sys.stdout, flush=True)
    if options.table:
        print(table(found))


if __name__ == "__main__":
    main()
