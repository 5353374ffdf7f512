"""Forgetting memories: out of every result, and with a purge out of every file."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, and_, delete, func, select

from memstore.catalog import feedback, full_text, links, log, memories, vectors
from memstore.catalog.aliases import drop_unused_aliases
from memstore.catalog.damage import contradiction
from memstore.catalog.engine import reading, rewrite, writing
from memstore.catalog.filters import compile_filter
from memstore.catalog.migrate import remove_copies
from memstore.catalog.pages import erase_pages
from memstore.catalog.sql import among
from memstore.catalog.tables import (
    entity,
    entity_alias,
    entity_count,
    event,
    memory,
    memory_entity,
    source,
    tombstone,
)
from memstore.catalog.tables import namespace as namespaces
from memstore.entities import canonical
from memstore.errors import BadInput, IndexDamaged, MemoryNotFound, StoreLocked, StoreUnwritable
from memstore.store import drafts
from memstore.store.changing import check_version
from memstore.store.counting import size_bytes
from memstore.store.encoding import Encodings, Written
from memstore.store.index_files import INDEX, FolderGone, open_codec, open_segments
from memstore.store.opening import OpenStore
from memstore.store.rereading import as_written, concerned, reread
from memstore.store.sealing import erase_deleted
from memstore.times import from_microseconds
from memstore.types import ForgetReport


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """A memory to be forgotten."""

    row: int
    id: str
    namespace_id: int
    forgotten_at: int | None
    expired_at: int | None


def forget(
    opened: OpenStore,
    ids: str | Sequence[str] | None,
    *,
    where: Mapping[str, object] | None,
    namespace: str,
    purge: bool,
    dry_run: bool,
    if_version: str | None,
    now: int,
) -> ForgetReport:
    """Take memories out of every result; with `purge` also out of every file.

    A forgotten memory keeps its row as a tombstone, without vectors and entities; a purged one
    leaves its id in the event log, with how much went, and nothing else. Names of namespaces and
    sources go with the last memory that needs them.

    Raises:
        MemoryNotFound: one of the ids is not there; nothing was forgotten.
        VersionConflict: the memory is not the version that was given; it was not forgotten.
        StoreLocked: purged, but another process reads and so keeps the old bytes in the
            write-ahead log, or is compacting the index; run it again when it is done.
        EncoderUnavailable: the weights are needed, to read anew the memories that were read with
            the purged ones before them, and cannot be loaded; nothing was forgotten.
        IndexDamaged: the database contradicts itself, and a purge would take what tells a repair
            what was right: nothing was forgotten. Or files of the index are damaged: the memories
            are forgotten, and left in them.
        StoreUnwritable: nothing was changed; or purged, but the database could not be written
            anew, which takes up to twice its size in free space: run it again.
    """
    if not dry_run:
        opened.check_writable()
    if (ids is None) == (where is None):
        raise BadInput("Say which memories to forget: either ids or where={...}.")
    if where is not None and not where:
        raise BadInput(
            f"An empty filter would forget all of namespace {namespace!r}. If that is meant: "
            "where={'recorded_at': {'exists': True}}."
        )
    wanted = None if ids is None else _checked_ids(ids)
    if if_version is not None and (wanted is None or len(wanted) != 1):
        raise BadInput("if_version is the version of one memory. Give its id alone.")
    bytes_before = size_bytes(opened.path) if purge and not dry_run else None
    encodings = None
    if purge and not dry_run:
        with reading(opened.engine, opened.path) as connection:
            found = _found(connection, wanted, where, namespace, purge=True)
            foreseen = _foreseen(opened, connection, found)
        if foreseen:
            encodings = Encodings(opened.encoder, opened.vector_settings, foreseen)
    transaction = reading if opened.read_only else writing
    with transaction(opened.engine, opened.path) as connection:
        found = _found(connection, wanted, where, namespace, purge=purge)
        if if_version is not None:
            for item in memories.load_rows(connection, [item.row for item in found]).values():
                check_version(item, if_version)
        removed = {"memories": len(found)}
        following: list[int] = []
        if purge and not dry_run:
            _check_sound(connection, opened)
            following = concerned(opened, connection, [item.row for item in found])
        if not opened.read_only:  # else nothing can be tried
            removed |= (_purge if purge else _forget)(opened, connection, found, now)
        if following:
            _reread(opened, connection, following, encodings, now)
        if dry_run:
            undone = connection.get_transaction()
            assert undone is not None
            undone.rollback()
    report = ForgetReport(
        ids=tuple(item.id for item in found),
        purged=purge and not dry_run,
        dry_run=dry_run,
        removed=removed,
        at=from_microseconds(now),
    )
    if not report.purged:
        return report
    remove_copies(opened.path)
    segments, centroids = erase_deleted(opened, now=now)
    _rewrite(opened)  # outside the transaction: VACUUM begins its own
    return dataclasses.replace(
        report,
        removed={**removed, "segments": segments, "centroids": centroids},
        bytes_before=bytes_before,
        bytes_after=size_bytes(opened.path),
    )


def _foreseen(
    opened: OpenStore, connection: Connection, found: Sequence[_Found]
) -> Sequence[Written]:
    """Return what will have to be encoded once the memories are purged."""
    rows = [item.row for item in found]
    following = concerned(opened, connection, rows)
    count = opened.session_context
    gone = dict.fromkeys(rows)
    return list(as_written(connection, following, count, becoming=gone).values())


def _reread(
    opened: OpenStore,
    connection: Connection,
    following: Sequence[int],
    encodings: Encodings | None,
    now: int,
) -> None:
    """Make anew the vectors of the memories that were read with purged texts before them."""
    if encodings is None:
        raise StoreLocked(
            f"The sessions of {opened.path} went on while this call ran. Nothing was forgotten; "
            "run the same purge again."
        )
    opened.check_encoder(connection, encodings.encoder, encodings.settings)
    reread(opened, connection, following, encodings, verb=log.REREAD, now=now)


def _check_sound(connection: Connection, opened: OpenStore) -> None:
    found = contradiction(connection)
    if found is not None:
        raise IndexDamaged(
            f"{opened.path} is damaged: {found}. Nothing was forgotten: a purge would remove for "
            "good what is only misplaced. Mend what can be, and purge then:\n"
            f"    memstore --store {opened.path} verify --repair"
        )


def _found(
    connection: Connection,
    ids: Sequence[str] | None,
    where: Mapping[str, object] | None,
    namespace: str,
    *,
    purge: bool,
) -> list[_Found]:
    """Return the memories that are meant, in stored order."""
    if ids is not None:
        rows = _rows_of(connection, ids, forgotten_too=purge)
    else:
        scope = memories.namespaces_under(connection, namespace)
        condition = compile_filter(where, canonical=canonical)
        inside = and_(among(memory.c.namespace_id, scope), condition)
        # a tombstone still holds its text: a purge must not pass it over
        rows = (
            list(connection.scalars(select(memory.c.row).where(inside)))
            if purge
            else memories.matching_rows(connection, inside)
        )
    columns = [getattr(memory.c, column.name) for column in dataclasses.fields(_Found)]
    named = select(*columns).where(among(memory.c.row, rows)).order_by(memory.c.row)
    return [_Found(*row) for row in connection.execute(named)]


def _forget(
    opened: OpenStore, connection: Connection, found: Sequence[_Found], now: int
) -> dict[str, int]:
    """Leave tombstones of memories, and return what went."""
    passages = vectors.delete_passages(connection, [item.row for item in found])
    entities = _unlink(connection, found)
    for item in found:
        memories.update_memory(connection, item.row, forgotten_at=now)
        log.append_event(connection, item.id, log.FORGET, now=now)
    return {"passages": passages, "entities": entities}


def _purge(
    opened: OpenStore, connection: Connection, found: Sequence[_Found], now: int
) -> dict[str, int]:
    """Delete memories and all that only they need from the database, and return what went.

    Their events say the same: what is left of them for good.
    """
    rows, ids = [item.row for item in found], [item.id for item in found]
    # a tombstone has lost its links, and an updated memory may have had others: which names they
    # knew, nobody can say any more
    certain = not (any(item.forgotten_at for item in found) or log.updated(connection, ids))
    names = _names_of(connection, rows) if certain else None
    passages, tokens = vectors.counts(connection, rows)
    vectors.delete_passages(connection, rows)
    full_text.erase_removed(connection)
    sealed = _sealed(opened, connection)
    told_by = feedback.sources_of(connection, ids)
    entities = _unlink(connection, found)
    if names is None:
        links.respell(connection, {item.namespace_id for item in found})
    memories.delete_memories(connection, rows)
    events = log.erase_events(connection, ids)
    pages = erase_pages(connection, ids)
    events += feedback.erase_reliabilities(connection, told_by)
    aliases = drop_unused_aliases(connection, names)
    spaces, sources = _erase_unused_names(connection)
    deleted = connection.execute(select(func.count(tombstone.c.passage_id))).scalar_one()
    removed = {
        "passages": passages + deleted,
        "vectors": tokens + sealed,
        "events": events,
        "entities": entities,
        "aliases": aliases,
        "namespaces": spaces,
        "sources": sources,
        "pages": pages,
    }
    receipt = {"memories": len(found), **removed}
    for id_ in ids:
        log.append_event(connection, id_, log.PURGE, now=now, payload=receipt)
    return removed


def _sealed(opened: OpenStore, connection: Connection) -> int:
    """Return how many token vectors the segments hold of deleted passages."""
    folder = opened.path / INDEX
    # the memories must go even if the index is damaged; erasing its files says so then
    with contextlib.suppress(FolderGone, IndexDamaged, StoreUnwritable):
        codec = open_codec(connection, folder, opened.identity.dim)
        found = open_segments(connection, folder, codec)
        return sum(item.files.tokens - item.live_tokens for item in found)
    return 0


def _unlink(connection: Connection, found: Sequence[_Found]) -> int:
    """Remove memories' links, and return how many entities went with them."""
    return sum(
        links.unlink_entities(
            connection, item.row, item.namespace_id, counted=item.expired_at is None
        )
        for item in found
    )


def _names_of(connection: Connection, rows: Sequence[int]) -> list[str]:
    """Return the canonical forms that memories mention."""
    mentioned = select(memory_entity.c.entity_id).where(among(memory_entity.c.memory_row, rows))
    return list(connection.scalars(select(entity.c.canon).where(entity.c.id.in_(mentioned))))


def _checked_ids(ids: str | Sequence[str]) -> list[str]:
    if isinstance(ids, str):
        return [drafts.check_id(ids)]
    if isinstance(ids, Mapping) or not isinstance(ids, Iterable):
        raise BadInput(f"ids is {ids!r}; give an id, a list of ids, or where={{...}}.")
    return [drafts.check_id(id_) for id_ in ids]


def _erase_unused_names(connection: Connection) -> tuple[int, int]:
    """Delete the names of namespaces and sources that nothing refers to any more; return how many
    of each.
    """
    spaces = connection.execute(
        delete(namespaces).where(
            ~select(memory.c.row).where(memory.c.namespace_id == namespaces.c.id).exists(),
            ~select(entity_count.c.entity_id)
            .where(entity_count.c.namespace_id == namespaces.c.id)
            .exists(),
            ~select(entity_alias.c.alias)
            .where(entity_alias.c.namespace_id == namespaces.c.id)
            .exists(),
        )
    )
    sources = connection.execute(
        delete(source).where(
            ~select(memory.c.row).where(memory.c.source_id == source.c.id).exists(),
            ~select(event.c.id).where(event.c.source_id == source.c.id).exists(),
        )
    )
    return spaces.rowcount, sources.rowcount


def _rows_of(connection: Connection, ids: Sequence[str], *, forgotten_too: bool) -> list[int]:
    condition = among(memory.c.id, ids)
    if not forgotten_too:
        condition = and_(memories.live, condition)
    found = {
        row.id: row.row
        for row in connection.execute(select(memory.c.id, memory.c.row).where(condition))
    }
    # purging again what is purged already finishes an erasure that other readers held up
    gone = log.purged(connection, ids) if forgotten_too else set()
    missing = [id_ for id_ in ids if id_ not in found and id_ not in gone]
    if missing:
        raise MemoryNotFound(
            f"There is no memory {missing[0]!r}"
            + (f" (and {len(missing) - 1} more of the ids are unknown)" if missing[1:] else "")
            + ". Nothing was forgotten."
        )
    return list(found.values())


def _rewrite(opened: OpenStore) -> None:
    """Leave no old page behind: write the database anew and empty the write-ahead log."""
    try:
        complete = rewrite(opened.engine, opened.path, checked=True)
    except StoreLocked as error:
        raise _still_read(opened) from error
    except StoreUnwritable as error:
        raise StoreUnwritable(
            "The memories are gone from every result, but the database could not be written anew "
            "without their old pages, which takes up to twice its size in free space. See to that "
            f"and run the same purge again. The cause: {error}"
        ) from error
    if not complete:
        raise _still_read(opened)


def _still_read(opened: OpenStore) -> StoreLocked:
    return StoreLocked(
        f"The memories are gone from {opened.path} for good, but another process still reads it, "
        "or purges too, so old pages stay in the write-ahead log. When it has ended or is closed "
        "there, run the same purge again."
    )
