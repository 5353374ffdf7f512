"""LangGraph's long-term memory in a memstore: a `BaseStore` for `compile(store=…)`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from memstore import (
    BadInput,
    Memory,
    MemoryNotFound,
    MemoryStore,
    NewMemory,
    VersionConflict,
)
from memstore.integrations.langgraph import items
from memstore.integrations.langgraph.configuration import check_fields, check_ttl
from memstore.integrations.langgraph.filters import OWN_FIELD, check_filter, matches, pushed
from memstore.integrations.langgraph.items import Draft
from memstore.integrations.langgraph.names import (
    check_root,
    labels_of,
    meets,
    path_of,
    stored_key,
)
from memstore.integrations.langgraph.sweeping import Sweeper
from memstore.integrations.stored_json import PartsGone, forget_parts, readable
from memstore.settings import DEFAULT_PROFILE, MAX_LIMIT
from memstore.times import iso

_DEFAULT_SWEEP_MINUTES = 5.0

Place = tuple[tuple[str, ...], str]
Where = dict[str, Any]


class MemstoreStore(BaseStore):
    """Items of LangGraph as memories: what agents of other doors find, and find theirs.

    An item is one memory: of the namespace's path below `root`, under its key. What an agent is to
    find it by is the memory's text, its value lies in the metadata.

    `put` on a key in use changes that memory, which keeps its id, votes, history and `created_at`.
    It does not supersede it: in a key-value store the old value is no fact of the past but gone,
    each read of an item that expires would leave a version behind, and a version takes four times
    the space of an event, for its token vectors. Who wants both versions says so:
    `memories.supersede(id, text)`.

    Searching by a query leaves out what has expired, swept or not, and what has no text:
    `index=False`, or nothing in the fields. A score is as of `MemoryStore.query`, in nats.

    A memory that came in by another door is an item too: its value has its metadata and its `text`,
    its key is the memory's, or else its id. A text that such a door corrects is in the value then.

    Args:
        memories: an open store. It stays the caller's, to be closed after this.
        root: the namespace that all others are below of.
        index: `{"fields": […]}`, the paths that are read for the text; by default the whole value.
        ttl: as for LangGraph's own stores.
        profile: how much time, trust and entities count beside relevance, as for `query`.
    """

    supports_ttl = True

    def __init__(
        self,
        memories: MemoryStore,
        *,
        root: str = "langgraph",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        profile: str = DEFAULT_PROFILE,
    ) -> None:
        self.memories = memories
        self.root = check_root(root)
        self.fields = check_fields(index, memories.encoder)
        self.ttl_config = check_ttl(ttl)
        self.profile = profile
        self._writing = threading.Lock()
        self._sweeper = Sweeper(self.sweep_ttl)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Return one result per operation, in their order.

        Reads see the store as it was before the batch; of several puts to one key the last counts.
        What is wrong with an operation is said before anything is written. New items are stored in
        one transaction, then each change and each deletion in one of its own: a kill leaves whole
        items.

        Raises:
            BadInput: a value is no JSON, or a name is too long.
            InvalidNamespaceError, ValueError: of a namespace, or a filter's operator, as LangGraph
                says it.
        """
        listed = list(ops)
        for op in listed:
            _check(op)
        puts: dict[Place, PutOp] = {
            (tuple(op.namespace), op.key): op for op in listed if isinstance(op, PutOp)
        }
        drafts = {
            place: items.draft(op, self.fields, self.root)
            for place, op in puts.items()
            if op.value is not None
        }
        results = [self._read(op) for op in listed]
        if puts:
            self._write(puts, drafts)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do the same in a thread, so that the loop goes on meanwhile."""
        return await asyncio.to_thread(self.batch, list(ops))

    def sweep_ttl(self) -> int:
        """Forget what has expired, and return how many items that were."""
        where: Where = {
            f"metadata.{OWN_FIELD}.ttl": {"exists": True},
            "valid_to": {"lte": iso(_now())},
        }
        found = list(self._pages(self.root, where))
        if not found:
            return 0
        # again by time: one that was read meanwhile lives longer
        expired = {**where, "id": {"in": [memory.id for memory in found]}}
        gone = set(self.memories.forget(where=expired, namespace=self.root).ids)
        self._forget_parts([memory for memory in found if memory.id in gone])
        return len(gone)

    def start_ttl_sweeper(
        self, sweep_interval_minutes: float | None = None
    ) -> concurrent.futures.Future[None]:
        """Sweep now and then in a thread, until the future is cancelled or `stop_ttl_sweeper`.

        Args:
            sweep_interval_minutes: by default as configured, else 5. Without a configuration of
                TTLs, nothing is started.
        """
        if self.ttl_config is None:
            nothing: concurrent.futures.Future[None] = concurrent.futures.Future()
            nothing.set_result(None)
            return nothing
        configured = self.ttl_config.get("sweep_interval_minutes")
        minutes = sweep_interval_minutes or configured or _DEFAULT_SWEEP_MINUTES
        return self._sweeper.start(minutes * 60)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping; False if a sweep goes on after `timeout` seconds."""
        return self._sweeper.stop(timeout)

    # reading

    def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            return self._get(op)
        if isinstance(op, SearchOp):
            return cast(Result, self._search(op))
        if isinstance(op, ListNamespacesOp):
            return self._list_namespaces(op)
        return None

    def _get(self, op: GetOp) -> Item | None:
        memory = self._find(tuple(op.namespace), op.key)
        if memory is None or not self._shown(memory, _now()):
            return None
        loaded = self._load(memory)
        if loaded is None:
            return None
        if op.refresh_ttl:
            self._refresh([memory])
        return Item(**loaded)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        if op.limit == 0:
            return []
        query = readable(op.query) if op.query else None
        found = self._listed(op) if query is None else self._ranked(op, query)
        shown = [
            (memory, SearchItem(**loaded, score=score))
            for memory, score in found
            if (loaded := self._load(memory)) is not None
        ]
        if op.refresh_ttl:
            self._refresh([memory for memory, _ in shown])
        return [item for _, item in shown]

    def _ranked(self, op: SearchOp, query: str) -> list[tuple[Memory, float | None]]:
        """Return what answers a query; the store itself leaves out what has expired."""
        path = path_of(tuple(op.namespace_prefix), self.root)
        conditions, complete = pushed(op.filter or {})
        where: Where = {"and": conditions} if conditions else {}
        if not complete:
            found = self._filtered(path, self._visible(conditions), op.filter or {})
            if not found:
                return []
            where = {"id": {"in": [memory.id for memory in found]}}
        hits = self.memories.query(
            query,
            namespace=path,
            limit=min(op.offset + op.limit, MAX_LIMIT),
            where=where,
            profile=self.profile,
        ).hits
        return [(hit.memory, hit.score) for hit in hits[op.offset :]]

    def _listed(self, op: SearchOp) -> list[tuple[Memory, float | None]]:
        """Return what was put last, first."""
        path = path_of(tuple(op.namespace_prefix), self.root)
        conditions, complete = pushed(op.filter or {})
        where = self._visible(conditions)
        wanted = op.offset + op.limit
        if complete:
            found = self._last_put(path, where, wanted)
        else:
            found = self._filtered(path, where, op.filter or {})
        found.sort(key=lambda memory: (items.updated_at(memory), memory.id), reverse=True)
        return [(memory, None) for memory in found[op.offset : wanted]]

    def _last_put(self, path: str, where: Where, count: int) -> list[Memory]:
        """Return the memories that were put last, and some others.

        The store lists by when a memory was first stored. As many of these as are wanted say since
        when at least that many were put: one more look finds whatever was put since then.
        """
        newest = list(self._pages(path, where, limit=count))
        if len(newest) < count:
            return newest
        since = iso(min(map(items.updated_at, newest)))
        lately = {"or": [{name: {"gte": since}} for name in ("occurred_at", "recorded_at")]}
        return list(self._pages(path, {"and": [where, lately]}))

    def _filtered(self, path: str, where: Where, wanted: Mapping[str, Any]) -> list[Memory]:
        return [
            memory
            for memory in self._pages(path, where)
            if (loaded := self._load(memory)) is not None and matches(loaded["value"], wanted)
        ]

    def _list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        expired: Counter[str] = Counter()
        if self._omits_expired:
            gone = {"valid_to": {"lte": iso(_now())}}
            expired.update(memory.namespace for memory in self._pages(self.root, gone))
        found = {
            labels_of(space.name, self.root)
            for space in self.memories.namespaces(under=self.root)
            if space.memories > expired[space.name]
        }
        matching = {
            labels[: op.max_depth]
            for labels in found
            if all(meets(labels, condition) for condition in op.match_conditions or ())
        }
        return sorted(matching)[op.offset : op.offset + op.limit]

    def _pages(self, path: str, where: Where, limit: int | None = None) -> Iterator[Memory]:
        """Yield memories, what was stored last first."""
        cursor = None
        left = math.inf if limit is None else limit
        while left > 0:
            page = self.memories.list(
                namespace=path,
                where=where,
                limit=int(min(left, MAX_LIMIT)),
                cursor=cursor,
                newest_first=True,
            )
            yield from page.memories
            cursor, left = page.cursor, left - len(page.memories)
            if cursor is None:
                return

    def _find(self, namespace: tuple[str, ...], key: str) -> Memory | None:
        """Return the memory of an item, be it expired."""
        path = path_of(namespace, self.root)
        try:
            memory = self.memories.get_by_key(stored_key(key), namespace=path)
        except MemoryNotFound:
            return self._keyless(path, key)
        return memory if memory.superseded_by is None else None

    def _keyless(self, path: str, key: str) -> Memory | None:
        """Return the memory that another door stored without a key, by its id."""
        if not (key.isascii() and key.isalnum()):  # any other key cannot be an id
            return None
        try:
            memory = self.memories.get(key)
        except MemoryNotFound:
            return None
        keyless = memory.namespace == path and memory.key is None and memory.superseded_by is None
        return memory if keyless else None

    def _load(self, memory: Memory) -> dict[str, Any] | None:
        """Return what an item has; None if it was deleted while it was read."""
        while True:
            try:
                return items.content(memory, self.memories, self.root)
            except PartsGone:
                try:
                    now = self.memories.get(memory.id)
                except MemoryNotFound:
                    return None
                if now.metadata == memory.metadata:
                    raise  # nobody has put another value in its place
                memory = now

    @property
    def _omits_expired(self) -> bool:
        return bool(self.ttl_config and self.ttl_config.get("omit_expired"))

    def _shown(self, memory: Memory, now: datetime) -> bool:
        """Say what `_visible` says, of one memory."""
        kept = items.own_field(memory) is not None and not self._omits_expired
        return kept or memory.valid_to is None or memory.valid_to > now

    def _visible(self, conditions: list[Where]) -> Where:
        """Return the filter for items: what was superseded is none. What has expired is one until
        it is swept, as in LangGraph's own stores, unless that is configured otherwise.
        """
        held: list[Where] = [{"valid_to": {"exists": False}}, {"valid_to": {"gt": iso(_now())}}]
        if not self._omits_expired:
            held.append({f"metadata.{OWN_FIELD}": {"exists": True}})
        return {"and": [{"superseded_by": {"exists": False}}, {"or": held}, *conditions]}

    # writing

    def _write(self, puts: Mapping[Place, PutOp], drafts: Mapping[Place, Draft]) -> None:
        with self._writing:  # two threads that put a new key would both find nothing there
            now = _now()
            # each its own time, so that the last of a batch is listed first; and none ahead of the
            # clock, where no query would find it
            times = {
                place: now - timedelta(microseconds=len(drafts) - number)
                for number, place in enumerate(drafts, start=1)
            }
            found = {place: self._find(*place) for place in drafts}
            new = [place for place in drafts if found[place] is None]
            self._add({place: drafts[place] for place in new}, times)
            for place, memory in found.items():
                if memory is not None:
                    self._replace(place, drafts[place], memory, times[place])
            for place in puts.keys() - drafts.keys():
                self._delete(*place)

    def _add(self, drafts: Mapping[Place, Draft], times: Mapping[Place, datetime]) -> None:
        new: list[NewMemory] = []
        for (namespace, key), draft in drafts.items():
            now = times[namespace, key]
            path = path_of(namespace, self.root)
            fields = draft.fields(created=now, now=now)
            new += [*draft.parts, NewMemory(namespace=path, key=stored_key(key), **fields)]
        if new:
            self.memories.add_many(new)

    def _replace(self, place: Place, draft: Draft, memory: Memory | None, now: datetime) -> None:
        """Change an item's memory to what is put; the last put wins, whoever else puts."""
        while memory is not None:
            created = items.created_at(memory) if self._shown(memory, now) else now
            try:
                if draft.parts:
                    self.memories.add_many(draft.parts)
                self.memories.update(
                    memory.id, if_version=memory.version, **draft.fields(created, now)
                )
            except (VersionConflict, MemoryNotFound):
                memory = self._find(*place)  # changed or deleted meanwhile, by another process
            else:
                return self._forget_parts([memory])
        return self._add({place: draft}, {place: now})

    def _delete(self, namespace: tuple[str, ...], key: str) -> None:
        memory = self._find(namespace, key)
        if memory is None:
            return
        path = memory.namespace
        same: Where = {"id": memory.id} if memory.key is None else {"key": memory.key}
        where: Where = {"namespace": path, **same}  # not below it
        versions = list(self._pages(path, where))
        self.memories.forget(where=where, namespace=path)
        self._forget_parts(versions)

    def _forget_parts(self, memories: Iterable[Memory]) -> None:
        kept = [own for memory in memories if (own := items.own_field(memory)) is not None]
        forget_parts(self.memories, kept, self.root)

    def _refresh(self, memories: Iterable[Memory]) -> None:
        """Let items live as long again as they were given."""
        now = _now()
        for memory in memories:
            own = items.own_field(memory)
            if own is None or own["ttl"] is None:
                continue
            expiry = items.expiry_after(own["ttl"], now)
            begins: dict[str, Any] = {} if memory.valid_from is None else {"valid_from": expiry}
            # whoever changed or deleted it meanwhile has said how long it lives
            with contextlib.suppress(VersionConflict, MemoryNotFound):
                self.memories.update(
                    memory.id, valid_to=expiry, if_version=memory.version, **begins
                )


def _check(op: Op) -> None:
    if not isinstance(op, (GetOp, SearchOp, PutOp, ListNamespacesOp)):
        raise BadInput(
            f"{op!r:.80} is no operation. Known: GetOp, SearchOp, PutOp, ListNamespacesOp."
        )
    validate_op_namespace(op)
    if isinstance(op, (SearchOp, ListNamespacesOp)):
        for name in ("limit", "offset"):
            number = getattr(op, name)
            if not isinstance(number, int) or number < 0:
                raise BadInput(f"{name} is {number!r}; give a whole number from 0 on.")
    if isinstance(op, SearchOp):
        check_filter(op.filter or {})


def _now() -> datetime:
    return datetime.now(UTC)
