"""Times to live of LangGraph's items: in minutes, from the last put or read on, until a sweep."""

from __future__ import annotations

import concurrent.futures
import time
from datetime import UTC, datetime, timedelta

import pytest
from langgraph.store.base import PutOp

from memstore import BadInput, MemoryStore, StoreLocked, StoreUnwritable
from memstore.integrations.langgraph import MemstoreStore

NS = ("a",)
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def items(store: MemoryStore) -> MemstoreStore:
    return MemstoreStore(store, ttl={"default_ttl": 60})


def memory(store, key):
    return store.get_by_key(key, namespace="langgraph/a")


def expire(store, key, at=PAST):
    """Have it expire at another time, without waiting."""
    found = memory(store, key)
    begins = {} if found.valid_from is None else {"valid_from": at}
    store.update(found.id, valid_to=at, **begins)


def lifetime(store, key):
    """The minutes it was given when it was put."""
    found = memory(store, key)
    return (found.valid_to - found.occurred_at) / timedelta(minutes=1)


def test_an_item_lives_as_long_as_it_is_given_else_as_configured(items, store):
    items.put(NS, "default", {"n": 1})
    items.put(NS, "own", {"n": 1}, ttl=5)
    items.put(NS, "for ever", {"n": 1}, ttl=None)
    items.put(NS, "short", {"n": 1}, ttl=0.5)
    assert [lifetime(store, key) for key in ("default", "own", "short")] == [60, 5, 0.5]
    assert memory(store, "for ever").valid_to is None


def test_without_a_configuration_a_put_may_give_a_time_all_the_same(store):
    items = MemstoreStore(store)
    items.put(NS, "none", {})
    items.put(NS, "own", {"n": 1}, ttl=5)
    expire(store, "own")
    assert items.sweep_ttl() == 1
    assert [item.key for item in items.search(NS)] == ["none"]


def test_putting_again_gives_a_new_time(items, store):
    items.put(NS, "k", {"n": 1}, ttl=5)
    items.put(NS, "k", {"n": 2}, ttl=50)
    assert lifetime(store, "k") == 50
    items.put(NS, "k", {"n": 3}, ttl=None)
    assert memory(store, "k").valid_to is None
    items.batch([PutOp(NS, "k", {"n": 4}, ttl=7)])
    assert lifetime(store, "k") == 7


@pytest.mark.parametrize("index", [None, False])
def test_reading_lets_an_item_live_as_long_again(items, store, index):
    soon = datetime.now(UTC) + timedelta(minutes=1)
    items.put(NS, "k", {"text": "tea"}, index=index, ttl=30)
    for read in (
        lambda: items.get(NS, "k"),
        lambda: items.search(NS),
        lambda: items.search(NS, filter={"text": "tea"}),
    ):
        expire(store, "k", soon)
        before = datetime.now(UTC)
        assert read()
        assert memory(store, "k").valid_to >= before + timedelta(minutes=30)
    assert len(items.search(NS, query="tea")) == (index is None)  # it is indexed as it was
    assert items.get(NS, "k").value == {"text": "tea"}


def test_a_query_lets_what_it_finds_live_as_long_again(items, store):
    items.put(NS, "k", {"text": "tea"})
    before = datetime.now(UTC)
    expire(store, "k", before + timedelta(minutes=1))
    assert items.search(NS, query="tea")
    assert memory(store, "k").valid_to >= before + timedelta(minutes=60)


@pytest.mark.parametrize("configured", [True, False])
def test_a_read_that_is_not_to_count_changes_nothing(store, configured):
    items = MemstoreStore(store, ttl={"default_ttl": 60, "refresh_on_read": configured})
    items.put(NS, "k", {"text": "tea"})
    soon = datetime.now(UTC).replace(microsecond=5) + timedelta(minutes=1)
    expire(store, "k", soon)
    refresh = False if configured else None  # None: as configured
    items.get(NS, "k", refresh_ttl=refresh)
    items.search(NS, refresh_ttl=refresh)
    items.search(NS, query="tea", refresh_ttl=refresh)
    assert memory(store, "k").valid_to == soon
    items.get(NS, "k", refresh_ttl=True)
    assert memory(store, "k").valid_to > soon


def test_what_somebody_put_meanwhile_is_not_given_its_old_time(items, store, monkeypatch):
    items.put(NS, "k", {"n": 1}, ttl=5)
    update = store.update

    def put_first(id_, **fields):
        monkeypatch.setattr(store, "update", update)
        items.put(NS, "k", {"n": 2}, ttl=None)
        return update(id_, **fields)

    monkeypatch.setattr(store, "update", put_first)
    assert items.get(NS, "k").value == {"n": 1}
    assert memory(store, "k").valid_to is None
    assert items.get(NS, "k").value == {"n": 2}


def test_a_sweep_removes_what_has_expired_and_nothing_else(items, store):
    for key in ("gone", "read", "kept", "unindexed", "long"):
        value = {"text": key, "page": "x" * 600_000} if key == "long" else {"text": key}
        items.put(NS, key, value, index=False if key in ("unindexed", "long") else None)
    items.put(NS, "for ever", {"text": "for ever"}, ttl=None)
    store.add("Of another door.", key="other", namespace="langgraph/a", valid_to=PAST)
    for key in ("gone", "read", "long"):
        expire(store, key)
    items.get(NS, "read")
    assert items.sweep_ttl() == 2
    assert items.sweep_ttl() == 0
    left = {item.key for item in items.search(NS, limit=20)}
    assert left == {"read", "kept", "unindexed", "for ever"}
    assert memory(store, "other").text == "Of another door."
    assert {space.name for space in store.namespaces()} == {"langgraph/a"}  # no parts


def test_what_has_expired_is_read_until_it_is_swept(items, store):
    items.put(NS, "k", {"text": "tea"})
    expire(store, "k")
    assert items.get(NS, "k", refresh_ttl=False).value == {"text": "tea"}
    assert [item.key for item in items.search(NS, refresh_ttl=False)] == ["k"]
    assert items.list_namespaces() == [NS]
    assert items.search(NS, query="tea") == []  # but a query does not find it


def test_what_has_expired_can_be_left_out_at_once(store):
    items = MemstoreStore(store, ttl={"default_ttl": 60, "omit_expired": True})
    for key in ("b", "gone", "c"):
        items.put(NS, key, {"text": "tea"}, index=False if key == "c" else None)
    items.put(("b",), "gone", {"text": "tea"})
    expire(store, "gone")
    store.update(store.get_by_key("gone", namespace="langgraph/b").id, valid_to=PAST)
    assert items.get(NS, "gone") is None
    assert [item.key for item in items.search((), limit=2)] == ["c", "b"]
    assert [item.key for item in items.search((), query="tea")] == ["b"]
    assert items.list_namespaces() == [NS]
    assert memory(store, "gone").valid_to == PAST  # no read has let it live on
    before = items.get(NS, "b").created_at
    items.put(NS, "gone", {"text": "new"})
    assert items.get(NS, "gone").created_at > before  # it was gone


def test_a_store_for_reading_is_read_if_reads_are_not_to_count(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        MemstoreStore(store).put(NS, "k", {"text": "tea"}, ttl=5)
    with MemoryStore.open(tmp_path / "agent.mem", read_only=True) as store:
        items = MemstoreStore(store, ttl={"refresh_on_read": False})
        assert items.get(NS, "k").value == {"text": "tea"}
        assert items.search(NS, query="tea")
        assert items.search(NS)
        with pytest.raises(StoreUnwritable, match="read_only"):
            items.get(NS, "k", refresh_ttl=True)


@pytest.mark.parametrize("ttl", [-1, float("nan"), "5", 10**12])
def test_a_time_that_is_none_is_refused(items, ttl):
    with pytest.raises(BadInput, match="ttl is"):
        items.put(NS, "k", {}, ttl=ttl)
    assert items.get(NS, "k") is None


def test_an_unknown_setting_is_refused(store):
    with pytest.raises(BadInput, match="Known: refresh_on_read"):
        MemstoreStore(store, ttl={"minutes": 5})


# the sweeper


def wait_until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not come about in ten seconds")


def test_a_sweeper_sweeps_until_it_is_stopped(items, store):
    future = items.start_ttl_sweeper(0.0002)
    assert items.start_ttl_sweeper(0.0002) is future  # one is enough
    items.put(NS, "k", {"n": 1}, ttl=0)
    wait_until(lambda: not store.list(namespace="langgraph").memories)
    assert items.stop_ttl_sweeper(timeout=10)
    assert future.result(timeout=10) is None
    items.put(NS, "k", {"n": 1}, ttl=0)
    assert memory(store, "k")
    again = items.start_ttl_sweeper(0.0002)
    wait_until(lambda: not store.list(namespace="langgraph").memories)
    again.cancel()
    assert items.stop_ttl_sweeper(timeout=10)


def test_a_sweeper_can_be_cancelled(items):
    future = items.start_ttl_sweeper(10)
    assert future.cancel()
    assert items.stop_ttl_sweeper(timeout=10)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


def test_without_times_to_live_nothing_is_swept(store):
    assert MemstoreStore(store).start_ttl_sweeper().result(timeout=1) is None
    assert MemstoreStore(store).stop_ttl_sweeper()


def test_a_sweeper_outlives_a_sweep_that_fails_and_ends_with_the_store(tmp_path, caplog):
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        items = MemstoreStore(store, ttl={"sweep_interval_minutes": 0.0002})
        failures = iter([StoreLocked("someone writes")])
        sweep = store.list

        def listed(**options):
            for failure in failures:
                raise failure
            return sweep(**options)

        items.put(NS, "k", {"n": 1}, ttl=0)
        store.list = listed
        future = items.start_ttl_sweeper()
        wait_until(lambda: not sweep(namespace="langgraph").memories)
        assert "someone writes" in caplog.text
    assert future.result(timeout=10) is None
    assert "not swept any more" in caplog.text
