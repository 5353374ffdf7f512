"""What lies where of `MemstoreStore` and `MemstoreSession`: parts, versions, sizes, other doors."""

from __future__ import annotations

import asyncio
import base64
import random
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from langgraph.store.base import PutOp

from memstore import BadInput, MemoryStore
from memstore.integrations import stored_json
from memstore.integrations.langgraph import MemstoreStore
from memstore.integrations.langgraph import store as door
from memstore.integrations.langgraph.reading import View
from memstore.integrations.openai_agents import MemstoreSession

ANA = ("users", "ana")
LONG = "x" * 600_000
ALL = {"recorded_at": {"exists": True}}


@pytest.fixture
def items(store: MemoryStore) -> MemstoreStore:
    return MemstoreStore(store)


def keys(found):
    return sorted(item.key for item in found)


def said(*items_):
    return [{"role": "user", "content": content} for content in items_]


def names(store):
    return [space.name for space in store.namespaces()]


# parts of long values


@pytest.mark.parametrize("key", ["item", "session"])
def test_a_purge_of_a_namespace_takes_the_parts_of_its_long_values(tmp_path, key):
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        if key == "item":
            MemstoreStore(store).put(ANA, "doc", {"doc": "Mnemosyne " * 60_000}, index=False)
            MemstoreStore(store).put(("users", "bo"), "doc", {"doc": LONG}, index=False)
        else:
            of_ana = MemstoreSession("c", store, namespace="langgraph/users/ana")
            of_bo = MemstoreSession("c", store, namespace="langgraph/users/bo")
            image = [{"type": "input_image", "image_url": "Mnemosyne" * 60_000}]
            asyncio.run(of_ana.add_items(said(image)))
            asyncio.run(of_bo.add_items(said([{"type": "input_image", "image_url": LONG}])))
        assert holds(tmp_path, b"Mnemosyne")
        assert store.forget(where=ALL, namespace="langgraph/users/ana", purge=True).purged
        assert names(store) == ["langgraph/users/bo", "langgraph/users/bo/%parts"]
    assert not holds(tmp_path, b"Mnemosyne")


def holds(folder, word):
    return any(word in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_parts_are_no_items(items, store):
    items.put(ANA, "page", {"page": LONG, "n": 1}, index=False)
    session = MemstoreSession("c", store, namespace="langgraph/users/ana")
    asyncio.run(session.add_items([*said("tea"), {"type": "image", "data": LONG}]))
    [part] = store.list(namespace="langgraph/users/ana/%parts", limit=1).memories
    found = items.search((), limit=50)
    assert [item.value.get("text") for item in found] == ["tea", None]  # the image holds at no time
    assert items.list_namespaces() == [ANA]
    assert len(items.search((), query="tea part of a value")) == 1
    assert items.get((*ANA, "%parts"), part.key) is None
    assert items.search((*ANA, "%parts")) == []
    assert items.search((), filter={"part": {"$ne": 0}, "n": 1})[0].key == "page"
    reasoning = store.list(namespace="langgraph/users/ana").memories[-1]
    assert items.get(ANA, reasoning.key) is None
    store.forget(store.get_by_key("page", namespace="langgraph/users/ana").id)
    store.forget(where={"text": "tea"}, namespace="langgraph/users/ana")
    assert items.list_namespaces() == []


def test_a_namespace_too_long_for_parts_is_refused_with_the_whole_batch(items):
    deep = ("n" * 500,)
    items.put(deep, "k", {"n": 1})
    with pytest.raises(BadInput, match="take a namespace of at most 505"):
        items.batch([PutOp(ANA, "k", {"n": 1}), PutOp(deep, "k", {"page": LONG})])
    assert items.get(ANA, "k") is None
    assert items.get(deep, "k").value == {"n": 1}


KILLED = """
import os, signal, sys
from memstore import MemoryStore
from memstore.integrations.langgraph import MemstoreStore

store = MemoryStore.open(sys.argv[1], encoder="hashed")
items = MemstoreStore(store)
items.put(("a",), "k", {"page": "x" * 600_000}, index=False)
store.update = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
items.put(("a",), "k", {"page": "y" * 600_000}, index=False)
"""


def test_what_a_kill_leaves_is_swept_after_an_hour(tmp_path, monkeypatch):
    path = tmp_path / "agent.mem"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    with MemoryStore.open(path) as store:
        items = MemstoreStore(store)
        session = MemstoreSession("c", store, namespace="langgraph/a")
        asyncio.run(session.add_items([{"image": LONG}]))
        assert parts(store) == 6
        assert items.sweep_ttl() == 0
        assert parts(store) == 6  # what is under way looks the same
        monkeypatch.setattr(door, "_now", lambda: datetime.now(UTC) + timedelta(hours=2))
        assert items.sweep_ttl() == 0
        assert parts(store) == 4  # the session's are its own
        assert items.get(("a",), "k").value == {"page": LONG}
        assert asyncio.run(session.get_items()) == [{"image": LONG}]


def parts(store):
    return len(store.list(namespace="langgraph/a/%parts").memories)


def test_parts_of_a_session_whose_item_was_forgotten_alone_go_when_one_is_cleared(
    store, monkeypatch
):
    one, other = (MemstoreSession(name, store, namespace="langgraph/a") for name in "ab")
    MemstoreStore(store).put(("a",), "k", {"page": LONG}, index=False)
    asyncio.run(one.add_items([{"image": LONG}]))
    asyncio.run(other.add_items([{"image": LONG}]))
    store.forget(where={"session": "a"}, namespace="langgraph/a")
    asyncio.run(one.clear_session())
    assert parts(store) == 6
    monkeypatch.setattr(stored_json, "_UNDER_WAY", timedelta(0))
    asyncio.run(one.clear_session())
    assert parts(store) == 4
    assert asyncio.run(other.get_items()) == [{"image": LONG}]


# many at once


def test_many_are_forgotten_in_transactions_that_let_others_write(store, monkeypatch):
    monkeypatch.setattr(stored_json, "_FORGOTTEN_AT_ONCE", 3)
    items, session = MemstoreStore(store), MemstoreSession("c", store)
    items.batch([PutOp(ANA, f"k{n}", {"n": n}, ttl=0) for n in range(8)])
    asyncio.run(session.add_items(said(*map(str, range(8)))))
    forget = store.forget
    forgotten = []

    def forget_some(*arguments, **options):
        report = forget(*arguments, **options)
        forgotten.append(len(report.ids))
        return report

    monkeypatch.setattr(store, "forget", forget_some)
    assert items.sweep_ttl() == 8
    assert max(forgotten) == 3
    forgotten.clear()
    asyncio.run(session.clear_session())
    assert (sum(forgotten), max(forgotten)) == (8, 3)
    assert names(store) == []


# who writes at the same time


def test_two_that_put_a_new_key_at_once_leave_one_memory(store, monkeypatch):
    one, other = MemstoreStore(store), MemstoreStore(store)
    find = View.find
    interrupted = []

    def find_and_be_interrupted(self, namespace, key):
        found = find(self, namespace, key)
        if not interrupted:
            interrupted.append(found)
            other.put(ANA, "k", {"by": "other", "page": LONG}, index=False)
        return found

    monkeypatch.setattr(View, "find", find_and_be_interrupted)
    one.put(ANA, "k", {"by": "one", "page": LONG}, index=False)
    assert interrupted == [None]
    assert one.get(ANA, "k").value["by"] == "one"
    spaces = {space.name: space.memories for space in store.namespaces()}
    assert spaces == {"langgraph/users/ana": 1, "langgraph/users/ana/%parts": 2}


def test_of_two_processes_that_put_new_keys_at_once_neither_leaves_a_version(tmp_path):
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as one, MemoryStore.open(path) as two:
        start = threading.Barrier(2)

        def put(items, who):
            start.wait()
            for number in range(25):
                items.put(("race",), f"k{number}", {"text": f"{who} {number}"})

        threads = [
            threading.Thread(target=put, args=(MemstoreStore(opened), who))
            for opened, who in ((one, "one"), (two, "two"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(MemstoreStore(one).search(("race",), limit=100)) == 25
        assert len(one.list(namespace="*").memories) == 25


@pytest.mark.parametrize(
    "own",
    [
        {"json": "[1]"},
        {"json": "no JSON"},
        {"json": 5},
        {"json": "{}", "created_at": "x"},
        {"json": "{}", "created_at": "2026-01-01"},
        {"json": "{}", "ttl": "1"},
        {"parts": [1]},
        {"json": "{}", "field": 1},
    ],
)
def test_metadata_that_another_door_has_made_up_break_no_search(items, store, own):
    items.put(("q",), "k", {"text": "tea"})
    sound = {"ttl": None, "created_at": "2026-01-01T00:00:00+00:00", "field": "f", "text": "t"}
    store.add("forged tea", namespace="langgraph/q", metadata={"langgraph": {**sound, **own}})
    assert {item.value.get("text") for item in items.search(())} == {"tea", "forged tea"}
    assert len(items.search(("q",), query="tea")) == 2
    assert len(items.search((), filter={"text": "tea"})) == 1


def test_a_cancelled_batch_writes_nothing_later(items, store, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    add_many = store.add_many

    def slowly(new):
        begun.set()
        go_on.wait(10)
        return add_many(new)

    monkeypatch.setattr(store, "add_many", slowly)

    async def put_and_cancel():
        task = asyncio.create_task(items.aput(ANA, "k", {"v": "old"}))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        return store.list(namespace="langgraph").memories

    assert len(asyncio.run(put_and_cancel())) == 1


def test_a_name_that_is_too_long_is_refused_before_anything_is_written(items):
    with pytest.raises(BadInput, match="limit is 1,024"):
        items.batch([PutOp(ANA, "k", {"n": 1}), PutOp(ANA, "k" * 2_000, None)])
    assert items.search(()) == []


# values of any size


@pytest.mark.parametrize(
    "value",
    [
        {f"field_{number}": "x" * 100 for number in range(12_000)},
        {f"f{number}": '"\\' * 60 for number in range(2_500)},
        {"n" * 600_000: 1, "m" * 600_000: "tea"},
        {"n" * 600_000: "tea"},
        {"nul\0": "tea"},
    ],
    ids=["fields", "quotes", "names", "name", "nul"],
)
def test_a_value_of_many_or_long_fields_is_kept_and_found_by_each(items, value):
    items.put(ANA, "k", value, index=["n" * 600_000, "nul\0"])
    items.put(ANA, "other", {"n": 1})
    assert items.get(ANA, "k").value == value
    for name in (next(iter(value)), next(reversed(value))):
        for wanted in (value[name], {"$eq": value[name]}):
            assert keys(items.search(ANA, filter={name: wanted})) == ["k"]
        assert keys(items.search(ANA, filter={name: {"$ne": value[name]}})) == ["other"]


def test_a_filter_of_any_number_of_conditions_is_answered(items):
    value = {f"n{number}": number + 1 for number in range(300)}
    items.put(ANA, "k", value)
    items.put(ANA, "other", {**value, "n299": 0})
    wanted = {name: {"$gt": 0, "$lt": 500, "$ne": 400, "$gte": 1} for name in value}
    assert keys(items.search(ANA, filter=wanted)) == ["k"]
    assert keys(items.search(ANA, filter=wanted, query="n1")) == ["k"]


def test_the_beginning_of_a_text_is_enough_and_data_are_no_text(items, store):
    data = base64.b64encode(random.Random(0).randbytes(30_000)).decode()
    items.put(ANA, "picture", {"name": "Rita", "data": data})
    items.put(ANA, "inline", {"text": f"A picture: data:image/png;base64,{data} of Rita."})
    items.put(ANA, "book", {"text": "word " * 10_000})
    items.put(ANA, "Chinese", {"text": "\u8336" * 1_500})
    items.put(ANA, "nothing else", {"data": data})
    asyncio.run(MemstoreSession("c", store).add_items(said("word " * 10_000, f"See {data}")))
    texts = {memory.key: memory.text for memory in store.list(namespace="langgraph").memories}
    assert texts["picture"] == "name: Rita\ndata:  "
    assert texts["inline"] == "A picture:   of Rita."
    assert len(texts["book"]) == 20_000
    assert texts["Chinese"] == "\u8336" * 1_500
    assert "nothing else" not in keys(items.search(ANA, query="an item that is not indexed"))
    assert [len(memory.text) for memory in store.list().memories] == [20_000, 5]
    assert items.get(ANA, "picture").value["data"] == data


def test_a_query_says_how_far_it_reaches(items):
    items.put(ANA, "k", {"text": "tea"})
    assert items.search(ANA, offset=10_000) == items.search(ANA, query="tea", offset=9_999) == []
    with pytest.raises(BadInput, match="the best 10,000 items alone"):
        items.search(ANA, query="tea", offset=10_000)


# other doors


@pytest.mark.parametrize("query", [None, "Ana tea coffee"])
def test_a_filter_goes_by_what_another_door_has_corrected(items, store, query):
    items.put(ANA, "k", {"memory": "Ana likes tea"})
    items.put(ANA, "other", {"memory": "Bo likes tea", "kind": "x"})
    items.put(ANA, "third", {"memory": "Ana likes tea", "kind": "x"}, index=["memory"])
    for key in ("k", "third"):
        memory = store.get_by_key(key, namespace="langgraph/users/ana")
        store.update(memory.id, text="Ana likes coffee")
    memory = store.get_by_key("third", namespace="langgraph/users/ana")
    store.update(memory.id, metadata={**memory.metadata, "kind": "y", "seen": True})

    def found(**options):
        return keys(items.search(ANA, query=query, **options))

    assert found(filter={"memory": "Ana likes tea"}) == []
    assert found(filter={"memory": "Ana likes coffee"}) == ["k", "third"]
    assert found(filter={"memory": {"$ne": "Ana likes coffee"}}) == ["other"]
    assert found(filter={"kind": "x"}) == ["other"]
    assert found(filter={"kind": "y", "seen": True}) == ["third"]
    # what the store's filter lets in, and does not match, takes no place of what does
    assert found(filter={"memory": "Bo likes tea"}, limit=1) == ["other"]
    value = {"memory": "Ana likes coffee", "kind": "y", "seen": True}
    assert items.get(ANA, "third").value == value


@pytest.mark.parametrize("query", [None, "fifty percent"])
def test_each_item_that_is_found_can_be_got_and_deleted(items, store, query):
    for place in ("50%", "50%25", "a/%", "%parts", "%61", "b%2Fc"):
        store.add(f"fifty percent of {place}", namespace=f"langgraph/{place}", key="k")
    found = items.search((), query=query, limit=2)
    assert sorted(item.namespace for item in found) == [("50%",), ("b/c",)]
    assert items.list_namespaces() == [("50%",), ("b/c",)]
    for item in found:
        assert items.get(item.namespace, item.key).value == item.value
        items.delete(item.namespace, item.key)
    assert items.search((), query=query) == []
    assert len(names(store)) == 4


def test_what_another_door_has_ended_or_retracted_is_no_item(items, store):
    for key in ("ended", "retracted"):
        items.put(ANA, key, {"text": "tea"})
    ids = {memory.key: memory.id for memory in store.list(namespace="langgraph").memories}
    store.update(ids["ended"], valid_to="2020-01-01T00:00:00Z")
    store.retract(ids["retracted"], reason="never said")
    assert items.search(ANA) == items.search(ANA, query="tea") == []
    for key in ("ended", "retracted"):
        assert items.get(ANA, key) is None
        items.put(ANA, key, {"text": "coffee"})
        assert items.get(ANA, key).value == {"text": "coffee"}
    assert len(items.search(ANA, query="coffee")) == 2
