"""Imports: what `exporting` wrote comes back under its own ids and times."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from sqlalchemy import Connection, delete

from memstore.catalog import aliases, feedback, links, log, memories, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.feedback import Reliability
from memstore.catalog.memories import MemoryRow
from memstore.catalog.tables import memory
from memstore.entities import EntityLink, canonical
from memstore.errors import BadInput
from memstore.store import drafts
from memstore.store.counters import recount
from memstore.store.encoding import Written, encode
from memstore.store.exporting import FORMAT, FORMAT_VERSION, TIMES
from memstore.store.opening import OpenStore
from memstore.types import Event, ImportReport, TimePrecision

_BATCH = 128
# what events note as [before, after], and its range; times have none
_CHANGED = {"importance": (-1, 1), "prior": (0, 1), "valid_to": (0, 0), "observed_at": (0, 0)}
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

    for item in _lines(opened, Path(path), now):
        batch.append(item)
        if len(batch) == _BATCH:
            store()
    if batch:
        store()
    return ImportReport(added=added, unchanged=seen - added)


def _lines(opened: OpenStore, path: Path, now: int) -> Iterator[dict[str, Any]]:
    """Yield what was exported of each memory, having said how far their sources are believed."""
    try:
        with path.open("rb") as lines:
            header = _object(lines.readline(), path, 1)
            if header.get("format") != FORMAT or header.get("version") != FORMAT_VERSION:
                raise BadInput(
                    f"{path} is no memstore export of version {FORMAT_VERSION}. To store plain "
                    f"JSONL use:\n    memstore ingest {path}"
                )
            if header.get("sources") or header.get("aliases"):
                _import_names(opened, header, now)
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


def _import_names(opened: OpenStore, header: Mapping[str, Any], now: int) -> None:
    """Believe sources as the exported store did, and let names stand for each other as they did
    there, where this store was not told otherwise.
    """
    try:
        names = [
            (
                drafts.check_namespace(item["namespace"]),
                canonical(drafts.check_text(item["alias"], "an alias")),
                canonical(drafts.check_text(item["canon"], "a name")),
            )
            for item in header.get("aliases", ())
        ]
        told = [
            (
                drafts.check_text(item["name"], "a source"),
                [_reliability(say) for say in item["said"]],
            )
            for item in header.get("sources", ())
        ]
    except (TypeError, KeyError, BadInput) as error:
        raise BadInput(f"{header['place']}: not as export writes it: {error!r}.") from error
    with writing(opened.engine, opened.path) as connection:
        for name, said in told:
            source = memories.source_id(connection, name)
            if source is None or feedback.reliability_history(connection, name):
                continue
            for at, reliability in said:
                feedback.write_reliability(connection, source, reliability, now=at)
            recount(connection, feedback.believing(connection, source))
        spaces = memories.namespaces_under(connection, "*")
        there = {(path, alias) for path, alias, _ in aliases.aliases(connection, spaces)}
        for path, alias, canon in names:
            if (path, alias) not in there:
                place = memories.namespace_id(connection, path)
                with contextlib.suppress(BadInput):  # they stand for each other here already
                    aliases.add_alias(connection, place, alias, canon)
        if names:
            log.append_event(connection, log.STORE, log.ALIAS, now=now)


def _reliability(item: Mapping[str, Any]) -> tuple[int, Reliability]:
    at = drafts.check_time(item["recorded_at"], "recorded_at")
    if at is None:
        raise BadInput("recorded_at is missing.")
    return at, Reliability(
        drafts.check_number(item["reliability"], "reliability", 0.0, 1.0),
        drafts.check_number(item["vote_weight"], "vote_weight", 0.0, 1.0),
    )


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
        rows = []
        for item, passages in zip(new, encoded, strict=True):
            if item.row.id not in stored:
                rows.append(_insert(connection, item, passages, now))
                stored.add(item.row.id)  # an export names each memory once; the first one counts
        recount(connection, rows)
    return len(rows)


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
    at, recorded_at = (
        drafts.check_time(item[name], "an event's time") for name in ("at", "recorded_at")
    )
    if verb is None or at is None or recorded_at is None:
        raise BadInput("an event has no verb or no time.")
    details = drafts.check_metadata(item.get("details"), "an event's details", _UNLIMITED)
    if verb in (log.CONFIRM, log.CONTRADICT) and item.get("source") is None:
        raise BadInput(f"a {verb} event has no source.")
    _check_changes(json.loads(details))
    return {
        "verb": verb,
        "at": at,
        "recorded_at": recorded_at,
        "source": drafts.check_string(item.get("source"), "an event's source"),
        "session": drafts.check_string(item.get("session"), "an event's session"),
        "idempotency_key": drafts.check_string(
            item.get("idempotency_key"), "an event's idempotency_key"
        ),
        "details": json.loads(details),
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


def _insert(connection: Connection, item: _Imported, passages: Any, now: int) -> int:
    """Store a memory and return its row; its tombstone, if there is one, goes, and what is logged
    of it stays.
    """
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
    counted = item.expired_at is None
    links.link_entities(connection, number, namespace, item.links, counted=counted)
    for entry in item.events:
        if entry in logged:
            logged.remove(entry)
            continue
        key = entry["idempotency_key"]
        log.append_event(
            connection,
            row.id,
            entry["verb"],
            now=entry["recorded_at"],
            at=entry["at"],
            source_id=memories.source_id(connection, entry["source"]),
            session=entry["session"],
            payload=entry["details"],
            # a call of this store may have used the same one
            idempotency_key=None if key and feedback.repeated(connection, key) else key,
        )
    log.append_event(connection, row.id, "import", now=now)
    return number


def _logged(item: Event) -> Mapping[str, Any]:
    """Return a stored event in the form of an imported one."""
    return {
        "verb": item.verb,
        "at": drafts.check_time(item.at, "at"),
        "recorded_at": drafts.check_time(item.recorded_at, "recorded_at"),
        "source": item.source,
        "session": item.session,
        "idempotency_key": item.idempotency_key,
        "details": item.details,
    }
