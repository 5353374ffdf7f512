"""Connections that do not wait for ever: uvicorn itself bounds idle ones alone.

A client that sends half a head, or a body nobody reads any more, or never takes its answer, would
keep a connection, and there are only so many.
"""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from memstore.server.http import problems
from memstore.server.http.options import Limits
from memstore.server.http.problems import Problem


def protocol(limits: Limits) -> type[H11Protocol]:
    """Return uvicorn's HTTP/1.1 with the patience of `limits`."""

    class PatientHTTP(H11Protocol):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._waiting: asyncio.TimerHandle | None = None
            self._watching: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._refuse(problems.overloaded())
            else:
                self._wait_for_client()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait_for_client()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait_for_client()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._stop_watching()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_what_is_taken()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()  # closes, once the client took what was sent
            self._watch_what_is_taken()

        def send_400_response(self, msg: str) -> None:
            error = sys.exc_info()[1]  # the handler of which this is called in
            hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
            names = {431: "head-too-large", 501: "not-implemented"}
            detail = "This is no HTTP/1.1 request." if hint == 400 else f"{error}."
            if self.conn.our_state is h11.SEND_RESPONSE:  # in the middle of a body
                self.cycle.disconnected = True  # the application has nothing more to say
                self.cycle.message_event.set()
            elif self.conn.our_state is not h11.IDLE:  # it was answered, or is being
                self.transport.close()
                return
            self._refuse(Problem(hint, names.get(hint, "malformed"), detail))

        def _refuse(self, problem: Problem) -> None:
            """Answer what is no request of the application, and close the connection."""
            body = problems.document(
                problem.status_code, problem.name, problem.detail, instance="/"
            )
            headers = {
                "content-type": problems.MEDIA_TYPE,
                "content-length": str(len(body)),
                "connection": "close",
                **(problem.headers or {}),
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            title = problems.title(problem.status_code)
            self.transport.write(
                f"HTTP/1.1 {problem.status_code} {title}\r\n{head}\r\n".encode() + body
            )
            self.transport.close()

        def _wait_for_client(self) -> None:
            """Begin to wait where it is the client's turn, and stop where it is ours."""
            ours = self.cycle is not None and not self.cycle.response_complete
            if ours or self.transport.is_closing():
                self._stop_waiting()
            elif self._waiting is None and self._in_a_request():
                self._waiting = self.loop.call_later(limits.head_seconds, self.transport.abort)

        def _in_a_request(self) -> bool:
            """Whether a request has begun, or is the first one; idle ones uvicorn closes itself."""
            began = self.conn.their_state is not h11.IDLE or bool(self.conn.trailing_data[0])
            return began or self.cycle is None

        def _watch_what_is_taken(self, before: float = math.inf) -> None:
            """End the connection of a client that took nothing since the last look."""
            self._stop_watching()
            left = self.transport.get_write_buffer_size()
            if left >= before:
                self.transport.abort()
            elif left:
                self._watching = self.loop.call_later(
                    limits.taking_seconds, self._watch_what_is_taken, left
                )

        def _stop_watching(self) -> None:
            if self._watching is not None:
                self._watching.cancel()
                self._watching = None

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return cast("type[H11Protocol]", PatientHTTP)
