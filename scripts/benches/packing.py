"""What a budget of tokens buys: the share of the evidence that is in the prompt, by how the hits
are chosen, and the tokens that were really spent.

DATASET is a folder with corpus.jsonl, queries.jsonl and qrels.tsv. Every query is asked once for
its best hits with what each costs as rendered; the ways of packing choose among the same hits:

- first: the best until one does not fit
- dense: what is most probable per token first, which a knapsack would take
- newest: of the same hits the newest first
- memstore: `query(max_tokens=…)`, which passes over what does not fit, keeping and dropping
  near-duplicates

Prints one JSON line per budget and way: evidence recall with its 95 % interval, the difference to
`first`, and mean tokens spent.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memstore import Hit
from memstore.evaluation.bootstrap import interval
from memstore.evaluation.datasets import read_dataset
from memstore.evaluation.questions import Question, sample
from memstore.evaluation.temporary_store import ingest_corpus, temporary_store

Numbers = NDArray[np.float64]
Way = Callable[[Sequence[Hit], int], list[Hit]]


def first(hits: Sequence[Hit], budget: int) -> list[Hit]:
    taken: list[Hit] = []
    for hit in hits:
        budget -= hit.tokens or 0
        if budget < 0:
            break
        taken.append(hit)
    return taken


def fitting(hits: Sequence[Hit], budget: int) -> list[Hit]:
    taken: list[Hit] = []
    for hit in hits:
        if (hit.tokens or 0) <= budget:
            budget -= hit.tokens or 0
            taken.append(hit)
    return taken


def dense(hits: Sequence[Hit], budget: int) -> list[Hit]:
    return fitting(
        sorted(hits, key=lambda hit: -(hit.probability or 0.0) / (hit.tokens or 1)), budget
    )


def newest(hits: Sequence[Hit], budget: int) -> list[Hit]:
    def when(hit: Hit) -> float:
        return -(hit.memory.occurred_at or hit.memory.recorded_at).timestamp()

    return first(sorted(hits, key=when), budget)


OTHER_WAYS: dict[str, Way] = {"first": first, "dense": dense, "newest": newest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--budgets", default="250,500,1000,2000,4000")
    parser.add_argument("--limit", type=int, default=100, help="most hits that are chosen from")
    parser.add_argument("--style", default="text", choices=["text", "markdown", "xml"])
    parser.add_argument("--profile", default="balanced")
    parser.add_argument("--questions", type=int, help="only so many, drawn with seed 0")
    options = parser.parse_args()
    dataset = read_dataset(options.dataset, timezone=UTC, needs_corpus=True)
    size = options.questions or len(dataset.questions)
    questions = sample(dataset.questions, size, seed=0)
    with temporary_store() as store:
        ingest_corpus(store, dataset, timezone=UTC)

        def ask(question: Question, budget: int, **ask: Any) -> Sequence[Hit]:
            return store.query(
                question.text,
                namespace=question.namespace or "*",
                now=question.now,
                as_of=question.as_of,
                limit=options.limit,
                max_tokens=budget,
                style=options.style,
                profile=options.profile,
                **ask,
            ).hits

        every = [ask(question, 1 << 40) for question in questions]
        costs = [hit.tokens or 0 for hits in every for hit in hits]
        about = {"dataset": dataset.name, "questions": len(questions), "style": options.style}
        print(json.dumps({**about, "tokens per hit": round(float(np.mean(costs)), 1)}))
        for budget in map(int, options.budgets.split(",")):
            ways = {name: [way(hits, budget) for hits in every] for name, way in OTHER_WAYS.items()}
            for near_duplicates in ("keep", "drop"):
                ways[f"memstore, near_duplicates={near_duplicates}"] = [
                    ask(question, budget, near_duplicates=near_duplicates) for question in questions
                ]
            baseline = recalls(questions, ways["first"])
            for name, taken in ways.items():
                line = {"budget": budget, "way": name, **figures(questions, taken, baseline)}
                print(json.dumps(line), flush=True)


def recalls(questions: Sequence[Question], taken: Sequence[Sequence[Hit]]) -> Numbers:
    """Return the share of each question's evidence that was taken."""
    return np.array(
        [
            len({hit.memory.key for hit in hits} & question.answers) / len(question.answers)
            for question, hits in zip(questions, taken, strict=True)
        ]
    )


def figures(
    questions: Sequence[Question], taken: Sequence[Sequence[Hit]], baseline: Numbers
) -> dict[str, Any]:
    found = recalls(questions, taken)
    spent = [sum(hit.tokens or 0 for hit in hits) for hits in taken]
    return {
        "recall": round(float(found.mean()), 4),
        "interval": ends(found),
        "difference to first": ends(found - baseline),
        "hits": round(float(np.mean([len(hits) for hits in taken])), 1),
        "tokens": round(float(np.mean(spent))),
    }


def ends(values: Numbers) -> list[float] | None:
    around = interval(values, seed=0)
    return None if around is None else [round(around.low, 4), round(around.high, 4)]


if __name__ == "__main__":
    main()
