"""The transactions that use an engine: closing waits for them, and lets none begin."""

from __future__ import annotations

import threading

from memstore.errors import BadInput

CLOSED = "This store is closed. Open it again: MemoryStore.open(path)."


class EngineUse:
    """As a context manager, around each transaction. Transactions of one thread may nest."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._closed = False
        self._of_this_thread = threading.local()

    @property
    def _depth(self) -> int:
        depth: int = getattr(self._of_this_thread, "depth", 0)
        return depth

    def __enter__(self) -> None:
        with self._changed:
            if self._closed and not self._depth:
                raise BadInput(CLOSED)
            self._running += 1
        self._of_this_thread.depth = self._depth + 1

    def __exit__(self, *_: object) -> None:
        self._of_this_thread.depth = self._depth - 1
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Wait until no other thread is in a transaction; from now on none begins another."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._running <= self._depth)
