"""SHA-256 of large files, remembered per state of the file.

Hashing 90 MB costs 0.1 to 0.2 CPU-seconds, about as much as all else that a cold query does.
So a record in the user's cache folder keeps the hash beside the file's device, inode, size,
modification and change time, and a file that still has them counts as unchanged. Every write to a
file changes its change time. A lost, damaged or unwritable record only costs hashing again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

State = list[int]


def file_state(stat: os.stat_result) -> State:
    """Return what changes whenever a file is written, replaced or copied."""
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def recorded_sha256(path: Path, state: State) -> str | None:
    """Return the SHA-256 (hex) recorded for the file in this state, if any."""
    entry = _read_record().get(str(path.resolve()))
    if isinstance(entry, dict) and entry.get("state") == state:
        found = entry.get("sha256")
        return found if isinstance(found, str) else None
    return None


def record_sha256(path: Path, state: State, sha256: str) -> None:
    """Remember the SHA-256 of the file in this state, where the cache folder can be written."""
    record = _read_record()
    record[str(path.resolve())] = {"state": state, "sha256": sha256}
    target = _record_path()
    scratch = target.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(record))
        scratch.replace(target)
    except OSError:
        # A read-only home is no reason to fail: the next process hashes again.
        return


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, from the record where the file is unchanged.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        state = file_state(os.fstat(file.fileno()))
        found = recorded_sha256(path, state)
        if found is None:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            record_sha256(path, state, found)
    return found


def user_cache() -> Path:
    """Return the user's cache folder (XDG base directory specification).

    For a user without a home (in some containers) it is a path below the null device: nothing is
    ever found or written there.
    """
    home = os.path.expanduser("~")  # unlike Path's, it raises nothing
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return Path(cache) if os.path.isabs(cache) else Path(os.devnull, "no-home")


def _record_path() -> Path:
    return user_cache() / "memstore" / "file-hashes.json"


def _read_record() -> dict[str, object]:
    try:
        record = json.loads(_record_path().read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
