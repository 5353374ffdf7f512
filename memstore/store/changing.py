"""Changing and forgetting stored memories."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, select

from memstore.catalog import feedback, links, log, memories, vectors
from memstore.catalog.aliases import drop_unused_aliases
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
)
from memstore.catalog.tables import namespace as namespaces
from memstore.entities import canonical, lowercase_words, memory_entities
from memstore.errors import BadInput, MemoryNotFound, StoreLocked, StoreUnwritable
from memstore.store import drafts
from memstore.store.counters import recount
from memstore.store.encoding import Written, encode
from memstore.store.opening import OpenStore
from memstore.store.sealing import erase_deleted
from memstore.types import ForgetReport, Memory

# what `update` may change: name → check, and the columns it decides
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "text": drafts.check_text,
    "title": lambda value: drafts.check_string(value, "title"),
    "metadata": drafts.check_metadata,
    "kind": drafts.check_kind,
    "occurred_at": drafts.check_occurrence,
    "valid_from": lambda value: drafts.check_time(value, "valid_from"),
    "valid_to": lambda value: drafts.check_time(value, "valid_to"),
    "half_life": drafts.check_half_life,
    "confidence": drafts.check_confidence,
    "importance": lambda value: drafts.check_number(value, "importance", -1.0, 1.0),
    "source": lambda value: drafts.check_string(value, "source"),
    "entities": drafts.check_entities,
}


def one(connection: Connection, memory_id: str) -> tuple[int, Memory]:
    """Return row and memory of an id.

    Raises:
        MemoryNotFound: no live memory has it.
    """
    found = memories.load(connection, and_(memories.live, memory.c.id == memory_id))
    for row, item in found.items():
        return row, item
    raise MemoryNotFound(
        f"There is no memory {memory_id!r}: it was never stored here, or it was forgotten. "
        "List what there is: memstore list"
    )


def update(opened: OpenStore, memory_id: str, changes: Mapping[str, Any], *, now: int) -> Memory:
    """Change a memory's fields; a new text or title is encoded anew. Its id stays.

    Raises:
        MemoryNotFound: no live memory has the id.
        BadInput: an unknown field, or a value `add` would refuse too.
    """
    opened.check_writable()
    for name in changes:
        if name not in _CHECKS:
            raise BadInput(f"{name!r} cannot be updated. What can: {', '.join(_CHECKS)}.")
    checked = {name: _CHECKS[name](value) for name, value in changes.items()}
    with reading(opened.engine, opened.path) as connection:
        row, before = one(connection, memory_id)
        speaker, given = links.given_names(connection, row)
        if "text" in checked and speaker is not None:
            checked["text"] = _spoken(checked["text"], speaker, before.text)
        written = Written(
            checked.get("text", before.text),
            checked.get("title", before.title),
            memories.context_of(connection, row, opened.settings.session_context),
        )
        participants = (
            set()
            if before.session is None
            else links.session_speakers(connection, _namespace(connection, before), before.session)
        )
    reencode = (written.text, written.title) != (before.text, before.title)
    relink = "entities" in checked or written.text != before.text
    encoder = opened.encoder if reencode else None
    passages = () if encoder is None else encode(encoder, opened.settings, [written])[0]
    found = (
        memory_entities(
            written.text,
            extractor=opened.extractor,
            speaker=speaker,
            given=checked.get("entities", given),
            participants=participants,
            common_words=lowercase_words(written.text),
        )
        if relink
        else ()
    )
    with writing(opened.engine, opened.path) as connection:
        if encoder is not None:
            opened.check_encoder(connection, encoder)
        row, current = one(connection, memory_id)
        if _but_for_feedback(current) != _but_for_feedback(before):
            raise BadInput(
                f"Memory {memory_id} was changed by someone else during this call. Read it again "
                "and repeat the change."
            )
        (trust,) = feedback.trusted(connection, [row])
        columns = _columns(connection, checked, row)
        if columns:
            memories.update_memory(connection, row, **columns)
        if "prior" in columns or "source_id" in columns:
            recount(connection, [row])
        if reencode:
            vectors.delete_passages(connection, [row])
            vectors.insert_passages(connection, row, passages)
        if relink:
            namespace = _namespace(connection, before)
            counted = before.retracted_at is None
            links.unlink_entities(connection, row, namespace, counted=counted)
            links.link_entities(connection, row, namespace, found, counted=counted)
        _, after = one(connection, memory_id)
        if after != before:
            payload = {
                name: [_plain(getattr(before, name)), _plain(getattr(after, name))]
                for name in checked
                if getattr(before, name) != getattr(after, name)
            }
            if before.precision != after.precision:
                payload["precision"] = [before.precision, after.precision]
            if columns.get("prior", trust.prior) != trust.prior:
                payload["prior"] = [trust.prior, columns["prior"]]
            log.append_event(connection, memory_id, "update", now=now, payload=payload)
        return after


def _but_for_feedback(item: Memory) -> Memory:
    """Return a memory without what others may say of it while its new text is encoded."""
    return dataclasses.replace(item, uses=0, alpha=1.0, beta=1.0, confidence=5.0, importance=0.0)


def _spoken(text: str, speaker: str, before: str) -> str:
    """Return a new text with its "Speaker:" in front, spelled as in the text before."""
    if _speaker_in(text, speaker):
        return text
    return drafts.check_text(f"{_speaker_in(before, speaker) or speaker}: {text}")


def _speaker_in(text: str, speaker: str) -> str:
    """Return the speaker's name as the text begins with it; empty if it does not.

    An entity keeps the first spelling it was met in, which need not be the one in this text.
    """
    if text.startswith(f"{speaker}:"):
        return speaker
    name, colon, _ = text.partition(":")
    return name if colon and canonical(name) == canonical(speaker) else ""


def _columns(connection: Connection, checked: Mapping[str, Any], row: int) -> dict[str, Any]:
    columns = {
        name: value
        for name, value in checked.items()
        if name in ("text", "title", "metadata", "kind", "valid_from", "valid_to", "importance")
    }
    if "half_life" in checked:
        columns["half_life_s"] = checked["half_life"]
    if "confidence" in checked:
        columns["prior"] = drafts.prior(checked["confidence"])
    if "source" in checked:
        columns["source_id"] = memories.source_id(connection, checked["source"])
    if "entities" in checked:
        columns["entities_given"] = checked["entities"] is not None
    times = memories.times_of(connection, row)
    valid_from, valid_to = (
        columns.get(name, getattr(times, name)) for name in ("valid_from", "valid_to")
    )
    drafts.check_interval(valid_from, valid_to)
    if "occurred_at" in checked or "valid_from" in checked:
        occurred = checked.get("occurred_at")
        if occurred is not None:
            columns["occurred_at"] = occurred.start
            columns["t_end"] = occurred.end
            columns["t_precision"] = occurred.precision
        columns["t_ref"] = drafts.reference_time(
            occurred_at=columns.get("occurred_at", times.occurred_at),
            valid_from=valid_from,
            observed_at=times.observed_at,
            recorded_at=times.recorded_at,
            precision=columns.get("t_precision", times.precision),
        )
    return columns


def _namespace(connection: Connection, item: Memory) -> int:
    return memories.namespace_id(connection, item.namespace)


def _plain(value: Any) -> Any:
    """Return a field's value as JSON can hold it."""
    return json.loads(json.dumps(value, default=str))


def forget(
    opened: OpenStore,
    ids: str | Sequence[str] | None,
    *,
    where: Mapping[str, Any] | None,
    namespace: str,
    purge: bool,
    dry_run: bool,
    now: int,
) -> ForgetReport:
    """Take memories out of every result; with `purge` also out of every file.

    A forgotten memory keeps its row as a tombstone, without vectors and entities; a purged one
    leaves its id in the event log and nothing else. Names of namespaces and sources go with the
    last memory that needs them.

    Raises:
        MemoryNotFound: one of the ids is not there; nothing was forgotten.
        StoreLocked: purged, but another process reads and so keeps the old bytes in the
            write-ahead log, or is compacting the index; run it again when it is done.
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
    condition = compile_filter(where, canonical=canonical) if wanted is None else None
    transaction = reading if dry_run else writing
    with transaction(opened.engine, opened.path) as connection:
        if wanted is not None:
            rows = _rows_of(connection, wanted, forgotten_too=purge)
        else:
            assert condition is not None
            scope = memories.namespaces_under(connection, namespace)
            inside = and_(among(memory.c.namespace_id, scope), condition)
            # a tombstone still holds its text: a purge must not pass it over
            rows = (
                list(connection.scalars(select(memory.c.row).where(inside)))
                if purge
                else memories.matching_rows(connection, inside)
            )
        named = connection.execute(
            select(
                memory.c.row,
                memory.c.id,
                memory.c.namespace_id,
                memory.c.forgotten_at,
                memory.c.expired_at,
            )
            .where(among(memory.c.row, rows))
            .order_by(memory.c.row)
        ).all()
        report = ForgetReport(
            ids=tuple(item.id for item in named), purged=purge and not dry_run, dry_run=dry_run
        )
        if dry_run:
            return report
        vectors.delete_passages(connection, rows)
        # a tombstone has lost its links: which names it knew, nobody can say any more
        names = None if any(item.forgotten_at for item in named) else _names_of(connection, rows)
        told_by = feedback.sources_of(connection, report.ids) if purge else []
        for item in named:
            counted = item.expired_at is None
            links.unlink_entities(connection, item.row, item.namespace_id, counted=counted)
        if purge:
            memories.delete_memories(connection, rows)
            log.erase_events(connection, report.ids)
            erase_pages(connection, report.ids)
            feedback.erase_reliabilities(connection, told_by)
            drop_unused_aliases(connection, names)
            _erase_unused_names(connection)
        for item in named:
            if not purge:
                memories.update_memory(connection, item.row, forgotten_at=now)
            log.append_event(connection, item.id, "purge" if purge else "forget", now=now)
    if purge:
        remove_copies(opened.path)
        erase_deleted(opened, now=now)
        _rewrite(opened)  # outside the transaction: VACUUM begins its own
    return report


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


def _erase_unused_names(connection: Connection) -> None:
    """Delete the names of namespaces and sources that nothing refers to any more."""
    connection.execute(
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
    connection.execute(
        delete(source).where(
            ~select(memory.c.row).where(memory.c.source_id == source.c.id).exists(),
            ~select(event.c.id).where(event.c.source_id == source.c.id).exists(),
        )
    )


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
        complete = rewrite(opened.engine, opened.path)
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
        "so old pages stay in the write-ahead log. Close it there and run the same purge again."
    )
