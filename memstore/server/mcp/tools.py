"""What each tool does: arguments in, an answer out, every read and write within the scope."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from mcp_types import ToolAnnotations

from memstore import BadInput, Memory, MemoryNotFound, MemoryStore, __version__
from memstore.rendering import element
from memstore.server.mcp.arguments import (
    Arguments,
    FeedbackArguments,
    ForgetArguments,
    GetArguments,
    RecallArguments,
    StatusArguments,
    StoreArguments,
    UpdateArguments,
)
from memstore.server.mcp.fencing import NOTICE, fence
from memstore.server.mcp.forgetting import forget
from memstore.server.mcp.recalling import recall
from memstore.server.mcp.results import (
    ChangeResult,
    Counted,
    ForgetResult,
    GetResult,
    RecallResult,
    Remembered,
    Result,
    StatusResult,
    StoreResult,
    changed,
    happening,
    remembered,
    whole_element,
)
from memstore.server.mcp.storing import store_memory
from memstore.server.mcp.validity import begins, holds, not_ended
from memstore.server.scope import Scope
from memstore.settings import DEFAULT_NAMESPACE
from memstore.times import iso

_PIECE = 20_000  # characters of a memory at once, some 5,000 tokens; the next call goes on
_SHOWN_EVENTS = 50  # the last ones
_SHOWN_NAMES = 10  # entities and namespaces in a status

# what each verb of feedback takes; of all but `page` it needs each
_TAKES = {
    "reinforce": ("page",),
    "confirm": ("source", "page"),
    "contradict": ("source", "page"),
    "retract": ("reason",),
    "supersede": ("by",),
    "importance": ("importance",),
}
_PAGE = re.compile("[0-9A-HJKMNP-TV-Z]{26}")


@dataclasses.dataclass(frozen=True, slots=True)
class Tool:
    """A tool as clients see it, and what runs when one calls it: in a thread of its own.

    `beside` says what is better done with another tool, for where that one is offered too.
    """

    title: str
    description: str
    arguments: type[Arguments]
    result: type[Result]
    run: Callable[[MemoryStore, Scope, Any], tuple[Result, str]]
    reads: bool = False
    destroys: bool = False
    idempotent: bool = False
    beside: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def annotations(self) -> ToolAnnotations:
        """The hints of the protocol. Of a tool that only reads, the others say nothing."""
        return ToolAnnotations(
            title=self.title,
            read_only_hint=self.reads,
            destructive_hint=self.destroys,
            idempotent_hint=self.reads or self.idempotent,
            open_world_hint=False,
        )


def _update(store: MemoryStore, scope: Scope, asked: UpdateArguments) -> tuple[ChangeResult, str]:
    scope.check_writable()
    memory = scope.memory(store, asked.id)
    given = asked.model_dump(exclude={"id", "clear", "if_version"}, exclude_none=True)
    twice = [name for name in asked.clear if name in given]
    if twice:
        raise BadInput(f"{twice[0]} is both given and to be cleared. Leave one out.")
    changes = given | dict.fromkeys(asked.clear)
    if not changes:
        raise BadInput(f"Nothing is to be changed of {asked.id}. Give a field, or one to clear.")
    updated = store.update(memory.id, if_version=asked.if_version, **changes)
    return changed(updated), f"Updated: {updated.id}, now version {updated.version}"


def _get(store: MemoryStore, scope: Scope, asked: GetArguments) -> tuple[GetResult, str]:
    others: list[Memory] = []
    if asked.id is not None and asked.key is None:
        memory = scope.memory(store, asked.id)
    elif asked.key is not None and asked.id is None:
        memory, *others = _under_key(store, scope, asked.key)
    else:
        raise BadInput("Give either the id of a memory or its key.")
    shown = memory.text[asked.start : asked.start + _PIECE]
    end = asked.start + len(shown)
    told = store.history(memory.id) if asked.history else ()
    events = [happening(event) for event in told[-_SHOWN_EVENTS:]]
    further = []
    if end < len(memory.text):
        further.append(
            f"These are {len(shown)} of {len(memory.text)} characters; go on with start={end}."
        )
    if others:
        ids = ", ".join(other.id for other in others[:_SHOWN_NAMES])
        further.append(f"Other namespaces have {len(others)} under this key: {ids}.")
    result = GetResult(
        notice=NOTICE,
        memory=Remembered(**remembered(memory, shown)),
        start=asked.start,
        characters=len(memory.text),
        history=events if asked.history else None,
        events=len(told) if asked.history else None,
        next=" ".join(further) or None,
    )
    inside = [whole_element(memory, shown)]
    for event in events:
        attributes = {"verb": event.verb, "at": event.at, "source": event.source or ""}
        inside.append(element("event", attributes, str(event.details or "")))
    return result, "\n".join([fence("memories", inside), *further])


def _under_key(store: MemoryStore, scope: Scope, key: str) -> list[Memory]:
    """Return of each namespace what holds under a key, or was the last that did: that of the
    namespace the server writes to first, then what holds, then what is newest.
    """
    namespace = scope.to_read()
    found: dict[str, Memory] = {}
    for where in ({"key": key, **not_ended()}, {"key": key}):
        page = store.list(namespace=namespace, where=where, newest_first=True)
        for memory in sorted(page.memories, key=_rank, reverse=True):
            if memory.retracted_at is None:
                found.setdefault(memory.namespace, memory)
    if not found:
        raise MemoryNotFound(f"Nothing is stored under the key {key!r}.")
    own = DEFAULT_NAMESPACE if scope.whole else namespace
    return sorted(
        found.values(), key=lambda memory: (memory.namespace == own, *_rank(memory)), reverse=True
    )


def _rank(memory: Memory) -> tuple[object, ...]:
    return holds(memory), begins(memory), memory.id


def _feedback(
    store: MemoryStore, scope: Scope, asked: FeedbackArguments
) -> tuple[ChangeResult, str]:
    scope.check_writable()
    memory = scope.memory(store, asked.id)
    _check_feedback(asked)
    told = _say(store, scope, memory, asked)
    return changed(told), (
        f"{asked.verb}: {told.id} has confidence {told.confidence:.1f} of 10, "
        f"importance {told.importance:g}, {told.uses} uses"
    )


def _check_feedback(asked: FeedbackArguments) -> None:
    takes = _TAKES[asked.verb]
    given = asked.model_dump(exclude={"id", "verb"}, exclude_none=True)
    wrong = [
        *(f"does not take {name!r}" for name in given if name not in takes),
        *(f"needs {name!r}" for name in takes if name not in given and name != "page"),
    ]
    if wrong:
        raise BadInput(
            f"{asked.verb} {wrong[0]}. Beside id it takes: {', '.join(takes)}. Nothing was changed."
        )
    if asked.page is not None and not _PAGE.fullmatch(asked.page):
        raise BadInput("page is none: give what memory_recall returned as page, or leave it out.")


def _say(store: MemoryStore, scope: Scope, memory: Memory, asked: FeedbackArguments) -> Memory:
    match asked.verb:
        case "reinforce":
            return store.reinforce(memory.id, page=asked.page)
        case "confirm":
            return store.confirm(memory.id, source=str(asked.source), page=asked.page)
        case "contradict":
            return store.contradict(memory.id, source=str(asked.source), page=asked.page)
        case "retract":
            return store.retract(memory.id, reason=str(asked.reason))
        case "importance":
            return store.set_importance(memory.id, asked.importance or 0.0)
    store.supersede(memory.id, scope.memory(store, str(asked.by)).id)
    return store.get(memory.id)


def _status(store: MemoryStore, scope: Scope, asked: StatusArguments) -> tuple[StatusResult, str]:
    namespace = scope.to_read()
    below = store.namespaces(under=namespace)
    newest = store.list(namespace=namespace, limit=1, newest_first=True).memories
    whole = store.stats() if scope.whole else None
    result = StatusResult(
        namespace=namespace,
        read_only=scope.read_only,
        memories=sum(item.memories for item in below),
        namespaces=[
            Counted(name=item.name, memories=item.memories)
            for item in sorted(below, key=lambda item: -item.memories)[:_SHOWN_NAMES]
        ],
        entities=[
            Counted(name=item.name, memories=item.memories)
            for item in store.entities(namespace=namespace, limit=_SHOWN_NAMES)
        ],
        last_recorded_at=iso(newest[0].recorded_at) if newest else None,
        encoder=store.encoder,
        memstore=__version__,
        size_bytes=None if whole is None else whole.size_bytes,
        forgotten=None if whole is None else whole.forgotten,
        notice=NOTICE,
    )
    said = (
        f"Memories in namespace {namespace!r} and below: {result.memories}"
        f"{', to read only' if scope.read_only else ''}."
    )
    if newest:
        said += f" The last one was stored at {result.last_recorded_at}."
    names = [
        element("entity", {"name": item.name, "memories": str(item.memories)}, "")
        for item in result.entities
    ]
    return result, f"{said} Mentioned most: {fence('entities', names)}" if names else said


BY_NAME = {
    "memory_store": Tool(
        title="Store a memory",
        description="Store something worth knowing in later conversations: a fact, preference, "
        "decision or event. Give a key where it may change. Not for secrets.",
        arguments=StoreArguments,
        result=StoreResult,
        run=store_memory,
        idempotent=True,
    ),
    "memory_recall": Tool(
        title="Recall memories",
        description="Find what is remembered of a question or topic. Call it before answering or "
        "acting on what may have come up before.",
        arguments=RecallArguments,
        result=RecallResult,
        run=recall,
        reads=True,
    ),
    "memory_update": Tool(
        title="Correct a memory",
        description="Correct a memory in place.",
        beside={
            "memory_store": "For a fact that changed, memory_store under its key, which keeps what "
            "held before."
        },
        arguments=UpdateArguments,
        result=ChangeResult,
        run=_update,
        destroys=True,
        idempotent=True,
    ),
    "memory_forget": Tool(
        title="Forget memories",
        description="Remove memories and their earlier versions by ids; or by query or filter: the "
        "first call only shows what would go, the second needs its confirm.",
        beside={"memory_feedback": "For what was never true, memory_feedback."},
        arguments=ForgetArguments,
        result=ForgetResult,
        run=forget,
        destroys=True,
        idempotent=True,
    ),
    "memory_get": Tool(
        title="Read one memory",
        description="All of one memory: text, metadata, version, history.",
        arguments=GetArguments,
        result=GetResult,
        run=_get,
        reads=True,
    ),
    "memory_feedback": Tool(
        title="Say how good a memory was",
        description="Say what came of a recalled memory, so that recall gets better.",
        arguments=FeedbackArguments,
        result=ChangeResult,
        run=_feedback,
        destroys=True,
    ),
    "memory_status": Tool(
        title="Show what is remembered",
        description="How much is remembered, of whom and what, and when the last was stored.",
        arguments=StatusArguments,
        result=StatusResult,
        run=_status,
        reads=True,
    ),
}
