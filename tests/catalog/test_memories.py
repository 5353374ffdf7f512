"""Memories as rows: namespaces apart, versions in order, nothing of the forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from memstore.catalog import memories, vectors
from memstore.catalog.checksums import check
from memstore.catalog.sql import among
from memstore.catalog.tables import hot_vector, memory
from memstore.catalog.vectors import PassageVectors

PATHS = ["a", "A", "ab", "a/b", "a/b/c", "A/b", "a%", "a%/b", "a_", "a_/b", "ax/b", "a0", "a/é"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", {"a", "a/b", "a/b/c", "a/é"}),
        ("A", {"A", "A/b"}),
        ("ab", {"ab"}),
        ("a/b", {"a/b", "a/b/c"}),
        ("a%", {"a%", "a%/b"}),
        ("a_", {"a_", "a_/b"}),
        ("ax", {"ax/b"}),
        ("nowhere", set()),
        ("*", set(PATHS)),
    ],
)
def test_a_namespace_is_itself_and_what_is_below_it(connection, path, expected):
    ids = {memories.namespace_id(connection, name): name for name in PATHS}
    found = memories.namespaces_under(connection, path)
    assert set(found.values()) == expected
    assert all(ids[id_] == name for id_, name in found.items())


parts = st.text(st.sampled_from("aAbB%_0./é\\[*?"), min_size=1, max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(parts, min_size=1, max_size=6), asked=parts)
def test_no_namespace_leaks_into_another(engine, names, asked):
    with engine.connect() as connection, connection.begin() as transaction:
        for name in names:
            memories.namespace_id(connection, name)
        found = set(memories.namespaces_under(connection, asked).values())
        transaction.rollback()
    if asked == "*":
        assert found == set(names)
    else:
        assert found == {n for n in names if n == asked or n.startswith(f"{asked}/")}


def test_namespaces_and_sources_are_made_once(connection):
    assert memories.find_namespace(connection, "team") is None
    assert memories.namespace_id(connection, "team") == memories.namespace_id(connection, "team")
    assert memories.find_namespace(connection, "Team") is None
    assert memories.source_id(connection, None) is None
    assert memories.source_id(connection, "crm") == memories.source_id(connection, "crm")
    assert memories.source_id(connection, "CRM") != memories.source_id(connection, "crm")


def test_a_memory_comes_back_as_it_was_stored(connection, add_memory):
    row = add_memory(
        connection,
        namespace="team/ana",
        source="crm",
        metadata={"é": [1, None, "x"]},
        occurred_at=1_000_000,
        valid_to=2,
        alpha=1.6,
        beta=0.4,
        half_life_s=90.0,
    )
    loaded = memories.load_rows(connection, [row])[row]
    assert (loaded.namespace, loaded.source) == ("team/ana", "crm")
    assert loaded.metadata == {"é": [1, None, "x"]}
    assert loaded.occurred_at.isoformat() == "1970-01-01T00:00:01+00:00"
    assert loaded.valid_to.microsecond == 2
    assert loaded.valid_from is None
    assert loaded.confidence == 8.0
    assert loaded.half_life.total_seconds() == 90.0


def test_forgotten_memories_are_loaded_by_row_and_found_by_nothing_else(connection, add_memory):
    kept = add_memory(connection, id="kept", key="k", text="kept")
    gone = add_memory(connection, id="gone", key="k", text="gone")
    memories.update_memory(connection, gone, forgotten_at=9)
    everything = memory.c.row > 0
    assert set(memories.load_rows(connection, [kept, gone])) == {kept, gone}
    assert memories.matching_rows(connection, everything) == [kept]
    assert [row for row, _ in memories.load_page(connection, everything, 0, 10)] == [kept]
    assert memories.live_rows(connection, ["kept", "gone", "never"]) == {"kept": kept}
    assert [version.id for version in memories.versions(connection, 1, "k")] == ["kept"]


def test_pages_follow_one_another_without_gap_or_overlap(connection, add_memory):
    stored = [add_memory(connection) for _ in range(7)]
    read, after = [], 0
    while page := memories.load_page(connection, memory.c.row > 0, after, 3):
        read += [row for row, _ in page]
        after = page[-1][0]
    assert read == stored


def test_versions_of_a_key_are_in_the_order_in_which_they_begin(connection, add_memory):
    add_memory(connection, id="third", key="k", occurred_at=30)
    add_memory(connection, id="first", key="k", occurred_at=99, valid_from=10)
    add_memory(connection, id="second", key="k", occurred_at=20)
    add_memory(connection, id="other", key="k", namespace="other")
    retracted = add_memory(connection, id="retracted", key="k")
    memories.update_memory(connection, retracted, expired_at=5)
    space = memories.namespace_id(connection, "default")
    found = memories.versions(connection, space, "k")
    assert [(version.id, version.start) for version in found] == [
        ("first", 10),
        ("second", 20),
        ("third", 30),
    ]


def test_the_number_of_a_purged_row_is_never_given_out_again(connection, add_memory):
    row = add_memory(connection)
    memories.delete_memories(connection, [row])
    assert add_memory(connection) > row


def test_many_rows_at_once_get_numbers_in_their_order_that_nobody_had(connection, add_memory):
    purged = add_memory(connection)
    memories.delete_memories(connection, [purged])
    [lone] = connection.execute(select(memory).where(memory.c.row == add_memory(connection)))
    like = memories.MemoryRow(
        **{name: getattr(lone, name) for name in memories.MemoryRow.__dataclass_fields__}
    )
    rows = [replace(like, id=f"m{n}") for n in range(500)]
    numbers = memories.insert_memories(connection, rows)
    assert lone.row > purged
    assert numbers == list(range(lone.row + 1, lone.row + 501))
    found = connection.execute(select(memory).where(memory.c.row > lone.row)).all()
    assert {row.row: row.id for row in found} == {n: f"m{i}" for i, n in enumerate(numbers)}
    for row in found:
        check(memory, row)
    # what SQLite notes of it is not taken at its word
    connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'memory'")
    more = [replace(like, id="n0"), replace(like, id="n1")]
    assert memories.insert_memories(connection, more) == [numbers[-1] + 1, numbers[-1] + 2]
    assert memories.insert_memories(connection, []) == []


def passage(start, end):
    return PassageVectors(start=start, end=end, tokens=2, codes=b"abcd", scales=b"12345678")


def test_passages_and_their_vectors_go_with_their_memory(connection, add_memory):
    first, second = add_memory(connection), add_memory(connection)
    vectors.insert_passages(connection, {first: [passage(0, 2), passage(2, 4)]})
    vectors.insert_passages(connection, {second: [passage(0, 4)]})
    assert vectors.counts(connection) == (3, 6)
    read = list(vectors.hot_passages(connection))
    assert [item.memory_row for item in read] == [first, first, second]
    assert {(item.tokens, item.codes, item.scales) for item in read} == {(2, b"abcd", b"12345678")}
    ids, rows = ([getattr(item, name) for item in read] for name in ("passage_id", "memory_row"))
    assert vectors.spans(connection, ids, rows) == [
        (0, 2),
        (2, 4),
        (0, 4),
    ]
    vectors.delete_passages(connection, [first])
    assert [item.memory_row for item in vectors.hot_passages(connection)] == [second]
    memories.delete_memories(connection, [second])
    assert connection.scalars(select(hot_vector.c.passage_id)).all() == []
    assert vectors.counts(connection) == (0, 0)


def test_vectors_of_forgotten_memories_are_not_read(connection, add_memory):
    row = add_memory(connection)
    vectors.insert_passages(connection, {row: [passage(0, 4)]})
    memories.update_memory(connection, row, forgotten_at=1)
    assert list(vectors.hot_passages(connection)) == []
    assert list(vectors.hot_passages(connection, [row])) == []


def test_among_takes_more_values_than_a_statement_has_parameters(connection, add_memory):
    row = add_memory(connection, id="it's")
    assert memories.live_rows(connection, [f"m'{n}" for n in range(50_000)] + ["it's"]) == {
        "it's": row
    }
    rows = connection.scalars(select(memory.c.row).where(among(memory.c.row, range(50_000))))
    assert list(rows) == [row]
    assert connection.scalars(select(memory.c.row).where(among(memory.c.row, []))).all() == []
