"""What every request of the API passes: its caller, its right, its body, its idempotency key.

Before FastAPI, which reads and parses a body before it looks at anything else.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from memstore.errors import StoreUnwritable
from memstore.json_input import parse_json
from memstore.server.http import callers, idempotency
from memstore.server.http.incoming import check_media_type, parts_of
from memstore.server.http.problems import Problem
from memstore.server.http.service import Call, Service

ROUTE = "memstore.route"  # where the scope of a request says which route it took
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _MemoryId(Convertor[str]):
    """An id in a path: whatever is no word of the paths beside it."""

    regex = "(?!(?:by-key|batch)$)[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("memory", _MemoryId())


class _StrictRequest(Request):
    """A request whose body was read, and is JSON that means one thing."""

    async def json(self) -> Any:
        try:
            return parse_json((await self.body()).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Problem(400, "malformed", f"The body is not UTF-8: {error.reason}.") from error
        except ValueError as error:
            raise Problem(400, "malformed", f"The body is not JSON: {error}.") from error


class ReadRoute(APIRoute):
    """A verb that changes nothing."""

    writes = False
    media_types: tuple[str, ...] = ("application/json",)

    def get_route_handler(self) -> Handler:
        verb = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.scope[ROUTE] = self.path_format
            service: Service = request.app.state.service
            name, scope = callers.caller_of(request, service.options)
            if self.writes:
                callers.check_writable(scope)
            written = request.headers.getlist("idempotency-key") if self.writes else []
            key = idempotency.key_of(written)
            request.state.call = Call(service, scope, name, key and f"http:{name}:{key}")
            async with self.receiving(request, service) as (asked, digest):
                if key is None:
                    return await verb(asked)
                return await _answer_once(service, name, key, digest, lambda: verb(asked))

        return handle

    @asynccontextmanager
    async def receiving(
        self, request: Request, service: Service
    ) -> AsyncIterator[tuple[Request, bytes]]:
        """Read the body, and give the request with it and a digest of all that was asked."""
        if request.method == "GET":
            yield request, b""
            return
        check_media_type(request, self.media_types)
        limits = service.options.limits
        parts = [part async for part in parts_of(request, limits.body_bytes, limits.body_seconds)]
        body = b"".join(parts)

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        yield _StrictRequest(request.scope, receive), _digest(request, hashlib.sha256(body))


class WriteRoute(ReadRoute):
    """A verb that changes the store: not for callers that may only read; once for each key."""

    writes = True


class LinesRoute(WriteRoute):
    """A verb that takes lines of JSON, as many as no memory should hold: they are in a file, whose
    path is `request.state.lines` while the verb runs.
    """

    media_types = ("application/x-ndjson", "application/jsonl", "application/json-lines")

    @asynccontextmanager
    async def receiving(
        self, request: Request, service: Service
    ) -> AsyncIterator[tuple[Request, bytes]]:
        check_media_type(request, self.media_types)
        limits = service.options.limits
        read = hashlib.sha256()
        with tempfile.NamedTemporaryFile(prefix="memstore-", suffix=".jsonl") as file:
            async for part in parts_of(request, limits.ingest_bytes, limits.body_seconds):
                read.update(part)
                _write(file, part)
            request.state.lines = Path(file.name)
            yield request, _digest(request, read)


def _write(file: IO[bytes], part: bytes) -> None:
    try:
        file.write(part)
        file.flush()
    except OSError as error:
        raise StoreUnwritable(f"{file.name} cannot be written: {error.strerror}.") from error


async def _answer_once(
    service: Service,
    caller: str,
    key: str,
    asked: bytes,
    verb: Callable[[], Coroutine[Any, Any, Response]],
) -> Response:
    """Return the answer to a request under a key: the first one again, if there was one."""
    known = service.kept.begin(caller, key, asked)
    if known is not None:
        service.metrics.replayed.inc()
        return known
    made = None
    try:
        made = await verb()
    finally:
        service.kept.end(caller, key, made)
    return made


def _digest(request: Request, body: Any) -> bytes:
    """Return a digest of all of a request that says what is to be done."""
    asked = hashlib.sha256()
    for part in (
        request.method.encode(),
        request.scope["raw_path"],
        request.scope["query_string"],
        request.headers.get("if-match", "").encode(),
        body.digest(),
    ):
        asked.update(len(part).to_bytes(8, "big"))
        asked.update(part)
    return asked.digest()
