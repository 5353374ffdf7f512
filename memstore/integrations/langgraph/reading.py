"""Which memories are items, and which of them an operation asks for."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from langgraph.store.base import ListNamespacesOp, SearchOp

from memstore import Memory, MemoryNotFound, MemoryStore
from memstore.integrations.langgraph import items
from memstore.integrations.langgraph.filters import OWN_FIELD, matches, pushed
from memstore.integrations.langgraph.names import labels_of, meets, path_of, stored_key
from memstore.integrations.listing import newest_first
from memstore.integrations.stored_json import IN_PARTS, NEVER, PartsGone
from memstore.settings import MAX_LIMIT
from memstore.times import iso

Where = dict[str, Any]

_OWN = f"metadata.{OWN_FIELD}"


@dataclass(frozen=True, slots=True)
class View:
    """The items that there are at a moment.

    Not every memory below the root is one: not what was superseded or retracted, what another door
    says has ended or holds at no time, or has put where no namespace of LangGraph's is.
    """

    memories: MemoryStore
    root: str
    now: datetime
    omits_expired: bool

    def find(self, namespace: tuple[str, ...], key: str) -> Memory | None:
        """Return the memory of an item, be it expired."""
        path = path_of(namespace, self.root)
        try:
            memory = self.memories.get_by_key(stored_key(key), namespace=path)
        except MemoryNotFound:
            return self._keyless(path, key)
        return memory if _is_current(memory) else None

    def shown(self, memory: Memory) -> bool:
        """Say what the filter of `_visible` says, of one memory."""
        own = items.own_field(memory)
        expires = own is not None and own["ttl"] is not None and not self.omits_expired
        if own is None and memory.valid_from is not None and memory.valid_from >= NEVER:
            return False
        return expires or memory.valid_to is None or memory.valid_to > self.now

    def load(self, memory: Memory) -> dict[str, Any] | None:
        """Return what an item has; None if it was deleted while it was read, or is none."""
        labels = labels_of(memory.namespace, self.root)
        while labels is not None:
            try:
                return items.content(memory, self.memories, labels)
            except PartsGone:
                try:
                    now = self.memories.get(memory.id)
                except MemoryNotFound:
                    return None
                if now.metadata == memory.metadata:
                    raise  # nobody has put another value in its place
                memory = now
        return None

    def ranked(self, op: SearchOp, query: str, profile: str) -> list[tuple[Memory, float]]:
        """Return what answers a query; the store itself leaves out what has expired."""
        path = path_of(tuple(op.namespace_prefix), self.root)
        limit = min(op.offset + op.limit, MAX_LIMIT)

        def ask(where: Where) -> list[tuple[Memory, float]]:
            hits = self.memories.query(
                query, namespace=path, limit=limit, where=where, profile=profile
            ).hits
            return [(hit.memory, hit.score) for hit in hits]

        conditions = pushed(op.filter or {})
        answers = ask({"and": conditions} if conditions else {})
        found = [answer for answer in answers if self._is_meant(answer[0], op.filter)]
        if len(found) < limit == len(answers):  # what was let in and does not match took a place
            ids = [memory.id for memory in self._meant(path, self._visible(conditions), op.filter)]
            found = ask({"id": {"in": ids}}) if ids else []
        return found[op.offset :]

    def listed(self, op: SearchOp) -> list[Memory]:
        """Return what was put last, first.

        The store lists by when a memory was first stored. As many of these as are wanted say since
        when at least that many were put: one more look finds whatever was put since then.
        """
        path = path_of(tuple(op.namespace_prefix), self.root)
        where = self._visible(pushed(op.filter or {}))
        wanted = op.offset + op.limit
        found = list(itertools.islice(self._meant(path, where, op.filter, first=wanted), wanted))
        if len(found) == wanted:
            since = iso(min(map(items.updated_at, found)))
            lately: Where = {
                "or": [
                    {"occurred_at": {"gte": since}},
                    {"recorded_at": {"gte": since}, "occurred_at": {"exists": False}},
                    {"recorded_at": {"gte": since}, f"{_OWN}.created_at": {"exists": False}},
                ]
            }
            found = list(self._meant(path, {"and": [lately, where]}, op.filter))
        found.sort(key=lambda memory: (items.updated_at(memory), memory.id), reverse=True)
        return found[op.offset : wanted]

    def namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        """Return the namespaces that have items."""
        others: Where = {"not": {"or": [self._visible([]), IN_PARTS]}}
        hidden = Counter(
            memory.namespace for memory in newest_first(self.memories, self.root, others)
        )
        found = {
            labels
            for space in self.memories.namespaces(under=self.root)
            if space.memories > hidden[space.name]
            and (labels := labels_of(space.name, self.root)) is not None
        }
        matching = {
            labels[: op.max_depth]
            for labels in found
            if all(meets(labels, condition) for condition in op.match_conditions or ())
        }
        return sorted(matching)[op.offset : op.offset + op.limit]

    def _keyless(self, path: str, key: str) -> Memory | None:
        """Return the memory that another door stored without a key, by its id."""
        if not (key.isascii() and key.isalnum()):  # any other key cannot be an id
            return None
        try:
            memory = self.memories.get(key)
        except MemoryNotFound:
            return None
        keyless = memory.namespace == path and memory.key is None and _is_current(memory)
        return memory if keyless else None

    def _meant(
        self, path: str, where: Where, wanted: Mapping[str, Any] | None, first: int = MAX_LIMIT
    ) -> Iterator[Memory]:
        return (
            memory
            for memory in newest_first(self.memories, path, where, first=first)
            if self._is_meant(memory, wanted)
        )

    def _is_meant(self, memory: Memory, wanted: Mapping[str, Any] | None) -> bool:
        """Say whether what the store's filter has let in is an item, and matches LangGraph's."""
        if memory.retracted_at is not None or labels_of(memory.namespace, self.root) is None:
            return False
        if not wanted:
            return True
        loaded = self.load(memory)
        return loaded is not None and matches(loaded["value"], wanted)

    def _visible(self, conditions: list[Where]) -> Where:
        """Return the filter for items. What has expired is one until it is swept, as in LangGraph's
        own stores, unless that is configured otherwise.
        """
        held: list[Where] = [{"valid_to": {"exists": False}}, {"valid_to": {"gt": iso(self.now)}}]
        if not self.omits_expired:
            held.append({f"{_OWN}.ttl": {"exists": True}})
        begins: list[Where] = [
            {"valid_from": {"exists": False}},
            {"valid_from": {"lt": iso(NEVER)}},
            {f"{_OWN}.created_at": {"exists": True}},
        ]
        current: Where = {"superseded_by": {"exists": False}}
        return {"and": [current, {"or": held}, {"or": begins}, *conditions]}


def _is_current(memory: Memory) -> bool:
    return memory.superseded_by is None and memory.retracted_at is None
