"""Entities as the searched namespaces know them: whom a name means, which memories mention them,
and whom those memories mention besides.

All of it is counted from the links: no edges are stored, so none can drift.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
    union,
)

from memstore.catalog.aliases import aliased_names, aliased_places, related_names, stands_for
from memstore.catalog.links import SHOWN, check_shown
from memstore.catalog.sql import among, bare_rows
from memstore.catalog.tables import (
    entity,
    entity_alias,
    entity_count,
    memory,
    memory_entity,
    namespace,
)

Counts = NDArray[np.int64]  # (entities,)


@dataclass(frozen=True, slots=True)
class EntityGroup:
    """One entity of the searched namespaces: what is stored under its name and its aliases.

    `memories` counts those that mention it. `asked` are the canonical forms it was looked up by.
    `places` says in which namespaces an entity id stands for it; None: wherever it is mentioned.
    """

    canon: str
    name: str
    label: str | None
    entity_ids: tuple[int, ...]
    memories: int
    asked: frozenset[str] = frozenset()
    places: Mapping[int, frozenset[int]] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Met:
    """An entity that is mentioned together with another one, by so many memories."""

    group: EntityGroup
    together: int
    strength: float = 0.0  # of the tie, in the caller's measure


_canons = func.json_each(bindparam("canons")).table_valued("value", name="asked")
_namespaces = func.json_each(bindparam("namespaces")).table_valued("value", name="searched")
_entities = func.json_each(bindparam("entities")).table_valued("value", name="sought")
_rows = func.json_each(bindparam("rows")).table_valued("key", "value", name="candidates")
_searched = entity_count.c.namespace_id.in_(select(_namespaces.c.value))
_described = select(  # of a group, SQLite takes the columns of the row with the least display
    *SHOWN,
    func.min(entity_count.c.display).label("display"),
    func.sum(entity_count.c.memories).label("memories"),
)
# statements of queries, built once: building one takes longer than running it
_find_names = (
    _described.select_from(_canons)
    .join(entity, entity.c.canon == _canons.c.value)
    .join(entity_count, entity_count.c.entity_id == entity.c.id)
    .where(_searched)
    .group_by(entity.c.id)
)
_find_ids = (
    _described.select_from(_entities)
    .join(entity, entity.c.id == _entities.c.value)
    .join(entity_count, entity_count.c.entity_id == entity.c.id)
    .where(_searched)
    .group_by(entity.c.id)
)
_find_aliased = union(
    select(entity_alias.c.alias).where(entity_alias.c.alias.in_(select(_canons.c.value))),
    select(entity_alias.c.canon).where(entity_alias.c.canon.in_(select(_canons.c.value))),
)
_mentioned = (
    select(_rows.c.key, memory_entity.c.entity_id)
    .select_from(_rows)
    .join(memory_entity, memory_entity.c.memory_row == _rows.c.value)
    # + 0: an index by entity would be walked over every memory that mentions a frequent one
    .where((memory_entity.c.entity_id + 0).in_(select(_entities.c.value)))
)
_mentioned_where = _mentioned.add_columns(memory.c.namespace_id).join(
    memory, memory.c.row == _rows.c.value
)


def find_entities(
    connection: Connection,
    canons: Iterable[str],
    namespace_ids: Sequence[int],
    *,
    known_at: int | None = None,
) -> tuple[EntityGroup, ...]:
    """Return whom the canonical forms mean, of those that the namespaces mention, by name.

    Args:
        known_at: only memories that had been recorded by then, and were not retracted, count; what
            has been forgotten since does not, it took its links along.
    """
    wanted = sorted(set(canons))
    aliased = set(connection.scalars(_find_aliased, {"canons": json.dumps(wanted)}))
    plain = json.dumps([canon for canon in wanted if canon not in aliased])
    groups = _plain(connection, _find_names, {"canons": plain}, namespace_ids, known_at)
    if aliased:
        groups.extend(_merged(connection, aliased, namespace_ids, known_at))
        groups.sort(key=lambda group: (group.canon, group.entity_ids))
    return tuple(groups)


def mentions(
    connection: Connection, memory_rows: Sequence[int], groups: Sequence[EntityGroup]
) -> NDArray[np.bool_]:
    """Return which memories mention which entities, (memories, entities), in their orders."""
    covered = np.zeros((len(memory_rows), len(groups)), dtype=np.bool_)
    stand_for: dict[int, list[int]] = {}
    for column, group in enumerate(groups):
        for id_ in group.entity_ids:
            stand_for.setdefault(id_, []).append(column)
    placed = any(group.places is not None for group in groups)
    found = bare_rows(
        connection,
        _mentioned_where if placed else _mentioned,
        {"rows": json.dumps(list(memory_rows)), "entities": json.dumps(sorted(stand_for))},
    )
    for key, id_, *where in found:
        for column in stand_for[id_]:
            places = groups[column].places
            covered[key, column] |= places is None or where[0] in places[id_]
    return covered


def neighbours(
    connection: Connection,
    group: EntityGroup,
    namespace_ids: Sequence[int],
    *,
    strength: Callable[[Counts, Counts], NDArray[np.float64]],
    known_at: int | None = None,
    limit: int = 32,
    least: int = 2,
) -> list[Met]:
    """Return the entities that memories mention most tellingly together with this one.

    Args:
        strength: from how many memories mention both, and how many the other one, how strong each
            tie is; of equal ones the one of more memories comes first.
        known_at: as for `find_entities`.
        least: memories that must mention both.
    """
    shared = (
        select(memory.c.row, memory.c.namespace_id)
        .join(memory_entity, memory_entity.c.memory_row == memory.c.row)
        .where(
            _means(group, memory_entity.c.entity_id, memory.c.namespace_id),
            *_known(namespace_ids, known_at),
        )
        .distinct()
        .cte("shared")
        .prefix_with("MATERIALIZED")
    )
    beside = memory_entity.alias("beside")
    aliased = select(entity.c.id).where(entity.c.canon.in_(aliased_names()))
    rows = connection.execute(
        select(beside.c.entity_id, func.count().label("together"))
        .select_from(shared)
        .join(beside, beside.c.memory_row == shared.c.row)
        .where(beside.c.entity_id.not_in(group.entity_ids), beside.c.entity_id.not_in(aliased))
        .group_by(beside.c.entity_id)
        .having(func.count() >= least)
    )
    counted: dict[int, int] = {row.entity_id: row.together for row in rows}
    sought = {"entities": json.dumps(list(counted))}
    met = [
        Met(found, counted[found.entity_ids[0]])
        for found in _plain(connection, _find_ids, sought, namespace_ids, known_at)
    ]
    if connection.scalar(select(entity_alias.c.alias).limit(1)) is not None:
        met.extend(_met_aliased(connection, group, shared, namespace_ids, known_at, least))
    strengths = strength(
        np.array([item.together for item in met], dtype=np.int64),
        np.array([item.group.memories for item in met], dtype=np.int64),
    ).tolist()
    met = [replace(item, strength=value) for item, value in zip(met, strengths, strict=True)]
    met.sort(key=lambda item: (-item.strength, -item.together, item.group.canon))
    return met[:limit]


def _met_aliased(
    connection: Connection,
    group: EntityGroup,
    shared: CTE,
    namespace_ids: Sequence[int],
    known_at: int | None,
    least: int,
) -> list[Met]:
    """Return those of the entities beside a group that are an alias or have one."""
    places = aliased_places(namespace_ids)
    beside = memory_entity.alias("beside")
    together = func.count(shared.c.row.distinct()).label("together")
    rows = connection.execute(
        select(places.c.canon, together)
        .select_from(shared)
        .join(beside, beside.c.memory_row == shared.c.row)
        .join(
            places,
            and_(
                places.c.id == beside.c.entity_id,
                places.c.namespace_id == shared.c.namespace_id,
            ),
        )
        .where(not_(_means(group, beside.c.entity_id, shared.c.namespace_id)))
        .group_by(places.c.canon)
        .having(together >= least)
    )
    counted: dict[str, int] = {row.canon: row.together for row in rows}
    return [
        Met(found, sum(counted[canon] for canon in found.asked))
        for found in find_entities(connection, counted, namespace_ids, known_at=known_at)
        if found.places != group.places
    ]


def _plain(
    connection: Connection,
    statement: Select[Any],
    sought: dict[str, str],
    namespace_ids: Sequence[int],
    known_at: int | None,
) -> list[EntityGroup]:
    """Return a group for each entity that a statement finds, by canonical form."""
    parameters = {**sought, "namespaces": json.dumps(list(namespace_ids))}
    rows = connection.execute(statement, parameters).all()
    for row in rows:
        check_shown(row)
    groups = [
        EntityGroup(
            canon=row.canon,
            name=row.display,
            label=row.label,
            entity_ids=(row.entity_id,),
            memories=int(row.memories),
            asked=frozenset((row.canon,)),
        )
        for row in rows
    ]
    if known_at is not None:
        ids = [group.entity_ids[0] for group in groups]
        told = connection.execute(
            select(memory_entity.c.entity_id, func.count().label("memories"))
            .join(memory, memory.c.row == memory_entity.c.memory_row)
            .where(among(memory_entity.c.entity_id, ids), *_known(namespace_ids, known_at))
            .group_by(memory_entity.c.entity_id)
        )
        counted: dict[int, int] = {row.entity_id: row.memories for row in told}
        groups = [
            replace(group, memories=counted[group.entity_ids[0]])
            for group in groups
            if group.entity_ids[0] in counted
        ]
    # of some, only memories are left that were retracted
    return sorted((group for group in groups if group.memories), key=lambda group: group.canon)


def _merged(
    connection: Connection,
    canons: Iterable[str],
    namespace_ids: Sequence[int],
    known_at: int | None,
) -> list[EntityGroup]:
    """Return whom canonical forms mean that are an alias or have one.

    Where namespaces disagree, a form means in each what it stands for there; forms that mean the
    same everywhere are one group.
    """
    asked = func.json_each(json.dumps(list(canons))).table_valued("value", name="asked")
    target = stands_for(asked.c.value, namespace.c.path)
    rows = connection.execute(
        select(
            asked.c.value.label("asked"),
            target.label("target"),
            *SHOWN,
            entity_count.c.display,
            entity_count.c.memories,
        )
        .select_from(asked)
        .join(entity, entity.c.canon.in_(related_names(canons)))
        .join(entity_count, entity_count.c.entity_id == entity.c.id)
        .join(namespace, namespace.c.id == entity_count.c.namespace_id)
        .where(
            among(entity_count.c.namespace_id, namespace_ids),
            stands_for(entity.c.canon, namespace.c.path) == target,
        )
    ).all()
    meant: dict[str, list[Row[Any]]] = {}
    for row in rows:
        check_shown(row)
        meant.setdefault(row.asked, []).append(row)
    alike: dict[frozenset[tuple[int, int]], list[str]] = {}
    for name, named in meant.items():
        alike.setdefault(frozenset((row.entity_id, row.namespace_id) for row in named), []).append(
            name
        )
    groups = []
    for names in alike.values():
        named = meant[names[0]]
        group = _merged_group(frozenset(names), named)
        cached = dict.fromkeys(group.entity_ids, 0)
        for row in named:
            cached[row.entity_id] += row.memories
        count = _count(connection, group, cached, namespace_ids, known_at)
        if count:
            groups.append(replace(group, memories=count))
    return groups


def _merged_group(asked: frozenset[str], rows: Sequence[Row[Any]]) -> EntityGroup:
    targets = {row.target for row in rows}
    own = [row for row in rows if row.canon == row.target]
    places: dict[int, frozenset[int]] = {}
    for row in rows:
        places[row.entity_id] = places.get(row.entity_id, frozenset()) | {row.namespace_id}
    return EntityGroup(
        canon=min(targets if len(targets) == 1 else asked),
        name=min(row.display for row in own or rows),
        label=min((row.label for row in own if row.label is not None), default=None),
        entity_ids=tuple(sorted(places)),
        memories=0,
        asked=asked,
        places=places,
    )


def _count(
    connection: Connection,
    group: EntityGroup,
    cached: Mapping[int, int],
    namespace_ids: Sequence[int],
    known_at: int | None,
) -> int:
    """Return how many memories mention an entity under any of its names.

    Args:
        cached: how many mention it now, by entity id.
    """
    walked = dict(group.places or {})
    apart: list[ColumnElement[bool]] = []
    known = 0
    if known_at is None:  # walk what the most frequent name adds to, not all that it has
        frequent = max(cached, key=lambda id_: cached[id_])
        known = cached[frequent]
        other = memory_entity.alias("other")
        apart.append(
            ~select(other.c.memory_row)
            .where(
                other.c.memory_row == memory.c.row,
                other.c.entity_id == frequent,
                among(memory.c.namespace_id, walked.pop(frequent)),
            )
            .correlate(memory)
            .exists()
        )
    if not walked:
        return known
    counted = (
        select(func.count(memory.c.row.distinct()))
        .join(memory_entity, memory_entity.c.memory_row == memory.c.row)
        .where(
            _placed(walked, memory_entity.c.entity_id, memory.c.namespace_id),
            *_known(namespace_ids, known_at),
            *apart,
        )
    )
    return known + int(connection.scalar(counted) or 0)


def _means(
    group: EntityGroup, entity_id: ColumnElement[int], namespace_id: ColumnElement[int]
) -> ColumnElement[bool]:
    """Return the condition that an entity id, linked in a namespace, stands for a group."""
    if group.places is None:
        return among(entity_id, group.entity_ids)
    return _placed(group.places, entity_id, namespace_id)


def _placed(
    places: Mapping[int, frozenset[int]],
    entity_id: ColumnElement[int],
    namespace_id: ColumnElement[int],
) -> ColumnElement[bool]:
    return or_(*(and_(entity_id == id_, among(namespace_id, of)) for id_, of in places.items()))


def _known(namespace_ids: Sequence[int], known_at: int | None) -> Iterator[ColumnElement[bool]]:
    """Return the conditions on memories that count."""
    yield among(memory.c.namespace_id, namespace_ids)
    if known_at is None:
        yield memory.c.forgotten_at.is_(None)
        yield memory.c.expired_at.is_(None)
        return
    yield memory.c.recorded_at <= known_at
    for gone in (memory.c.forgotten_at, memory.c.expired_at):
        yield or_(gone.is_(None), gone > known_at)
