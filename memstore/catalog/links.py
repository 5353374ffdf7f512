"""Entities, and which memories mention them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from memstore.catalog.aliases import aliased_names, aliased_places, aliases_of
from memstore.catalog.checksums import (
    check,
    check_number,
    crc,
    damaged,
    intact,
    stamps,
    update_row,
)
from memstore.catalog.sql import among, bare_rows, inserted, listed, number_by, unindexed
from memstore.catalog.tables import entity, entity_count, memory, memory_entity
from memstore.types import Entity


class Link(Protocol):
    """What is stored of an entity of a memory (the entity part makes them)."""

    @property
    def canon(self) -> str: ...
    @property
    def display(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def role(self) -> str: ...


# what `check_shown` needs of an entity and of how a namespace spells it
SHOWN = (
    entity.c.canon,
    entity.c.label,
    entity.c.checksum.label("named"),
    entity.c.id.label("number"),
    number_by(entity.c.canon),
    entity_count.c.namespace_id,
    entity_count.c.entity_id,
    entity_count.c.checksum.label("spelled"),
)
_named = SHOWN[:5]
# of several namespaces that are looked at together, any spelling will do
_spelling = func.min(entity_count.c.display)
_change_count = upsert(entity_count)
_change_count = _change_count.on_conflict_do_update(
    index_elements=[entity_count.c.namespace_id, entity_count.c.entity_id],
    set_={"memories": entity_count.c.memories + _change_count.excluded.memories},
)


def link_entities(
    connection: Connection,
    memories: Iterable[tuple[int, int, Sequence[Link]]],
    *,
    counted: bool = True,
) -> None:
    """Link memories, told by row and namespace, to their entities, creating those that are new.

    Args:
        counted: False for memories that were retracted: they keep their links, for queries of what
            was known before, and these do not count.
    """
    memories = [*memories]
    known = _known_entities(connection, {link.canon for _, _, own in memories for link in own})
    rows: list[dict[str, Any]] = []
    counts: dict[tuple[int, int], tuple[int, str]] = {}  # namespace and entity → as `_count` has it
    for memory_row, namespace_id, links in memories:
        first: dict[int, Link] = {}
        for link in links:
            values = {"canon": link.canon, "label": link.label}
            if link.canon not in known:
                known[link.canon] = inserted(connection.execute(insert(entity), values))
            elif link.label is not None:
                connection.execute(
                    update(entity)
                    .where(entity.c.id == known[link.canon], entity.c.label.is_(None))
                    .values(label=link.label, **stamps(entity, values))
                )
            first.setdefault(known[link.canon], link)
        own = {"memory_row": memory_row}
        for id_, link in first.items():
            rows.append({**own, "entity_id": id_, "role": link.role, "display": link.display})
            count, display = counts.get((namespace_id, id_), (0, link.display))
            counts[namespace_id, id_] = count + counted, display
    if rows:
        connection.execute(insert(memory_entity), rows)
        _count(connection, counts)


def uncount(connection: Connection, memory_row: int) -> None:
    """Count a memory's links no more: it is about to be retracted, and keeps them."""
    place = select(memory.c.namespace_id).where(memory.c.row == memory_row)
    ids = select(memory_entity.c.entity_id).where(memory_entity.c.memory_row == memory_row)
    connection.execute(
        update(entity_count)
        .where(entity_count.c.namespace_id.in_(place), entity_count.c.entity_id.in_(ids))
        .values(memories=entity_count.c.memories - 1)
    )


def unlink_entities(
    connection: Connection, memory_row: int, namespace_id: int, *, counted: bool = True
) -> int:
    """Remove a memory's links, and with them the entities that nothing links to any more; return
    how many these are.

    Args:
        counted: as for `link_entities`.
    """
    ids = list(
        connection.scalars(
            select(memory_entity.c.entity_id).where(memory_entity.c.memory_row == memory_row)
        )
    )
    if not ids:
        return 0
    connection.execute(delete(memory_entity).where(memory_entity.c.memory_row == memory_row))
    if counted:
        _count(connection, {(namespace_id, id_): (-1, "") for id_ in ids})
    linked = exists().where(memory_entity.c.entity_id == entity.c.id)
    gone = select(entity.c.id).where(among(entity.c.id, ids), ~linked)
    # what nothing links to goes even if its count drifted: forgetting must not fail over a cache
    connection.execute(delete(entity_count).where(entity_count.c.entity_id.in_(gone)))
    # its own namespace only: an entity may be named in all of them
    own = (entity_count.c.namespace_id == namespace_id) & among(entity_count.c.entity_id, ids)
    named = (
        select(memory.c.row)
        .join(memory_entity, memory_entity.c.memory_row == memory.c.row)
        .where(
            memory.c.namespace_id == entity_count.c.namespace_id,
            memory_entity.c.entity_id == entity_count.c.entity_id,
        )
        .correlate(entity_count)
        .exists()
    )
    connection.execute(delete(entity_count).where(own, entity_count.c.memories <= 0, ~named))
    respell(connection, [namespace_id], ids)
    return connection.execute(delete(entity).where(entity.c.id.in_(gone))).rowcount


def respell(
    connection: Connection, namespace_ids: Iterable[int], entity_ids: Sequence[int] | None = None
) -> None:
    """Let namespaces spell entities as one of their memories does: the one whose spelling they had
    may be gone.

    Args:
        entity_ids: None for all.
    """
    spelled = (
        select(memory_entity.c.display)
        .join(memory, memory.c.row == memory_entity.c.memory_row)
        .where(
            memory.c.namespace_id == entity_count.c.namespace_id,
            memory_entity.c.entity_id == entity_count.c.entity_id,
        )
        .correlate(entity_count)
    )
    canon = select(entity.c.canon).where(entity.c.id == entity_count.c.entity_id)
    first = spelled.order_by(memory_entity.c.memory_row).limit(1).scalar_subquery()
    # of a count that drifted from its links, no memory has a spelling
    spelling = func.coalesce(first, canon.correlate(entity_count).scalar_subquery())
    statement = select(
        entity_count.c.namespace_id, entity_count.c.entity_id, spelling.label("display")
    ).where(
        among(entity_count.c.namespace_id, namespace_ids),
        ~spelled.where(memory_entity.c.display == entity_count.c.display).exists(),
    )
    if entity_ids is not None:
        statement = statement.where(among(entity_count.c.entity_id, entity_ids))
    for row in connection.execute(statement).all():
        this = and_(
            entity_count.c.namespace_id == row.namespace_id,
            entity_count.c.entity_id == row.entity_id,
        )
        update_row(connection, entity_count, this, display=row.display)


_known = select(entity.c.canon, entity.c.id).where(listed(entity.c.canon, "canons"))


def _known_entities(connection: Connection, canons: Collection[str]) -> dict[str, int]:
    """Return canonical form → entity id of those that are stored."""
    if not canons:
        return {}
    return dict(bare_rows(connection, _known, {"canons": json.dumps([*canons])}))


def _count(connection: Connection, changes: Mapping[tuple[int, int], tuple[int, str]]) -> None:
    """Change the counts of entities: namespace and entity → by how many memories, and the spelling
    that is used where it is new to the namespace.
    """
    connection.execute(
        _change_count,
        [
            {"namespace_id": namespace_id, "entity_id": id_, "memories": count, "display": display}
            for (namespace_id, id_), (count, display) in changes.items()
        ],
    )


def recount(connection: Connection) -> None:
    """Rebuild the counts per namespace from the links."""
    connection.execute(delete(entity_count))
    counted = (
        select(
            memory.c.namespace_id,
            memory_entity.c.entity_id,
            func.count(case((memory.c.expired_at.is_(None), 1))),
            func.min(memory_entity.c.display),
        )
        .join(memory, memory.c.row == memory_entity.c.memory_row)
        .where(memory.c.forgotten_at.is_(None))
        .group_by(memory.c.namespace_id, memory_entity.c.entity_id)
    )
    columns = ["namespace_id", "entity_id", "memories", "display"]
    rows = [dict(zip(columns, row, strict=True)) for row in connection.execute(counted)]
    if rows:
        connection.execute(insert(entity_count), rows)


def join_equal(connection: Connection) -> None:
    """Make one of entities with the same canonical form: their index, in which a bit was flipped,
    did not show the first when another was written. Counts are made anew.
    """
    canon = unindexed(entity.c.canon)
    several = (
        select(canon.label("canon"), func.max(entity.c.checksum))
        .group_by(canon)
        .having(func.count() > 1)
        .subquery()
    )
    rows = connection.execute(
        select(entity).where(canon.in_(select(several.c.canon))).order_by(entity.c.id)
    ).all()
    first: dict[str, int] = {}
    for row in rows:
        if not intact(entity, row) or first.setdefault(row.canon, row.id) == row.id:
            continue
        mentions = connection.execute(
            select(memory_entity).where(memory_entity.c.entity_id == row.id)
        ).all()
        connection.execute(delete(memory_entity).where(memory_entity.c.entity_id == row.id))
        joined = [
            {
                "memory_row": item.memory_row,
                "entity_id": first[row.canon],
                "role": item.role,
                "display": item.display,
            }
            for item in mentions
            if intact(memory_entity, item)
        ]
        if joined:
            connection.execute(upsert(memory_entity).on_conflict_do_nothing(), joined)
        connection.execute(delete(entity_count).where(entity_count.c.entity_id == row.id))
        connection.execute(delete(entity).where(entity.c.id == row.id))
    if first:
        recount(connection)


def list_entities(
    connection: Connection, namespace_ids: Sequence[int], prefix: str, limit: int
) -> tuple[Entity, ...]:
    """Return the namespaces' entities whose canonical form or alias starts so, most mentioned
    first. Memories that mention an alias count for what it stands for there.
    """
    total = func.sum(entity_count.c.memories)
    rows = connection.execute(
        # of a group, SQLite takes the columns of the row with the least display
        select(*SHOWN, _spelling.label("display"), total.label("total"))
        .join(entity_count, entity_count.c.entity_id == entity.c.id)
        .where(
            among(entity_count.c.namespace_id, namespace_ids),
            entity.c.canon.not_in(aliased_names()),
            func.substr(entity.c.canon, 1, len(prefix)) == prefix,  # LIKE would fold case
        )
        .group_by(entity.c.id)
        .having(total > 0)
        .order_by(total.desc(), entity.c.canon)
        .limit(limit)
    ).all()
    found = []
    for row in rows:
        check_shown(row)
        found.append(
            Entity(name=row.display, canonical=row.canon, label=row.label, memories=int(row.total))
        )
    found.extend(_merged_entities(connection, namespace_ids, prefix))
    found.sort(key=lambda item: (-item.memories, item.canonical))
    return tuple(found[:limit])


def _merged_entities(
    connection: Connection, namespace_ids: Sequence[int], prefix: str
) -> list[Entity]:
    """Return the entities that are an alias or have one, each with its aliases' memories."""
    places = aliased_places(namespace_ids)
    own = places.c.own == places.c.canon
    rows = connection.execute(
        # of a group, SQLite takes the columns of the row with the least spelling: the entity's own
        select(
            memory_entity,
            places.c.canon,
            func.min(case((own, "0"), else_="1") + memory_entity.c.display).label("least"),
            func.sum(own).label("own"),
            func.count(memory.c.row.distinct()).label("memories"),
        )
        .join(memory_entity, memory_entity.c.entity_id == places.c.id)
        .join(memory, memory.c.row == memory_entity.c.memory_row)
        .where(
            memory.c.namespace_id == places.c.namespace_id,
            memory.c.forgotten_at.is_(None),
            memory.c.expired_at.is_(None),
        )
        .group_by(places.c.canon)
    ).all()
    if not rows:
        return []
    for row in rows:
        check(memory_entity, row)
    named = aliases_of(connection, [row.canon for row in rows], namespace_ids)
    labels = _labels(connection, [row.canon for row in rows if row.own])
    return [
        Entity(
            name=row.display,
            canonical=row.canon,
            label=labels.get(row.canon),
            memories=int(row.memories),
            aliases=named.get(row.canon, ()),
        )
        for row in rows
        if any(name.startswith(prefix) for name in (row.canon, *named.get(row.canon, ())))
    ]


def _labels(connection: Connection, canons: Sequence[str]) -> dict[str, str | None]:
    rows = connection.execute(select(*_named).where(among(entity.c.canon, canons))).all()
    for row in rows:
        _check_named(row)
    return {row.canon: row.label for row in rows}


def check_shown(row: Any) -> None:
    """Refuse a row with the columns `SHOWN` and `display` that are not as they were written."""
    _check_named(row)
    if row.spelled != crc([row.namespace_id, row.entity_id, row.display]):
        raise damaged(f"entity {row.display!r}")


def _check_named(row: Any) -> None:
    """Refuse a row with the columns `_named` whose entity is not as it was written."""
    if row.named != crc([row.canon, row.label]):
        raise damaged(f"entity {row.canon!r}")
    check_number(f"entity {row.canon!r}", row.number, row.entity_number)


def given_names(
    connection: Connection, memory_row: int
) -> tuple[str | None, tuple[str, ...] | None]:
    """Return a memory's speaker, and the entities its writer gave; None if they are extracted."""
    rows = connection.execute(
        select(memory_entity.c.display, memory_entity.c.role)
        .where(memory_entity.c.memory_row == memory_row, memory_entity.c.role != "extracted")
        .order_by(memory_entity.c.display)
    ).all()
    speaker = next((row.display for row in rows if row.role == "speaker"), None)
    given = tuple(row.display for row in rows if row.role == "given")
    decided = connection.scalar(select(memory.c.entities_given).where(memory.c.row == memory_row))
    return speaker, given if decided else None


def entity_total(connection: Connection) -> int:
    """Return the number of entities that live memories mention."""
    counted = select(func.count(entity_count.c.entity_id.distinct()))
    return int(connection.scalar(counted.where(entity_count.c.memories > 0)) or 0)


def links_of(connection: Connection, memory_rows: Iterable[int]) -> dict[int, list[Link]]:
    """Return memory row → its links by canonical form, for those that have any."""
    rows: Sequence[Any] = connection.execute(
        select(memory_entity, *_named)
        .join(entity, entity.c.id == memory_entity.c.entity_id)
        .where(among(memory_entity.c.memory_row, memory_rows))
        .order_by(entity.c.canon)
    ).all()
    found: dict[int, list[Link]] = {}
    for row in rows:
        check(memory_entity, row)
        _check_named(row)
        found.setdefault(row.memory_row, []).append(row)
    return found


_speakers = (
    select(memory_entity.c.display)
    .join(memory, memory.c.row == memory_entity.c.memory_row)
    .where(
        memory.c.namespace_id == bindparam("namespace"),
        memory.c.session == bindparam("session"),
        memory.c.forgotten_at.is_(None),
        memory_entity.c.role == "speaker",
    )
    .distinct()
)


def session_speakers(connection: Connection, namespace_id: int, session: str) -> set[str]:
    """Return the names of those who spoke in a session."""
    place = {"namespace": namespace_id, "session": session}
    return {name for (name,) in bare_rows(connection, _speakers, place)}
