"""The methods of `MemoryStore` about names: `entity_graph`."""

from __future__ import annotations

from memstore.catalog import links, memories
from memstore.catalog.engine import reading
from memstore.entities import canonical
from memstore.errors import BadInput
from memstore.settings import DEFAULT_NAMESPACE, MAX_LIMIT
from memstore.store import (
    drafts,
    entity_graph,
)
from memstore.store.opened_verbs import OpenedVerbs
from memstore.store.requests import check_count
from memstore.store.writing import microseconds_now
from memstore.types import (
    Entity,
    Neighbour,
)


class EntityVerbs(OpenedVerbs):
    """Names as the memories of a namespace mention them."""

    def entities(
        self, *, namespace: str = DEFAULT_NAMESPACE, prefix: str = "", limit: int = 100
    ) -> tuple[Entity, ...]:
        """Return the entities of a namespace and all below it, most mentioned first.

        What stands for another entity counts as that one.

        Args:
            prefix: only names that start so, whatever their case; or that have such an alias.
        """
        opened = self._opened
        check_count(limit, "limit", MAX_LIMIT)
        path = drafts.check_namespace(namespace, allow_all=True)
        if prefix != "" and drafts.check_string(prefix, "prefix") is None:
            raise BadInput("prefix is None. Leave it out to list all entities.")
        beginning = canonical(prefix)
        if prefix and not beginning:
            return ()  # punctuation alone: no name begins so
        with reading(opened.engine, opened.path) as connection:
            scope = memories.namespaces_under(connection, path)
            return links.list_entities(connection, list(scope), beginning, limit)

    def neighbours(
        self, entity: str, *, namespace: str = DEFAULT_NAMESPACE, limit: int = 32
    ) -> tuple[Neighbour, ...]:
        """Return the entities that memories mention together with this one, strongest ties first.

        Two memories at least must mention both. Empty if nothing mentions it.

        Args:
            entity: its name, or an alias of it.
            namespace: that one and all below it; `*` for all.
        """
        return entity_graph.neighbours(self._opened, entity, namespace=namespace, limit=limit)

    def alias(self, name: str, *, of: str, namespace: str = DEFAULT_NAMESPACE) -> None:
        """Let a name stand for an entity, in a namespace and all below it: "Bob" of "Robert".

        Queries, filters and counts then take both for one. Memories keep the names they have, so
        it can be taken back. An alias that is there already is replaced.

        Raises:
            BadInput: both are the same name, or each would stand for the other.
        """
        entity_graph.alias(self._opened, name, of=of, namespace=namespace, now=microseconds_now())

    def remove_alias(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> None:
        """Let a name stand for itself again.

        Raises:
            BadInput: it is no alias of this namespace.
        """
        entity_graph.remove_alias(self._opened, name, namespace=namespace, now=microseconds_now())
