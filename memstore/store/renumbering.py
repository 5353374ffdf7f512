"""Rows under another number than their own, moved back. Others name a row by its number, which no
checksum covers: an index of the table has it too, and those who name it prove it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Column, Connection, Table

from memstore.catalog import log
from memstore.catalog.damage import any_bytes, integrity, lost_pages
from memstore.catalog.engine import open_engine, reading, writing
from memstore.catalog.tables import hot_vector, metadata, tombstone
from memstore.store.opening import OpenStore


@dataclass(frozen=True, slots=True)
class _Misplaced:
    """A table that is to be written anew, what changes in the copy of it, and that in words."""

    table: Table
    changes: Sequence[tuple[str, tuple[Any, ...]]]
    told: Sequence[str]


def renumber(opened: OpenStore, *, now: int) -> list[str]:
    """Move such rows back, in one transaction, and say of each what was done.

    Vectors and tombstones have the numbers of passages, which no index of theirs knows. They are
    put in order again; of vectors, those that are under one number are left out, to be made anew.

    Args:
        now: UTC microseconds.

    Raises:
        IndexDamaged: a table cannot be read, or not be written; nothing was changed.
        StoreUnwritable: there is no space for it.
    """
    with reading(opened.engine, opened.path) as connection, any_bytes(connection):
        # nobody is to wait for this; and rows of a page that another table has too look misplaced
        if not [*_misplaced(connection)] or lost_pages(integrity(connection)):
            return []
    told: list[str] = []
    # what names a row must neither keep it in its place nor go with it
    engine = open_engine(opened.path, lock_timeout=opened.settings.lock_timeout, foreign_keys=False)
    try:
        with writing(engine, opened.path) as connection, any_bytes(connection):
            for item in _misplaced(connection):
                _rebuild(connection, item)
                told += item.told
            if told:
                log.append_event(connection, log.STORE, "repair", now=now)
    finally:
        engine.dispose()
    return told


def _misplaced(connection: Connection) -> Iterator[_Misplaced]:
    for table in metadata.sorted_tables:
        number = _number(table)
        if number is None:
            continue
        if table in _EQUAL:
            if not _ascending(_numbers(connection, table, number)):
                told = [f"the rows of {table.name} were not in order"]
                yield _Misplaced(table, [(_EQUAL[table], ())], told)
        elif moves := [*_moves(connection, table, number)]:
            told = [f"row {own} of {table.name} had number {row}" for own, row, _ in moves]
            yield _Misplaced(table, [_change(number, *move) for move in moves], told)


# what of several rows under one number is left out: no vectors are better than those of another
# passage, and tombstones say nothing but their number
_EQUAL = {
    hot_vector: "DELETE FROM rebuilt WHERE passage_id IN "
    "(SELECT passage_id FROM rebuilt GROUP BY passage_id HAVING count(*) > 1)",
    tombstone: "DELETE FROM rebuilt WHERE rowid NOT IN "
    "(SELECT min(rowid) FROM rebuilt GROUP BY passage_id)",
}


def _number(table: Table) -> Column[int] | None:
    """Return the column that is the number of a table's rows."""
    key = [*table.primary_key]
    return key[0] if len(key) == 1 and key[0].type.python_type is int else None


def _moves(
    connection: Connection, table: Table, number: Column[int]
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield own number, present number and key of the rows that lie under another than their own,
    by an index and by those who name them, or by the order of the rows: else it is the index that
    is wrong.
    """
    indexes = _indexes(connection, table)
    if not indexes:
        return
    (name, columns), *others = indexes
    pairs = ", ".join(f'"{column}"' for column in (number.name, *columns))
    counted = f'SELECT {pairs}, count(*) FROM "{table.name}"'
    scan = f"{counted} NOT INDEXED GROUP BY {pairs}"
    search = f'{counted} INDEXED BY "{name}" GROUP BY {pairs}'
    strays = _by_key(connection, f"{scan} EXCEPT {search}")
    if not strays:
        return
    numbers = _numbers(connection, table, number)
    taken, ordered = set(numbers), _ascending(numbers)
    for key, indexed in _by_key(connection, f"{search} EXCEPT {scan}").items():
        missing, found = [own for own in indexed if own not in taken], strays.get(key, ())
        if len(missing) != 1 or len(found) != 1:
            continue
        (own,), (row,) = missing, found
        if (
            not ordered
            or _is_named(connection, table, own)
            or any(_agree(connection, table, number, other, own, row) for other, _ in others)
        ):
            yield own, row, dict(zip(columns, key, strict=True))


def _by_key(connection: Connection, statement: str) -> dict[tuple[Any, ...], list[int]]:
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for number, *key, _ in connection.exec_driver_sql(statement):
        found[tuple(key)].append(number)
    return found


def _change(
    number: Column[int], own: int, row: int, key: dict[str, Any]
) -> tuple[str, tuple[Any, ...]]:
    """Return what moves a row in a copy of its table, whose rows lie as they did there: if another
    one has that number and key rightfully, that tells them apart.
    """
    same = " AND ".join(f'"{name}" IS ?' for name in (number.name, *key))
    which = "min" if own < row else "max"
    found = f"SELECT {which}(rowid) FROM rebuilt WHERE {same}"
    move = f'UPDATE rebuilt SET "{number.name}" = ? WHERE rowid = ({found})'
    return move, (own, row, *key.values())


def _indexes(connection: Connection, table: Table) -> list[tuple[str, list[str]]]:
    """Return name and columns of the indexes that have all rows of a table, unique ones first."""
    run = connection.exec_driver_sql
    find = 'SELECT name FROM pragma_index_list(?) WHERE NOT partial ORDER BY "unique" DESC, name'
    found = [
        (name, [*run("SELECT name FROM pragma_index_info(?)", (name,)).scalars()])
        for name in run(find, (table.name,)).scalars().all()
    ]
    # the rows of the first one are told apart by its columns
    return sorted(found, key=lambda index: any(table.c[column].nullable for column in index[1]))


def _agree(
    connection: Connection, table: Table, number: Column[int], index: str, own: int, row: int
) -> bool:
    """Say whether an index has a row's own number, and not the one under which it lies."""
    scan = f'SELECT "{number.name}" FROM "{table.name}" INDEXED BY "{index}"'
    found = connection.exec_driver_sql(f'{scan} WHERE +"{number.name}" IN (?, ?)', (own, row))
    return set(found.scalars()) == {own}


def _numbers(connection: Connection, table: Table, number: Column[int]) -> Sequence[int]:
    """Return the numbers of a table's rows, in the order in which they lie."""
    scan = f'SELECT "{number.name}" FROM "{table.name}" NOT INDEXED'
    return connection.exec_driver_sql(scan).scalars().all()


def _ascending(numbers: Sequence[int]) -> bool:
    return all(before < number for before, number in pairwise(numbers))


def _is_named(connection: Connection, table: Table, number: int) -> bool:
    return any(
        key.column.table is table
        and connection.exec_driver_sql(
            f'SELECT 1 FROM "{other.name}" WHERE "{key.parent.name}" = ? LIMIT 1', (number,)
        ).scalar()
        for other in metadata.sorted_tables
        for key in other.foreign_keys
    )


def _rebuild(connection: Connection, item: _Misplaced) -> None:
    """Write a table anew: UPDATE would look for rows in an order that they do not have."""
    run, name = connection.exec_driver_sql, item.table.name
    run(f'CREATE TEMP TABLE rebuilt AS SELECT * FROM "{name}" NOT INDEXED')
    for statement, values in item.changes:
        run(statement, values)
    run(f'DELETE FROM "{name}"')
    run(f'INSERT INTO "{name}" SELECT * FROM rebuilt')
    run("DROP TABLE rebuilt")
