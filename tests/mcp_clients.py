"""What the tests of the MCP server share: the SDK's client, asked one thing at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Tool

from memstore import MemoryStore
from memstore.server.mcp.serving import build_server
from memstore.server.scope import Scope

COMMAND = [sys.executable, "-W", "error", "-m", "memstore"]
TOKEN = "a-token-for-tests-only"
OPENING = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}


@dataclass(frozen=True)
class Answer:
    """What a tool said: as text, and as data unless it failed."""

    text: str
    data: Any
    failed: bool

    @classmethod
    def of(cls, result: CallToolResult) -> Answer:
        (content,) = result.content
        return cls(content.text, result.structured_content, result.is_error)


@dataclass(frozen=True)
class Agent:
    """Makes calls, each over a connection of its own. `server` is what the SDK's client takes."""

    server: Any
    mode: str = "auto"

    def use(self, work: Callable[[Client], Awaitable[Any]]) -> Any:
        async def connected() -> Any:
            async with Client(self.server, mode=self.mode) as client:
                try:
                    return await work(client)
                except MCPError as error:  # raised here, it would leave in a group of errors
                    return error

        result = asyncio.run(connected())
        if isinstance(result, MCPError):
            raise result
        return result

    def call(self, tool: str, **arguments: Any) -> Answer:
        return Answer.of(self.use(lambda client: client.call_tool(tool, arguments)))

    def read(self, uri: str) -> str:
        result = self.use(lambda client: client.read_resource(uri))
        (content,) = result.contents
        return str(content.text)

    def tools(self) -> dict[str, Tool]:
        listed = self.use(lambda client: client.list_tools())
        return {tool.name: tool for tool in listed.tools}


def agent(store: MemoryStore, namespace: str = "default", **options: Any) -> Agent:
    """An agent of a server in this process."""
    return Agent(build_server(store, Scope((namespace,), **options)), mode="legacy")


def check_answer(tool: Tool, result: CallToolResult) -> Any:
    """Return what a tool gave, once it is as its schema says, and there is something to read."""
    assert not result.is_error, result.content[0].text
    jsonschema.Draft202012Validator(tool.output_schema).validate(result.structured_content)
    assert result.content[0].text
    return result.structured_content


def arguments(store: Path, *options: str) -> list[str]:
    """The command line of a server."""
    return [*COMMAND[1:], "--store", str(store), "mcp", *options]


@contextlib.asynccontextmanager
async def over_stdio(store: Path, *options: str, mode: str = "auto") -> AsyncIterator[Client]:
    """A client of a server process, over its standard input and output."""
    command = StdioServerParameters(command=COMMAND[0], args=arguments(store, *options))
    with open(os.devnull, "w") as quiet:
        async with Client(stdio_client(command, errlog=quiet), mode=mode) as client:
            yield client


@contextlib.asynccontextmanager
async def over_http(store: Path, *options: str, mode: str = "auto") -> AsyncIterator[Client]:
    """A client of a server process, over streamable HTTP, with a token."""
    with http_server(store, *options) as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(server.url, http_client=http), mode=mode) as client,
        ):
            yield client


TRANSPORTS = {"stdio": over_stdio, "http": over_http}


@dataclass(frozen=True)
class HttpServer:
    process: subprocess.Popen[str]
    url: str

    def post(self, message: dict[str, Any], **headers: str) -> httpx2.Response:
        given = {"Accept": "application/json, text/event-stream"} | headers
        return httpx2.post(self.url, json=message, headers=given, timeout=60)


@contextlib.contextmanager
def http_server(store: Path, *options: str, token: str | None = TOKEN) -> Iterator[HttpServer]:
    """A server process on a free port of this machine."""
    environment = os.environ | ({} if token is None else {"MEMSTORE_MCP_TOKEN": token})
    process = subprocess.Popen(
        [COMMAND[0], *arguments(store, "--http", "127.0.0.1:0", *options)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        said = ""
        while (found := re.search(r"http://\S+", said)) is None:
            line = process.stderr.readline()
            assert line, f"no server: {said}"
            said += line
        yield HttpServer(process, found.group())
    finally:
        process.kill()
        process.communicate()


class RawClient:
    """Writes and reads the lines of the protocol itself, to see what no client library shows."""

    def __init__(self, store: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [COMMAND[0], *arguments(store, *options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ask(0, "initialize", OPENING)
        self.answer()
        self.send({"method": "notifications/initialized"})

    def send(self, message: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, number: int, method: str, params: dict[str, Any]) -> None:
        self.send({"id": number, "method": method, "params": params})

    def call(self, number: int, tool: str, **arguments: Any) -> None:
        self.ask(number, "tools/call", {"name": tool, "arguments": arguments})

    def send_together(self, calls: list[dict[str, Any]]) -> None:
        """Make calls, numbered from 1 on, in one block of input."""
        messages = [
            {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
            for number, call in enumerate(calls, start=1)
        ]
        self.process.stdin.write("".join(json.dumps(message) + "\n" for message in messages))
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        return json.loads(self.process.stdout.readline())

    def end(self, how: signal.Signals | None = None) -> tuple[int, str, str]:
        """End the server, by closing its input or by a signal; return status, output and errors."""
        if how is None:
            self.process.stdin.close()
        else:
            self.process.send_signal(how)
        # not `communicate`, which passes over what `answer` has buffered
        out, err = self.process.stdout.read(), self.process.stderr.read()
        status = self.process.wait(60)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        return status, out, err
