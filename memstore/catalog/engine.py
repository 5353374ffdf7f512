"""Connections to `memstore.db`: pragmas, transactions, and the operating system's errors named.

The default driver settings leave DDL of a failed transaction behind and start transactions late,
so connections are opened in autocommit mode and every transaction is begun here, by hand.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool

from memstore.catalog.damage import contradiction, first_damage
from memstore.catalog.dialect import SHARED_STATEMENTS, URL
from memstore.catalog.engine_use import EngineUse
from memstore.catalog.forking import ForkAwareConnection, check_not_inherited, no_fork, register
from memstore.errors import IndexDamaged, MemstoreError, StoreLocked, StoreUnwritable
from memstore.private_files import FILE_MODE, create_file, open_file

DATABASE = "memstore.db"
_HOLDER = "writer.json"
# what values that make no sense end in, wherever they are used
SENSELESS = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(DatabaseError, sqlite3.DatabaseError),  # SQLAlchemy's, and the driver's own
)
_uses: WeakKeyDictionary[Engine, EngineUse] = WeakKeyDictionary()
_NOTE_BYTES = 4096
_FIRST_WAIT = 0.1  # seconds for readers of the log
_PAUSE = 0.15  # seconds: whoever waits for the write lock asks for it every 0.1
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
    file = os.path.abspath(store / DATABASE)
    if not read_only:
        # SQLite would make it as the umask says; its log gets the mode of the database
        with contextlib.suppress(OSError):
            create_file(file).close()
    uri = f"file://{quote(os.fsencode(file))}?mode={'ro' if read_only else 'rwc'}"
    if read_only and not os.access(store, os.W_OK) and not (store / f"{DATABASE}-wal").exists():
        # Readers of a write-ahead log share a file beside it, which cannot be made here. Without a
        # log nobody is writing: the file is all there is.
        uri += "&immutable=1"

    def connect() -> sqlite3.Connection:
        check_not_inherited(file)
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=lock_timeout,
            isolation_level=None,
            check_same_thread=False,
            factory=ForkAwareConnection,
        )
        try:
            connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
            connection.execute("PRAGMA temp_store = MEMORY")  # temporary files can leak text
            # 32 MiB, as used: candidates lie anywhere, and 2 MiB make them a quarter slower to read
            connection.execute("PRAGMA cache_size = -32768")
            if not read_only:
                _keep_log(connection, store)
                connection.execute("PRAGMA synchronous = FULL")  # commit = durable
                connection.execute("PRAGMA secure_delete = ON")  # freed bytes are zeroed
            connection.remember(file)
        except UnicodeDecodeError as error:  # an error's message quotes a damaged schema
            connection.close()
            raise sqlite3.DatabaseError(f"could not decode to UTF-8: {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        URL,
        creator=connect,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=-1,
        execution_options=SHARED_STATEMENTS,
    )
    register(engine)
    _uses[engine] = EngineUse()

    @event.listens_for(engine, "checkin")
    def checkin(connection: ForkAwareConnection | None, _record: object) -> None:
        if connection is not None:
            connection.end_statements()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _keep_log(connection: sqlite3.Connection, store: Path) -> None:
    """Use a write-ahead log; where that cannot be, SQLite goes on without one and says no more."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnwritable(
            f"{store / DATABASE} cannot have a write-ahead log: SQLite keeps it in mode {mode!r}. "
            "Check the medium, and put the store on a local file system."
        )


def close_engine(engine: Engine) -> None:
    """Close all connections, once the transactions of other threads have ended.

    Whoever begins one afterwards gets a BadInput that says that the store is closed.
    """
    _uses[engine].end()
    engine.dispose()


@contextlib.contextmanager
def _using(engine: Engine) -> Iterator[None]:
    with no_fork(), _uses[engine]:
        yield


@contextlib.contextmanager
def reading(engine: Engine, store: Path) -> Iterator[Connection]:
    """Yield a connection in one read transaction: everything read is of one moment.

    Raises:
        IndexDamaged: what was read made no sense, because the file is damaged.
    """
    with (
        named_errors(store),
        _using(engine),
        engine.connect() as connection,
        _damage_named(connection, store),
        connection.begin() as transaction,
    ):
        yield connection
        if transaction.is_active:
            # SQLite refuses to commit where a statement met a damaged page, though it wrote nothing
            transaction.rollback()


@contextlib.contextmanager
def writing(engine: Engine, store: Path, *, wait: float | None = None) -> Iterator[Connection]:
    """Yield a connection that holds the write lock; commit on leaving, roll back on an error.

    Args:
        wait: seconds to wait for another writer; the engine's `lock_timeout` by default.

    Raises:
        StoreLocked: another process kept the lock longer than that.
        StoreUnwritable: the disk is full, the store read-only, or I/O failed.
    """
    with named_errors(store, _NOT_STORED), _using(engine), engine.connect() as connection:
        exclusive = connection.execution_options(begin="BEGIN IMMEDIATE")
        with (
            _waiting(connection, wait),
            _damage_named(connection, store),
            exclusive.begin(),
            holding(store),
        ):
            yield exclusive


@contextlib.contextmanager
def _damage_named(connection: Connection, store: Path) -> Iterator[None]:
    """Blame a damaged file for an exception that its values caused, if it is damaged."""
    try:
        yield
    except SENSELESS as error:
        cause = error.orig if isinstance(error, DatabaseError) else error
        if isinstance(cause, sqlite3.DatabaseError) and _named(cause, store, "") is not None:
            raise
        if isinstance(error, UnicodeDecodeError):  # SQLite quotes a damaged schema, or a value
            found: str | None = f"it holds text that is no UTF-8 ({error})"
        else:
            found = first_damage(connection)  # after the transaction: what it wrote is gone
        if found is None:
            raise
        raise IndexDamaged(
            f"{store / DATABASE} is damaged: {found}. Mend what can be:\n"
            f"    memstore --store {store} verify --repair"
        ) from error


@contextlib.contextmanager
def bare(engine: Engine) -> Iterator[sqlite3.Connection]:
    """Yield a driver's connection, for what SQLite does outside of transactions."""
    with _using(engine), closing(engine.raw_connection()) as raw:
        driver = raw.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        yield driver


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


def rewrite(engine: Engine, store: Path, consequence: str = "", *, checked: bool = False) -> bool:
    """Write the database anew without free pages, and empty the write-ahead log.

    Args:
        consequence: a sentence on what it means if that fails, and a space.
        checked: whether the caller knows what SQLite finds wrong with it. Else it is refused to
            write anew what contradicts itself: that tells a repair what was right.

    Returns:
        Whether that was all: a reader, or another who empties the log, may keep old pages there.

    Raises:
        StoreLocked: another process writes.
        StoreUnwritable: there is not up to twice its size in free space.
        IndexDamaged: it is damaged.
    """
    with named_errors(store, consequence), _using(engine), engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        found = None if checked else contradiction(connection)
        if found is not None:
            raise IndexDamaged(
                f"{store / DATABASE} is damaged: {found}. It is not written anew. {consequence}"
                f"Mend what can be:\n    memstore --store {store} verify --repair"
            )
        try:
            with holding(store):
                driver.execute("VACUUM")
        except sqlite3.OperationalError as error:
            # also where a damaged page names another that no database is large enough to have
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            found = contradiction(connection) if full else None
            if found is None:
                raise
            raise IndexDamaged(
                f"{store / DATABASE} is damaged: {found}. It cannot be written anew. {consequence}"
                "Restore a backup; without one, SQLite's own `.recover` may still save rows."
            ) from error
        return _empty_log(driver, store)


def _empty_log(driver: sqlite3.Connection, store: Path) -> bool:
    """Empty the write-ahead log and return whether its readers ended in time.

    SQLite waits for them while it holds the write lock, and one that merges segments cannot end
    before it has had that lock: so in between, each time after twice as long, it is free. While
    another empties the log, SQLite does not wait at all.
    """
    (usual,) = driver.execute("PRAGMA busy_timeout").fetchone()
    limit = time.monotonic() + usual / 1000
    wait = _FIRST_WAIT
    try:
        while True:
            began = time.monotonic()
            allowed = max(0.0, min(wait, limit - began))
            driver.execute(f"PRAGMA busy_timeout = {round(allowed * 1000)}")
            with holding(store):
                (busy, _, _) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return True
            ended = time.monotonic()
            if ended >= limit:
                return False
            if ended - began > allowed / 2:
                wait *= 2
            time.sleep(_PAUSE)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {usual}")


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
    pid = os.getpid()
    command = os.path.basename(sys.argv[0])
    who = {"pid": pid, "command": command, "began": _own_begin(pid), "since": time.time()}
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
        # the note may outlive its writer, whose number may be another program's by now
        return name if _runs(pid) and note["began"] == _begin(pid) else "another process"
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


def _begin(pid: int) -> str | None:
    """Return when a process began, in ticks since the system did; None where nobody says."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as status:
            return status.read().rpartition(b") ")[2].split()[19].decode()
    except OSError:
        return None


_own_begin = functools.lru_cache(maxsize=1)(_begin)  # every write notes it


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


def refused_by_system(error: BaseException | None) -> bool:
    """Say whether the system let SQLite not read or write, be the database sound or damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
    )


def _named(error: BaseException | None, store: Path, consequence: str) -> MemstoreError | None:
    # the sqlite3 module sets a code on errors of the library only: this one is its own
    undecodable = "decode to UTF-8" in str(error)
    # of a schema, or a file's header, that was damaged
    senseless = ("no such ", "foreign key mismatch", "malformed ", "unsupported file format")
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
    if refused_by_system(error):
        return StoreUnwritable(
            f"{store}: {error}. {consequence}Check the folder's permissions and the medium; to "
            "read a store you may not write, open it with read_only=True."
        )
    if "no such module: fts5" in str(error):
        return StoreUnwritable(
            f"{store}: the SQLite that this Python uses was built without its full-text search. "
            f"{consequence}Use a Python whose sqlite3 has FTS5, as those of python.org have."
        )
    missing = primary == sqlite3.SQLITE_ERROR and str(error).startswith(senseless)
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or undecodable or missing:
        return IndexDamaged(
            f"{store / DATABASE}: {error}. The file is damaged, or no memstore database. Restore a "
            "backup; without one, SQLite's own `.recover` may still save rows."
        )
    return None
