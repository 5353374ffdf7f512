"""Checksums of rows: what they cover, how they are written, and what one flipped bit tells."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import insert, select, text, update

from memstore.catalog import memories
from memstore.catalog.checksums import checksums_of, crc, intact, update_row
from memstore.catalog.damage import CHECKED, damaged_rows, mend
from memstore.catalog.engine import DATABASE, open_engine, reading
from memstore.catalog.tables import memory, metadata, namespace
from memstore.errors import IndexDamaged

# what rows, files or an index of the database confirm: no checksum covers it
CONFIRMED = {
    "memory": {"row"},
    "namespace": {"id"},
    "source": {"id"},
    "entity": {"id"},
    "event": {"id"},
    "weights": {"version"},
    "passage": {"id", "segment_id"},
    "segment": {"id", "codec_id"},
    "codec": {"id"},
    "entity_count": {"memories"},
}


@pytest.fixture
def row(connection, add_memory):
    """The row of a memory with text beyond ASCII."""
    return add_memory(connection, text="Ana lives in Évora, „dort“ — 東京.", key="home")


def test_every_column_of_a_checked_table_is_covered_or_confirmed_elsewhere():
    for table in CHECKED:
        covered = {name for item in checksums_of(table) for name in (*item.covers, item.name)}
        left = {column.name for column in table.columns} - covered
        assert left == CONFIRMED.get(table.name, set()), table.name
    assert {table.name for table in metadata.sorted_tables} - {table.name for table in CHECKED} == {
        "hot_vector",  # has one of its own
        "tombstone",  # numbers that an index repeats
    }


def test_rows_written_in_any_way_match_their_checksums(connection, fill_every_table):
    fill_every_table(connection)
    assert not [row for table in CHECKED for row in damaged_rows(connection, table)]


def test_numbers_count_as_what_they_are_and_texts_are_kept_apart():
    assert crc([1, True, -0.0, 3.0]) == crc([1.0, 1, 0, 3])
    assert crc(["ab", "c"]) != crc(["a", "bc"])
    assert crc([None]) != crc([""]) != crc([b""])
    assert crc([0.1]) != crc([0.1 + 2**-50])


def test_an_update_of_a_damaged_row_is_refused_and_leaves_it_as_it_is(connection, row):
    connection.execute(text("UPDATE memory SET text = 'Ana lives in Elvas.'"))
    with pytest.raises(IndexDamaged, match=r"memory m\d+ \(key 'home'\) is not as it was written"):
        memories.update_memory(connection, row, title="x")
    (found,) = damaged_rows(connection, memory)
    assert found.value("title") is None


def test_an_update_covers_its_new_values(connection, row):
    update_row(connection, memory, memory.c.row == row, title="x", half_life_s=7, expired_at=None)
    assert intact(memory, connection.execute(select(memory)).one())


def test_any_single_flipped_bit_of_a_text_is_located(connection, row):
    chance = random.Random(7)
    (raw,) = connection.execute(text("SELECT CAST(text AS BLOB) FROM memory")).one()
    for at in range(len(raw)):
        damaged = bytearray(raw)
        damaged[at] ^= 1 << chance.randrange(8)
        connection.exec_driver_sql("UPDATE memory SET text = CAST(? AS TEXT)", (bytes(damaged),))
        (found,) = damaged_rows(connection, memory)
        mended = mend(found)
        assert mended is not None
        assert (mended.column, mended.value) == ("text", raw.decode())


@pytest.mark.parametrize("column", ["recorded_at", "importance", "namespace_id", "entities_given"])
def test_a_flipped_bit_of_a_number_is_located(connection, row, column):
    (before,) = connection.exec_driver_sql(f"SELECT {column} FROM memory").one()
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    # SQLite stores the float 0.0 as the integer 0, and that as a type of its own
    damaged = before ^ 1 if before else 1
    connection.exec_driver_sql(f"UPDATE memory SET {column} = ?", (damaged,))
    (found,) = damaged_rows(connection, memory)
    mended = mend(found)
    assert mended is not None
    assert (mended.column, mended.value) == (column, before)


def test_two_flipped_bits_are_never_taken_for_one(connection, row):
    chance = random.Random(11)
    (raw,) = connection.execute(text("SELECT CAST(text AS BLOB) FROM memory")).one()
    for _ in range(300):
        damaged = bytearray(raw)
        for bit in chance.sample(range(8 * len(raw)), 2):
            damaged[bit // 8] ^= 1 << bit % 8
        connection.exec_driver_sql("UPDATE memory SET text = CAST(? AS TEXT)", (bytes(damaged),))
        (found,) = damaged_rows(connection, memory)
        assert mend(found) is None


def test_a_large_row_is_not_mended(connection, row):
    """Of more bytes, one is more likely to be taken for a flipped one that was not."""
    for size, mended in ((2**20 - 1000, True), (2**20 + 1000, False)):
        right = "x" * size
        update_row(connection, memory, memory.c.row == row, text=right)
        wrong = f"{right[:-1]}y"  # one bit
        connection.execute(update(memory).values(text=wrong))
        (found,) = damaged_rows(connection, memory)
        assert (mend(found) is not None) is mended
        connection.execute(update(memory).values(text=right))


def test_a_flipped_bit_of_the_checksum_leaves_the_row_true(connection, row):
    connection.execute(text("UPDATE memory SET checksum = (checksum | 64) - (checksum & 64)"))
    (found,) = damaged_rows(connection, memory)
    mended = mend(found)
    assert mended is not None
    assert mended.column is None


def test_bytes_that_are_no_text_are_found_and_not_raised(folder):
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute("INSERT INTO namespace (path) VALUES (CAST(x'ff41' AS TEXT))")
    engine = open_engine(folder)
    with reading(engine, folder) as connection:
        (found,) = damaged_rows(connection, namespace)
    engine.dispose()
    assert found.value("path") == "\udcffA"


def test_inserts_of_many_rows_at_once_are_stamped_each(connection):
    connection.execute(insert(namespace), [{"path": "a"}, {"path": "b"}])
    rows = connection.execute(select(namespace)).all()
    assert [intact(namespace, row) for row in rows] == [True, True]
    assert rows[0].checksum != rows[1].checksum
