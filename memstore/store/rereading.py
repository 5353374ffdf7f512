"""Reading stored memories anew: what is encoded of them, and which ones a change concerns.

A memory's vectors are those of its text as it is read with what precedes it in its session. So
whoever changes or erases a text makes anew the vectors of the memories that were read with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from memstore.catalog import log, memories, vectors
from memstore.catalog.sessions import followers, session_tail
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.store.encoding import Encodings, Written
from memstore.store.opening import OpenStore


def as_written(
    connection: Connection,
    rows: Iterable[int],
    count: int,
    *,
    becoming: Mapping[int, str | None] | None = None,
) -> dict[int, Written]:
    """Return row → what is encoded of it, for those memories that are live, in stored order.

    Args:
        count: texts that precede it in its session.
        becoming: row → the text that another one will have; None if it will be gone.
    """
    columns = (memory.c.row, memory.c.text, memory.c.title, memory.c.namespace_id, memory.c.session)
    found = connection.execute(
        select(*columns).where(memories.live, among(memory.c.row, rows)).order_by(memory.c.row)
    ).all()
    return {
        row.row: Written(
            row.text,
            row.title,
            session_tail(
                connection,
                row.namespace_id,
                row.session,
                count,
                before=row.row,
                becoming=becoming,
            ),
        )
        for row in found
    }


def concerned(opened: OpenStore, connection: Connection, rows: Iterable[int]) -> list[int]:
    """Return the rows of the memories whose vectors tell of these rows' texts."""
    return followers(connection, rows, opened.session_context)


def reread(
    opened: OpenStore,
    connection: Connection,
    rows: Iterable[int],
    encodings: Encodings,
    *,
    verb: str,
    now: int,
) -> None:
    """Replace the vectors of memories by those of what is written now; forgotten ones lose theirs.

    Args:
        encodings: best with what is foreseen; the rest is encoded in the caller's transaction.
        verb: of the events that tell other handles so.
    """
    rows = list(rows)
    written = as_written(connection, rows, opened.session_context)
    for row, (id_, _) in memories.names_of(connection, rows).items():
        vectors.delete_passages(connection, [row])
        if row in written:
            vectors.insert_passages(connection, {row: encodings.of(written[row])})
        log.append_event(connection, id_, verb, now=now)
