"""Checksums of rows: SQLite keeps none, and reads a flipped bit in a value as if it were true.

A table whose values nothing else confirms has a column `checksum`, declared beside the others by
`checksum_of`: the CRC-32 of the values it covers. Inserts fill it on their own. Statements that
change a covered value go through `update_row`, which refuses to make a damaged row true, or take
the checksum from `excluded` with the other values of an upsert.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Integer, Table, select, update

from memstore.errors import IndexDamaged

_COVERS = "covers"


def checksum_of(*names: str, column: str = "checksum") -> Column[Any]:
    """Return a column with the checksum of others of its table."""
    return Column(column, Integer, default=_of_parameters, info={_COVERS: names})


def crc(values: Iterable[Any]) -> int:
    """Return the CRC-32 of values, each with its type and length.

    A number counts as what it is: SQLite gives an integer in a column of floats back as a float.

    >>> crc(["a", 1, None]) == crc(["a", 1.0, None]) == zlib.crc32(b"t1:ai1;n")
    True
    """
    return zlib.crc32(packed(values))


def packed(values: Iterable[Any]) -> bytes:
    """Return the bytes that a checksum is of."""
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, str):
            # bytes that are no UTF-8 any more, read as `surrogateescape` has them, are themselves
            written = value.encode("utf-8", "surrogateescape")
            parts.append(b"t%d:%b" % (len(written), written))
        elif isinstance(value, float) and not value.is_integer():
            parts.append(b"f%b;" % float.__repr__(value).encode())
        elif isinstance(value, (int, float)):
            parts.append(b"i%d;" % int(value))
        else:
            parts.append(b"b%d:%b" % (len(value), value))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum of a table: its place among the columns, and of what it is."""

    name: str
    place: int
    covers: tuple[str, ...]
    covered: Callable[[Sequence[Any]], Iterable[Any]]  # these values of a row


@functools.cache
def checksums_of(table: Table) -> tuple[Checksum, ...]:
    """Return the checksums of a table."""
    names = [column.name for column in table.columns]
    return tuple(
        Checksum(
            column.name,
            names.index(column.name),
            column.info[_COVERS],
            _values_at([names.index(name) for name in column.info[_COVERS]]),
        )
        for column in table.columns
        if _COVERS in column.info
    )


def _values_at(places: list[int]) -> Callable[[Sequence[Any]], Iterable[Any]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: (row[places[0]],)  # itemgetter would return the value itself


def stamps(table: Table, values: Mapping[str, Any]) -> dict[str, int]:
    """Return a row's checksums by column, for all whose values are given."""
    return {
        item.name: crc(values[name] for name in item.covers)
        for item in checksums_of(table)
        if values.keys() >= set(item.covers)
    }


def intact(table: Table, row: Sequence[Any]) -> bool:
    """Return whether a row, which begins with all columns of its table, is as it was written."""
    return all(row[item.place] == crc(item.covered(row)) for item in checksums_of(table))


def check(table: Table, row: Sequence[Any]) -> None:
    """Refuse a row, which begins with all columns of its table, that is not as it was written.

    Raises:
        IndexDamaged: a value or the checksum was changed behind the store's back.
    """
    if not intact(table, row):
        raise damaged(place_of(table, row))


def check_number(place: str, number: int | None, by_name: int | None) -> None:
    """Refuse a row that lies under another number than the index of its unique column has for it
    (`sql.number_by`). One that the index does not have is not refused: then that is damaged.

    Raises:
        IndexDamaged: it does.
    """
    if by_name not in (None, number):
        raise damaged(place, f"its number is {number}, and {by_name} in the index of its table")


def check_order(numbers: Iterable[int], after: int) -> None:
    """Refuse rows of memories that do not come in the order of their numbers, behind `after`: to
    read on behind the last of them might never end.

    Raises:
        IndexDamaged: they do not.
    """
    if any(number <= before for before, number in pairwise((after, *numbers))):
        raise damaged("the table of memories", "its rows are not in the order of their numbers")


def damaged(place: str, how: str = "its values do not match their checksum") -> IndexDamaged:
    """Return the error for a row that is not as it was written."""
    return IndexDamaged(
        f"{place} is not as it was written: {how}. A medium that flips bits does that, or another "
        "program that wrote to the file. Mend what can be:\n"
        "    memstore verify --repair"
    )


def place_of(table: Table, row: Sequence[Any]) -> str:
    """Return what a row is about, for errors and findings."""
    values = dict(zip((column.name for column in table.columns), row, strict=False))
    if table.name == "memory":
        key = "" if values["key"] is None else f" (key {values['key']!r})"
        return f"memory {values['id']}{key}"
    if table.name == "event":
        return f"event {values['id']} ({values['verb']}) of memory {values['memory_id']!r}"
    if table.name == "passage":
        return f"passage {values['ordinal']} of memory row {values['memory_row']}"
    if table.name == "memory_entity":
        return f"entity {values['display']!r} of memory row {values['memory_row']}"
    named = ("name", "path", "canon", "alias", "scorer", "version", "id", "display")
    name = next(values[name] for name in named if name in values)
    return f"{table.name} {name!r}"


def update_row(
    connection: Connection, table: Table, condition: ColumnElement[bool], **values: Any
) -> None:
    """Overwrite columns of one row, and make its checksums those of the new values.

    Raises:
        IndexDamaged: the row is not as it was written, and must not be made true by this.
    """
    row = connection.execute(select(table).where(condition)).one_or_none()
    if row is None:
        return
    check(table, row)
    new = {**row._mapping, **values}
    connection.execute(update(table).where(condition).values(**values, **stamps(table, new)))


def _of_parameters(context: Any) -> int:
    """Return the checksum of a row that is being inserted."""
    column = context.current_column
    given = context.get_current_parameters()
    return crc(
        given[name] if name in given else _server_default(column.table.c[name])
        for name in _covered_names(column)
    )


@functools.cache
def _covered_names(column: Column[Any]) -> tuple[str, ...]:
    return next(item.covers for item in checksums_of(column.table) if item.name == column.name)


@functools.cache
def _server_default(column: Column[Any]) -> Any:
    """Return what the database writes where an insert gives nothing."""
    default: Any = column.server_default
    if default is None:
        return None
    return default.arg if column.type.python_type is str else float(default.arg)
