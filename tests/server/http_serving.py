"""A real server on a free port, for as long as a block lasts; and a request for each verb."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from memstore import MemoryStore
from memstore.server.http.options import Options
from memstore.server.http.running import Server, build_server, listen, url_of
from memstore.server.http.tokens import Token
from memstore.server.scope import Scope


@contextlib.contextmanager
def running(store: MemoryStore, **options: Any) -> Iterator[tuple[str, Server]]:
    """Serve a store from a thread; gives the URL, and the server itself."""
    said = Options(**options)
    with listen("127.0.0.1", 0, said) as listener:
        url = url_of(listener)
        answers = threading.Event()
        server = build_server(store, said, announce=answers.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert answers.wait(30)
            yield url, server
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextlib.contextmanager
def serving(store: MemoryStore, **options: Any) -> Iterator[httpx.Client]:
    """Serve a store from a thread; gives a client of it."""
    with running(store, **options) as (url, _), httpx.Client(base_url=url, timeout=60) as client:
        yield client


def token(name: str, *namespaces: str, read_only: bool = False) -> Token:
    """A token whose secret is `secret-NAME`."""
    digest = hashlib.sha256(f"secret-{name}".encode()).hexdigest()
    return Token(name, digest, Scope(namespaces or ("*",), read_only))


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer secret-{name}"}


@dataclass(frozen=True)
class Verb:
    """A verb of the API, and the right request to it; `{id}` in the path stands for a memory's."""

    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    lines: str | None = None
    writes: bool = False
    whole: bool = False  # speaks of the whole store

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def send(self, client: httpx.Client, id_: str = "none", **more: Any) -> httpx.Response:
        sent: dict[str, Any] = {"params": self.params, "headers": dict(more.pop("headers", {}))}
        if self.json is not None:
            sent["json"] = self.json
        if self.lines is not None:
            sent["content"] = self.lines
            sent["headers"]["Content-Type"] = "application/x-ndjson"
        return client.request(self.method, self.path.replace("{id}", id_), **sent | more)


def verb(method: str, path: str, **options: Any) -> Verb:
    return Verb(method, path, **options)


NOTHING = {"where": {"key": "nothing"}, "namespace": "*"}
VERBS = [
    verb("GET", "/v1/caller"),
    verb("GET", "/v1/namespaces"),
    verb("POST", "/v1/query", json={"text": "tea"}),
    verb("POST", "/v1/query/batch", json={"texts": ["tea", "coffee"]}),
    verb("POST", "/v1/rank", json={"text": "tea", "documents": ["tea", "coffee"]}),
    verb("GET", "/v1/memories"),
    verb("POST", "/v1/memories", json={"text": "Tea is brewed."}, writes=True),
    verb("POST", "/v1/memories/batch", json={"memories": [{"text": "Coffee too."}]}, writes=True),
    verb("GET", "/v1/memories/by-key", params={"key": "ana.city"}),
    verb("GET", "/v1/memories/{id}"),
    verb("PATCH", "/v1/memories/{id}", json={"title": "A title"}, writes=True),
    verb("DELETE", "/v1/memories/{id}", writes=True),
    verb("GET", "/v1/memories/{id}/history"),
    verb("POST", "/v1/memories/{id}/reinforce", json={}, writes=True),
    verb("POST", "/v1/memories/{id}/confirm", json={"source": "Bob"}, writes=True),
    verb("POST", "/v1/memories/{id}/contradict", json={"source": "Bob"}, writes=True),
    verb("POST", "/v1/memories/{id}/supersede", json={"text": "Instead."}, writes=True),
    verb("POST", "/v1/memories/{id}/retract", json={"reason": "Never so."}, writes=True),
    verb("POST", "/v1/memories/{id}/importance", json={"importance": 0.5}, writes=True),
    verb("POST", "/v1/forget", json=NOTHING, writes=True),
    verb("GET", "/v1/entities"),
    verb("GET", "/v1/neighbours", params={"entity": "Ana"}),
    verb("POST", "/v1/aliases", json={"name": "Annie", "of": "Ana"}, writes=True),
    verb("DELETE", "/v1/aliases", params={"name": "Annie"}, writes=True),
    verb("POST", "/v1/ingest", lines='{"text": "A line.", "id": "line"}\n', writes=True),
    verb("GET", "/v1/export", whole=True),
    verb("GET", "/v1/sources", whole=True),
    verb("PUT", "/v1/sources/Bob", json={"reliability": 0.9}, writes=True, whole=True),
    verb("GET", "/v1/stats", whole=True),
    verb("POST", "/v1/verify", json={}, whole=True),
    verb("POST", "/v1/compact", writes=True, whole=True),
    verb("GET", "/metrics", whole=True),
]
OPEN = {"GET /healthz", "GET /readyz"}  # without a token
by_name: Callable[[Verb], str] = lambda item: item.name  # noqa: E731  # ids of parametrized tests
