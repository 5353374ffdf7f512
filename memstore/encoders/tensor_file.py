"""Safetensors files, mapped into memory."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memstore.encoders.file_hashes import file_state
from memstore.errors import EncoderUnavailable


class TensorFile:
    """A safetensors file of float32 tensors: opening reads only the header.

    Args:
        fix: what whoever meets a damaged file is told to do.

    Raises:
        EncoderUnavailable: the file cannot be read.
    """

    def __init__(self, path: Path, *, fix: str) -> None:
        self.path = path
        self._fix = fix
        try:
            with path.open("rb") as file:
                self._state = file_state(os.fstat(file.fileno()))
                # Copy-on-write, because torch warns about arrays that it may not write to.
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            header_size = int.from_bytes(self._bytes[:8], "little")
            self._header: dict[str, Any] = json.loads(self._bytes[8 : 8 + header_size])
        except (OSError, ValueError) as error:  # ValueError: empty file, or a header not in JSON
            raise EncoderUnavailable(f"{path} cannot be read: {error}.\n{fix}") from error
        self._start = 8 + header_size

    @property
    def all_float32(self) -> bool:
        entries = (entry for name, entry in self._header.items() if name != "__metadata__")
        return all(entry.get("dtype") == "F32" for entry in entries)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Return a tensor by its name, as a view of the file."""
        try:
            entry = self._header[name]
            first, last = entry["data_offsets"]
            tensor = np.frombuffer(
                self._bytes, dtype="<f4", count=(last - first) // 4, offset=self._start + first
            ).reshape(entry["shape"])
            dtype = entry["dtype"]
        except (KeyError, TypeError, ValueError) as error:
            raise self._unusable(name, error) from error
        if dtype != "F32":
            raise self._unusable(name, f"it is of {dtype}")
        return tensor

    def _unusable(self, name: str, reason: object) -> EncoderUnavailable:
        return EncoderUnavailable(
            f"{self.path} has no usable tensor '{name}': {reason}.\n{self._fix}"
        )
