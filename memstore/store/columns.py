"""The columns of all memories that decide who may be found, and a copy of them beside the index.

The database has the truth. The copy makes opening a store of any size a matter of milliseconds: it
is mapped into memory, and what the event log names since then is read from the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, case, func, select

from memstore.catalog.checksums import check_order
from memstore.catalog.log import changed_since, read_setting, write_setting
from memstore.catalog.memories import live, starts_at, undated
from memstore.catalog.sql import bare_rows, listed
from memstore.catalog.tables import memory
from memstore.errors import IndexDamaged
from memstore.index import FolderWriter, Manifest, check_sizes, folder_of, read_array

NEVER = np.iinfo(np.int64).max
ALWAYS = np.iinfo(np.int64).min

# microseconds; `start`: when it begins to hold, ALWAYS if nobody knows; NEVER: open, or not
# retracted
NAMES = ("row", "namespace_id", "start", "valid_to", "recorded_at", "expired_at")
_ID = np.dtype("S26")  # a ULID, or of any longer id a hash of that length
_SETTING = "columns"
_PAGE = 4096  # memories read at once


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Live memories in the order of their rows; every array is (memories,).

    `by_id` sorts the ids.
    """

    values: dict[str, NDArray[np.int64]]
    ids: NDArray[np.bytes_]
    by_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def position(self, id_: str) -> int | None:
        """Return where a memory is, None if it is not there."""
        wanted = np.array(id_key(id_), dtype=_ID)
        place = int(np.searchsorted(self.ids, wanted, sorter=self.by_id))
        if place < len(self) and self.ids[self.by_id[place]] == wanted:
            return int(self.by_id[place])
        return None


@dataclass(frozen=True, slots=True)
class CopyRow:
    """Where the copy lies, and the last event that it knows of."""

    name: str
    manifest: Manifest
    version: int


def id_key(id_: str) -> bytes:
    """Return an id as the columns hold it: imported ones may be longer than those made here."""
    key = id_.encode()
    if len(key) <= _ID.itemsize:
        return key
    return hashlib.sha256(key).hexdigest()[: _ID.itemsize].encode()


def read_columns(connection: Connection, ids: Sequence[str] | None = None) -> Columns:
    """Return the columns of some live memories, or of all."""
    pages = [_page(rows) for rows in _pages(connection, ids)] or [_page(())]
    order = np.argsort(np.concatenate([values[0] for values, _ in pages]), kind="stable")
    values = {
        name: np.concatenate([values[number] for values, _ in pages])[order]
        for number, name in enumerate(NAMES)
    }
    found = np.concatenate([keys for _, keys in pages])[order]
    return Columns(values, found, np.argsort(found, kind="stable"))


_columns = select(
    memory.c.row,
    memory.c.namespace_id,
    case((undated, int(ALWAYS)), else_=starts_at),
    func.coalesce(memory.c.valid_to, int(NEVER)),
    memory.c.recorded_at,
    func.coalesce(memory.c.expired_at, int(NEVER)),
    memory.c.id,
).where(live)
_named = _columns.where(listed(memory.c.id, "ids"))
_following = _columns.where(memory.c.row > bindparam("after")).order_by(memory.c.row).limit(_PAGE)


def _pages(
    connection: Connection, ids: Sequence[str] | None
) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Yield some thousand rows at a time: all at once take gigabytes, and stall other threads."""
    if ids is not None:
        for start in range(0, len(ids), _PAGE):
            yield bare_rows(connection, _named, {"ids": json.dumps(ids[start : start + _PAGE])})
        return
    after = -1
    while rows := bare_rows(connection, _following, {"after": after}):
        check_order((row[0] for row in rows), after)
        yield rows
        after = rows[-1][0]


def _page(rows: Sequence[tuple[Any, ...]]) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
    """Return the values of some rows, (columns, rows), and their ids."""
    values = np.array([row[:-1] for row in rows], dtype=np.int64).reshape(-1, len(NAMES))
    return values.T, np.array([id_key(row[-1]) for row in rows], dtype=_ID)


def differs(columns: Mapping[str, NDArray[np.int64]], position: int, row: Any) -> str | None:
    """Return in what a memory's row is not as the columns have it at a position, None if in
    nothing. They decided that it may be found.
    """
    if row.forgotten_at is not None:
        return "forgotten_at"
    begins = next(at for at in (row.valid_from, row.occurred_at, row.recorded_at) if at is not None)
    true = {
        "row": row.row,
        "namespace_id": row.namespace_id,
        "start": ALWAYS if row.valid_from is None and row.t_precision == "unknown" else begins,
        "valid_to": NEVER if row.valid_to is None else row.valid_to,
        "recorded_at": row.recorded_at,
        "expired_at": NEVER if row.expired_at is None else row.expired_at,
    }
    return next((name for name in NAMES if columns[name][position] != true[name]), None)


def read_nothing() -> Columns:
    """Return the columns of no memories."""
    empty = np.empty(0, dtype=np.int64)
    return Columns(dict.fromkeys(NAMES, empty), np.empty(0, dtype=_ID), empty)


def copy_row(connection: Connection) -> CopyRow | None:
    """Return which copy the database names; None if there is none."""
    stored = read_setting(connection, _SETTING)
    if not isinstance(stored, dict) or stored.keys() != {"name", "manifest", "version"}:
        return None  # nothing depends on it: the next sealing makes a new one
    return CopyRow(**stored) if type(stored["version"]) is int else None


def write_copy(folder: Path, columns: Columns) -> Manifest:
    """Write a copy to a new folder and return its manifest."""
    with FolderWriter(folder) as writer:
        for name, values in columns.values.items():
            writer.whole_array(name, values)
        writer.whole_array("ids", columns.ids)
        writer.whole_array("by_id", columns.by_id)
        return writer.manifest()


def name_copy(connection: Connection, copy: CopyRow | None) -> None:
    """Name a copy in the database in place of the one before; None: none."""
    value = None
    if copy is not None:
        value = {"name": copy.name, "manifest": copy.manifest, "version": copy.version}
    write_setting(connection, _SETTING, value)


def open_copy(folder: Path, copy: CopyRow) -> Columns | None:
    """Return the copy, mapped into memory; None if it cannot be used: nothing depends on it."""
    try:
        place = folder_of(folder, copy.name)
        check_sizes(place, copy.manifest)
        values = {name: read_array(place, name, np.int64, ()) for name in NAMES}
        ids = read_array(place, "ids", _ID, ())
        by_id = read_array(place, "by_id", np.int64, ())
    except (OSError, IndexDamaged):
        return None
    if {len(array) for array in (*values.values(), ids, by_id)} != {len(ids)}:
        return None
    if len(ids) and not 0 <= by_id.min() <= by_id.max() < len(ids):  # it is an index
        return None
    return Columns(values, ids, by_id)


def as_of_now(connection: Connection, copy: CopyRow, copied: Columns) -> Columns:
    """Return what is known of all memories from the copy and what the event log names since."""
    changed = changed_since(connection, copy.version)
    keep = np.ones(len(copied), dtype=np.bool_)
    keep[[place for id_ in changed if (place := copied.position(id_)) is not None]] = False
    newer = read_columns(connection, changed)
    values = {
        name: np.concatenate([copied.values[name][keep], newer.values[name]]) for name in NAMES
    }
    order = np.argsort(values["row"], kind="stable")
    ids = np.concatenate([copied.ids[keep], newer.ids])[order]
    values = {name: column[order] for name, column in values.items()}
    return Columns(values, ids, np.argsort(ids, kind="stable"))
