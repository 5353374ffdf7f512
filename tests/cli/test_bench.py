"""`memstore bench rerankers`."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest


def test_models_that_are_not_here_are_said_so_and_the_others_are_timed(shell):
    done = shell.run("bench", "rerankers", "--rerank", "minilm-l6,colbert:hashed", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    missing, timed = (line for line in done.stdout.splitlines() if " cpu " in line)
    assert "not here" in missing
    assert "15–30" in missing
    assert timed.startswith("colbert:hashed")
    assert "minilm-l6: The reranker" in done.stderr
    assert "nDCG@10 is empty without --dataset" in done.stderr


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    texts = {"a": "Ana lives in Lisbon", "b": "Bruno plays chess", "c": "The invoice was paid"}
    lines = [json.dumps({"id": key, "text": text}) for key, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    questions = [{"id": "1", "text": "who plays chess", "relevant": ["b"]}]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return folder


@pytest.mark.xdist_group("random_weights")
def test_random_weights_are_timed_and_their_accuracy_stays_empty(shell, dataset):
    arguments = ("--rerank", "minilm-l6,colbert:hashed", "--random-weights", "--rounds", "1")
    found = shell.json("bench", "rerankers", *arguments, "--dataset", str(dataset))
    model, other = found["rerankers"]
    assert model["random_weights"]
    assert model["p50"] > 0
    assert model["parameters"] == 22_713_601
    assert found["ndcg@10"] == {"colbert:hashed": 1.0}
    assert not other["random_weights"]
    assert found["machine"]["cpus"] == os.cpu_count()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bench", "rerankers", "--rerank", "minilm-16"), "no reranker 'minilm-16'"),
        (("bench", "rerankers", "--rerank", "none"), "nothing to time"),
        (("--set", "foo=1", "bench", "rerankers", "--rerank", "colbert"), "'foo' is unknown"),
        (("bench", "rerankers", "--dataset", "nowhere"), "nowhere"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_timed(shell, arguments, said):
    done = shell.run(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminated_run_leaves_nothing_behind(shell):
    temporary = shell.folder / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "memstore", "bench", "rerankers", "--rerank", "colbert"],
        cwd=shell.folder,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not any(temporary.iterdir()) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert list(temporary.iterdir()) == []
