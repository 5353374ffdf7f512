"""Arrays and JSON in a folder of their own: written once, made durable, then only read.

A folder's manifest names each file with its size and SHA-256. Writing streams, so memory does not
grow with the arrays; reading maps them into memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from memstore.errors import IndexDamaged

Manifest = Mapping[str, Mapping[str, Any]]  # file name → {"size": bytes, "sha256": hex}

_READ_BYTES = 1 << 20


class ArrayWriter:
    """Writes a `.npy` file row by row; its header gets the final count when it is closed."""

    def __init__(self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self.rows = 0
        self._file: BinaryIO = path.open("xb")
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
        self.folder.mkdir(mode=0o700, parents=True)
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
        with (self.folder / f"{name}.json").open("x", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def manifest(self) -> Manifest:
        """Make the folder durable and return its manifest."""
        sync_folder(self.folder)
        sync_folder(self.folder.parent)
        return {path.name: _entry(path) for path in sorted(self.folder.iterdir())}


def read_array(folder: Path, name: str, dtype: DTypeLike, row_shape: tuple[int, ...]) -> Any:
    """Return `NAME.npy` mapped into memory, read-only.

    Raises:
        OSError: it is not there, or the system refuses it.
        IndexDamaged: it is not of this type and shape.
    """
    path = folder / f"{name}.npy"
    try:
        # not np.load, which would also open archives, and leaves the file open when it fails
        mapped = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # a header is Python, and its reader raises whatever that makes it
        raise IndexDamaged(f"{path} cannot be read as an array: {error}. {ADVICE}") from error
    if (
        mapped.dtype != np.dtype(dtype)
        or mapped.shape[1:] != row_shape
        or not mapped.flags.c_contiguous
        or not mapped.flags.aligned  # the kernels' loads, after a header of an odd length
    ):
        raise IndexDamaged(
            f"{path} holds {mapped.dtype} values of shape {mapped.shape}, not one row after "
            f"another of {np.dtype(dtype)} {row_shape}. {ADVICE}"
        )
    return mapped.view(np.ndarray)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Return what `NAME.json` holds.

    Raises:
        FileNotFoundError: it is not there.
        IndexDamaged: it is no JSON object.
    """
    path = folder / f"{name}.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise IndexDamaged(f"{path} is no JSON: {error}. {ADVICE}") from error
    if not isinstance(value, dict):
        raise IndexDamaged(f"{path} holds no JSON object. {ADVICE}")
    return value


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder whose files do not have the sizes of its manifest.

    Raises:
        FileNotFoundError: one is not there.
        IndexDamaged: one is shorter or longer.
    """
    for name, entry in manifest.items():
        size = (folder / name).stat().st_size
        if size != entry["size"]:
            raise IndexDamaged(f"{folder / name} has {size} bytes, not {entry['size']}. {ADVICE}")


def damaged_files(folder: Path, manifest: Manifest) -> list[str]:
    """Return what is wrong with the files of a folder, reading all of them."""
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


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable, where the system lets folders be opened and synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


ADVICE = "Mend it from the texts: memstore verify --repair"


def _entry(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
    return {"size": size, "sha256": digest.hexdigest()}
