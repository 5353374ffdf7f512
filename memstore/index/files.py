"""Arrays and JSON in a folder of their own: written once, made durable, then only read.

A folder's manifest names each file with its size and SHA-256. Writing streams, so memory does not
grow with the arrays; reading maps them into memory.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import tokenize
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from memstore.errors import IndexDamaged
from memstore.json_input import parse_json
from memstore.private_files import (
    NotAFile,
    create_file,
    create_folder,
    file_hash,
    open_file,
    sync_folder,
)

Manifest = Mapping[str, Mapping[str, Any]]  # file name → {"size": bytes, "sha256": hex}

_FOLDER = re.compile(r"(codec|segment|columns)-[0-9]{6,}")
_FILE = re.compile(r"[a-z_]+\.(npy|json)")
_MOST_HEADER = 1024  # characters of an array's header; `ArrayWriter`'s have 118
# numpy reads it as Python and lets the errors of that through, and warnings where they are errors
_NO_HEADER = (
    *(ValueError, TypeError, EOFError, SyntaxError, RecursionError, MemoryError),
    *(tokenize.TokenError, Warning),
)
_MOST_JSON = 1 << 20  # bytes of a JSON file, which holds four numbers


class ArrayWriter:
    """Writes a `.npy` file row by row; its header gets the final count when it is closed."""

    def __init__(self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self.rows = 0
        self._file: BinaryIO = create_file(path)
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows, (n, *row_shape)."""
        block = np.ascontiguousarray(rows, dtype=self._dtype)
        if block.shape[1:] != self._row_shape:
            raise ValueError(f"rows of shape {block.shape[1:]} for a file of {self._row_shape}")
        self._file.write(block.data if block.size else b"")
        self.rows += len(block)

    def close(self) -> None:
        """Complete the header and make the file durable."""
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        self._file.close()

    def _write_header(self) -> None:
        # numpy pads the header so that a longer count fits in the same number of bytes
        header = {
            "shape": (self.rows, *self._row_shape),
            "fortran_order": False,
            "descr": np.lib.format.dtype_to_descr(self._dtype),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


class FolderWriter:
    """Fills a new folder; leaving the block by an exception removes it again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arrays: list[ArrayWriter] = []

    def __enter__(self) -> Self:
        create_folder(self.folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for array in self._arrays:
                array.abandon()
            shutil.rmtree(self.folder, ignore_errors=True)

    def array(self, name: str, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> ArrayWriter:
        """Begin `NAME.npy`."""
        writer = ArrayWriter(self.folder / f"{name}.npy", dtype, row_shape)
        self._arrays.append(writer)
        return writer

    def whole_array(self, name: str, values: NDArray[Any]) -> None:
        """Write `NAME.npy` at once."""
        writer = self.array(name, values.dtype, values.shape[1:])
        writer.append(values)
        writer.close()

    def json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write `NAME.json`."""
        created = create_file(self.folder / f"{name}.json")
        with io.TextIOWrapper(created, encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def manifest(self) -> Manifest:
        """Make the folder durable and return its manifest."""
        sync_folder(self.folder)
        sync_folder(self.folder.parent)
        return {path.name: _entry(path) for path in sorted(self.folder.iterdir())}


def folder_of(index: Path, name: Any) -> Path:
    """Return where the folder of a name lies under `index/`.

    A store may come from somebody else: what it calls its folders is not believed.

    Raises:
        IndexDamaged: no folder of a store has such a name, or a link lies there.
    """
    if not isinstance(name, str) or not _FOLDER.fullmatch(name):
        raise IndexDamaged(f"{index}: no folder of an index is called {name!r:.80}. {ADVICE}")
    folder = index / name
    for place in (index, folder):
        if os.path.islink(place):  # False where the system does not say: it opens nothing either
            raise IndexDamaged(f"{place} is a symbolic link, which is not followed. {ADVICE}")
    return folder


def read_array(folder: Path, name: str, dtype: DTypeLike, row_shape: tuple[int, ...]) -> Any:
    """Return `NAME.npy` mapped into memory, read-only.

    Raises:
        OSError: it is not there, or the system refuses it.
        IndexDamaged: it is not of this type and shape, or not as long as they say.
    """
    path = folder / f"{name}.npy"
    expected = np.dtype(dtype)
    with _opened(path) as file:
        try:
            shape, by_columns, found = _read_header(file)
        except _NO_HEADER as error:
            raise IndexDamaged(f"{path} cannot be read as an array: {error}. {ADVICE}") from error
        if found != expected or by_columns or len(shape) == 0 or shape[1:] != row_shape:
            raise IndexDamaged(
                f"{path} holds {found} values of shape {shape}, not one row after another of "
                f"{expected} {row_shape}. {ADVICE}"
            )
        # before anything is set aside for it
        start, size = file.tell(), os.fstat(file.fileno()).st_size
        if (
            type(shape[0]) is not int
            or shape[0] < 0
            or start % expected.alignment  # the kernels' loads, after a header of an odd length
            or start + math.prod(shape) * expected.itemsize != size
        ):
            raise IndexDamaged(
                f"{path} cannot be read as an array: it has {size} bytes, which are not {shape} "
                f"values. {ADVICE}"
            )
        mapped = np.memmap(file, dtype=expected, mode="r", offset=start, shape=shape)
    return mapped.view(np.ndarray)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Return what `NAME.json` holds.

    Raises:
        FileNotFoundError: it is not there.
        IndexDamaged: it is no JSON object.
    """
    path = folder / f"{name}.json"
    with _opened(path) as file:
        content = file.read(_MOST_JSON)
    try:
        value = parse_json(content.decode())
    except ValueError as error:
        raise IndexDamaged(f"{path} is no JSON: {error}. {ADVICE}") from error
    if not isinstance(value, dict):
        raise IndexDamaged(f"{path} holds no JSON object. {ADVICE}")
    return value


def check_manifest(folder: Path, manifest: Any) -> None:
    """Refuse a manifest that names what no folder of an index holds.

    Raises:
        IndexDamaged: see above.
    """
    if not isinstance(manifest, Mapping):
        raise IndexDamaged(f"The manifest of {folder} is no list of files. {ADVICE}")
    for name, entry in manifest.items():
        if not _FILE.fullmatch(name):
            raise IndexDamaged(f"{folder}: no file of an index is called {name!r:.80}. {ADVICE}")
        if not (
            isinstance(entry, Mapping)
            and type(entry.get("size")) is int
            and isinstance(entry.get("sha256"), str)
        ):
            raise IndexDamaged(f"The manifest of {folder} has {entry!r:.80} for {name}. {ADVICE}")


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder whose files do not have the sizes of its manifest.

    Raises:
        FileNotFoundError: one is not there.
        IndexDamaged: one is shorter or longer.
    """
    check_manifest(folder, manifest)
    for name, entry in manifest.items():
        size = (folder / name).lstat().st_size
        if size != entry["size"]:
            raise IndexDamaged(f"{folder / name} has {size} bytes, not {entry['size']}. {ADVICE}")


def damaged_files(folder: Path, manifest: Manifest) -> list[str]:
    """Return what is wrong with the files of a folder, reading all of them."""
    try:
        check_manifest(folder, manifest)
    except IndexDamaged as error:
        return [str(error)]
    wrong = []
    for name, entry in manifest.items():
        path = folder / name
        try:
            found = _entry(path)
        except OSError as error:
            wrong.append(f"{path}: {error.strerror}")
            continue
        if found != entry:
            wrong.append(f"{path} is not as it was written: its SHA-256 or size differs")
    return wrong


ADVICE = "Mend it from the texts: memstore verify --repair"


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of an array, whether it lies column by column, and its type."""
    # not np.load, which would also open archives and pickles
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # a header of a later one, never written here, may take gigabytes
        raise ValueError(f"its format is {version}, not (1, 0)")
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = np.lib.format.read_array_header_1_0(
        file, max_header_size=_MOST_HEADER
    )
    return header


def _opened(path: Path) -> BinaryIO:
    try:
        return open_file(path)
    except NotAFile as error:
        raise IndexDamaged(f"{path} cannot be read: {error.strerror}. {ADVICE}") from error


def _entry(path: Path) -> dict[str, Any]:
    digest = file_hash(path)
    return {"size": path.lstat().st_size, "sha256": digest}
