"""A small data set, `memstore` run beside it, and a made-up comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memstore.evaluation import Answer, Arm, Comparison, Found, LeftOut, Measured, Question

Lines = Iterable[Mapping[str, Any]]
Command = Callable[..., subprocess.CompletedProcess[str]]

MEMORIES = {
    "ana.city": "Ana moved from Porto to Lisbon.",
    "ana.work": "Ana repairs old violins.",
    "bruno.chess": "Bruno plays chess on Sundays.",
    "bruno.food": "Bruno is allergic to peanuts.",
    "clara.boat": "Clara sails a small wooden boat.",
    "clara.tea": "Clara drinks green tea in the morning.",
    "dina.cat": "Dina's cat is called Miso.",
    "dina.bike": "Dina rides her bicycle to the office.",
}
QUESTIONS = [
    ("Where does Ana live?", "place", ["ana.city"]),
    ("What does Ana do for a living?", "work", ["ana.work"]),
    ("Which game does Bruno play?", "hobby", ["bruno.chess"]),
    ("What must Bruno not eat?", "food", ["bruno.food"]),
    ("Who has a boat?", "hobby", ["clara.boat"]),
    ("What does Clara drink?", "food", ["clara.tea"]),
    ("What is the name of the pet?", "pet", ["dina.cat"]),
    ("How does Dina get to work?", "work", ["dina.bike", "ana.work"]),
]


def write_lines(path: Path, lines: Lines) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A folder with eight memories and eight questions, of which the last has two answers."""
    folder = tmp_path / "people"
    folder.mkdir()
    write_lines(folder / "corpus.jsonl", [{"id": k, "text": text} for k, text in MEMORIES.items()])
    write_lines(
        folder / "queries.jsonl",
        [
            {"id": f"q{number}", "text": text, "category": category}
            for number, (text, category, _) in enumerate(QUESTIONS)
        ],
    )
    judgements = [
        f"q{number}\t{key}\t{2 - place}\n"
        for number, (_, _, keys) in enumerate(QUESTIONS)
        for place, key in enumerate(keys)
    ]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judgements))
    return folder


MOVES = {
    "Ana": ("Porto", "Lisbon"),
    "Bruno": ("Turin", "Genoa"),
    "Clara": ("Ghent", "Bruges"),
    "Dina": ("Haifa", "Eilat"),
    "Emil": ("Basel", "Zurich"),
    "Farid": ("Lyon", "Nice"),
    "Greta": ("Kiel", "Jena"),
    "Hugo": ("Bergen", "Oslo"),
}


@pytest.fixture
def moves(tmp_path: Path) -> Path:
    """A folder with eight people who have moved: two dated memories of each, of which the first
    holds no more; two scopes, questions with their answers, and pairs.
    """
    folder = tmp_path / "moves"
    folder.mkdir()
    corpus, queries, judgements, pairs = [], [], [], []
    for number, (name, (old, new)) in enumerate(MOVES.items()):
        place = {"scope": f"s{number % 2}", "session": name}
        first = {"id": f"{name}.old", "text": f"{name}'s home is a small flat in {old}."}
        second = {"id": f"{name}.new", "text": f"{name}'s home is a small flat in {new}."}
        corpus.append({**first, **place, "timestamp": f"2025-01-{number + 1:02}T09:00:00Z"})
        corpus.append({**second, **place, "timestamp": f"2025-09-{number + 1:02}T09:00:00Z"})
        queries.append(
            {
                "id": f"q.{name}",
                "text": f"Where is the home of {name}?",
                "category": "home",
                "scope": place["scope"],
                "timestamp": "2026-01-01T00:00:00Z",
                "answer": new,
            }
        )
        judgements.append(f"q.{name}\t{name}.new\t2\n")
        pairs.append(f"q.{name}\t{name}.old\t{name}.new\n")
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", queries)
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judgements))
    (folder / "supersession.tsv").write_text("query-id\told-ids\tnew-ids\n" + "".join(pairs))
    return folder


@pytest.fixture
def command(tmp_path: Path, run_memstore: Command) -> Command:
    """Run `memstore` in the test's folder."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_memstore(tmp_path, *map(str, arguments), **environment)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """Run `memstore` in the test's folder as a process of its own."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "memstore", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            check=False,
        )

    return run


ASKED = 20


def measured(arm: Arm, ndcg: np.ndarray, milliseconds: float, parameters: int | None) -> Measured:
    hit = Found(rank=1, key="ключ", id="01", score=1.23456789)
    return Measured(
        arm=arm,
        parameters=parameters,
        candidates=20,
        answers=tuple(
            Answer((hit,), {"encode": 0.002}, seconds=(milliseconds + place / 5) / 1000)
            for place in range(ASKED)
        ),
        scores=np.repeat(ndcg[:, None], 5, axis=1),
    )


@pytest.fixture
def comparison() -> Comparison:
    base = np.linspace(0.2, 0.8, ASKED)
    noise = np.resize([0.1, -0.1], ASKED)
    return Comparison(
        questions=tuple(
            Question(id=f"q{place}", text="Who?", relevant={"a": 1}, category=f"c{place % 2}")
            for place in range(ASKED)
        ),
        measured=(
            measured(Arm("none", "semantic"), base, 8.0, 0),
            measured(Arm("minilm-l6", "semantic"), base + 0.1 + noise, 120.0, 22_713_601),
            measured(Arm("cohere:rerank-v3.5", "semantic"), base + noise, 320.0, None),
        ),
        left_out=(LeftOut(Arm("bge-v2-m3", "semantic"), "Its weights are not here."),),
        unjudged=0,
        unknown_keys=("x",),
        memories=100,
        encoder="minilm",
        limit=10,
        rerank_depth=20,
        namespace="default",
        now=datetime(2026, 3, 2, tzinfo=UTC),
        seed=0,
    )
