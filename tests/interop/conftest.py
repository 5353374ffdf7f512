"""colbert-ai and RAGatouille as they are, in processes of an environment of their own."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memstore.index.interchange import IndexContent

HERE = Path(__file__).parent
PEERS = HERE.parents[1] / ".venv-interop"
WANTED = os.environ.get("MEMSTORE_INTEROP") == "1"

collect_ignore = ["drivers"]  # for the other environment's Python

WORDS = ["ana", "berlin", "city", "how", "lives", "lisbon", "many", "moved", "people", "porto"]
WORDS += ["printer", "the", "to", "where", "works"]

Step = dict[str, Any]
Drive = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if WANTED:
        return
    skip = pytest.mark.skip(reason="scripts/test --interop runs it, in an environment of its own")
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def sentences() -> Callable[..., list[str]]:
    """Make texts of words that the test checkpoint knows."""

    def make(count: int, *, seed: int) -> list[str]:
        rng = random.Random(seed)
        return [" ".join(rng.choices(WORDS, k=rng.randint(3, 12))) + "." for _ in range(count)]

    return make


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Run steps one after another in one process: ("build", {"checkpoint": …}), …"""
    assert PEERS.is_dir(), "scripts/setup --interop makes the environment that this needs"
    for lock in (PEERS / "torch_extensions").glob("*/lock"):
        lock.unlink()  # of a process that was killed: the next one would wait for it for ever
    folder = tmp_path_factory.mktemp("peers")
    environment = {
        "PATH": f"{PEERS / 'bin'}:{os.environ['PATH']}",  # ninja
        "HOME": str(folder),
        "TORCH_EXTENSIONS_DIR": str(PEERS / "torch_extensions"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "2",
    }

    def run(driver: str, *steps: tuple[str, Step]) -> None:
        command = [PEERS / "bin" / "python", "-W", "ignore", HERE / "drivers" / driver]
        finished = subprocess.run(
            [*command, json.dumps(steps, default=str)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-4000:]

    return run


@pytest.fixture(scope="session")
def make_checkpoint(drive: Drive, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a small ColBERT model with random weights, saved by colbert-ai."""

    def make(**settings: Any) -> Path:
        folder = tmp_path_factory.mktemp("checkpoint") / "model"
        asked = {"folder": folder, "words": WORDS, **settings}
        drive("drive_colbert_ai.py", ("make_checkpoint", asked))
        return folder

    return make


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint whose queries have 16 tokens."""
    return make_checkpoint(query_maxlen=16)


@pytest.fixture(scope="session")
def exact_scores() -> Callable[[IndexContent, np.ndarray], np.ndarray]:
    """Score every passage of an index by MaxSim over decoded vectors, in plain numpy.

    NaN where some query token is dissimilar to all tokens of the passage: there colbert-ai counts
    zero instead of the negative maximum. NaN also for deleted passages.
    """

    def score(content: IndexContent, query: np.ndarray) -> np.ndarray:
        bits = content.codec.bits
        stream = np.unpackbits(content.residuals, axis=1).reshape(len(content.codes), -1, bits)
        buckets = (stream << np.arange(bits)).sum(axis=2)
        vectors = content.codec.centroids[content.codes] + content.codec.weights[buckets]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        similarities = vectors @ query.T
        scores = np.full(len(content.lengths), np.nan)
        for pid, end in enumerate(np.cumsum(content.lengths)):
            if length := content.lengths[pid]:
                maxima = similarities[end - length : end].max(axis=0)
                if (maxima >= 0).all():
                    scores[pid] = maxima.sum()
        return scores

    return score
