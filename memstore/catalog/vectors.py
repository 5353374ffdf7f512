"""The hot tier's bytes: passages and their quantised token vectors."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select

from memstore.catalog import full_text
from memstore.catalog.checksums import check
from memstore.catalog.sql import among, bare_rows, insert_all, listed
from memstore.catalog.tables import hot_vector, memory, passage, segment, tombstone
from memstore.errors import IndexDamaged


@dataclass(frozen=True, slots=True)
class PassageVectors:
    """One passage: its characters [start, end) of the memory's text, and its token vectors.

    `codes` are int8 (tokens, dim), `scales` float32 (tokens,), both little-endian and C-ordered.
    """

    start: int
    end: int
    tokens: int
    codes: bytes
    scales: bytes

    @property
    def checksum(self) -> int:
        return checksum(self.codes, self.scales)


def checksum(codes: bytes, scales: bytes) -> int:
    """Return the checksum that is stored beside a passage's vectors."""
    return zlib.crc32(scales, zlib.crc32(codes))


@dataclass(frozen=True, slots=True)
class HotPassage:
    """A passage as read back: ids of the passage and of its memory's row, and the bytes."""

    passage_id: int
    memory_row: int
    tokens: int
    codes: bytes
    scales: bytes
    checksum: int

    def wrong(self, dim: int) -> str | None:
        """Return what is wrong with its vectors, looking at each byte; None if nothing is."""
        whole = isinstance(self.codes, bytes) and isinstance(self.scales, bytes)  # not a number
        if not whole or len(self.codes) != self.tokens * dim or len(self.scales) != self.tokens * 4:
            return (
                f"The vectors of passage {self.passage_id} do not have the {self.tokens} x {dim} "
                "bytes their row says. Re-encode it: memstore verify --repair"
            )
        if checksum(self.codes, self.scales) != self.checksum:
            return (
                f"The vectors of passage {self.passage_id} do not match their checksum. Re-encode "
                "it: memstore verify --repair"
            )
        return None


def insert_passages(
    connection: Connection, passages: Mapping[int, Sequence[PassageVectors]]
) -> None:
    """Store the passages of memories, row → in order, with their vectors and words."""
    every = [
        (memory_row, ordinal, item)
        for memory_row, own in passages.items()
        for ordinal, item in enumerate(own)
    ]
    places = [
        {"memory_row": memory_row, "ordinal": ordinal, "start": item.start, "end": item.end}
        for memory_row, ordinal, item in every
    ]
    vectors = [
        {
            "passage_id": passage_id,
            "tokens": item.tokens,
            "codes": item.codes,
            "scales": item.scales,
            "checksum": item.checksum,
        }
        for passage_id, (_, _, item) in zip(
            insert_all(connection, passage, places), every, strict=True
        )
    ]
    if vectors:
        connection.execute(insert(hot_vector), vectors)
    full_text.index_passages(connection, passages)


def delete_passages(connection: Connection, memory_rows: Sequence[int]) -> int:
    """Remove passages with their words and, by cascade, their vectors; sealed ones leave a
    tombstone. Return how many they are.
    """
    full_text.remove_passages(connection, memory_rows)
    theirs = among(passage.c.memory_row, memory_rows)
    leave_tombstones(connection, theirs)
    return connection.execute(delete(passage).where(theirs)).rowcount


def leave_tombstones(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Note which sealed passages are about to be deleted: their segments hold them still."""
    sealed = select(passage.c.id, passage.c.segment_id).where(
        condition, passage.c.segment_id.in_(select(segment.c.id))
    )
    # one that is there already contradicts the living passage: `verify` finds and repairs that
    kept = insert(tombstone).prefix_with("OR IGNORE")
    connection.execute(kept.from_select(["passage_id", "segment_id"], sealed))


_hot = (
    select(
        passage.c.id,
        passage.c.memory_row,
        hot_vector.c.tokens,
        hot_vector.c.codes,
        hot_vector.c.scales,
        hot_vector.c.checksum,
    )
    .join(hot_vector, hot_vector.c.passage_id == passage.c.id)
    .join(memory, memory.c.row == passage.c.memory_row)
    .where(memory.c.forgotten_at.is_(None))
    .order_by(passage.c.id)
)
_hot_of_memories = _hot.where(listed(passage.c.memory_row, "rows"))
_hot_between = _hot.where(passage.c.id.between(bindparam("first"), bindparam("last")))


def hot_passages(
    connection: Connection, memory_rows: Sequence[int] | None = None
) -> list[HotPassage]:
    """Return the hot passages of live memories, some or all, in the order they were stored."""
    if memory_rows is None:
        rows = bare_rows(connection, _hot, {})
    else:
        rows = bare_rows(connection, _hot_of_memories, {"rows": json.dumps([*memory_rows])})
    return [HotPassage(*row) for row in rows]


def hot_passages_between(connection: Connection, first: int, last: int) -> list[HotPassage]:
    """Return the hot passages of live memories with ids from the first to the last, ascending."""
    rows = bare_rows(connection, _hot_between, {"first": first, "last": last})
    return [HotPassage(*row) for row in rows]


def spans(
    connection: Connection, passage_ids: Sequence[int], memory_rows: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the character span of each passage in the text of its memory.

    Raises:
        IndexDamaged: a memory has no such passage, so what named it is damaged; or a passage's row
            is not as it was written.
    """
    rows = connection.execute(select(passage).where(among(passage.c.id, passage_ids))).all()
    for row in rows:
        check(passage, row)
    found = {(row.id, row.memory_row): (row.start, row.end) for row in rows}
    for place in zip(passage_ids, memory_rows, strict=True):
        if place not in found:
            raise IndexDamaged(
                f"The index has passage {place[0]} of the memory in row {place[1]}, the database "
                "has not. Mend it from the texts: memstore verify --repair"
            )
    return [found[place] for place in zip(passage_ids, memory_rows, strict=True)]


def counts(connection: Connection, memory_rows: Sequence[int] | None = None) -> tuple[int, int]:
    """Return the numbers of hot passages and of their token vectors, of some memories or of all."""
    statement = select(func.count(), func.coalesce(func.sum(hot_vector.c.tokens), 0))
    if memory_rows is not None:
        statement = statement.join_from(
            hot_vector, passage, passage.c.id == hot_vector.c.passage_id
        ).where(among(passage.c.memory_row, memory_rows))
    row = connection.execute(statement).one()
    return int(row[0]), int(row[1])
