"""Files and folders for their owner alone, whatever the umask, that no link leads away from.

Everything memstore writes holds what somebody wants remembered. A store or an index may come from
somebody else: a link in it could make the reader open, cut off or remove a file elsewhere, and a
pipe or a device could make it wait for ever.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_BLOCK_BYTES = 1 << 20


class NotAFile(OSError):
    """A link, a folder, a pipe or a device lies where a file should."""


class Unreadable(OSError):
    """A file that should be read is missing, is something else, or the medium refuses it."""


def create_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Make a new file and return it, open for writing.

    Raises:
        FileExistsError: something is there, be it a link that leads nowhere.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, FILE_MODE), "wb")


def create_folder(path: Path, *, exist_ok: bool = False) -> None:
    """Make a new folder, and those above it that are missing.

    Args:
        exist_ok: whether it may be there already, as it was made.

    Raises:
        FileExistsError: something is there that may not be.
    """
    if not path.parent.exists():  # `Path.mkdir` would make it as the umask says
        create_folder(path.parent, exist_ok=True)  # or by another process meanwhile
    path.mkdir(mode=FOLDER_MODE, exist_ok=exist_ok)


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Return a file, open for reading.

    Raises:
        NotAFile: it is something else, or a link to a file.
    """
    try:
        # a pipe without a writer would block
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise NotAFile(errno.ELOOP, "it is a symbolic link", os.fspath(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFile(errno.EINVAL, "it is no file", os.fspath(path))
    return os.fdopen(descriptor, "rb")


def copy_file(source: Path, target: Path) -> str:
    """Copy a file to a new one, durably, and return the SHA-256 of what was read.

    Raises:
        Unreadable: the source cannot be read; any other OSError is the target's.
        FileExistsError: something is at the target.
    """
    digest = hashlib.sha256()
    try:
        with create_file(target) as written:
            for block in _blocks(source):
                digest.update(block)
                written.write(block)
            written.flush()
            os.fsync(written.fileno())
    except Unreadable:
        target.unlink()  # half a file, which would look like a copy
        raise
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        Unreadable: see above.
    """
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with open_file(path) as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise Unreadable(error.errno, error.strerror, os.fspath(path)) from error


def sync_file(path: Path) -> None:
    """Make what was written to a file durable.

    Raises:
        OSError: it failed.
    """
    with open_file(path) as written:
        os.fsync(written.fileno())


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable, where its file system knows how to sync a folder.

    Raises:
        OSError: it failed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
