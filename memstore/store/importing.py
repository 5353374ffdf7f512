"""Imports: what `exporting` wrote comes back under its own ids and times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, delete

from memstore.catalog import feedback, links, log, memories, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.tables import memory
from memstore.store import drafts
from memstore.store.counters import recount
from memstore.store.encoding import Written, encode
from memstore.store.export_files import Source, memory_lines, opened_twice, read_whole
from memstore.store.exported_header import take_over
from memstore.store.exported_memories import ExportedMemory, exported_memory
from memstore.store.opening import OpenStore
from memstore.types import Event, ImportReport

_BATCH = 128


def import_(
    opened: OpenStore,
    source: Source,
    *,
    now: int,
    wrote: Callable[[int], None] = lambda memories: None,
) -> ImportReport:
    """Store the memories of an export under their own ids and times, with their history.

    All of it is read before anything is stored, to see that it is whole. Memories whose id is there
    already stay as they are; those that were forgotten since come back, because importing them is
    an explicit wish. Batches are transactions: an interrupted import goes on when it is run again.

    Args:
        wrote: called with how many memories each batch stored.

    Raises:
        BadInput: not an export, or not as it was written; nothing is stored. Or somebody else wrote
            it, and a line of it cannot be stored; batches before it are.
    """
    opened.check_writable()
    added = seen = 0
    with opened_twice(source, scratch=opened.path) as (file, name):
        take_over(opened, read_whole(file, name), f"{name}:1", now=now)
        lines = memory_lines(file, name)
        while batch := list(islice(lines, _BATCH)):
            stored = _import_batch(opened, batch, now)
            wrote(stored)
            added += stored
            seen += len(batch)
    return ImportReport(added=added, unchanged=seen - added)


def _import_batch(opened: OpenStore, batch: Sequence[dict[str, Any]], now: int) -> int:
    checked = [exported_memory(item) for item in batch]
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


def _contexts(
    connection: Connection, items: list[ExportedMemory], count: int
) -> list[tuple[str, ...]]:
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


def _insert(connection: Connection, item: ExportedMemory, passages: Any, now: int) -> int:
    """Store a memory and return its row; its tombstone, if there is one, goes, and what is logged
    of it stays. An event says so where no other one tells readers of the memory.
    """
    new = not connection.execute(delete(memory).where(memory.c.id == item.row.id)).rowcount
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
    news = False
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
        news = news or entry["verb"] not in log.SILENT
    if not (new and news):
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
