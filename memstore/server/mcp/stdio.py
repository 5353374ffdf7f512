"""Serving over standard input and output, until the input ends or the process is told to."""

from __future__ import annotations

import io
import json
import os
import select
import signal
from types import FrameType
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import (
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
)
from pydantic import ValidationError

_SECONDS_TO_ANSWER = 60  # what was asked before the end; the store waits 30 for another writer


class EndableInput(io.RawIOBase):
    """Bytes of a descriptor that end when `end` is called, though a thread waits for more.

    Nothing else wakes a thread that reads a pipe, and the process cannot exit before it has.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._told, self._tell = os.pipe()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._told, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for bytes and return how many were read; 0 at the end, or once told to end."""
        if self._told in {descriptor for descriptor, _ in self._poll.poll()}:
            return 0
        read = os.read(self._descriptor, len(buffer))
        buffer[: len(read)] = read
        return len(read)

    def end(self) -> None:
        """End the input now; may be called by a signal handler."""
        os.write(self._tell, b".")


class _Unanswered:
    """The requests of a client that have had no answer yet."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._none_left: anyio.Event | None = None

    def note(self, message: JSONRPCMessage) -> None:
        """Take notice of a message of either side."""
        if isinstance(message, JSONRPCRequest):
            self._ids.add(str(message.id))
            return
        if isinstance(message, (JSONRPCResponse, JSONRPCError)):
            self._ids.discard(str(message.id))
        elif message.method == "notifications/cancelled":  # such a request gets no answer
            self._ids.discard(str((message.params or {}).get("requestId")))
        if self._none_left is not None and not self._ids:
            self._none_left.set()

    async def wait(self) -> None:
        """Return once all are answered."""
        if self._ids:
            self._none_left = anyio.Event()
            await self._none_left.wait()


def serve_stdio(server: Server[dict[str, Any]]) -> None:
    """Answer one client until it closes its end, or until SIGTERM or SIGINT.

    What it had asked by then is answered first.
    """
    source = EndableInput(0)

    def end(number: int, frame: FrameType | None) -> None:
        source.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        anyio.run(_serve, server, source)
    except* BrokenPipeError:  # the client has gone, and nobody waits for what was to be said
        pass


def _refusal(error: Exception) -> JSONRPCError | None:
    """Return the answer to a request that the SDK could not read, and would leave unanswered.

    Half of a surrogate pair is enough, which JavaScript writes of a text cut in an emoji.
    """
    details = error.errors(include_url=False) if isinstance(error, ValidationError) else []
    if not details or details[0]["type"] != "json_invalid":
        return None
    try:
        message = json.loads(details[0]["input"])  # takes more than the SDK does
    except (ValueError, RecursionError):
        return None
    number = message.get("id") if isinstance(message, dict) else None
    if not isinstance(number, (int, str)):
        return None
    return JSONRPCError(
        jsonrpc="2.0", id=number, error=ErrorData(code=PARSE_ERROR, message=details[0]["msg"])
    )


async def _serve(server: Server[dict[str, Any]], source: EndableInput) -> None:
    lines = io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8", errors="replace")
    unanswered = _Unanswered()
    to_server, requests = anyio.create_memory_object_stream[SessionMessage | Exception]()
    answers, from_server = anyio.create_memory_object_stream[SessionMessage]()
    async with (
        stdio_server(stdin=anyio.wrap_file(lines)) as (incoming, outgoing),
        anyio.create_task_group() as tasks,
    ):

        async def pass_requests() -> None:
            async with incoming, to_server:
                async for item in incoming:
                    if isinstance(item, SessionMessage):
                        unanswered.note(item.message)
                        await to_server.send(item)
                    elif (refusal := _refusal(item)) is not None:
                        await outgoing.send(SessionMessage(refusal))
                # the SDK drops all that is under way at the end of its input
                with anyio.move_on_after(_SECONDS_TO_ANSWER):
                    await unanswered.wait()

        async def pass_answers() -> None:
            async with outgoing, from_server:
                async for item in from_server:
                    await outgoing.send(item)
                    unanswered.note(item.message)

        tasks.start_soon(pass_requests)
        tasks.start_soon(pass_answers)
        await server.run(requests, answers, server.create_initialization_options())
