"""`memstore eval` on the cognitive pass: ablations, baselines, links, stress sets, calibration."""

from __future__ import annotations

import json

import pytest

from memstore import MemoryStore
from memstore.evaluation import ingest_corpus, read_dataset
from memstore.evaluation.stored import Stored

FIXED = ("--now", "2026-03-02T00:00:00Z", "--seed", "3")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder that temporary stores are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def without_times(report: dict) -> dict:
    """What does not depend on how fast the machine is."""
    found = json.loads(json.dumps(report))
    groups = [found["arms"], *found["categories"].values(), *(s["arms"] for s in found["stress"])]
    for arm in (arm for group in groups for arm in group):
        del arm["p50_ms"], arm["p95_ms"]
    return found


def test_everything_is_measured_in_one_call(command, moves, temporary):
    options = ("--profile", "semantic,balanced", "--encoder", "hashed", *FIXED, "--json")
    more = ("--baselines", "--links", "none,oracle", "--stress", "no-metadata,future-leaks")
    done = command("eval", moves, *options, *more, "--calibration")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    labels = [arm["label"] for arm in report["arms"]]
    assert labels[:3] == ["semantic", "balanced", "60/40"]
    assert labels[7:] == ["semantic, linked", "balanced, linked"]  # no formula twice
    assert report["arms"][0]["further"].keys() == {
        *("new above old", "stale@1", "fresh@1", "stale in 5", "flips")
    }
    assert report["arms"][7]["further"]["new above old"] == 1.0
    assert (report["links"], report["scopes"]) == (8, 2)
    assert [stress["name"] for stress in report["stress"]] == ["no-metadata", "future-leaks"]
    assert all(stress["arms"] for stress in report["stress"])
    assert report["calibration"][0]["slope"] is None  # of an encoder without a calibration
    assert "linked: 8 old memories, by an oracle" in done.stderr
    assert list(temporary.iterdir()) == []


def test_the_same_seed_and_present_give_the_same_numbers(process, moves):
    options = ("--profile", "balanced", "--encoder", "hashed", *FIXED, "--json")
    stress = ("--stress", "updates,random-metadata")
    first, second = (
        json.loads(process("eval", moves, *options, *stress, PYTHONHASHSEED=seed).stdout)
        for seed in ("1", "2")
    )
    assert without_times(first) == without_times(second)
    assert all(one["arms"] for one in first["stress"])


def test_tables_follow_one_another_and_are_written(command, moves, tmp_path):
    options = ("--profile", "semantic,balanced", "--encoder", "hashed", "--output", "out")
    more = ("--ablate", "--stress", "no-metadata", "--calibration", "--plot", "plot.svg")
    done = command("eval", moves, *options, *more)
    assert done.returncode == 0, done.stderr
    titles = [
        "moves: 8 questions in 2 scopes",
        "moves: order: 8 questions in 2 scopes",
        "moves: no-metadata: 8 questions in 2 scopes",
        "moves: calibration",
    ]
    shown = [line for line in done.stdout.splitlines() if line.startswith("moves")]
    assert shown == titles
    written = (tmp_path / "out" / "table.md").read_text()
    assert [line for line in written.splitlines() if line.startswith("###")] == [
        f"### {title}" for title in titles
    ]
    assert done.stdout.count("balanced only entity") == 3
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["stress"][0]["note"]
    assert b"nDCG@10, difference" in (tmp_path / "plot.svg").read_bytes()


def test_several_data_sets_are_measured_one_after_the_other(command, moves, dataset, tmp_path):
    options = ("--encoder", "hashed", "--profile", "semantic,recent", "--output", "out")
    more = ("--json", "--plot", "plot.svg", "--links", "none,oracle")
    done = command("eval", moves, dataset, *options, *more)
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert [report["dataset"] for report in reports] == ["moves", "people"]
    assert [report["links"] for report in reports] == [8, None]
    assert [len(report["arms"]) for report in reports] == [4, 2]
    for report in reports:
        folder = tmp_path / "out" / report["dataset"]
        assert json.loads((folder / "summary.json").read_text()) == report
        assert all((folder / arm["run"]).exists() for arm in report["arms"])


def test_a_report_of_pairs_looks_a_hundred_hits_deep(command, moves, dataset):
    options = ("--encoder", "hashed", "--profile", "semantic", "--json")
    deep, plain = (json.loads(command("eval", path, *options).stdout) for path in (moves, dataset))
    assert (deep["settings"]["limit"], plain["settings"]["limit"]) == (100, 10)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--stress", "fire"), "'fire' is unknown. Known: updates, sources"),
        (("--links", "key"), "'key' is unknown. Known: none, oracle"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_read(command, moves, options, said):
    (moves / "queries.jsonl").write_text("?\n")
    done = command("eval", moves, *options)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr


def test_links_need_a_data_set_that_says_what_replaces_what(command, dataset):
    done = command("eval", dataset, "--encoder", "hashed", "--links", "none,oracle")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "people has no supersession.tsv, so there is nothing to link." in done.stderr


def test_data_sets_of_one_name_cannot_be_told_apart(command, moves):
    done = command("eval", moves, moves)
    assert done.returncode == 2
    assert "the same name" in done.stderr


def test_ones_own_store_is_disturbed_only_in_a_copy(command, moves, tmp_path):
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        ingest_corpus(store, read_dataset(moves))
        before = list(Stored(store))
    options = ("--in-store", "--profile", "semantic", "--links", "none,oracle", "--baselines")
    done = command("eval", moves, *options, "--stress", "updates,no-metadata", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["stress"]) == 2
    with MemoryStore.open(path) as store:
        assert list(Stored(store)) == before
        assert store.stats().sources == {}
