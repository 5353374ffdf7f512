"""What an export says of a memory, checked like what a caller gives."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, get_args

from memstore.catalog import log
from memstore.catalog.memories import MemoryRow
from memstore.entities import EntityLink
from memstore.errors import BadInput
from memstore.settings import MAX_JSON_DEPTH
from memstore.store import drafts
from memstore.store.export_files import TIMES
from memstore.types import TimePrecision

# what events note as [before, after], and its range; times have none
_CHANGED = {"importance": (-1, 1), "prior": (0, 1), "valid_to": (0, 0), "observed_at": (0, 0)}
_UNLIMITED = sys.maxsize  # what the store made of texts may be longer than what a caller may give


@dataclasses.dataclass(frozen=True, slots=True)
class ExportedMemory:
    """A memory to be stored as it was in another store. `events` are as in the file, its times
    in UTC microseconds.
    """

    row: MemoryRow
    namespace: str
    source: str | None
    expired_at: int | None
    observed_at: int | None
    links: tuple[EntityLink, ...]
    events: tuple[Mapping[str, Any], ...]


def exported_memory(item: dict[str, Any]) -> ExportedMemory:
    """Return an exported memory, checked like a new one."""
    try:
        return _imported(item)
    except BadInput as error:
        raise BadInput(f"{item['place']}: {error}") from error
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise BadInput(f"{item['place']}: not as export writes it: {error!r}.") from error


def _imported(item: dict[str, Any]) -> ExportedMemory:
    given = (
        *("text", "namespace", "key", "session", "title", "kind", "source", "metadata"),
        *("occurred_at", "valid_from", "valid_to"),
    )
    draft = drafts.draft(
        {name: item.get(name) for name in given} | {"importance": item.get("importance", 0.0)}
    )
    precision = item.get("precision", "instant")
    if precision not in get_args(TimePrecision):
        raise BadInput(f"precision is {precision!r}.")
    times = {name: drafts.check_time(item.get(name), name) for name in TIMES}
    recorded_at = times["recorded_at"]
    id_ = drafts.check_string(item.get("id"), "id", 64)
    if id_ is None or recorded_at is None:
        raise BadInput("id or recorded_at is missing.")
    prior = item.get("prior")
    half_life = item.get("half_life_seconds")
    row = MemoryRow(
        id=id_,
        namespace_id=0,  # known when it is stored
        key=draft.key,
        session=draft.session,
        title=draft.title,
        text=draft.text,
        content_hash=drafts.check_string(item.get("content_hash"), "content_hash", 64)
        or draft.content_hash,
        metadata=draft.metadata,
        source_id=None,
        recorded_at=recorded_at,
        occurred_at=draft.occurred.start,
        valid_from=draft.valid_from,
        valid_to=draft.valid_to,
        half_life_s=None
        if half_life is None
        else drafts.check_half_life(timedelta(seconds=half_life)),
        prior=None if prior is None else drafts.check_number(prior, "prior", 0.0, 1.0),
        alpha=1.0,  # counted from the events, when these are stored
        beta=1.0,
        importance=draft.importance,
        kind=draft.kind,
        t_ref=drafts.reference_time(
            occurred_at=draft.occurred.start,
            valid_from=draft.valid_from,
            observed_at=times["observed_at"],
            recorded_at=recorded_at,
            precision=precision,
        ),
        t_end=times["t_end"],
        t_precision=precision,
        entities_given=item.get("entities_given") is True,
        superseded_by=drafts.check_string(item.get("superseded_by"), "superseded_by", 64),
    )
    return ExportedMemory(
        row=row,
        namespace=draft.namespace,
        source=draft.source,
        expired_at=times["expired_at"],
        observed_at=times["observed_at"],
        links=tuple({link.canon: link for link in map(_link, item.get("entities", ()))}.values()),
        events=tuple(_event(entry) for entry in item.get("events", ())),
    )


def _link(item: Mapping[str, Any]) -> EntityLink:
    if item["role"] not in ("speaker", "given", "extracted"):
        raise BadInput(f"an entity has the role {item['role']!r}.")
    canon = drafts.check_string(item["canon"], "an entity", _UNLIMITED)
    display = drafts.check_string(item["display"], "an entity", _UNLIMITED)
    if canon is None or display is None:
        raise BadInput("an entity has no name.")
    label = drafts.check_string(item.get("label"), "an entity's label", _UNLIMITED)
    return EntityLink(canon=canon, display=display, label=label, role=item["role"])


def _event(item: Mapping[str, Any]) -> Mapping[str, Any]:
    verb = drafts.check_string(item["verb"], "an event's verb", 64)
    at, recorded_at = (
        drafts.check_time(item[name], "an event's time") for name in ("at", "recorded_at")
    )
    if verb is None or at is None or recorded_at is None:
        raise BadInput("an event has no verb or no time.")
    details = item.get("details") or {}
    drafts.check_metadata(details, "an event's details", _UNLIMITED, MAX_JSON_DEPTH)
    if verb in (log.CONFIRM, log.CONTRADICT) and item.get("source") is None:
        raise BadInput(f"a {verb} event has no source.")
    _check_changes(details)
    return {
        "verb": verb,
        "at": at,
        "recorded_at": recorded_at,
        "source": drafts.check_string(item.get("source"), "an event's source"),
        "session": drafts.check_string(item.get("session"), "an event's session"),
        "idempotency_key": drafts.check_string(
            item.get("idempotency_key"), "an event's idempotency_key"
        ),
        "details": details,
    }


def _check_changes(details: Mapping[str, Any]) -> None:
    """Refuse changes that a query with `known_at` could not take back."""
    for name, (low, high) in _CHANGED.items():
        if name not in details:
            continue
        pair = details[name]
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadInput(f"an event's {name} is {pair!r}; it is what it was before and after.")
        for value in pair:
            if value is not None and high:
                drafts.check_number(value, name, low, high)
            elif value is not None:
                drafts.check_time(value, name)
