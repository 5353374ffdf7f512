"""Which segments make up the sealed tier: the manifest of the files under `index/`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, text, update

from memstore.catalog import full_text
from memstore.catalog.checksums import check
from memstore.catalog.log import erase_setting, read_setting, write_setting
from memstore.catalog.memories import MemoryRow
from memstore.catalog.sql import among, inserted, last_number
from memstore.catalog.tables import codec, hot_vector, memory, passage, segment, tombstone

_NUMBER = "index_number"  # the highest number in a folder's name that was ever committed
_DROPPED = "dropped_centroids"


@dataclass(frozen=True, slots=True)
class FolderRow:
    """A codec's or segment's folder under `index/`, and its files' sizes and hashes."""

    id: int
    name: str
    manifest: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SegmentRow(FolderRow):
    """A segment: passages and tokens as written, the deleted ones included."""

    passages: int
    tokens: int


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment whose files are durable, to be named by the manifest."""

    name: str
    passages: int
    tokens: int
    manifest: Mapping[str, Mapping[str, Any]]


def current_codec(connection: Connection) -> FolderRow | None:
    """Return the codec of all segments, None where nothing is sealed."""
    latest = select(codec).where(select(segment.c.id).exists()).order_by(codec.c.id.desc()).limit(1)
    row = connection.execute(latest).one_or_none()
    if row is None:
        return None
    check(codec, row)
    return FolderRow(row.id, row.name, _manifest(row.manifest))


def current_segments(connection: Connection) -> list[SegmentRow]:
    """Return the segments, in the order they were named."""
    rows = connection.execute(select(segment).order_by(segment.c.id)).all()
    for row in rows:
        check(segment, row)
    return [
        SegmentRow(row.id, row.name, _manifest(row.manifest), row.passages, row.tokens)
        for row in rows
    ]


def _manifest(written: str) -> Mapping[str, Mapping[str, Any]]:
    """Return a manifest as it was written; whoever opens the files checks it."""
    try:
        manifest: Mapping[str, Mapping[str, Any]] = json.loads(written)
    except (TypeError, ValueError, RecursionError):
        return {"?": {}}  # which names no file
    return manifest


def index_number(connection: Connection) -> int:
    """Return the highest number that a folder under `index/` ever had: none is used twice."""
    return int(read_setting(connection, _NUMBER) or 0)


def write_index_number(connection: Connection, number: int) -> None:
    write_setting(connection, _NUMBER, number)


def tombstones(connection: Connection, segment_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the deleted passages of each segment."""
    found: dict[int, list[int]] = {id_: [] for id_ in segment_ids}
    rows = connection.execute(
        select(tombstone.c.segment_id, tombstone.c.passage_id)
        .where(among(tombstone.c.segment_id, segment_ids))
        .order_by(tombstone.c.passage_id)
    )
    for row in rows:
        found[row.segment_id].append(row.passage_id)
    return found


def sealed_passages(
    connection: Connection, memory_rows: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    """Yield (segment id, passage id, memory row) of the sealed passages of some memories."""
    rows = connection.execute(
        select(passage.c.segment_id, passage.c.id, passage.c.memory_row).where(
            among(passage.c.memory_row, memory_rows), passage.c.segment_id.is_not(None)
        )
    )
    for row in rows:
        yield row.segment_id, row.id, row.memory_row


def hot_sizes(connection: Connection) -> list[tuple[int, int]]:
    """Return (passage id, tokens) of the hot passages of live memories, ascending."""
    rows = connection.execute(
        select(hot_vector.c.passage_id, hot_vector.c.tokens)
        .join(passage, passage.c.id == hot_vector.c.passage_id)
        .join(memory, memory.c.row == passage.c.memory_row)
        .where(memory.c.forgotten_at.is_(None))
        .order_by(hot_vector.c.passage_id)
    )
    return [(row[0], row[1]) for row in rows]


def insert_codec(connection: Connection, name: str, manifest: Mapping[str, Any], now: int) -> int:
    """Name a codec in the manifest and return its id."""
    values = {"name": name, "manifest": json.dumps(manifest), "created_at": now}
    return inserted(connection.execute(insert(codec), values))


def insert_segment(connection: Connection, new: NewSegment, codec_id: int, now: int) -> int:
    """Name a segment in the manifest and return its id."""
    values = {
        "codec_id": codec_id,
        "name": new.name,
        "passages": new.passages,
        "tokens": new.tokens,
        "manifest": json.dumps(new.manifest),
        "created_at": now,
    }
    return inserted(connection.execute(insert(segment), values))


def reserve_numbers(connection: Connection, count: int) -> tuple[int, int]:
    """Set numbers aside for memories of one passage each, so that files can name them already.

    Returns: the first row and the first passage id, for `insert_sealed_memories`. Numbers that are
        not used after all are never given out.
    """
    return _reserve(connection, memory, count), _reserve(connection, passage, count)


def _reserve(connection: Connection, table: Table, count: int) -> int:
    last = last_number(connection, table)
    values = {"name": table.name, "seq": last + count}
    changed = connection.execute(
        text("UPDATE sqlite_sequence SET seq = :seq WHERE name = :name"), values
    )
    if not changed.rowcount:
        connection.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"), values
        )
    return last + 1


def insert_sealed_memories(
    connection: Connection, segment_id: int, memories: Sequence[tuple[int, int, MemoryRow]]
) -> None:
    """Store memories under their row and passage id; each is one passage of a segment."""
    fields = MemoryRow.__dataclass_fields__
    connection.execute(
        insert(memory),
        [
            {"row": row, **{field: getattr(item, field) for field in fields}}
            for row, _, item in memories
        ],
    )
    connection.execute(
        insert(passage),
        [
            {
                "id": passage_id,
                "memory_row": row,
                "ordinal": 0,
                "start": 0,
                "end": len(item.text),
                "segment_id": segment_id,
            }
            for row, passage_id, item in memories
        ],
    )
    full_text.index_passages(connection, [row for row, _, _ in memories])


def move_hot_passages(connection: Connection, segment_id: int, passage_ids: Sequence[int]) -> None:
    """Let a segment hold passages that were hot; those deleted since become tombstones."""
    wanted = list(passage_ids)
    connection.execute(
        update(passage).where(among(passage.c.id, wanted)).values(segment_id=segment_id)
    )
    connection.execute(delete(hot_vector).where(among(hot_vector.c.passage_id, wanted)))
    kept = set(connection.scalars(select(passage.c.id).where(passage.c.segment_id == segment_id)))
    gone = [{"passage_id": id_, "segment_id": segment_id} for id_ in wanted if id_ not in kept]
    if gone:
        connection.execute(insert(tombstone), gone)


def replace_segments(
    connection: Connection, old: Sequence[int], new: int | None, dropped: Sequence[int]
) -> None:
    """Let one segment take the place of others.

    Args:
        new: its id; None where nothing but deleted passages was left.
        dropped: deleted passages that the new segment does not hold; those deleted since it was
            written become its tombstones.
    """
    connection.execute(delete(tombstone).where(among(tombstone.c.passage_id, dropped)))
    if new is not None:
        for table in (passage, tombstone):
            connection.execute(
                update(table).where(among(table.c.segment_id, old)).values(segment_id=new)
            )
    connection.execute(delete(segment).where(among(segment.c.id, old)))


def keep_one_codec(connection: Connection, codec_id: int) -> None:
    """Let all segments have this codec, and take all others out of the manifest."""
    connection.execute(update(segment).values(codec_id=codec_id))
    connection.execute(delete(codec).where(codec.c.id != codec_id))
    forget_dropped(connection)


def delete_all(connection: Connection) -> None:
    """Take everything out of the manifest, once no passage is sealed any more."""
    for table in (tombstone, segment, codec):
        connection.execute(delete(table))
    forget_dropped(connection)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Centroids of passages that merges dropped before any purge; `close` are some of them: a token
    lay so near that the centroid may be its very vector.
    """

    centroids: frozenset[int] = frozenset()
    close: frozenset[int] = frozenset()

    def __or__(self, other: Dropped) -> Dropped:
        return Dropped(self.centroids | other.centroids, self.close | other.close)


def dropped(connection: Connection, codec_name: str) -> Dropped:
    """Return what merges noted of a codec since the last purge."""
    noted = read_setting(connection, _DROPPED)
    if noted is None or noted["codec"] != codec_name:
        return Dropped()
    return Dropped(frozenset(noted["centroids"]), frozenset(noted["close"]))


def note_dropped(connection: Connection, codec_name: str, more: Dropped) -> None:
    """Note the centroids of passages that a merge drops: a later purge cannot see them any more."""
    known = dropped(connection, codec_name) | more
    value = {
        "codec": codec_name,
        "centroids": sorted(known.centroids),
        "close": sorted(known.close),
    }
    write_setting(connection, _DROPPED, value)


def forget_dropped(connection: Connection) -> None:
    """Forget what merges noted: it tells which centroids passages had that are purged now."""
    erase_setting(connection, _DROPPED)


def hot_token_count(connection: Connection) -> int:
    """Return the number of token vectors in the hot tier."""
    return int(connection.scalar(select(func.sum(hot_vector.c.tokens))) or 0)
