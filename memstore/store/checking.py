"""`verify`: does everything the store says about itself agree? And `repair`, from the texts."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from sqlalchemy import Connection, func, select, text

from memstore.catalog import full_text, links, log, memories, segments, vectors
from memstore.catalog.damage import CHECKED, any_bytes, integrity, lost_pages
from memstore.catalog.engine import SENSELESS, named_errors, reading, rewrite, writing
from memstore.catalog.tables import (
    entity_count,
    event,
    memory,
    memory_entity,
    metadata,
    passage,
    segment,
)
from memstore.errors import IndexDamaged
from memstore.store.backing_up import index_at_rest
from memstore.store.checking_passages import broken_passages, reencode
from memstore.store.checking_sealed import broken_copy, broken_segments, drop, rows_in
from memstore.store.columns import name_copy
from memstore.store.counters import differing, recount
from memstore.store.index_files import INDEX, remove_replaced
from memstore.store.mending_rows import Key, Outcome, Rows, described, mend_rows, wrong_rows
from memstore.store.opening import OpenStore
from memstore.store.renumbering import renumber
from memstore.types import Finding, VerifyReport

# tables whose rows are worth nothing without their parents
_DERIVED = ("passage", "hot_vector", "memory_entity", "entity_count", "tombstone")
_RESTORE = (
    "this cannot be repaired from what is there: restore a backup; without one, SQLite's own "
    "`.recover` may still save rows"
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Orphan:
    table: str
    row: int
    parent: str


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What disagrees: what SQLite says of the file, and what could not be compared; tables that
    cannot be read; rows that are not as they were written; rows without parents; memory row → what
    is wrong with its passages; segment → what is wrong with its files; what is wrong with the copy
    of the columns; namespace and entity → what is wrong with their count; memory row → which of its
    counters of feedback are not as the event log has them; memories without an event.
    """

    file: list[str]
    unread: list[str]
    rows: Rows
    orphans: list[_Orphan]
    passages: dict[int, str]
    words: str | None
    segments: dict[int, str]
    copy: str | None
    counts: dict[tuple[int, int], str]
    counters: dict[int, str]
    silent: list[str]

    def findings(self) -> dict[tuple[str, object], str]:
        """Return code and place → what is wrong there."""
        return {
            **{("sqlite", message): message for message in (*self.file, *self.unread)},
            **{("checksum", key): described(row) for key, row in self.rows.items()},
            **{
                ("foreign_key", item): f"row {item.row} of {item.table} lost its parent in "
                f"{item.parent}"
                for item in self.orphans
            },
            **{("passages", row): message for row, message in self.passages.items()},
            **({} if self.words is None else {("full_text", None): self.words}),
            **{("segment", id_): message for id_, message in self.segments.items()},
            **({} if self.copy is None else {("columns", None): self.copy}),
            **{("entity_count", place): message for place, message in self.counts.items()},
            **{("feedback", row): message for row, message in self.counters.items()},
            **{("event", id_): f"memory {id_} has no event" for id_ in self.silent},
        }


def verify(opened: OpenStore, *, repair: bool, now: int) -> VerifyReport:
    """Check the database, and with `repair` rebuild what is derived from what is true.

    Rows under another number are moved back first. Rows are mended where a flipped bit can be
    found, else dropped, and memories forgotten. Rebuilt are passages with their vectors (from the
    texts), sealed ones as hot, entity counts (from the links), and trust and use (from the events);
    passages, vectors and links of something that is not there any more are removed.
    """
    if repair:
        opened.check_writable()
    told: dict[Key, Outcome] = {}
    unfinished: list[Finding] = []
    moved: list[Finding] = []
    with index_at_rest(opened):
        if repair:  # before all else: nothing can be found by an order that is not kept
            with contextlib.suppress(IndexDamaged):  # where this fails, the rest may not
                moved = [
                    Finding(code="sqlite", message=message, repaired=True)
                    for message in renumber(opened, now=now)
                ]
        try:
            with reading(opened.engine, opened.path) as connection:
                wrong = _compare(connection, opened)
                named = {} if wrong.rows else _names(connection)
                checked = {
                    "memories": connection.scalar(select(func.count()).where(memories.live)) or 0,
                    "passages": connection.scalar(select(func.count()).select_from(passage)) or 0,
                    "segments": connection.scalar(select(func.count()).select_from(segment)) or 0,
                    "events": connection.scalar(select(func.count()).select_from(event)) or 0,
                }
        except IndexDamaged as error:  # too damaged to be read
            return VerifyReport(
                findings=(*moved, Finding(code="sqlite", message=str(error))), checked={}
            )
        if opened.read_only and not wrong.rows:
            wrong = _still_wrong(opened, wrong, named)
        left, found = wrong, wrong.findings()

        def look() -> _Wrong:
            """Compare again, and note what could not be seen before."""
            still = _compared(opened)
            for place, message in still.findings().items():
                found.setdefault(place, message)
            return still

        # what is written anew of a table that cannot be read might be made up by what was damaged
        if repair and found and not wrong.unread:
            try:
                left = _repair(opened, wrong, told, look, now)
            except IndexDamaged as error:  # too damaged to be written
                unfinished.append(Finding(code="sqlite", message=str(error)))
                left = look()
    after = left.findings()
    findings = [
        _finding(code, place, message, told, gone=(code, place) not in after)
        for (code, place), message in found.items()
    ]
    if repair and (left.file or left.unread or unfinished):
        findings.append(Finding(code="sqlite", message=_RESTORE))
    return VerifyReport(findings=(*moved, *findings, *unfinished), checked=checked)


def _finding(
    code: str, place: object, message: str, told: Mapping[Key, Outcome], *, gone: bool
) -> Finding:
    outcome = told.get(cast(Key, place)) if code == "checksum" else None
    if outcome is None:
        return Finding(code=code, message=message, repaired=gone)
    return Finding(
        code=code, message=f"{message}: {outcome.message}", repaired=gone and outcome.saved
    )


def _compare(connection: Connection, opened: OpenStore) -> _Wrong:
    dim, index = opened.identity.dim, opened.path / INDEX
    file, unread = integrity(connection), []
    rows: Rows = {}
    for table in CHECKED:
        try:
            with named_errors(opened.path):
                rows |= wrong_rows(connection, table)
        except IndexDamaged as error:
            unread.append(f"table {table.name} cannot be read: {error}")

    def tried(look: Callable[[], T], nothing: T) -> T:
        """Look at more, unless what is wrong already is in the way."""
        try:
            with named_errors(opened.path):
                return look()
        except IndexDamaged as error:
            if not (rows or file or unread):
                file.append(str(error))
        except SENSELESS:
            if not (rows or file or unread):
                raise
        return nothing

    with any_bytes(connection):
        file += tried(lambda: _changed_schema(connection), [])
        return _Wrong(
            file,
            unread,
            rows,
            tried(lambda: _orphans(connection), []),
            tried(lambda: broken_passages(connection, dim), {}),
            tried(lambda: full_text.difference(connection), None),
            tried(lambda: broken_segments(connection, index, dim), {}),
            tried(lambda: broken_copy(connection, index), None),
            tried(lambda: _wrong_counts(connection), {}),
            tried(lambda: _wrong_counters(connection), {}),
            tried(lambda: memories.without_event(connection), []),
        )


def _names(connection: Connection) -> dict[int | None, str]:
    """Return the folders' names: segment id → its, None → the codec's."""
    named: dict[int | None, str] = {
        row.id: row.name for row in segments.current_segments(connection)
    }
    codec = segments.current_codec(connection)
    return named if codec is None else {**named, None: codec.name}


def _still_wrong(opened: OpenStore, wrong: _Wrong, named: dict[int | None, str]) -> _Wrong:
    """Leave out folders that another process has replaced while they were looked at."""
    with reading(opened.engine, opened.path) as connection:
        now = _names(connection)
        copied = wrong.copy and broken_copy(connection, opened.path / INDEX)
    same = now.get(None) == named.get(None)
    return replace(
        wrong,
        segments={
            id_: message
            for id_, message in wrong.segments.items()
            if same and now.get(id_) == named.get(id_)
        },
        copy=copied,
    )


def _repair(
    opened: OpenStore,
    wrong: _Wrong,
    told: dict[Key, Outcome],
    look: Callable[[], _Wrong],
    now: int,
) -> _Wrong:
    """Repair what can be, and return what is wrong after it. For whoever holds the index.

    Args:
        told: gets what became of the rows that were not as they were written.
        look: compares again.
    """
    index = opened.path / INDEX
    words = wrong.words is not None or any(full_text.NAME in message for message in wrong.file)
    if words:  # what is mended takes passages out of it
        with writing(opened.engine, opened.path) as connection:
            full_text.clear(connection)
    if wrong.rows or wrong.file:
        told |= mend_rows(opened, wrong.rows, reindex=bool(wrong.file), now=now)
        wrong = look()  # what these hid
    if wrong.file and not lost_pages(wrong.file):  # free pages, perhaps, that are none
        rewrite(opened.engine, opened.path, checked=True)
        wrong = look()  # rows too that could not be read, or not be found by others
        if wrong.rows:
            told |= mend_rows(opened, wrong.rows, reindex=False, now=now)
            wrong = look()
    if wrong.orphans:
        with writing(opened.engine, opened.path) as connection:
            _remove(connection, wrong.orphans)
    with reading(opened.engine, opened.path) as connection:
        # again: memories lost passages with the rows that were removed, and segments gained
        # deleted ones
        broken = broken_passages(connection, opened.identity.dim)
        rows = rows_in(connection, [*wrong.segments]) | wrong.passages.keys() | broken.keys()
    if rows:
        reencode(opened, sorted(rows), now)
    if wrong.segments or wrong.copy is not None:
        with writing(opened.engine, opened.path) as connection:
            drop(connection, [*wrong.segments])
            if wrong.copy is not None:
                name_copy(connection, None)  # the next sealing makes a new one
            log.append_event(connection, log.STORE, log.SEAL, now=now)
        remove_replaced(opened.engine, opened.path, index)
    if wrong.counts or wrong.orphans:
        with writing(opened.engine, opened.path) as connection:
            links.recount(connection)
    if wrong.counters:
        with writing(opened.engine, opened.path) as connection:
            recount(connection)
    left = look()
    if words or left.words is not None:
        with writing(opened.engine, opened.path) as connection:
            full_text.rebuild(connection)
        left = look()
    return left


def _compared(opened: OpenStore) -> _Wrong:
    with reading(opened.engine, opened.path) as connection:
        return _compare(connection, opened)


def _changed_schema(connection: Connection) -> list[str]:
    """Return which columns and foreign keys are not as they were created: the schema is damaged."""
    changed = []
    for table in metadata.sorted_tables:
        columns = {
            (column.name, column.type.compile(connection.dialect), int(not column.nullable))
            for column in table.columns
        }
        if columns != {
            (row.name, row.type, row.notnull)
            for row in connection.execute(text(f'PRAGMA table_info("{table.name}")'))
        }:
            changed.append(f"the schema is damaged: the columns of {table.name} are changed")
        keys = {
            (key.column.table.name, key.parent.name, key.column.name, key.ondelete or "NO ACTION")
            for key in table.foreign_keys
        }
        if keys != {
            (row.table, getattr(row, "from"), row.to, row.on_delete)
            for row in connection.execute(text(f'PRAGMA foreign_key_list("{table.name}")'))
        }:
            changed.append(f"the schema is damaged: the foreign keys of {table.name} are changed")
    return changed


def _orphans(connection: Connection) -> list[_Orphan]:
    """Return the rows whose parent is gone."""
    return [
        _Orphan(str(row[0]), int(row[1]), str(row[2]))
        for row in connection.execute(text("PRAGMA foreign_key_check"))
        if row[2] in metadata.tables  # else it is the schema that names another
    ]


def _remove(connection: Connection, orphans: Sequence[_Orphan]) -> None:
    for item in orphans:
        if item.table == "passage":
            vectors.leave_tombstones(connection, passage.c.id == item.row)
        if item.table in _DERIVED:
            connection.execute(
                text(f"DELETE FROM {item.table} WHERE rowid = :row"), {"row": item.row}
            )


def _wrong_counts(connection: Connection) -> dict[tuple[int, int], str]:
    linked = Counter(
        {
            (row[0], row[1]): row[2]
            for row in connection.execute(
                select(memory.c.namespace_id, memory_entity.c.entity_id, func.count())
                .join(memory, memory.c.row == memory_entity.c.memory_row)
                .where(memories.live, memory.c.expired_at.is_(None))
                .group_by(memory.c.namespace_id, memory_entity.c.entity_id)
            )
        }
    )
    counted = Counter(
        {
            (row.namespace_id, row.entity_id): row.memories
            for row in connection.execute(select(entity_count))
        }
    )
    return {
        place: f"entity {place[1]} in namespace {place[0]}: "
        f"{linked[place]} memories link to it, {counted[place]} are counted"
        for place in sorted(linked.keys() | counted.keys())
        if linked[place] != counted[place]
    }


def _wrong_counters(connection: Connection) -> dict[int, str]:
    names = ("alpha", "beta", "use_count", "first_use_at", "use_ring")
    return {
        cached.row: f"memory {cached.id}: "
        + ", ".join(
            f"{name} is {getattr(cached, name)}, its events make {getattr(right, name)}"
            for name in names
            if getattr(cached, name) != getattr(right, name)
        )
        for cached, right in differing(connection)
    }
