"""Aliases: in a namespace and all below it, one name stands for another.

Links keep the names that memories were stored with; who stands for whom is looked up when reading,
so an alias can be taken back. Where namespaces above a memory disagree, the nearest one counts.
Stored aliases are resolved: what one stands for is no alias itself, there or anywhere below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from memstore.catalog.checksums import check
from memstore.catalog.sql import among
from memstore.catalog.tables import (
    entity,
    entity_alias,
    entity_count,
    memory,
    memory_entity,
    namespace,
)
from memstore.errors import BadInput

_above = namespace.alias("above")
_replace = upsert(entity_alias)
_replace = _replace.on_conflict_do_update(
    index_elements=[entity_alias.c.namespace_id, entity_alias.c.alias],
    set_={"canon": _replace.excluded.canon, "checksum": _replace.excluded.checksum},
)


def add_alias(connection: Connection, namespace_id: int, alias: str, canon: str) -> str:
    """Let a canonical form stand for another one, and return for which in the end.

    What stood for the alias stands for that one too. An alias that is there already is replaced.

    Raises:
        BadInput: the two stand for each other then, in the namespace or below.
    """
    if alias == canon:
        raise BadInput(
            f"{alias!r} cannot be an alias of itself: case, outer punctuation and a final 's do "
            "not tell names apart. Give another name."
        )
    path, stored = _lineage(connection, namespace_id)
    held = stored[path][1]
    held[alias] = canon
    changed = _resolve(path, stored)
    connection.execute(
        _replace,
        [*changed, {"namespace_id": namespace_id, "alias": alias, "canon": held[alias]}],
    )
    return held[alias]


def remove_alias(connection: Connection, namespace_id: int, alias: str) -> bool:
    """Let a canonical form stand for itself again; False if it is no alias of this namespace."""
    path, stored = _lineage(connection, namespace_id)
    if stored[path][1].pop(alias, None) is None:
        return False
    connection.execute(
        delete(entity_alias).where(
            entity_alias.c.namespace_id == namespace_id, entity_alias.c.alias == alias
        )
    )
    changed = _resolve(path, stored)
    if changed:  # what it hid of a namespace above
        connection.execute(_replace, changed)
    return True


def aliases(connection: Connection, namespace_ids: Iterable[int]) -> list[tuple[str, str, str]]:
    """Return path, alias and canonical form of the aliases that these namespaces hold."""
    rows = connection.execute(
        select(entity_alias, namespace.c.path)
        .join(namespace, namespace.c.id == entity_alias.c.namespace_id)
        .where(among(entity_alias.c.namespace_id, namespace_ids))
        .order_by(namespace.c.path, entity_alias.c.alias)
    )
    found = rows.all()
    for row in found:
        check(entity_alias, row)
    return [(row.path, row.alias, row.canon) for row in found]


def aliases_of(
    connection: Connection, canons: Iterable[str], namespace_ids: Iterable[int]
) -> dict[str, tuple[str, ...]]:
    """Return canonical form → what stands for it in one of the namespaces at least."""
    here = namespace.alias("here")
    rows = connection.execute(
        select(entity_alias.c.canon, entity_alias.c.alias)
        .join(_above, _above.c.id == entity_alias.c.namespace_id)
        .join(here, _covers(_above.c.path, here.c.path))
        .where(
            among(entity_alias.c.canon, canons),
            among(here.c.id, namespace_ids),
            stands_for(entity_alias.c.alias, here.c.path) == entity_alias.c.canon,
        )
        .distinct()
        .order_by(entity_alias.c.alias)
    )
    found: dict[str, tuple[str, ...]] = {}
    for canon, alias in rows:
        found[canon] = (*found.get(canon, ()), alias)
    return found


def stands_for(name: ColumnElement[str], path: ColumnElement[str]) -> ColumnElement[str]:
    """Return in SQL what a name stands for in the namespace of a path; itself, if no alias."""
    stored, above = entity_alias.alias(), namespace.alias()
    nearest = (
        select(stored.c.canon)
        .join(above, above.c.id == stored.c.namespace_id)
        .where(stored.c.alias == name, _covers(above.c.path, path))
        .order_by(func.length(above.c.path).desc())
        .limit(1)
        .correlate_except(stored, above)
    )
    return func.coalesce(nearest.scalar_subquery(), name)


def aliased_names() -> Select[tuple[str]]:
    """Return in SQL every name that is an alias or has one, in whatever namespace."""
    names = union(select(entity_alias.c.alias), select(entity_alias.c.canon)).subquery()
    return select(names.c.alias)


def aliased_places(namespace_ids: Iterable[int]) -> CTE:
    """Return in SQL what entities that are an alias or have one stand for in each of the
    namespaces that mention them: namespace_id, id, own, label, canon.
    """
    return (
        select(
            entity_count.c.namespace_id,
            entity.c.id,
            entity.c.canon.label("own"),
            entity.c.label,
            stands_for(entity.c.canon, namespace.c.path).label("canon"),
        )
        .join(entity, entity.c.id == entity_count.c.entity_id)
        .join(namespace, namespace.c.id == entity_count.c.namespace_id)
        .where(
            among(entity_count.c.namespace_id, namespace_ids), entity.c.canon.in_(aliased_names())
        )
        .cte("places")
        .prefix_with("MATERIALIZED")
    )


def related_names(canons: Iterable[str]) -> Select[tuple[str]]:
    """Return in SQL those names that stand, in some namespace, for what one of these stands for,
    of these only such as are an alias or have one.
    """
    given = list(canons)
    targets = select(entity_alias.c.canon).where(
        or_(among(entity_alias.c.alias, given), among(entity_alias.c.canon, given))
    )
    names = union(
        targets, select(entity_alias.c.alias).where(entity_alias.c.canon.in_(targets))
    ).subquery()
    return select(names.c.canon)


def drop_unused_aliases(connection: Connection, names: Iterable[str] | None = None) -> int:
    """Delete the aliases of which no memory in their scope mentions either name any more; return
    how many.

    Args:
        names: only aliases of or for one of these canonical forms; None for all.
    """
    here = namespace.alias("here")
    mentioned = (
        select(memory_entity.c.memory_row)
        .join(entity, entity.c.id == memory_entity.c.entity_id)
        .join(memory, memory.c.row == memory_entity.c.memory_row)
        .join(here, here.c.id == memory.c.namespace_id)
        .join(_above, _covers(_above.c.path, here.c.path))
        .where(
            _above.c.id == entity_alias.c.namespace_id,
            entity.c.canon.in_((entity_alias.c.alias, entity_alias.c.canon)),
        )
        .correlate(entity_alias)
    )
    statement = delete(entity_alias).where(~mentioned.exists())
    if names is not None:
        known = list(names)
        statement = statement.where(
            or_(among(entity_alias.c.alias, known), among(entity_alias.c.canon, known))
        )
    return connection.execute(statement).rowcount


def _covers(above: ColumnElement[str], path: ColumnElement[str]) -> ColumnElement[bool]:
    # not LIKE, which takes "Team/" for "team/"; "0" is the character behind "/"
    return or_(path == above, and_(path > above + "/", path < above + "0"))


_Stored = dict[str, tuple[int, dict[str, str]]]  # path → namespace id, its aliases


def _lineage(connection: Connection, namespace_id: int) -> tuple[str, _Stored]:
    """Return a namespace's path and what it, all above and all below it hold, from the top."""
    path = connection.scalars(select(namespace.c.path).where(namespace.c.id == namespace_id)).one()
    rows = connection.execute(
        select(namespace.c.id, namespace.c.path, entity_alias.c.alias, entity_alias.c.canon)
        .join(entity_alias, entity_alias.c.namespace_id == namespace.c.id)
        .where(
            or_(
                _covers(namespace.c.path, literal(path)),
                _covers(literal(path), namespace.c.path),
            )
        )
    )
    stored: _Stored = {path: (namespace_id, {})}
    for row in rows:
        stored.setdefault(row.path, (row.id, {}))[1][row.alias] = row.canon
    return path, dict(sorted(stored.items()))  # a path sorts before all below it


def _resolve(path: str, stored: _Stored) -> list[dict[str, int | str]]:
    """Resolve the aliases of a namespace and of all below it, and return the rows that change."""
    changed: list[dict[str, int | str]] = []
    for place, (namespace_id, held) in stored.items():
        if place != path and not place.startswith(f"{path}/"):
            continue
        effective: dict[str, str] = {}
        for above, (_, held_above) in stored.items():
            if place == above or place.startswith(f"{above}/"):
                effective |= held_above
        for alias, canon in effective.items():
            last = _last(alias, effective, place)
            if last != canon:
                held[alias] = last
                changed.append({"namespace_id": namespace_id, "alias": alias, "canon": last})
    return changed


def _last(alias: str, effective: Mapping[str, str], path: str) -> str:
    """Return what an alias stands for in the end."""
    seen = {alias}
    name = effective[alias]
    while name in effective:
        if name in seen:
            raise BadInput(
                f"{name!r} and {effective[name]!r} would be aliases of each other in namespace "
                f"{path!r}. Remove the one that is there first."
            )
        seen.add(name)
        name = effective[name]
    return name
