"""The folder `index/`: who may change it, which of its folders count, and opening these."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from memstore.catalog import segments
from memstore.catalog.engine import reading
from memstore.catalog.forking import no_fork
from memstore.catalog.segments import SegmentRow
from memstore.errors import IndexDamaged, StoreLocked, StoreUnwritable
from memstore.index import Manifest, Segment, StoredCodec, folder_of
from memstore.index.files import ADVICE
from memstore.private_files import FILE_MODE, create_folder
from memstore.store.columns import copy_row

INDEX = "index"
_LOCK = "index.lock"
_RETRIES = 8  # reads that meet files which a newer state has replaced; each takes milliseconds

_held: set[int] = set()  # descriptors of the locks that this process holds, or waits for

_Read = TypeVar("_Read")


class FolderGone(Exception):
    """A folder that was named when the transaction began has been replaced and removed since."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenSegment:
    """A segment's row, its files, and its passages deleted since it was written."""

    row: SegmentRow
    files: Segment
    deleted: NDArray[np.int64]

    @property
    def keep(self) -> NDArray[np.bool_]:
        """Which slots still count, (slots,)."""
        keep = np.ones(len(self.files), dtype=np.bool_)
        if len(self.deleted):  # looking for none would sort all ids first
            keep[self.files.slots_of(self.deleted)] = False
        return keep

    @property
    def live_tokens(self) -> int:
        if not len(self.deleted):
            return self.files.tokens
        return int(np.diff(self.files.offsets)[self.keep].sum())


@contextlib.contextmanager
def holding_index(store: Path, *, wait: float | None) -> Iterator[Path]:
    """Keep others from changing the files of the index; yield their folder.

    The lock ends with the process that holds it, however that ends.

    Args:
        wait: seconds; None: as long as it takes.

    Raises:
        StoreLocked: another process or thread held it for longer.
        StoreUnwritable: the folder cannot be written, or its file system has no locks.
    """
    limit = None if wait is None else time.monotonic() + wait
    owner = os.getpid()
    try:
        with no_fork():
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(store / _LOCK, flags, FILE_MODE)
            _held.add(descriptor)
    except OSError as error:
        raise StoreUnwritable(
            f"{store / _LOCK} cannot be made: {error.strerror}. Check the folder's permissions."
        ) from error
    try:
        while not _locked(descriptor, store / _LOCK):
            if limit is not None and time.monotonic() >= limit:
                raise StoreLocked(
                    f"The index of {store} is being sealed or compacted already. Try again when "
                    "that has finished, or wait longer: Settings(lock_timeout=SECONDS)."
                )
            time.sleep(0.02)
        yield store / INDEX
    finally:
        if os.getpid() == owner:  # a forked child has closed it
            # closing alone does not end it: a process that is being started has the descriptor too
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            _held.remove(descriptor)
            os.close(descriptor)


def _close_inherited() -> None:
    """Leave the locks to the process that took them: in a child they would outlive it."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_close_inherited)


def _locked(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreUnwritable(
            f"{path} cannot be locked: {error.strerror}. Put the store on a file system with locks "
            "(flock); sealing without one could lose what another process writes."
        ) from error
    return True


@contextlib.contextmanager
def changing_index(
    engine: Engine, store: Path, *, wait: float | None, consequence: str
) -> Iterator[Path]:
    """Hold the index to change its files; leave none there that nothing names, come what may.

    Args:
        wait: seconds; None: as long as it takes.
        consequence: a sentence on what it means if its files cannot be written.

    Raises:
        StoreLocked: another process or thread held it for longer.
        IndexDamaged: a folder that the database names is not there.
        StoreUnwritable: the disk is full, or the folder cannot be written.
    """
    with holding_index(store, wait=wait) as folder:
        try:
            if not os.path.lexists(folder):
                create_folder(folder)
            elif folder.is_symlink():  # what lies behind it is not the store's to remove
                raise StoreUnwritable(
                    f"{folder} is a symbolic link, which is not followed. {consequence} Remove it, "
                    "and run it again; to keep a store elsewhere, move all of its folder."
                )
            _tidy(engine, store, folder)
            try:
                yield folder
            except BaseException:
                with contextlib.suppress(Exception):  # what is under way says more
                    _tidy(engine, store, folder)
                raise
        except FolderGone as error:  # who holds the index waits for nobody to replace it
            raise missing(error, store) from error
        except OSError as error:
            raise StoreUnwritable(
                f"{folder} cannot be written: {error}. {consequence} Free some space or mend the "
                "folder, and run it again."
            ) from error
        remove_replaced(engine, store, folder)


def remove_replaced(engine: Engine, store: Path, folder: Path) -> None:
    """Remove what nothing in the index names any more. Only for whoever holds it.

    Raises:
        StoreUnwritable: it cannot be removed.
    """
    try:
        _tidy(engine, store, folder)
    except OSError as error:
        raise StoreUnwritable(
            f"The index is changed, but what was replaced cannot be removed: {error}. Mend the "
            "folder, and run memstore compact."
        ) from error


def _tidy(engine: Engine, store: Path, folder: Path) -> None:
    with reading(engine, store) as connection:
        remove_unnamed(connection, folder)


def retried(store: Path, read: Callable[[], _Read]) -> _Read:
    """Return what `read` returns; where it meets files that were replaced, it reads anew.

    Raises:
        IndexDamaged: a folder that the database names is not there.
    """
    for _ in range(_RETRIES - 1):
        with contextlib.suppress(FolderGone):
            return read()
    try:
        return read()
    except FolderGone as error:
        raise missing(error, store) from error


def missing(error: FolderGone, store: Path) -> IndexDamaged:
    """Return the error for a folder that nobody has replaced."""
    return IndexDamaged(
        f"{error} is missing, but {store} needs it. Make it again from the texts:\n"
        "    memstore verify --repair"
    )


def open_codec(connection: Connection, folder: Path, dim: int) -> StoredCodec | None:
    """Return the codec that the manifest names; None where nothing was sealed.

    Raises:
        FolderGone: see there.
        IndexDamaged: its files are not as they were written.
        StoreUnwritable: they cannot be read.
    """
    row = segments.current_codec(connection)
    if row is None:
        return None
    place = folder_of(folder, row.name)
    with _gone(place):
        return StoredCodec(place, row.manifest, dim)


def open_segments(
    connection: Connection,
    folder: Path,
    codec: StoredCodec | None,
    opened: Mapping[str, OpenSegment] | None = None,
) -> list[OpenSegment]:
    """Return the segments that the manifest names, in the order they were named.

    Args:
        opened: by name, segments whose files need not be opened again.
    """
    rows = segments.current_segments(connection)
    deleted = segments.tombstones(connection, [row.id for row in rows])
    found = []
    for row in rows:
        if codec is None:
            raise IndexDamaged(f"{folder} has segments and no codec. Run memstore verify --repair.")
        if opened is not None and row.name in opened:
            files = opened[row.name].files
        else:
            place = folder_of(folder, row.name)
            with _gone(place):
                files = Segment(place, row.manifest, codec)
        found.append(OpenSegment(row, files, np.array(deleted[row.id], dtype=np.int64)))
    return found


@contextlib.contextmanager
def _gone(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FolderGone(str(folder)) from error
    except (NotADirectoryError, IsADirectoryError) as error:
        raise IndexDamaged(f"{error.filename or folder}: {error.strerror}. {ADVICE}") from error
    except OSError as error:  # its content may be as it should be
        raise StoreUnwritable(
            f"{error.filename or folder} cannot be read: {error.strerror}. Check its permissions "
            "and the medium."
        ) from error


def named_folders(connection: Connection) -> list[tuple[str, Manifest]]:
    """Return the folders that the database names, with their manifests."""
    rows = [segments.current_codec(connection), *segments.current_segments(connection)]
    copy = copy_row(connection)
    return [(row.name, row.manifest) for row in [*rows, copy] if row is not None]


def remove_unnamed(connection: Connection, folder: Path) -> None:
    """Remove what an interrupted change left behind, or a finished one replaced.

    Only for whoever holds the index.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    named = {name for name, _ in named_folders(connection)}
    for path in folder.iterdir():
        if path.name not in named:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
