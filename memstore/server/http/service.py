"""What all requests to one server share: the store, its threads, its limits, its counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from memstore import MemoryStore
from memstore.server.http.idempotency import KeptAnswers
from memstore.server.http.lanes import Lane, Room
from memstore.server.http.metrics import Metrics, at_most_every
from memstore.server.http.options import Options
from memstore.server.http.wire import to_json
from memstore.server.scope import Scope

_COUNT_SECONDS = 15.0  # counting takes longer the more there is to count


class Service:
    """One server's state. `stopping` is set when it was told to end."""

    def __init__(self, store: MemoryStore, options: Options) -> None:
        limits = options.limits
        self.store = store
        self.options = options
        self.stopping = False
        self.in_work = Room(limits.requests)
        # writes that wait for another process must leave room for those that read
        waiting = limits.requests // 4
        self.sending_lines = Room(limits.writers + waiting)
        self.writing = Lane(limits.writers, waiting)
        self.reading = Lane(limits.readers, limits.requests)
        self.watching = Lane(1, limits.requests)  # health and metrics, however busy the others are
        self.kept = KeptAnswers(
            most=limits.kept_answers,
            most_bytes=limits.kept_bytes,
            seconds=limits.kept_seconds,
            clock=time.monotonic,
        )
        self.metrics = Metrics(
            {
                "memstore_memories": (
                    "Memories in the store that are not forgotten.",
                    at_most_every(_COUNT_SECONDS, lambda: _count(store), time.monotonic),
                ),
                "memstore_http_kept_answers": (
                    "Answers kept for Idempotency-Key.",
                    lambda: float(len(self.kept)),
                ),
                "memstore_http_reading": (
                    "Calls that read, or wait for a thread to read.",
                    lambda: float(self.reading.inside),
                ),
                "memstore_http_writing": (
                    "Calls that write, or wait for a thread to write.",
                    lambda: float(self.writing.inside),
                ),
            }
        )


def _count(store: MemoryStore) -> float:
    return float(sum(found.memories for found in store.namespaces()))


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and who makes it. `key` is its Idempotency-Key, of all callers' its own."""

    service: Service
    scope: Scope
    caller: str
    key: str | None = None

    @property
    def store(self) -> MemoryStore:
        return self.service.store

    async def read(self, work: Callable[[], Response]) -> Response:
        """Return an answer that is made in a thread for reading."""
        return await self.service.reading.run(work)

    async def write(self, work: Callable[[], Response]) -> Response:
        """Return an answer that is made in a thread for writing."""
        return await self.service.writing.run(work)


async def call_of(request: Request) -> Call:
    """Return the call that `guarding` let in; a dependency of every verb.

    Not waiting for anything, but FastAPI would send a plain function through a thread.
    """
    return cast("Call", request.state.call)


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    """Return a value as an answer; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): said for name, said in headers.items()}
    return Response(to_json(value), status, headers=named, media_type="application/json")
