"""A catalog with the current schema and nothing in it, and memories to put there."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table

from memstore.catalog import memories
from memstore.catalog.checksums import checksums_of
from memstore.catalog.engine import open_engine
from memstore.catalog.migrate import bring_up_to_date
from memstore.catalog.tables import metadata

AddMemory = Callable[..., int]


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; every test gets a copy."""
    folder = tmp_path_factory.mktemp("catalog") / "empty.mem"
    folder.mkdir()
    bring_up_to_date(folder, lock_timeout=5.0)
    return folder


@pytest.fixture
def folder(empty_catalog: Path, tmp_path: Path) -> Path:
    """The folder of a catalog of the current schema."""
    return Path(shutil.copytree(empty_catalog, tmp_path / "agent.mem"))


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    opened = open_engine(folder, lock_timeout=0.05)
    yield opened
    opened.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction that is never committed."""
    with engine.connect() as opened, opened.begin() as transaction:
        yield opened
        transaction.rollback()


@pytest.fixture(scope="session")
def add_memory() -> AddMemory:
    """Store a memory of the given columns; returns its row."""
    numbers = itertools.count(1)

    def add(connection: Connection, **columns: Any) -> int:
        namespace = memories.namespace_id(connection, columns.pop("namespace", "default"))
        source = memories.source_id(connection, columns.pop("source", None))
        given = json.dumps(columns.pop("metadata", {}), ensure_ascii=False, sort_keys=True)
        neutral: dict[str, Any] = {
            "id": f"m{next(numbers):04}",
            "key": None,
            "session": None,
            "title": None,
            "text": "text",
            "content_hash": "hash",
            "recorded_at": 0,
            "occurred_at": None,
            "valid_from": None,
            "valid_to": None,
            "half_life_s": None,
            "prior": None,
            "alpha": 1.0,
            "beta": 1.0,
            "importance": 0.0,
            "entities_given": False,
            "t_ref": 0,
        }
        row = memories.MemoryRow(
            namespace_id=namespace, source_id=source, metadata=given, **{**neutral, **columns}
        )
        [number] = memories.insert_memories(connection, [row])
        return number

    return add


def _value(table: Table, column: Any, row: int) -> Any:
    if column.foreign_keys or column.primary_key:
        return row if column.type.python_type is int else f"{column.name}{row}"
    text = f"{column.name}{row}"
    kinds = {int: row, float: 0.5, bytes: bytes([row]), str: text, bool: row == 1}
    return kinds[column.type.python_type]


@pytest.fixture(scope="session")
def fill_every_table() -> Callable[[Connection], None]:
    """Put two rows into every table there is, each the child of its parents' row of that number."""

    def fill(connection: Connection) -> None:
        for table in metadata.sorted_tables:
            for row in (1, 2):
                checksums = {item.name for item in checksums_of(table)}
                values = {
                    column.name: _value(table, column, row)
                    for column in table.columns
                    if column.name not in checksums
                }
                connection.execute(table.insert().values(values))

    return fill
