"""Memories as rows: writing them, reading them back, finding the ones a new one relates to."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
)

from memstore.catalog.checksums import check, check_number, check_order, crc, damaged, update_row
from memstore.catalog.log import JOINED_SOURCE, checked_source
from memstore.catalog.sql import (
    among,
    bare_rows,
    insert_all,
    inserted,
    listed,
    number_by,
    unindexed,
)
from memstore.catalog.tables import event, memory, memory_entity, namespace, source
from memstore.times import from_microseconds
from memstore.types import Memory

live = memory.c.forgotten_at.is_(None)
# not t_ref: that a fact was confirmed later must not move when it began
starts_at = func.coalesce(memory.c.valid_from, memory.c.occurred_at, memory.c.recorded_at)
# nobody knows when it happened, or from when on it held
undated = and_(memory.c.valid_from.is_(None), memory.c.t_precision == "unknown")


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """The columns of a memory as its writer gives them; times in UTC microseconds."""

    id: str
    namespace_id: int
    key: str | None
    session: str | None
    title: str | None
    text: str
    content_hash: str
    metadata: str
    source_id: int | None
    recorded_at: int
    occurred_at: int | None
    valid_from: int | None
    valid_to: int | None
    half_life_s: float | None
    prior: float | None
    alpha: float
    beta: float
    importance: float
    t_ref: int | None
    entities_given: bool
    kind: str | None = None
    t_end: int | None = None
    t_precision: str = "instant"
    superseded_by: str | None = None


def insert_memories(connection: Connection, rows: Iterable[MemoryRow]) -> list[int]:
    """Store memories and return their row numbers."""
    fields = MemoryRow.__dataclass_fields__
    return insert_all(
        connection, memory, [{field: getattr(row, field) for field in fields} for row in rows]
    )


def update_memory(connection: Connection, row: int, **values: Any) -> None:
    """Overwrite columns of one memory."""
    update_row(connection, memory, memory.c.row == row, **values)


def delete_memories(connection: Connection, rows: Sequence[int]) -> None:
    """Remove memories without trace (their events apart)."""
    connection.execute(delete(memory).where(among(memory.c.row, rows)))


def namespace_id(connection: Connection, path: str) -> int:
    """Return the id of a namespace, creating it."""
    known = find_namespace(connection, path)
    if known is not None:
        return known
    return inserted(connection.execute(insert(namespace), {"path": path}))


def find_namespace(connection: Connection, path: str) -> int | None:
    """Return the id of a namespace, None when nothing was ever stored in it."""
    return _id_of(connection, namespace.c.path, path)


def _id_of(connection: Connection, column: Column[str], name: str) -> int | None:
    table = column.table
    found: int | None = connection.scalar(select(table.c.id).where(column == name))
    if found is None:  # rarely
        row = connection.execute(select(table).where(unindexed(column) == name)).first()
        found = None if row is None else row.id
    return found


def namespaces_under(connection: Connection, path: str) -> dict[int, str]:
    """Return id → path of a namespace and of all below it; of all there are for `*`."""
    statement = select(namespace, number_by(namespace.c.path))
    if path != "*":
        # not LIKE, which takes "Team/" for "team/"; "0" is the character behind "/"
        below = and_(namespace.c.path > f"{path}/", namespace.c.path < f"{path}0")
        statement = statement.where(or_(namespace.c.path == path, below))
    rows = connection.execute(statement).all()
    for row in rows:
        check(namespace, row)
        check_number(f"namespace {row.path!r}", row.id, row.namespace_number)
    return {row.id: row.path for row in rows}


def count_by_namespace(connection: Connection, path: str) -> dict[str, int]:
    """Return path → number of live memories, of a namespace and all below it that hold any."""
    paths = namespaces_under(connection, path)
    counted = select(memory.c.namespace_id, func.count()).where(
        live, among(memory.c.namespace_id, paths)
    )
    rows = connection.execute(counted.group_by(memory.c.namespace_id)).all()
    return {paths[space]: count for space, count in rows}


_sources = select(source.c.name, source.c.id).where(listed(source.c.name, "names"))


def known_sources(connection: Connection, names: Iterable[str | None]) -> dict[str, int]:
    """Return name → id of those sources that there are."""
    wanted = [name for name in names if name is not None]
    return dict(bare_rows(connection, _sources, {"names": json.dumps(wanted)})) if wanted else {}


def source_id(connection: Connection, name: str | None) -> int | None:
    """Return the id of a source, creating it; None for no source."""
    if name is None:
        return None
    known = _id_of(connection, source.c.name, name)
    if known is not None:
        return known
    return inserted(connection.execute(insert(source), {"name": name}))


@dataclass(frozen=True, slots=True)
class Times:
    """When a memory happened, held and was learned; UTC microseconds."""

    occurred_at: int | None
    valid_from: int | None
    valid_to: int | None
    observed_at: int | None
    recorded_at: int
    precision: str
    starts_at: int


def times_of(connection: Connection, row: int) -> Times:
    """Return the times of one memory."""
    found = connection.execute(
        select(
            memory.c.occurred_at,
            memory.c.valid_from,
            memory.c.valid_to,
            memory.c.observed_at,
            memory.c.recorded_at,
            memory.c.t_precision,
            starts_at,
        ).where(memory.c.row == row)
    ).one()
    return Times(*found)


def load(connection: Connection, condition: ColumnElement[bool]) -> dict[int, Memory]:
    """Return row number → memory for the rows that meet the condition, forgotten ones too."""
    rows = connection.execute(_memories.where(condition)).all()
    return {row.row: _memory(row) for row in rows}


def load_rows(connection: Connection, rows: Iterable[int]) -> dict[int, Memory]:
    """Return row number → memory."""
    return {row: found for row, (found, _) in load_with_columns(connection, rows).items()}


def load_with_columns(
    connection: Connection, rows: Iterable[int]
) -> dict[int, tuple[Memory, Row[Any]]]:
    """Return row number → memory, and its row with all columns."""
    found = connection.execute(_memories_of, {"rows": json.dumps([*rows])}).all()
    return {row.row: (_memory(row), row) for row in found}


def load_page(
    connection: Connection,
    condition: ColumnElement[bool],
    after: int | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> list[tuple[int, Memory]]:
    """Return up to `limit` live memories with their rows, in stored order or the opposite one.

    Args:
        after: the row that the page before ended with, None for the first page.
    """
    number = memory.c.row
    statement = _memories.where(live, condition)
    if after is not None:
        statement = statement.where(number < after if newest_first else number > after)
    rows = connection.execute(
        statement.order_by(number.desc() if newest_first else number).limit(limit)
    ).all()
    numbers = [row.row for row in rows]
    if newest_first:  # told from the last one, a page is in stored order
        check_order([*numbers[::-1], *([] if after is None else [after])], 0)
    else:
        check_order(numbers, after or 0)
    return [(row.row, _memory(row)) for row in rows]


def live_rows(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """Return id → row of those ids that are live memories."""
    rows = connection.execute(
        select(memory.c.id, memory.c.row).where(live, among(memory.c.id, ids))
    )
    return {row.id: row.row for row in rows}


def without_event(connection: Connection) -> list[str]:
    """Return the ids of memories, forgotten ones too, that came from no event."""
    logged = select(event.c.id).where(event.c.memory_id == memory.c.id)
    return list(connection.scalars(select(memory.c.id).where(~logged.exists())))


def names_of(connection: Connection, rows: Iterable[int]) -> dict[int, tuple[str, str | None]]:
    """Return row → id and key."""
    statement = select(memory.c.row, memory.c.id, memory.c.key).where(among(memory.c.row, rows))
    return {row.row: (row.id, row.key) for row in connection.execute(statement)}


def matching_rows(connection: Connection, condition: ColumnElement[bool]) -> list[int]:
    """Return the row numbers of the live memories that meet the condition, in stored order."""
    return list(
        connection.scalars(select(memory.c.row).where(live, condition).order_by(memory.c.row))
    )


_contents = select(memory.c.namespace_id, memory.c.content_hash).where(
    live,
    # named, though all are: it is what the index on both columns begins with
    memory.c.namespace_id.in_(select(namespace.c.id)),
    listed(memory.c.content_hash, "hashes"),
)


def stored_contents(connection: Connection, content_hashes: Iterable[str]) -> set[tuple[int, str]]:
    """Return namespace and hash of those contents that live memories were stored with."""
    return {*bare_rows(connection, _contents, {"hashes": json.dumps([*content_hashes])})}


def taken_keys(
    connection: Connection, namespaces: Iterable[int], keys: Collection[str]
) -> set[tuple[int, str | None]]:
    """Return namespace and key of those keys that live memories of these namespaces have."""
    if not keys:
        return set()
    rows = connection.execute(
        select(memory.c.namespace_id, memory.c.key).where(
            live, among(memory.c.namespace_id, namespaces), among(memory.c.key, keys)
        )
    )
    return {(row.namespace_id, row.key) for row in rows}


def unchanged(
    connection: Connection,
    namespace: int,
    content_hash: str,
    *,
    text: str | None,
    retracted_too: bool = True,
    holding_at: int | None = None,
    own_end: int | None = None,
) -> int | None:
    """Return the row of a live memory that was stored with this very content, else None.

    Args:
        text: what its text must still be; None if a later correction of it does not matter.
        retracted_too: whether one counts that was said to have never been true.
        holding_at: when it must not have ended yet, unless at `own_end`; None if that does not
            matter.
    """
    statement = select(memory.c.row).where(
        live, memory.c.namespace_id == namespace, memory.c.content_hash == content_hash
    )
    if text is not None:
        statement = statement.where(memory.c.text == text)
    if holding_at is not None:
        ends = memory.c.valid_to
        holds = or_(ends.is_(None), ends > holding_at, ends == own_end)
        statement = statement.where(holds)
    if not retracted_too:
        statement = statement.where(memory.c.expired_at.is_(None))
    return connection.scalar(statement.order_by(memory.c.row).limit(1))


_versions = (
    select(
        memory.c.row,
        memory.c.id,
        starts_at.label("start"),
        memory.c.valid_to,
        memory.c.superseded_by,
    )
    .where(
        live,
        memory.c.expired_at.is_(None),
        memory.c.namespace_id == bindparam("namespace"),
        memory.c.key == bindparam("key"),
    )
    .order_by(starts_at, memory.c.row)
)


def versions(connection: Connection, namespace: int, key: str) -> list[Row[Any]]:
    """Return row, id, start, valid_to and superseded_by of a key's live memories, oldest first."""
    return list(connection.execute(_versions, {"namespace": namespace, "key": key}))


# built once, entity names included: every statement less is felt by an `add`, because encoding
# leaves nothing of the last one in the processor's caches
_links = (
    select(
        func.json_group_array(
            func.json_array(*(item for item in memory_entity.c if item.name != "memory_row"))
        )
    )
    .where(memory_entity.c.memory_row == memory.c.row)
    .correlate(memory)
    .scalar_subquery()
)
checked = select(memory, number_by(memory.c.id))  # what `check_row` needs
_memories = (
    checked.add_columns(
        *(namespace.c.path, namespace.c.checksum.label("path_checksum")),
        number_by(namespace.c.path),
        *JOINED_SOURCE,
        _links.label("links"),
    )
    .join(namespace, namespace.c.id == memory.c.namespace_id)
    .outerjoin(source, source.c.id == memory.c.source_id)
)
_memories_of = _memories.where(listed(memory.c.row, "rows"))


def check_row(row: Row[Any]) -> None:
    """Refuse a row, selected by `checked`, that is not as it was written.

    Raises:
        IndexDamaged: it is not, or lies under another number.
    """
    check(memory, row)
    check_number(f"memory {row.id}", row.row, row.memory_number)


def _memory(row: Row[Any]) -> Memory:
    """Return a memory, once it is sure that all of it is as it was written."""
    check_row(row)
    if row.path_checksum != crc([row.path]):
        raise damaged(f"namespace {row.path!r} of memory {row.id}")
    check_number(f"namespace {row.path!r}", row.namespace_id, row.namespace_number)
    checked_source(row)
    links = json.loads(row.links)
    for entity_id, role, display, checksum in links:
        if checksum != crc([row.row, entity_id, role, display]):
            raise damaged(f"entity {display!r} of memory {row.id}")

    def time(value: int | None) -> Any:
        return None if value is None else from_microseconds(value)

    return Memory(
        id=row.id,
        namespace=row.path,
        key=row.key,
        session=row.session,
        title=row.title,
        text=row.text,
        metadata=json.loads(row.metadata),
        kind=row.kind,
        source=row.source_name,
        occurred_at=time(row.occurred_at),
        precision=row.t_precision,
        recorded_at=from_microseconds(row.recorded_at),
        valid_from=time(row.valid_from),
        valid_to=time(row.valid_to),
        superseded_by=row.superseded_by,
        retracted_at=time(row.expired_at),
        half_life=None if row.half_life_s is None else timedelta(seconds=row.half_life_s),
        confidence=10.0 * row.alpha / (row.alpha + row.beta),
        alpha=row.alpha,
        beta=row.beta,
        uses=row.use_count,
        importance=row.importance,
        entities=tuple(sorted(display for _, _, display, _ in links)),
    )
