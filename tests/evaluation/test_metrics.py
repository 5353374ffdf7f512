"""The metrics, against cases counted by hand, scikit-learn, and the referee."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from memstore.evaluation.metrics import METRICS, score

REFEREE = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_run.py"


def metric(name: str, keys: list[str | None], grades: dict[str, float]) -> float:
    return score(keys, grades)[METRICS.index(name)]


def test_a_perfect_ranking_has_one_everywhere_but_in_the_recall_it_has_no_room_for():
    assert score(["a", "b"], {"a": 2.0, "b": 1.0}) == (1.0, 0.5, 1.0, 1.0, 1.0)


def test_no_hits_score_zero():
    assert score([], {"a": 1.0}) == (0.0,) * len(METRICS)


def test_gains_are_the_grades_and_are_discounted_by_the_logarithm_of_the_rank():
    ideal = 3 + 1 / math.log2(3)
    found = 1 + 3 / math.log2(4)
    assert metric("ndcg@10", ["b", "x", "a"], {"a": 3.0, "b": 1.0}) == pytest.approx(found / ideal)


def test_what_comes_after_the_tenth_hit_counts_for_nothing():
    keys = [f"x{place}" for place in range(10)] + ["a"]
    assert score(keys, {"a": 1.0}) == (0.0,) * len(METRICS)


def test_recall_counts_every_relevant_memory_even_more_than_ten():
    grades = {str(place): 1.0 for place in range(20)}
    assert metric("r@10", [str(place) for place in range(10)], grades) == 0.5
    assert metric("ndcg@10", [str(place) for place in range(10)], grades) == 1.0


def test_a_key_that_comes_again_makes_room_for_the_next():
    assert metric("mrr@10", ["x", "x", "a"], {"a": 1.0}) == 0.5
    assert metric("ndcg@10", ["a", "a"], {"a": 1.0}) == 1.0


def test_memories_without_a_key_are_not_copies_of_one_another():
    assert metric("mrr@10", [None, None, "a"], {"a": 1.0}) == pytest.approx(1 / 3)
    assert metric("r@1", [None, "a"], {"a": 1.0}) == 0.0


def test_grades_of_zero_and_below_are_not_relevant():
    grades = {"a": 1.0, "bad": 0.0, "worse": -1.0}
    assert metric("mrr@10", ["bad", "worse", "a"], grades) == pytest.approx(1 / 3)
    assert metric("r@1", ["bad", "worse", "a"], grades) == 0.0
    assert metric("ndcg@10", ["worse", "a"], grades) < metric("ndcg@10", ["bad", "a"], grades)


@given(
    grades=st.lists(st.integers(0, 3), min_size=2, max_size=30).filter(any),
    order=st.randoms(use_true_random=False),
)
def test_ndcg_is_that_of_scikit_learn(grades, order):
    places = list(range(len(grades)))
    order.shuffle(places)
    scores = np.empty(len(grades))
    scores[places] = -np.arange(len(grades), dtype=float)
    expected = ndcg_score([grades], [scores], k=10)
    judged = {str(place): float(grade) for place, grade in enumerate(grades)}
    assert metric("ndcg@10", [str(place) for place in places], judged) == pytest.approx(expected)


@pytest.mark.skipif(not REFEREE.exists(), reason=f"the referee is not at {REFEREE}")
def test_every_metric_is_the_referees(tmp_path):
    chance = random.Random(0)
    keys = [f"k{number}" for number in range(25)]
    grades, ranked = {}, {}
    for number in range(150):
        judged = chance.sample(keys, chance.randint(1, 14))
        grades[f"q{number}"] = {key: float(chance.choice([-1, 0, 1, 1, 2])) for key in judged}
        ranked[f"q{number}"] = chance.choices(keys, k=chance.randint(0, 20))
    referee = refereed(tmp_path, grades, ranked)
    scores = [
        score(ranked[query], judged) for query, judged in grades.items() if max(judged.values()) > 0
    ]
    assert referee["n"] == len(scores) < len(grades)
    means = dict(zip(METRICS, np.mean(scores, axis=0).round(4).tolist(), strict=True))
    assert {name: referee[name] for name in METRICS} == means


def refereed(folder: Path, grades: dict, ranked: dict) -> dict[str, float]:
    lines = [
        f"{query}\t{key}\t{grade}\n"
        for query, judged in grades.items()
        for key, grade in judged.items()
    ]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    (folder / "queries.jsonl").write_text("".join(json.dumps({"id": q}) + "\n" for q in grades))
    runs = [
        {"query_id": query, "hits": [{"key": key} for key in keys]}
        for query, keys in ranked.items()
    ]
    (folder / "run.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    done = subprocess.run(
        [sys.executable, REFEREE, folder, folder / "run.jsonl", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    report: dict[str, float] = json.loads(done.stdout)["all queries"]
    return report
