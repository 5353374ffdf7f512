"""`MemstoreStore` as LangGraph calls it: values, names, order, filters, search, other doors."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from memstore import BadInput, MemoryStore
from memstore.integrations.langgraph import MemstoreStore
from memstore.integrations.langgraph.reading import View
from memstore.integrations.stored_json import PartsGone

ANA = ("users", "ana")


@pytest.fixture
def items(store: MemoryStore) -> MemstoreStore:
    return MemstoreStore(store)


@pytest.fixture
def meaning(tmp_path):
    """A store whose encoder knows what words mean."""
    with MemoryStore.open(tmp_path / "meaning.mem") as memories:
        yield MemstoreStore(memories)


def keys(found):
    return [item.key for item in found]


# values


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"text": "Ana prefers tea."},
        {"z": 1, "a": {"y": [1, 2.5, [None, {}, []]], "b": True}, "m": None},
        {"float": 0.1 + 0.2, "big": 10**40, "small": 5e-324, "minus": -0.0},
        {"": "", "a.b": "c", 'quo"te': "\\", "langgraph": {"json": "x"}, "text": 5},
        {"emoji": "🦊 日本語 é", "line": "a\nb\tc\u2028d"},
        {"nul": "a\0b", "half": "\ud83d", "nul\0name": 1},
        {"deep": json.loads("[" * 90 + "]" * 90)},
        {"long": "x y" * 1_000_000},
        {str(number): number for number in range(5_000)},
    ],
    ids=lambda value: ",".join(value)[:20] or "empty",
)
def test_a_value_comes_back_as_it_was_put(items, value):
    items.put(ANA, "key", value, index=False)
    got = items.get(ANA, "key").value
    assert got == value
    assert json.dumps(got) == json.dumps(value)  # true is not 1, and names keep their order
    assert items.search(ANA)[0].value == value


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"when": object()}, "cannot be written as JSON"),
        ({"nan": float("nan")}, "cannot be written as JSON"),
        ({1: "one"}, "has the name 1"),
        ({"a": [{"b": {2: "two"}}]}, "has the name 2"),
        ("text", "give a mapping"),
        ({"deep": json.loads("[" * 200 + "]" * 200)}, "nested more than"),
    ],
)
def test_what_is_no_json_is_refused_with_all_of_its_batch(items, value, complaint):
    ops = [PutOp(ANA, "good", {"a": 1}), PutOp(ANA, "bad", value)]
    with pytest.raises(BadInput, match=complaint):
        items.batch(ops)
    assert items.search(()) == []


def test_a_value_that_contains_itself_is_refused(items):
    value: dict[str, object] = {}
    value["self"] = value
    with pytest.raises(BadInput, match="nested more than"):
        items.put(ANA, "key", value)


def test_putting_again_changes_the_item_and_keeps_when_it_was_created(items, store):
    items.put(ANA, "drink", {"text": "green tea"})
    first = items.get(ANA, "drink")
    [before] = store.list(namespace="langgraph").memories
    items.put(ANA, "drink", {"text": "black coffee"})
    again = items.get(ANA, "drink")
    [memory] = store.list(namespace="langgraph").memories
    assert again.value == {"text": "black coffee"}
    assert (again.created_at, memory.id) == (first.created_at, before.id)
    assert first.created_at == first.updated_at < again.updated_at
    assert [event.verb for event in store.history(memory.id)] == ["add", "update"]


def test_no_search_returns_what_was_overwritten(items):
    items.put(ANA, "drink", {"text": "green tea"})
    items.put(ANA, "drink", {"text": "black coffee"})
    for found in (items.search(ANA, query="green tea"), items.search(ANA)):
        assert [item.value for item in found] == [{"text": "black coffee"}]
    assert items.search(ANA, filter={"text": "green tea"}) == []


def test_a_deleted_item_is_gone_and_may_be_put_anew(items, store):
    items.put(ANA, "drink", {"text": "tea"})
    first = items.get(ANA, "drink")
    items.delete(ANA, "drink")
    items.delete(ANA, "drink")  # again is no error
    assert items.get(ANA, "drink") is None
    assert items.search((), query="tea") == items.search(()) == items.list_namespaces() == []
    items.put(ANA, "drink", {"text": "tea"})
    assert items.get(ANA, "drink").created_at > first.created_at


def test_a_value_too_long_for_one_memory_takes_its_parts_along(items, store):
    long = {"text": "tea", "page": "x" * 3_000_000}
    items.put(ANA, "page", long, index=["text"])
    assert items.search((), query="tea")[0].value == long
    assert items.list_namespaces() == [ANA]
    [parts] = [space for space in store.namespaces() if space.name == "langgraph/users/ana/%parts"]
    assert parts.memories == 7
    items.put(ANA, "page", {**long, "page": "y" * 600_000}, index=["text"])
    assert (
        store.list(namespace="langgraph/users/ana/%parts")
        .memories[0]
        .metadata["part"]
        .endswith("y")
    )
    items.delete(ANA, "page")
    assert store.namespaces() == ()


def test_a_long_value_is_read_whole_while_others_put_it(items):
    values = [{"page": letter * 900_000} for letter in "ab"]
    items.put(ANA, "page", values[0], index=False)
    done = threading.Event()

    def put():
        for number in range(12):
            items.put(ANA, "page", values[number % 2], index=False)
        done.set()

    writer = threading.Thread(target=put)
    writer.start()
    while not done.is_set():
        assert items.get(ANA, "page").value in values
        assert items.search(ANA)[0].value in values
    writer.join()


def test_a_part_that_is_gone_is_said_and_not_waited_for(items, store):
    items.put(ANA, "page", {"page": "x" * 900_000}, index=False)
    store.forget(store.list(namespace="langgraph/users/ana/%parts").memories[0].id)
    with pytest.raises(PartsGone, match="A part of a stored value is gone"):
        items.get(ANA, "page")


# names


LABELS = ["a", "a/b", "*", "%", "%2F", "%u2F", " ", "\n", "ä", "\ud800", "langgraph", "a\\", "-"]
KEYS = ["k", "", " ", "\t", "%", "\0", "\ud800", "langgraph:", "langgraph:%", "a/b*", "..", "é"]


def test_no_two_names_become_one(items, store):
    for number, label in enumerate(LABELS):
        items.put(("x", label), "k", {"number": number}, index=False)
    for number, key in enumerate(KEYS):
        items.put(("y",), key, {"number": number}, index=False)
    for number, label in enumerate(LABELS):
        assert items.get(("x", label), "k").value == {"number": number}
        [item] = items.search(("x", label))
        assert item.namespace == ("x", label)
    for number, key in enumerate(KEYS):
        assert items.get(("y",), key).value == {"number": number}
    assert set(keys(items.search(("y",), limit=50))) == set(KEYS)
    assert set(items.list_namespaces(prefix=("x",))) == {("x", label) for label in LABELS}


def test_names_too_long_are_refused_with_what_to_do(items):
    with pytest.raises(BadInput, match="limit is 1,024"):
        items.put(ANA, "k" * 2_000, {})
    with pytest.raises(BadInput, match="limit is 512"):
        items.put(("n" * 600,), "k", {})


def test_a_prefix_is_of_labels_and_not_of_letters(items):
    for namespace in [("a",), ("a", "b"), ("ab",), ("A",)]:
        items.put(namespace, "k", {})
    assert {item.namespace for item in items.search(("a",))} == {("a",), ("a", "b")}


def test_two_roots_do_not_see_each_other(store):
    one, other = MemstoreStore(store, root="one"), MemstoreStore(store, root="one/two")
    one.put(("a",), "k", {"of": "one"})
    other.put(("a",), "k", {"of": "other"})
    assert other.get(("a",), "k").value == {"of": "other"}
    assert other.list_namespaces() == [("a",)]
    assert one.get(("two", "a"), "k").value == {"of": "other"}  # it lies below


@pytest.mark.parametrize("root", ["", "*", "a/*", None])
def test_a_root_that_is_no_namespace_is_refused(store, root):
    with pytest.raises(BadInput, match="root is"):
        MemstoreStore(store, root=root)


def test_namespaces_are_found_by_their_beginning_and_end(items):
    for namespace in [("a", "x", "v1"), ("a", "y", "v1"), ("a", "y", "v2", "w"), ("b", "v1")]:
        items.put(namespace, "k", {}, index=False)
    assert items.list_namespaces(prefix=("a", "*", "v1")) == [("a", "x", "v1"), ("a", "y", "v1")]
    assert items.list_namespaces(suffix=("*", "v1"), prefix=("a",), limit=1, offset=1) == [
        ("a", "y", "v1")
    ]
    assert items.list_namespaces(max_depth=2) == [("a", "x"), ("a", "y"), ("b", "v1")]
    both = (MatchCondition("prefix", ("a",)), MatchCondition("suffix", ("w",)))
    assert items.batch([ListNamespacesOp(both)]) == [[("a", "y", "v2", "w")]]


# batches


def test_a_batch_reads_what_was_there_before_it_and_its_last_put_wins(items):
    items.put(ANA, "k", {"n": 0})
    results = items.batch(
        [
            PutOp(ANA, "k", {"n": 1}),
            GetOp(ANA, "k"),
            PutOp(ANA, "k", {"n": 2}),
            SearchOp(("users",)),
            PutOp(("new",), "k", {"n": 3}),
            ListNamespacesOp(),
            PutOp(ANA, "gone", {"n": 4}),
            PutOp(ANA, "gone", None),
        ]
    )
    assert results[1].value == {"n": 0}
    assert [item.value for item in results[3]] == [{"n": 0}]
    assert results[5] == [ANA]
    assert [results[place] for place in (0, 2, 4, 6, 7)] == [None] * 5
    left = {(item.namespace, item.key): item.value for item in items.search(())}
    assert left == {(ANA, "k"): {"n": 2}, (("new",), "k"): {"n": 3}}


@pytest.mark.parametrize(
    "op",
    [
        GetOp(("a.b",), "k"),
        SearchOp(("",)),
        PutOp((7,), "k", {}),
        SearchOp((), filter={"a": {"$regex": "x"}}),
        SearchOp((), limit=-1),
        SearchOp((), offset=1.5),
        "no operation",
    ],
)
def test_nothing_of_a_batch_is_done_if_one_operation_is_wrong(items, op):
    with pytest.raises((InvalidNamespaceError, ValueError, BadInput)):
        items.batch([PutOp(ANA, "k", {}), op])
    assert items.search(()) == []


# order and pages


def test_items_are_listed_as_they_were_put_last(items):
    for number in range(30):
        items.put(ANA, f"k{number}", {"number": number, "even": number % 2 == 0}, index=False)
    for number in (3, 17, 0):
        items.put(ANA, f"k{number}", {"number": number, "even": number % 2 == 0}, index=False)
    expected = [0, 17, 3] + [n for n in range(29, -1, -1) if n not in (3, 17, 0)]
    listed = [
        item.value["number"]
        for offset in range(0, 40, 7)
        for item in items.search(ANA, limit=7, offset=offset)
    ]
    assert listed == expected
    even = items.search(ANA, filter={"even": True}, limit=4, offset=1)
    assert [item.value["number"] for item in even] == [n for n in expected if n % 2 == 0][1:5]
    low = items.search(ANA, filter={"number": {"$lt": 9}}, limit=3)
    assert [item.value["number"] for item in low] == [0, 3, 8]


def test_the_last_put_of_a_batch_is_listed_first(items):
    items.batch([PutOp(ANA, f"k{number}", {}) for number in range(5)])
    assert keys(items.search(ANA)) == ["k4", "k3", "k2", "k1", "k0"]


def test_a_limit_of_zero_finds_nothing(items):
    items.put(ANA, "k", {"text": "tea"})
    assert items.search(ANA, limit=0) == items.search(ANA, query="tea", limit=0) == []


def test_pages_of_a_search_are_of_one_order(meaning):
    for number in range(12):
        meaning.put(ANA, f"k{number}", {"text": f"Ana's note number {number} about tea"})
    whole = keys(meaning.search(ANA, query="notes on tea", limit=12))
    paged = [
        key
        for offset in range(0, 12, 5)
        for key in keys(meaning.search(ANA, query="notes on tea", limit=5, offset=offset))
    ]
    assert paged == whole
    assert len(set(whole)) == 12


# filters

VALUES = {
    "a": {"n": 1, "tag": "x", "day": "2026-03-01", "sub": {"deep": {"n": 5}}, "l": [1, {"a": 2}]},
    "b": {"n": 2.5, "tag": "y", "day": "2026-11-30", "sub": {"deep": {"n": 6}}},
    "c": {"n": "3", "tag": None, "ok": True},
    "d": {"n": [1], "tag": {"x": 1}, "ok": False, "a.b": "dot", "text": "t"},
    "e": {"tag": "z" * 500, "n": 10**30},
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "abcde"),
        ({"n": 1}, "a"),
        ({"n": {"$gt": 1}}, "bce"),
        ({"n": {"$gte": 1, "$lt": 3}}, "ab"),
        ({"n": {"$lte": "3"}}, "abc"),
        ({"n": {"$ne": 1}}, "bcde"),
        ({"n": {"$gt": 10**29}}, "e"),
        ({"n": 10**30}, "e"),
        ({"n": {"$gt": float("-inf")}}, "abce"),
        ({"n": {"$eq": float("nan")}}, ""),
        ({"day": {"$gte": "2026-06"}}, "b"),
        ({"ok": True}, "c"),
        ({"ok": 1}, "c"),
        ({"ok": 0}, "d"),
        ({"ok": {"$lt": 1}}, "d"),
        ({"tag": None}, "c"),
        ({"missing": None}, "abcde"),
        ({"tag": {"$ne": None}}, "abde"),
        ({"tag": "z" * 500}, "e"),
        ({"tag": {"x": 1}}, "d"),
        ({"sub": {"deep": {"n": {"$gt": 5}}}}, "b"),
        ({"sub": {"deep": {}}}, "ab"),
        ({"l": [{"$gt": 0}, {"a": 2}]}, "a"),
        ({"n": [1]}, "d"),
        ({"a.b": "dot"}, "d"),
        ({"text": "t"}, "d"),
        ({"tag": "x", "n": {"$gt": 0}}, "a"),
        ({"tag": "x\0"}, ""),
        ({"tag": "\ud800"}, ""),
        ({f"field{number}": None for number in range(300)}, "abcde"),
    ],
    ids=str,
)
def test_a_filter_means_the_same_with_and_without_a_query(items, wanted, expected):
    for key, value in VALUES.items():
        items.put(ANA, key, value)
    assert sorted(keys(items.search(ANA, filter=wanted))) == list(expected)
    assert sorted(keys(items.search(ANA, filter=wanted, query="tag"))) == list(expected)


@pytest.mark.parametrize("wanted", [{"a": {"$in": [1]}}, {"a": {"b": {"$gt": 1, "x": 2}}}])
def test_an_unknown_operator_is_refused_even_where_nothing_is_stored(items, wanted):
    with pytest.raises(ValueError, match="Unsupported operator"):
        items.search(ANA, filter=wanted)


# semantic search


def test_a_query_finds_by_meaning_and_says_how_well(meaning):
    meaning.put(ANA, "drink", {"text": "Ana likes her espresso strong."})
    meaning.put(ANA, "move", {"text": "Ana moved from Porto to Lisbon."})
    meaning.put(("users", "bo"), "car", {"text": "Bo sold the old van."})
    found = meaning.search(("users",), query="In which city does Ana live now?")
    assert found[0].key == "move"
    assert len(found) == 3
    assert [item.score for item in found] == sorted([item.score for item in found], reverse=True)
    assert keys(meaning.search(ANA, query="which vehicle?")).count("car") == 0
    assert all(item.score is None for item in meaning.search(ANA))


def test_what_is_not_indexed_is_found_by_no_query_of_any_door(items, store):
    items.put(ANA, "secret", {"text": "tea"}, index=False)
    items.put(ANA, "nothing", {"text": None, "empty": {}})
    items.put(ANA, "blank", {"text": " \u200b"}, index=["text"])
    items.put(ANA, "no fields", {"text": "tea"}, index=["other", "l[*].x"])
    items.put(ANA, "none", {"text": "tea"}, index=[])
    assert items.search(ANA, query="tea not indexed item") == []
    assert store.query("tea not indexed item", namespace="*").hits == ()
    assert len(items.search(ANA)) == 5
    assert items.search(ANA, filter={"text": "tea"})
    items.put(ANA, "secret", {"text": "tea"})
    assert keys(items.search(ANA, query="tea")) == ["secret"]
    items.put(ANA, "secret", {"text": "tea"}, index=False)
    assert items.search(ANA, query="tea") == []


def test_paths_say_what_is_read(store):
    items = MemstoreStore(store, index={"fields": ["title", "chapters[*].text"]})
    book = {"title": "Rivers", "isbn": "12345", "chapters": [{"text": "Douro"}, {"text": "Tejo"}]}
    items.put(ANA, "book", book)
    items.put(ANA, "own", book, index=["isbn"])
    texts = {memory.key: memory.text for memory in store.list(namespace="langgraph").memories}
    assert texts == {"book": "Rivers\nDouro\nTejo", "own": "12345"}


def test_the_whole_value_reads_as_lines(items, store):
    items.put(ANA, "k", {"name": "Ana", "likes": ["tea", {"drink": "coffee"}], "no": None})
    [memory] = store.list(namespace="langgraph").memories
    assert memory.text == "name: Ana\nlikes: tea\nlikes.drink: coffee"


@pytest.mark.parametrize("query", ["", " ", "\n", "\u200b", "\0", None])
def test_a_query_that_says_nothing_lists(items, query):
    items.put(ANA, "k", {"text": "tea"})
    [item] = items.search(ANA, query=query)
    assert item.score is None


def test_a_query_of_any_characters_is_answered(items):
    items.put(ANA, "k", {"text": "tea \ud800 and \0 coffee"})
    assert keys(items.search(ANA, query="\ud800 tea \0" * 200)) == ["k"]


@pytest.mark.parametrize(
    "index", [{"dims": 3, "embed": "openai:x", "fields": ["text"]}, {"dims": 3}, {"fields": "text"}]
)
def test_what_would_be_ignored_is_refused(store, index):
    with pytest.raises(BadInput, match="index has"):
        MemstoreStore(store, index=index)


# other doors


def test_memories_of_other_doors_are_items(items, store):
    store.add("Ana lives in Lisbon.", key="city", namespace="langgraph/users/ana")
    keyless = store.add(
        "Ana plays the cello.", namespace="langgraph/users/ana", metadata={"topic": "music"}
    )
    assert items.get(ANA, "city").value == {"text": "Ana lives in Lisbon."}
    [music] = items.search(ANA, filter={"topic": "music"})
    assert music.key == keyless.id
    assert items.get(ANA, keyless.id).value == {"topic": "music", "text": "Ana plays the cello."}
    assert items.search(("users",), query="cello")[0].key == keyless.id
    items.put(ANA, keyless.id, {"text": "Ana plays the viola."})
    assert store.get(keyless.id).text == "Ana plays the viola."
    items.delete(ANA, keyless.id)
    assert keys(items.search(ANA)) == ["city"]


def test_metadata_of_another_door_that_look_like_ours_are_its_own(items, store):
    store.add("tea", key="k", namespace="langgraph/users/ana", metadata={"langgraph": {"json": 1}})
    assert items.get(ANA, "k").value == {"langgraph": {"json": 1}, "text": "tea"}


def test_what_another_door_superseded_has_its_new_value(items, store):
    items.put(ANA, "city", {"text": "Porto"})
    [memory] = store.list(namespace="langgraph").memories
    store.supersede(memory.id, "Lisbon")
    assert items.get(ANA, "city").value == {"text": "Lisbon"}
    assert [item.value for item in items.search(ANA)] == [{"text": "Lisbon"}]
    assert [item.value for item in items.search(ANA, query="Porto Lisbon")] == [{"text": "Lisbon"}]
    items.put(ANA, "city", {"text": "Braga"})
    assert [item.value for item in items.search(ANA)] == [{"text": "Braga"}]
    items.delete(ANA, "city")
    assert items.get(ANA, "city") is None
    assert items.search(ANA) == items.list_namespaces() == []


@pytest.mark.parametrize(
    ("value", "index", "expected"),
    [
        ({"content": "Porto", "n": 1}, ["content"], {"content": "Lisbon", "n": 1}),
        ({"data": "Porto"}, None, {"data": "Lisbon"}),
        ({"a": "Porto", "b": ["old"]}, None, {"a": "Porto", "b": ["old"], "text": "Lisbon"}),
        ({"a": "Porto"}, False, {"a": "Porto", "text": "Lisbon"}),
    ],
)
def test_what_another_door_corrected_is_not_returned_as_it_was(
    items, store, value, index, expected
):
    items.put(ANA, "city", value, index=index)
    [memory] = store.list(namespace="langgraph").memories
    store.update(memory.id, text="Lisbon")
    assert items.get(ANA, "city").value == expected
    assert [item.value for item in items.search(ANA)] == [expected]
    store.update(memory.id, metadata={"by": "hand"})  # instead of the value
    found = items.get(ANA, "city")
    if index is False:  # what is left holds at no time
        assert found is None
    else:
        assert found.value == {"by": "hand", "text": "Lisbon"}


def test_a_fact_that_has_ended_is_no_item(items, store):
    store.add(
        "Ana lives in Porto.",
        key="city",
        namespace="langgraph/users/ana",
        valid_to="2020-01-01T00:00:00Z",
    )
    assert items.get(ANA, "city") is None
    assert items.search(ANA) == items.search(ANA, query="Porto") == []


def test_an_item_is_a_memory_to_other_doors(items, store):
    items.put(ANA, "drink", {"text": "tea", "topic": "food"})
    found = store.query("tea", namespace="langgraph/users", where={"metadata.topic": "food"})
    assert found.hits[0].memory.key == "drink"


# threads, tasks


def test_threads_may_put_one_key_at_once(items, store):
    threads = [
        threading.Thread(target=items.put, args=(ANA, "k", {"writer": writer}))
        for writer in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [memory] = store.list(namespace="langgraph").memories
    assert items.get(ANA, "k").value["writer"] in range(8)
    assert len(store.history(memory.id)) == 8


def test_tasks_are_answered_while_the_loop_goes_on(items):
    async def work():
        await asyncio.gather(*(items.aput(ANA, f"k{n}", {"n": n}) for n in range(20)))
        got = await asyncio.gather(*(items.aget(ANA, f"k{n}") for n in range(20)))
        found = await items.asearch(ANA, filter={"n": {"$gte": 18}})
        await items.adelete(ANA, "k0")
        return got, found, await items.aget(ANA, "k0"), await items.alist_namespaces()

    got, found, gone, namespaces = asyncio.run(work())
    assert [item.value["n"] for item in got] == list(range(20))
    assert sorted(keys(found)) == ["k18", "k19"]
    assert gone is None
    assert namespaces == [ANA]


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda other: other.put(ANA, "k", {"n": 1}),
        lambda other: other.delete(ANA, "k"),
        lambda other: other.put(ANA, "k", {"n": 2}, ttl=5),
    ],
    ids=["put", "delete", "put with a time to live"],
)
def test_who_puts_last_wins_whatever_others_do_meanwhile(store, monkeypatch, meanwhile):
    """Another process changes the item between reading and writing it."""
    one, other = MemstoreStore(store), MemstoreStore(store)
    one.put(ANA, "k", {"n": 0})
    find = View.find
    interrupted = []

    def find_and_be_interrupted(self, namespace, key):
        found = find(self, namespace, key)
        if not interrupted:
            interrupted.append(True)
            meanwhile(other)
        return found

    monkeypatch.setattr(View, "find", find_and_be_interrupted)
    one.put(ANA, "k", {"n": 9})
    assert interrupted
    assert [item.value for item in one.search(ANA)] == [{"n": 9}]
    assert one.get(ANA, "k").value == {"n": 9}
    assert [memory.valid_to for memory in store.list(namespace="langgraph").memories] == [None]
