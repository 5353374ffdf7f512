"""Sealing hot passages into compressed segments, merging segments, training their codec anew.

New files are written beside the old ones and made durable; then one transaction names them and
takes out what they replace. A reader sees the old state or the new one, and a process that is
killed leaves at most folders that nothing names: whoever maintains the store next removes them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from memstore.catalog import log, segments
from memstore.catalog.engine import free_share, reading, rewrite, writing
from memstore.catalog.segments import NewSegment
from memstore.errors import StoreLocked
from memstore.index import (
    Codec,
    Manifest,
    SegmentWriter,
    StoredCodec,
    copy_segment,
    sample_size,
    train,
    write_codec,
)
from memstore.maxsim import TokenVectors
from memstore.store.columns import CopyRow, copy_row, name_copy, open_copy, read_columns, write_copy
from memstore.store.hot_blocks import Hot, HotBlock, hot_blocks, sampled
from memstore.store.identity import check_current
from memstore.store.index_files import (
    INDEX,
    OpenSegment,
    changing_index,
    open_codec,
    open_segments,
)
from memstore.store.opening import OpenStore
from memstore.store.sealing_rules import has_any, next_pile, outgrown, telling_centroids, without
from memstore.types import CompactReport

_BLOCK_TOKENS = 32_768  # hot vectors in memory at once while they are sealed: 17 MB as floats
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


def erase_deleted(opened: OpenStore, *, now: int) -> None:
    """Leave no vector of deleted passages in any file: not in segments, not as a centroid."""
    if not (opened.path / INDEX).exists():
        return
    with _maintaining(opened, now, None, wait=opened.settings.lock_timeout) as work:
        work.erase_deleted()
        work.copy_columns(always=True)


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


@dataclass(frozen=True, slots=True)
class _Source:
    """Passages to be written to a new segment: whole segments, then hot ones.

    `reencode` holds the segments' codec if the new segment has another one, `only` the centroids
    in which they differ: (K,), None where all may.
    """

    connection: Connection
    dim: int
    sealed: Sequence[OpenSegment]
    hot: Hot
    reencode: Codec | None = None
    only: NDArray[np.bool_] | None = None

    @property
    def tokens(self) -> int:
        return sum(item.live_tokens for item in self.sealed) + sum(size for _, size in self.hot)

    def copy_to(self, writer: SegmentWriter, progress: Callable[[int], None]) -> None:
        for item in self.sealed:
            copy_segment(
                item.files,
                item.keep,
                writer,
                decode_with=self.reencode,
                only=self.only,
                progress=progress,
            )
        for block in self._hot_blocks():
            writer.append_vectors(block.ids, block.rows, block.lengths, block.vectors)
            progress(len(block.vectors))

    def sample(self, count: int) -> TokenVectors:
        """Return so many token vectors chosen by chance, or all if there are not more."""
        return sampled(self._vectors(), self.tokens, count, self.dim)

    def _vectors(self) -> Iterator[TokenVectors]:
        for item in self.sealed:
            assert self.reencode is not None
            for slots in item.files.blocks(item.keep):
                tokens = item.files.tokens_of(slots)
                yield self.reencode.decode(*item.files.encoded(tokens))
        for block in self._hot_blocks():
            yield block.vectors

    def _hot_blocks(self) -> Iterator[HotBlock]:
        return hot_blocks(self.connection, self.hot, self.dim, tokens=_BLOCK_TOKENS)


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
        self._sealed = self._merged = self._dropped = 0
        self._trained = False

    def report(self) -> CompactReport:
        return CompactReport(
            sealed=self._sealed,
            merged=self._merged,
            dropped=self._dropped,
            trained=self._trained,
            seconds=time.perf_counter() - self._began,
        )

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
                self._rewrite(_Source(connection, dim, found, hot, old), None, room=room)
            else:
                self._rewrite(_Source(connection, dim, [], hot), stored)
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
        if self._replace_telling():
            return
        while True:
            with self._reading() as connection:
                stored, found = self._current(connection)
                touched = [item for item in found if len(item.deleted)]
                if not touched:
                    return
                self._merge(connection, stored, touched[:1])

    def _replace_telling(self) -> bool:
        with self._reading() as connection:
            stored, found = self._current(connection)
            if stored is None or not any(item.live_tokens for item in found):
                return False  # the codec goes with the last segment
            telling = telling_centroids(stored, found)
            if not telling.any():
                return False
            dim = self._opened.identity.dim
            codec = without(stored.codec, found, telling)
            if np.count_nonzero(codec.centroids.any(axis=1)) < _LEAST_CENTROIDS * len(telling):
                self._rewrite(_Source(connection, dim, found, [], stored.codec), None)
                return True
            touched = [item for item in found if len(item.deleted) or has_any(item, telling)]
            source = _Source(connection, dim, touched, [], stored.codec, telling)
            self._rewrite(source, stored, changed=codec)
        self._merged += len(touched)
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
        self._rewrite(_Source(connection, self._opened.identity.dim, old, []), stored)
        self._merged += len(old)

    def _current(self, connection: Connection) -> tuple[StoredCodec | None, list[OpenSegment]]:
        stored = open_codec(connection, self._folder, self._opened.identity.dim)
        return stored, open_segments(connection, self._folder, stored)

    def _rewrite(
        self,
        source: _Source,
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
            codec = train(sample, tokens=total * room, bits=self._opened.settings.residual_bits)
            fidelity = codec.fidelity(sample[:_MEASURED_TOKENS])
            new_codec = self._write_codec(number, codec, total * room, fidelity)
        elif changed is not None:
            codec = changed
            new_codec = self._write_codec(number, codec, stored.made_for, None)
        else:
            codec = stored.codec
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
            dropped = [id_ for item in source.sealed for id_ in item.deleted.tolist()]
            segments.replace_segments(
                connection, [item.row.id for item in source.sealed], new_id, dropped
            )
            if not segments.current_segments(connection):
                segments.delete_all(connection)  # a codec of nothing holds vectors all the same
            elif new_codec is not None:
                segments.keep_one_codec(connection, codec_id)
            segments.write_index_number(connection, number)
            log.append_event(
                connection, log.STORE, log.SEAL, now=self._now, payload={"segment": name}
            )
        self._dropped += len(dropped)
        self._trained |= stored is None

    def _write_codec(
        self, number: int, codec: Codec, made_for: int, fidelity: float | None
    ) -> tuple[str, Manifest]:
        name = f"codec-{number:06d}"
        return name, write_codec(self._folder / name, codec, made_for=made_for, fidelity=fidelity)

    def _check_unchanged(self, connection: Connection, source: _Source) -> None:
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
