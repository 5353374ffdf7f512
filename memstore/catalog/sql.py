"""What every module here needs of SQL: `IN` over any number of values, columns without their index,
row numbers, those that an index has, bare rows, the driver itself.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Label,
    Select,
    Table,
    bindparam,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

# SQLite binds at most 32,766 parameters. One JSON parameter has no limit, but building its
# statement takes 0.2 ms more: felt by an add, not by those who bring many values.
_FEW = 100


def among(
    column: ColumnElement[int] | ColumnElement[str], values: Iterable[int] | Iterable[str]
) -> ColumnElement[bool]:
    """Return the condition that the column's value is one of `values`, however many there are."""
    given = list(values)
    if len(given) <= _FEW:
        return column.in_(given)
    each = func.json_each(json.dumps(given)).table_valued("value")
    return column.in_(select(each.c.value))


def listed(column: ColumnElement[int] | ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Return the condition that the column's value is in the JSON list bound to a name: for a
    statement that is made once. Values must hold no NUL, at which SQLite's JSON ends a string.
    """
    each = func.json_each(bindparam(name)).table_valued("value")
    return column.in_(select(each.c.value))


def unindexed(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return a column's value as its rows have it: an index in which a bit was flipped does not
    show a row, and a second one would be made beside it.

    The statement must ask for a column that is in no index too, or SQLite reads the index for rows.
    """
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def number_by(column: Column[str]) -> Label[int]:
    """Return, as `TABLE_number`, the number of a row as the unique index of a column has it: others
    name a row by its number, and no checksum covers that.
    """
    table = column.table
    other = table.alias()
    (number,) = table.primary_key
    found = select(other.c[number.name]).where(other.c[column.name] == column).correlate(table)
    return found.scalar_subquery().label(f"{table.name}_number")


def inserted(result: CursorResult[Any]) -> int:
    """Return the number of the row an INSERT has just made."""
    return int(result.lastrowid)


def last_number(connection: Connection, table: Table) -> int:
    """Return the highest number that a table with AUTOINCREMENT has given out."""
    (number,) = table.primary_key
    # where SQLite keeps it; the table itself, in case that is damaged
    found = driver_of(connection).execute(
        "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0), "
        f'coalesce((SELECT max("{number.name}") FROM "{table.name}"), 0))',
        (table.name,),
    )
    return int(found.fetchone()[0])


def insert_all(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> list[int]:
    """Insert rows into a table with AUTOINCREMENT, all with values for the same columns, and return
    their numbers in this order. Only for whoever holds the write lock.
    """
    if not rows:
        return []
    if len(rows) == 1:
        return [inserted(connection.execute(insert(table), rows[0]))]
    (number,) = table.primary_key
    first = last_number(connection, table) + 1
    numbers = list(range(first, first + len(rows)))
    numbered = [{number.name: n, **row} for n, row in zip(numbers, rows, strict=True)]
    connection.execute(insert(table), numbered)
    return numbers


def bare_rows(
    connection: Connection, statement: Select[Any], parameters: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement that is made once, as the driver has them.

    SQLAlchemy's own rows cost a fifth of a large read, and its execution 0.1 ms of any.
    """
    compiled = _compiled(statement)
    values = compiled.construct_params(parameters)
    driver = driver_of(connection)
    found: list[tuple[Any, ...]] = driver.execute(
        compiled.string, [values[name] for name in compiled.positiontup or ()]
    ).fetchall()
    return found


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the driver's connection, for what SQLAlchemy does not know or takes longer for."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


@functools.cache
def _compiled(statement: Select[Any]) -> SQLCompiler:
    compiled = statement.compile(dialect=sqlite.dialect())
    assert isinstance(compiled, SQLCompiler)
    return compiled
