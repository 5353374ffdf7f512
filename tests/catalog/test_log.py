"""The event log: in order, and able to say what was known when; settings beside it."""

from __future__ import annotations

import pytest

from memstore.catalog import log, memories
from memstore.times import from_microseconds, iso


def moment(value):
    return None if value is None else iso(from_microseconds(value))


def ended(connection, memory_id, *, now, before, after, verb="supersede"):
    change = [moment(before), moment(after)]
    log.append_event(connection, memory_id, verb, now=now, payload={"valid_to": change})


def test_history_is_in_the_order_in_which_things_happened(connection):
    crm = memories.source_id(connection, "crm")
    log.append_event(connection, "m1", "add", now=5, source_id=crm)
    log.append_event(connection, "m2", "add", now=6)
    log.append_event(connection, "m1", "supersede", now=7, at=3, payload={"by": "m2", "é": [1]})
    first, second = log.history(connection, "m1")
    assert (first.verb, first.source, first.details) == ("add", "crm", {})
    assert (second.verb, second.source, second.details) == (
        "supersede",
        None,
        {"by": "m2", "é": [1]},
    )
    assert first.id < second.id
    assert first.at == first.recorded_at == from_microseconds(5)
    assert (second.at, second.recorded_at) == (from_microseconds(3), from_microseconds(7))
    assert log.history(connection, "m3") == ()


def test_the_newest_event_and_what_changed_since_one(connection):
    assert log.last_event(connection) == 0
    first = log.append_event(connection, "m1", "add", now=1)
    for memory_id in ("m2", "m1", "m2"):
        last = log.append_event(connection, memory_id, "update", now=1)
    assert log.last_event(connection) == last
    assert log.changed_since(connection, first) == ["m2", "m1"]
    assert log.changed_since(connection, last) == []


def test_numbers_of_erased_events_are_never_given_out_again(connection):
    last = log.append_event(connection, "m1", "add", now=1)
    log.erase_events(connection, ["m1"])
    assert log.append_event(connection, "m2", "add", now=1) > last


def test_erased_memories_leave_no_event_but_that_of_their_purge(connection):
    for memory_id in ("m1", "m2", "m3"):
        log.append_event(connection, memory_id, "add", now=1)
    log.erase_events(connection, ["m1", "m2"])
    log.append_event(connection, "m1", "purge", now=2)
    assert [event.verb for event in log.history(connection, "m1")] == ["purge"]
    assert log.history(connection, "m2") == ()
    assert log.purged(connection, ["m1", "m2", "m3", "m4"]) == {"m1"}


@pytest.mark.parametrize(
    ("known_at", "expected"),
    [
        (9, {"open": None, "twice": None}),
        (10, {"twice": None}),  # what was recorded at that very moment was known
        (19, {"twice": None}),
        (20, {"twice": 50}),
        (30, {}),
    ],
)
def test_the_end_of_a_memory_is_the_one_known_at_a_moment(
    connection, add_memory, known_at, expected
):
    rows = {name: add_memory(connection, id=name) for name in ("open", "twice", "other")}
    ended(connection, "open", now=10, before=None, after=40)
    ended(connection, "twice", now=20, before=None, after=50, verb="update")
    ended(connection, "twice", now=30, before=50, after=45)
    log.append_event(connection, "other", "update", now=40, payload={"title": ["a", "b"]})
    log.append_event(connection, "other", "add", now=40)
    found = log.validity_changes(connection, known_at)
    assert found == {rows[name]: end for name, end in expected.items()}


def test_ends_written_by_any_verb_are_read_to_the_microsecond(connection, add_memory):
    row = add_memory(connection, id="m")
    end = 1_700_000_000_123_457
    log.append_event(
        connection, "m", "update", now=2, payload={"valid_to": [str(from_microseconds(end)), None]}
    )
    assert log.validity_changes(connection, 1) == {row: end}


@pytest.mark.parametrize("value", [None, 0, "é", {"a": [1, 2.5, None]}, "x' OR '1'='1"])
def test_a_setting_is_read_as_it_was_written_last(connection, value):
    assert log.read_setting(connection, "name") is None
    log.write_setting(connection, "name", "before")
    log.write_setting(connection, "name", value)
    assert log.read_setting(connection, "name") == value
    assert log.read_setting(connection, "other") is None
