"""`memstore eval` as it is used: on a data set, and with questions to one's own store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memstore import MemoryStore

REFEREE = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_run.py"
QUESTIONS = """\
{"text": "What does Ana do for a living?", "relevant": ["ana.work"], "category": "work"}
{"text": "Who has a boat?", "relevant": {"clara.boat": 2, "nobody": 1}, "category": "hobby"}
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder that temporary stores are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def store_path(tmp_path, dataset):
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        store.ingest(dataset / "corpus.jsonl")
    return path


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(QUESTIONS)
    return path


def test_a_data_set_is_measured_with_the_bundled_encoder(command, dataset, temporary):
    done = command("eval", dataset, "--profile", "semantic,balanced", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["dataset"], report["encoder"], report["memories"]) == ("people", "minilm", 8)
    semantic, balanced = report["arms"]
    assert (semantic["profile"], balanced["profile"]) == ("semantic", "balanced")
    assert semantic["metrics"]["ndcg@10"] > 0.9
    assert balanced["to_first_arm"]["ndcg@10"]["low"] is not None
    assert done.stderr == ""
    assert list(temporary.iterdir()) == []


def test_the_table_has_a_row_per_arm_and_repeats_per_category(command, dataset):
    arguments = ("--rerank", "none,colbert", "--profile", "semantic,recent", "--by-category")
    done = command("eval", dataset, "--encoder", "hashed", *arguments)
    assert done.returncode == 0, done.stderr
    titles = [line for line in done.stdout.splitlines() if line.endswith("questions")]
    assert titles[0] == "people: 8 questions"
    assert len(titles) == 1 + 5
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    for arm in (["none", "semantic"], ["none", "recent"], ["colbert", "semantic"]):
        assert rows.count(arm) == len(titles)
    assert max(map(len, done.stdout.splitlines())) <= 132


def test_artefacts_are_what_the_referee_scores_the_same(command, dataset, tmp_path):
    options = ("--encoder", "hashed", "--profile", "semantic,balanced", "--output", "out")
    done = command("eval", dataset, *options, "--plot", "plot.svg")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    names = {"summary.json", "table.md", *(arm["run"] for arm in summary["arms"])}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert (tmp_path / "plot.svg").stat().st_size > 1000
    if not REFEREE.exists():
        pytest.skip(f"the referee is not at {REFEREE}")
    for arm in summary["arms"]:
        run = tmp_path / "out" / arm["run"]
        refereed = subprocess.run(
            [sys.executable, REFEREE, dataset, run, "--json", "--by-category"],
            capture_output=True,
            text=True,
            check=True,
        )
        report = json.loads(refereed.stdout)
        assert report["missing_queries"] == 0
        for name, mean in arm["metrics"].items():
            assert report["all queries"][name] == round(mean, 4)
        for category, arms in summary["categories"].items():
            same = arms[summary["arms"].index(arm)]
            assert report[category]["n"] == same["questions"]
            for name, mean in same["metrics"].items():
                assert report[category][name] == round(mean, 4)


def test_questions_of_ones_own_are_put_to_the_store(command, mine, store_path, temporary):
    with MemoryStore.open(store_path) as store:
        before = store.stats()
    done = command("eval", mine, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["dataset"], report["questions"]) == ("mine", 2)
    assert report["unknown_keys"] == ["nobody"]
    assert done.stderr.startswith("not in the store: 1 of the relevant keys, 'nobody';")
    assert list(temporary.iterdir()) == []
    with MemoryStore.open(store_path) as store:
        assert store.stats() == before


def test_the_queries_of_a_data_set_may_be_put_to_the_store(command, dataset, store_path):
    (dataset / "corpus.jsonl").unlink()
    refused = command("eval", dataset)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: {dataset} has no corpus.jsonl.")
    done = command("--store", store_path, "eval", dataset, "--in-store", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["encoder"] == "hashed"


def test_without_a_store_there_is_nobody_to_ask(command, mine):
    done = command("eval", mine)
    assert done.returncode == 1
    assert "agent.mem" in done.stderr
    assert not Path("agent.mem").exists()


def test_a_sample_is_the_same_every_time(command, dataset, tmp_path):
    for name in ("a", "b"):
        options = ("--limit-queries", "3", "--seed", "2", "--output", name)
        done = command("eval", dataset, "--encoder", "hashed", *options)
        assert done.returncode == 0, done.stderr
    first, second = (
        (tmp_path / name / "run-1-none-balanced.jsonl").read_text().splitlines() for name in "ab"
    )
    assert len(first) == 3
    for one, other in zip(map(json.loads, first), map(json.loads, second), strict=True):
        assert one["query_id"] == other["query_id"]
        found = [[(hit["key"], hit["score"]) for hit in run["hits"]] for run in (one, other)]
        assert found[0] == found[1]


WRONG_NAMES = [
    (("--rerank", "none,minilm-16"), "There is no reranker 'minilm-16'"),
    (("--profile", "clever"), "Profile 'clever' is unknown"),
    (("--plot", "plot.pdf"), "plot.pdf is no plot"),
    (("--timezone", "Lisbon"), "Lisbon"),
]


@pytest.mark.parametrize(("options", "said"), WRONG_NAMES)
def test_a_wrong_name_is_refused_before_anything_is_read(command, dataset, options, said):
    (dataset / "queries.jsonl").write_text("?\n")
    done = command("eval", dataset, *options)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-k", "9"), "9 is not in the range x>=10"),
        (("--limit-queries", "0"), "0 is not in the range x>=1"),
        (("--rerank", "none,,colbert"), "has an empty name"),
        (("--in-store", "--encoder", "hashed"), "--encoder is that of a temporary store"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(command, dataset, options, said):
    done = command("eval", dataset, *options)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_a_reranker_without_weights_is_an_error_before_the_corpus_is_ingested(
    process, dataset, tmp_path, temporary
):
    nowhere = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "no-models")}
    options = ("--encoder", "hashed", "--rerank", "none,minilm-l6")
    done = process("eval", dataset, *options, **nowhere)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ms-marco-MiniLM-L-6-v2 is not in the Hugging Face cache" in done.stderr
    skipped = process("eval", dataset, *options, "--on-rerank-error", "skip", **nowhere)
    assert skipped.returncode == 0, skipped.stderr
    assert "left out: minilm-l6 balanced: " in skipped.stderr
    (row,) = [line for line in skipped.stdout.splitlines() if line.startswith("minilm-l6")]
    assert "left out" in row
    assert list(temporary.iterdir()) == []


def test_lines_of_the_corpus_that_cannot_be_read_are_named_and_the_rest_is_measured(
    command, dataset
):
    with (dataset / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"id": "empty", "text": ""}\n?\n')
    done = command("eval", dataset, "--encoder", "hashed")
    assert done.returncode == 1
    assert "people: 8 questions" in done.stdout
    assert f"Error: {dataset}/corpus.jsonl:9: text is empty" in done.stderr
    assert f"Error: {dataset}/corpus.jsonl:10: not a JSON object" in done.stderr


@pytest.mark.parametrize("folder", [".", "/", "out/sub/.."])
def test_a_folder_of_any_spelling_is_written_to_or_refused(command, dataset, tmp_path, folder):
    done = command("eval", dataset, "--encoder", "hashed", "--output", folder)
    assert "Traceback" not in done.stderr
    if folder.startswith("out"):
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out" / "summary.json").exists()
    else:
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")


def test_a_plot_cannot_have_the_place_of_the_results(command, dataset):
    done = command("eval", dataset, "--output", "a.svg", "--plot", "./a.svg")
    assert done.returncode == 2
    assert "the same path" in done.stderr


def test_the_new_baseline_is_named_when_the_first_arm_is_left_out(command, dataset):
    names = ("--rerank", "minilm-l6,none", "--on-rerank-error", "skip")
    done = command("eval", dataset, "--encoder", "hashed", *names)
    assert "the first arm was left out: differences are to none balanced" in done.stderr


def test_results_are_never_overwritten(command, dataset, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    done = command("eval", dataset, "--encoder", "hashed", "--output", "out")
    assert done.returncode == 1
    assert (
        done.stderr == "Error: out exists and is no empty folder. Choose another, or remove it.\n"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing_behind(dataset, tmp_path, temporary, how, status):
    with (dataset / "corpus.jsonl").open("a") as corpus:
        for number in range(5000):
            corpus.write(json.dumps({"id": f"x{number}", "text": f"Fact {number} of many."}) + "\n")
    running = subprocess.Popen(
        [sys.executable, "-m", "memstore", "eval", dataset, "--output", "out"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that starts the tests in the background lets them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while running.poll() is None and not list(temporary.glob("memstore-eval-*/eval.mem/*")):
        time.sleep(0.02)
    running.send_signal(how)
    _, said = running.communicate()
    assert running.returncode == status, said
    assert "Traceback" not in said
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people", "temporary"]
