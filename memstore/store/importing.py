"""Imports: what `exporting` wrote comes back under its own ids and times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, delete, select

from memstore.catalog import feedback, links, log, memories, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.sessions import SessionTails, session_tail
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.store import drafts
from memstore.store.counters import recount
from memstore.store.encoding import Encodings, Written
from memstore.store.export_files import Source, memory_lines, opened_twice, read_whole
from memstore.store.exported_header import take_over
from memstore.store.exported_memories import ExportedMemory, exported_memory
from memstore.store.opening import OpenStore
from memstore.store.rereading import as_written, concerned, reread
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
    count = opened.session_context
    with reading(opened.engine, opened.path) as connection:
        there = memories.live_rows(connection, [item.row.id for item in checked])
        new = [item for item in checked if item.row.id not in there]
        contexts = _contexts(connection, new, count)
        foreseen = as_written(connection, _followers(opened, connection, new), count)
    if not new:
        return 0
    encodings = Encodings(
        opened.encoder,
        opened.vector_settings,
        [
            *(Written(item.row.text, item.row.title, context) for item, context in contexts),
            *foreseen.values(),
        ],
    )
    with writing(opened.engine, opened.path) as connection:
        opened.check_encoder(connection, encodings.encoder, encodings.settings)
        stored = set(memories.live_rows(connection, [item.row.id for item in new]))
        missing: dict[str, ExportedMemory] = {}
        for item in new:
            if item.row.id not in stored:
                # an export names each memory once; the first one counts
                missing.setdefault(item.row.id, item)
        following = _followers(opened, connection, missing.values())
        rows = [_insert(connection, item, encodings, count, now) for item in missing.values()]
        reread(opened, connection, following, encodings, verb=log.REREAD, now=now)
        recount(connection, rows)
    return len(rows)


def _followers(
    opened: OpenStore, connection: Connection, items: Iterable[ExportedMemory]
) -> list[int]:
    """Return the rows of what was read with the texts of those memories that were forgotten: they
    come back at the end of their sessions.
    """
    ids = [item.row.id for item in items]
    forgotten = connection.scalars(select(memory.c.row).where(among(memory.c.id, ids))).all()
    return concerned(opened, connection, forgotten)


def _contexts(
    connection: Connection, items: list[ExportedMemory], count: int
) -> list[tuple[ExportedMemory, tuple[str, ...]]]:
    """Return the texts before each memory in its session: exports keep the stored order."""
    paths = {item.namespace for item in items}
    namespaces = {path: memories.find_namespace(connection, path) for path in paths}
    tails = SessionTails(connection, count)
    contexts = []
    for item in items:
        place = (item.namespace, item.row.session)
        contexts.append((item, tails.before(*place, namespaces[item.namespace])))
        tails.follow(*place, item.row.text)
    return contexts


def _insert(
    connection: Connection, item: ExportedMemory, encodings: Encodings, count: int, now: int
) -> int:
    """Store a memory and return its row; its tombstone, if there is one, goes, and what is logged
    of it stays. An event says so where no other one tells readers of the memory.
    """
    new = not connection.execute(delete(memory).where(memory.c.id == item.row.id)).rowcount
    logged = [_logged(entry) for entry in log.history(connection, item.row.id)]
    namespace = memories.namespace_id(connection, item.namespace)
    source_id = memories.source_id(connection, item.source)
    row = dataclasses.replace(item.row, namespace_id=namespace, source_id=source_id)
    context = session_tail(connection, namespace, row.session, count)
    [number] = memories.insert_memories(connection, [row])
    memories.update_memory(
        connection, number, expired_at=item.expired_at, observed_at=item.observed_at
    )
    passages = encodings.of(Written(row.text, row.title, context))
    vectors.insert_passages(connection, {number: passages})
    counted = item.expired_at is None
    links.link_entities(connection, [(number, namespace, item.links)], counted=counted)
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
