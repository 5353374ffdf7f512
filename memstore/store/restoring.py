"""Restoring: a backup becomes a store, once everything in it was found to agree."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from memstore.catalog.engine import DATABASE
from memstore.catalog.migrate import bring_up_to_date, check_version
from memstore.catalog.tables import SCHEMA_VERSION
from memstore.errors import BadInput, IndexDamaged, StoreNotFound, StoreUnwritable
from memstore.private_files import copy_file, file_hash, sync_file
from memstore.settings import Settings
from memstore.store import checking
from memstore.store.appearing import appearing, check_outside, remove_left_behind
from memstore.store.backing_up import copy_index, listed
from memstore.store.export_files import FORMAT
from memstore.store.opening import open_store
from memstore.types import VerifyReport


def restore(
    backup: str | os.PathLike[str], destination: str | os.PathLike[str], *, now: int
) -> VerifyReport:
    """Make a store of a backup, see `MemoryStore.restore`.

    The backup is only read: it may lie where nothing can be written. It is its copy that is looked
    at, in a private folder, because that is what will be used: every page, every file's SHA-256,
    and all rows against each other.
    """
    source, target = Path(backup), Path(destination)
    remove_left_behind(target)
    if os.path.lexists(target):
        raise BadInput(
            f"{target} exists already; a restore never replaces anything. Move it away first:\n"
            f"    mv {target} {target}.before"
        )
    _check_is_backup(source)
    check_outside(target, source)
    try:
        with appearing(target, "folder") as partial:
            digest = copy_file(source / DATABASE, partial / DATABASE)
            if file_hash(partial / DATABASE) != digest:
                raise StoreUnwritable(
                    f"{target} does not hold what was written to it: the medium is failing."
                )
            _check_at_rest(source)
            report = _verified(source, partial, now)
    except IndexDamaged as error:
        raise IndexDamaged(str(error).replace(f"{partial}", f"{source}")) from error
    except OSError as error:
        raise StoreUnwritable(f"The restore of {source} to {target} failed: {error}.") from error
    return report


def _check_is_backup(backup: Path) -> None:
    if backup.is_file():
        with backup.open("rb") as file:
            exported = FORMAT.encode() in file.read(100)
        raise BadInput(
            f"{backup} is an export: import it.\n    memstore import {backup}"
            if exported
            else f"{backup} is a file; a backup is a folder, which memstore backup makes."
        )
    if not (backup / DATABASE).is_file():
        raise StoreNotFound(
            f"There is no backup at {backup}: it is no folder with a {DATABASE}. Give the folder "
            "that memstore backup has made."
        )
    _check_at_rest(backup)
    check_version(backup, _schema(backup), "Restore another backup.")


def _check_at_rest(backup: Path) -> None:
    """Refuse what is being written: its database is two files then, which change."""
    log = backup / f"{DATABASE}-wal"
    if log.exists() and log.stat().st_size:
        raise BadInput(
            f"{backup} is in use as a store, or was left so by a process that was killed "
            f"({log.name} is not empty). Nothing was restored. Make a backup of it, and restore "
            f"that:\n    memstore --store {backup} backup {backup}.backup"
        )


def _schema(backup: Path) -> str:
    # immutable: reading a write-ahead log would make files beside it, and there is none
    path = quote(os.fsencode(os.path.abspath(backup / DATABASE)))
    try:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            (version,) = connection.execute(
                "SELECT CAST(version_num AS TEXT) FROM alembic_version"
            ).fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise IndexDamaged(
            f"{backup / DATABASE}: {error}. It is damaged, or no memstore database. Restore "
            "another backup."
        ) from error
    return str(version)


def _verified(backup: Path, partial: Path, now: int) -> VerifyReport:
    """Copy what the copied database needs, and look at all of it."""
    version = _schema(partial)
    if version < SCHEMA_VERSION:
        try:
            bring_up_to_date(partial, lock_timeout=Settings().lock_timeout)
        except IndexDamaged as error:
            raise IndexDamaged(
                f"{backup} could not be brought from schema {version} to {SCHEMA_VERSION}: "
                f"{error.__cause__ or error}. Nothing was restored. Restore another backup."
            ) from error
    damage = copy_index(backup, partial)
    opened = open_store(
        partial,
        create=False,
        read_only=False,
        encoder=None,
        reranker=None,
        device=None,
        settings=None,
    )
    try:
        report = checking.verify(opened, repair=False, now=now)
    finally:
        opened.engine.dispose()
    damage += [finding.message for finding in report.findings]
    if damage:
        raise IndexDamaged(
            f"{backup} is damaged; nothing was restored:\n{listed(damage)}\nRestore another "
            "backup. If there is none, repair a copy of it, and restore that:\n"
            f"    cp -r {backup} {backup}.repaired\n"
            f"    memstore --store {backup}.repaired verify --repair"
        )
    sync_file(partial / DATABASE)
    for left in ("index.lock", "writer.json"):
        (partial / left).unlink(missing_ok=True)
    return report
