"""What the tools give back: structured, by the schemas a client checks them against."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from memstore import Event, Memory
from memstore.rendering import attributes_of, element
from memstore.times import iso

_PRECISIONS = {"year": 4, "month": 7, "day": 10}
_CHARACTERS = 300  # of a text in a list, and of what an event holds: it may be an earlier text
_METADATA_CHARACTERS = 2000  # as JSON, of one memory; what is longer is left out
_ENTITIES = 50


class Result(BaseModel):
    """What a call gave; a field that is not set is left out.

    Some clients show a model this alone, and others the text alone: each must do. `next` says what
    may be done now.
    """

    model_config = ConfigDict(extra="forbid")


class Remembered(Result):
    id: str
    version: str
    namespace: str
    text: str
    recorded_at: str
    confidence: float
    key: str | None = None
    title: str | None = None
    kind: str | None = None
    source: str | None = None
    session: str | None = None
    occurred_at: str | None = None
    valid_from: str | None = None
    valid_to: str | None = None
    superseded_by: str | None = None
    retracted_at: str | None = None
    importance: float | None = None
    uses: int | None = None
    entities: list[str] | None = None
    metadata: dict[str, Any] | None = None
    partial: bool | None = None


class Why(Result):
    name: str
    nats: float
    why: str


class Brief(Result):
    """What a list says of a memory, as `attributes_of` does; `text` may be a part."""

    id: str
    key: str | None = None
    time: str | None = None
    source: str | None = None
    title: str | None = None
    text: str


class Recalled(Brief):
    rank: int
    score: float | None = None
    confidence: float | None = None
    parts: list[Why] | None = None


class LeftOut(Result):
    id: str
    reason: str
    instead: str | None = None
    text: str | None = None


class RecallResult(Result):
    notice: str
    hits: list[Recalled]
    left_out: dict[str, int] | None = None
    left_out_ids: list[LeftOut] | None = None
    flags: list[str] | None = None
    suggested_as_of: str | None = None
    page: str | None = None
    next: str | None = None


class Proposed(Brief):
    relation: Literal["near_duplicate", "supersession"]
    similarity: float


class StoreResult(Result):
    id: str
    version: str
    status: Literal["stored", "unchanged"]
    superseded: list[str]
    valid_from: str | None = None
    valid_to: str | None = None
    superseded_by: str | None = None
    proposals: list[Proposed] | None = None
    next: str | None = None
    notice: str | None = None


class ChangeResult(Result):
    id: str
    version: str
    confidence: float
    importance: float
    uses: int
    valid_to: str | None = None
    superseded_by: str | None = None
    retracted_at: str | None = None


class Forgettable(Brief):
    earlier_versions: int | None = None


class ForgetResult(Result):
    forgotten: list[str]
    would_forget: list[Forgettable] | None = None
    count: int
    confirm: str | None = None
    next: str | None = None
    notice: str | None = None


class Happening(Result):
    verb: str
    at: str
    source: str | None = None
    details: dict[str, Any] | None = None


class GetResult(Result):
    notice: str
    memory: Remembered
    start: int
    characters: int
    history: list[Happening] | None = None
    events: int | None = None
    next: str | None = None


class Counted(Result):
    name: str
    memories: int


class StatusResult(Result):
    namespace: str
    read_only: bool
    memories: int
    namespaces: list[Counted]
    entities: list[Counted]
    last_recorded_at: str | None = None
    encoder: str
    memstore: str
    size_bytes: int | None = None
    forgotten: int | None = None
    notice: str | None = None


def remembered(memory: Memory, text: str) -> dict[str, Any]:
    """Return what a memory holds, but for what nobody said of it; `text` is what is shown of its
    text. `partial` says that more is there.
    """
    metadata = json.dumps(dict(memory.metadata), ensure_ascii=False)
    too_long = len(metadata) > _METADATA_CHARACTERS
    return {
        "id": memory.id,
        "version": memory.version,
        "namespace": memory.namespace,
        "text": text,
        "recorded_at": iso(memory.recorded_at),
        "confidence": round(memory.confidence, 2),
        "key": memory.key,
        "title": memory.title,
        "kind": memory.kind,
        "source": memory.source,
        "session": memory.session,
        "occurred_at": occurred(memory),
        "valid_from": optional(memory.valid_from),
        "valid_to": optional(memory.valid_to),
        "superseded_by": memory.superseded_by,
        "retracted_at": optional(memory.retracted_at),
        "importance": memory.importance or None,
        "uses": memory.uses or None,
        "entities": list(memory.entities[:_ENTITIES]) or None,
        "metadata": None if too_long else dict(memory.metadata) or None,
        "partial": True if too_long or len(text) < len(memory.text) else None,
    }


def brief(memory: Memory, text: str) -> dict[str, Any]:
    """Return the fields of a `Brief`."""
    return {**attributes_of(memory), "text": text}


def changed(memory: Memory) -> ChangeResult:
    """Return how a memory stands after a change."""
    return ChangeResult(
        id=memory.id,
        version=memory.version,
        confidence=round(memory.confidence, 2),
        importance=memory.importance,
        uses=memory.uses,
        valid_to=optional(memory.valid_to),
        superseded_by=memory.superseded_by,
        retracted_at=optional(memory.retracted_at),
    )


def happening(event: Event) -> Happening:
    """Return an event; long values in it are cut."""
    details = {}
    for name, value in event.details.items():
        written = json.dumps(value, ensure_ascii=False)
        details[name] = value if len(written) <= _CHARACTERS else shortened(written)
    return Happening(
        verb=event.verb, at=iso(event.at), source=event.source, details=details or None
    )


def optional(moment: datetime | None) -> str | None:
    """Return a moment as ISO-8601, if there is one."""
    return None if moment is None else iso(moment)


def occurred(memory: Memory) -> str | None:
    """Return when it happened, as precisely as is known."""
    written = optional(memory.occurred_at)
    return written and written[: _PRECISIONS.get(memory.precision, len(written))]


def memory_element(memory: Memory, text: str, **more: str | None) -> str:
    """Return a memory as an element, with more attributes where they are something."""
    given = {name: value for name, value in more.items() if value}
    return element("memory", {**attributes_of(memory), **given}, text)


def whole_element(memory: Memory, text: str) -> str:
    """Return a memory as an element with all that an agent may need to judge or change it."""
    fields = remembered(memory, text)
    metadata = fields["metadata"]
    named = ("version", "namespace", "kind", "session", "valid_from", "valid_to", "superseded_by")
    return memory_element(
        memory,
        text,
        **{name: fields[name] for name in (*named, "retracted_at")},
        metadata=metadata and json.dumps(metadata, ensure_ascii=False),
    )


def shortened(text: str) -> str:
    """Return a text, or its beginning with an ellipsis."""
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"
