"""Creating and upgrading the schema. Opening a current store never imports Alembic."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, text

from memstore.catalog.engine import DATABASE, open_engine, writing
from memstore.catalog.tables import SCHEMA_VERSION
from memstore.errors import IndexDamaged, SchemaTooNew


def stored_version(connection: Connection) -> str | None:
    """Return the schema version of an open database, None when it has no tables yet."""
    if connection.scalar(
        text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
    ):
        version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return version
    return None


def bring_up_to_date(store: Path, *, lock_timeout: float) -> None:
    """Run the migrations that the store has not seen, all in one transaction.

    Raises:
        SchemaTooNew: the store was written by a newer memstore.
        StoreLocked: another process is writing.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    # a % in a path would be read as an interpolation
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with migrating(store, lock_timeout=lock_timeout) as connection:
        version = stored_version(connection)
        if version is not None and version > SCHEMA_VERSION:
            raise too_new(store, version)
        if version is None and connection.scalar(text("SELECT 1 FROM sqlite_master LIMIT 1")):
            raise IndexDamaged(
                f"{store / DATABASE} has tables but no schema version: it is no memstore database, "
                "or a damaged one. Nothing was changed. Give another path, or restore a backup."
            )
        if version != SCHEMA_VERSION:  # else another process was faster
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextlib.contextmanager
def migrating(store: Path, *, lock_timeout: float) -> Iterator[Connection]:
    """Yield a connection fit for migrations: foreign keys off, all of them checked at the end.

    Alembic's batch mode recreates a table without its triggers, AUTOINCREMENT and highest number
    given out. The number is restored, the loss of the others refused.

    Raises:
        IndexDamaged: a migration would lose something; nothing was changed.
    """
    engine = open_engine(store, lock_timeout=lock_timeout, foreign_keys=False)
    try:
        with writing(engine, store) as connection:
            promises = _promises(connection)
            numbers = _numbers_given_out(connection)
            yield connection
            lost = promises - _promises(connection)
            if lost:
                raise IndexDamaged(
                    f"{store}: a migration would lose {', '.join(sorted(lost))}. Nothing was "
                    "changed; please report it."
                )
            _restore_numbers(connection, numbers)
            broken = connection.execute(text("PRAGMA foreign_key_check")).all()
            if broken:
                raise IndexDamaged(
                    f"{store}: a migration would leave {len(broken)} rows without their parent, "
                    f"the first in table {broken[0][0]}. Nothing was changed; please report it."
                )
    finally:
        engine.dispose()


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


def too_new(store: Path, version: str) -> SchemaTooNew:
    """Return the error for a store of a later schema."""
    return SchemaTooNew(
        f"{store} has schema {version}; this memstore knows schemas up to {SCHEMA_VERSION}. "
        "Update it:\n    pip install --upgrade memstore"
    )


def migrations_folder() -> Path:
    """Return the migrations: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
