"""Changing stored memories."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, and_

from memstore.catalog import feedback, links, log, memories, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.tables import memory
from memstore.entities import canonical, lowercase_words, memory_entities
from memstore.errors import BadInput, MemoryNotFound, VersionConflict
from memstore.store import drafts
from memstore.store.counters import recount
from memstore.store.encoding import Encodings
from memstore.store.opening import OpenStore
from memstore.store.rereading import as_written, concerned, reread
from memstore.types import Memory

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


def check_version(item: Memory, wanted: str | None) -> None:
    """Refuse to change a memory that is not as the caller knew it; None knows nothing.

    Raises:
        VersionConflict: its version is another one.
    """
    if wanted is not None and item.version != wanted:
        raise VersionConflict(
            f"Memory {item.id} has version {item.version}, not {wanted!r}: it was changed since. "
            "Read it again and repeat what is still meant."
        )


def update(
    opened: OpenStore,
    memory_id: str,
    changes: Mapping[str, Any],
    *,
    if_version: str | None,
    now: int,
) -> Memory:
    """Change a memory's fields; a new text or title is encoded anew. Its id stays.

    Raises:
        MemoryNotFound: no live memory has the id.
        VersionConflict: it is not the version that was given, or changed during this call.
        BadInput: an unknown field, or a value `add` would refuse too.
    """
    opened.check_writable()
    for name in changes:
        if name not in _CHECKS:
            raise BadInput(f"{name!r} cannot be updated. What can: {', '.join(_CHECKS)}.")
    checked = {name: _CHECKS[name](value) for name, value in changes.items()}
    with reading(opened.engine, opened.path) as connection:
        row, before = one(connection, memory_id)
        check_version(before, if_version)
        speaker, given = links.given_names(connection, row)
        if "text" in checked and speaker is not None:
            checked["text"] = _spoken(checked["text"], speaker, before.text)
        count = opened.session_context
        [written] = as_written(connection, [row], count).values()
        written = dataclasses.replace(
            written,
            text=checked.get("text", before.text),
            title=checked.get("title", before.title),
        )
        retold = written.text != before.text
        following = concerned(opened, connection, [row]) if retold else []
        becoming = {row: written.text}
        foreseen = as_written(connection, following, count, becoming=becoming)
        participants = (
            set()
            if before.session is None
            else links.session_speakers(connection, _namespace(connection, before), before.session)
        )
    encodings = (
        Encodings(opened.encoder, opened.vector_settings, [written, *foreseen.values()])
        if retold or written.title != before.title
        else None
    )
    relink = "entities" in checked or retold
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
        if encodings is not None:
            opened.check_encoder(connection, encodings.encoder, encodings.settings)
        row, current = one(connection, memory_id)
        check_version(current, if_version)
        if _but_for_feedback(current) != _but_for_feedback(before):
            raise VersionConflict(
                f"Memory {memory_id} was changed by someone else during this call. Read it again "
                "and repeat the change."
            )
        (trust,) = feedback.trusted(connection, [row])
        columns = _columns(connection, checked, row)
        if columns:
            memories.update_memory(connection, row, **columns)
        if "prior" in columns or "source_id" in columns:
            recount(connection, [row])
        if encodings is not None:
            [written] = as_written(connection, [row], count).values()
            vectors.delete_passages(connection, [row])
            vectors.insert_passages(connection, {row: encodings.of(written)})
            following = concerned(opened, connection, [row]) if retold else []
            reread(opened, connection, following, encodings, verb=log.REREAD, now=now)
        if relink:
            namespace = _namespace(connection, before)
            counted = before.retracted_at is None
            links.unlink_entities(connection, row, namespace, counted=counted)
            links.link_entities(connection, [(row, namespace, found)], counted=counted)
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
            log.append_event(connection, memory_id, log.UPDATE, now=now, payload=payload)
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
