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
from memstore.index import sync_folder
from memstore.private_files import create_file, create_folder

Kind = Literal["file", "folder"]
_UNFINISHED = "unfinished"


def new_path(destination: str | os.PathLike[str], kind: Kind) -> Path:
    """Return the path of a copy, refusing one that is taken, be it by a broken link."""
    target = Path(destination)
    if os.path.lexists(target):
        raise BadInput(f"{target} exists already. Give the path of a new {kind}.")
    return target


@contextlib.contextmanager
def appearing(target: Path, kind: Kind) -> Iterator[Path]:
    """Yield a new, private file or folder that gets its name when the block ends without an error.

    It lies in or is `NAME.partial-PID`, which is locked for as long as somebody works on it. What
    killed processes left behind of the same name is removed first. (A lock ends with its process;
    its number may be given out again, and is that of another process in another container.)

    Raises:
        OSError: it cannot be made or renamed; nothing is left.
        BadInput: somebody else has made the target meanwhile.
    """
    _remove_left_behind(target)
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
        made.rename(new_path(target, kind))
        if kind == "folder":
            partial.rmdir()  # before the sync: a power cut would bring it back
        sync_folder(target.parent)
    finally:
        os.close(lock)
        _remove(partial)


def _remove_left_behind(target: Path) -> None:
    named = re.compile(re.escape(target.name) + r"\.partial-\d+")
    with contextlib.suppress(OSError):  # whoever may not look there will hear it when writing
        for path in [path for path in target.parent.iterdir() if named.fullmatch(path.name)]:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if _lock(lock) and _is_made_here(path):
                    _remove(path)
            finally:
                os.close(lock)


def _is_made_here(path: Path) -> bool:
    """Say whether what has such a name can be a copy: a folder of something else stays."""
    return not path.is_dir() or {item.name for item in path.iterdir()} <= {_UNFINISHED}


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
