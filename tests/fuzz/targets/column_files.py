"""The copy of the columns, damaged: not used, or arrays in which any id can be looked for."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from fuzz.damaging import Folder
from memstore.store.columns import NAMES, CopyRow, open_copy

MUTATIONS = 300
_IDS = np.array([f"01M8J99JWSDPAEHPCX64YKW{number:03}" for number in range(12)], dtype="S26")


def npy(name: str, arrays: tuple[Any, ...]) -> bytes:
    """Return an array as its file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(arrays[0]), version=(1, 0))
    return file.getvalue()


FOLDER = Folder(
    {
        **{f"columns/{name}.npy": (np.arange(12, dtype=np.int64),) for name in NAMES},
        "columns/ids.npy": (_IDS,),
        "columns/by_id.npy": (np.arange(12, dtype=np.int64),),
    },
    npy,
)


def check(data: bytes) -> None:
    with FOLDER.damaged(data) as folder:
        manifest = {
            path.name: {"size": path.stat().st_size, "sha256": ""}
            for path in (folder / "columns").iterdir()
        }
        columns = open_copy(folder, CopyRow("columns", manifest, 1))
        if columns is None:
            return
        for id_ in (*_IDS.tolist(), b"", b"nobody", b"\xff" * 26):
            place = columns.position(id_.decode("latin-1"))
            assert place is None or 0 <= place < len(columns)
        assert all(len(values) == len(columns) for values in columns.values.values())
