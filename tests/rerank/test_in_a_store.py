"""A cross-encoder that has learned something, behind a store and the command line."""

from __future__ import annotations

import json
import random
import runpy
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memstore import MemoryStore

pytestmark = pytest.mark.xdist_group("fitted_cross_encoder")

year = runpy.run_path(str(Path(__file__).with_name("fitted_cross_encoder.py")))
PAIRS = [pair for pair in year["unseen"]() if len(pair[1]) < 300][:8]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    """A store of some memories of the example year, the answers among them."""
    path = tmp_path_factory.mktemp("year") / "agent.mem"
    others = [text for text in year["learned"]() if len(text) < 300][:12]
    with MemoryStore.open(path, encoder="hashed") as store:
        store.add_many([{"text": text, "key": f"answer-{n}"} for n, (_, text) in enumerate(PAIRS)])
        store.add_many(others)
        yield store


def test_a_querys_scores_are_the_models_own_logits(filled: MemoryStore, fitted: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    question = PAIRS[0][0]
    result = filled.query(question, rerank=str(fitted), limit=20, profile="semantic")
    assert result.reranker == str(fitted)
    assert len(result.hits) == 20
    bare = CrossEncoder(str(fitted), device="cpu", activation_fn=torch.nn.Identity())
    logits = bare.predict([(question, hit.memory.text) for hit in result.hits])
    assert [hit.score for hit in result.hits] == pytest.approx(logits.tolist(), abs=1e-4)
    assert [hit.relevance.raw for hit in result.hits] == [hit.score for hit in result.hits]


def test_what_the_model_learned_shows_in_the_ranks(filled: MemoryStore, fitted: Path) -> None:
    ranks = []
    for number, (question, _) in enumerate(PAIRS):
        result = filled.query(question, rerank=str(fitted), limit=20, profile="semantic")
        ranks.append([hit.memory.key for hit in result.hits].index(f"answer-{number}") + 1)
    assert sum(rank == 1 for rank in ranks) >= 3  # of 8; each has one chance in 20
    assert sum(rank <= 5 for rank in ranks) >= 6


def test_texts_of_no_store_are_ranked_alike(filled: MemoryStore, fitted: Path) -> None:
    question, answer = PAIRS[0]
    texts = [answer, *(text for _, text in PAIRS[1:])]
    random.Random(0).shuffle(texts)
    ranked = filled.rank(question, texts, rerank=str(fitted))
    stored = filled.query(question, rerank=str(fitted), limit=20, profile="semantic")
    scores = {hit.memory.text: hit.score for hit in stored.hits}
    for hit in ranked:
        assert hit.score == pytest.approx(scores[hit.memory.text], abs=1e-4)


def test_the_store_may_be_opened_with_it(filled: MemoryStore, fitted: Path) -> None:
    question = PAIRS[1][0]
    named = filled.query(question, rerank=str(fitted), profile="semantic")
    path = filled.path
    with MemoryStore.open(path, reranker=str(fitted), read_only=True) as store:
        result = store.query(question, profile="semantic")
    assert [hit.memory.id for hit in result.hits] == [hit.memory.id for hit in named.hits]


Memstore = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(filled: MemoryStore, run_memstore: Memstore, tmp_path: Path) -> Callable[..., str]:
    """Run `memstore` on the store, and return what it wrote."""

    def run(*arguments: str) -> str:
        done = run_memstore(tmp_path, "--store", str(filled.path), *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    return run


def test_the_command_line_says_the_same(
    filled: MemoryStore, fitted: Path, run: Callable[..., str]
) -> None:
    question = PAIRS[2][0]
    options = ("--rerank", str(fitted), "--profile", "semantic", "--json")
    answer = json.loads(run("query", question, *options))
    result = filled.query(question, rerank=str(fitted), profile="semantic")
    assert [hit["memory"]["id"] for hit in answer["hits"]] == [hit.memory.id for hit in result.hits]
    scores = [hit.score for hit in result.hits]
    assert [hit["score"] for hit in answer["hits"]] == pytest.approx(scores, abs=1e-4)


def test_an_evaluation_shows_what_it_is_worth(
    fitted: Path, tmp_path: Path, run: Callable[..., str]
) -> None:
    lines = [
        {"text": question, "relevant": [f"answer-{number}"]}
        for number, (question, _) in enumerate(PAIRS)
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    names = f"none,colbert,{fitted}"
    options = ("--rerank", names, "--profile", "semantic", "--json")
    summary = json.loads(run("eval", "questions.jsonl", *options))
    none, colbert, fitted_arm = summary["arms"]
    assert none["metrics"] == colbert["metrics"]
    assert 0.5 < fitted_arm["metrics"]["ndcg@10"] < 1.0  # .23 by chance
    assert fitted_arm["metrics"] != none["metrics"]
    assert fitted_arm["parameters"] > 10_000_000
