"""Backups: a copy of a store that is in use, its index with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from memstore.catalog.engine import DATABASE, open_engine, reading, writing
from memstore.errors import IndexDamaged, MemstoreError, StoreLocked, StoreUnwritable
from memstore.index import check_manifest, folder_of, sync_folder
from memstore.private_files import copy_file, create_file, create_folder
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
    made = False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        create_folder(partial)
        made = True
        create_file(partial / DATABASE).close()  # SQLite would make it as the umask says
        with index_at_rest(opened):
            with (
                closing(opened.engine.raw_connection()) as raw,
                closing(sqlite3.connect(partial / DATABASE)) as copy,
            ):
                driver = raw.driver_connection
                assert driver is not None
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
        if made:
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
                place = folder_of(target / INDEX, name)
                check_manifest(place, manifest)
                _copy_folder(folder_of(opened.path / INDEX, name), place, [*manifest])
            except (FileNotFoundError, IndexDamaged) as error:
                if columns is None or name != columns.name:
                    raise _gone(opened, error) from error
                if isinstance(error, FileNotFoundError):
                    shutil.rmtree(place)
                with writing(engine, target) as connection:
                    name_copy(connection, None)
    finally:
        engine.dispose()


def _copy_folder(source: Path, target: Path, files: list[str]) -> None:
    create_folder(target)
    for file in files:
        copy_file(source / file, target / file)
    sync_folder(target)
    sync_folder(target.parent)


def _gone(opened: OpenStore, error: FileNotFoundError | IndexDamaged) -> MemstoreError:
    if isinstance(error, IndexDamaged):
        return error
    if opened.read_only:
        return StoreLocked(
            f"{error.filename} was replaced while it was copied: another process seals or compacts "
            f"{opened.path}. No backup was made; try again."
        )
    return IndexDamaged(
        f"{error.filename} is missing. No backup was made; make it again from the texts, then back "
        "up:\n    memstore verify --repair"
    )
