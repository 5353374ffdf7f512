"""What every module here needs of SQL: `IN` over any number of values, new row numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, func, select


def among(
    column: ColumnElement[int] | ColumnElement[str], values: Iterable[int] | Iterable[str]
) -> ColumnElement[bool]:
    """Return the condition that the column's value is one of `values`.

    One bound parameter, however many values there are: SQLite allows 32,766 of them.
    """
    each = func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(select(each.c.value))


def inserted(result: CursorResult[Any]) -> int:
    """Return the number of the row an INSERT has just made."""
    return int(result.lastrowid)
