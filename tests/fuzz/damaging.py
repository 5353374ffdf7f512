"""Damage to the files of a folder, written down in bytes, which a fuzzer changes and a seed is."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuzz.scratch import new_folder

EDIT = struct.Struct("<BBHi")  # file, kind of edit, position, value
MOST_EDITS = 24
_TYPES = ("i1", "u1", "<i2", "<u2", "<i4", "<i8", "<f2", "<f4", "<f8", ">i4", "S3", "?")

ELEMENT, ROWS, TYPE, SHAPE, WRITE_1, WRITE_4, WRITE_8, INSERT, CUT, REMOVE, OTHER = range(11)


@dataclass(frozen=True)
class Folder:
    """The files of a valid folder. Arrays are edited before they are encoded, then their bytes.

    A name is a path in the folder; `encode` makes a file of the arrays of one.
    """

    files: Mapping[str, bytes | tuple[NDArray[Any], ...]]
    encode: Callable[[str, tuple[NDArray[Any], ...]], bytes]

    @cached_property
    def path(self) -> Path:
        """The folder, with all files as they were."""
        folder = new_folder()
        for name in self.files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(self._whole[name])
        return folder

    @cached_property
    def _whole(self) -> Mapping[str, bytes]:
        return {name: self._encoded(name, content) for name, content in self.files.items()}

    @contextlib.contextmanager
    def damaged(self, data: bytes) -> Iterator[Path]:
        """Change the files as the bytes say while the block runs."""
        changed = self._changed(data)
        try:
            for name, content in changed.items():
                # a new file: what is mapped of the old one stays
                (self.path / name).unlink()
                if content is not None:
                    (self.path / name).write_bytes(content)
            yield self.path
        finally:
            for name in changed:
                (self.path / name).unlink(missing_ok=True)
                (self.path / name).write_bytes(self._whole[name])

    def _changed(self, data: bytes) -> dict[str, bytes | None]:
        names = sorted(self.files)
        edits = list(EDIT.iter_unpack(data[: len(data) // EDIT.size * EDIT.size]))[:MOST_EDITS]
        values = dict(self.files)
        for file, kind, position, value in edits:
            name = names[file % len(names)]
            arrays = values[name]
            if kind % 11 <= SHAPE and isinstance(arrays, tuple):
                values[name] = _edit_array(arrays, kind % 11, position, value)
        changed: dict[str, bytes | None] = {
            name: self._encoded(name, content)
            for name, content in values.items()
            if content is not self.files[name]
        }
        for file, kind, position, value in edits:
            name = names[file % len(names)]
            content = changed.get(name, self._whole[name])
            if kind % 11 == REMOVE:
                changed[name] = None
            elif kind % 11 == OTHER:
                changed[name] = self._whole[names[value % len(names)]]
            elif kind % 11 > SHAPE and content is not None:
                changed[name] = _edit_bytes(content, kind % 11, position, value)
        return changed

    def _encoded(self, name: str, content: bytes | tuple[NDArray[Any], ...]) -> bytes:
        return content if isinstance(content, bytes) else self.encode(name, content)


def edits(*some: tuple[int, int, int, int]) -> bytes:
    """Return edits as a seed holds them."""
    return b"".join(EDIT.pack(*edit) for edit in some)


def _edit_array(
    arrays: tuple[NDArray[Any], ...], kind: int, position: int, value: int
) -> tuple[NDArray[Any], ...]:
    number = position % len(arrays)
    array = arrays[number].copy()
    if kind == ELEMENT and array.size:
        size = array.dtype.itemsize
        bits = value.to_bytes(max(size, 4), "little", signed=True)[:size]
        array.reshape(-1)[position % array.size] = np.frombuffer(bits, array.dtype)[0]
    elif kind == ROWS and array.ndim:
        array = np.resize(array, (value % 100, *array.shape[1:]))
    elif kind == TYPE:
        with np.errstate(all="ignore"), contextlib.suppress(ValueError, OverflowError):
            array = array.astype(_TYPES[value % len(_TYPES)])
    elif kind == SHAPE:
        shapes = ((-1, 1), (-1,), (1, -1), array.shape[::-1])
        array = array.reshape(shapes[value % 4])
    return (*arrays[:number], array, *arrays[number + 1 :])


def _edit_bytes(content: bytes, kind: int, position: int, value: int) -> bytes:
    at = position % (len(content) + 1)
    if kind == CUT:
        return content[:at]
    if kind == INSERT:
        return content[:at] + value.to_bytes(4, "little", signed=True) + content[at:]
    size = {WRITE_1: 1, WRITE_4: 4, WRITE_8: 8}[kind]
    written = value.to_bytes(8, "little", signed=True)[:size]
    return content[:at] + written + content[at + size :]
