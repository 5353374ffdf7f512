"""Backups: a copy of a store that is in use, its index with it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from memstore.catalog.engine import (
    DATABASE,
    bare,
    open_engine,
    reading,
    refused_by_system,
    writing,
)
from memstore.errors import IndexDamaged, StoreLocked, StoreUnwritable
from memstore.index import Manifest, check_manifest, folder_of
from memstore.private_files import (
    Unreadable,
    copy_file,
    create_file,
    create_folder,
    sync_file,
    sync_folder,
)
from memstore.store.appearing import appearing, new_path
from memstore.store.columns import copy_row, name_copy
from memstore.store.index_files import INDEX, holding_index, named_folders
from memstore.store.opening import OpenStore

_SHOWN = 5  # findings in a message
_ERROR_CODE = re.compile(r"error code=(\d+)")


def backup(opened: OpenStore, destination: str | os.PathLike[str]) -> Path:
    """Copy the store, while others read and write it, to a folder that does not exist yet.

    What was copied is looked at: the database's pages, and the SHA-256 of every file of the index.
    Damage does not keep the backup from being made, because it may be all that can be saved.

    Raises:
        BadInput: the destination exists, or lies in the store.
        IndexDamaged: the backup was made and carries the damage of the store.
        StoreLocked: the store was opened for reading, and another process replaced files of its
            index meanwhile; or it sealed for longer than `lock_timeout`.
        StoreUnwritable: it cannot be written.
    """
    target = new_path(destination, "folder", outside=opened.path)
    try:
        with appearing(target, "folder") as partial:
            with index_at_rest(opened):
                _copy_database(opened, partial / DATABASE)
                damage = copy_index(opened.path, partial, replaced_meanwhile=opened.read_only)
            damage += _damaged_pages(partial / DATABASE)
            sync_file(partial / DATABASE)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnwritable(f"The backup to {target} failed: {error}.") from error
    if damage:
        raise IndexDamaged(
            f"The backup {target} was made, but {opened.path} is damaged, and so is its copy:\n"
            f"{listed(damage)}\nWhat can be made again from the texts is, in either of them, by:\n"
            f"    memstore --store {opened.path} verify --repair"
        )
    return target


def listed(findings: list[str]) -> str:
    """Return findings as lines of a message, the first few of many."""
    more = [f"and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
    return "\n".join(f"  {line}" for line in [*findings[:_SHOWN], *more])


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


def _copy_database(opened: OpenStore, target: Path) -> None:
    create_file(target).close()  # SQLite would make it as the umask says
    with bare(opened.engine) as driver, closing(sqlite3.connect(target)) as copy:
        driver.backup(copy)


def _damaged_pages(database: Path) -> list[str]:
    """Return what SQLite finds wrong with a database nobody has open, reading all of it.

    Raises:
        sqlite3.Error: the system does not let it.
    """
    with closing(sqlite3.connect(database)) as connection:
        try:
            rows = connection.execute("PRAGMA quick_check").fetchall()
        except sqlite3.DatabaseError as error:
            if refused_by_system(error):
                raise
            return [f"{DATABASE}: {error}"]
    for (message,) in rows:
        if (code := _ERROR_CODE.search(message)) and int(code[1]) & 0xFF == sqlite3.SQLITE_IOERR:
            raise sqlite3.OperationalError(message)  # not of the page: it could not be read
    return [f"{DATABASE}: {row[0]}" for row in rows if row[0] != "ok"]


def copy_index(store: Path, target: Path, *, replaced_meanwhile: bool = False) -> list[str]:
    """Copy the folders of a store's index that the copied database names, and return what is wrong
    with them, what cannot be read included. The copy of the columns is left out if anything is
    wrong with it: nothing needs it.

    Args:
        replaced_meanwhile: whether a file may be missing because others have replaced it.

    Raises:
        StoreLocked: they have.
        OSError: the copy cannot be written.
    """
    damage: list[str] = []
    engine = open_engine(target)
    try:
        with reading(engine, target) as connection:
            folders = named_folders(connection)
            columns = copy_row(connection)
        for name, manifest in folders:
            try:
                wrong = _copy_folder(store / INDEX, target / INDEX, name, manifest)
            except IndexDamaged as error:
                wrong = [str(error)]
            except Unreadable as error:
                missing = error.errno == errno.ENOENT
                reason = "is missing" if missing else f"cannot be read: {error.strerror}"
                wrong = [f"{error.filename} {reason}"]
                if missing and replaced_meanwhile and not (columns and columns.name == name):
                    raise StoreLocked(
                        f"{error.filename} was replaced while it was copied: another process seals "
                        f"or compacts {store}. No backup was made; try again."
                    ) from error
            if wrong and columns and columns.name == name:
                shutil.rmtree(folder_of(target / INDEX, name), ignore_errors=True)
                with writing(engine, target) as connection:
                    name_copy(connection, None)
            else:
                damage += wrong
    except IndexDamaged as error:  # the database cannot say what it needs
        damage.append(str(error).replace(str(target), str(store)))
    finally:
        engine.dispose()
    return damage


def _copy_folder(index: Path, to: Path, name: str, manifest: Manifest) -> list[str]:
    """Copy the files that a manifest names, and return what is wrong with them.

    Raises:
        IndexDamaged: they, or their folder, cannot be files of an index.
        Unreadable: one of them cannot be read.
    """
    source, target = folder_of(index, name), folder_of(to, name)
    check_manifest(source, manifest)
    create_folder(target)
    damage = []
    for file, entry in manifest.items():
        digest = copy_file(source / file, target / file)
        if digest != entry["sha256"]:
            damage.append(f"{source / file} is not as it was written: its SHA-256 differs")
    sync_folder(target)
    sync_folder(target.parent)
    return damage
