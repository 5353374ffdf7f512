"""Conversations of the OpenAI Agents SDK in a memstore: a `Session` for `Runner.run(session=…)`."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from memstore import (
    BadInput,
    Memory,
    MemoryNotFound,
    MemoryStore,
    MissingExtra,
    NewMemory,
    QueryResult,
)
from memstore.integrations.listing import newest_first
from memstore.integrations.stored_json import (
    NEVER,
    PartsGone,
    findable,
    forget_parts,
    forget_with_parts,
    keep,
    read_kept,
    sweep_parts,
    write_json,
)
from memstore.integrations.waiting import to_the_end
from memstore.settings import DEFAULT_LIMIT, DEFAULT_NAMESPACE, MAX_LIMIT

try:
    from agents.memory import SessionSettings
except ImportError as error:
    raise MissingExtra(
        f"memstore.integrations.openai_agents needs openai-agents, which is not there: {error}.\n"
        "Install it:\n    pip install 'memstore[openai-agents]'"
    ) from error

if TYPE_CHECKING:
    from agents import TResponseInputItem

_OWN_FIELD = "openai_agents"
_ROLES = ("user", "assistant", "system", "developer", "tool")
_TEXTS = ("text", "refusal", "transcript")  # of a part of a content
_TOOL_CHARACTERS = 2_000  # of what a tool was told or said: the beginning is what it is found by


class MemstoreSession:
    """A conversation whose items are memories, to be found from any other conversation.

    It keeps what the SDK's `Session` protocol asks for: items come back as they were, in the order
    they were added, whoever added them. Each is one memory of the namespace; what was said is its
    text, who said it its source. An item without a text, such as encrypted reasoning, no query
    finds.

    Conversations that share a namespace can be recalled from each other: give each user one.

    Args:
        session_id: the conversation; two objects with the same one, store and namespace are the
            same conversation, be it in two processes.
        store: an open store. It stays the caller's, to be closed after this.
        session_settings: such as `{"limit": 50}`, the most items `get_items` returns.
    """

    def __init__(
        self,
        session_id: str,
        store: MemoryStore,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(session_id, str) or not session_id.strip():
            raise BadInput(f"session_id is {session_id!r}; give a name for the conversation.")
        if not isinstance(namespace, str) or "*" in namespace:
            raise BadInput(f"namespace is {namespace!r}; give one such as 'default' or 'team/ana'.")
        if isinstance(session_settings, Mapping):
            session_settings = SessionSettings(**session_settings)
        self.session_id = session_id
        self.session_settings: SessionSettings | None = session_settings or SessionSettings()
        self.store = store
        self.namespace = namespace
        # alone: `list` and `forget` also see the namespaces below
        self._where: dict[str, Any] = {
            "namespace": namespace,
            "session": session_id,
            f"metadata.{_OWN_FIELD}": {"exists": True},
        }

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the last `limit` items, the oldest first; all where neither this nor the settings
        say how many.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        return await asyncio.to_thread(self._items, limit)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items, all or none; they are durable on return.

        Raises:
            BadInput: one of them is no JSON.
        """
        await to_the_end(lambda: self._add(items))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the last item; of several that pop at once, each gets another one."""
        return await to_the_end(self._pop)

    async def clear_session(self) -> None:
        """Remove all items, some hundred at a time. `store.forget(…, purge=True)` also removes them
        from the files.
        """
        await to_the_end(self._clear)

    async def recall(
        self,
        query: str,
        *,
        limit: int = DEFAULT_LIMIT,
        max_tokens: int | None = None,
        exclude_current: bool = False,
    ) -> QueryResult:
        """Return what answers a query: of all conversations of the namespace, and of what else is
        stored there. `result.render("xml")` makes a prompt's part of it.

        Args:
            exclude_current: leave out this conversation, which the model sees anyway.
        """
        where = {"session": {"ne": self.session_id}} if exclude_current else None
        return await asyncio.to_thread(
            lambda: self.store.query(
                query, namespace=self.namespace, limit=limit, max_tokens=max_tokens, where=where
            )
        )

    def _items(self, limit: int | None) -> list[TResponseInputItem]:
        # below 0 is no limit, as for the SDK's own sessions
        most = None if limit is None or limit < 0 else limit
        found = [self._item(memory) for memory in self._latest(most)]
        return [item for item in reversed(found) if item is not None]

    def _latest(self, limit: int | None) -> Iterator[Memory]:
        """Yield the memories of the items, the last first."""
        if limit != 0:
            first = MAX_LIMIT if limit is None else limit
            found = newest_first(self.store, self.namespace, self._where, first=first)
            yield from itertools.islice(found, limit)

    def _item(self, memory: Memory) -> TResponseInputItem | None:
        """Return the item of a memory; None if it was removed while it was read."""
        try:
            item: TResponseInputItem = read_kept(self.store, memory, _OWN_FIELD)
        except PartsGone:
            try:
                self.store.get(memory.id)
            except MemoryNotFound:
                return None
            raise  # it is there still, but a part of it is not
        return item

    def _add(self, items: Sequence[TResponseInputItem]) -> None:
        new: list[NewMemory] = []
        for number, item in enumerate(items, start=1):
            written = write_json(item, f"Item {number} of {len(items)}", allow_nan=True)
            kept, parts = keep(written, self.namespace, _OWN_FIELD)
            text = _text_of(item)
            new += parts
            new.append(
                NewMemory(
                    text=text or f"({_kind_of(item)} without a text)",
                    namespace=self.namespace,
                    key=f"item-{uuid.uuid4().hex}",  # the same said twice is two items
                    session=self.session_id,
                    kind="message",
                    valid_from=None if text else NEVER,
                    valid_to=None if text else NEVER,
                    source=_role_of(item),
                    metadata={_OWN_FIELD: kept},
                    entities=None if text else [],
                )
            )
        if new:
            self.store.add_many(new)

    def _pop(self) -> TResponseInputItem | None:
        while last := next(self._latest(1), None):
            item = self._item(last)
            try:
                self.store.forget(last.id)
            except MemoryNotFound:
                continue  # somebody else was faster, and has popped this one
            forget_parts(self.store, [last], _OWN_FIELD)
            return item
        return None

    def _clear(self) -> None:
        forget_with_parts(self.store, list(self._latest(None)), _OWN_FIELD, self._where)
        sweep_parts(self.store, self.namespace, _OWN_FIELD, datetime.now(UTC))


def _kind_of(item: Any) -> str:
    kind = item.get("type") if isinstance(item, Mapping) else None
    return kind if isinstance(kind, str) and kind.isidentifier() else "item"


def _role_of(item: Any) -> str | None:
    """Return who an item is of; where it has no role, its type says it."""
    if not isinstance(item, Mapping):
        return None
    role, kind = item.get("role"), _kind_of(item)
    if role is None and kind.endswith("_output"):
        return "tool"
    if role is None and kind.endswith(("_call", "reasoning")):
        return "assistant"
    return role if role in _ROLES else None


def _text_of(item: Any) -> str | None:
    """Return what was said in an item, or what a tool was told or said; None if nothing was."""
    if not isinstance(item, Mapping):
        return None
    said = _said(item.get("content")) or _said(item.get("summary"))
    if said:
        return findable("\n".join(said))
    told = item.get("arguments", item.get("input"))
    call = f"{item['name']}: {_flat(told)}" if "name" in item and told is not None else ""
    returned = "\n".join(_said(item.get("output")))
    return findable("\n".join(part[:_TOOL_CHARACTERS] for part in (call, returned) if part))


def _said(content: Any) -> list[str]:
    """Return the texts of a content: a string, or a list of parts of which some have one."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else [content]
    return [
        part[name]
        for part in parts
        if isinstance(part, Mapping)
        for name in _TEXTS
        if isinstance(part.get(name), str)
    ]


def _flat(told: Any) -> str:
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
