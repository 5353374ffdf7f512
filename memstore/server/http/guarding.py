"""What every request of the API passes: its caller, its right, its body, its idempotency key.

Before FastAPI, which reads and parses a body before it looks at anything else.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from anyio import to_thread
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from memstore.errors import StoreUnwritable
from memstore.json_input import parse_json
from memstore.server.http import callers, idempotency, versions
from memstore.server.http.incoming import check_media_type, parts_of
from memstore.server.http.problems import Problem
from memstore.server.http.service import Call, Service

_IN_MEMORY = 64 * 1024  # bytes of a body that are kept there while the others arrive
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
        body = await self.body()
        try:
            if len(body) <= _IN_MEMORY:
                return parse_json(body.decode("utf-8"))
            return await to_thread.run_sync(lambda: parse_json(body.decode("utf-8")))
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
            key = key and f"http:{name}:{key}"
            self._check_unconditional(request)
            request.state.call = Call(service, scope, name, key)
            async with self.receiving(request, service) as (asked, digest):
                with self.counted(service):
                    if key is None:
                        return await verb(asked)
                    return await _answer_once(service, key, digest, lambda: verb(asked))

        return handle

    def _check_unconditional(self, request: Request) -> None:
        """Refuse a condition that this verb could not keep: to change anyway would be worse.

        Raises:
            Problem: there is one.
        """
        conditional = self.path_format == versions.CHANGED
        if self.writes and not conditional and "if-match" in request.headers:
            said = "Only PATCH and DELETE of a memory take If-Match. Leave it out here."
            errors = [{"parameter": "If-Match", "detail": said}]
            raise Problem(422, "invalid", said, errors=errors)

    def counted(self, service: Service) -> AbstractContextManager[None]:
        """Count a request as one in work. Its body is there: who sends slowly takes no place.

        Raises:
            Overloaded: there are too many.
        """
        return service.in_work.place()

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
        read = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="memstore-") as file:
            async for part in parts_of(request, limits.body_bytes, limits.body_seconds):
                read.update(part)
                _write(file, part)

            async def receive() -> Message:
                file.seek(0)
                return {"type": "http.request", "body": file.read(), "more_body": False}

            yield _StrictRequest(request.scope, receive), _digest(request, read)


class WriteRoute(ReadRoute):
    """A verb that changes the store: not for callers that may only read; once for each key."""

    writes = True


class WatchingRoute(ReadRoute):
    """A verb that looks at the server itself: answered however much is in work."""

    def counted(self, service: Service) -> AbstractContextManager[None]:
        return nullcontext()


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
        with (
            service.sending_lines.place(),
            tempfile.NamedTemporaryFile(prefix="memstore-", suffix=".jsonl") as file,
        ):
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
        said = f"A body cannot be kept in {tempfile.gettempdir()}: {error.strerror}."
        raise StoreUnwritable(said) from error


async def _answer_once(
    service: Service,
    key: str,
    asked: bytes,
    verb: Callable[[], Coroutine[Any, Any, Response]],
) -> Response:
    """Return the answer to a request under a key: the first one again, if there was one."""
    known = service.kept.begin(key, asked)
    if known is not None:
        service.metrics.replayed.inc()
        return known
    made = None
    try:
        made = await verb()
    finally:
        service.kept.end(key, made)
    return made


def _digest(request: Request, body: Any) -> bytes:
    """Return a digest of all of a request that says what is to be done."""
    asked = hashlib.sha256()
    for part in (
        request.method.encode(),
        request.scope["raw_path"],
        request.scope["query_string"],
        ", ".join(request.headers.getlist("if-match")).encode(),
        body.digest(),
    ):
        asked.update(len(part).to_bytes(8, "big"))
        asked.update(part)
    return asked.digest()
