"""Serving over standard input and output, until the input ends or the process is told to."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
from types import FrameType
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

_SECONDS_TO_ANSWER = 60  # what was asked before the end; the store waits 30 for another writer
# possessive, and to the end of the line where nothing ends it: what is odd must not take long
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_STRINGS_AND_BRACKETS = re.compile(rf"{_STRING}|[][{{}}]", re.DOTALL)
_VALUE = re.compile(rf"\s*:\s*({_STRING}|[^\s,}}]+)", re.DOTALL)


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
    except* (
        BrokenPipeError,
        anyio.BrokenResourceError,
    ):  # the client has gone, and nobody waits for what was to be said
        pass


class Unreadable(Exception):
    """A line that is no message; `answer` says so to whoever wrote it."""

    def __init__(self, line: str, code: int, why: str) -> None:
        super().__init__(why)
        number: int | str | None = None
        try:
            read = json.loads(_written_id(line) or "null")
            str(read).encode()
            number = read if type(read) in (int, str) else None
        except (ValueError, RecursionError):  # no JSON, half of a surrogate pair, or too deep
            pass
        error = ErrorData(code=code, message=why)
        self.answer = JSONRPCError(jsonrpc="2.0", id=number, error=error)


def read_message(line: str) -> JSONRPCMessage:
    """Return the message of a line.

    The SDK leaves lines unanswered that it cannot read: half of a surrogate pair is enough, which
    JavaScript writes of a text cut in an emoji. And where an id is none, it sees a notification.

    Raises:
        Unreadable: there is none.
    """
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Unreadable(line, PARSE_ERROR, first["msg"]) from error
        raise Unreadable(line, INVALID_REQUEST, "This is no JSON-RPC 2.0.") from error
    if isinstance(message, JSONRPCNotification) and _written_id(line) is not None:
        raise Unreadable(line, INVALID_REQUEST, "An id is a whole number or a string.")
    return message


def _written_id(line: str) -> str | None:
    """Return the id of a message as it is written, though the rest of it may be no JSON.

    >>> _written_id('{"params": {"id": 1}, "id" : "a", "deep": [[[')
    '"a"'
    """
    depth = 0
    for part in _STRINGS_AND_BRACKETS.finditer(line):
        if part[0] in "[{":
            depth += 1
        elif part[0] in "]}":
            depth -= 1
        elif depth == 1 and part[0] == '"id"' and (value := _VALUE.match(line, part.end())):
            return value[1]
    return None


async def _serve(server: Server[dict[str, Any]], source: EndableInput) -> None:
    lines = io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8", errors="replace")
    unanswered = _Unanswered()
    to_server, requests = anyio.create_memory_object_stream[SessionMessage | Exception]()
    answers, from_server = anyio.create_memory_object_stream[SessionMessage]()
    nothing = anyio.wrap_file(io.StringIO())  # the SDK only writes: what it cannot read, it drops
    async with (
        stdio_server(stdin=nothing) as (incoming, outgoing),
        incoming,
        anyio.create_task_group() as tasks,
    ):

        async def pass_requests() -> None:
            async with to_server:
                async for line in anyio.wrap_file(lines):
                    if not line.strip():
                        continue
                    try:
                        message = read_message(line)
                    except Unreadable as error:
                        await outgoing.send(SessionMessage(error.answer))
                        continue
                    unanswered.note(message)
                    await to_server.send(SessionMessage(message))
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
        try:
            await server.run(requests, answers, server.create_initialization_options())
        finally:
            # the output may have failed: a thread that waits for input would hold up the end
            source.end()
