"""The hot tier's bytes: passages and their quantised token vectors."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from memstore.catalog.sql import among, inserted
from memstore.catalog.tables import hot_vector, memory, passage, tombstone
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

    def wrong_size(self, dim: int) -> str | None:
        """Return what is wrong with the size of its vectors, None if nothing is."""
        if len(self.codes) == self.tokens * dim and len(self.scales) == self.tokens * 4:
            return None
        return (
            f"The vectors of passage {self.passage_id} do not have the {self.tokens} x {dim} bytes "
            "their row says. Re-encode it: memstore verify --repair"
        )

    def wrong(self, dim: int) -> str | None:
        """Return what is wrong with its vectors, looking at each byte; None if nothing is."""
        if self.wrong_size(dim) or checksum(self.codes, self.scales) == self.checksum:
            return self.wrong_size(dim)
        return (
            f"The vectors of passage {self.passage_id} do not match their checksum. Re-encode it: "
            "memstore verify --repair"
        )


def insert_passages(
    connection: Connection, memory_row: int, passages: Sequence[PassageVectors]
) -> None:
    """Store a memory's passages, in order, with their vectors."""
    for ordinal, item in enumerate(passages):
        result = connection.execute(
            insert(passage),
            {"memory_row": memory_row, "ordinal": ordinal, "start": item.start, "end": item.end},
        )
        connection.execute(
            insert(hot_vector),
            {
                "passage_id": inserted(result),
                "tokens": item.tokens,
                "codes": item.codes,
                "scales": item.scales,
                "checksum": item.checksum,
            },
        )


def delete_passages(connection: Connection, memory_rows: Sequence[int]) -> None:
    """Remove passages and, by cascade, their vectors; sealed ones leave a tombstone."""
    sealed = select(passage.c.id, passage.c.segment_id).where(
        among(passage.c.memory_row, memory_rows), passage.c.segment_id.is_not(None)
    )
    # one that is there already contradicts the living passage: `verify` finds and repairs that
    kept = insert(tombstone).prefix_with("OR IGNORE")
    connection.execute(kept.from_select(["passage_id", "segment_id"], sealed))
    connection.execute(delete(passage).where(among(passage.c.memory_row, memory_rows)))


def hot_passages(
    connection: Connection,
    memory_rows: Sequence[int] | None = None,
    *,
    ids: tuple[int, int] | None = None,
) -> Iterator[HotPassage]:
    """Yield the hot passages of live memories, in the order they were stored.

    Args:
        memory_rows: of these memories only.
        ids: with ids from the first to the last of these only.
    """
    statement = (
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
    if memory_rows is not None:
        statement = statement.where(among(passage.c.memory_row, memory_rows))
    if ids is not None:
        statement = statement.where(passage.c.id.between(*ids))
    for row in connection.execute(statement):
        yield HotPassage(*row)


def hot_bytes(connection: Connection, passage_ids: Sequence[int]) -> dict[int, tuple[bytes, bytes]]:
    """Return the codes and scales of each passage that is hot, as `PassageVectors` has them."""
    rows = connection.execute(
        select(hot_vector.c.passage_id, hot_vector.c.codes, hot_vector.c.scales).where(
            among(hot_vector.c.passage_id, passage_ids)
        )
    )
    return {row.passage_id: (row.codes, row.scales) for row in rows}


def spans(connection: Connection, passage_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return the character span of each passage id.

    Raises:
        IndexDamaged: there is no such passage: the id is from a damaged file.
    """
    rows = connection.execute(
        select(passage.c.id, passage.c.start, passage.c.end).where(among(passage.c.id, passage_ids))
    )
    found = {row.id: (row.start, row.end) for row in rows}
    for id_ in passage_ids:
        if id_ not in found:
            raise IndexDamaged(
                f"The index names passage {id_}, which no memory has. Mend it from the texts: "
                "memstore verify --repair"
            )
    return found


def counts(connection: Connection) -> tuple[int, int]:
    """Return the numbers of hot passages and of their token vectors."""
    row = connection.execute(
        select(func.count(), func.coalesce(func.sum(hot_vector.c.tokens), 0))
    ).one()
    return int(row[0]), int(row[1])
