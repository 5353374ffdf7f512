"""What the store costs on top of encoding: of an ingest as a ratio, of an `add` in milliseconds;
and the hot tier's search against numpy's.

Encoding and entity extraction are timed inside the very ingest and `add` that are measured, by a
stopwatch around the store's own encoder and extractor, so both sides share one run and its noise.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hot_search

from memstore import MemoryStore
from memstore.encoders import open_encoder
from memstore.entities import open_extractor

YEAR = Path(__file__).resolve().parents[2] / "examples" / "year" / "memories.jsonl"


class Stopwatch:
    """Passes everything on to `inner` and adds up the seconds some of its methods take."""

    def __init__(self, inner: Any, timed: Sequence[str]) -> None:
        self.inner, self.timed, self.seconds = inner, timed, 0.0

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if name not in self.timed:
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return value(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - began

        return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=YEAR, help="JSONL with times in UTC")
    parser.add_argument("--adds", type=int, default=200)
    options = parser.parse_args()

    encoder = Stopwatch(open_encoder("minilm"), ["encode_documents"])
    extractor = Stopwatch(open_extractor("rules"), ["extract"])
    # what is loaded on first use is no cost of storing
    encoder.inner.encode_documents(encoder_warm_up())

    with tempfile.TemporaryDirectory() as folder:
        with MemoryStore.open(Path(folder) / "ingest.mem", encoder=encoder) as store:
            began = time.perf_counter()
            report = store.ingest(options.corpus, timezone="UTC")
            whole = time.perf_counter() - began
            stats = store.stats()
        print(
            json.dumps(
                {
                    "bench": "overhead.ingest",
                    "memories": report.added,
                    "passages": stats.passages,
                    "encode_s": round(encoder.seconds, 3),
                    "ingest_s": round(whole, 3),
                    "ratio": round(whole / encoder.seconds, 3),
                    "target": "<= 1.11",
                }
            )
        )

        texts = [
            f"Note {i}: Ana and Bruno meet at the market in Lisbon on day {i}, as agreed."
            for i in range(options.adds)
        ]
        beyond = []
        with MemoryStore.open(Path(folder) / "add.mem", encoder=encoder) as store:
            store._opened._extractor = extractor  # the public way takes a name, not an object
            store.add("The first add prepares SQL statements.")
            for text in texts:
                encoder.seconds = extractor.seconds = 0.0
                began = time.perf_counter()
                store.add(text)
                whole = time.perf_counter() - began
                beyond.append((whole - encoder.seconds - extractor.seconds) * 1000)
        print(
            json.dumps(
                {
                    "bench": "overhead.add",
                    "adds": len(beyond),
                    "beyond_encoding_ms_p50": round(statistics.median(beyond), 2),
                    "beyond_encoding_ms_p95": round(statistics.quantiles(beyond, n=20)[-1], 2),
                    "target": "<= 5 ms",
                }
            )
        )

    for result in hot_search.comparisons(threads=1, rounds=21):
        print(json.dumps(result))


def encoder_warm_up() -> list[Any]:
    from memstore.encoders import DocumentText

    return [DocumentText("A text that is read once before the clock starts.")] * 64


if __name__ == "__main__":
    main()
