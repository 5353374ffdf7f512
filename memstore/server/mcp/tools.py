"""What each tool does: arguments in, an answer out, every read and write within the scope."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from mcp_types import ToolAnnotations

from memstore import BadInput, Hit, Memory, MemoryStore, QueryResult, Suppressed, __version__
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
from memstore.server.mcp.fencing import NOTICE, element, fence, harmless
from memstore.server.mcp.forgetting import forget
from memstore.server.mcp.results import (
    ChangeResult,
    Counted,
    ForgetResult,
    GetResult,
    LeftOut,
    Proposed,
    RecallResult,
    Remembered,
    Result,
    StatusResult,
    StoreResult,
    changed,
    happening,
    memory_element,
    recalled,
    remembered,
    shortened,
)
from memstore.server.scope import Scope
from memstore.times import iso

_SHOWN_CHARACTERS = 20_000  # of a memory at once, some 5,000 tokens; the next call goes on
_SHOWN_EVENTS = 50  # the last ones
_SHOWN_NAMES = 10  # entities and namespaces in a status


@dataclasses.dataclass(frozen=True, slots=True)
class Tool:
    """A tool as clients see it, and what runs when one calls it: in a thread of its own."""

    title: str
    description: str
    arguments: type[Arguments]
    result: type[Result]
    run: Callable[[MemoryStore, Scope, Any], tuple[Result, str]]
    reads: bool = False
    destroys: bool = False
    idempotent: bool = False

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


def _store(store: MemoryStore, scope: Scope, asked: StoreArguments) -> tuple[StoreResult, str]:
    namespace = scope.to_write()
    old = None if asked.supersedes is None else scope.memory(store, asked.supersedes)
    if old is not None and old.namespace != namespace:
        raise BadInput(
            f"{old.id} is in the namespace {old.namespace!r} and a new memory would be in "
            f"{namespace!r}: it can only be superseded there. Nothing was stored."
        )
    before = datetime.now(UTC)
    new = store.add(
        asked.text,
        namespace=namespace,
        key=asked.key,
        kind=asked.kind,
        occurred_at=asked.occurred_at,
        valid_from=asked.valid_from,
        valid_to=asked.valid_to,
        metadata=asked.metadata,
        source=asked.source,
        session=asked.session,
    )
    status: Literal["stored", "unchanged"]
    status = "stored" if new.recorded_at >= before else "unchanged"
    if old is not None and old.id != new.id:
        # a kill before this leaves both; the same call again finds the new one and goes on here
        try:
            store.supersede(old.id, new.id)
        except BadInput as error:
            raise BadInput(
                f"{status.capitalize()} as {new.id}, but it supersedes nothing: {error}"
            ) from error
    ended: tuple[Memory, ...] = ()
    if asked.key is not None or old is not None:
        ended = store.list(namespace=namespace, where={"superseded_by": new.id}).memories
    superseded = [memory.id for memory in ended]
    similar = [item for item in new.proposals if item.memory.id not in superseded]
    result = StoreResult(
        id=new.id,
        version=new.version,
        status=status,
        superseded=superseded,
        proposals=[
            Proposed(
                id=item.memory.id,
                relation=item.relation,
                similarity=round(item.similarity, 3),
                text=shortened(item.memory.text),
            )
            for item in similar
        ],
        notice=NOTICE if similar else None,
    )
    said = f"{status.capitalize()}: {new.id}"
    if superseded:
        said += f", in place of {', '.join(superseded)}"
    if similar:
        shown = [
            memory_element(item.memory, shortened(item.memory.text), relation=item.relation)
            for item in similar
        ]
        said += (
            ". It may repeat or replace what follows; if so, forget or supersede the old one. "
            + fence("memories", shown)
        )
    return result, said


def _recall(store: MemoryStore, scope: Scope, asked: RecallArguments) -> tuple[RecallResult, str]:
    answer = store.query(
        asked.query,
        namespace=scope.to_read(),
        limit=asked.limit,
        max_tokens=asked.max_tokens,
        near_duplicates="drop",
        style="xml",
        where=asked.where,
        as_of=asked.as_of,
        profile=asked.profile,
        explain=asked.explain,
    )
    cue = answer.temporal
    result = RecallResult(
        notice=NOTICE,
        hits=[recalled(hit) for hit in answer.hits],
        tokens=answer.tokens or 0,
        left_out=_left_out(answer),
        flags=list(answer.flags),
        suggested_as_of=iso(cue.suggested_as_of) if cue and cue.suggested_as_of else None,
        page=answer.page,
    )
    if not answer.hits and not answer.dropped:
        return result, "Nothing is remembered of that."
    said = [NOTICE, harmless(answer.render())]
    if asked.explain:
        said += ["<reasons>", *map(_reason, answer.hits), *map(_past, answer.suppressed)]
        said += ["</reasons>"]
    if answer.dropped:
        counted = Counter(item.reason for item in answer.dropped)
        left = ", ".join(f"{number} {reason}" for reason, number in counted.items())
        said += [f"Left out: {left}. The budget was {asked.max_tokens} tokens."]
    return result, "\n".join(said)


def _left_out(answer: QueryResult) -> list[LeftOut]:
    dropped = [
        LeftOut(id=item.memory.id, reason=item.reason, instead=item.like) for item in answer.dropped
    ]
    past = [
        LeftOut(id=item.memory.id, reason=item.reason, instead=item.current_id)
        for item in answer.suppressed
    ]
    return dropped + past


def _reason(hit: Hit) -> str:
    parts = "; ".join(f"{part.name} {part.nats:+.2f}: {part.why}" for part in hit.parts)
    return element("reason", {"rank": hit.rank, "score": f"{hit.score:.2f}"}, parts)


def _past(item: Suppressed) -> str:
    attributes = {"id": item.memory.id, "instead": item.current_id, "reason": item.reason}
    return element("past", attributes, shortened(item.memory.text))


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
    if (asked.id is None) == (asked.key is None):
        raise BadInput("Give either the id of a memory or its key.")
    memory = (
        store.get_by_key(asked.key, namespace=scope.to_read())
        if asked.key is not None
        else scope.memory(store, str(asked.id))
    )
    shown = memory.text[asked.start : asked.start + _SHOWN_CHARACTERS]
    told = store.history(memory.id) if asked.history else ()
    events = [happening(event) for event in told[-_SHOWN_EVENTS:]]
    result = GetResult(
        notice=NOTICE,
        memory=Remembered(**remembered(memory, shown)),
        start=asked.start,
        characters=len(memory.text),
        history=events if asked.history else None,
        events=len(told) if asked.history else None,
    )
    inside = [memory_element(memory, shown, version=memory.version)]
    for event in events:
        attributes = {"verb": event.verb, "at": event.at, "source": event.source}
        inside.append(element("event", attributes, str(event.details or "")))
    said = fence("memories", inside)
    end = asked.start + len(shown)
    if end < len(memory.text):
        said += (
            f"\nThese are {len(shown)} of {len(memory.text)} characters; go on with start={end}."
        )
    return result, said


def _feedback(
    store: MemoryStore, scope: Scope, asked: FeedbackArguments
) -> tuple[ChangeResult, str]:
    scope.check_writable()
    memory = scope.memory(store, asked.id)
    told = _say(store, scope, memory, asked)
    return changed(told), (
        f"{asked.verb}: {told.id} has confidence {told.confidence:.1f} of 10, "
        f"importance {told.importance:g}, {told.uses} uses"
    )


def _say(store: MemoryStore, scope: Scope, memory: Memory, asked: FeedbackArguments) -> Memory:
    def needed(name: str) -> Any:
        value = getattr(asked, name)
        if value is None:
            raise BadInput(f"{asked.verb} needs {name!r}. Nothing was changed.")
        return value

    match asked.verb:
        case "reinforce":
            return store.reinforce(memory.id, page=asked.page)
        case "confirm":
            return store.confirm(memory.id, source=needed("source"), page=asked.page)
        case "contradict":
            return store.contradict(memory.id, source=needed("source"), page=asked.page)
        case "retract":
            return store.retract(memory.id, reason=needed("reason"))
        case "importance":
            return store.set_importance(memory.id, needed("importance"))
    newer = scope.memory(store, needed("by"))
    store.supersede(memory.id, newer.id)
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
        f"{', to read only' if scope.read_only else ''}. "
        f"The last one is of {result.last_recorded_at or 'never'}."
    )
    names = [element("entity", item.model_dump()) for item in result.entities]
    return result, f"{said} Mentioned most: {fence('entities', names)}" if names else said


BY_NAME = {
    "memory_store": Tool(
        title="Store a memory",
        description="Store something worth knowing in later conversations: a fact, preference, "
        "decision or event. Give a key where it may change. Not for secrets.",
        arguments=StoreArguments,
        result=StoreResult,
        run=_store,
        idempotent=True,
    ),
    "memory_recall": Tool(
        title="Recall memories",
        description="Find what is remembered of a question or topic. Call it before answering or "
        "acting on what may have come up before.",
        arguments=RecallArguments,
        result=RecallResult,
        run=_recall,
        reads=True,
    ),
    "memory_update": Tool(
        title="Correct a memory",
        description="Correct a memory in place. For a fact that changed, memory_store under its "
        "key, which keeps what held before.",
        arguments=UpdateArguments,
        result=ChangeResult,
        run=_update,
        destroys=True,
        idempotent=True,
    ),
    "memory_forget": Tool(
        title="Forget memories",
        description="Remove memories by ids; or by query or filter: the first call only shows "
        "what would go, the second needs its confirm. For what was never true, memory_feedback.",
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
    ),
    "memory_status": Tool(
        title="Show what is remembered",
        description="How much is remembered, of whom and what, since when.",
        arguments=StatusArguments,
        result=StatusResult,
        run=_status,
        reads=True,
    ),
}
