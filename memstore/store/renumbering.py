"""Rows under another number than their own, moved back. Others name a row by its number, which no
checksum covers: the index of the table's unique column knows it, and those who name it prove it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import Column, Connection, Table, text

from memstore.catalog.damage import any_bytes
from memstore.catalog.engine import open_engine, writing
from memstore.catalog.tables import hot_vector, metadata, tombstone
from memstore.store.opening import OpenStore


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A table whose rows others name by their number, and the columns that do."""

    table: Table
    number: Column[int]
    key: Column[str]
    named_in: tuple[Column[int], ...]


def _numbered() -> list[_Numbered]:
    found = []
    for table in metadata.sorted_tables:
        keys = [column for column in table.columns if column.unique]
        naming = [
            item.parent
            for other in metadata.sorted_tables
            for item in other.foreign_keys
            if item.column.table is table
        ]
        if keys and naming:
            (number,) = table.primary_key
            found.append(_Numbered(table, number, keys[0], tuple(naming)))
    return found


def renumber(opened: OpenStore) -> list[str]:
    """Move such rows back, in one transaction, and say of each what was done.

    Vectors and tombstones, which have the numbers of passages, are put in order again: one that has
    another's is left out, to be made anew.

    Raises:
        IndexDamaged: a table cannot be read, or not be written; nothing was changed.
        StoreUnwritable: there is no space for it.
    """
    told: list[str] = []
    # what names a row must neither keep it in its place nor go with it
    engine = open_engine(opened.path, lock_timeout=opened.settings.lock_timeout, foreign_keys=False)
    try:
        with writing(engine, opened.path) as connection, any_bytes(connection):
            for item in _numbered():
                right = _right_numbers(connection, item)
                if right:
                    _rebuild(connection, item.table, _moves(item, right))
                told += [
                    f"the row of {item.table.name} {name!r} had another number, and has {number} "
                    "again"
                    for name, number in right.items()
                ]
            for table in (hot_vector, tombstone):
                numbers = connection.scalars(
                    text(f'SELECT passage_id FROM "{table.name}" NOT INDEXED')
                )
                if not _ascending(numbers.all()):
                    _rebuild(connection, table, [], insert="INSERT OR IGNORE")
                    told.append(f"the rows of {table.name} were not in order")
    finally:
        engine.dispose()
    return told


def _right_numbers(connection: Connection, item: _Numbered) -> dict[str, int]:
    """Return key → number of the rows that lie under another one, by their index and by those who
    name them, or by the order of the rows: else it is the index that is wrong.
    """
    table, number, key = item.table.name, item.number.name, item.key.name
    rows = connection.execute(
        text(
            f'SELECT there."{number}" AS number, there."{key}" AS name, '
            f'(SELECT "{number}" FROM "{table}" WHERE "{key}" = there."{key}") AS indexed '
            f'FROM "{table}" AS there NOT INDEXED'
        )
    ).all()
    numbers = [row.number for row in rows]
    taken, ordered = set(numbers), _ascending(numbers)
    return {
        row.name: row.indexed
        for row in rows
        if row.indexed not in (None, row.number)
        and row.indexed not in taken
        and (not ordered or _is_named(connection, item, row.indexed))
    }


def _ascending(numbers: Sequence[int]) -> bool:
    return all(before < number for before, number in pairwise(numbers))


def _is_named(connection: Connection, item: _Numbered, number: int) -> bool:
    return any(
        connection.scalar(
            text(f'SELECT 1 FROM "{column.table.name}" WHERE "{column.name}" = :number LIMIT 1'),
            {"number": number},
        )
        for column in item.named_in
    )


def _moves(item: _Numbered, right: dict[str, int]) -> list[tuple[str, tuple[int, str]]]:
    statement = f'UPDATE rebuilt SET "{item.number.name}" = ? WHERE "{item.key.name}" = ?'
    return [(statement, (number, name)) for name, number in right.items()]


def _rebuild(
    connection: Connection,
    table: Table,
    changes: Sequence[tuple[str, tuple[int, str]]],
    *,
    insert: str = "INSERT",
) -> None:
    """Write a table anew: UPDATE would look for rows in an order that they do not have."""
    run = connection.exec_driver_sql
    run(f'CREATE TEMP TABLE rebuilt AS SELECT * FROM "{table.name}" NOT INDEXED')
    for statement, values in changes:
        run(statement, values)
    run(f'DELETE FROM "{table.name}"')
    run(f'{insert} INTO "{table.name}" SELECT * FROM rebuilt')
    run("DROP TABLE rebuilt")
