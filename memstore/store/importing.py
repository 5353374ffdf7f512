"""Imports: what `exporting` wrote comes back under its own ids and times."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete

from memstore.catalog import links, log, memories, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.memories import MemoryRow
from memstore.catalog.tables import memory
from memstore.entities import EntityLink
from memstore.errors import BadInput
from memstore.store import drafts
from memstore.store.encoding import Written, encode
from memstore.store.exporting import FORMAT, FORMAT_VERSION, TIMES
from memstore.store.opening import OpenStore
from memstore.types import Event, ImportReport

_BATCH = 128
_UNLIMITED = sys.maxsize  # what the store made of texts may be longer than what a caller may give


def import_(
    opened: OpenStore,
    path: str | os.PathLike[str],
    *,
    now: int,
    wrote: Callable[[int], None] = lambda memories: None,
) -> ImportReport:
    """Store the memories of an export under their own ids and times, with their history.

    Memories whose id is there already stay as they are; those that were forgotten since come back,
    because importing them is an explicit wish. Batches are transactions: an interrupted import goes
    on when it is run again.

    Args:
        wrote: called with how many memories each batch stored.

    Raises:
        BadInput: not an export, or a line of it is damaged; batches before it are stored.
    """
    opened.check_writable()
    added = seen = 0
    batch: list[dict[str, Any]] = []

    def store() -> None:
        nonlocal added, seen
        stored = _import_batch(opened, batch, now)
        wrote(stored)
        added += stored
        seen += len(batch)
        batch.clear()

    for item in _lines(Path(path)):
        batch.append(item)
        if len(batch) == _BATCH:
            store()
    if batch:
        store()
    return ImportReport(added=added, unchanged=seen - added)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as lines:
            header = _object(lines.readline(), path, 1)
            if header.get("format") != FORMAT or header.get("version") != FORMAT_VERSION:
                raise BadInput(
                    f"{path} is no memstore export of version {FORMAT_VERSION}. To store plain "
                    f"JSONL use:\n    memstore ingest {path}"
                )
            found = 0
            for number, line in enumerate(lines, start=2):
                if line.strip():
                    found += 1
                    yield _object(line, path, number)
            if found != header.get("memories", found):
                raise BadInput(
                    f"{path} holds {found} of the {header['memories']} memories that were exported:"
                    " it is cut off. What it holds was stored; import a whole copy for the rest."
                )
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error


def _object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        item = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}:{number}: not UTF-8: {error}.") from error
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of 5,000 digits
        raise BadInput(f"{path}:{number}: not a JSON object: {error}.") from error
    if not isinstance(item, dict):
        raise BadInput(f"{path}:{number}: not a JSON object.")
    return {**item, "place": f"{path}:{number}"}


@dataclasses.dataclass(frozen=True, slots=True)
class _Imported:
    row: MemoryRow
    namespace: str
    source: str | None
    expired_at: int | None
    observed_at: int | None
    links: tuple[EntityLink, ...]
    events: tuple[Mapping[str, Any], ...]


def _import_batch(opened: OpenStore, batch: list[dict[str, Any]], now: int) -> int:
    checked = [_checked(item) for item in batch]
    with reading(opened.engine, opened.path) as connection:
        there = memories.live_rows(connection, [item.row.id for item in checked])
        new = [item for item in checked if item.row.id not in there]
        contexts = _contexts(connection, new, opened.settings.session_context)
    if not new:
        return 0
    encoder = opened.encoder
    encoded = encode(
        encoder,
        opened.settings,
        [
            Written(item.row.text, item.row.title, context)
            for item, context in zip(new, contexts, strict=True)
        ],
    )
    with writing(opened.engine, opened.path) as connection:
        opened.check_encoder(connection, encoder)
        stored = set(memories.live_rows(connection, [item.row.id for item in new]))
        added = 0
        for item, passages in zip(new, encoded, strict=True):
            if item.row.id not in stored:
                _insert(connection, item, passages, now)
                stored.add(item.row.id)  # an export names each memory once; the first one counts
                added += 1
    return added


def _contexts(connection: Connection, items: list[_Imported], count: int) -> list[tuple[str, ...]]:
    """Return the texts before each memory in its session: exports keep the stored order."""
    recent: dict[tuple[str, str], list[str]] = {}
    contexts: list[tuple[str, ...]] = []
    for item in items:
        if item.row.session is None or count == 0:
            contexts.append(())
            continue
        place = (item.namespace, item.row.session)
        if place not in recent:
            namespace = memories.find_namespace(connection, item.namespace)
            recent[place] = (
                []
                if namespace is None
                else memories.session_tail(connection, namespace, item.row.session, count)
            )
        contexts.append(tuple(recent[place][-count:]))
        recent[place].append(item.row.text)
    return contexts


def _checked(item: dict[str, Any]) -> _Imported:
    """Return an exported memory, checked like a new one."""
    try:
        return _imported(item)
    except BadInput as error:
        raise BadInput(f"{item['place']}: {error}") from error
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise BadInput(f"{item['place']}: not as export writes it: {error!r}.") from error


def _imported(item: dict[str, Any]) -> _Imported:
    given = (
        *("text", "namespace", "key", "session", "title", "source", "metadata"),
        *("occurred_at", "valid_from", "valid_to"),
    )
    draft = drafts.draft(
        {name: item.get(name) for name in given} | {"importance": item.get("importance", 0.0)}
    )
    times = {name: drafts.check_time(item.get(name), name) for name in TIMES}
    recorded_at = times["recorded_at"]
    id_ = drafts.check_string(item.get("id"), "id", 64)
    if id_ is None or recorded_at is None:
        raise BadInput("id or recorded_at is missing.")
    alpha = drafts.check_number(item.get("alpha"), "alpha", 0.0, 1e9)
    beta = drafts.check_number(item.get("beta"), "beta", 0.0, 1e9)
    if alpha + beta <= 0:
        raise BadInput("alpha and beta are both 0.")
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
        occurred_at=draft.occurred_at,
        valid_from=draft.valid_from,
        valid_to=draft.valid_to,
        half_life_s=None
        if half_life is None
        else drafts.check_half_life(timedelta(seconds=half_life)),
        alpha=alpha,
        beta=beta,
        importance=draft.importance,
        t_ref=drafts.reference_time(
            occurred_at=draft.occurred_at,
            valid_from=draft.valid_from,
            observed_at=times["observed_at"],
            recorded_at=recorded_at,
        ),
        entities_given=item.get("entities_given") is True,
        superseded_by=drafts.check_string(item.get("superseded_by"), "superseded_by", 64),
    )
    return _Imported(
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
    details = drafts.check_metadata(item.get("details"), "an event's details", _UNLIMITED)
    return {
        "verb": verb,
        "at": drafts.check_time(item["at"], "an event's time"),
        "recorded_at": drafts.check_time(item["recorded_at"], "an event's time"),
        "source": drafts.check_string(item.get("source"), "an event's source"),
        "details": json.loads(details),
    }


def _insert(connection: Connection, item: _Imported, passages: Any, now: int) -> None:
    """Store a memory; its tombstone, if there is one, goes, and what is logged of it stays."""
    connection.execute(delete(memory).where(memory.c.id == item.row.id))
    logged = [_logged(entry) for entry in log.history(connection, item.row.id)]
    namespace = memories.namespace_id(connection, item.namespace)
    source_id = memories.source_id(connection, item.source)
    row = dataclasses.replace(item.row, namespace_id=namespace, source_id=source_id)
    number = memories.insert_memory(connection, row)
    memories.update_memory(
        connection, number, expired_at=item.expired_at, observed_at=item.observed_at
    )
    vectors.insert_passages(connection, number, passages)
    links.link_entities(connection, number, namespace, item.links)
    for entry in item.events:
        if entry in logged:
            logged.remove(entry)
            continue
        log.append_event(
            connection,
            row.id,
            entry["verb"],
            now=entry["recorded_at"],
            at=entry["at"],
            source_id=memories.source_id(connection, entry["source"]),
            payload=entry["details"],
        )
    log.append_event(connection, row.id, "import", now=now)


def _logged(item: Event) -> Mapping[str, Any]:
    """Return a stored event in the form of an imported one."""
    return {
        "verb": item.verb,
        "at": drafts.check_time(item.at, "at"),
        "recorded_at": drafts.check_time(item.recorded_at, "recorded_at"),
        "source": item.source,
        "details": item.details,
    }
