"""Sealing hot passages into compressed segments, merging segments, training their codec anew.

New files are written beside the old ones and made durable; then one transaction names them and
takes out what they replace. A reader sees the old state or the new one, and a process that is
killed leaves at most folders that nothing names: whoever maintains the store next removes them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from memstore.catalog import log, segments
from memstore.catalog.engine import free_share, reading, rewrite, writing
from memstore.catalog.segments import Dropped, NewSegment
from memstore.errors import StoreLocked
from memstore.index import (
    Codec,
    Manifest,
    SegmentWriter,
    StoredCodec,
    sample_size,
    train,
    write_codec,
)
from memstore.store.columns import CopyRow, copy_row, name_copy, open_copy, read_columns, write_copy
from memstore.store.identity import check_current
from memstore.store.index_files import (
    INDEX,
    OpenSegment,
    changing_index,
    open_codec,
    open_segments,
)
from memstore.store.opening import OpenStore
from memstore.store.sealing_rules import (
    dropped_by,
    has_any,
    next_pile,
    outgrown,
    telling_centroids,
    without,
)
from memstore.store.sealing_source import Source
from memstore.types import CompactReport

_ROOM = 4  # times the tokens of a growing store: what its codec is made for
_COPIED_SHARE = 8  # events since the last copy for an eighth of the memories: then a new one
_MEASURED_TOKENS = 4096  # of the sample, to say what a new codec keeps of the vectors
_MOST_FREE = 0.25  # of the database's pages: then `compact` writes it anew
_LEAST_CENTROIDS = 0.5  # left of a codec's: else a new one is trained

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many token vectors are done, and how many there are."""


def compact(opened: OpenStore, *, now: int, progress: Progress | None = None) -> CompactReport:
    """Seal everything hot, drop what was deleted, and merge all segments into one.

    Raises:
        StoreLocked: another process or thread is sealing or compacting.
        StoreUnwritable: the disk is full, or the folder cannot be written.
    """
    opened.check_writable()
    with _maintaining(opened, now, progress, wait=opened.settings.lock_timeout) as work:
        work.seal(least_tokens=1, room=1)
        work.merge_all()
        work.copy_columns(always=True)
        report = work.report()
    with reading(opened.engine, opened.path) as connection:
        wasteful = free_share(connection) > _MOST_FREE
    if wasteful:  # the hot tier's space, above all
        rewrite(opened.engine, opened.path, "The index is compacted, the database not smaller. ")
    return report


def seal_if_due(opened: OpenStore, *, now: int, progress: Progress | None = None) -> CompactReport:
    """Seal what is hot if it is over the threshold, and merge what has piled up.

    Raises:
        StoreLocked: another process or thread is at it already.
    """
    with _maintaining(opened, now, progress, wait=0.0) as work:
        work.seal(least_tokens=opened.settings.hot_tokens + 1, room=_ROOM)
        work.merge_piles()
        work.copy_columns(always=False)
        return work.report()


def hot_tokens(opened: OpenStore) -> int:
    """Return the number of token vectors in the hot tier."""
    with reading(opened.engine, opened.path) as connection:
        return segments.hot_token_count(connection)


def erase_deleted(opened: OpenStore, *, now: int) -> tuple[int, int]:
    """Leave no vector of deleted passages in any file: not in segments, not as a centroid.

    Returns: how many segments were replaced, and how many centroids.
    """
    if not (opened.path / INDEX).exists():
        return 0, 0
    with _maintaining(opened, now, None, wait=opened.settings.lock_timeout) as work:
        work.erase_deleted()
        work.copy_columns(always=True)
        return work.replaced


def copy_columns(opened: OpenStore, *, now: int) -> None:
    """Copy the columns of all memories beside the index, so that opening reads no rows."""
    with _maintaining(opened, now, None, wait=opened.settings.lock_timeout) as work:
        work.copy_columns(always=True)


@contextlib.contextmanager
def _maintaining(
    opened: OpenStore, now: int, progress: Progress | None, *, wait: float
) -> Iterator[_Maintenance]:
    lost = "Nothing was lost: what is not sealed is found all the same."
    with changing_index(opened.engine, opened.path, wait=wait, consequence=lost) as folder:
        work = _Maintenance(opened, folder, now, progress)
        work.check_current()
        yield work


class _Maintenance:
    """One round of maintenance by whoever holds the index."""

    def __init__(
        self, opened: OpenStore, folder: Path, now: int, progress: Progress | None
    ) -> None:
        self._opened = opened
        self._folder = folder
        self._now = now
        self._progress = progress or (lambda what, done, total: None)
        self._began = time.perf_counter()
        self._sealed = self._merged = self._dropped = self._centroids = 0
        self._trained = False

    def report(self) -> CompactReport:
        return CompactReport(
            sealed=self._sealed,
            merged=self._merged,
            dropped=self._dropped,
            trained=self._trained,
            seconds=time.perf_counter() - self._began,
        )

    @property
    def replaced(self) -> tuple[int, int]:
        """How many segments, and how many centroids, others took the place of."""
        return self._merged, self._centroids

    def check_current(self) -> None:
        with self._reading() as connection:
            check_current(connection, self._opened.path, self._opened.identity)

    def seal(self, *, least_tokens: int, room: int) -> None:
        """Seal what is hot if it is at least so much; train the codec first where that is due.

        Args:
            room: times its size for which a new codec is made.
        """
        dim = self._opened.identity.dim
        with self._reading() as connection:
            hot = segments.hot_sizes(connection)
            tokens = sum(size for _, size in hot)
            if not hot or tokens < least_tokens:
                return
            stored, found = self._current(connection)
            total = tokens + sum(item.live_tokens for item in found)
            if stored is None or outgrown(stored, total):
                old = None if stored is None else stored.codec
                self._rewrite(Source(connection, dim, found, hot, old), None, room=room)
            else:
                self._rewrite(Source(connection, dim, [], hot), stored)
        self._sealed += len(hot)

    def merge_all(self) -> None:
        """Leave one segment without deleted passages, or none if nothing is left."""
        with self._reading() as connection:
            stored, found = self._current(connection)
            if len(found) > 1 or any(len(item.deleted) for item in found):
                self._merge(connection, stored, found)

    def merge_piles(self) -> None:
        """Merge segments of about one size while there are four of them, and rewrite those of
        which a quarter was deleted.

        So a passage is rewritten about once each time the store grows fourfold, and there are at
        most three segments of a size.
        """
        while True:
            with self._reading() as connection:
                stored, found = self._current(connection)
                pile = next_pile(found)
                if not pile:
                    return
                self._merge(connection, stored, pile)

    def erase_deleted(self) -> None:
        """Rewrite what holds deleted passages, and replace the centroids that may tell of them.

        A centroid may be the very vector of a token, or the mean of a few. All others stay, with
        the bytes of the tokens that have them, so that many purges do not wear out the rest; when
        half of the centroids are gone, a new codec is trained on what is left.
        """
        while not self._replace_telling():
            with self._reading() as connection:
                stored, found = self._current(connection)
                touched = [item for item in found if len(item.deleted)]
                if not touched:
                    break
                self._merge(connection, stored, touched[:1])
        with self._writing() as connection:
            segments.forget_dropped(connection)

    def _replace_telling(self) -> bool:
        with self._reading() as connection:
            stored, found = self._current(connection)
            if stored is None or not any(item.live_tokens for item in found):
                return False  # the codec goes with the last segment
            dropped = segments.dropped(connection, stored.folder.name)
            telling = telling_centroids(stored, found, dropped)
            if not telling.any():
                return False
            dim = self._opened.identity.dim
            codec = without(stored.codec, found, telling)
            if np.count_nonzero(codec.centroids.any(axis=1)) < _LEAST_CENTROIDS * len(telling):
                self._rewrite(Source(connection, dim, found, [], stored.codec), None)
                self._merged += len(found)
                self._centroids += len(telling)
                return True
            touched = [item for item in found if len(item.deleted) or has_any(item, telling)]
            source = Source(connection, dim, touched, [], stored.codec, telling)
            self._rewrite(source, stored, changed=codec)
        self._merged += len(touched)
        self._centroids += int(np.count_nonzero(telling))
        return True

    def copy_columns(self, *, always: bool) -> None:
        """Copy the columns of all memories anew, if anything, or enough, changed since."""
        with self._reading() as connection:
            version = log.last_event(connection)
            row = copy_row(connection)
            behind = version - (0 if row is None else row.version)
            copied = None if row is None else open_copy(self._folder, row)
            share = 0 if always or copied is None else len(copied) // _COPIED_SHARE
            if copied is not None and behind <= share:
                return
            columns = read_columns(connection)
            number = segments.index_number(connection) + 1
        name = f"columns-{number:06d}"
        copy = CopyRow(name, write_copy(self._folder / name, columns), version)
        with self._writing() as connection:
            name_copy(connection, copy)
            segments.write_index_number(connection, number)

    def _merge(
        self, connection: Connection, stored: StoredCodec | None, old: Sequence[OpenSegment]
    ) -> None:
        self._rewrite(Source(connection, self._opened.identity.dim, old, []), stored)
        self._merged += len(old)

    def _current(self, connection: Connection) -> tuple[StoredCodec | None, list[OpenSegment]]:
        stored = open_codec(connection, self._folder, self._opened.identity.dim)
        return stored, open_segments(connection, self._folder, stored)

    def _rewrite(
        self,
        source: Source,
        stored: StoredCodec | None,
        *,
        room: int = 1,
        changed: Codec | None = None,
    ) -> None:
        """Write a new segment, and name it in place of what it holds.

        Args:
            stored: its codec; None to train one on the source.
            room: times the source's tokens for which.
            changed: takes the place of `stored`.
        """
        number = segments.index_number(source.connection) + 1
        name = f"segment-{number:06d}"
        total = source.tokens
        new_codec = None
        if stored is None:
            self._progress("training", 0, total)
            sample = source.sample(sample_size(total * room))
            bits = self._opened.vector_settings.residual_bits
            codec = train(sample, tokens=total * room, bits=bits)
            fidelity = codec.fidelity(sample[:_MEASURED_TOKENS])
            new_codec = self._write_codec(number, codec, total * room, fidelity)
        elif changed is not None:
            codec = changed
            new_codec = self._write_codec(number, codec, stored.made_for, None)
        else:
            codec = stored.codec
        dropped = Dropped()  # what a codec that stays tells of passages outlasts their segments
        if stored is not None and changed is None:
            dropped = dropped_by(stored, source.sealed)
        done = 0

        def count(tokens: int) -> None:
            nonlocal done
            done += tokens
            self._progress("writing", done, total)

        with SegmentWriter(self._folder / name, codec) as writer:
            source.copy_to(writer, count)
            manifest = writer.finish()
            new = NewSegment(name, writer.passages, writer.tokens, manifest)
        with self._writing() as connection:
            self._check_unchanged(connection, source)
            if new_codec is None:
                current = segments.current_codec(connection)
                assert current is not None
                codec_id = current.id
            else:
                codec_id = segments.insert_codec(connection, *new_codec, self._now)
            new_id = None  # a segment of nothing would only be read in vain
            if new.passages:
                new_id = segments.insert_segment(connection, new, codec_id, self._now)
                segments.move_hot_passages(connection, new_id, [id_ for id_, _ in source.hot])
            gone = [id_ for item in source.sealed for id_ in item.deleted.tolist()]
            segments.replace_segments(
                connection, [item.row.id for item in source.sealed], new_id, gone
            )
            if not segments.current_segments(connection):
                segments.delete_all(connection)  # a codec of nothing holds vectors all the same
                self._centroids += 0 if stored is None else len(stored)
            elif new_codec is not None:
                segments.keep_one_codec(connection, codec_id)
            elif stored is not None and dropped.centroids:
                segments.note_dropped(connection, stored.folder.name, dropped)
            segments.write_index_number(connection, number)
            log.append_event(
                connection, log.STORE, log.SEAL, now=self._now, payload={"segment": name}
            )
        self._dropped += len(gone)
        self._trained |= stored is None

    def _write_codec(
        self, number: int, codec: Codec, made_for: int, fidelity: float | None
    ) -> tuple[str, Manifest]:
        name = f"codec-{number:06d}"
        return name, write_codec(self._folder / name, codec, made_for=made_for, fidelity=fidelity)

    def _check_unchanged(self, connection: Connection, source: Source) -> None:
        """Refuse to name what was written if the store was re-encoded meanwhile."""
        check_current(connection, self._opened.path, self._opened.identity)
        current = {row.id for row in segments.current_segments(connection)}
        if not current >= {item.row.id for item in source.sealed}:
            raise StoreLocked(
                f"{self._opened.path} was re-encoded while it was being compacted. Nothing was "
                "lost; run it again."
            )

    def _reading(self) -> contextlib.AbstractContextManager[Connection]:
        return reading(self._opened.engine, self._opened.path)

    def _writing(self) -> contextlib.AbstractContextManager[Connection]:
        return writing(self._opened.engine, self._opened.path)
