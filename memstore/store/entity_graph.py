"""Who is mentioned with whom, and which names mean the same: the entity graph of a store."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from memstore.catalog import aliases, graph, log, memories
from memstore.catalog.engine import reading, writing
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.entities import canonical
from memstore.errors import BadInput
from memstore.periods import parse_period
from memstore.scoring.components import npmi
from memstore.settings import MAX_LIMIT
from memstore.store import drafts
from memstore.store.opening import OpenStore
from memstore.store.requests import check_count
from memstore.types import Neighbour


def neighbours(
    opened: OpenStore, entity: str, *, namespace: str, limit: int
) -> tuple[Neighbour, ...]:
    """Return the entities that two memories or more mention together with this one, those first
    that it is with most often in proportion; empty if nothing mentions it.

    Raises:
        BadInput: the name is punctuation alone, or another value cannot be accepted.
    """
    check_count(limit, "limit", MAX_LIMIT)
    path = drafts.check_namespace(namespace, allow_all=True)
    canon = _canon(entity, "entity")
    with reading(opened.engine, opened.path) as connection:
        scope = list(memories.namespaces_under(connection, path))
        # of a date that the caller gave as a name, the form is another than of an extracted one
        found = graph.find_entities(connection, [canon], scope) or graph.find_entities(
            connection, [canonical(entity)], scope
        )
        if not found:
            return ()
        (group,) = found
        inside = among(memory.c.namespace_id, scope)
        counted = select(func.count()).where(memories.live, inside)
        total = int(connection.scalar(counted) or 0)

        def strength(together: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
            own = np.array([float(group.memories)])
            return npmi(together.astype(np.float64), own, others.astype(np.float64), total)

        met = graph.neighbours(connection, group, scope, strength=strength, limit=limit)
    return tuple(
        Neighbour(
            name=item.group.name,
            canonical=item.group.canon,
            label=item.group.label,
            memories=item.group.memories,
            together=item.together,
            npmi=item.strength,
        )
        for item in met
    )


def alias(opened: OpenStore, name: str, *, of: str, namespace: str, now: int) -> None:
    """Let a name stand for an entity, in a namespace and all below it.

    Raises:
        BadInput: a name is punctuation alone, both are the same, or each would stand for the
            other.
    """
    opened.check_writable()
    path = drafts.check_namespace(namespace)
    canon, target = _canon(name, "name"), _canon(of, "of")
    with writing(opened.engine, opened.path) as connection:
        place = memories.namespace_id(connection, path)
        aliases.add_alias(connection, place, canon, target)
        # without the names: a purge could not take them out of the log
        log.append_event(connection, log.STORE, log.ALIAS, now=now)


def remove_alias(opened: OpenStore, name: str, *, namespace: str, now: int) -> None:
    """Let a name stand for itself again.

    Raises:
        BadInput: it is no alias of this namespace.
    """
    opened.check_writable()
    path = drafts.check_namespace(namespace)
    canon = _canon(name, "name")
    with writing(opened.engine, opened.path) as connection:
        place = memories.find_namespace(connection, path)
        if place is None or not aliases.remove_alias(connection, place, canon):
            raise BadInput(
                f"{name!r} is no alias in namespace {path!r}. Name the namespace in which it was "
                "given: an alias counts there and in all below."
            )
        log.append_event(connection, log.STORE, log.ALIAS, now=now)


def _canon(name: Any, argument: str) -> str:
    """Return the form under which an extracted mention of the name is stored."""
    checked = drafts.check_string(name, argument)
    if checked is None:
        raise BadInput(f"{argument} is None; give a name.")
    period = parse_period(checked)
    canon = canonical(checked) if period is None else period.canonical
    if not canon:
        raise BadInput(f"{argument} is {name!r}, punctuation alone. Give a name.")
    return canon
