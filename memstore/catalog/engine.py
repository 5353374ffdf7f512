"""Connections to `memstore.db`: pragmas, transactions, and the operating system's errors named.

The default driver settings leave DDL of a failed transaction behind and start transactions late,
so connections are opened in autocommit mode and every transaction is begun here, by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool

from memstore.errors import IndexDamaged, MemstoreError, StoreLocked, StoreUnwritable
from memstore.private_files import FILE_MODE, create_file, open_file

DATABASE = "memstore.db"
_HOLDER = "writer.json"
_NOTE_BYTES = 4096
_NOT_STORED = "This transaction was not stored; what was committed before it is. "


def open_engine(
    store: Path,
    *,
    read_only: bool = False,
    lock_timeout: float = 30.0,
    foreign_keys: bool = True,
) -> Engine:
    """Return an engine on the store's database, whose transactions are begun explicitly.

    Args:
        lock_timeout: seconds a transaction waits for another writer.
        foreign_keys: off for migrations only. Alembic's batch mode drops and recreates a table;
            with foreign keys on, SQLite would silently delete the children of every row.
    """
    # absolute, so that later connections of the pool survive a change of the working directory;
    # as bytes, since a path need not be UTF-8
    path = quote(os.fsencode(os.path.abspath(store / DATABASE)))
    if not read_only:
        # SQLite would make it as the umask says; its log gets the mode of the database
        with contextlib.suppress(OSError):
            create_file(store / DATABASE).close()
    uri = f"file://{path}?mode={'ro' if read_only else 'rwc'}"
    if read_only and not os.access(store, os.W_OK) and not (store / f"{DATABASE}-wal").exists():
        # Readers of a write-ahead log share a file beside it, which cannot be made here. Without a
        # log nobody is writing: the file is all there is.
        uri += "&immutable=1"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=lock_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
            connection.execute("PRAGMA temp_store = MEMORY")  # temporary files can leak text
            # 32 MiB, as used: candidates lie anywhere, and 2 MiB make them a quarter slower to read
            connection.execute("PRAGMA cache_size = -32768")
            if not read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")  # commit = durable
                connection.execute("PRAGMA secure_delete = ON")  # freed bytes are zeroed
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=-1
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


@contextlib.contextmanager
def reading(engine: Engine, store: Path) -> Iterator[Connection]:
    """Yield a connection in one read transaction: everything read is of one moment."""
    with named_errors(store), engine.connect() as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def writing(engine: Engine, store: Path, *, wait: float | None = None) -> Iterator[Connection]:
    """Yield a connection that holds the write lock; commit on leaving, roll back on an error.

    Args:
        wait: seconds to wait for another writer; the engine's `lock_timeout` by default.

    Raises:
        StoreLocked: another process kept the lock longer than that.
        StoreUnwritable: the disk is full, the store read-only, or I/O failed.
    """
    with named_errors(store, _NOT_STORED), engine.connect() as connection:
        exclusive = connection.execution_options(begin="BEGIN IMMEDIATE")
        with _waiting(connection, wait), exclusive.begin(), holding(store):
            yield exclusive


@contextlib.contextmanager
def _waiting(connection: Connection, seconds: float | None) -> Iterator[None]:
    """Wait for locks as long as given, instead of as long as the engine does."""
    if seconds is None:
        yield
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    (usual,) = driver.execute("PRAGMA busy_timeout").fetchone()
    driver.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")
    try:
        yield
    finally:
        driver.execute(f"PRAGMA busy_timeout = {usual}")


def rewrite(engine: Engine, store: Path, consequence: str = "") -> bool:
    """Write the database anew without free pages, and empty the write-ahead log.

    Args:
        consequence: a sentence on what it means if that fails, and a space.

    Returns:
        Whether that was all: a reader keeps old pages in the log.

    Raises:
        StoreLocked: another process writes.
        StoreUnwritable: there is not up to twice its size in free space.
    """
    with named_errors(store, consequence), closing(engine.raw_connection()) as raw, holding(store):
        driver = raw.driver_connection
        assert driver is not None
        driver.execute("VACUUM")
        return not driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def free_share(connection: Connection) -> float:
    """Return how much of the database is free pages, from 0 to 1."""
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar()
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    return (free or 0) / max(pages or 1, 1)


@contextlib.contextmanager
def holding(store: Path) -> Iterator[None]:
    """Leave a note of who holds the write lock, for the error of whoever waits in vain.

    Only a note: SQLite's lock is the lock, so a note left behind by a kill harms nobody.
    """
    note = os.path.join(store, _HOLDER)
    who = {"pid": os.getpid(), "command": os.path.basename(sys.argv[0]), "since": time.time()}
    with contextlib.suppress(OSError):
        # bare system calls: pathlib and text files take 0.2 ms more, in every write
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        file = os.open(note, flags, FILE_MODE)
        try:
            os.write(file, json.dumps(who).encode())
        finally:
            os.close(file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(note)


def _holder(store: Path) -> str:
    try:
        with open_file(store / _HOLDER) as file:
            note = json.loads(file.read(_NOTE_BYTES))
        held = max(0.0, time.time() - float(note["since"]))
        pid = int(note["pid"])
        name = f"process {pid} ({note['command']}), for {held:.0f} s"
        return name if _runs(pid) else "another process"  # the note may outlive its writer
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "another process"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # asks, and signals nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


@contextlib.contextmanager
def named_errors(store: Path, consequence: str = "") -> Iterator[None]:
    """Raise the library's errors for those of SQLite that have a name.

    Args:
        consequence: a sentence on what a failed write means for the caller, and a space.
    """
    try:
        yield
    except DatabaseError as error:
        named = _named(error.orig, store, consequence)
        if named is None:
            raise
        raise named from error
    except sqlite3.DatabaseError as error:
        named = _named(error, store, consequence)
        if named is None:
            raise
        raise named from error


def _named(error: BaseException | None, store: Path, consequence: str) -> MemstoreError | None:
    # the sqlite3 module sets a code on errors of the library only: this one is its own
    undecodable = "decode to UTF-8" in str(error)
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return StoreLocked(
            f"{store} is being written by {_holder(store)}; the wait for the write lock ended. "
            "Try again when it has finished, or wait longer: Settings(lock_timeout=SECONDS)."
        )
    if primary == sqlite3.SQLITE_FULL:
        return StoreUnwritable(
            f"{store}: the disk is full. {consequence}Free some space and run it again."
        )
    if primary in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
    ):
        return StoreUnwritable(
            f"{store}: {error}. {consequence}Check the folder's permissions and the medium; to "
            "read a store you may not write, open it with read_only=True."
        )
    missing = primary == sqlite3.SQLITE_ERROR and str(error).startswith("no such ")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or undecodable or missing:
        return IndexDamaged(
            f"{store / DATABASE}: {error}. The file is damaged, or no memstore database. Restore a "
            "backup; without one, SQLite's own `.recover` may still save rows."
        )
    return None
