"""Old and new versions of a fact: reading which are which, what is counted, and links."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from memstore import BadInput, MemoryStore
from memstore.evaluation import Arm, Pair, Question, compare, ingest_corpus, read_dataset
from memstore.evaluation.comparison import Answer, Found
from memstore.evaluation.linking import link
from memstore.evaluation.supersession import observe_pairs
from memstore.evaluation.temporary_store import temporary_copy

REFEREE = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_run.py"
ARM = Arm("none", "semantic")


def answer(*keys: str | None) -> Answer:
    hits = tuple(Found(rank, key, str(rank), 0.0) for rank, key in enumerate(keys, start=1))
    return Answer(hits, {}, 0.0)


def seen(pair: Pair, *keys: str | None) -> dict[str, float]:
    question = Question(id="q", text="Who?", relevant={"new": 1})
    found = observe_pairs([pair], ARM, [question], [answer(*keys)])
    return {name: one.values.tolist()[0] for name, one in found.items()}


def test_pairs_are_read_with_spaces_or_commas_between_keys(moves):
    text = "query-id\told-ids\tnew-ids\nq.Ana\ta b,c\td\n\nq.Hugo\te\tf g\r\n"
    (moves / "supersession.tsv").write_text(text)
    assert read_dataset(moves).pairs == (
        Pair("q.Ana", ("a", "b", "c"), ("d",)),
        Pair("q.Hugo", ("e",), ("f", "g")),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("q.Ana\ta", "2 fields; a line has"),
        ("q.Nobody\ta\tb", "no query has the id 'q.Nobody'"),
        ("q.Ana\t \tb", "there are no old memories"),
    ],
)
def test_a_line_that_holds_no_pair_is_named(moves, line, said):
    (moves / "supersession.tsv").write_text(f"query-id\told-ids\tnew-ids\n{line}\n")
    with pytest.raises(BadInput, match=rf"supersession.tsv:2: {said}"):
        read_dataset(moves)


def test_what_is_counted_of_a_pair():
    pair = Pair("q", ("old", "older"), ("new",))
    assert seen(pair, "new", "old") == {
        "new above old": 1.0,
        "stale@1": 0.0,
        "fresh@1": 1.0,
        "stale in 5": 1.0,
    }
    assert seen(pair, "older", "new")["stale@1"] == 1.0
    assert seen(pair, None, "x", "y", "z", None, "old", "new")["stale in 5"] == 0.0
    assert seen(pair, "x", "old", "old", "new", "older")["new above old"] == 0.0


def test_what_was_not_found_is_behind_everything():
    pair = Pair("q", ("old",), ("new",))
    assert seen(pair, "x", "new")["new above old"] == 1.0
    assert seen(pair, "x", "old")["new above old"] == 0.0
    assert seen(pair, "x") == dict.fromkeys(
        ["new above old", "stale@1", "fresh@1", "stale in 5"], 0
    )
    assert set(seen(pair).values()) == {0.0}


def test_pairs_of_questions_that_are_not_asked_do_not_count():
    question = Question(id="q", text="Who?", relevant={"new": 1})
    pairs = [Pair("other", ("old",), ("new",)), Pair("q", ("old",), ("new",))]
    found = observe_pairs(pairs, ARM, [question], [answer("new")])
    assert found["new above old"].values.tolist() == [1.0]
    assert observe_pairs(pairs[:1], ARM, [question], [answer("new")]) == {}


@pytest.mark.skipif(not REFEREE.exists(), reason=f"{REFEREE} is not there")
def test_the_referee_counts_the_same(command, moves, tmp_path):
    options = ("--encoder", "hashed", "--profile", "semantic", "--output", "out")
    done = command("eval", moves, *options)
    assert done.returncode == 0, done.stderr
    (arm,) = json.loads((tmp_path / "out" / "summary.json").read_text())["arms"]
    run = [sys.executable, REFEREE, moves, tmp_path / "out" / arm["run"], "--json"]
    refereed = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    assert refereed["supersession"] == {
        "pairs": 8,
        "new_above_old": round(arm["further"]["new above old"], 4),
    }


def test_a_linked_store_hides_what_was_replaced_and_its_original_does_not(store, moves):
    dataset = read_dataset(moves)
    ingest_corpus(store, dataset)
    with temporary_copy(store) as copy:
        assert link(copy, dataset.pairs, dataset.questions, namespace="default") == 8
        observe = [partial(observe_pairs, dataset.pairs)]
        (linked,) = compare(copy, dataset.questions, [ARM], observe=observe).measured
    (bare,) = compare(store, dataset.questions, [ARM], observe=observe).measured
    assert linked.further["new above old"].values.mean() == 1.0
    assert linked.further["stale in 5"].values.mean() == 0.0
    assert bare.further["stale in 5"].values.mean() == 1.0


def test_a_link_is_what_the_same_key_would_have_made(store, moves, tmp_path):
    dataset = read_dataset(moves)
    ingest_corpus(store, dataset)
    link(store, dataset.pairs, dataset.questions, namespace="default")
    lines = [json.loads(line) for line in (moves / "corpus.jsonl").read_text().splitlines()]
    with MemoryStore.open(tmp_path / "keyed.mem", encoder="hashed") as keyed:
        for line in lines:
            keyed.ingest([{**line, "id": line["session"]}])
        for question in dataset.questions:
            for now in (datetime(2025, 6, 1, tzinfo=UTC), question.now):
                one, other = (
                    [
                        (hit.memory.text, hit.memory.valid_to, hit.score)
                        for hit in asked.query(
                            question.text, namespace=question.namespace, now=now, limit=20
                        ).hits
                    ]
                    for asked in (store, keyed)
                )
                assert one == other


def test_a_memory_is_not_ended_before_it_begins(store):
    store.add("The plan costs 10 euros.", key="old", occurred_at="2026-01-01T00:00:00Z")
    store.add("The plan costs 14 euros.", key="new", occurred_at="2025-01-01T00:00:00Z")
    store.add("The plan costs 16 euros.", key="last", occurred_at="2026-02-01T00:00:00Z")
    question = Question(id="q", text="What does it cost?", relevant={"new": 1})
    backwards = Pair("q", ("old",), ("new", "nobody"))
    assert link(store, [backwards], [question], namespace="default") == 0
    onwards = Pair("q", ("old",), ("new", "last"))
    assert link(store, [onwards], [question], namespace="default") == 1
    assert store.get_by_key("old").superseded_by == store.get_by_key("last").id


def test_a_memory_of_an_unknown_time_is_not_linked(store):
    store.add("The plan costs 10 euros.", key="old", occurred_at="unknown")
    store.add("The plan costs 14 euros.", key="new", occurred_at="2026-02-01T00:00:00Z")
    question = Question(id="q", text="What does it cost?", relevant={"new": 1})
    for pair in (Pair("q", ("old",), ("new",)), Pair("q", ("new",), ("old",))):
        assert link(store, [pair], [question], namespace="default") == 0
