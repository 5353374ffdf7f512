"""Stands in for the rerank services of Cohere and Jina, on this machine and without a model.

Needs the standard library alone, so that it can be loaded from anywhere by its path:

    hosted_service = runpy.run_path("tests/rerank/hosted_service.py")["hosted_service"]
    with hosted_service(keys={"right-key"}) as service:
        service.fail(429, {"Retry-After": "1"})
        ...  # requests to service.url, then look into service.log
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

COHERE, JINA = "/v2/rerank", "/v1/rerank"
DRIP_SECONDS = 0.01  # between two bytes


class Request(NamedTuple):
    """A request as it came in."""

    path: str
    body: Any
    authorization: str | None
    headers: Mapping[str, str]
    connection: int  # the client's port: the same for requests over one connection


def overlap(query: str, document: str) -> float:
    """Return the share of the query's words that the document has.

    >>> overlap("where does Ana live", "Ana lives where it rains")
    0.5
    """
    asked, found = (set(re.findall(r"\w+", text.lower())) for text in (query, document))
    return len(asked & found) / len(asked) if asked else 0.0


class HostedService:
    """What a test tells the service, and what the service tells of its requests.

    Each of `fail`, `answer`, `hang` … is about one request; they are used up in their order before
    requests are answered properly.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.url = ""
        self.log: list[Request] = []
        self.keys = set(keys)
        self.stopping = threading.Event()
        self.abandoned = threading.Event()  # a client did not wait for its answer
        self._queue: deque[Callable[[_Handler], None]] = deque()

    def fail(self, status: int, headers: Mapping[str, str] | None = None, body: Any = None) -> None:
        """Answer with this status. The body is bytes, or made into JSON."""
        self._queue.append(lambda handler: handler.reply(status, body, headers))

    def answer(self, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer 200 with this body."""
        self.fail(200, headers, body)

    def hang(self) -> None:
        """Never answer."""
        self._queue.append(lambda handler: handler.hang())

    def hang_up(self) -> None:
        """Close the connection without an answer."""
        self.babble(b"")

    def break_off(self) -> None:
        """Close the connection in the middle of the answer."""
        self.babble(_head(1000) + b'{"results": [')

    def babble(self, content: bytes) -> None:
        """Send this instead of an answer in HTTP."""
        self._queue.append(lambda handler: handler.send(content))

    def drip(self) -> None:
        """Send the answer's head, then byte after byte of its body without an end."""
        self._queue.append(lambda handler: handler.drip(_head(10**9)))

    def drip_head(self) -> None:
        """Send byte after byte of the answer's head without an end."""
        self._queue.append(lambda handler: handler.drip(b"HTTP/1.1 200 OK\r\nX-Long: "))

    def next_reply(self) -> Callable[[_Handler], None]:
        return self._queue.popleft() if self._queue else _Handler.rerank


def _head(length: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self.body = json.loads(body)
        except ValueError:
            self.body = None
        service = self.server.service
        authorization = self.headers.get("Authorization")
        port = self.client_address[1]
        service.log.append(Request(self.path, self.body, authorization, dict(self.headers), port))
        service.next_reply()(self)

    def rerank(self) -> None:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.path not in (COHERE, JINA):
            return self.refuse(404, "not found")
        if bearer not in self.server.service.keys:
            return self.refuse(401, "invalid api token")
        if not isinstance(self.body, dict) or not {"model", "query"} <= set(self.body):
            return self.refuse(422, "model and query are required")
        if not self.body.get("documents"):
            return self.refuse(400 if self.path == COHERE else 422, "documents must not be empty")
        return self.reply(200, self.scored())

    def scored(self) -> dict[str, Any]:
        query, documents = self.body["query"], self.body["documents"]
        texts = [text if isinstance(text, str) else text["text"] for text in documents]
        results: list[dict[str, Any]] = [
            {"index": index, "relevance_score": overlap(query, text)}
            for index, text in enumerate(texts)
        ]
        results.sort(key=lambda result: (-result["relevance_score"], result["index"]))
        del results[self.body.get("top_n") or len(results) :]
        if self.path == COHERE:
            meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
            return {"id": "00000000-0000", "results": results, "meta": meta}
        if self.body.get("return_documents", True):
            results = [found | {"document": {"text": texts[found["index"]]}} for found in results]
        usage = {"total_tokens": sum(len(text.split()) for text in texts)}
        model = self.body["model"]
        return {"model": model, "object": "list", "usage": usage, "results": results}

    def refuse(self, status: int, message: str) -> None:
        self.reply(status, {"message" if self.path == COHERE else "detail": message})

    def reply(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if status in (204, 304):  # have no body
            content = b""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def send(self, content: bytes) -> None:
        self.wfile.write(content)
        self.close_connection = True

    def hang(self) -> None:
        self.close_connection = True
        if not self.rfile.read(1):  # until the client goes away
            self.server.service.abandoned.set()

    def drip(self, content: bytes) -> None:
        service = self.server.service
        self.send(content)
        try:
            while not service.stopping.wait(DRIP_SECONDS):
                self.wfile.write(b"x")
        except OSError:
            service.abandoned.set()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - as in the parent
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the answers under way

    def __init__(self, service: HostedService) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service
        self.connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what tests are about."""

    def stop(self) -> None:
        self.service.stopping.set()
        self.shutdown()
        for connection in list(self.connections):  # handlers wait there for the next request
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


@contextlib.contextmanager
def hosted_service(*, keys: Iterable[str] = ("right-key",)) -> Iterator[HostedService]:
    """Run the service at `service.url` while the context is open."""
    service = HostedService(keys)
    server = _Server(service)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield service
    finally:
        server.stop()
        thread.join()
