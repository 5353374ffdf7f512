"""Whether the sealed tier's files are what the database says they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from memstore.catalog import segments
from memstore.catalog.segments import FolderRow
from memstore.catalog.tables import passage, tombstone
from memstore.errors import IndexDamaged
from memstore.index import Segment, StoredCodec, damaged_files, folder_of
from memstore.store.columns import NAMES, CopyRow, as_of_now, copy_row, open_copy, read_columns

Broken = dict[int, str]  # segment id → what is wrong with it


def broken_segments(connection: Connection, folder: Path, dim: int) -> Broken:
    """Read every file of the index and return the segments that cannot be relied on."""
    rows = segments.current_segments(connection)
    if not rows:
        return {}
    codec_row = segments.current_codec(connection)
    if codec_row is None:
        return {row.id: f"segment {row.name} has no codec" for row in rows}
    codec, wrong = _codec(folder, codec_row, dim)
    if codec is None:
        return {row.id: f"segment {row.name}: its codec is damaged: {wrong}" for row in rows}
    deleted = segments.tombstones(connection, [row.id for row in rows])
    broken = {}
    for row in rows:
        held = _held(connection, row.id)
        wrong = _segment(folder, row, codec, held, np.array(deleted[row.id], dtype=np.int64))
        if wrong is not None:
            broken[row.id] = f"segment {row.name}: {wrong}"
    return broken


def broken_copy(connection: Connection, folder: Path) -> str | None:
    """Return what is wrong with the copy of the columns, None if nothing is."""
    row = copy_row(connection)
    if row is None:
        return None
    wrong = _damaged(folder, row)
    if wrong:
        return f"copy of the columns: {wrong[0]}"
    copied = open_copy(folder, row)
    if copied is None:
        return f"copy of the columns: the arrays of {row.name} do not fit each other"
    if (copied.ids[copied.by_id][1:] <= copied.ids[copied.by_id][:-1]).any():  # none comes twice
        return f"copy of the columns: {row.name} does not sort its ids"
    found, true = as_of_now(connection, row, copied), read_columns(connection)
    if not np.array_equal(found.ids, true.ids):
        return f"copy of the columns: {row.name} has not the memories that the database has"
    for name in NAMES:
        if not np.array_equal(found.values[name], true.values[name]):
            return f"copy of the columns: {row.name} has another {name} than the database"
    return None


def rows_in(connection: Connection, segment_ids: Sequence[int]) -> set[int]:
    """Return the memories that have a passage in one of the segments."""
    return {
        row
        for id_ in segment_ids
        for row in connection.scalars(
            select(passage.c.memory_row).where(passage.c.segment_id == id_)
        )
    }


def drop(connection: Connection, segment_ids: Sequence[int]) -> None:
    """Take segments out of the manifest whose passages were all encoded anew."""
    for id_ in segment_ids:
        gone = connection.scalars(
            select(tombstone.c.passage_id).where(tombstone.c.segment_id == id_)
        ).all()
        segments.replace_segments(connection, [id_], None, gone)
    if not segments.current_segments(connection):
        segments.delete_all(connection)  # its codec, which may be what was damaged


def _damaged(folder: Path, row: FolderRow | CopyRow) -> list[str]:
    """Return what is wrong with the files of a folder that the database names."""
    try:
        return damaged_files(folder_of(folder, row.name), row.manifest)
    except IndexDamaged as error:
        return [str(error)]


def _codec(folder: Path, row: FolderRow, dim: int) -> tuple[StoredCodec | None, str | None]:
    files = _damaged(folder, row)
    if files:
        return None, files[0]
    try:
        return StoredCodec(folder / row.name, row.manifest, dim), None
    except (IndexDamaged, OSError) as error:
        return None, str(error)


def _held(connection: Connection, segment_id: int) -> NDArray[np.int64]:
    """Return the passages that the database has in a segment with their memories' rows, (n, 2)."""
    rows = connection.execute(
        select(passage.c.id, passage.c.memory_row)
        .where(passage.c.segment_id == segment_id)
        .order_by(passage.c.id)
    ).all()
    return np.array([tuple(row) for row in rows], dtype=np.int64).reshape(-1, 2)


def _segment(
    folder: Path,
    row: FolderRow,
    codec: StoredCodec,
    held: NDArray[np.int64],
    deleted: NDArray[np.int64],
) -> str | None:
    """Return what is wrong with a segment, None if nothing is."""
    files = _damaged(folder, row)
    if files:
        return files[0]
    try:
        segment = Segment(folder / row.name, row.manifest, codec)
    except (IndexDamaged, OSError) as error:
        return str(error)
    written = np.stack([segment.passage_ids, segment.rows], axis=1)
    live = written[~np.isin(written[:, 0], deleted)]
    live = live[np.argsort(live[:, 0], kind="stable")]
    if not np.array_equal(live, held):
        return (
            f"it holds {len(live)} passages that are not deleted, the database has {len(held)} in "
            "it, or they belong to other memories"
        )
    if len(segment.codes) and int(segment.codes.max()) >= len(codec):
        return f"a token has centroid {segment.codes.max()} of {len(codec)}"
    if not np.isfinite(segment.inverse_norms).all():
        return "the length of a token vector is not finite"
    return None
