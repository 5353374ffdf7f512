"""Rows that are not as they were written: finding them, whatever is in them, and mending one bit.

A CRC-32 tells which bit of a row was flipped, if only one was: no other single bit gives the same
difference, in rows of up to 2^31 bits. If more were, some single bit of a row of n bytes may give
the difference too, by a chance of 8 n / 2^32: large rows are not mended.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DatabaseError

from memstore.catalog.checksums import Checksum, checksums_of, crc, packed, place_of
from memstore.catalog.tables import metadata
from memstore.errors import IndexDamaged

CHECKED = tuple(table for table in metadata.sorted_tables if checksums_of(table))
_MENDED_BYTES = 2**20  # of a row: a false bit is found by a chance of 0.2 %
_INTEGERS = (1, 2, 3, 4, 6, 8)  # bytes that SQLite stores an integer in


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A row, its values in the order of the table's columns, and which checksum is wrong."""

    table: Table
    rowid: int
    values: tuple[Any, ...]
    checksum: Checksum

    @property
    def place(self) -> str:
        return place_of(self.table, self.values)

    def value(self, name: str) -> Any:
        return self.values[list(self.table.columns.keys()).index(name)]


@contextlib.contextmanager
def any_bytes(connection: Connection) -> Iterator[None]:
    """Read texts that are no UTF-8 any more too: their bytes as `surrogateescape` has them."""
    driver = connection.connection.driver_connection
    assert driver is not None
    before = driver.text_factory
    driver.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = before


def damaged_rows(connection: Connection, table: Table) -> list[DamagedRow]:
    """Return the rows of a table that do not match one of their checksums."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    driver = connection.connection.driver_connection
    assert driver is not None
    found = []
    # SQLite takes a quoted name that is no column for a text
    there = {name for _, name, *_ in driver.execute(f'PRAGMA table_info("{table.name}")')}
    missing = {column.name for column in table.columns} - there
    if missing:
        raise IndexDamaged(
            f"Table {table.name} has no column {sorted(missing)[0]!r} any more. Restore a backup."
        )
    with any_bytes(connection):
        for rowid, *values in driver.execute(f'SELECT rowid, {names} FROM "{table.name}"'):
            for item in checksums_of(table):
                if values[item.place] != crc(item.covered(values)):
                    found.append(DamagedRow(table, rowid, tuple(values), item))
    return found


def first_damage(connection: Connection) -> str | None:
    """Return something that is wrong with the database, None if nothing is."""
    found = contradiction(connection)
    if found is not None:
        return found
    for table in CHECKED:
        for row in damaged_rows(connection, table):
            return row.place
    return None


def contradiction(connection: Connection) -> str | None:
    """Return something in the database that contradicts something else in it, None if nothing
    does: pages, tables and their indexes, rows and those they name.
    """
    driver = connection.connection.driver_connection
    assert driver is not None
    try:
        ((verdict, *_), *_) = driver.execute("PRAGMA integrity_check(1)").fetchall()
    except UnicodeDecodeError as error:  # an error's message quotes a damaged schema
        return str(error)
    if verdict != "ok":
        return str(verdict)
    for table, row, parent, _ in driver.execute("PRAGMA foreign_key_check"):
        return f"row {row} of {table} lost its parent in {parent}"
    return None


def integrity(connection: Connection) -> list[str]:
    """Return what SQLite finds wrong with the file."""
    try:
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    except DatabaseError as error:  # it checks what it can read
        return [str(error.orig)]
    return [str(message) for message in found if message != "ok"]


def lost_pages(messages: Iterable[str]) -> bool:
    """Say whether some of SQLite's findings are of pages that nothing names, or that two do: they
    may hold rows, which writing anything anew would lose.
    """
    return any("never used" in message or "2nd reference" in message for message in messages)


@dataclass(frozen=True, slots=True)
class Mended:
    """The value that a row had before one bit of it was flipped; None for one of its checksum."""

    column: str | None
    value: Any
    change: str  # in words


def mend(row: DamagedRow) -> Mended | None:
    """Return which single bit was flipped, None if it was not just one."""
    stored, covers = row.values[row.checksum.place], row.checksum.covers
    values = list(row.checksum.covered(row.values))
    if any(not isinstance(value, (str, int, float, bytes, type(None))) for value in values):
        return None
    if len(packed(values)) > _MENDED_BYTES:
        return None
    difference = crc(values) ^ stored if isinstance(stored, int) else None
    if difference is None or not 0 < difference < 2**32:
        return _of_checksum(row, values)
    if difference.bit_count() == 1:
        return Mended(None, crc(values), f"a bit of its checksum, {stored}, was flipped")
    found = [*_flipped_texts(values, difference), *_flipped_numbers(values, stored)]
    if len(found) != 1:
        return None
    ((place, value, change),) = found
    return Mended(covers[place], value, f"{covers[place]}: {change}")


def _of_checksum(row: DamagedRow, values: Sequence[Any]) -> Mended | None:
    """Return the checksum, if one flipped bit made it a number that none can be."""
    stored, right = row.values[row.checksum.place], crc(values)
    if isinstance(stored, int) and right in (number for number in _flips(stored)):
        return Mended(None, right, f"a bit of its checksum, {stored}, was flipped")
    return None


def _flipped_texts(values: Sequence[Any], difference: int) -> Iterator[tuple[int, Any, str]]:
    """Yield place, value and change of the text with the one flipped bit that makes the
    difference: the CRC is linear, so how far from the end of all bytes it is decides.
    """
    place_of_bit = _bit(difference, len(packed(values)))
    if place_of_bit is None:
        return
    at, mask = place_of_bit
    ends = list(itertools.accumulate(len(packed([value])) for value in values))
    place = next(place for place, end in enumerate(ends) if at < end)
    value, end = values[place], ends[place]
    if not isinstance(value, (str, bytes)):
        return
    written = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    inside = at - (end - len(written))
    if inside < 0:
        return  # in the length, which is not stored as such
    right = bytearray(written)
    right[inside] ^= mask
    if isinstance(value, bytes):
        yield place, bytes(right), f"byte {inside} was {written[inside]}, is {right[inside]} again"
        return
    try:
        text = right.decode()
    except UnicodeDecodeError:
        return
    character = len(right[:inside].decode("utf-8", "ignore"))
    yield place, text, f"character {character} is {text[character]!r} again"


def _bit(difference: int, size: int) -> tuple[int, int] | None:
    """Return in which of so many bytes a flipped bit makes this difference, and the bit."""
    in_last_byte = {_TABLE[1 << bit]: 1 << bit for bit in range(8)}
    for behind in range(size):
        if difference in in_last_byte:
            return size - 1 - behind, in_last_byte[difference]
        # what it was one byte earlier
        index = _INDEX[difference >> 24]
        difference = ((difference ^ _TABLE[index]) << 8) | index
    return None


# of the CRC's polynomial, and which of its entries begins with a byte
_TABLE = [zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)]
_INDEX = {entry >> 24: index for index, entry in enumerate(_TABLE)}


def _flipped_numbers(values: Sequence[Any], stored: int) -> Iterator[tuple[int, Any, str]]:
    for place, value in enumerate(values):
        if isinstance(value, (int, float)):
            before, behind = crc(values[:place]), packed(values[place + 1 :])
            for number in set(_flips(value)):
                if zlib.crc32(behind, zlib.crc32(packed([number]), before)) == stored:
                    yield place, number, f"it is {number} again, not {value}"


def _flips(value: float) -> Iterator[float]:
    """Yield the numbers that one flipped bit of this one makes, as SQLite may have stored it."""
    if isinstance(value, float):
        (bits,) = struct.unpack("<q", struct.pack("<d", value))
        for flipped in _flips(bits):
            (number,) = struct.unpack("<d", struct.pack("<q", flipped))
            if number == number:
                yield number
        if not value.is_integer() or abs(value) >= 2**63:
            return
        value = int(value)
    for size in _INTEGERS:
        if -(2 ** (8 * size - 1)) <= value < 2 ** (8 * size - 1):
            raw = value.to_bytes(size, "little", signed=True)
            for bit in range(8 * size):
                changed = bytearray(raw)
                changed[bit // 8] ^= 1 << bit % 8
                yield int.from_bytes(changed, "little", signed=True)
    if value in (0, 1):  # which SQLite stores as types of their own
        yield 1 - value
