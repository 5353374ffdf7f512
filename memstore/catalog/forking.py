"""Forks: a child process inherits no connection, and none that it opens can be mistaken for one.

SQLite notes once per process which locks it holds on a file. A forked child inherits the notes, not
the locks: even a connection that the child opens itself then reads and writes without any, and
loses its commits when the parent closes. The notes go with the process's last connection to the
file. So before a fork the idle connections of all engines are closed, once the transactions of
other threads have ended; whoever needs one opens it again. Where a transaction does not end in
time, or the forking thread is inside one, the child refuses to open that file.

Sources: sqlite.org/howtocorrupt.html, section 2.7; `unixInodeInfo` and `unixShmNode` in os_unix.c.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any, Final
from weakref import ReferenceType, WeakSet, ref

from sqlalchemy import Engine

from memstore.errors import BadInput

_MOST_CURSORS: Final = 64  # known of a connection before those that are gone are left out
_WAIT: Final = 10.0  # seconds that a fork waits for transactions: the longest read a whole index

_engines: WeakSet[Engine] = WeakSet()
_connections: WeakSet[ForkAwareConnection] = WeakSet()  # those of this process
_inherited: dict[tuple[int, int], int] = {}  # file → the process whose connection was in use
_forks = threading.Lock()  # held by the thread that forks
_changed = threading.Condition()
_forking = False
_transactions = 0
_of_this_thread = threading.local()


class ForkAwareConnection(sqlite3.Connection):
    """A connection that does nothing in a process which has only inherited it, and that knows its
    cursors, to end what is still being read from it.
    """

    def __init__(self, database: str, **options: Any) -> None:
        super().__init__(database, **options)
        self.process = os.getpid()
        self.file: tuple[int, int] | None = None
        # no WeakSet: it runs Python when a cursor goes, which is when a signal that came during its
        # statement is handled, and an exception out of that callback (Ctrl-C) would be lost
        self._cursors: list[ReferenceType[sqlite3.Cursor]] = []
        _connections.add(self)

    def remember(self, file: str) -> None:
        """Note which file it is open on."""
        self.file = _identity(file)

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        if self.process != os.getpid():
            raise inherited(self.process)
        made = super().cursor(*arguments, **options)
        if len(self._cursors) >= _MOST_CURSORS:
            self._cursors = [known for known in self._cursors if known() is not None]
        self._cursors.append(ref(made))
        return made

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        made: sqlite3.Cursor = self.cursor()  # sqlite3's own `execute` would make one unknown here
        return made.execute(*arguments)

    def end_statements(self) -> None:
        """Close what is still being read. An exception that somebody keeps, as a notebook does,
        keeps its cursors; theirs would be the state that later transactions read.
        """
        if self.process == os.getpid():
            for known in self._cursors:
                cursor = known()
                if cursor is not None:
                    cursor.close()
            self._cursors.clear()

    def commit(self) -> None:
        if self.process == os.getpid():
            super().commit()

    def rollback(self) -> None:
        if self.process == os.getpid():
            super().rollback()

    def close(self) -> None:
        if self.process == os.getpid():
            _connections.discard(self)
            super().close()


def inherited(process: int, what: str = "This store") -> BadInput:
    """Return the error for what was opened before a fork."""
    return BadInput(
        f"{what} was opened in process {process}, and this is process {os.getpid()}, forked from "
        "it. Open the store in the child, after the fork: MemoryStore.open(path)."
    )


def check_not_inherited(file: str) -> None:
    """Refuse to open a database that was in use in the parent when this process was forked.

    Raises:
        BadInput: it was.
    """
    if not _inherited:
        return
    with contextlib.suppress(FileNotFoundError):
        process = _inherited.get(_identity(file))
        if process is not None:
            raise BadInput(
                f"{os.path.dirname(file)} was in the middle of a transaction in process {process} "
                f"when this process ({os.getpid()}) was forked from it: SQLite would use it here "
                "without locks. Fork when no other thread uses the store, or start processes with "
                "multiprocessing.get_context('spawn') or 'forkserver'."
            )


def register(engine: Engine) -> None:
    """Close the idle connections of an engine before each fork."""
    with _changed:
        _engines.add(engine)


def _identity(file: str) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """Let no other thread fork inside the block, for a while; and begin none while one forks."""
    global _transactions
    depth = getattr(_of_this_thread, "depth", 0)
    with _changed:
        # a thread that is in a transaction already is what the fork waits for
        while _forking and not depth:
            _changed.wait()
        _transactions += 1
    _of_this_thread.depth = depth + 1
    try:
        yield
    finally:
        _of_this_thread.depth = depth
        with _changed:
            _transactions -= 1
            if _forking:
                _changed.notify_all()


def _before() -> None:
    global _forking
    _forks.acquire()
    own = getattr(_of_this_thread, "depth", 0)
    with _changed:
        _forking = True
        _changed.wait_for(lambda: _transactions <= own, timeout=_WAIT)
    for engine in list(_engines):
        engine.pool.dispose()  # closes what is idle; what is in use can come back to the pool


def _in_parent() -> None:
    global _forking
    with _changed:
        _forking = False
        _changed.notify_all()
    _forks.release()


def _in_child() -> None:
    global _forks, _changed, _forking, _transactions
    _forks, _changed = threading.Lock(), threading.Condition()  # whoever held them is not here
    _forking = False
    _transactions = getattr(_of_this_thread, "depth", 0)
    for connection in list(_connections):
        # Closing would roll back in memory that the parent shares: it must never be freed.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        if connection.file is not None:
            _inherited[connection.file] = connection.process
    _connections.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
