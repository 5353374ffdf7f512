"""LangGraph's long-term memory in a memstore: a `BaseStore` for `compile(store=…)`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Iterable, Mapping, Sequence
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

from memstore import BadInput, Memory, MemoryNotFound, MemoryStore, NewMemory, VersionConflict
from memstore.integrations.langgraph import items
from memstore.integrations.langgraph.configuration import check_fields, check_ttl
from memstore.integrations.langgraph.filters import OWN_FIELD, check_filter
from memstore.integrations.langgraph.items import Draft
from memstore.integrations.langgraph.names import check_root, path_of, stored_key
from memstore.integrations.langgraph.reading import View, Where
from memstore.integrations.langgraph.sweeping import Sweeper
from memstore.integrations.listing import newest_first
from memstore.integrations.stored_json import (
    forget_parts,
    forget_with_parts,
    readable,
    sweep_parts,
)
from memstore.integrations.waiting import to_the_end
from memstore.settings import DEFAULT_PROFILE, MAX_LIMIT
from memstore.times import iso

_DEFAULT_SWEEP_MINUTES = 5.0

Place = tuple[tuple[str, ...], str]


class MemstoreStore(BaseStore):
    """Items of LangGraph as memories: what agents of other doors find, and find theirs.

    An item is one memory: of the namespace's path below `root`, under its key. What an agent is to
    find it by is the memory's text, its value lies in the metadata.

    `put` on a key in use changes that memory, which keeps its id, votes, history and `created_at`.
    It does not supersede it: in a key-value store the old value is no fact of the past but gone,
    each read of an item that expires would leave a version behind, and a version takes four times
    the space of an event, for its token vectors.

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
            BadInput: a value is no JSON, a name is too long, or a query's offset is beyond what it
                finds.
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
        """Do the same in a thread, so that the loop goes on meanwhile. Who cancels a batch that
        writes waits for its end: nothing of it is written later.
        """
        listed = list(ops)
        if any(isinstance(op, PutOp) for op in listed):
            return await to_the_end(lambda: self.batch(listed))
        return await asyncio.to_thread(self.batch, listed)

    def sweep_ttl(self) -> int:
        """Forget what has expired, and return how many items that were. Parts of long values whose
        item is gone are forgotten too.
        """
        now = _now()
        where: Where = {
            f"metadata.{OWN_FIELD}.ttl": {"exists": True},
            "valid_to": {"lte": iso(now)},
        }
        found = list(newest_first(self.memories, self.root, where))
        # again by time: one that was read meanwhile lives longer
        gone = forget_with_parts(self.memories, found, OWN_FIELD, where)
        sweep_parts(self.memories, self.root, OWN_FIELD, now)
        return gone

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

    def _view(self) -> View:
        omits = bool(self.ttl_config and self.ttl_config.get("omit_expired"))
        return View(self.memories, self.root, _now(), omits)

    def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            return self._get(op)
        if isinstance(op, SearchOp):
            return cast(Result, self._search(op))
        if isinstance(op, ListNamespacesOp):
            return self._view().namespaces(op)
        return None

    def _get(self, op: GetOp) -> Item | None:
        view = self._view()
        memory = view.find(tuple(op.namespace), op.key)
        if memory is None or not view.shown(memory):
            return None
        loaded = view.load(memory)
        if loaded is None:
            return None
        if op.refresh_ttl:
            self._refresh([memory])
        return Item(**loaded)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        if op.limit == 0:
            return []
        view = self._view()
        query = readable(op.query) if op.query else None
        found: Sequence[tuple[Memory, float | None]]
        if query is None:
            found = [(memory, None) for memory in view.listed(op)]
        else:
            found = view.ranked(op, query, self.profile)
        shown = [
            (memory, SearchItem(**loaded, score=score))
            for memory, score in found
            if (loaded := view.load(memory)) is not None
        ]
        if op.refresh_ttl:
            self._refresh([memory for memory, _ in shown])
        return [item for _, item in shown]

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
            view = self._view()
            # all of them first: a name that is too long is refused here, with the whole batch
            found = {place: view.find(*place) for place in puts}
            self._add({place: drafts[place] for place in drafts if found[place] is None}, times)
            for place, memory in found.items():
                if memory is not None and place in drafts:
                    self._replace(place, drafts[place], memory, times[place])
                elif memory is not None:
                    self._delete(memory)

    def _add(self, drafts: Mapping[Place, Draft], times: Mapping[Place, datetime]) -> None:
        new: list[NewMemory] = []
        for (namespace, key), draft in drafts.items():
            now = times[namespace, key]
            path = path_of(namespace, self.root)
            fields = draft.fields(created=now, now=now)
            new += [*draft.parts, NewMemory(namespace=path, key=stored_key(key), **fields)]
        if new:
            self._forget_versions(self.memories.add_many(new))

    def _forget_versions(self, added: Iterable[Memory]) -> None:
        """Forget what was superseded under the keys of new items, be it one of these: another
        process has put there at the same time.
        """
        keys: dict[str, list[str]] = {}
        for memory in added:
            if memory.key is not None and items.own_field(memory) is not None:
                keys.setdefault(memory.namespace, []).append(memory.key)
        for path, some in keys.items():
            old: Where = {
                "namespace": path,  # not below it
                "key": {"in": some},
                "superseded_by": {"exists": True},
            }
            self._forget(path, old)

    def _forget(self, path: str, where: Where) -> None:
        found = list(newest_first(self.memories, path, where))
        forget_with_parts(self.memories, found, OWN_FIELD, where)

    def _replace(self, place: Place, draft: Draft, memory: Memory | None, now: datetime) -> None:
        """Change an item's memory to what is put; the last put wins, whoever else puts."""
        while memory is not None:
            view = self._view()
            created = items.created_at(memory) if view.shown(memory) else now
            try:
                if draft.parts:
                    self.memories.add_many(draft.parts)
                self.memories.update(
                    memory.id, if_version=memory.version, **draft.fields(created, now)
                )
            except (VersionConflict, MemoryNotFound):
                memory = view.find(*place)  # changed or deleted meanwhile, by another process
            else:
                return forget_parts(self.memories, [memory], OWN_FIELD)
        return self._add({place: draft}, {place: now})

    def _delete(self, memory: Memory) -> None:
        """Forget all versions of an item."""
        same: Where = {"id": memory.id} if memory.key is None else {"key": memory.key}
        self._forget(memory.namespace, {"namespace": memory.namespace, **same})

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
        if op.query and op.offset >= MAX_LIMIT:
            raise BadInput(
                f"offset is {op.offset:,}, but a query finds the best {MAX_LIMIT:,} items alone. "
                "Ask more precisely, or list without a query."
            )


def _now() -> datetime:
    return datetime.now(UTC)
