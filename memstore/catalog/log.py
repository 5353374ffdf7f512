"""The append-only event log, and the store's own settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, literal, select, update

from memstore.catalog.checksums import check, check_number, crc, damaged, stamps
from memstore.catalog.sql import among, bare_rows, inserted, number_by, unindexed
from memstore.catalog.tables import event, memory, setting, source
from memstore.times import from_microseconds, to_microseconds
from memstore.types import Event

STORE = ""  # the memory_id of events about the whole store
SEAL = "seal"  # passages moved between segments
SOURCE = "source"  # how far a source is believed
REINFORCE, CONFIRM, CONTRADICT, IMPORTANCE = "reinforce", "confirm", "contradict", "importance"
SUPERSEDE, RETRACT = "supersede", "retract"
UPDATE, FORGET, PURGE = "update", "forget", "purge"
ALIAS, CALIBRATE, LEARN = "alias", "calibrate", "learn"
REREAD = "reread"  # a text before it in its session changed or is gone: it has new vectors
# verbs that change nothing of what readers keep in memory: neither who may be found nor vectors
SILENT = frozenset(
    {SEAL, SOURCE, REINFORCE, CONFIRM, CONTRADICT, IMPORTANCE, ALIAS, CALIBRATE, LEARN}
)


# what `checked_source` needs
JOINED_SOURCE = (
    source.c.name.label("source_name"),
    *(source.c.m0, source.c.r, source.c.checksum.label("source_checksum")),
    number_by(source.c.name),
)


def append_event(
    connection: Connection,
    memory_id: str,
    verb: str,
    *,
    now: int,
    at: int | None = None,
    source_id: int | None = None,
    session: str | None = None,
    payload: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> int:
    """Append an event and return its number. `at` is when it took effect, by default `now`."""
    result = connection.execute(
        insert(event),
        {
            "memory_id": memory_id,
            "verb": verb,
            "source_id": source_id,
            "session": session,
            "at": now if at is None else at,
            "recorded_at": now,
            "payload": json.dumps(payload or {}, ensure_ascii=False),
            "idem_key": idempotency_key,
        },
    )
    return inserted(result)


def append_added(
    connection: Connection, memories: Iterable[tuple[str, int | None]], *, now: int
) -> None:
    """Append an event "add" for each of these memories, told by id and source, in one statement."""
    every = {"verb": "add", "session": None, "at": now, "recorded_at": now}
    every |= {"payload": "{}", "idem_key": None}
    rows = [{**every, "memory_id": id_, "source_id": source_id} for id_, source_id in memories]
    if rows:
        connection.execute(insert(event), rows)


# made once: every query and every `add` asks both. (A list of plain values would be bound when it
# is run, which `bare_rows` does not do.)
_last = select(func.max(event.c.id))
_changed = (
    select(event.c.memory_id)
    .where(event.c.id > bindparam("after"))
    .where(event.c.verb.not_in([literal(verb) for verb in sorted(SILENT)]))
    .order_by(event.c.id)
)


def last_event(connection: Connection) -> int:
    """Return the number of the newest event: it changes with every commit that changes memories."""
    [(newest,)] = bare_rows(connection, _last, {})
    return int(newest or 0)


def changed_since(connection: Connection, event_id: int) -> list[str]:
    """Return the distinct ids that readers must read anew, for events after `event_id`, in order
    of first mention: those of all events but the SILENT ones.
    """
    return list(
        dict.fromkeys(id_ for (id_,) in bare_rows(connection, _changed, {"after": event_id}))
    )


def validity_changes(connection: Connection, known_at: int) -> dict[int, int | None]:
    """Return memory row → the `valid_to` it had at `known_at`, where it was changed later."""
    rows = connection.execute(
        select(event, memory.c.row)
        .join(memory, memory.c.id == event.c.memory_id)
        .where(event.c.recorded_at > known_at, event.c.verb.in_((SUPERSEDE, UPDATE)))
        .order_by(event.c.id.desc())
    )
    earlier: dict[int, int | None] = {}
    for row in rows:  # newest first, so the oldest change behind known_at is what remains
        before = payload(row).get("valid_to")
        if before is not None:
            end = before[0]
            earlier[row.row] = None if end is None else to_microseconds(end, name="valid_to")
    return earlier


def history(connection: Connection, memory_id: str) -> tuple[Event, ...]:
    """Return the events of one memory, oldest first."""
    return tuple(histories(connection, [memory_id]).get(memory_id, ()))


def histories(connection: Connection, memory_ids: Iterable[str]) -> dict[str, list[Event]]:
    """Return memory id → its events, oldest first, for those that have any."""
    rows = connection.execute(
        select(event, *JOINED_SOURCE)
        .outerjoin(source, source.c.id == event.c.source_id)
        .where(among(event.c.memory_id, memory_ids))
        .order_by(event.c.id)
    )
    found: dict[str, list[Event]] = {}
    for row in map(checked_source, rows):
        found.setdefault(row.memory_id, []).append(
            Event(
                id=row.id,
                memory_id=row.memory_id,
                verb=row.verb,
                at=from_microseconds(row.at),
                recorded_at=from_microseconds(row.recorded_at),
                source=row.source_name,
                details=payload(row),
                session=row.session,
                idempotency_key=row.idem_key,
            )
        )
    return found


def checked_source(row: Row[Any]) -> Row[Any]:
    """Return a row that was joined with its source, once it is sure that this is the source.

    Raises:
        IndexDamaged: the source is not as it was written, or not there.
    """
    if row.source_id is not None:
        place = f"source {row.source_name!r} (number {row.source_id})"
        if row.source_checksum != crc([row.source_name, row.m0, row.r]):
            raise damaged(place)
        check_number(place, row.source_id, row.source_number)
    return row


def payload(row: Row[Any]) -> dict[str, Any]:
    """Return what an event says, of a row that begins with the event's columns.

    Raises:
        IndexDamaged: it is not as it was written.
    """
    check(event, row)
    found: dict[str, Any] = json.loads(row.payload)
    return found


def purged(connection: Connection, memory_ids: Iterable[str]) -> set[str]:
    """Return those of the ids whose memories were purged."""
    return set(
        connection.scalars(
            select(event.c.memory_id).where(
                event.c.verb == PURGE, among(event.c.memory_id, memory_ids)
            )
        )
    )


def erase_events(connection: Connection, memory_ids: Iterable[str]) -> int:
    """Delete the events of purged memories, whose payloads hold earlier texts; return how many."""
    erased = connection.execute(delete(event).where(among(event.c.memory_id, memory_ids)))
    return erased.rowcount


def updated(connection: Connection, memory_ids: Iterable[str]) -> bool:
    """Say whether one of the memories was ever updated: it may have had other names before."""
    changes = select(event.c.id).where(event.c.verb == UPDATE, among(event.c.memory_id, memory_ids))
    return connection.scalar(changes.limit(1)) is not None


def any_event(connection: Connection) -> bool:
    """Say whether anything was ever noted."""
    return connection.scalar(select(event.c.id).limit(1)) is not None


def read_setting(connection: Connection, name: str) -> Any:
    """Return a setting's value, None when it was never written."""
    # all, without their index, in which a flipped bit would hide one: there are few
    rows = {row.name: row for row in connection.execute(select(setting)).all()}
    # it may be the one whose name is not as it was written
    for row in [rows[name]] if name in rows else rows.values():
        check(setting, row)
    return json.loads(rows[name].value) if name in rows else None


def erase_setting(connection: Connection, name: str) -> None:
    """Delete a setting, if it was ever written."""
    connection.execute(delete(setting).where(unindexed(setting.c.name) == name))


def write_setting(connection: Connection, name: str, value: Any) -> None:
    """Write a setting; the value must be JSON."""
    written = {"name": name, "value": json.dumps(value, ensure_ascii=False)}
    changed = connection.execute(
        update(setting)
        .where(unindexed(setting.c.name) == name)
        .values(value=written["value"], **stamps(setting, written))
    )
    if not changed.rowcount:
        connection.execute(insert(setting), written)
