"""What the cognitive pass costs per query: from the candidates' numbers to their final scores, the
look-ups of entities and columns in SQLite included; making the hits and encoding are not.

Memories are those of the example year, again and again, with uses, votes and times of their own;
every query names entities. `arithmetic` is the same without SQLite. CPU seconds, one thread.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from memstore import MemoryStore
from memstore.catalog import memories
from memstore.catalog.engine import reading
from memstore.scoring import components
from memstore.scoring.cognitive import adjust
from memstore.store.candidates import Judged, Ranked, Scorer
from memstore.store.cognitive_pass import CognitivePass
from memstore.store.requests import check_query

YEAR = Path(__file__).resolve().parents[2] / "examples" / "year"
QUERY = "What does Bram say about Utrecht and Lotte these days?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"hot_tokens": 1 << 40}
        with MemoryStore.open(
            Path(folder) / "agent.mem", encoder="hashed", settings=settings
        ) as store:
            fill(store, options.memories)
            for count in (100, 1000):
                for profile in ("semantic", "balanced"):
                    measure(store, count, profile, options.rounds)


def fill(store: MemoryStore, count: int) -> None:
    """Store memories, and say something of every fifth."""
    texts = [json.loads(line)["text"] for line in (YEAR / "memories.jsonl").open()]
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    ids: list[str] = []
    for number, batch in enumerate(batched(itertools.islice(itertools.cycle(texts), count), 500)):
        stored = store.add_many(
            {
                "text": f"{text} ({number})",
                "occurred_at": begin + timedelta(hours=3 * (500 * number + place)),
            }
            for place, text in enumerate(batch)
        )
        ids += [item.id for item in stored]
    for number, id_ in enumerate(ids[: len(ids) // 10 : 5]):
        store.reinforce(id_, at=begin + timedelta(days=number % 900))
        store.confirm(id_, source=f"source {number % 7}")


def batched(items: Any, size: int) -> Any:
    while batch := list(itertools.islice(items, size)):
        yield batch


def measure(store: MemoryStore, count: int, profile: str, rounds: int) -> None:
    opened = store._opened
    request = check_query(
        namespace="default",
        limit=10,
        where=None,
        profile=profile,
        weights=None,
        now="2026-06-01T00:00:00Z",
        as_of=None,
        known_at=None,
        max_tokens=None,
        min_score=None,
        explain=False,
    )
    random = np.random.default_rng(3)
    with reading(opened.engine, opened.path) as connection:
        view = opened.snapshot.refresh(connection)
        namespaces = list(memories.namespaces_under(connection, "default"))
        valid = np.ones(len(view.live), dtype=np.bool_)
        scorer = Scorer("bench", "logit", lambda scores: scores)

        def one_pass() -> Any:
            positions = random.choice(len(view.live), count, replace=False)
            ranked = Ranked(positions, positions, random.normal(size=count))
            began = time.process_time()
            pass_ = CognitivePass(
                connection,
                view,
                request,
                request.profile,
                namespaces,
                view.columns["start"],
                QUERY,
                valid,
                0.0,
            )
            assessed = pass_.assess(Judged(ranked, scorer))
            order = assessed.order()
            return time.process_time() - began, assessed, order

        assessed = one_pass()[1]
        entities = assessed.findings.covered.shape[1]
        took = [one_pass()[0] * 1000 for _ in range(rounds)]
        bare = arithmetic(assessed, len(view.live))
        for _ in range(3):
            bare()
        alone = [timed(bare) * 1000 for _ in range(rounds)]
    print(
        json.dumps(
            {
                "bench": "scoring",
                "candidates": count,
                "profile": profile,
                "memories": len(view.live),
                "query_entities": entities,
                "p50_ms": round(statistics.median(took), 2),
                "p95_ms": round(float(np.percentile(took, 95)), 2),
                "arithmetic_p50_ms": round(statistics.median(alone), 2),
                "target_ms": {100: 3, 1000: 10}[count],
            }
        )
    )


def arithmetic(assessed: Any, memories_: int) -> Callable[[], Any]:
    """Return the pass without the database."""
    found = assessed.findings
    columns = found.columns
    uses = np.random.default_rng(1).uniform(0, 900, (len(columns), 8))
    mentions = np.full(found.covered.shape[1], 40.0)

    def run() -> Any:
        values = {
            "currency": components.currency(found.age_days, found.half_life_days),
            "use": components.use(components.use_mass(uses, columns.use_count, uses[:, 0])),
            "trust": components.trust(columns.alpha, columns.beta),
            "entity": components.entity_coverage(found.covered, mentions, memories_),
            "importance": columns.importance,
        }
        return adjust(assessed.semantic, values, assessed.profile)

    return run


def timed(call: Callable[[], Any]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


if __name__ == "__main__":
    main()
