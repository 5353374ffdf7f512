"""Storing a memory, also in place of another one."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Literal

from memstore import BadInput, Memory, MemoryNotFound, MemoryStore
from memstore.periods import parse_period
from memstore.server.mcp.arguments import StoreArguments
from memstore.server.mcp.fencing import NOTICE, fence
from memstore.server.mcp.results import (
    Proposed,
    StoreResult,
    brief,
    memory_element,
    optional,
    shortened,
)
from memstore.server.mcp.validity import begins, ended, now
from memstore.server.scope import Scope
from memstore.times import from_microseconds, iso, to_microseconds


def store_memory(
    store: MemoryStore, scope: Scope, asked: StoreArguments
) -> tuple[StoreResult, str]:
    """Store a memory; one that replaces another holds from now on, unless it says since when."""
    namespace = scope.to_write()
    old = None if asked.supersedes is None else scope.memory(store, asked.supersedes)
    if old is not None and old.namespace != namespace:
        raise BadInput(
            f"{old.id} is in the namespace {old.namespace!r} and a new memory would be in "
            f"{namespace!r}: it can only be superseded there. Nothing was stored."
        )
    before = now()
    new = store.add(
        asked.text,
        namespace=namespace,
        key=asked.key,
        kind=asked.kind,
        occurred_at=asked.occurred_at,
        valid_from=_valid_from(store, namespace, old, asked),
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
    gone: tuple[Memory, ...] = ()
    if asked.key is not None or old is not None:
        gone = store.list(namespace=namespace, where={"superseded_by": new.id}).memories
    superseded = [memory.id for memory in gone]
    similar = [item for item in new.proposals if item.memory.id not in superseded]
    further = _further(new, repeats=bool(similar))
    result = StoreResult(
        id=new.id,
        version=new.version,
        status=status,
        superseded=superseded,
        valid_from=optional(new.valid_from),
        valid_to=optional(new.valid_to),
        superseded_by=new.superseded_by,
        proposals=[
            Proposed(
                **brief(item.memory, shortened(item.memory.text)),
                relation=item.relation,
                similarity=round(item.similarity, 3),
            )
            for item in similar
        ]
        or None,
        next=further,
        notice=NOTICE if similar else None,
    )
    said = f"{status.capitalize()}: {new.id}"
    if superseded:
        said += f", in place of {', '.join(superseded)}"
    if further is not None:
        said += f". {further}"
    if similar:
        shown = [
            memory_element(item.memory, shortened(item.memory.text), relation=item.relation)
            for item in similar
        ]
        said += " " + fence("memories", shown)
    return result, said


def _valid_from(
    store: MemoryStore, namespace: str, old: Memory | None, asked: StoreArguments
) -> str | datetime | None:
    """Return since when a new memory holds, if that is not when it happened.

    What replaces something holds from now on where it would not begin later than that: with the
    time at which it happened alone, it would be stored as what held before.

    Raises:
        BadInput: it would begin before what it supersedes.
    """
    replaced = [memory for memory in (old, _latest(store, namespace, asked.key)) if memory]
    start, occurred = now(), None
    if asked.occurred_at is not None and replaced:
        occurred = _read_time(asked.occurred_at)
        start = occurred or start
    since: str | datetime | None = asked.valid_from
    end = None if asked.valid_to is None else _read_time(asked.valid_to)
    past = end is not None and end <= now()
    if since is None and not past and any(start <= begins(memory) <= now() for memory in replaced):
        said = _said_before(store, namespace, asked)
        same = said is not None and said.occurred_at == occurred
        since = said.valid_from if said is not None and same else now()
    moment = _read_time(since) if isinstance(since, str) else since
    if old is not None and (moment or start) < begins(old):
        raise BadInput(
            f"{old.id} holds from {iso(begins(old))} on, and what supersedes it would begin before "
            "that. Say in valid_from when it begins. Nothing was stored."
        )
    return since


def _latest(store: MemoryStore, namespace: str, key: str | None) -> Memory | None:
    if key is not None:
        with contextlib.suppress(MemoryNotFound):
            return store.get_by_key(key, namespace=namespace)
    return None


def _said_before(store: MemoryStore, namespace: str, asked: StoreArguments) -> Memory | None:
    """Return the memory that this very call may have stored before, if that one still holds."""
    where = {"text": asked.text, "key": asked.key, "namespace": namespace}
    found = store.list(namespace=namespace, where=where, limit=1, newest_first=True).memories
    return found[0] if found and not ended(found[0]) else None


def _read_time(written: str) -> datetime | None:
    """Return the beginning of a time as the store reads it; None where it does not."""
    period = parse_period(written)
    if period is not None:
        return from_microseconds(period.start)
    try:
        return from_microseconds(to_microseconds(written, name="occurred_at"))
    except BadInput:
        return None  # it is refused in its turn, by its own name


def _further(new: Memory, *, repeats: bool) -> str | None:
    """Return what to know or do of a memory that was stored."""
    said = []
    if ended(new):
        by = f", where {new.superseded_by} begins" if new.superseded_by else ""
        said.append(
            f"It is history: it held until {optional(new.valid_to)}{by}, and recall finds it only "
            "with as_of. To say that it holds now, give valid_from."
        )
    if repeats:
        said.append(
            "It may repeat or replace what follows; if so, forget or supersede the old one."
        )
    return " ".join(said) or None
