"""Names that mean the same, and who is mentioned with whom: within the namespaces asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import BadInput, MemoryStore, StoreUnwritable
from memstore.catalog import log

FreshStore = Callable[[], AbstractContextManager[MemoryStore]]

PARTS = ["a", "A", "ab", "a_b", "%", "é", "a'b"]
PATHS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("/".join)


def tell(store: MemoryStore, *names: str, namespace: str = "default") -> str:
    """Store a memory about these; returns its id."""
    tell.count += 1  # type: ignore[attr-defined]
    text = f"note {tell.count}"  # type: ignore[attr-defined]
    return store.add(text, entities=names, namespace=namespace).id


tell.count = 0  # type: ignore[attr-defined]


def listed(store: MemoryStore, **where: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {item.name: (item.memories, item.aliases) for item in store.entities(**where)}


def found(store: MemoryStore, name: str, **options: str) -> set[str]:
    where = {"entity": name}
    return {item.id for item in store.list(where=where, **options).memories}


def test_an_alias_is_one_entity_with_what_it_stands_for_until_it_is_taken_back(
    store: MemoryStore,
) -> None:
    bob, robert, both = tell(store, "Bob"), tell(store, "Robert"), tell(store, "Bob", "Robert")
    apart = {"Bob": (2, ()), "Robert": (2, ())}
    assert listed(store) == apart
    store.alias("bob's", of="ROBERT")
    assert listed(store) == {"Robert": (3, ("bob",))}
    assert found(store, "Bob") == found(store, "Robert") == {bob, robert, both}
    assert [item.canonical for item in store.entities(prefix="bo")] == ["robert"]
    assert store.get(bob).entities == ("Bob",)
    store.remove_alias("Bob")
    assert listed(store) == apart
    assert found(store, "Bob") == {bob, both}


def test_a_query_finds_an_entity_by_its_alias(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "agent.mem") as store:  # of an encoder with a calibration
        robert, ana = tell(store, "Robert"), tell(store, "Ana")
        for _ in range(3):
            tell(store, "Carla")

        def boosted() -> set[str]:
            hits = store.query("note about bob", explain=True).hits
            named = (hit for hit in hits if "entity" in {part.name for part in hit.parts})
            return {hit.memory.id for hit in named}

        assert boosted() == set()
        store.alias("Bob", of="Robert")
        assert boosted() == {robert}
        store.alias("Bob", of="Ana")
        assert boosted() == {ana}


def test_neighbours_are_those_mentioned_together_more_often_than_by_chance_first(
    store: MemoryStore,
) -> None:
    for names in [
        *[("Ana", "Lisbon")] * 3,
        *[("Ana", "Tea", "Lisbon")] * 2,
        *[("Bruno", "Tea")] * 6,
        ("Ana", "Chess"),
        ("Robert", "Oslo"),
    ]:
        tell(store, *names)
    lisbon, tea = store.neighbours("ana")
    assert (lisbon.name, lisbon.canonical, lisbon.together, lisbon.memories) == (
        *("Lisbon", "lisbon"),
        *(5, 5),
    )
    # P(both) = 5/13, P(Ana) = 6/13, P(Lisbon) = 5/13
    assert lisbon.npmi == pytest.approx(math.log(13 / 6) / math.log(13 / 5))
    assert (tea.name, tea.together, tea.memories, tea.npmi) == ("Tea", 2, 8, 0.0)
    assert store.neighbours("Ana", limit=1) == (lisbon,)
    assert store.neighbours("Chess") == store.neighbours("Nobody") == ()


def test_neighbours_are_those_of_all_names_of_an_entity_and_themselves_under_one_name(
    store: MemoryStore,
) -> None:
    for names in [("Ana", "Bob"), ("Ana", "Robert"), ("Anita", "Bob"), ("Ana", "Anita"), ("Rob",)]:
        tell(store, *names)
    assert store.neighbours("Ana") == ()
    store.alias("Bob", of="Robert")
    (robert,) = store.neighbours("Ana")
    assert (robert.name, robert.together, robert.memories) == ("Robert", 2, 3)
    store.alias("Anita", of="Ana")
    (robert,) = store.neighbours("anita")
    assert (robert.together, robert.memories) == (3, 3)
    assert [item.name for item in store.neighbours("bob")] == ["Ana"]


def test_a_date_is_asked_for_however_it_is_written(store: MemoryStore) -> None:
    id_ = store.add("The fair opened on 8 May 2023, said Ana.").id
    again = store.add("On May 8th, 2023 there was tea, said Ana.").id
    store.add("On May 9th, 2023 there was none, said Ana.")
    assert found(store, "2023-05-08") == found(store, "8 may 2023") == {id_, again}
    assert [item.name for item in store.neighbours("May 8, 2023")] == ["Ana"]
    store.alias("Opening Day", of="May 8, 2023")
    assert found(store, "Opening Day") == {id_, again}
    given_ = tell(store, "May 2023")
    assert found(store, "may 2023") == {given_}
    assert [item.name for item in store.neighbours("opening day")] == ["Ana"]


@settings(max_examples=25)
@given(paths=st.lists(PATHS, min_size=1, max_size=6, unique=True), data=st.data())
def test_aliases_and_neighbours_of_other_namespaces_never_show(
    fresh_store: FreshStore, paths: list[str], data: st.DataObject
) -> None:
    asked = data.draw(st.sampled_from(paths))
    aliased = data.draw(st.sampled_from(paths))

    def covers(above: str, path: str) -> bool:
        return path == above or path.startswith(f"{above}/")

    with fresh_store() as store:
        store.add_many(
            {"text": f"{place} {path}", "entities": [name, f"Secret{number}"], "namespace": path}
            for number, path in enumerate(paths)
            for place, name in enumerate(("Ana", "Ana", "Anita"))
        )
        inside = {f"Secret{number}" for number, path in enumerate(paths) if covers(asked, path)}
        before = store.entities(namespace=asked), store.neighbours("ana", namespace=asked)
        assert {item.name for item in before[0]} == inside | {"Ana", "Anita"}
        assert {item.name for item in before[1]} == inside
        assert {item.together for item in before[1]} == {2}
        store.alias("Anita", of="Ana", namespace=aliased)
        touched = {
            f"Secret{number}"
            for number, path in enumerate(paths)
            if covers(asked, path) and covers(aliased, path)
        }
        after = store.neighbours("ana", namespace=asked)
        assert {item.name: item.together for item in after} == {
            name: 3 if name in touched else 2 for name in inside
        }
        counts = listed(store, namespace=asked)
        assert counts["Ana"] == (2 * len(inside) + len(touched), ("anita",) if touched else ())
        assert counts.get("Anita", (0, ()))[0] == len(inside) - len(touched)
        assert len(found(store, "Anita", namespace=asked)) == len(inside) + 2 * len(touched)
        store.remove_alias("Anita", namespace=aliased)
        assert (store.entities(namespace=asked), store.neighbours("ana", namespace=asked)) == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda store: store.alias("Bob", of="bob's"), "'bob' cannot be an alias of itself"),
        (lambda store: store.alias("?!", of="Ana"), "name is '[?]!', punctuation alone"),
        (lambda store: store.alias("Ana", of="…"), "of is '…', punctuation alone"),
        (lambda store: store.alias(None, of="Ana"), "name is None"),
        (lambda store: store.alias("Ana", of=5), "of is int"),
        (lambda store: store.alias("Ana", of="a\0b"), "of has a NUL"),
        (lambda store: store.alias("Ana", of="Bo", namespace="*"), "namespace '[*]'"),
        (lambda store: store.alias("Robert", of="Bob"), "aliases of each other"),
        (lambda store: store.remove_alias("Ana"), "'Ana' is no alias in namespace 'default'"),
        (lambda store: store.remove_alias("Bob", namespace="x"), "'Bob' is no alias in .*'x'"),
        (lambda store: store.remove_alias("Bob", namespace="*"), "namespace '[*]'"),
        (lambda store: store.neighbours("?!"), "entity is '[?]!', punctuation alone"),
        (lambda store: store.neighbours(None), "entity is None"),
        (lambda store: store.neighbours("Ana", limit=0), "limit"),
        (lambda store: store.neighbours("Ana", namespace="a//b"), "namespace 'a//b'"),
    ],
)
def test_impossible_names_are_refused_and_change_nothing(
    store: MemoryStore,
    fingerprint: Callable[..., str],
    call: Callable[[MemoryStore], object],
    message: str,
) -> None:
    tell(store, "Bob")
    store.alias("Bob", of="Robert")
    before = fingerprint(store.path)
    with pytest.raises(BadInput, match=message):
        call(store)
    assert fingerprint(store.path) == before


def test_a_store_opened_for_reading_takes_no_alias(store: MemoryStore) -> None:
    with (
        MemoryStore.open(store.path, read_only=True) as reader,
        pytest.raises(StoreUnwritable),
    ):
        reader.alias("Bob", of="Robert")


def test_an_alias_is_seen_by_other_readers_and_is_an_event_without_names(
    store: MemoryStore, sql: Callable[..., list[tuple[object, ...]]]
) -> None:
    tell(store, "Robert")
    with MemoryStore.open(store.path) as other:
        assert found(other, "Bob") == set()
        store.alias("Bob", of="Robert")
        assert len(found(other, "Bob")) == 1
        store.remove_alias("Bob")
        assert found(other, "Bob") == set()
    verb = f"SELECT memory_id, payload FROM event WHERE verb = '{log.ALIAS}'"
    assert sql(store.path, verb) == [(log.STORE, "{}")] * 2


def test_a_purge_leaves_no_alias_behind_that_only_the_purged_memory_used(
    store: MemoryStore,
) -> None:
    gone = tell(store, "Zebedee", namespace="secret/place")
    store.alias("Quixote", of="Zebedee", namespace="secret")
    tell(store, "Ana")
    store.alias("Anita", of="Ana")
    store.forget(gone, purge=True)
    held = b"".join(path.read_bytes() for path in store.path.rglob("*") if path.is_file())
    assert b"zebedee" not in held.lower()
    assert b"quixote" not in held.lower()
    assert listed(store) == {"Ana": (1, ("anita",))}
