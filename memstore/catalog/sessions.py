"""Sessions: what precedes a memory in its session, and what follows it.

The order of a session is that of its rows: the order in which its memories were stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, select

from memstore.catalog.memories import live
from memstore.catalog.sql import bare_rows
from memstore.catalog.tables import memory

_BEHIND_ALL = (1 << 63) - 1  # the largest row number that SQLite could give
_tail = (
    select(memory.c.row, memory.c.text)
    .where(
        live,
        memory.c.namespace_id == bindparam("namespace"),
        memory.c.session == bindparam("session"),
        memory.c.row < bindparam("before"),
    )
    .order_by(memory.c.row.desc())
    .limit(bindparam("most"))
)


def session_tail(
    connection: Connection,
    namespace: int,
    session: str | None,
    count: int,
    *,
    before: int | None = None,
    becoming: Mapping[int, str | None] | None = None,
) -> tuple[str, ...]:
    """Return the texts of a session's last live memories, oldest first, at most `count`.

    Args:
        session: None has none.
        before: only memories before this row.
        becoming: row → the text it will have; None if it will be gone.
    """
    if session is None or count == 0:
        return ()
    becoming = becoming or {}
    rows = bare_rows(
        connection,
        _tail,
        {
            "namespace": namespace,
            "session": session,
            "before": _BEHIND_ALL if before is None else before,
            "most": count + sum(text is None for text in becoming.values()),
        },
    )
    texts = (becoming.get(row, text) for row, text in rows)
    return tuple(text for text in texts if text is not None)[:count][::-1]


class SessionTails:
    """What precedes the next memory of each session, as memories are stored one after the other:
    each session is asked for once.

    Args:
        count: texts, at most.
    """

    def __init__(self, connection: Connection, count: int) -> None:
        self._connection = connection
        self._count = count
        self._last: dict[tuple[str, str], tuple[str, ...]] = {}

    def before(self, path: str, session: str | None, namespace: int | None) -> tuple[str, ...]:
        """Return the last texts of a session, oldest first.

        Args:
            namespace: the id of the namespace at `path`; None if nothing was ever stored there.
        """
        if session is None:
            return ()
        place = (path, session)
        if place not in self._last:
            self._last[place] = (
                ()
                if namespace is None
                else session_tail(self._connection, namespace, session, self._count)
            )
        return self._last[place]

    def follow(self, path: str, session: str | None, text: str) -> None:
        """Let a text be the last of its session, which was asked for."""
        if session is not None and self._count:
            self._last[path, session] = (*self._last[path, session], text)[-self._count :]


def followers(connection: Connection, rows: Iterable[int], count: int) -> list[int]:
    """Return the rows of all live memories that were read with one of these before them.

    They are the next `count` in its session that live now: what has come in between since then is
    nothing, for later memories have later rows; and what went leaves others nearer.
    """
    given = set(rows)
    found: set[int] = set()
    for row in given if count else ():
        place = connection.execute(
            select(memory.c.namespace_id, memory.c.session).where(memory.c.row == row)
        ).first()
        if place is None or place.session is None:
            continue
        after = (
            select(memory.c.row)
            .where(
                live,
                memory.c.namespace_id == place.namespace_id,
                memory.c.session == place.session,
                memory.c.row > row,
            )
            .order_by(memory.c.row)
            .limit(count)
        )
        found.update(connection.scalars(after))
    return sorted(found - given)
