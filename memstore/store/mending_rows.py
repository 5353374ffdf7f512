"""Rows whose checksum is wrong: mended where that can be proved, else taken out of every answer.

A flipped bit is turned back. What else the store knows of a value (an index, the spelling of an
entity) is tried too, and believed if the checksum agrees. Of what remains, the derived is removed,
to be made anew; a memory is forgotten, its row left as legible as it is.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, Column, Connection, LargeBinary, Table, Text, delete

from memstore.catalog import links, log, memories, segments, vectors
from memstore.catalog.checksums import crc, damaged
from memstore.catalog.damage import DamagedRow, any_bytes, damaged_rows, mend
from memstore.catalog.engine import reading, writing
from memstore.catalog.sql import among
from memstore.catalog.tables import memory_entity, passage
from memstore.entities import canonical
from memstore.errors import IndexDamaged
from memstore.store.columns import name_copy
from memstore.store.counters import recount
from memstore.store.index_files import INDEX
from memstore.store.opening import OpenStore

_LOST = "lost"  # the verb of the event that a memory was forgotten because it was damaged
_SHOWN = 60  # characters of what is left of a text
Key = tuple[str, int, str]  # table, rowid and column of a wrong checksum
Rows = dict[Key, DamagedRow]
Indexed = Callable[[Table, str], dict[int, Any]]  # see `_indexed`


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a damaged row: in words, and whether all of it was saved."""

    message: str
    saved: bool


def wrong_rows(connection: Connection, table: Table) -> Rows:
    """Return the rows of a table that are not as they were written."""
    return {
        (table.name, row.rowid, row.checksum.name): row for row in damaged_rows(connection, table)
    }


def described(row: DamagedRow) -> str:
    """Return what a finding says of a row."""
    what = _place(row)
    if row.checksum.name != "checksum":
        return f"{what}: trust and use do not match their checksum"
    return f"{what}: the row in table {row.table.name} does not match its checksum"


def mend_rows(opened: OpenStore, rows: Rows, *, reindex: bool, now: int) -> dict[Key, Outcome]:
    """Mend rows, in one transaction, and say what became of each.

    Args:
        reindex: whether to make the database's indexes anew: they contradict their tables.
    """
    told: dict[Key, Outcome] = {}
    with reading(opened.engine, opened.path) as connection:
        # before the indexes are made anew from the damaged rows
        indexed = functools.cache(functools.partial(_indexed, connection))
        found = {key: _mended(connection, row, indexed) for key, row in rows.items()}
    if reindex:
        # not of one transaction with the rest: two rows may have become equal where none may be
        with (
            contextlib.suppress(IndexDamaged),
            writing(opened.engine, opened.path) as connection,
        ):
            links.join_equal(connection)
            connection.exec_driver_sql("REINDEX")
    with writing(opened.engine, opened.path) as connection:
        for key, row in rows.items():
            told[key] = _apply(opened, connection, row, found[key], now)
        if any(row.table.name in ("memory", "setting") for row in rows.values()):
            name_copy(connection, None)  # the next sealing makes a new one
        if any(row.table.name == "event" for row in rows.values()):
            for id_ in memories.without_event(connection):  # it was lost
                log.append_event(connection, id_, "repair", now=now)
        if rows:
            links.recount(connection)
            recount(connection)
            log.append_event(connection, log.STORE, "repair", now=now)
    return told


def _mended(
    connection: Connection, row: DamagedRow, indexed: Indexed
) -> tuple[dict[str, Any], str] | None:
    """Return the values that a row must have had, and how that is known; None if it is not."""
    flipped = mend(row)
    if flipped is not None:
        values = {} if flipped.column is None else {flipped.column: flipped.value}
        return values, flipped.change
    with any_bytes(connection):
        for guess in _guesses(connection, row, indexed):
            values = dict(zip(row.table.columns.keys(), row.values, strict=True)) | guess
            if crc(values[name] for name in row.checksum.covers) == row.values[row.checksum.place]:
                return guess, f"{' and '.join(guess)} as other rows have it"
    return None


def _guesses(connection: Connection, row: DamagedRow, indexed: Indexed) -> Iterator[dict[str, Any]]:
    """Yield values for some columns that are known from elsewhere."""
    table = row.table
    for column in table.columns:
        if (column.unique or column.index) and isinstance(column.type, Text):
            value = indexed(table, column.name).get(row.rowid)
            if value is not None:
                yield {column.name: value}
    if table.name == "entity":
        spelled = connection.exec_driver_sql(
            "SELECT DISTINCT display FROM memory_entity WHERE entity_id = ?", (row.rowid,)
        ).scalars()
        known = connection.exec_driver_sql("SELECT DISTINCT label FROM entity").scalars()
        names = [row.value("canon"), *(canonical(name) for name in spelled)]
        for canon, label in itertools.product(names, [None, *known]):
            yield {"canon": canon, "label": label}
    if table.name == "memory_entity":
        spelled = connection.exec_driver_sql(
            "SELECT DISTINCT display FROM memory_entity WHERE entity_id = ?1 "
            "UNION SELECT display FROM entity_count WHERE entity_id = ?1",
            (row.value("entity_id"),),
        ).scalars()
        roles = ("extracted", "given", "speaker")
        for display, role in itertools.product([row.value("display"), *spelled], roles):
            yield {"display": display, "role": role}


def _indexed(connection: Connection, table: Table, column: str) -> dict[int, Any]:
    """Return rowid → the values of a column as its index has them."""
    for (name,) in connection.exec_driver_sql(
        f"SELECT name FROM pragma_index_list('{table.name}')"
    ).all():
        columns = connection.exec_driver_sql(
            "SELECT name FROM pragma_index_info(?)", (name,)
        ).scalars()
        if list(columns) == [column]:
            rows = connection.exec_driver_sql(
                f'SELECT rowid, "{column}" FROM "{table.name}" INDEXED BY "{name}" '
                f'ORDER BY "{column}"'
            )
            return dict(map(tuple, rows))
    return {}


def _apply(
    opened: OpenStore,
    connection: Connection,
    row: DamagedRow,
    mended: tuple[dict[str, Any], str] | None,
    now: int,
) -> Outcome:
    if mended is not None:
        _write(connection, row, mended[0])
        return Outcome(f"mended: {mended[1]}", saved=True)
    if row.checksum.name != "checksum":
        _write(connection, row, {"alpha": 0.0, "beta": 0.0})  # which is recounted from the events
        return Outcome("made anew from the events", saved=True)
    return _FALLBACKS.get(row.table.name, _dropped)(opened, connection, row, now)


def _write(connection: Connection, row: DamagedRow, changes: Mapping[str, Any]) -> None:
    """Write what a checksum covers, with some values changed and all of them legible."""
    values = {
        name: _legible(row.table.c[name], changes.get(name, row.value(name)))
        for name in row.checksum.covers
    }
    values[row.checksum.name] = crc(values[name] for name in row.checksum.covers)
    if row.table.name == "event":  # a trigger refuses to change them
        _drop(connection, row)
        names = ", ".join(f'"{name}"' for name in ("id", *values))
        marks = ", ".join("?" * (len(values) + 1))
        connection.exec_driver_sql(
            f"INSERT INTO event ({names}) VALUES ({marks})", (row.rowid, *values.values())
        )
        return
    sets = ", ".join(f'"{name}" = ?' for name in values)
    connection.exec_driver_sql(
        f'UPDATE "{row.table.name}" SET {sets} WHERE rowid = ?', (*values.values(), row.rowid)
    )


def _legible(column: Column[Any], value: Any) -> Any:
    """Return a value, or what is left of it, as its column can hold it."""
    empty: Any = None
    if isinstance(column.type, Text):
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        empty = ""
    elif isinstance(column.type, LargeBinary):
        return value if isinstance(value, bytes) else None
    elif isinstance(value, (int, float)):
        return bool(value) if isinstance(column.type, Boolean) else value
    else:
        empty = 0
    return None if value is None and column.nullable else empty


def _drop(connection: Connection, row: DamagedRow) -> None:
    connection.exec_driver_sql(f'DELETE FROM "{row.table.name}" WHERE rowid = ?', (row.rowid,))


def _dropped(opened: OpenStore, connection: Connection, row: DamagedRow, now: int) -> Outcome:
    if row.table.name == "weights":
        connection.exec_driver_sql("DELETE FROM setting WHERE name = 'weights'")
        connection.exec_driver_sql("DELETE FROM weights")
        return Outcome("dropped with all learned weights: learn them anew", saved=False)
    _drop(connection, row)
    return Outcome(f"dropped{_AGAIN.get(row.table.name, '')}", saved=False)


_AGAIN = {
    "calibration": "; fit it anew: memstore calibrate",
    "entity_alias": "; say it again: memstore alias",
    "memory_entity": ": the memory does not name this entity any more",
}


def _without_setting(
    opened: OpenStore, connection: Connection, row: DamagedRow, now: int
) -> Outcome:
    _drop(connection, row)
    names = [
        *connection.exec_driver_sql(
            "SELECT name FROM codec UNION SELECT name FROM segment"
        ).scalars(),
        *(path.name for path in (opened.path / INDEX).glob("*-*")),
    ]
    numbers = [int(digits) for name in names for digits in re.findall(r"-(\d+)$", str(name))]
    if numbers:  # folders are never named twice
        segments.write_index_number(connection, max(numbers))
    return Outcome("dropped; what it decides is as in a new store", saved=False)


def _renamed(opened: OpenStore, connection: Connection, row: DamagedRow, now: int) -> Outcome:
    """Give a namespace or source, on which memories depend, a name that can be told apart."""
    name = f"damaged-{row.rowid}"
    changes: dict[str, Any] = {"path": name, "name": name, "m0": 0.5, "r": 1.0}
    _write(connection, row, changes)
    return Outcome(f"it is called {name!r} now", saved=False)


def _without_files(opened: OpenStore, connection: Connection, row: DamagedRow, now: int) -> Outcome:
    """Let a codec or segment name files that are not there: its passages are encoded anew."""
    manifest = '{"lost": {"sha256": "", "bytes": 0}}'
    changes = {"name": f"damaged-{row.rowid}", "manifest": manifest, "passages": 0, "tokens": 0}
    _write(connection, row, changes)
    return Outcome("made anew from the texts", saved=True)


def _renamed_entity(
    opened: OpenStore, connection: Connection, row: DamagedRow, now: int
) -> Outcome:
    spelled = connection.exec_driver_sql(
        "SELECT display FROM memory_entity WHERE entity_id = ? LIMIT 1", (row.rowid,)
    ).scalar()
    canon = canonical(spelled) if isinstance(spelled, str) else f"damaged-{row.rowid}"
    _write(connection, row, {"canon": canon, "label": None})
    return Outcome(f"it is {canon!r} now, without a label", saved=False)


def _without_passage(
    opened: OpenStore, connection: Connection, row: DamagedRow, now: int
) -> Outcome:
    vectors.leave_tombstones(connection, passage.c.id == row.rowid)
    _drop(connection, row)
    return Outcome("made anew from the text", saved=True)


def _without_event(opened: OpenStore, connection: Connection, row: DamagedRow, now: int) -> Outcome:
    """Drop an event, and say of its memory, if it is known, that one is missing."""
    _drop(connection, row)
    id_ = row.value("memory_id")
    known = connection.exec_driver_sql(
        "SELECT 1 FROM memory WHERE CAST(id AS BLOB) = ?",
        (str(id_).encode("utf-8", "surrogateescape"),),
    ).scalar()
    if known and isinstance(id_, str):
        log.append_event(connection, id_, "repair", now=now, payload={"lost_event": row.rowid})
    return Outcome("dropped: the history has a gap there", saved=False)


def _forgotten(opened: OpenStore, connection: Connection, row: DamagedRow, now: int) -> Outcome:
    """Forget a memory; its row stays, with what is left of it."""
    vectors.delete_passages(connection, [row.rowid])
    connection.execute(delete(memory_entity).where(among(memory_entity.c.memory_row, [row.rowid])))
    changes: dict[str, Any] = {"forgotten_at": now}
    for column, table in (("namespace_id", "namespace"), ("source_id", "source")):
        there = connection.exec_driver_sql(
            f'SELECT 1 FROM "{table}" WHERE id = ?', (row.value(column),)
        ).scalar()
        if not there:
            changes[column] = None
    if "namespace_id" in changes:
        changes["namespace_id"] = memories.namespace_id(connection, "damaged")
    _write(connection, row, changes)
    id_ = connection.exec_driver_sql("SELECT id FROM memory WHERE rowid = ?", (row.rowid,)).scalar()
    if id_ is None:
        raise damaged(_place(row), "it cannot be found by its number")
    log.append_event(connection, id_, _LOST, now=now)
    namespace = connection.exec_driver_sql(
        "SELECT path FROM memory JOIN namespace ON namespace.id = namespace_id "
        "WHERE memory.rowid = ?",
        (row.rowid,),
    ).scalar()
    left = _legible(row.table.c.text, row.value("text"))[:_SHOWN]
    return Outcome(
        f"it cannot be mended and is forgotten; it was in namespace {namespace!r}, and what is "
        f"left of its text begins {left!r}. Restore it from a backup",
        saved=False,
    )


def _place(row: DamagedRow) -> str:
    return row.place.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_Fallback = Callable[[OpenStore, Connection, DamagedRow, int], Outcome]
_FALLBACKS: dict[str, _Fallback] = {
    "setting": _without_setting,
    "namespace": _renamed,
    "source": _renamed,
    "memory": _forgotten,
    "passage": _without_passage,
    "codec": _without_files,
    "segment": _without_files,
    "entity": _renamed_entity,
    "event": _without_event,
}
