"""A server from its start to its end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from memstore import MemoryStore
from memstore.errors import BadInput
from memstore.server import listening
from memstore.server.http.app import build_app
from memstore.server.http.connections import protocol
from memstore.server.http.options import Options, is_loopback
from memstore.server.http.service import Service


def serve(
    store: MemoryStore,
    listener: socket.socket,
    options: Options,
    *,
    announce: Callable[[], None],
) -> bool:
    """Serve a store until SIGTERM or SIGINT, and return whether all requests were finished then.

    Args:
        announce: called once requests are answered.

    Raises:
        BadInput: namespaces that cannot be served.
    """
    server = build_server(store, options, announce=announce)
    server.run(sockets=[listener])
    return server.service.reading.inside + server.service.writing.inside == 0


def build_server(store: MemoryStore, options: Options, *, announce: Callable[[], None]) -> Server:
    """Return the server that `serve` runs."""
    app = build_app(store, options)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        http=protocol(options.limits),
        timeout_keep_alive=options.limits.idle_seconds,  # type: ignore[arg-type]  # for a timer
        timeout_graceful_shutdown=max(1, round(options.limits.stop_seconds)),
    )
    return Server(config, app.state.service, announce=announce)


def listen(host: str, port: int, options: Options) -> socket.socket:
    """Return a socket that listens, if that is safe; port 0 takes any free one.

    Raises:
        BadInput: the address cannot be used, or is open to other machines without tokens.
    """
    if not options.tokens and not is_loopback(host):
        raise BadInput(
            f"Without tokens anyone who reaches {host} could read and change the store. Serve "
            "127.0.0.1 only, or say who may: --tokens FILE"
        )
    return listening.listen(host, port)


def url_of(listener: socket.socket) -> str:
    """Return the URL of what listens on a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Ends at the first signal, once requests in work are finished, and at the second at once."""

    def __init__(
        self, config: uvicorn.Config, service: Service, *, announce: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self.service = service
        self._announce = announce
        self._ends_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def end(self) -> None:
        """Say on `/readyz` that the server stops, and stop it a while later."""
        self.service.stopping = True
        self._ends_at = time.monotonic() + self.service.options.limits.drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # not uvicorn's, which ends the process by the same signal when all is done
        if self.service.stopping:
            os._exit(128 + sig)
        self.end()
