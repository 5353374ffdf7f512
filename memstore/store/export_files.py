"""The files that `export` writes: JSON lines, a header first, a manifest last, memories between.

The manifest holds counts, the size of all before it, and its SHA-256: a copy that was cut off,
damaged or edited is known for one before anything of it is stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from memstore.errors import BadInput
from memstore.foreign import recognised
from memstore.json_input import bounded_lines, not_utf8, parse_json, too_long

FORMAT = "memstore-export"
VERSION = 3
_WITHOUT_MANIFEST = 2
_MOST_MANIFEST = 4096  # bytes; three counts, a size and a hash have 200
TIMES = (
    *("recorded_at", "occurred_at", "t_end", "observed_at"),
    *("valid_from", "valid_to", "expired_at"),
)
Source = str | os.PathLike[str] | BinaryIO


class ExportWriter:
    """Writes lines to an open file and counts what the manifest says of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0
        self.counts = {"memories": 0, "events": 0, "mentions": 0}

    def header(self, item: dict[str, Any]) -> None:
        """Write the first line."""
        self._line({"format": FORMAT, "version": VERSION, **item})

    def memory(self, item: dict[str, Any]) -> None:
        """Write a memory."""
        self._line(item)
        self.counts["memories"] += 1
        self.counts["events"] += len(item["events"])
        self.counts["mentions"] += len(item["entities"])

    def manifest(self) -> None:
        """Write the last line."""
        about = {"bytes": self._bytes, "sha256": self._digest.hexdigest()}
        self._line({"manifest": {**self.counts, **about}})

    def _line(self, item: dict[str, Any]) -> None:
        line = json.dumps(item, ensure_ascii=False).encode() + b"\n"
        self._file.write(line)
        self._digest.update(line)
        self._bytes += len(line)


@contextlib.contextmanager
def opened_twice(source: Source, *, scratch: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a file that can be read more than once, and its name for messages.

    What flows through a pipe is kept meanwhile in a nameless file in the folder `scratch`.

    Raises:
        BadInput: it cannot be read.
    """
    with contextlib.ExitStack() as stack:
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else _name(source)
        with _being_read(name):
            file = stack.enter_context(_opened(source))
            if not _is_regular(file):
                kept = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
                shutil.copyfileobj(file, kept)
                kept.seek(0)
                file = kept
        yield file, name


@contextlib.contextmanager
def _being_read(name: str) -> Iterator[None]:
    """Raise a BadInput where the system refuses to read a file, its middle included."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{name} cannot be read: {error.strerror}.") from error


def _name(file: BinaryIO) -> str:
    if not hasattr(file, "read"):
        raise BadInput(f"Cannot import from {file!r}: give a path, or a file opened with 'rb'.")
    return str(getattr(file, "name", "<stream>"))


def _opened(source: Source) -> contextlib.AbstractContextManager[BinaryIO]:
    if isinstance(source, str | os.PathLike):
        return open(source, "rb")
    return contextlib.nullcontext(source)


def _is_regular(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):  # no file of the operating system
        return False


def read_whole(file: BinaryIO, name: str) -> dict[str, Any]:
    """Return the header of an export, once all of it was read and found to be as it was written.

    Raises:
        BadInput: it is no export; or it was cut off, damaged or changed since.
    """
    lines = _lines(file, name)
    _, first = next(lines, (1, b""))
    header = parsed(first, name, 1) if FORMAT.encode() in first else {}
    if header.get("format") != FORMAT:
        with _being_read(name):
            file.seek(0)
            form = recognised(file)
        raise BadInput(
            f"{name} is no memstore export: its first line does not say so. "
            + (
                f"It looks like one of {form}:\n    memstore import {name} --from {form}"
                if form
                else f"To store plain JSONL use:\n    memstore ingest {name}"
            )
        )
    version = header.get("version")
    if version not in (VERSION, _WITHOUT_MANIFEST):
        raise BadInput(
            f"{name} is a memstore export of version {version!r}; this memstore reads versions "
            f"{_WITHOUT_MANIFEST} and {VERSION}. Update it:\n    pip install --upgrade memstore"
        )
    digest, last, size, at, found = hashlib.sha256(), first, 0, 1, 0
    for number, line in lines:
        digest.update(last)
        size += len(last)
        found += not line.isspace()
        last, at = line, number
    if version == _WITHOUT_MANIFEST:
        _check_count(name, found, header.get("memories", found))
        return header
    manifest = _manifest(last)
    if manifest is None:
        raise BadInput(
            f"{name} is cut off at line {at}: the manifest that ends an export is missing. "
            "Nothing was stored. Import a whole copy."
        )
    if digest.hexdigest() != manifest.get("sha256") or size != manifest.get("bytes"):
        raise BadInput(
            f"{name} is damaged, or was changed after it was written: its SHA-256 is "
            f"{digest.hexdigest()} over {size} bytes, its manifest says {manifest.get('sha256')} "
            f"over {manifest.get('bytes')}. Nothing was stored. Import an intact copy."
        )
    _check_count(name, found - 1, manifest.get("memories"))
    return header


def _check_count(name: str, found: int, written: Any) -> None:
    if found != written:
        raise BadInput(
            f"{name} holds {found} of the {written} memories that were exported. Nothing was "
            "stored. Import a whole copy."
        )


def _manifest(line: bytes) -> dict[str, Any] | None:
    try:
        item = parse_json(line.decode())
    except ValueError:
        return None
    manifest = item.get("manifest") if isinstance(item, dict) else None
    return manifest if isinstance(manifest, dict) else None


def memory_lines(file: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield what was exported of each memory, with its `place` for messages."""
    for number, line in _lines(file, name):
        if number == 1 or line.isspace():
            continue
        item = parsed(line, name, number)
        if "manifest" not in item:
            yield {**item, "place": f"{name}:{number}"}


def parsed(line: bytes, name: str, number: int) -> dict[str, Any]:
    """Return the object that a line holds."""
    try:
        item = parse_json(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{name}:{number}: {not_utf8(error)}") from error
    except ValueError as error:
        raise BadInput(f"{name}:{number}: not a JSON object: {error}.") from error
    if not isinstance(item, dict):
        raise BadInput(f"{name}:{number}: not a JSON object.")
    return item


def _lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line from the file's first on.

    Only a file as long as its manifest says may have lines of any length: a memory's is as long as
    its history, in which every change of a text keeps both.
    """
    with _being_read(name):
        whole = _is_as_long_as_it_says(file)
        file.seek(0)
        for number, line in enumerate(file if whole else bounded_lines(file), start=1):
            if line is None:
                raise BadInput(f"{name}:{number}: {too_long()}")
            yield number, line


def _is_as_long_as_it_says(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MOST_MANIFEST))
    [last] = file.read().splitlines(keepends=True)[-1:] or [b""]
    manifest = _manifest(last)
    return manifest is not None and manifest.get("bytes") == size - len(last)
