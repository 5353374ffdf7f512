"""Entities of memories: counts that never drift, labels, roles."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update

from memstore.catalog import links, memories
from memstore.catalog.engine import open_engine
from memstore.catalog.tables import entity, entity_count

NAMESPACES = ["a", "ab", "a/b"]


@dataclass(frozen=True)
class Name:
    canon: str
    display: str
    label: str | None = None
    role: str = "extracted"


def named(*canons, **more):
    return [Name(canon, canon.title(), **more) for canon in canons]


def linked(connection, add_memory, *canons, namespace="default", **more):
    row = add_memory(connection, namespace=namespace)
    links.link_entities(connection, [(row, space(connection, namespace), named(*canons, **more))])
    return row


def space(connection, path):
    return memories.namespace_id(connection, path)


def counts(connection):
    return Counter(
        {
            (row.namespace_id, row.entity_id): row.memories
            for row in connection.execute(select(entity_count))
        }
    )


def test_counts_stay_equal_to_a_recount_whatever_is_linked_and_unlinked(
    empty_catalog, tmp_path, add_memory
):
    engine = open_engine(shutil.copytree(empty_catalog, tmp_path / "agent.mem"))
    canons = st.sampled_from(["ana", "bob", "robert", "porto", "%", "a_b"])
    some = st.lists(canons, max_size=4)

    class Links(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.connection = engine.connect()
            self.transaction = self.connection.begin()
            self.mentions: dict[int, tuple[str, set[str]]] = {}  # row → namespace, canons

        def teardown(self):
            self.transaction.rollback()
            self.connection.close()

        def mentioned(self):
            return set().union(*(names for _, names in self.mentions.values()))

        @rule(namespace=st.sampled_from(NAMESPACES), names=some)
        def add(self, namespace, names):
            row = linked(self.connection, add_memory, *names, namespace=namespace)
            self.mentions[row] = (namespace, set(names))

        @rule(data=st.data())
        def forget(self, data):
            if not self.mentions:
                return
            row = data.draw(st.sampled_from(sorted(self.mentions)))
            namespace, _ = self.mentions.pop(row)
            for _ in range(2):  # a second time changes nothing
                links.unlink_entities(self.connection, row, space(self.connection, namespace))
            memories.update_memory(self.connection, row, forgotten_at=1)

        @rule(data=st.data(), names=some)
        def change(self, data, names):
            if not self.mentions:
                return
            row = data.draw(st.sampled_from(sorted(self.mentions)))
            namespace, _ = self.mentions[row]
            id_ = space(self.connection, namespace)
            links.unlink_entities(self.connection, row, id_)
            del self.mentions[row]
            links.link_entities(self.connection, [(row, id_, named(*names))])
            self.mentions[row] = (namespace, set(names))

        @invariant()
        def counts_are_right(self):
            kept = counts(self.connection)
            links.recount(self.connection)
            assert counts(self.connection) == kept
            assert links.entity_total(self.connection) == len(self.mentioned())

        @invariant()
        def every_name_finds_its_memories(self):
            for namespace in NAMESPACES:
                expected = Counter()
                for place, names in self.mentions.values():
                    expected.update(names if place == namespace else ())
                listed = links.list_entities(
                    self.connection, [space(self.connection, namespace)], "", 100
                )
                assert {item.canonical: item.memories for item in listed} == expected

        @invariant()
        def only_what_is_mentioned_is_kept(self):
            assert set(self.connection.scalars(select(entity.c.canon))) == self.mentioned()

    few = settings(max_examples=25, stateful_step_count=25)
    run_state_machine_as_test(Links, settings=few)
    engine.dispose()


def test_a_name_given_twice_is_one_mention_in_the_first_role(connection, add_memory):
    row = add_memory(connection)
    bob = [Name("bob", "Bob", role="speaker"), Name("bob", "BOB", role="extracted")]
    links.link_entities(connection, [(row, space(connection, "default"), bob)])
    (link,) = links.links_of(connection, [row])[row]
    assert (link.display, link.role) == ("Bob", "speaker")
    assert set(counts(connection).values()) == {1}


def test_entities_are_listed_by_mentions_then_by_name(connection, add_memory):
    linked(connection, add_memory, "porto", "lisbon")
    linked(connection, add_memory, "porto", "ana")
    here = [space(connection, "default")]
    listed = links.list_entities(connection, here, "", 100)
    assert [(item.name, item.memories) for item in listed] == [
        ("Porto", 2),
        ("Ana", 1),
        ("Lisbon", 1),
    ]
    assert [item.name for item in links.list_entities(connection, here, "", 2)] == ["Porto", "Ana"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("a", ["a%b", "a_b", "axb"]), ("a%", ["a%b"]), ("a_", ["a_b"]), ("A", []), ("é", ["éa"])],
)
def test_a_prefix_is_taken_literally(connection, add_memory, prefix, expected):
    linked(connection, add_memory, "a%b", "a_b", "axb", "éa", "b")
    listed = links.list_entities(connection, [space(connection, "default")], prefix, 100)
    assert [item.canonical for item in listed] == expected
    assert links.list_entities(connection, [1], prefix + "x" * 100_000, 100) == ()


def test_a_label_is_kept_and_filled_in_once_known(connection, add_memory):
    linked(connection, add_memory, "ana")
    linked(connection, add_memory, "ana", label="PERSON")
    linked(connection, add_memory, "ana", label="PLACE")
    (listed,) = links.list_entities(connection, [space(connection, "default")], "", 100)
    assert (listed.label, listed.memories) == ("PERSON", 3)


def test_a_recount_repairs_counts_and_leaves_forgotten_memories_out(connection, add_memory):
    row = linked(connection, add_memory, "ana")
    linked(connection, add_memory, "ana")
    memories.update_memory(connection, row, forgotten_at=1)
    connection.execute(update(entity_count).values(memories=77))
    links.recount(connection)
    assert set(counts(connection).values()) == {1}


def test_forgetting_does_not_fail_over_a_count_that_drifted(connection, add_memory):
    row = linked(connection, add_memory, "ana")
    connection.execute(update(entity_count).values(memories=77))
    links.unlink_entities(connection, row, space(connection, "default"))
    assert not counts(connection)
    assert connection.scalars(select(entity.c.id)).all() == []


def test_unlinking_takes_no_longer_where_more_namespaces_know_the_entity(connection, add_memory):
    def steps(namespaces):
        """Count what SQLite does, in tens of its instructions."""
        for number in range(namespaces):
            linked(connection, add_memory, "ana", namespace=f"user/{number}")
        row = linked(connection, add_memory, "ana", namespace="user/0")
        place = space(connection, "user/0")
        taken = []
        driver = connection.connection.driver_connection
        driver.set_progress_handler(lambda: taken.append(1), 10)
        links.unlink_entities(connection, row, place)
        driver.set_progress_handler(None, 0)
        return len(taken)

    assert steps(600) < 2 * steps(100)


def test_given_names_and_speakers_are_told_from_what_was_extracted(connection, add_memory):
    row = add_memory(connection, session="s", entities_given=True)
    extracted = add_memory(connection)
    assert links.given_names(connection, extracted) == (None, None)
    names = [Name("ana", "Ana", role="speaker"), *named("trip", role="given"), *named("oslo")]
    links.link_entities(connection, [(row, space(connection, "default"), names)])
    assert links.given_names(connection, row) == ("Ana", ("Trip",))
    assert links.session_speakers(connection, space(connection, "default"), "s") == {"Ana"}
    assert links.session_speakers(connection, space(connection, "default"), "t") == set()
    assert {item.canon: item.role for item in links.links_of(connection, [row])[row]} == {
        "ana": "speaker",
        "trip": "given",
        "oslo": "extracted",
    }
