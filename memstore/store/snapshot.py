"""What the store holds, in memory: the columns that decide who may be found, and the hot tier.

Refreshed from the event log: every commit that changes memories appends events, so the newest
event's number says whether anything happened, and the events since say to which memories. The same
path serves this process's own writes and those of others.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from memstore.catalog import log, vectors
from memstore.catalog.memories import live, starts_at
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.encoders import EncoderIdentity
from memstore.errors import IndexDamaged
from memstore.index import HotTier, HotView
from memstore.store.identity import check_current

NEVER = np.iinfo(np.int64).max
_SPARE = 1024  # dead rows that are not worth reading everything again

_COLUMNS = np.dtype(
    [
        ("row", np.int64),
        ("namespace_id", np.int64),
        ("start", np.int64),  # when it begins to hold, microseconds
        ("valid_to", np.int64),  # NEVER: open
        ("recorded_at", np.int64),
        ("expired_at", np.int64),  # NEVER: not retracted
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotView:
    """One moment of the store. `columns` is (memories,), `live` says which of them still count;
    `hot.owners` are positions in `columns`.
    """

    columns: NDArray[np.void]
    live: NDArray[np.bool_]
    hot: HotView

    def in_namespaces(self, namespace_ids: Sequence[int]) -> NDArray[np.bool_]:
        """Return which memories are live and of these namespaces, (memories,)."""
        return self.live & np.isin(self.columns["namespace_id"], list(namespace_ids))


class Snapshot:
    """The in-memory side of one open store. Safe to use from several threads.

    Args:
        path: the store's folder, for messages.
        identity: whose vectors it reads; other ones are refused.
    """

    def __init__(self, path: Path, identity: EncoderIdentity) -> None:
        self._path = path
        self._identity = identity
        self._dim = identity.dim
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._version: int | None = None
        self._columns = np.empty(0, dtype=_COLUMNS)
        self._live = np.empty(0, dtype=np.bool_)
        self._count = 0
        self._position: dict[str, int] = {}
        self._hot = HotTier(self._dim)

    def refresh(self, connection: Connection) -> SnapshotView:
        """Return the state that the connection's read transaction sees.

        A thread whose transaction began before another thread's refresh gets the newer state,
        which is a committed one too.

        Raises:
            IndexDamaged: stored vectors do not have the shape their row says.
            EncoderMismatch: the store was re-encoded with another encoder.
        """
        with self._lock:
            try:
                self._catch_up(connection)
            except BaseException:
                self._clear()  # half a refresh is no state at all: the next one reads everything
                raise
            return SnapshotView(self._columns[: self._count], self._live, self._hot.view())

    def _catch_up(self, connection: Connection) -> None:
        newest = log.last_event(connection)
        if self._version is not None and newest <= self._version:
            return
        changed = None if self._version is None else log.changed_since(connection, self._version)
        if changed is None or log.STORE in changed:  # the first time, or all of it was rebuilt
            check_current(connection, self._path, self._identity)
            self._clear()
            self._load(connection, None)
        else:
            self._remove(changed)
            self._load(connection, changed)
            if self._count > 2 * len(self._position) + _SPARE:
                # more rows are dead than alive, and every query passes over them
                self._clear()
                self._load(connection, None)
        self._version = newest

    def _remove(self, ids: Sequence[str]) -> None:
        positions = [self._position.pop(id_) for id_ in ids if id_ in self._position]
        if not positions:
            return
        self._live = self._live.copy()
        self._live[positions] = False
        view = self._hot.view()
        gone = np.isin(view.owners, positions) & view.live
        self._hot.remove(view.passage_ids[gone])

    def _load(self, connection: Connection, ids: Sequence[str] | None) -> None:
        statement = select(
            memory.c.id,
            memory.c.row,
            memory.c.namespace_id,
            starts_at,
            func.coalesce(memory.c.valid_to, int(NEVER)),
            memory.c.recorded_at,
            func.coalesce(memory.c.expired_at, int(NEVER)),
        ).where(live)
        if ids is not None:
            statement = statement.where(among(memory.c.id, ids))
        rows = connection.execute(statement.order_by(memory.c.row)).all()
        if not rows:
            return
        first, end = self._count, self._count + len(rows)
        if end > len(self._columns):
            columns = np.empty(max(end, 2 * len(self._columns)), dtype=_COLUMNS)
            columns[:first] = self._columns[:first]
            self._columns = columns  # views keep the array they have
        self._columns[first:end] = [tuple(row[1:]) for row in rows]
        self._live = np.concatenate([self._live, np.ones(len(rows), dtype=np.bool_)])
        self._count = end
        owner_of_row = {}
        for position, row in enumerate(rows, start=first):
            self._position[row.id] = position
            owner_of_row[row.row] = position
        self._load_vectors(connection, owner_of_row, everything=ids is None)

    def _load_vectors(
        self, connection: Connection, owner_of_row: dict[int, int], *, everything: bool
    ) -> None:
        passages = list(vectors.hot_passages(connection, None if everything else [*owner_of_row]))
        if not passages:
            return
        codes = b"".join(item.codes for item in passages)
        scales = b"".join(item.scales for item in passages)
        lengths = np.array([item.tokens for item in passages], dtype=np.int64)
        tokens = int(lengths.sum())
        if len(codes) != tokens * self._dim or len(scales) != tokens * 4:
            bad = next(
                item
                for item in passages
                if len(item.codes) != item.tokens * self._dim or len(item.scales) != item.tokens * 4
            )
            raise IndexDamaged(
                f"The vectors of passage {bad.passage_id} do not have the {bad.tokens} x "
                f"{self._dim} bytes their row says. Re-encode it: memstore verify --repair"
            )
        self._hot.append(
            passage_ids=np.array([item.passage_id for item in passages], dtype=np.int64),
            owners=np.array([owner_of_row[item.memory_row] for item in passages], dtype=np.int64),
            lengths=lengths,
            codes=np.frombuffer(codes, dtype=np.int8).reshape(tokens, self._dim),
            scales=np.frombuffer(scales, dtype="<f4"),
        )
