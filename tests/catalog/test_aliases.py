"""Aliases stand for a name in their namespace and below; entities are counted as they stand."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from memstore.catalog import aliases, graph, links, memories
from memstore.catalog.engine import open_engine
from memstore.catalog.filters import compile_filter
from memstore.catalog.tables import entity_alias, memory
from memstore.errors import BadInput

NAMESPACES = ["a", "a/b", "a/b/c", "a-b", "ab"]
NAMES = ["bob", "robert", "rob", "ana", "ana lima"]
KNOWN_AT = 10


@dataclass(frozen=True)
class Name:
    canon: str
    label: str | None = None
    role: str = "given"

    @property
    def display(self) -> str:
        return self.canon.title()


@dataclass(frozen=True)
class Told:
    """A memory as the oracle knows it."""

    row: int
    namespace: str
    names: frozenset[str]
    recorded_at: int = 0
    expired_at: int | None = None
    forgotten: bool = False

    def counts(self, known_at):
        if self.forgotten:
            return False  # forgetting takes the links along
        if known_at is None:
            return self.expired_at is None
        return self.recorded_at <= known_at and (
            self.expired_at is None or self.expired_at > known_at
        )


def space(connection, path):
    return memories.namespace_id(connection, path)


def tell(connection, add_memory, namespace, *names, forgotten=False, expired_at=None, **columns):
    row = add_memory(connection, namespace=namespace, **columns)
    here, counted = space(connection, namespace), expired_at is None
    links.link_entities(connection, [(row, here, [Name(n) for n in names])], counted=counted)
    if forgotten:
        links.unlink_entities(connection, row, here, counted=counted)
        memories.update_memory(connection, row, forgotten_at=99)
    memories.update_memory(connection, row, expired_at=expired_at)
    recorded_at = columns.get("recorded_at", 0)
    return Told(row, namespace, frozenset(names), recorded_at, expired_at, forgotten)


def add(connection, namespace, alias, canon):
    return aliases.add_alias(connection, space(connection, namespace), alias, canon)


def covers(above, path):
    return path == above or path.startswith(above + "/")


# the oracle: who stands for whom, from the stored rows, by the definition


def stored(connection):
    ids = memories.namespaces_under(connection, "*")
    return {(path, alias): canon for path, alias, canon in aliases.aliases(connection, ids)}


def stands_for(rows, namespace, name):
    above = [path for path, alias in rows if alias == name and covers(path, namespace)]
    return rows[max(above, key=len), name] if above else name


def meaning(rows, told, searched, asked):
    """Namespaces and names of the memories that a name means."""
    return frozenset(
        (item.namespace, name)
        for item in told
        if item.namespace in searched and not item.forgotten
        for name in item.names
        if stands_for(rows, item.namespace, name) == stands_for(rows, item.namespace, asked)
    )


def mentioning(told, pairs, searched, known_at):
    return {
        item.row
        for item in told
        if item.namespace in searched
        and item.counts(known_at)
        and any((item.namespace, name) in pairs for name in item.names)
    }


names = st.sampled_from(NAMES)
places = st.sampled_from(NAMESPACES)
tellings = st.lists(
    st.tuples(
        places,
        st.frozensets(names, max_size=4),
        st.sampled_from([0, KNOWN_AT, KNOWN_AT + 1]),
        st.sampled_from([None, None, KNOWN_AT, KNOWN_AT + 1]),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
)
changes = st.lists(st.tuples(st.sampled_from(["add", "add", "remove"]), places, names, names))
searches = st.lists(places, unique=True, min_size=1)
sometime = st.sampled_from([None, KNOWN_AT])


@pytest.fixture(scope="module")
def begin(empty_catalog, tmp_path_factory):
    """A transaction of its own for each example; nothing stays."""
    folder = tmp_path_factory.mktemp("aliases") / "agent.mem"
    engine = open_engine(shutil.copytree(empty_catalog, folder))

    @contextmanager
    def begun():
        with engine.connect() as connection, connection.begin() as transaction:
            for path in NAMESPACES:
                space(connection, path)
            yield connection
            transaction.rollback()

    yield begun
    engine.dispose()


def fill(connection, add_memory, told, changed):
    for verb, namespace, alias, canon in changed:
        with suppress(BadInput):
            if verb == "add":
                add(connection, namespace, alias, canon)
            else:
                aliases.remove_alias(connection, space(connection, namespace), alias)
    return [
        tell(
            connection,
            add_memory,
            namespace,
            *sorted(mentioned),
            recorded_at=recorded_at,
            expired_at=expired_at,
            forgotten=forgotten,
        )
        for namespace, mentioned, recorded_at, expired_at, forgotten in told
    ]


shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@shared
@given(changed=changes, last=st.tuples(places, names, names), searched=places)
def test_an_alias_changes_its_namespace_and_those_below_and_no_other(
    begin, add_memory, changed, last, searched
):
    with begin() as connection:
        fill(connection, add_memory, [], changed)
        before = stored(connection)
        namespace, alias, canon = last
        try:
            final = add(connection, namespace, alias, canon)
        except BadInput:
            assert stored(connection) == before
            return
        after = stored(connection)
        assert after[namespace, alias] == final == stands_for(after, namespace, canon)
        for name in NAMES:
            if stands_for(before, namespace, name) == alias:
                assert stands_for(after, namespace, name) == final
            if not covers(namespace, searched):
                assert stands_for(after, searched, name) == stands_for(before, searched, name)
        for path in NAMESPACES:  # resolved everywhere: what something stands for is no alias
            for name in NAMES:
                canon = stands_for(after, path, name)
                assert stands_for(after, path, canon) == canon


@shared
@given(told=tellings, changed=changes, searched=searches, asked=st.sets(names), known_at=sometime)
def test_names_find_the_entities_they_stand_for_in_the_searched_namespaces_alone(
    begin, add_memory, told, changed, searched, asked, known_at
):
    with begin() as connection:
        told = fill(connection, add_memory, told, changed)
        rows = stored(connection)
        ids = [space(connection, path) for path in searched]
        expected: dict[frozenset[tuple[str, str]], set[str]] = {}
        for name in asked:
            expected.setdefault(meaning(rows, told, searched, name), set()).add(name)
        found = graph.find_entities(connection, asked, ids, known_at=known_at)
        counted = {
            frozenset(named): mentioning(told, pairs, searched, known_at)
            for pairs, named in expected.items()
        }
        assert {group.asked: group.memories for group in found} == {
            named: len(memories) for named, memories in counted.items() if memories
        }
        assert list(found) == sorted(found, key=lambda group: (group.canon, group.entity_ids))
        inside = [item for item in told if item.namespace in searched]
        covered = graph.mentions(connection, [item.row for item in inside], found)
        for column, group in enumerate(found):
            pairs = next(p for p, named in expected.items() if named == group.asked)
            assert covered[:, column].tolist() == [
                # a retracted memory keeps its links, for queries of what was known before
                not item.forgotten and any((item.namespace, name) in pairs for name in item.names)
                for item in inside
            ]
            assert {group.name.casefold()} <= {name for _, name in pairs}


@shared
@given(told=tellings, changed=changes, searched=searches, prefix=st.sampled_from(["", "rob", "a"]))
def test_entities_are_listed_with_the_memories_of_their_aliases(
    begin, add_memory, told, changed, searched, prefix
):
    with begin() as connection:
        told = fill(connection, add_memory, told, changed)
        rows = stored(connection)
        mentioned: dict[str, set[int]] = {}
        for item in told:
            if item.namespace in searched and item.counts(None):
                for name in item.names:
                    canon = stands_for(rows, item.namespace, name)
                    mentioned.setdefault(canon, set()).add(item.row)
        standing = {
            canon: tuple(
                name
                for name in sorted(NAMES)
                if name != canon and canon in {stands_for(rows, path, name) for path in searched}
            )
            for canon in mentioned
        }
        ids = [space(connection, path) for path in searched]
        listed = links.list_entities(connection, ids, prefix, 100)
        assert [(item.canonical, item.memories, item.aliases) for item in listed] == sorted(
            (
                (canon, len(mentioned[canon]), standing[canon])
                for canon in mentioned
                if any(name.startswith(prefix) for name in (canon, *standing[canon]))
            ),
            key=lambda item: (-item[1], item[0]),
        )
        assert listed[:2] == links.list_entities(connection, ids, prefix, 2)


@shared
@given(told=tellings, changed=changes, asked=st.lists(names, max_size=2), negated=st.booleans())
def test_a_filter_by_entity_takes_aliases_both_ways_in_the_memorys_own_namespace(
    begin, add_memory, told, changed, asked, negated
):
    with begin() as connection:
        told = fill(connection, add_memory, told, changed)
        rows = stored(connection)
        where = {"entity": {"nin" if negated else "in": asked}}
        condition = compile_filter(where, canonical=str.casefold)
        found = set(connection.scalars(select(memory.c.row).where(condition)))
        assert found == {
            item.row
            for item in told
            if negated
            != any(
                not item.forgotten
                and stands_for(rows, item.namespace, name)
                == stands_for(rows, item.namespace, other)
                for name in item.names
                for other in asked
            )
        }


@shared
@given(
    told=tellings,
    changed=changes,
    searched=searches,
    asked=names,
    known_at=sometime,
    least=st.sampled_from([1, 2]),
)
def test_neighbours_are_counted_in_the_memories_that_mention_both(
    begin, add_memory, told, changed, searched, asked, known_at, least
):
    with begin() as connection:
        told = fill(connection, add_memory, told, changed)
        rows = stored(connection)
        ids = [space(connection, path) for path in searched]
        found = graph.find_entities(connection, [asked], ids, known_at=known_at)
        if not found:
            return
        own = meaning(rows, told, searched, asked)
        around = mentioning(told, own, searched, known_at)
        beside: dict[str, set[int]] = {}
        for item in told:
            if item.row in around:
                for name in item.names:
                    if (item.namespace, name) not in own:
                        canon = stands_for(rows, item.namespace, name)
                        beside.setdefault(canon, set()).add(item.row)
        expected = {canon: len(both) for canon, both in beside.items() if len(both) >= least}

        met = graph.neighbours(
            connection,
            found[0],
            ids,
            strength=lambda together, _: np.zeros(len(together)),
            known_at=known_at,
            least=least,
        )
        disagreeing = len({canon for _, canon in rows}) > 0 and len(searched) > 1
        if not disagreeing:
            assert {item.group.canon: item.together for item in met} == expected
        assert {name for item in met for name in item.group.asked} >= set(expected) - {asked}
        for item in met:
            (name,) = item.group.asked if len(item.group.asked) == 1 else [None]
            if name is not None:
                pairs = meaning(rows, told, searched, name)
                assert item.group.memories == len(mentioning(told, pairs, searched, known_at))
        togethers = [item.together for item in met]
        assert togethers == sorted(togethers, reverse=True)


def test_an_alias_of_an_alias_stands_for_the_last_name(connection):
    assert add(connection, "a", "bob", "rob") == "rob"
    assert add(connection, "a", "rob", "robert") == "robert"
    assert add(connection, "a", "bobby", "bob") == "robert"
    assert stored(connection) == {("a", name): "robert" for name in ("bob", "rob", "bobby")}


def test_an_alias_can_be_replaced_and_taken_back(connection):
    add(connection, "a", "bob", "rob")
    add(connection, "a", "bob", "robert")
    assert stored(connection) == {("a", "bob"): "robert"}
    here = space(connection, "a")
    assert aliases.remove_alias(connection, here, "bob") is True
    assert aliases.remove_alias(connection, here, "bob") is False
    assert stored(connection) == {}


def test_names_that_stand_for_each_other_are_refused(connection):
    with pytest.raises(BadInput, match="'bob' cannot be an alias of itself"):
        add(connection, "a", "bob", "bob")
    add(connection, "a", "bob", "robert")
    for namespace in ("a", "a/b"):
        with pytest.raises(BadInput, match=f"aliases of each other in namespace '{namespace}'"):
            add(connection, namespace, "robert", "bob")
    add(connection, "a/b", "ana", "lima")
    with pytest.raises(BadInput, match="aliases of each other in namespace 'a/b'"):
        add(connection, "a", "lima", "ana")
    assert stored(connection) == {("a", "bob"): "robert", ("a/b", "ana"): "lima"}


def test_below_an_alias_the_nearer_one_counts(connection, add_memory):
    add(connection, "a", "bob", "robert")
    add(connection, "a/b", "bob", "ana")
    for namespace in ("a", "a/b", "a/b/c", "ab"):
        tell(connection, add_memory, namespace, "bob", "robert", "ana")

    def canon(namespace):
        found = graph.find_entities(connection, ["bob"], [space(connection, namespace)])
        return [(group.canon, group.name, group.memories) for group in found]

    assert canon("a") == [("robert", "Robert", 1)]
    assert canon("a/b") == canon("a/b/c") == [("ana", "Ana", 1)]
    assert canon("ab") == [("bob", "Bob", 1)]


def test_unused_aliases_go_and_those_still_in_use_stay(connection, add_memory):
    for namespace in ("a", "a/b", "ab"):
        add(connection, namespace, "bob", "robert")
    add(connection, "a", "rob", "roberta")
    tell(connection, add_memory, "a/b/c", "bob")  # uses those of a/b and of a
    tell(connection, add_memory, "a-b", "rob")
    tell(connection, add_memory, "a", "roberta", forgotten=True)
    aliases.drop_unused_aliases(connection)
    assert stored(connection) == {("a", "bob"): "robert", ("a/b", "bob"): "robert"}
    tell(connection, add_memory, "a/b", "robert")
    aliases.drop_unused_aliases(connection)
    assert len(stored(connection)) == 2


def test_an_alias_is_stored_once_however_many_namespaces_it_counts_in(connection):
    for number in range(300):
        space(connection, f"a/{number}")
    add(connection, "a", "bob", "robert")
    assert connection.scalars(select(entity_alias.c.alias)).all() == ["bob"]
