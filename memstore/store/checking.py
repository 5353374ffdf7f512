"""`verify`: does everything the store says about itself agree? And `repair`, from the texts."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from memstore.catalog import links, log, memories, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.tables import (
    entity_count,
    event,
    hot_vector,
    memory,
    memory_entity,
    passage,
)
from memstore.errors import IndexDamaged
from memstore.store.opening import OpenStore
from memstore.store.writing import Written, encode
from memstore.types import Finding, VerifyReport

# tables whose rows are worth nothing without their parents
_DERIVED = ("passage", "hot_vector", "memory_entity", "entity_count")


@dataclass(frozen=True, slots=True)
class _Orphan:
    table: str
    row: int
    parent: str


def verify(opened: OpenStore, *, repair: bool, now: int) -> VerifyReport:
    """Check the database, and with `repair` rebuild what is derived from what is true.

    Rebuilt are passages with their vectors (from the texts) and entity counts (from the links);
    passages, vectors and links of something that is not there any more are removed.
    """
    if repair:
        opened.check_writable()
    findings: list[Finding] = []
    try:
        with reading(opened.engine, opened.path) as connection:
            findings += _sqlite(connection)
            orphans = _orphans(connection)
            broken = _broken_passages(connection, opened.identity.dim)
            counts = _wrong_counts(connection)
            findings += _events(connection)
            checked = {
                "memories": connection.scalar(select(func.count()).where(memories.live)) or 0,
                "passages": connection.scalar(select(func.count()).select_from(passage)) or 0,
                "events": connection.scalar(select(func.count()).select_from(event)) or 0,
            }
    except IndexDamaged as error:  # too damaged to be read: say so, and what was found before
        findings.append(Finding(code="sqlite", message=str(error)))
        return VerifyReport(findings=tuple(findings), checked={})
    if repair and orphans:
        with writing(opened.engine, opened.path) as connection:
            _remove(connection, orphans)
    if repair and broken:
        _reencode(opened, list(broken), now)
    if repair and (counts or orphans):
        with writing(opened.engine, opened.path) as connection:
            links.recount(connection)
    findings += [
        Finding(
            code="foreign_key",
            message=f"row {item.row} of {item.table} lost its parent in {item.parent}",
            repaired=repair and item.table in _DERIVED,
        )
        for item in orphans
    ]
    findings += [
        Finding(code="passages", message=message, repaired=repair) for message in broken.values()
    ]
    findings += [Finding(code="entity_count", message=item, repaired=repair) for item in counts]
    return VerifyReport(findings=tuple(findings), checked=checked)


def _sqlite(connection: Connection) -> list[Finding]:
    return [
        Finding(code="sqlite", message=str(row[0]))
        for row in connection.execute(text("PRAGMA integrity_check"))
        if row[0] != "ok"
    ]


def _orphans(connection: Connection) -> list[_Orphan]:
    """Return the rows whose parent is gone."""
    return [
        _Orphan(str(row[0]), int(row[1]), str(row[2]))
        for row in connection.execute(text("PRAGMA foreign_key_check"))
    ]


def _remove(connection: Connection, orphans: Sequence[_Orphan]) -> None:
    for item in orphans:
        if item.table in _DERIVED:
            connection.execute(
                text(f"DELETE FROM {item.table} WHERE rowid = :row"), {"row": item.row}
            )


def _broken_passages(connection: Connection, dim: int) -> dict[int, str]:
    """Return memory row → what is wrong with its passages or their vectors."""
    broken: dict[int, str] = {}
    covered: dict[int, int] = {}
    texts = {
        row.row: (row.id, row.text, row.forgotten_at)
        for row in connection.execute(
            select(memory.c.row, memory.c.id, memory.c.text, memory.c.forgotten_at)
        )
    }
    rows = connection.execute(
        select(passage, hot_vector)
        .outerjoin(hot_vector, hot_vector.c.passage_id == passage.c.id)
        .order_by(passage.c.memory_row, passage.c.ordinal)
    )
    for row in rows:
        if row.memory_row not in texts:
            continue  # an orphan
        id_, content, forgotten_at = texts[row.memory_row]
        place = f"memory {id_}, passage {row.ordinal}"
        if forgotten_at is not None:
            broken[row.memory_row] = f"{place}: the memory is forgotten"
        elif not 0 <= row.start < row.end <= len(content):
            broken[row.memory_row] = f"{place}: characters {row.start} to {row.end}"
        elif content[covered.get(row.memory_row, 0) : row.start].strip():
            broken[row.memory_row] = f"{place}: characters before it are in no passage"
        elif row.segment_id is None and (wrong := _wrong_vectors(row, dim)):
            broken[row.memory_row] = f"{place}: {wrong}"
        covered[row.memory_row] = row.end
    for number, (id_, content, forgotten_at) in texts.items():
        if forgotten_at is None and content[covered.get(number, 0) :].strip():
            broken.setdefault(number, f"memory {id_}: its text is not in passages to the end")
    return broken


def _wrong_vectors(row: object, dim: int) -> str | None:
    codes, scales = getattr(row, "codes", None), getattr(row, "scales", None)
    tokens = getattr(row, "tokens", None)
    if codes is None or scales is None or tokens is None:
        return "it has no vectors"
    if tokens < 1 or len(codes) != tokens * dim or len(scales) != tokens * 4:
        return f"its vectors are not {tokens} x {dim}"
    if zlib.crc32(scales, zlib.crc32(codes)) != getattr(row, "checksum", None):
        return "its vectors do not match their checksum"
    return None


def _wrong_counts(connection: Connection) -> list[str]:
    linked = Counter(
        {
            (row[0], row[1]): row[2]
            for row in connection.execute(
                select(memory.c.namespace_id, memory_entity.c.entity_id, func.count())
                .join(memory, memory.c.row == memory_entity.c.memory_row)
                .where(memories.live)
                .group_by(memory.c.namespace_id, memory_entity.c.entity_id)
            )
        }
    )
    counted = Counter(
        {
            (row.namespace_id, row.entity_id): row.memories
            for row in connection.execute(select(entity_count))
        }
    )
    return [
        f"entity {place[1]} in namespace {place[0]}: "
        f"{linked[place]} memories link to it, {counted[place]} are counted"
        for place in sorted(linked.keys() | counted.keys())
        if linked[place] != counted[place]
    ]


def _events(connection: Connection) -> list[Finding]:
    """Every memory came from an event."""
    silent = connection.scalars(
        select(memory.c.id).where(
            ~select(event.c.id).where(event.c.memory_id == memory.c.id).exists()
        )
    )
    return [Finding(code="event", message=f"memory {id_} has no event") for id_ in silent]


def _reencode(opened: OpenStore, rows: Sequence[int], now: int) -> None:
    """Make the passages of memories anew; forgotten ones only lose theirs."""
    context = opened.settings.session_context
    with reading(opened.engine, opened.path) as connection:
        found = memories.load_rows(connection, rows)
        living = set(memories.live_rows(connection, [item.id for item in found.values()]).values())
        written = {
            row: Written(item.text, item.title, memories.context_of(connection, row, context))
            for row, item in found.items()
            if row in living
        }
    encoder = opened.encoder
    made = encode(encoder, opened.settings, list(written.values()))
    encoded = dict(zip(written, made, strict=True))
    with writing(opened.engine, opened.path) as connection:
        opened.check_encoder(connection, encoder)
        # what was changed meanwhile got new passages by that, and what was purged needs none
        unchanged = memories.load_rows(connection, rows)
        found = {row: item for row, item in found.items() if unchanged.get(row) == item}
        vectors.delete_passages(connection, list(found))
        for row, item in found.items():
            if row in encoded:
                vectors.insert_passages(connection, row, encoded[row])
            log.append_event(connection, item.id, "repair", now=now)
