"""`memstore calibrate` and `memstore learn`."""

from __future__ import annotations

import json

import pytest

from memstore import MemoryStore

NAMES = ["Carla", "Dario", "Elena", "Fabio", "Greta", "Hugo"]
PLACES = ["Porto", "Lisbon", "Faro", "Braga", "Evora", "Coimbra", "Aveiro", "Sintra", "Beja"]


@pytest.fixture
def filled(shell):
    with MemoryStore.open(shell.store) as store:
        store.add_many(
            [
                {"text": f"{name} once rented a small house in {place}.", "key": f"{name}.{place}"}
                for name in NAMES
                for place in PLACES
            ]
        )
    return shell


def test_calibrate_fits_a_store_and_shows_it(filled):
    assert filled.json("calibrate", "--show") == []
    report = filled.json("calibrate", "--seed", "2")
    assert report["method"] == "pseudo-queries"
    assert report["stored"]
    assert filled.json("calibrate", "--show") == [report]
    shown = filled.run("calibrate", "--show")
    assert "hashed" in shown.stdout
    assert "slope" in shown.stdout
    assert "uncalibrated" not in filled.run("query", "Carla's house").stderr


def test_a_dry_run_stores_nothing_and_says_so(filled):
    done = filled.run("calibrate", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "nothing was stored" in done.stderr
    assert filled.json("calibrate", "--show") == []


def test_judged_questions_come_from_a_file(filled):
    lines = [
        json.dumps({"text": f"where in {place} was {name}?", "relevant": [f"{name}.{place}"]})
        for name in NAMES
        for place in PLACES
    ]
    (filled.folder / "asked.jsonl").write_text("\n".join(lines))
    report = filled.json("calibrate", "asked.jsonl", "--limit", "40")
    assert (report["method"], report["questions"]) == ("questions", 40)


def test_a_store_too_small_is_said_in_a_sentence(shell):
    done = shell.run("calibrate")
    assert done.returncode == 1
    assert "it takes 50" in done.stderr
    assert "Traceback" not in done.stderr


def test_learning_without_evidence_says_what_is_missing(filled):
    done = filled.run("learn")
    assert done.returncode == 1
    assert "not met: pairs is 0, needed: 200" in done.stdout
    assert "nothing was changed" in done.stderr
    report = json.loads(filled.run("learn", "--json").stdout)
    assert not report["accepted"]
    assert filled.json("learn", "--list") == []


def test_pages_are_logged_by_a_setting(filled):
    filled.run("calibrate")
    done = filled.run("--set", "log_pages=true", "query", "Carla", "--json")
    assert json.loads(done.stdout)["page"] is not None
    assert json.loads(filled.run("query", "Carla", "--json").stdout)["page"] is None


def test_going_back_is_one_command(filled):
    done = filled.run("learn", "--rollback", "shipped")
    assert done.returncode == 0
    assert "balanced now has the shipped weights" in done.stderr
    missing = filled.run("learn", "--rollback", "4")
    assert missing.returncode == 1
    assert "There are no learned weights 4" in missing.stderr
    assert filled.run("learn", "--rollback", "last").returncode == 2
