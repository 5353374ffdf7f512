"""Alembic environment. Migrations run on the catalog's own engine, so the bare command is as safe:

alembic -x store=PATH upgrade head
"""

from pathlib import Path

from alembic import context

from memstore.catalog.migrate import migrating
from memstore.catalog.tables import metadata


def run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    store = context.get_x_argument(as_dictionary=True).get("store")
    if store is None:
        raise SystemExit("Say which store: alembic -x store=PATH upgrade head")
    with migrating(Path(store), lock_timeout=30.0) as connection:
        migrate(connection)


def migrate(connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()


run()
