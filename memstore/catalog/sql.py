"""What every module here needs of SQL: `IN` over any number of values, row numbers, bare rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, Select, func, select

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


def inserted(result: CursorResult[Any]) -> int:
    """Return the number of the row an INSERT has just made."""
    return int(result.lastrowid)


def bare_rows(
    connection: Connection, statement: Select[Any], parameters: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """Return rows as the driver has them: SQLAlchemy's own cost a fifth of a large read."""
    with connection.execute(statement, parameters) as result:
        return [*result.cursor.fetchall()]
