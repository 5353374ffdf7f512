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
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class NotAFile(OSError):
    """A link, a folder, a pipe or a device lies where a file should."""


def create_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Make a new file and return it, open for writing.

    Raises:
        FileExistsError: something is there, be it a link that leads nowhere.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, FILE_MODE), "wb")


def create_folder(path: Path) -> None:
    """Make a new folder, and those above it that are missing.

    Raises:
        FileExistsError: something is there.
    """
    if not path.parent.exists():
        create_folder(path.parent)  # `Path.mkdir` would make it as the umask says
    path.mkdir(mode=FOLDER_MODE)


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
        NotAFile: the source is something else.
        FileExistsError: something is at the target.
    """
    digest = hashlib.sha256()
    with open_file(source) as read, create_file(target) as written:
        while block := read.read(1 << 20):
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    return digest.hexdigest()
