"""Threads for the store's calls, which are synchronous: some for reading, others for writing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
from anyio import to_thread

T = TypeVar("T")


class Overloaded(Exception):
    """More requests are in work than the server takes; nothing was done."""


class Room:
    """Places for so many at once. Who finds none is told so, and does not wait for one."""

    def __init__(self, places: int) -> None:
        self._places = places
        self.taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for as long as the block lasts.

        Raises:
            Overloaded: all are taken.
        """
        if self.taken >= self._places:
            raise Overloaded
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Lane:
    """A number of threads that calls share, and a bound on how many may wait for one.

    A call that has begun is awaited to its end, also when its client has gone: what it did is done,
    and its answer is kept for a client that asks again. A server that is made to end does not wait,
    but `inside` still counts it.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._limiter = anyio.CapacityLimiter(threads)
        self._most = threads + waiting
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """How many calls run or wait."""
        return self._inside

    async def run(self, call: Callable[[], T]) -> T:
        """Return what a call returns, made in a thread of this lane.

        Raises:
            Overloaded: too many wait already.
        """
        begun = given_up = False

        def work() -> T:
            nonlocal begun
            with self._lock:
                if given_up:
                    raise Overloaded
                begun = True
            try:
                return call()
            finally:
                self._count(-1)

        if self._inside >= self._most:
            raise Overloaded
        self._count(1)
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        finally:
            with self._lock:
                given_up = not begun
            if given_up:
                self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._inside += change
