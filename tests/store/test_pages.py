"""What a query showed is logged only where that was asked for, and never costs an answer."""

from __future__ import annotations

import json
import sqlite3

import pytest

from memstore import MemoryStore
from memstore.errors import BadInput

TEXTS = ["Ana lives in Lisbon.", "Bruno plays chess.", "Carla bought a boat.", "It rains today."]
NOW = "2100-05-01T12:00:00Z"


@pytest.fixture
def calibrated(store_path, sql, stamp):
    """A store with a calibration, as anyone could have fitted it."""
    with MemoryStore.open(store_path) as store:
        store.add_many(TEXTS)
        calibrate(store, sql, stamp)
    return store_path


def calibrate(store, sql, stamp):
    from memstore.store.scorers import encoder_key

    parameters = {"bias": -1.0, "slope": 10.0, "slope_ln_tokens": 0.0, "slope_ln_memories": -1.0}
    sql(
        store.path,
        "INSERT INTO calibration VALUES (?, 'maxsim', ?, '{}', 0, NULL)",
        encoder_key(store._opened.identity),
        json.dumps(parameters),
    )
    stamp(store.path, "calibration")


def logging_store(path, **options):
    return MemoryStore.open(path, settings={"log_pages": True}, **options)


def test_nothing_is_logged_unless_it_was_asked_for(calibrated, fingerprint):
    before = fingerprint(calibrated)
    with MemoryStore.open(calibrated) as store:
        assert store.query("Ana").page is None
    assert fingerprint(calibrated) == before


def test_a_page_holds_what_was_found_of_each_hit_and_no_text(calibrated, sql):
    with logging_store(calibrated) as store:
        result = store.query("where does Ana live?", now=NOW, explain=True)
    ((id_, query_hash, session, _, profile, hits, _),) = sql(calibrated, "SELECT * FROM page")
    assert (id_, session, profile) == (result.page, None, "balanced@v1")
    assert len(query_hash) == 64
    content = json.loads(hits)
    assert content["currency"] is None
    assert [hit["id"] for hit in content["hits"]] == [hit.memory.id for hit in result.hits]
    assert [hit["rank"] for hit in content["hits"]] == [1, 2, 3, 4]
    for logged, hit in zip(content["hits"], result.hits, strict=True):
        assert logged["semantic"] == hit.relevance.nats
        found = {part.name: part.value for part in hit.parts if part.weight is not None}
        assert {name: value for name, value in logged["values"].items() if value} == found
    assert "Ana" not in hits


def test_only_the_pages_table_changes(calibrated, sql):
    tables = [
        name
        for (name,) in sql(calibrated, "SELECT name FROM sqlite_master WHERE type = 'table'")
        if name != "page"
    ]
    before = [sql(calibrated, f'SELECT * FROM "{name}"') for name in tables]
    with logging_store(calibrated) as store:
        store.query_many(["Ana", "chess"])
    assert [sql(calibrated, f'SELECT * FROM "{name}"') for name in tables] == before
    assert sql(calibrated, "SELECT count(*) FROM page") == [(2,)]


def test_results_are_the_same_with_and_without_a_log(calibrated):
    with MemoryStore.open(calibrated) as store, logging_store(calibrated) as other:
        plain, logged = store.query("Ana", now=NOW), other.query("Ana", now=NOW)
    assert plain.hits == logged.hits
    assert plain.flags == logged.flags


def test_words_of_time_are_noted_because_no_learned_weight_counts_there(calibrated, sql):
    with logging_store(calibrated) as store:
        store.query("where does Ana live now?", now=NOW)
    ((hits,),) = sql(calibrated, "SELECT hits FROM page")
    assert json.loads(hits)["currency"] == 1.0


def test_scores_that_are_no_log_odds_are_logged_as_unknown(store_path, sql):
    with logging_store(store_path) as store:
        store.add_many(TEXTS)
        result = store.query("Ana")
    ((profile, hits),) = sql(store_path, "SELECT profile, hits FROM page")
    assert result.page is not None
    assert profile == "semantic@v1"
    assert {hit["semantic"] for hit in json.loads(hits)["hits"]} == {None}


def test_a_store_opened_for_reading_answers_and_says_that_it_logged_nothing(calibrated, sql):
    with logging_store(calibrated, read_only=True) as store:
        result = store.query("Ana")
    assert result.hits
    assert result.page is None
    assert "page_not_logged" in result.flags
    assert sql(calibrated, "SELECT count(*) FROM page") == [(0,)]


def test_a_locked_store_answers_at_once_and_says_that_it_logged_nothing(calibrated, sql):
    with logging_store(calibrated) as store:
        store.query("Ana")
        writer = sqlite3.connect(calibrated / "memstore.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        result = store.query("Ana")
        writer.execute("ROLLBACK")
        writer.close()
        assert result.hits
        assert "page_not_logged" in result.flags
        assert store.query("Ana").page is not None
        store.add("Later writes wait as long as ever.")
    assert sql(calibrated, "SELECT count(*) FROM page") == [(2,)]


def test_feedback_names_its_page(calibrated):
    with logging_store(calibrated) as store:
        result = store.query("Ana")
        hit = result.hits[0].memory.id
        store.reinforce(hit, page=result.page)
        store.confirm(hit, source="ana", page=result.page)
        details = [event.details for event in store.history(hit)[1:]]
    assert [item["page"] for item in details] == [result.page, result.page]


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_the_setting_is_true_or_false(store_path, wrong):
    with pytest.raises(BadInput, match="log_pages"):
        MemoryStore.open(store_path, settings={"log_pages": wrong})
