"""How well memstore finds, beside what it is made of: nDCG@10 and R@10 on judged questions.

usage: scripts/bench quality DATASET... [--readme]

DATASET is a folder with corpus.jsonl, queries.jsonl and qrels.tsv. Every corpus is stored with the
bundled encoder and asked with the profiles `semantic` and `balanced`, and beside it

- raw: the token states of all-MiniLM-L6-v2 compared as they are, 384 numbers each, without context;
- single vector: what that model was made for, the mean of the states;
- BM25: SQLite's full text search with English stems, a text with any word of the query; of a
  question, no stopwords.

The first two go through the same store. Prints a JSON line per data set and way, with the mean
difference of `semantic` to it and that difference's 95 % interval (paired bootstrap). --readme
writes the table in README.md anew, after each data set.
"""

import argparse
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memstore import MemoryStore
from memstore.encoders import DocumentText, EncoderIdentity, QueryVectors, VectorSpan
from memstore.encoders.bert import NativeModel, read_bert
from memstore.encoders.bert_weights import WEIGHTS_NAME, WeightFile, find_model_folder
from memstore.encoders.english import STOPWORDS, is_question
from memstore.encoders.minilm import HEADS, LAYERS, NORM_EPSILON
from memstore.encoders.minilm_windows import LENGTH, Windows
from memstore.evaluation.bootstrap import interval
from memstore.evaluation.datasets import Dataset, read_dataset
from memstore.evaluation.metrics import METRICS, score
from memstore.evaluation.questions import Question
from memstore.evaluation.temporary_store import ingest_corpus, temporary_store
from memstore.maxsim import TokenVectors

Metrics = NDArray[np.float64]  # (questions, metrics)
PROFILES = ("semantic", "balanced")
UNCOMPRESSED = 1 << 62  # token vectors
README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- scripts/bench quality --readme -->\n", "<!-- end -->\n"
NAMES = {
    "locomo-dev": "LoCoMo",
    "realtalk-dev": "REALTALK",
    "carmem-dev": "CarMem",
    "beam-100k-dev": "BEAM 100K",
    "beam-500k-user-dev": "BEAM 500K, user",
    "scifact-dev": "SciFact",
    "timeqa-train": "TimeQA",
    "cranfield": "Cranfield",
    "cisi": "CISI",
    "xquad-en": "XQuAD",
}


class RawStates:
    """all-MiniLM-L6-v2 as it is: all tokens but punctuation, each counting the same."""

    name = "raw"

    def __init__(self) -> None:
        folder = find_model_folder()
        weights = WeightFile(folder / WEIGHTS_NAME)
        bert = read_bert(weights, layers=LAYERS, heads=HEADS, epsilon=NORM_EPSILON)
        self._model = NativeModel(bert, head=None)
        self._windows = Windows(folder)
        self.identity = EncoderIdentity(
            name=self.name,
            fingerprint=self.name,
            dim=bert.words.shape[1],
            document_length=LENGTH,
            query_length=LENGTH,
        )

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return self._windows.spans(text)

    def vector_spans(self, text: str) -> list[VectorSpan]:
        return self._windows.vector_spans(text)

    def encode_documents(
        self, documents: Sequence[DocumentText], *, progress: Callable[[int], None] | None = None
    ) -> list[TokenVectors]:
        alone = [DocumentText(document.text) for document in documents]
        windows = self._windows.documents(alone)
        states = self._model.encode([window.ids for window in windows])
        if progress is not None:
            progress(len(documents))
        return [
            self.vectors(rows, window.kept) for rows, window in zip(states, windows, strict=True)
        ]

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVectors]:
        results = []
        for text, query in zip(texts, self._windows.queries(texts), strict=True):
            ids = query.window.ids
            spoken = self._windows.documents([DocumentText(text)])[0].kept
            kept = sorted({0, *spoken, len(ids) - 1})
            (states,) = self._model.encode([ids])
            vectors = self.vectors(states, kept)
            ones = np.ones(len(vectors), dtype=np.float32)
            names = tuple(str(place) for place in range(len(vectors)))
            results.append(QueryVectors(vectors, ones, False, names, query.truncated))
        return results

    def vectors(self, states: TokenVectors, kept: list[int]) -> TokenVectors:
        return unit(states[kept])


class SingleVector(RawStates):
    """all-MiniLM-L6-v2 as it was made: the mean of all states, special tokens included."""

    name = "single vector"

    def vector_spans(self, text: str) -> list[VectorSpan]:
        return ["[MEAN]"]

    def vectors(self, states: TokenVectors, kept: list[int]) -> TokenVectors:
        return unit(states.mean(axis=0, keepdims=True))


def unit(rows: TokenVectors) -> TokenVectors:
    scaled: TokenVectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def stored(store: MemoryStore, questions: Sequence[Question], profile: str) -> Metrics:
    """Return the metrics of what a store answers."""
    found = []
    for question in questions:
        hits = store.query(
            question.text,
            namespace=question.namespace or "*",
            now=question.now,
            as_of=question.as_of,
            profile=profile,
        ).hits
        found.append(score([hit.memory.key for hit in hits], question.relevant))
    return np.array(found)


def full_text(dataset: Dataset, questions: Sequence[Question]) -> Metrics:
    """Return the metrics of SQLite's BM25, every namespace a collection of its own."""
    assert dataset.corpus is not None
    texts: defaultdict[str | None, list[tuple[str, str]]] = defaultdict(list)
    with dataset.corpus.open(encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            text = f"{item.get('title') or ''} {item['text']}"
            texts[item.get("scope") or item.get("namespace")].append((item["id"], text))
    tables = {}
    for namespace, pairs in texts.items():
        tables[namespace] = sqlite3.connect(":memory:")
        tables[namespace].execute(
            "create virtual table found using fts5(id unindexed, text, tokenize='porter unicode61')"
        )
        tables[namespace].executemany("insert into found values (?, ?)", pairs)
    found = []
    for question in questions:
        words = list(dict.fromkeys(re.findall(r"\w+", question.text)))
        if is_question(question.text):  # elsewhere, leaving them out makes it worse
            words = [word for word in words if word.lower() not in STOPWORDS] or words
        rows = tables[question.namespace].execute(
            "select id from found where found match ? order by rank limit 10",
            [" OR ".join(f'"{word}"' for word in words)],
        )
        found.append(score([key for (key,) in rows], question.relevant))
    return np.array(found)


def measure(path: Path) -> tuple[Dataset, dict[str, Metrics]]:
    """Return the metrics of every way, for the questions that have an answer."""
    dataset = read_dataset(path, timezone=UTC, needs_corpus=True)
    questions = [question for question in dataset.questions if question.answers]
    ways: dict[str, Metrics] = {}
    with temporary_store() as store:
        ingest_corpus(store, dataset, timezone=UTC)
        for profile in PROFILES:
            ways[profile] = stored(store, questions, profile)
    for encoder in (RawStates(), SingleVector()):
        with temporary_store(encoder=encoder, settings={"extractor": "rules"}) as store:
            ingest_corpus(store, dataset, timezone=UTC, hot_tokens=UNCOMPRESSED)
            ways[encoder.name] = stored(store, questions, "semantic")
    ways["BM25"] = full_text(dataset, questions)
    return dataset, ways


def figures(ways: dict[str, Metrics]) -> dict[str, dict[str, Any]]:
    """Return the means of every way, and the difference of `semantic` to it."""
    ndcg, recall = METRICS.index("ndcg@10"), METRICS.index("r@10")
    lines = {}
    for way, metrics in ways.items():
        line: dict[str, Any] = {
            "ndcg@10": round(float(metrics[:, ndcg].mean()), 4),
            "r@10": round(float(metrics[:, recall].mean()), 4),
        }
        difference = ways["semantic"][:, ndcg] - metrics[:, ndcg]
        if way != "semantic" and (ends := interval(difference, seed=0)) is not None:
            line["semantic - this"] = round(float(difference.mean()), 4)
            line["interval"] = [round(ends.low, 4), round(ends.high, 4)]
        lines[way] = line
    return lines


def table(rows: dict[str, dict[str, dict[str, Any]]], sizes: dict[str, str]) -> str:
    """Return the README's table: figures of every way, and how far `semantic` is from it."""

    def cell(line: dict[str, Any]) -> str:
        figure = f"{line['ndcg@10']:.3f}"
        if "interval" not in line:
            return f"**{figure}**"
        low, high = (100 * end for end in line["interval"])
        return f"{figure} ({low:+.1f} to {high:+.1f})"

    shown = ("semantic", "raw", "single vector", "BM25")
    lines = [
        "| questions, memories | memstore | untrained, token by token | single vector | BM25 |",
        "|---|---|---|---|---|",
    ]
    for name, ways in rows.items():
        cells = " | ".join(cell(ways[way]) for way in shown)
        lines.append(f"| {NAMES.get(name, name)} ({sizes[name]}) | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", type=Path, nargs="+", metavar="DATASET")
    parser.add_argument("--readme", action="store_true", help="write the table in README.md anew")
    options = parser.parse_args()
    rows, sizes = {}, {}
    for path in options.datasets:
        dataset, ways = measure(path)
        rows[dataset.name] = figures(ways)
        assert dataset.corpus is not None
        memories = sum(1 for _ in dataset.corpus.open(encoding="utf-8"))
        sizes[dataset.name] = f"{len(ways['BM25']):,}, {memories:,}"
        for way, line in rows[dataset.name].items():
            print(json.dumps({"dataset": dataset.name, "way": way, **line}), flush=True)
        if options.readme:  # at once: the next one may be interrupted
            before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
            _, _, after = rest.partition(END)
            written = before + BEGIN + table(rows, sizes) + END + after
            README.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
