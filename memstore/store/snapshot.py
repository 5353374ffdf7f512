"""What the store holds, in memory: the columns that decide who may be found, and the two tiers.

Refreshed from the event log: every commit that changes memories appends events, so the newest
event's number says whether anything happened, and the events since say to which memories. The same
path serves this process's own writes and those of others.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from memstore.catalog import log, segments, vectors
from memstore.catalog.vectors import HotPassage
from memstore.encoders import EncoderIdentity
from memstore.errors import IndexDamaged
from memstore.index import HotTier, HotView, SealedView
from memstore.maxsim import TokenVectors
from memstore.store.columns import (
    NEVER,
    Columns,
    copy_row,
    id_key,
    open_copy,
    read_columns,
    read_nothing,
)
from memstore.store.identity import check_current
from memstore.store.index_files import INDEX, OpenSegment, open_codec, open_segments

_SPARE = 1024  # dead rows that are not worth reading everything again
NOTHING_SEALED = SealedView(None, (), np.empty(0, dtype=np.int64))

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """The part of a view that one query may know of.

    Shapes: known (memories,); hot (any,), slots of live passages of known memories; sealed (sealed
    slots,); sample (any,), sealed slots that stand for all of `sealed`: whole memories of it, or
    everything if it is small. `everything`: it is of all namespaces that hold something.
    """

    known: Mask
    hot: NDArray[np.int64]
    sealed: Mask
    sample: NDArray[np.int64]
    sealed_passages: int
    sealed_memories: int
    everything: bool


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """What of a space a query may find: live, valid and inside the filter.

    Shapes: hot as `space.hot`, sample as `space.sample`, sealed (sealed slots,).
    """

    hot: Mask
    sample: Mask
    sealed: Mask
    sealed_passages: int
    sealed_memories: int


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotView:
    """One moment of the store. Each of the `columns` is (memories,), `live` says which of them
    still count; owners in both tiers are positions in the columns.
    """

    columns: Mapping[str, NDArray[np.int64]]
    live: Mask
    hot: HotView
    sealed: SealedView
    _spaces: dict[tuple[int, ...], Space] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def space(self, namespace_ids: Sequence[int], known_at: int | None) -> Space:
        """Return what the store knew of these namespaces at `known_at`, None for all it knows.

        It depends on nothing else: not on validity, filters or candidates.
        """
        key = tuple(sorted(namespace_ids))
        if known_at is None:
            with self._lock:
                if key in self._spaces:
                    return self._spaces[key]
        known = self.live & np.isin(self.columns["namespace_id"], key)
        everything = bool(np.array_equal(known, self.live))
        if known_at is None:
            known &= self.columns["expired_at"] == NEVER
        else:
            known &= self.columns["recorded_at"] <= known_at
            known &= self.columns["expired_at"] > known_at
        hot = np.flatnonzero(self.hot.live & passages_of(self.hot.owners, known))
        sealed = passages_of(self.sealed.owners, known)
        slots = np.flatnonzero(sealed)
        owners = self.sealed.owners[slots]
        space = Space(
            known=known,
            hot=hot,
            sealed=sealed,
            sample=_sample(slots, owners, len(known)),
            sealed_passages=len(slots),
            sealed_memories=_distinct(owners, len(known)),
            everything=everything,
        )
        if known_at is None:
            with self._lock:
                self._spaces[key] = space
                while len(self._spaces) > _SPACES:
                    del self._spaces[next(iter(self._spaces))]
        return space

    def vectors(self, passage_id: int) -> TokenVectors | None:
        """Return a passage's vectors, (tokens, dim); None where neither tier holds it."""
        for base, segment in self.sealed.parts():
            for slot in segment.slots_of(np.array([passage_id])):
                return next(self.sealed.vectors(np.array([base + slot])))
        return self.hot.vectors(passage_id)

    def allow(self, space: Space, memories: Mask) -> Allowed:
        """Return which passages of a space may be found, given which memories may."""
        sealed = space.sealed & passages_of(self.sealed.owners, memories)
        return Allowed(
            hot=passages_of(self.hot.owners[space.hot], memories),
            sample=passages_of(self.sealed.owners[space.sample], memories),
            sealed=sealed,
            sealed_passages=int(np.count_nonzero(sealed)),
            sealed_memories=_distinct(self.sealed.owners[sealed], len(memories)),
        )


SMALL = 1024  # sealed passages up to which all of a space is scored exactly
_SPACES = 16  # kept with a view, for the namespaces asked last: some 2 MB each of 1M memories
_SAMPLE = 256  # memories that stand for a larger one
_LARGEST_SAMPLE = 2048  # passages of these


def passages_of(owners: NDArray[np.int64], memories: Mask) -> Mask:
    """Return which passages belong to the given memories, (passages,)."""
    if not len(memories):
        return np.zeros(len(owners), dtype=np.bool_)
    return memories[owners] & (owners >= 0)


def _distinct(owners: NDArray[np.int64], memories: int) -> int:
    seen = np.zeros(memories, dtype=np.bool_)
    seen[owners] = True
    return int(np.count_nonzero(seen))


def _sample(
    slots: NDArray[np.int64], owners: NDArray[np.int64], memories: int
) -> NDArray[np.int64]:
    """Return all slots, or those of memories evenly spaced among them: always the same ones."""
    if len(slots) <= SMALL:
        return slots
    places = np.linspace(0, len(slots) - 1, _SAMPLE).astype(np.int64)
    chosen = np.zeros(memories, dtype=np.bool_)
    chosen[owners[places]] = True
    whole: NDArray[np.int64] = slots[chosen[owners]]
    return whole if len(whole) <= _LARGEST_SAMPLE else slots[places]


class Snapshot:
    """The in-memory side of one open store. Safe to use from several threads.

    Args:
        path: the store's folder.
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
        self._set_columns(read_nothing())
        self._hot = HotTier(self._dim)
        self._segments: dict[str, OpenSegment] = {}
        self._sealed = NOTHING_SEALED
        self._publish()

    def _set_columns(self, known: Columns) -> None:
        self._known = known  # where a memory that did not change since is
        self._columns = dict(known.values)
        self._count = self._alive = len(known)
        self._live = np.ones(self._count, dtype=np.bool_)
        self._position: dict[bytes, int] = {}  # where those are that did

    def _publish(self) -> None:
        columns = {name: values[: self._count] for name, values in self._columns.items()}
        view = SnapshotView(columns, self._live, self._hot.view(), self._sealed)
        self._view = view

    def refresh(self, connection: Connection) -> SnapshotView:
        """Return the state that the connection's read transaction sees.

        A thread whose transaction began before another thread's refresh gets the newer state,
        which is a committed one too.

        Raises:
            IndexDamaged: stored vectors do not have the shape their row says.
            EncoderMismatch: the store was re-encoded with another encoder.
            FolderGone: a newer transaction has replaced files of this one.
        """
        with self._lock:
            try:
                if self._catch_up(connection):
                    self._publish()
            except BaseException:
                self._clear()  # half a refresh is no state at all: the next one reads everything
                raise
            return self._view

    def _catch_up(self, connection: Connection) -> bool:
        newest = log.last_event(connection)
        if self._version is not None and newest <= self._version:
            return False
        changed = None if self._version is None else log.changed_since(connection, self._version)
        if changed is None or log.STORE in changed:  # the first time, or all of it was re-encoded
            check_current(connection, self._path, self._identity)
            self._load_everything(connection)
        else:
            self._remove(changed)
            self._load(connection, changed)
            self._follow_manifest(connection)
            if self._count > 2 * self._alive + _SPARE:
                # more rows are dead than alive, and every query passes over them
                self._load_everything(connection)
        self._version = newest
        return True

    def _load_everything(self, connection: Connection) -> None:
        self._clear()
        row = copy_row(connection)
        copy = None if row is None else open_copy(self._path / INDEX, row)
        if row is None or copy is None:
            self._set_columns(read_columns(connection))
        else:
            self._set_columns(copy)
            changed = log.changed_since(connection, row.version)
            self._remove(changed)
            self._append(read_columns(connection, changed))
        positions, rows = self._by_row()
        self._load_vectors(vectors.hot_passages(connection), rows, positions)
        self._open_sealed(connection)

    def _remove(self, ids: Sequence[str]) -> None:
        positions = [position for position in map(self._take, ids) if position is not None]
        if not positions:
            return
        self._live = self._live.copy()
        self._live[positions] = False
        self._alive -= len(positions)
        view = self._hot.view()
        gone = np.isin(view.owners, positions) & view.live
        self._hot.remove(view.passage_ids[gone])

    def _take(self, id_: str) -> int | None:
        """Return where a live memory is, which will be so no more."""
        key = id_key(id_)
        if key in self._position:
            return self._position.pop(key)
        position = self._known.position(id_)
        return position if position is not None and self._live[position] else None

    def _append(self, new: Columns) -> int:
        """Add memories and return the first one's position."""
        first, end = self._count, self._count + len(new)
        for name, values in new.values.items():
            column = self._columns[name]
            if end > len(column) or not column.flags.writeable:
                grown = np.empty(max(end, 2 * len(column)), dtype=np.int64)
                grown[:first] = column[:first]
                self._columns[name] = column = grown  # views keep the array they have
            column[first:end] = values
        self._live = np.concatenate([self._live, np.ones(len(new), dtype=np.bool_)])
        self._position.update((key, first + place) for place, key in enumerate(new.ids.tolist()))
        self._count = end
        self._alive += len(new)
        return first

    def _load(self, connection: Connection, ids: Sequence[str]) -> None:
        """Read memories that changed."""
        new = read_columns(connection, ids)
        if not len(new):
            return
        first = self._append(new)
        rows = new.values["row"]
        positions = np.arange(first, first + len(new))
        found = vectors.hot_passages(connection, rows.tolist())
        self._load_vectors(found, rows, positions)
        if self._segments:
            self._own_sealed(connection, dict(zip(rows.tolist(), positions.tolist(), strict=True)))

    def _by_row(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions of live memories in the order of their rows, and these."""
        positions = np.flatnonzero(self._live)
        rows = self._columns["row"][positions]
        order = np.argsort(rows, kind="stable")
        return positions[order], rows[order]

    def _load_vectors(
        self,
        passages: Sequence[HotPassage],
        rows: NDArray[np.int64],
        positions: NDArray[np.int64],
    ) -> None:
        """Take passages into the hot tier; `rows` of memories ascend."""
        if not passages:
            return
        of_memory = np.array([item.memory_row for item in passages], dtype=np.int64)
        wrong = next(filter(None, (item.wrong(self._dim) for item in passages)), None)
        if wrong is not None:
            raise IndexDamaged(wrong)
        codes = b"".join(item.codes for item in passages)
        scales = b"".join(item.scales for item in passages)
        lengths = np.array([item.tokens for item in passages], dtype=np.int64)
        self._hot.append(
            passage_ids=np.array([item.passage_id for item in passages], dtype=np.int64),
            owners=_positions(of_memory, rows, positions),
            lengths=lengths,
            codes=np.frombuffer(codes, dtype=np.int8).reshape(-1, self._dim),
            scales=np.frombuffer(scales, dtype="<f4"),
        )

    def _open_sealed(self, connection: Connection) -> None:
        """Open the segments of the manifest, and take what they hold out of the hot tier."""
        folder = self._path / INDEX
        stored = open_codec(connection, folder, self._dim)
        found = open_segments(connection, folder, stored, self._segments)
        hot_ids = self._hot.view().passage_ids[self._hot.view().live]
        for item in found:
            if item.row.name not in self._segments:
                slots = item.files.slots_of(hot_ids)
                self._hot.remove(item.files.passage_ids[slots])
        positions, rows = self._by_row()
        owners = [
            np.where(item.keep, _positions(item.files.rows, rows, positions), -1) for item in found
        ]
        self._segments = {item.row.name: item for item in found}
        self._sealed = SealedView(
            stored,
            tuple(item.files for item in found),
            np.concatenate([*owners, np.empty(0, dtype=np.int64)]),
        )

    def _follow_manifest(self, connection: Connection) -> None:
        names = [row.name for row in segments.current_segments(connection)]
        if names != [*self._segments]:
            self._open_sealed(connection)

    def _own_sealed(self, connection: Connection, owner_of_row: dict[int, int]) -> None:
        """Give the sealed passages of changed memories their new positions as owners."""
        moved: dict[int, list[tuple[int, int]]] = {}
        for segment_id, passage_id, row in segments.sealed_passages(connection, [*owner_of_row]):
            moved.setdefault(segment_id, []).append((passage_id, owner_of_row[row]))
        if not moved:
            return
        owners = self._sealed.owners.copy()
        base = 0
        for item in self._segments.values():
            for passage_id, position in moved.get(item.row.id, ()):
                slots = item.files.slots_of(np.array([passage_id]))
                owners[base + slots] = position
            base += len(item.files)
        self._sealed = SealedView(self._sealed.stored, self._sealed.segments, owners)


def _positions(
    wanted: NDArray[np.int64], rows: NDArray[np.int64], positions: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the position of each wanted row, -1 where there is none; `rows` ascend."""
    if not len(rows):
        return np.full(len(wanted), -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    found: NDArray[np.int64] = np.where(rows[places] == wanted, positions[places], -1)
    return found
