"""A store learns a profile's weights from its pages, and goes back in one call."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import numpy as np
import pytest

from memstore import MemoryStore
from memstore.catalog.checksums import crc
from memstore.errors import BadInput, StoreUnwritable
from memstore.scoring.cognitive import COMPONENTS
from memstore.store.judged_questions import Guard
from memstore.store.scorers import encoder_key

NAMES = ["Ana", "Bruno", "Carla", "Dario", "Elena", "Fabio", "Greta", "Hugo", "Ines", "Jonas"]
PLACES = ["Porto", "Lisbon", "Faro", "Braga", "Evora", "Coimbra", "Aveiro", "Sintra"]
QUESTIONS = [{"text": f"{name} in {PLACES[0]}", "relevant": [f"{name}.Porto"]} for name in NAMES]
NOW = "2100-05-01T12:00:00Z"


@pytest.fixture
def taught(store_path, sql, stamp):
    """A calibrated store, and the pages of users who always take what is trusted most."""
    with MemoryStore.open(store_path) as store:
        store.add_many(
            [
                {
                    "text": f"{name} bought number {number} of the houses in {place} for rent.",
                    "key": f"{name}.{place}",
                    "confidence": 9.0 if number % 3 == 0 else 5.0,
                }
                for number, (name, place) in enumerate((n, p) for n in NAMES for p in PLACES)
            ]
        )
        identity = store._opened.identity
        ids = [memory.id for memory in store.list(limit=100).memories]
    parameters = {"bias": -1.0, "slope": 20.0, "slope_ln_tokens": 0.0, "slope_ln_memories": -1.0}
    sql(
        store_path,
        "INSERT INTO calibration VALUES (?, 'maxsim', ?, '{}', 0, NULL)",
        encoder_key(identity),
        json.dumps(parameters),
    )
    stamp(store_path, "calibration")
    log(store_path, ids)
    return store_path


def log(path, ids, *, count=300, profile="balanced@v1", verb="reinforce", sessions=5):
    """Pages on which what is trusted most is used, though it is not the most relevant."""
    random = np.random.default_rng(0)
    trust = COMPONENTS.index("trust")
    rows, events = [], []
    for number in range(count):
        semantic = np.sort(random.normal(0.0, 0.4, 6))[::-1]
        values = np.zeros((6, len(COMPONENTS)))
        values[:, trust] = random.uniform(0.0, 1.0, 6)
        used = int(np.argmax(semantic + 4.0 * values[:, trust]))
        shown = [ids[(number * 6 + place) % len(ids)] for place in range(6)]
        hits = [
            {
                "id": shown[place],
                "rank": place + 1,
                "semantic": semantic[place],
                "values": dict(zip(COMPONENTS, values[place], strict=True)),
            }
            for place in range(6)
        ]
        content = json.dumps({"currency": None, "hits": hits})
        row = (f"page{number}", f"query{number % 100}", None, number, profile, content)
        rows.append((*row, crc(row)))
        payload = json.dumps({"page": f"page{number}"})
        session = f"session{number % sessions}"
        event = (shown[used], verb, None, session, number, number, payload, None)
        events.append((*event, crc(event)))
    names = "memory_id, verb, source_id, session, at, recorded_at, payload, idem_key, checksum"
    with contextlib.closing(sqlite3.connect(path / "memstore.db")) as database, database:
        database.executemany("INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        database.executemany(
            f"INSERT INTO event ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", events
        )


def test_good_evidence_puts_new_weights_to_use(taught):
    with MemoryStore.open(taught) as store:
        before = store.query("Ana in Porto", now=NOW)
        report = store.learn()
        after = store.query("Ana in Porto", now=NOW)
        (learned,) = store.learned_weights()
    assert report.accepted, [str(condition) for condition in report.unmet]
    assert report.version == learned.version == 1
    assert report.weights["trust"] == pytest.approx(0.5)
    assert learned.active
    assert learned.weights == report.weights
    assert learned.parent is None
    assert before.profile_version == "balanced@v1"
    assert after.profile_version == "balanced@v1+learned1"
    assert after.profile == "balanced"


def test_going_back_gives_the_same_results_to_the_bit(taught):
    ask = {"now": NOW, "explain": True, "limit": 20}
    with MemoryStore.open(taught) as store:
        before = store.query("houses in Faro", **ask)
        store.learn()
        changed = store.query("houses in Faro", **ask)
        store.use_weights(None)
        back = store.query("houses in Faro", **ask)
        store.use_weights(1)
        again = store.query("houses in Faro", **ask)
    assert back.hits == before.hits
    assert back.profile_version == before.profile_version
    assert changed.hits != before.hits
    assert again.hits == changed.hits


def test_what_is_learned_next_begins_where_the_last_ended(taught):
    with MemoryStore.open(taught) as store:
        store.learn()
        second = store.learn()
        assert second.accepted, [str(condition) for condition in second.unmet]
        assert store.learned_weights()[1].parent == 1
        assert [item.active for item in store.learned_weights()] == [False, True]
        assert second.weights["trust"] == pytest.approx(0.75)


def test_other_profiles_and_given_weights_stay_as_they_are(taught):
    with MemoryStore.open(taught) as store:
        store.learn()
        assert store.query("Ana", profile="trusted").profile_version == "trusted@v1"
        own = store.query("Ana", weights={"trust": 0.1}, explain=True)
        assert own.profile_version == "balanced@v1+weights"
        weights = {part.name: part.weight for hit in own.hits for part in hit.parts}
        assert weights["trust"] == 0.1


def test_the_same_log_teaches_the_same(taught):
    with MemoryStore.open(taught) as store:
        first, second = store.learn(dry_run=True), store.learn(dry_run=True)
    assert first == second
    assert first.accepted
    assert first.version is None


def test_a_dry_run_changes_nothing(taught, fingerprint):
    before = fingerprint(taught)
    with MemoryStore.open(taught, settings={"log_pages": True}) as store:
        store.learn(dry_run=True)
    assert fingerprint(taught) == before


def test_too_little_evidence_changes_nothing_and_says_all_that_is_missing(taught, sql, fingerprint):
    sql(taught, "DELETE FROM page WHERE at >= 30")
    before = fingerprint(taught)
    with MemoryStore.open(taught) as store:
        report = store.learn()
    assert not report.accepted
    assert {"pairs", "queries"} <= {condition.name for condition in report.unmet}
    assert fingerprint(taught) == before


def test_one_voice_is_not_enough(taught, sql, stamp):
    sql(taught, "DROP TRIGGER IF EXISTS event_no_update")
    for (name,) in sql(taught, "SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        sql(taught, f'DROP TRIGGER "{name}"')
    sql(taught, "UPDATE event SET session = 'one' WHERE session <> 'session0'")
    stamp(taught, "event")
    with MemoryStore.open(taught) as store:
        found = {condition.name for condition in store.learn().unmet}
    assert found == {"sessions", "largest share of a source"}


def test_what_was_rejected_teaches_nothing(store_path):
    with MemoryStore.open(store_path) as store:
        store.add_many([f"Memory number {number} of many." for number in range(20)])
        ids = [memory.id for memory in store.list().memories]
    log(store_path, ids, verb="contradict")
    with MemoryStore.open(store_path) as store:
        assert store.learn().pages == 0


@pytest.mark.parametrize("profile", ["balanced@v1+weights", "trusted@v1", "semantic@v1"])
def test_pages_of_other_weights_teach_nothing(store_path, profile):
    with MemoryStore.open(store_path) as store:
        store.add_many([f"Memory number {number} of many." for number in range(20)])
        ids = [memory.id for memory in store.list().memories]
    log(store_path, ids, profile=profile)
    with MemoryStore.open(store_path) as store:
        assert store.learn().pages == 0


def test_a_guard_set_that_gets_worse_refuses(taught, monkeypatch):
    monkeypatch.setattr("memstore.scoring.learning.LARGEST_DROP", 0.0)
    worse = [
        {"text": f"house of {name}", "relevant": [f"{name}.{place}"]}
        for number, (name, place) in enumerate((n, p) for n in NAMES for p in PLACES)
        if number % 3
    ]
    with MemoryStore.open(taught) as store:
        report = store.learn(guards=[Guard(name="mine", questions=worse)])
    before, after = report.guards["mine"]
    assert after < before
    assert [condition.name for condition in report.unmet] == ["drop of mine"]
    assert report.version is None


def test_the_store_itself_is_asked_too(taught):
    with MemoryStore.open(taught) as store:
        for number in range(12):
            store.add(f"Plan number {number} of Ana costs 10 euros.", key=f"plan{number}")
            store.add(f"Plan number {number} of Ana costs 20 euros.", key=f"plan{number}")
        report = store.learn(dry_run=True)
    assert set(report.guards) == {"known memories", "superseded memories"}
    assert report.notes == ()


def test_what_the_store_has_nothing_for_is_noted(taught):
    with MemoryStore.open(taught) as store:
        report = store.learn(dry_run=True)
    assert set(report.guards) == {"known memories"}
    (note,) = report.notes
    assert "0 pairs of a superseded memory and its successor" in note


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"profile": "semantic"}, "no weights to learn"),
        ({"profile": "best"}, "unknown"),
        ({"seed": -1}, "seed"),
        ({"guards": [Guard(name="g", questions=[])]}, "no question"),
        ({"guards": [Guard(name="g", questions=[{"text": "?"}])]}, "Question 0"),
    ],
)
def test_wrong_options_are_refused(taught, wrong, message):
    with MemoryStore.open(taught) as store, pytest.raises(BadInput, match=message):
        store.learn(**wrong)


def test_an_unknown_version_is_refused_with_those_there_are(taught):
    with MemoryStore.open(taught) as store:
        store.learn()
        for version in (7, True, "1", 1.0):
            with pytest.raises(BadInput, match=r"Known: 1|give a number"):
                store.use_weights(version)
        with pytest.raises(BadInput, match="Known: none"):
            store.use_weights(1, profile="trusted")


def test_a_store_opened_for_reading_does_not_learn(taught):
    with MemoryStore.open(taught, read_only=True) as store:
        assert store.learn(dry_run=True).accepted
        for call in (store.learn, lambda: store.use_weights(None)):
            with pytest.raises(StoreUnwritable):
                call()


def test_what_users_do_is_learned_from_end_to_end(taught, sql):
    sql(taught, "DELETE FROM page")
    with MemoryStore.open(taught, settings={"log_pages": True}) as store:
        for number in range(60):
            result = store.query(f"{NAMES[number % 10]} house {number}", now=NOW)
            trusted = max(result.hits, key=lambda hit: (hit.memory.confidence, -hit.rank))
            page = {"page": result.page}
            store.confirm(trusted.memory.id, source=f"user {number % 4}", **page)
        report = store.learn(dry_run=True)
    values = {condition.name: condition.value for condition in report.conditions}
    assert report.pages == 60
    assert values["pairs"] >= 200
    assert values["queries"] == 60
    assert values["largest share of a source"] == pytest.approx(0.25)
    assert report.weights["trust"] > report.weights_before["trust"]
