"""Stores of the tiny deterministic encoder, and ways to look at what is really on disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import memstore
from memstore import MemoryStore
from memstore.catalog.checksums import checksums_of, crc
from memstore.catalog.tables import metadata
from memstore.encoders import Encoder, open_encoder

Fingerprint = Callable[[Path], str]
FreshStore = Callable[[], contextlib.AbstractContextManager[MemoryStore]]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without memories: copying it is faster than making one."""
    path = tmp_path_factory.mktemp("empty") / "agent.mem"
    MemoryStore.open(path, encoder="hashed").close()
    return path


@pytest.fixture
def store_path(tmp_path: Path, empty_store: Path) -> Path:
    return Path(shutil.copytree(empty_store, tmp_path / "agent.mem"))


@pytest.fixture
def store(store_path: Path) -> Iterator[MemoryStore]:
    with MemoryStore.open(store_path) as opened:
        yield opened


@pytest.fixture(scope="session")
def fresh_store(empty_store: Path) -> FreshStore:
    """Make an empty store for every example of a property."""

    @contextlib.contextmanager
    def fresh() -> Iterator[MemoryStore]:
        with tempfile.TemporaryDirectory() as folder:
            path = shutil.copytree(empty_store, Path(folder) / "agent.mem")
            with MemoryStore.open(path) as opened:
                yield opened

    return fresh


@pytest.fixture(scope="session")
def calibrated_fresh_store(tmp_path_factory: pytest.TempPathFactory) -> FreshStore:
    """Make an empty store of the bundled encoder, for which time, trust and entities count."""
    empty = tmp_path_factory.mktemp("calibrated") / "agent.mem"
    MemoryStore.open(empty, encoder="minilm").close()

    @contextlib.contextmanager
    def fresh() -> Iterator[MemoryStore]:
        with tempfile.TemporaryDirectory() as folder:
            path = shutil.copytree(empty, Path(folder) / "agent.mem")
            with MemoryStore.open(path, encoder=_minilm()) as opened:
                yield opened

    return fresh


@functools.cache
def _minilm() -> Encoder:
    """The bundled encoder, loaded once."""
    return open_encoder("minilm")


@pytest.fixture(scope="session")
def fingerprint() -> Fingerprint:
    """Hash every row of every table of a store."""

    def of(path: Path) -> str:
        digest = hashlib.sha256()
        with contextlib.closing(sqlite3.connect(path / "memstore.db")) as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' "
                # not what the full-text table is made of, but itself
                "AND name NOT LIKE 'full\\_text\\_%' ESCAPE '\\' ORDER BY name"
            ).fetchall()
            for (table,) in tables:
                digest.update(table.encode())
                for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY rowid'):
                    digest.update(repr(row).encode())
        return digest.hexdigest()

    return of


@pytest.fixture(scope="session")
def reseal() -> Callable[[Path], None]:
    """Write the manifest of an export that was edited, as if another program had written it."""

    def write(path: Path) -> None:
        lines = path.read_bytes().rstrip(b"\n").split(b"\n")
        if b'"manifest"' in lines[-1]:
            lines.pop()
        body = b"".join(line + b"\n" for line in lines)
        said = {
            "memories": len(lines) - 1,
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        path.write_bytes(body + json.dumps({"manifest": said}).encode() + b"\n")

    return write


@pytest.fixture(scope="session")
def sql() -> Callable[..., list[tuple[Any, ...]]]:
    """Run one statement on a store's database behind its back, without foreign keys."""

    def run(path: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(path / "memstore.db")) as connection, connection:
            return connection.execute(statement, values).fetchall()

    return run


@pytest.fixture(scope="session")
def stamp() -> Callable[[Path, str], None]:
    """Give the rows of a table, changed behind the store's back, the checksums of what they are."""

    def run(path: Path, table: str) -> None:
        with contextlib.closing(sqlite3.connect(path / "memstore.db")) as connection, connection:
            connection.create_function("crc", -1, lambda *values: crc(values))
            for item in checksums_of(metadata.tables[table]):
                covered = ", ".join(f'"{name}"' for name in item.covers)
                connection.execute(f'UPDATE "{table}" SET {item.name} = crc({covered})')

    return run


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """The environment in which a child process imports the same memstore as the tests."""
    source = str(Path(memstore.__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": source}


@pytest.fixture
def child(child_environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python processes that run a script; what still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=child_environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
