"""Sealing in a thread of its own, so that no `add` waits for it."""

from __future__ import annotations

import logging
import threading

from memstore.errors import MemstoreError, StoreLocked
from memstore.store.opening import OpenStore
from memstore.store.sealing import hot_tokens, seal_if_due
from memstore.store.writing import microseconds_now

_EVERY = 256  # memories written between two looks at the size of the hot tier

_logger = logging.getLogger(__name__)


class BackgroundSealing:
    """Seals a store's hot tier when its writes have made it large.

    One thread at most, which ends when there is nothing to do. What goes wrong in it is logged and
    loses nothing: what is not sealed is searched all the same, and the next look tries again.
    """

    def __init__(self, opened: OpenStore) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._finished = False
        self._unseen = _EVERY  # the first write of a process looks: others may have left much

    def wrote(self, memories: int) -> None:
        """Note that memories were stored."""
        with self._lock:
            self._unseen += memories
            busy = self._thread is not None and self._thread.is_alive()
            if self._unseen < _EVERY or busy or self._finished:
                return
            self._unseen = 0
            self._thread = threading.Thread(target=self._seal, name="memstore-sealing")
            self._thread.start()

    def finish(self) -> None:
        """Wait for what is under way, and begin nothing more."""
        with self._lock:
            self._finished = True
            thread = self._thread
        if thread is not None:
            thread.join()

    def _seal(self) -> None:
        try:
            # again, if much was written while it was sealing
            while hot_tokens(self._opened) > self._opened.settings.hot_tokens:
                if not seal_if_due(self._opened, now=microseconds_now()).sealed:
                    break  # what is left belongs to no memory: `verify` says so
        except StoreLocked:
            pass  # another process is at it, or writes just now
        except MemstoreError as error:
            _logger.warning("%s was not sealed: %s", self._opened.path, error)
        except Exception:  # a thread has nobody to raise it to
            _logger.exception("%s was not sealed", self._opened.path)
