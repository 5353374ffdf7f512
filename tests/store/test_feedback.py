"""What is said of a memory: one event, one component, and counters that the log can rebuild."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import BadInput, MemoryNotFound, MemoryStore, StoreUnwritable
from memstore.catalog import feedback
from memstore.catalog.engine import reading
from memstore.scoring.evidence import unpack_uses
from memstore.store import drafts

Sql = Callable[..., list[tuple[Any, ...]]]
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


def columns(store: MemoryStore, sql: Sql, id_: str) -> dict[str, Any]:
    names = (
        "alpha, beta, use_count, first_use_at, use_ring, importance, valid_to, expired_at, t_ref, "
        "superseded_by, text, prior"
    )
    (row,) = sql(store.path, f"SELECT {names} FROM memory WHERE id = ?", id_)
    return dict(zip(names.split(", "), row, strict=True))


VERBS: dict[str, tuple[Callable[[MemoryStore, str], Any], set[str]]] = {
    "reinforce": (
        lambda store, id_: store.reinforce(id_),
        {"use_count", "first_use_at", "use_ring"},
    ),
    "confirm": (lambda store, id_: store.confirm(id_, source="Ana"), {"alpha"}),
    "contradict": (lambda store, id_: store.contradict(id_, source="Ana"), {"beta"}),
    "set_importance": (lambda store, id_: store.set_importance(id_, 0.5), {"importance"}),
    "retract": (lambda store, id_: store.retract(id_, reason="a dream"), {"expired_at"}),
    "refresh": (
        lambda store, id_: store.confirm(id_, source="Ana", refresh=True),
        {"alpha", "t_ref"},
    ),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_feeds_its_component_and_nothing_else(
    store: MemoryStore, sql: Sql, verb: str
) -> None:
    memory = store.add("The meeting is on Tuesday.")
    other = store.add("The meeting is long.")
    before, bystander = columns(store, sql, memory.id), columns(store, sql, other.id)
    say, fed = VERBS[verb]
    say(store, memory.id)
    after = columns(store, sql, memory.id)
    assert {name for name in after if after[name] != before[name]} == fed
    assert columns(store, sql, other.id) == bystander
    assert store.verify().clean


@pytest.mark.parametrize(
    "verb", ["reinforce", "confirm", "contradict", "set_importance", "retract"]
)
def test_the_same_call_under_its_key_again_changes_nothing(
    store: MemoryStore, sql: Sql, verb: str
) -> None:
    memory = store.add("The meeting is on Tuesday.")
    arguments = {
        "reinforce": {},
        "confirm": {"source": "Ana"},
        "contradict": {"source": "Ana"},
        "set_importance": {"importance": 1.0},
        "retract": {"reason": "a dream"},
    }[verb]
    first = getattr(store, verb)(memory.id, idempotency_key="k", **arguments)
    said = columns(store, sql, memory.id), len(store.history(memory.id))
    assert getattr(store, verb)(memory.id, idempotency_key="k", **arguments) == first
    assert (columns(store, sql, memory.id), len(store.history(memory.id))) == said


def test_a_key_names_one_call(store: MemoryStore) -> None:
    memory, other = store.add("tea"), store.add("coffee")
    store.reinforce(memory.id, idempotency_key="k")
    with pytest.raises(BadInput, match="used before, to reinforce another memory"):
        store.reinforce(other.id, idempotency_key="k")
    with pytest.raises(BadInput, match="Give every call its own key"):
        store.confirm(memory.id, source="Ana", idempotency_key="k")


def test_a_source_has_one_vote_and_its_last_one_counts(store: MemoryStore) -> None:
    memory = store.add("tea")
    for _ in range(5):
        store.confirm(memory.id, source="Ana")
    assert store.get(memory.id).confidence == pytest.approx(20 / 3)
    assert store.contradict(memory.id, source="Ana").confidence == pytest.approx(10 / 3)
    store.confirm(memory.id, source="Ana")
    assert store.confirm(memory.id, source="Bruno").confidence == pytest.approx(7.5)


def test_the_interval_tells_no_evidence_from_much_of_both_kinds(store: MemoryStore) -> None:
    memory = store.add("tea")
    unknown = memory.confidence_interval
    assert unknown == pytest.approx((0.5, 9.5))
    for number in range(20):
        store.confirm(memory.id, source=f"a{number}")
        disputed = store.contradict(memory.id, source=f"b{number}")
    assert disputed.confidence == 5.0
    low, high = disputed.confidence_interval
    assert 3.5 < low < 4.0 < 6.0 < high < 6.5


def test_the_interval_of_a_certainty_is_a_point(store: MemoryStore) -> None:
    assert store.add("tea", confidence=0.0).confidence_interval == pytest.approx((0.0, 0.0))
    assert store.add("milk", confidence=10.0).confidence_interval == pytest.approx((10.0, 10.0))


def test_a_memory_begins_as_trusted_as_its_source_unless_its_writer_says_otherwise(
    store: MemoryStore,
) -> None:
    store.set_source("scraper", reliability=0.2)
    doubtful = store.add("tea", source="scraper")
    sure = store.add("coffee", source="scraper", confidence=9.0)
    assert (doubtful.confidence, sure.confidence) == (pytest.approx(2.0), pytest.approx(9.0))
    store.set_source("scraper", reliability=0.8)  # for what it has written already, too
    assert store.get(doubtful.id).confidence == pytest.approx(8.0)
    assert store.get(sure.id).confidence == pytest.approx(9.0)
    assert store.verify().clean


def test_a_source_that_is_found_out_takes_its_past_votes_back(store: MemoryStore) -> None:
    memory = store.add("tea")
    store.contradict(memory.id, source="bot")
    store.confirm(memory.id, source="Ana")
    assert store.set_source("bot", vote_weight=0.0).vote_weight == 0.0
    assert store.get(memory.id).confidence == pytest.approx(20 / 3)
    assert [source.name for source in store.sources()] == ["Ana", "bot"]
    assert store.verify().clean


def test_a_new_confidence_is_a_new_prior_and_the_votes_stay(store: MemoryStore) -> None:
    memory = store.add("tea")
    store.confirm(memory.id, source="Ana")
    assert store.update(memory.id, confidence=0.0).alpha == 1.0
    assert store.update(memory.id, confidence=None).confidence == pytest.approx(20 / 3)
    assert store.verify().clean


def test_supersession_ends_the_old_where_the_new_begins_and_both_stay_answerable(
    store: MemoryStore,
) -> None:
    old = store.add("Ana lives in Porto", occurred_at="2025-01-01T00:00:00Z")
    new = store.add("Ana lives in Lisbon", occurred_at="2026-01-01T00:00:00Z")
    assert store.supersede(old.id, new.id) == new
    ended = store.get(old.id)
    assert (ended.valid_to, ended.superseded_by) == (new.occurred_at, new.id)
    assert ended.confidence == old.confidence
    texts = [hit.memory.text for hit in store.query("Ana lives").hits]
    assert texts == ["Ana lives in Lisbon"]
    then = store.query("Ana lives", as_of="2025-06-01T00:00:00Z")
    assert [hit.memory.text for hit in then.hits] == ["Ana lives in Porto"]
    count = len(store.history(old.id))
    store.supersede(old.id, new.id)  # said again
    assert len(store.history(old.id)) == count


def test_a_text_supersedes_as_a_new_memory_of_the_same_place_key_and_kind(
    store: MemoryStore,
) -> None:
    old = store.add("Ana lives in Porto", namespace="team/ana", key="city", kind="fact")
    new = store.supersede(old.id, "Ana lives in Lisbon")
    assert (new.namespace, new.key, new.kind) == ("team/ana", "city", "fact")
    assert store.get(old.id).superseded_by == new.id
    assert store.get_by_key("city", namespace="team/ana") == new
    plain = store.add("tea")
    newer = store.supersede(plain.id, "coffee", at="2030-01-01T00:00:00Z", idempotency_key="k")
    assert store.get(plain.id).valid_to == datetime(2030, 1, 1, tzinfo=UTC)
    assert store.supersede(plain.id, "coffee", idempotency_key="k") == newer
    assert store.stats().memories == 4


def test_what_would_make_no_sense_is_refused_and_changes_nothing(
    store: MemoryStore, fingerprint: Callable[[Any], str]
) -> None:
    old = store.add("tea", occurred_at="2026-02-01T00:00:00Z")
    new = store.add("coffee", occurred_at="2026-03-01T00:00:00Z")
    early = store.add("water", occurred_at="2026-01-01T00:00:00Z")
    elsewhere = store.add("juice", namespace="other")
    before = fingerprint(store.path)
    for arguments, told in (
        ((old.id, old.id), "cannot supersede itself"),
        ((old.id, elsewhere.id), "superseded within its namespace"),
        ((old.id, early.id), "would end before that"),
        ((old.id, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), "There is no memory '01ARZ3NDEKTSV4RRFFQ69G5FAV'"),
        ((old.id, " "), "new is empty"),
    ):
        with pytest.raises(BadInput, match=told):
            store.supersede(*arguments)
    with pytest.raises(MemoryNotFound):
        store.supersede("nobody", new.id)
    for call in (
        lambda: store.confirm(old.id, source=" "),
        lambda: store.confirm(old.id, source="Ana", observed_at="2026-01-01T00:00:00Z"),
        lambda: store.reinforce(old.id, at="2999-01-01T00:00:00Z"),
        lambda: store.set_importance(old.id, 1.5),
        lambda: store.retract(old.id, reason=""),
        lambda: store.set_source("Ana"),
        lambda: store.set_source("Ana", reliability=2.0),
    ):
        with pytest.raises(BadInput):
            call()
    assert fingerprint(store.path) == before


@given(links=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
@settings(max_examples=20)
def test_p15_no_cycle_of_supersessions_can_be_made(fresh_store, links) -> None:
    with fresh_store() as store:
        ids = [store.add(f"word{n}", occurred_at="2026-01-01T00:00:00Z").id for n in range(6)]
        for old, new in links:
            with contextlib.suppress(BadInput):
                store.supersede(ids[old], ids[new])
        after = {id_: store.get(id_).superseded_by for id_ in ids}
    for start in ids:
        seen = set()
        here: str | None = start
        while here is not None:
            assert here not in seen
            seen.add(here)
            here = after[here]


def test_what_is_not_shown_names_the_end_of_its_chain(store: MemoryStore) -> None:
    memory = first = store.add("tea v0", occurred_at="2026-01-01T00:00:00Z")
    for number in range(1, 5):
        memory = store.supersede(memory.id, f"tea v{number}", at=f"2026-01-0{number + 1}T00:00:00Z")
    result = store.query("tea v0", explain=True, now="2026-02-01T00:00:00Z")
    hidden = next(item for item in result.suppressed if item.memory.id == first.id)
    assert hidden.current_id == memory.id
    assert f"by now {memory.id}" in hidden.reason


def test_a_retracted_memory_was_never_true_but_was_once_believed(store: MemoryStore) -> None:
    memory = store.add("The earth is flat", occurred_at="2020-01-01T00:00:00Z")
    before = datetime.now(UTC)
    taken = store.retract(memory.id, reason="it is not")
    assert taken.retracted_at is not None
    assert taken.retracted_at >= before
    assert store.query("earth flat").hits == ()
    assert store.query("earth flat", as_of="2021-01-01T00:00:00Z").hits == ()
    known = store.query("earth flat", known_at=before)
    assert [hit.memory.id for hit in known.hits] == [memory.id]
    assert store.list().memories == (taken,)
    assert store.history(memory.id)[-1].details == {"reason": "it is not"}
    assert store.retract(memory.id, reason="really not").retracted_at == taken.retracted_at
    again = store.add("The earth is flat", occurred_at="2020-01-01T00:00:00Z")
    assert again.id != memory.id
    assert store.query("earth flat").hits[0].memory.id == again.id


def test_uses_keep_the_first_and_the_most_recent(store: MemoryStore, sql: Sql) -> None:
    memory = store.add("tea")
    for day in range(12):
        store.reinforce(memory.id, at=LONG_AGO + timedelta(days=day))
    stored = columns(store, sql, memory.id)
    assert stored["use_count"] == 12
    ring = unpack_uses(stored["use_ring"])
    assert len(ring) == 8
    assert ring[-1] - stored["first_use_at"] == 11 * 86_400_000_000


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("confirm"), st.sampled_from("abc")),
        st.tuples(st.just("contradict"), st.sampled_from("abc")),
        st.tuples(st.just("reinforce"), st.integers(0, 3)),
        st.tuples(st.just("source"), st.sampled_from("abw"), st.floats(0, 1), st.floats(0, 1)),
        st.tuples(st.just("confidence"), st.one_of(st.none(), st.floats(0, 10))),
        st.tuples(st.just("importance"), st.floats(-1, 1)),
    ),
    max_size=12,
)


def _say(store: MemoryStore, id_: str, event: tuple[Any, ...]) -> None:
    verb, *arguments = event
    if verb in ("confirm", "contradict"):
        getattr(store, verb)(id_, source=arguments[0])
    elif verb == "reinforce":
        store.reinforce(id_, at=LONG_AGO + timedelta(minutes=7 * arguments[0]))
    elif verb == "source":
        store.set_source(arguments[0], reliability=arguments[1], vote_weight=arguments[2])
    elif verb == "confidence":
        store.update(id_, confidence=arguments[0])
    else:
        store.set_importance(id_, arguments[0])


@given(events=EVENTS)
@settings(max_examples=25)
def test_p14_the_log_replayed_makes_the_counters_and_repair_writes_them(
    fresh_store, sql: Sql, events
) -> None:
    with fresh_store() as store:
        id_ = store.add("tea", source="w").id
        for event in events:
            _say(store, id_, event)
        right = columns(store, sql, id_)
        assert store.verify().clean
        sql(store.path, "UPDATE memory SET alpha = 77, use_count = 5, use_ring = x'00'")
        report = store.verify()
        assert {finding.code for finding in report.findings} == {"checksum", "feedback"}
        assert not report.clean
        assert store.verify(repair=True).clean
        assert columns(store, sql, id_) == right


@given(before=EVENTS, after=EVENTS)
@settings(max_examples=25)
def test_p18_what_was_known_then_is_answered_alike_whatever_is_said_later(
    calibrated_fresh_store, before, after
) -> None:
    with calibrated_fresh_store() as store:
        memory = store.add("Ana drinks tea", source="w", occurred_at="2026-01-01T00:00:00Z")
        store.add("Bruno drinks coffee", occurred_at="2026-02-01T00:00:00Z")
        for event in before:
            _say(store, memory.id, event)
        pinned = datetime.now(UTC)

        def ask() -> Any:
            result = store.query(
                "what does Ana drink?",
                as_of="2026-06-01T00:00:00Z",
                known_at=pinned,
                now="2026-11-01T00:00:00Z",
                profile="trusted",
            )
            return [(hit.memory.id, hit.score) for hit in result.hits]

        answered = ask()
        assert len(answered) == 2
        for event in after:
            _say(store, memory.id, event)
        store.add("Ana drinks water", occurred_at="2026-03-01T00:00:00Z")
        store.supersede(memory.id, "Ana drinks milk", at="2026-04-01T00:00:00Z")
        store.retract(memory.id, reason="never")
        assert ask() == answered


def test_p13_asking_changes_no_row(store: MemoryStore, fingerprint: Callable[[Any], str]) -> None:
    memory = store.add("tea", key="k")
    store.reinforce(memory.id)
    before = fingerprint(store.path)
    for options in ({}, {"explain": True}, {"include_invalid": True}, {"newest_wins": True}):
        store.query("tea", **options)
    assert fingerprint(store.path) == before


def test_feedback_needs_a_memory_and_a_store_that_may_be_written(store: MemoryStore) -> None:
    memory = store.add("tea")
    for say, _ in VERBS.values():
        with pytest.raises(MemoryNotFound):
            say(store, "nobody")
    store.forget(memory.id)
    with pytest.raises(MemoryNotFound):
        store.reinforce(memory.id)
    with MemoryStore.open(store.path, read_only=True) as reader:
        with pytest.raises(StoreUnwritable):
            reader.reinforce(memory.id)
        with pytest.raises(StoreUnwritable):
            reader.set_source("Ana", reliability=1.0)


def test_feedback_survives_export_and_import(store: MemoryStore, tmp_path) -> None:
    memory = store.add("tea", source="w", kind="fact", occurred_at="March 2026")
    store.set_source("w", reliability=0.9)
    store.set_source("a", vote_weight=0.5)
    store.confirm(memory.id, source="a", idempotency_key="once", refresh=True)
    store.reinforce(memory.id, session="s")
    store.set_importance(memory.id, 0.25)
    told = store.get(memory.id)
    store.export(tmp_path / "out.jsonl")
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        other.import_(tmp_path / "out.jsonl")
        assert other.get(memory.id) == told
        # it knows the idempotency key too
        assert other.confirm(memory.id, source="a", idempotency_key="once") == told
        assert other.sources() == store.sources()
        assert other.verify().clean


def test_a_refused_supersession_stores_no_text(
    store: MemoryStore, fingerprint: Callable[[Any], str]
) -> None:
    store.add("Braga", key="c", occurred_at="2020-01-01T00:00:00Z")
    old = store.add("Porto", key="c", occurred_at="2025-01-01T00:00:00Z")
    plain = store.add("tea", occurred_at="2025-01-01T00:00:00Z")
    before = fingerprint(store.path)
    for id_ in (old.id, plain.id):
        with pytest.raises(BadInput, match="would end before that"):
            store.supersede(id_, "Lisbon", at="2024-01-01T00:00:00Z")
    assert fingerprint(store.path) == before


def test_a_repeated_supersession_by_a_text_brings_nothing_back(store: MemoryStore) -> None:
    old = store.add("Ana lives in Porto", key="c")
    lisbon = store.supersede(old.id, "Ana lives in Lisbon", idempotency_key="k")
    rome = store.add("Ana lives in Rome", key="c")
    assert store.supersede(old.id, "Ana lives in Lisbon", idempotency_key="k").id == lisbon.id
    assert store.get_by_key("c") == rome
    with pytest.raises(BadInput, match="superseded by"):
        store.supersede(old.id, "Ana lives in Oslo")
    with pytest.raises(BadInput, match="Give every call its own key"):
        store.supersede(old.id, rome.id, idempotency_key="k")


def test_a_call_that_changes_nothing_still_takes_its_key(store: MemoryStore) -> None:
    memory, other = store.add("tea"), store.add("coffee")
    store.set_importance(memory.id, 0.0, idempotency_key="k")
    store.set_importance(memory.id, 1.0)
    assert store.set_importance(memory.id, 0.0, idempotency_key="k").importance == 1.0
    store.retract(memory.id, reason="x")
    store.retract(memory.id, reason="x", idempotency_key="j")
    with pytest.raises(BadInput, match="own key"):
        store.retract(other.id, reason="x", idempotency_key="j")
    store.confirm(other.id, source="Ana", idempotency_key="v")
    with pytest.raises(BadInput, match="of 'Ana'"):
        store.confirm(other.id, source="Bruno", idempotency_key="v")
    assert store.verify().clean


def test_a_correction_of_when_it_ended_is_heard(store: MemoryStore) -> None:
    old = store.add("tea", occurred_at="2020-01-01T00:00:00Z")
    new = store.add("coffee", occurred_at="2021-01-01T00:00:00Z")
    store.supersede(old.id, new.id, at="2022-01-01T00:00:00Z")
    store.supersede(old.id, new.id, at="2023-01-01T00:00:00Z")
    assert store.get(old.id).valid_to == datetime(2023, 1, 1, tzinfo=UTC)
    store.retract(new.id, reason="no")
    with pytest.raises(BadInput, match="was retracted"):
        store.supersede(store.add("milk").id, new.id)


def test_names_of_retracted_memories_count_no_more_and_as_little_as_at_a_known_time(
    store: MemoryStore,
) -> None:
    ids = [store.add(f"Wibble number {n}", entities=["Wibble"]).id for n in range(3)]
    store.retract(ids[0], reason="no")
    (wibble,) = store.entities()
    assert wibble.memories == 2
    assert store.verify().clean
    store.update(ids[0], entities=["Wibble", "Wobble"])
    assert [entity.memories for entity in store.entities()] == [2]
    store.forget(ids[0])
    assert [entity.memories for entity in store.entities()] == [2]
    assert store.verify().clean


def test_what_holds_instead_is_there_and_was_not_retracted(store: MemoryStore) -> None:
    store.add("Ana likes tea", key="t", occurred_at="2020-01-01T00:00:00Z")
    new = store.add("Ana likes coffee", key="t", occurred_at="2021-01-01T00:00:00Z")

    def hidden() -> Any:
        return store.query("Ana likes tea", explain=True).suppressed[0]

    assert hidden().current_id == new.id
    store.retract(new.id, reason="wrong")
    assert hidden().current_id is None
    store.forget(new.id, purge=True)
    assert hidden().current_id is None
    assert hidden().reason == "held until 2021-01-01T00:00:00Z"


def test_a_late_version_of_a_key_makes_no_cycle_with_links_that_were_said(
    store: MemoryStore,
) -> None:
    aside = store.add("X", occurred_at="2020-01-01T00:00:00Z")
    first = store.add("one", key="k", occurred_at="2020-01-01T00:00:00Z")
    third = store.add("three", key="k", occurred_at="2022-01-01T00:00:00Z")
    store.supersede(first.id, aside.id)
    store.supersede(third.id, first.id, at="2023-01-01T00:00:00Z")
    store.add("two", key="k", occurred_at="2021-01-01T00:00:00Z")
    here: str | None = third.id
    seen = []
    while here is not None:
        assert here not in seen
        seen.append(here)
        here = store.get(here).superseded_by


def test_a_purge_takes_the_names_of_those_who_spoke_of_it_and_no_others(
    store: MemoryStore,
) -> None:
    memory = store.add("hush", source="Secretwriter")
    store.set_source("Secretwriter", reliability=0.9)
    store.confirm(memory.id, source="Secretvoter")
    store.set_source("Secretvoter", vote_weight=0.3)
    store.set_source("upcoming", reliability=0.7)
    store.alias("Bob", of="Robert", namespace="team")
    store.forget(memory.id, purge=True)
    assert [source.name for source in store.sources()] == ["upcoming"]
    path = store.path
    store.close()
    written = (path / "memstore.db").read_bytes()
    assert b"Secretwriter" not in written
    assert b"Secretvoter" not in written
    with MemoryStore.open(path) as again:
        again.add("Bob cooks.", namespace="team", entities=["Bob"])
        assert len(again.list(namespace="team", where={"entity": "Robert"}).memories) == 1


def test_an_import_keeps_when_a_source_was_believed_how_far_and_yields_to_aliases_there(
    store: MemoryStore, tmp_path
) -> None:
    store.add("Robert and Bob", entities=["Robert", "Bob"], source="w")
    store.alias("Bob", of="Robert")
    store.set_source("w", reliability=0.9)
    between = datetime.now(UTC)
    store.set_source("w", reliability=0.2)
    store.export(tmp_path / "out.jsonl")
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        other.alias("Robert", of="Bob")
        assert other.import_(tmp_path / "out.jsonl").added == 1
        with reading(other._opened.engine, other.path) as connection:
            (then,) = feedback.reliabilities(
                connection, until=drafts.check_time(between, "between")
            ).values()
            (now,) = feedback.reliabilities(connection).values()
        assert (then.prior, now.prior) == (0.9, 0.2)
        assert other.verify().clean


@pytest.mark.parametrize(
    "event",
    [
        {"verb": "confirm", "source": None},
        {"verb": "update", "details": {"importance": 0.3}},
        {"verb": "update", "details": {"valid_to": [5, None]}},
    ],
)
def test_an_event_that_could_not_be_replayed_is_refused(
    store: MemoryStore, tmp_path, event: dict[str, Any], reseal: Callable[[Path], None]
) -> None:
    store.add("tea")
    path = tmp_path / "out.jsonl"
    store.export(path)
    header, line, _ = path.read_text().splitlines()
    item = json.loads(line)
    item["events"].append({**item["events"][0], **event})
    path.write_text(f"{header}\n{json.dumps(item)}\n")
    reseal(path)
    with (
        MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other,
        pytest.raises(BadInput, match=r"out\.jsonl:2"),
    ):
        other.import_(path)


def test_a_use_after_the_present_that_is_asked_for_is_no_use_yet(
    calibrated_fresh_store,
) -> None:
    with calibrated_fresh_store() as store:
        memory = store.add("Ana drinks tea", occurred_at="2020-01-01T00:00:00Z")
        asked = {"now": "2021-01-01T00:00:00Z"}
        before = store.query("what does Ana drink?", **asked).hits[0].score
        store.reinforce(memory.id)
        assert store.query("what does Ana drink?", **asked).hits[0].score == before
        assert store.query("what does Ana drink?").hits[0].score > before - 1.0
