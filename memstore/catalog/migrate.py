"""Creating and upgrading the schema. Opening a current store never imports Alembic."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, text

from memstore.catalog.engine import open_engine, writing
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
    config.set_main_option("script_location", str(migrations_folder()))
    with migrating(store, lock_timeout=lock_timeout) as connection:
        version = stored_version(connection)
        if version is not None and version > SCHEMA_VERSION:
            raise too_new(store, version)
        if version != SCHEMA_VERSION:  # else another process was faster
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextlib.contextmanager
def migrating(store: Path, *, lock_timeout: float) -> Iterator[Connection]:
    """Yield a connection fit for migrations: foreign keys off, all of them checked at the end."""
    engine = open_engine(store, lock_timeout=lock_timeout, foreign_keys=False)
    try:
        with writing(engine, store) as connection:
            yield connection
            broken = connection.execute(text("PRAGMA foreign_key_check")).all()
            if broken:
                raise IndexDamaged(
                    f"{store}: a migration would leave {len(broken)} rows without their parent, "
                    f"the first in table {broken[0][0]}. Nothing was changed; please report it."
                )
    finally:
        engine.dispose()


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
