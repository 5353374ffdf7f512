"""A namespace is a hard partition: nothing of another one is ever seen through it."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import BadInput, MemoryNotFound, MemoryStore

FreshStore = Callable[[], AbstractContextManager[MemoryStore]]

# chosen to be mistaken for each other: prefixes, cases, wildcards of SQL, other scripts
PARTS = ["a", "A", "ab", "a b", "a_b", "a%", "%", "_", "é", "É", "日", "a\\", "a'b", 'a"b', "[a]"]
PATHS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("/".join)


def _sees(asked: str, path: str) -> bool:
    return asked == "*" or path == asked or path.startswith(f"{asked}/")


@settings(max_examples=25)
@given(paths=st.lists(PATHS, min_size=1, max_size=8, unique=True), asked=PATHS | st.just("*"))
def test_only_a_namespace_and_what_is_below_it_is_seen(
    fresh_store: FreshStore, paths: list[str], asked: str
) -> None:
    with fresh_store() as store:
        store.add_many(
            {
                "text": f"shared words number{n}",
                "namespace": path,
                "key": "k",
                "entities": [f"E{n}"],
            }
            for n, path in enumerate(paths)
        )
        inside = {path for path in paths if _sees(asked, path)}
        names = {f"E{n}" for n, path in enumerate(paths) if path in inside}
        hits = store.query("shared words", namespace=asked, limit=50, explain=True).hits
        assert {hit.memory.namespace for hit in hits} == inside
        assert len(hits) == len(inside)
        filtered = store.query("shared words", namespace=asked, limit=50, where={"key": "k"}).hits
        assert {hit.memory.namespace for hit in filtered} == inside
        assert {item.namespace for item in store.list(namespace=asked).memories} == inside
        assert {entity.name for entity in store.entities(namespace=asked)} == names
        if asked in paths:
            assert store.get_by_key("k", namespace=asked).namespace == asked
        elif asked != "*":
            with pytest.raises(MemoryNotFound):
                store.get_by_key("k", namespace=asked)
        report = store.forget(where={"key": "k"}, namespace=asked)
        assert len(report.ids) == len(inside)
        left = {item.namespace for item in store.list(namespace="*").memories}
        assert left == set(paths) - inside


def test_a_namespace_does_not_see_others_with_the_same_beginning(store: MemoryStore) -> None:
    for path in ("a", "ab", "a/b", "A", "A/b", "b/a"):
        store.add("the same words", namespace=path)
    found = {hit.memory.namespace for hit in store.query("same words", namespace="a").hits}
    assert found == {"a", "a/b"}
    assert {m.namespace for m in store.list(namespace="A").memories} == {"A", "A/b"}


def test_no_option_of_a_query_reaches_outside_its_namespace(store: MemoryStore) -> None:
    chance = random.Random(3)
    for n in range(60):
        store.add(
            f"shared words {n}",
            namespace=chance.choice(["a", "a/b", "ab", "b"]),
            key=f"k{n % 20}",
            entities=["Ana"],
            occurred_at="2026-01-01T00:00:00Z",
            valid_to="2026-02-01T00:00:00Z" if n % 2 else None,
        )
    for options in (
        {"explain": True},
        {"where": {"not": {"namespace": "a"}}},
        {"where": {"or": [{"entity": "Ana"}, {"namespace": "b"}]}},
        {"as_of": "2026-01-15T00:00:00Z"},
        {"known_at": "2100-01-01T00:00:00Z"},
        {"max_tokens": 1000},
        {"profile": "recent", "weights": {"entity": 9.0}},
    ):
        result = store.query("shared words", namespace="a", limit=60, **options)  # type: ignore[arg-type]
        seen = [hit.memory for hit in result.hits] + [item.memory for item in result.suppressed]
        assert seen
        assert {memory.namespace for memory in seen} <= {"a", "a/b"}


def test_what_is_in_other_namespaces_does_not_change_a_score(store: MemoryStore) -> None:
    store.add("tea in Porto", namespace="a")
    store.add("coffee in Lisbon", namespace="a")
    before = store.query("tea in Lisbon", namespace="a", now="2026-12-01T00:00:00Z").hits
    store.add_many({"text": f"tea tea Lisbon {n}", "namespace": "b"} for n in range(30))
    assert store.query("tea in Lisbon", namespace="a", now="2026-12-01T00:00:00Z").hits == before


def test_an_unknown_namespace_is_empty_not_an_error(store: MemoryStore) -> None:
    store.add("words")
    assert store.query("words", namespace="nobody").hits == ()
    assert store.list(namespace="nobody").memories == ()
    assert store.entities(namespace="nobody") == ()
    assert store.forget(where={"source": "x"}, namespace="nobody").ids == ()


@pytest.mark.parametrize(
    "path", ["", " ", "/a", "a/", "a//b", "a/./b", "../a", "a/*", "**", None, 5, "x" * 513, "a\0b"]
)
def test_what_is_no_path_is_refused_everywhere(store: MemoryStore, path: str) -> None:
    for call in (
        lambda: store.add("x", namespace=path),
        lambda: store.query("x", namespace=path),
        lambda: store.list(namespace=path),
        lambda: store.entities(namespace=path),
        lambda: store.get_by_key("k", namespace=path),
        lambda: store.forget(where={"source": "x"}, namespace=path),
        lambda: store.ingest([{"text": "x"}], namespace=path),
    ):
        with pytest.raises(BadInput):
            call()
    assert store.stats().memories == 0


def test_all_namespaces_can_be_read_but_not_written_at_once(store: MemoryStore) -> None:
    with pytest.raises(BadInput, match="not a path"):
        store.add("x", namespace="*")
    with pytest.raises(BadInput, match="not a path"):
        store.get_by_key("x", namespace="*")


def test_an_entity_is_spelled_as_its_own_namespace_spells_it(store):
    store.add("one", namespace="secret", entities=["ACME (codename Zeus)"])
    memory = store.add("two", namespace="open", entities=["Acme (Codename Zeus)"])
    assert memory.entities == ("Acme (Codename Zeus)",)
    (listed,) = store.entities(namespace="open")
    assert (listed.name, listed.memories) == ("Acme (Codename Zeus)", 1)
    result = store.query("acme codename zeus", namespace="open", explain=True)
    assert "ACME" not in str(result)
