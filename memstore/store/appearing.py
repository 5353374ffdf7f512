"""Files and folders that appear whole or not at all: made beside their place, then renamed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from memstore.errors import BadInput
from memstore.private_files import create_file, create_folder, sync_folder

Kind = Literal["file", "folder"]
_UNFINISHED = "unfinished"


def new_path(destination: str | os.PathLike[str], kind: Kind, *, outside: Path) -> Path:
    """Return the path of a copy, of which nothing is left that a killed process has half made.

    Raises:
        BadInput: it is taken, be it by a broken link; or it lies in the folder `outside`.
    """
    target = Path(destination)
    # here, not when it is made: one that was killed as the copy had its name is refused again
    remove_left_behind(target)
    _check_free(target, kind)
    check_outside(target, outside)
    return target


def check_outside(target: Path, folder: Path) -> None:
    """Refuse a copy in the folder of what is copied: as a file of the store, it would keep what
    a purge removes from all others.

    Raises:
        BadInput: the target lies there, whatever links lead to it.
    """
    if Path(os.path.realpath(target)).is_relative_to(os.path.realpath(folder)):
        raise BadInput(f"{target} lies in {folder}, which is copied. Give a path outside of it.")


def _check_free(target: Path, kind: Kind) -> None:
    if os.path.lexists(target):
        raise BadInput(f"{target} exists already. Give the path of a new {kind}.")


@contextlib.contextmanager
def appearing(target: Path, kind: Kind) -> Iterator[Path]:
    """Yield a new, private file or folder that gets its name when the block ends without an error.

    It lies in or is `NAME.partial-PID`, which is locked for as long as somebody works on it.

    Raises:
        OSError: it cannot be made or renamed; nothing is left.
        BadInput: somebody else has made the target meanwhile.
    """
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    if kind == "file":
        create_file(partial).close()
        made = partial
    else:
        # one level down: what is left of a killed process does not even look like a store
        create_folder(partial)
        made = partial / _UNFINISHED
    lock = os.open(partial, os.O_RDONLY)
    try:
        _lock(lock)
        if kind == "folder":
            create_folder(made)
        yield made
        if kind == "folder":
            sync_folder(made)
        _check_free(target, kind)
        made.rename(target)
        if kind == "folder":
            partial.rmdir()  # before the sync: a power cut would bring it back
        sync_folder(target.parent)
    finally:
        os.close(lock)
        _remove(partial)


def remove_left_behind(target: Path) -> None:
    """Remove what killed processes have left of a copy. (A lock ends with its process; its number
    may be given out again, and is that of another process in another container.)
    """
    named = re.compile(re.escape(target.name) + r"\.partial-\d+")
    left: list[Path] = []
    with contextlib.suppress(OSError):  # whoever may not look there will hear it when writing
        left += (path for path in target.parent.iterdir() if named.fullmatch(path.name))
    for path in left:
        with contextlib.suppress(OSError):  # what cannot be removed stays
            # a pipe without a writer would block
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _lock(lock) and _is_made_here(path):
                    _remove(path)
            finally:
                os.close(lock)


def _is_made_here(path: Path) -> bool:
    """Say whether what has such a name can be a copy: something else stays, a pipe for one."""
    if path.is_dir():
        return {item.name for item in path.iterdir()} <= {_UNFINISHED}
    return path.is_file()


def _lock(descriptor: int) -> bool:
    """Lock a file or folder; False if somebody has, or its file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
