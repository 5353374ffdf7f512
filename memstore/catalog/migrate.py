"""Creating and upgrading the schema. Only an upgrade imports Alembic.

A new store gets the declared tables at once, as Alembic advises: running every migration since the
first took ten times as long.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, text

from memstore.catalog.engine import DATABASE, open_engine, writing
from memstore.catalog.tables import SCHEMA_VERSION, metadata
from memstore.errors import IndexDamaged, MemstoreError, SchemaTooNew, StoreUnwritable
from memstore.private_files import create_file, sync_file, sync_folder

_COPY = f"{DATABASE}.schema-"

_alembic_version = Table(  # as Alembic makes it
    "alembic_version",
    MetaData(naming_convention={"pk": "%(table_name)s_pkc"}),
    Column("version_num", String(32), primary_key=True),
)


def stored_version(connection: Connection) -> str | None:
    """Return the schema version of an open database, None when it has no tables yet."""
    if connection.scalar(
        text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
    ):
        # a flipped bit can make bytes of it, which cannot be compared
        number = text("SELECT CAST(version_num AS TEXT) FROM alembic_version")
        version: str | None = connection.scalar(number)
        return version
    return None


def bring_up_to_date(store: Path, *, lock_timeout: float) -> None:
    """Create the tables of a new store, or run the migrations that an older one has not seen, all
    in one transaction.

    Raises:
        SchemaTooNew: the store was written by a newer memstore.
        IndexDamaged: it has tables and no number of a schema, or one that no schema can have, or
            a migration failed.
        StoreLocked: another process is writing.
    """
    with migrating(store, lock_timeout=lock_timeout) as connection:
        version = stored_version(connection)
        if version is None and connection.scalar(text("SELECT 1 FROM sqlite_master LIMIT 1")):
            raise IndexDamaged(
                f"{store / DATABASE} has tables but no schema version: it is no memstore database, "
                "or a damaged one. Nothing was changed. Give another path, or restore a backup."
            )
        if version is None:
            _create(connection)
        elif version != SCHEMA_VERSION:  # else another process was faster
            _upgrade(connection)


def _create(connection: Connection) -> None:
    metadata.create_all(connection, checkfirst=False)
    _alembic_version.create(connection, checkfirst=False)
    connection.execute(_alembic_version.insert().values(version_num=SCHEMA_VERSION))


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    # a % in a path would be read as an interpolation
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextlib.contextmanager
def migrating(store: Path, *, lock_timeout: float) -> Iterator[Connection]:
    """Yield a connection fit for migrations: foreign keys off, all of them checked at the end.

    Alembic's batch mode recreates a table without its triggers, AUTOINCREMENT and highest number
    given out. The number is restored, the loss of the others refused. While it runs, a copy of the
    database lies beside it; it stays if that fails.

    Raises:
        SchemaTooNew: the store was written by a newer memstore.
        IndexDamaged: no schema can have its number, or a migration failed, or would lose
            something; nothing was changed.
        StoreUnwritable: there is no space for the copy or the migration; nothing was changed.
    """
    engine = open_engine(store, lock_timeout=lock_timeout, foreign_keys=False)
    copy = None
    try:
        with writing(engine, store) as connection:
            version = stored_version(connection)
            if version is not None:
                check_version(store, version)
                if version < SCHEMA_VERSION:
                    copy = _copy(store, version)
            promises = _promises(connection)
            numbers = _numbers_given_out(connection)
            yield connection
            _check_kept(store, promises - _promises(connection))
            _restore_numbers(connection, numbers)
            _check_parents(store, connection)
        remove_copies(store)
    except MemstoreError as error:
        if copy is None:
            raise
        raise type(error)(f"{error} {_kept(copy)}") from error
    except Exception as error:  # whatever a migration may raise
        if copy is None:
            raise
        raise IndexDamaged(
            f"{store} could not be brought from schema {version} to {SCHEMA_VERSION}: {error}. "
            "Nothing was changed. If the database is damaged, restore a backup; else please report "
            f"it. {_kept(copy)}"
        ) from error
    finally:
        engine.dispose()


def _check_kept(store: Path, lost: set[str]) -> None:
    if lost:
        raise IndexDamaged(
            f"{store}: a migration would lose {', '.join(sorted(lost))}. Nothing was changed; "
            "please report it."
        )


def _check_parents(store: Path, connection: Connection) -> None:
    broken = connection.execute(text("PRAGMA foreign_key_check")).all()
    if broken:
        raise IndexDamaged(
            f"{store}: a migration would leave {len(broken)} rows without their parent, the first "
            f"in table {broken[0][0]}. Nothing was changed; please report it."
        )


def _kept(copy: Path) -> str:
    return f"A copy of the database as it was is kept: {copy}"


def _copy(store: Path, version: str) -> Path:
    """Copy the database of an older schema, while it is locked, and return the copy's path."""
    copy = store / f"{_COPY}{version}"
    partial = copy.with_name(f"{copy.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        create_file(partial).close()
        engine = open_engine(store, read_only=True)
        try:
            with (
                closing(engine.raw_connection()) as raw,
                closing(sqlite3.connect(partial)) as target,
            ):
                driver = raw.driver_connection
                assert driver is not None
                driver.backup(target)
        finally:
            engine.dispose()
        sync_file(partial)
        partial.rename(copy)
        sync_folder(store)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):  # the next migration removes it
            partial.unlink(missing_ok=True)
        raise StoreUnwritable(
            f"{store} has the older schema {version}, and before it is brought up to date its "
            f"database is copied, which failed: {error}. Nothing was changed. Free as much space "
            "as the database takes, twice, and open it again."
        ) from error
    return copy


def remove_copies(store: Path) -> None:
    """Remove copies from before migrations, of a store of the present schema: a kill may have left
    one, which holds what was purged since.
    """
    try:
        for copy in store.glob(f"{_COPY}*"):
            copy.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnwritable(
            f"A copy of the database from before an upgrade cannot be removed from {store}: "
            f"{error.strerror}. Remove {_COPY}* there."
        ) from error


def _promises(connection: Connection) -> set[str]:
    """Return what must outlive a migration: triggers, and tables that number rows only once."""
    return set(
        connection.scalars(
            text(
                "SELECT 'the trigger ' || name FROM sqlite_master WHERE type = 'trigger' "
                "UNION ALL SELECT 'AUTOINCREMENT of ' || name FROM sqlite_master "
                "WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
            )
        )
    )


def _numbers_given_out(connection: Connection) -> dict[str, int]:
    """Return table → the highest row number it ever gave out."""
    known = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"
    if not connection.scalar(text(known)):
        return {}
    rows = connection.execute(text("SELECT name, seq FROM sqlite_sequence"))
    return {row.name: row.seq for row in rows}


def _restore_numbers(connection: Connection, numbers: dict[str, int]) -> None:
    now = _numbers_given_out(connection)
    for name, number in numbers.items():
        if now.get(name, 0) < number:
            values = {"name": name, "seq": number}
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :seq)"), values)


def check_version(store: Path, version: str, advice: str = "Restore a backup.") -> None:
    """Refuse a store of a later schema, or whose number no schema can have.

    No checksum covers the number, and a later schema may have the very tables of the present one:
    that a bit of it was flipped cannot be excluded.

    Raises:
        SchemaTooNew: the store was written by a newer memstore.
        IndexDamaged: no schema can have it.
    """
    if not re.fullmatch("[0-9]{4}", version) or version == "0000":
        raise IndexDamaged(
            f"{store / DATABASE} is damaged: it gives {version!r} as its schema, and schemas have "
            f"the numbers 0001 to 9999. {advice}"
        )
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{store} has schema {version}; this memstore knows schemas up to {SCHEMA_VERSION}. "
            "Update it:\n    pip install --upgrade memstore\n"
            f"If no later memstore has ever opened it, {DATABASE} is damaged: restore a backup."
        )


def migrations_folder() -> Path:
    """Return the migrations: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
