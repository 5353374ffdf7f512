"""Backups: a copy of a store that is in use, its index with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from memstore.catalog.engine import DATABASE, bare, open_engine, reading, writing
from memstore.errors import IndexDamaged, MemstoreError, StoreLocked, StoreUnwritable
from memstore.index import sync_folder
from memstore.store.columns import copy_row, name_copy
from memstore.store.exporting import new_path
from memstore.store.index_files import INDEX, holding_index, named_folders
from memstore.store.opening import OpenStore


def backup(opened: OpenStore, destination: str | os.PathLike[str]) -> Path:
    """Copy the store, while others read and write it, to a folder that does not exist yet.

    Raises:
        BadInput: the destination exists.
        IndexDamaged: a file of the index is missing.
        StoreLocked: the store was opened for reading, and another process replaced files of its
            index meanwhile; or it sealed for longer than `lock_timeout`.
        StoreUnwritable: it cannot be written.
    """
    target = new_path(destination, "folder")
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(mode=0o700, parents=True)
        with index_at_rest(opened):
            with (
                bare(opened.engine) as driver,
                closing(sqlite3.connect(partial / DATABASE)) as copy,
            ):
                driver.backup(copy)
            _copy_index(opened, partial)
        with (partial / DATABASE).open("rb") as written:
            os.fsync(written.fileno())
        sync_folder(partial)
        partial.rename(target)  # whoever sees the folder sees a whole store
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnwritable(f"The backup to {target} failed: {error}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already if all went well
    return target


@contextlib.contextmanager
def index_at_rest(opened: OpenStore) -> Iterator[None]:
    """Keep the files of the index as they are, where this process may write to the store.

    Elsewhere files may be gone before they are read, because others have replaced them.
    """
    if opened.read_only:
        yield
        return
    with holding_index(opened.path, wait=opened.settings.lock_timeout):
        yield


def _copy_index(opened: OpenStore, target: Path) -> None:
    """Copy the folders that the copied database names; its columns may be missing: it can do
    without.
    """
    engine = open_engine(target)
    try:
        with reading(engine, target) as connection:
            folders = named_folders(connection)
            columns = copy_row(connection)
        for name, manifest in folders:
            try:
                _copy_folder(opened.path / INDEX / name, target / INDEX / name, [*manifest])
            except FileNotFoundError as error:
                if columns is None or name != columns.name:
                    raise _gone(opened, error) from error
                shutil.rmtree(target / INDEX / name)
                with writing(engine, target) as connection:
                    name_copy(connection, None)
    finally:
        engine.dispose()


def _copy_folder(source: Path, target: Path, files: list[str]) -> None:
    target.mkdir(mode=0o700, parents=True)
    for file in files:
        shutil.copyfile(source / file, target / file)
        with (target / file).open("rb") as written:
            os.fsync(written.fileno())
    sync_folder(target)
    sync_folder(target.parent)


def _gone(opened: OpenStore, error: FileNotFoundError) -> MemstoreError:
    if opened.read_only:
        return StoreLocked(
            f"{error.filename} was replaced while it was copied: another process seals or compacts "
            f"{opened.path}. No backup was made; try again."
        )
    return IndexDamaged(
        f"{error.filename} is missing. No backup was made; make it again from the texts, then back "
        "up:\n    memstore verify --repair"
    )
