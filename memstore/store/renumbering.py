"""Rows under another number than their own, moved back. Others name a row by its number, which no
checksum covers: the index of the table's unique column knows it, and those who name it prove it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, Table, text

from memstore.catalog.damage import any_bytes
from memstore.catalog.engine import open_engine, writing
from memstore.catalog.tables import metadata
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
                    _move(connection, item, right)
                told += [
                    f"the row of {item.table.name} {name!r} had another number, and has {number} "
                    "again, by which others name it"
                    for name, number in right.items()
                ]
    finally:
        engine.dispose()
    return told


def _right_numbers(connection: Connection, item: _Numbered) -> dict[str, int]:
    """Return key → number of the rows that lie under another one."""
    table, number, key = item.table.name, item.number.name, item.key.name
    rows = connection.execute(
        text(
            f'SELECT there."{number}" AS number, there."{key}" AS name, '
            f'(SELECT "{number}" FROM "{table}" WHERE "{key}" = there."{key}") AS indexed '
            f'FROM "{table}" AS there NOT INDEXED'
        )
    ).all()
    taken = {row.number for row in rows}
    return {
        row.name: row.indexed
        for row in rows
        if row.indexed not in (None, row.number)
        and row.indexed not in taken
        and _is_named(connection, item, row.indexed)
    }


def _is_named(connection: Connection, item: _Numbered, number: int) -> bool:
    return any(
        connection.scalar(
            text(f'SELECT 1 FROM "{column.table.name}" WHERE "{column.name}" = :number LIMIT 1'),
            {"number": number},
        )
        for column in item.named_in
    )


def _move(connection: Connection, item: _Numbered, right: dict[str, int]) -> None:
    # not by UPDATE, which looks for rows in an order that they no longer have
    table, number, key = item.table.name, item.number.name, item.key.name
    run = connection.exec_driver_sql
    run(f'CREATE TEMP TABLE moved AS SELECT * FROM "{table}" NOT INDEXED')
    for name, place in right.items():
        run(f'UPDATE moved SET "{number}" = ? WHERE "{key}" = ?', (place, name))
    run(f'DELETE FROM "{table}"')
    run(f'INSERT INTO "{table}" SELECT * FROM moved')
    run("DROP TABLE moved")
