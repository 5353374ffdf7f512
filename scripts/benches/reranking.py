"""What reranking 20 candidates costs in a store, as a ratio to the model alone on the same pairs;
and what the store's own vectors take for it.

Both sides alternate in one process on one thread, and CPU seconds are compared. The weights are
random, of the sizes of MiniLM-L-6. The model alone is sentence-transformers' `CrossEncoder.predict`
with the batch size that the store uses, and once with its own default of 32. A candidate longer
than the model's limit is several pairs: its windows.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from memstore import MemoryStore
from memstore.evaluation.random_models import write_random_model
from memstore.evaluation.reranker_latency import measure

YEAR = Path(__file__).resolve().parents[2] / "examples" / "year"
DEPTH = 20


class Recording:
    """Passes everything on to a reranker and keeps the texts it scored."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.name, self.kind, self.parameters = inner.name, inner.kind, inner.parameters
        self.windows = inner.windows
        self.texts: list[str] = []

    def score(self, query: str, documents: list[str], **options: Any) -> list[float | None]:
        self.texts = list(documents)
        return self.inner.score(query, documents, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=YEAR / "memories.jsonl")
    parser.add_argument("--questions", type=Path, default=YEAR / "questions.jsonl")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)

    lines = options.questions.read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["text"] for line in lines][: options.rounds]
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_random_model("minilm-l6", Path(temporary) / "model")
        bare = CrossEncoder(
            str(folder), device="cpu", max_length=512, activation_fn=torch.nn.Identity()
        )
        with MemoryStore.open(Path(temporary) / "agent.mem") as store:
            store.ingest(options.corpus, timezone="UTC")
            reranker = Recording(store.reranker(str(folder)))
            seconds: dict[str, list[float]] = {"store": [], "bare": [], "bare32": []}
            for question in questions:
                asked = {"limit": DEPTH, "profile": "semantic", "rerank_depth": DEPTH}
                began = time.process_time()
                result = store.query(question, rerank=reranker, **asked)
                # all of the query but what is no reranking
                others = sum(result.took.values()) - result.took["rerank"]
                seconds["store"].append(time.process_time() - began - others)
                pairs = [(question, text) for text in reranker.texts]
                for name, batch in (("bare", 4), ("bare32", 32)):
                    began = time.process_time()
                    bare.predict(pairs, batch_size=batch, show_progress_bar=False)
                    seconds[name].append(time.process_time() - began)
    # the first round loads and warms up; ratios of pairs that ran side by side
    ratios = [a / b for a, b in zip(seconds["store"][1:], seconds["bare"][1:], strict=True)]
    padded = [a / b for a, b in zip(seconds["store"][1:], seconds["bare32"][1:], strict=True)]
    print(
        json.dumps(
            {
                "bench": "reranking.cross_encoder",
                "candidates": DEPTH,
                "rounds": len(ratios),
                "threads": torch.get_num_threads(),
                "store_ms": round(1000 * statistics.median(seconds["store"][1:]), 1),
                "bare_ms": round(1000 * statistics.median(seconds["bare"][1:]), 1),
                "ratio": round(statistics.median(ratios), 3),
                "target": "<= 1.1",
                "ratio_to_one_padded_batch": round(statistics.median(padded), 3),
            }
        )
    )
    (own,) = measure(["colbert"], devices=["cpu"])
    print(
        json.dumps(
            {
                "bench": "reranking.colbert",
                "candidates": DEPTH,
                "p50_ms": round(own.p50, 3),
                "target_ms": 1.0,
            }
        )
    )


if __name__ == "__main__":
    main()
