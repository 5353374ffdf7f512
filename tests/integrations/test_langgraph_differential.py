"""`MemstoreStore` and LangGraph's `InMemoryStore` do the same operations and are compared.

Listings of the two differ in order on purpose: there, as first put; here, as LangGraph's stores in
databases have it, what was put last comes first. So a record of the puts says what the order is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from memstore import MemoryStore
from memstore.integrations.langgraph import MemstoreStore

Place = tuple[tuple[str, ...], str]

LABELS = ["a", "b", "a/b", "*x", "%2F", "\ud800"]
PLACES = [("a",), ("a", "b"), ("a", "b", "a"), ("a/b",), ("b", "*x"), ("%2F", "\ud800")]
KEYS = ["k", "", "langgraph:k"]
NAMES = ["a", "a", "a", "b", "b", "text", "x.y", "langgraph", "", 'q"']
USUAL = [None, True, False, 0, 1, 1.0, 2.5, "a", "1"]  # what filters are to meet in values
RARE = [-1, 2**60, 10**30, "", "b", "2.5", "tea time", "ü\ud800", "n\0", "long " * 60]

names = st.sampled_from(NAMES)
scalars = st.sampled_from(USUAL) | st.sampled_from(USUAL + RARE)
json_values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(names, below, max_size=2),
    max_leaves=4,
)
values = st.dictionaries(names, scalars | json_values, max_size=4)
namespaces = st.sampled_from(PLACES)
prefixes = st.sampled_from([(), (), ("a",), ("a",), ("a", "b"), ("b",), ("%2F",), ("x",)])
paths = st.lists(st.sampled_from([*LABELS, "*"]), max_size=2).map(tuple)
operators = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), scalars, min_size=1, max_size=2
)
filters = st.dictionaries(
    st.sampled_from(["a", "a", "b", *NAMES]),
    st.sampled_from(USUAL)
    | scalars
    | operators
    | json_values
    | st.dictionaries(names, operators | scalars, max_size=1)
    | st.lists(operators | scalars, max_size=2),
    min_size=1,
    max_size=2,
)
filters = st.dictionaries(st.just("a"), st.sampled_from(USUAL), min_size=1) | filters

puts = st.builds(
    PutOp,
    namespace=namespaces,
    key=st.sampled_from(KEYS),
    value=values | values | values | st.none(),
    index=st.sampled_from([None, None, False, ["text"], ["a", "b[*]"]]),
    ttl=st.none(),
)
gets = st.builds(GetOp, namespace=namespaces, key=st.sampled_from(KEYS))
searches = st.builds(
    SearchOp,
    namespace_prefix=prefixes,
    filter=filters | filters | st.none(),
    limit=st.integers(0, 4) | st.just(100),
    offset=st.integers(0, 3),
    query=st.none(),
)
lists = st.builds(
    ListNamespacesOp,
    match_conditions=st.lists(
        st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), paths), max_size=2
    ).map(tuple),
    max_depth=st.integers(1, 3) | st.none(),
    limit=st.integers(0, 3) | st.just(100),
    offset=st.integers(0, 2),
)
batches = st.lists(puts | gets | searches | searches | searches | lists, min_size=2, max_size=6)
first_puts = st.lists(puts, min_size=6, max_size=12)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    folder = tmp_path_factory.mktemp("differential")
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as store:
        yield store


class Reference:
    """LangGraph's store in memory, and what it does not keep: the order of the puts."""

    def __init__(self) -> None:
        self.store = InMemoryStore()
        self.put: dict[Place, int] = {}
        self.indexed: set[Place] = set()
        self._number = itertools.count()

    def items(self) -> dict[Place, Any]:
        found = self.store.search((), limit=10_000)
        return {(item.namespace, item.key): item for item in found}

    def read(self, op: Op) -> Any:
        """What our store must answer; an exception where theirs breaks on the values it holds."""
        if isinstance(op, GetOp):
            item = self.items().get((op.namespace, op.key))
            return None if item is None else item.value
        if isinstance(op, SearchOp):
            found = self.store.batch([op._replace(limit=10_000, offset=0)])[0]
            found.sort(key=lambda item: self.put[item.namespace, item.key], reverse=True)
            shown = found[op.offset : op.offset + op.limit]
            return [(item.namespace, item.key, item.value) for item in shown]
        if isinstance(op, ListNamespacesOp):
            # theirs lists namespaces that somebody only asked for, or that are empty by now
            full = InMemoryStore()
            for namespace, key in self.items():
                full.put(("x", *namespace), key, {})
                full._data[namespace] = full._data.pop(("x", *namespace))
            return full.batch([op])[0]
        return None

    def write(self, ops: list[Op]) -> None:
        changed = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        self.store.batch(list(changed.values()))
        for place, op in changed.items():
            self.put[place] = next(self._number)
            if op.value is None:
                del self.put[place]
            found = op.value is not None and has_text(op)
            (self.indexed.add if found else self.indexed.discard)(place)


def plain(result: Any) -> Any:
    if isinstance(result, list):
        return [
            (item.namespace, item.key, item.value) if hasattr(item, "key") else item
            for item in result
        ]
    return getattr(result, "value", None)


@settings(max_examples=70, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=first_puts, steps=st.lists(batches, min_size=2, max_size=5))
def test_ours_answers_as_the_store_in_memory_does(shared, first, steps):
    roots.append(f"r{len(roots)}")
    ours = MemstoreStore(shared, root=roots[-1])
    theirs = Reference()
    created: dict[Place, Any] = {}
    for ops in [*([put] for put in first), *steps]:
        asked = [
            op._replace(query="tea", limit=100, offset=0) for op in ops if isinstance(op, SearchOp)
        ]
        answers = ours.batch(asked)
        results = ours.batch(ops)
        for op, result in zip(ops, results, strict=True):
            try:
                expected = theirs.read(op)
            except (TypeError, ValueError, OverflowError):
                continue  # it orders what cannot be ordered
            assert plain(result) == expected
            assert json.dumps(plain(result)) == json.dumps(expected)  # where 1 is not true
        for op, answer in zip(asked, answers, strict=True):
            check_ranked(theirs, op, answer)
        theirs.write(ops)
        listed = ours.search((), limit=10_000)
        assert [(item.namespace, item.key) for item in listed] == sorted(
            theirs.put, key=theirs.put.__getitem__, reverse=True
        )
        created = check_times(listed, created)


roots: list[str] = []  # one below another would see it


def check_times(listed: list[Any], created: dict[Place, Any]) -> dict[Place, Any]:
    """What is put again keeps when it was created, and was updated after what was put before."""
    times = [item.updated_at for item in listed]
    assert times == sorted(times, reverse=True)
    found = {(item.namespace, item.key): item.created_at for item in listed}
    assert all(item.created_at <= item.updated_at for item in listed)
    assert all(found[place] == created[place] for place in found.keys() & created.keys())
    return found


def check_ranked(theirs: Reference, op: SearchOp, answer: list[Any]) -> None:
    """A query finds every item that has a text and matches, and none other."""
    try:
        matching = theirs.read(op._replace(query=None))
    except (TypeError, ValueError, OverflowError):
        return
    expected = {(namespace, key): value for namespace, key, value in matching}
    assert {(item.namespace, item.key): item.value for item in answer} == {
        place: value for place, value in expected.items() if place in theirs.indexed
    }
    scores = [item.score for item in answer]
    assert scores == sorted(scores, reverse=True)


def has_text(op: PutOp) -> bool:
    if op.index is False:
        return False
    if op.index is None:  # of several, the names are read too
        found = list(leaves(op.value))
        return len(found) > 1 or any(map(visible, found))
    texts = [op.value.get("text")] if op.index == ["text"] else [op.value.get("a")]
    if op.index != ["text"] and isinstance(op.value.get("b"), list):
        texts += op.value["b"]
    # a list or mapping at a path is read as JSON, which is never empty
    return any(isinstance(text, (list, dict)) or visible(text) for text in texts)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(leaves, value.values()))
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(leaves, value))
    elif value is not None:
        yield value


def visible(text: Any) -> bool:
    return text is not None and bool(str(text).replace("\0", "").strip())
