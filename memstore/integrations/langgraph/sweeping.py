"""A thread that removes what has expired."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable

from memstore import BadInput, MemstoreError

_logger = logging.getLogger(__name__)


class Sweeper:
    """Calls a function at intervals, in one thread at most."""

    def __init__(self, sweep: Callable[[], int]) -> None:
        self._sweep = sweep
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._future: concurrent.futures.Future[None] = concurrent.futures.Future()

    def start(self, seconds: float) -> concurrent.futures.Future[None]:
        """Begin; of a thread that sweeps already, return the future."""
        if self._thread is not None and self._thread.is_alive() and not self._stopped.is_set():
            return self._future
        self.stop(None)
        stopped, future = threading.Event(), concurrent.futures.Future[None]()
        future.add_done_callback(lambda _: stopped.set())  # whoever cancels it means this
        self._stopped, self._future = stopped, future
        self._thread = threading.Thread(
            target=self._run, args=(seconds, stopped, future), daemon=True, name="memstore-sweeper"
        )
        self._thread.start()
        return future

    def stop(self, timeout: float | None) -> bool:
        """End the thread; False if it is in a sweep that takes longer than `timeout` seconds."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _run(
        self, seconds: float, stopped: threading.Event, future: concurrent.futures.Future[None]
    ) -> None:
        while not stopped.wait(seconds):
            try:
                self._sweep()
            except BadInput:  # the store was closed
                _logger.warning("Expired items are not swept any more.", exc_info=True)
                break
            except MemstoreError:  # a lock, a full disk: the next sweep removes what this did not
                _logger.warning("A sweep of expired items failed.", exc_info=True)
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # cancelled
            future.set_result(None)
