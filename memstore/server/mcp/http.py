"""Serving over streamable HTTP: one path, a bearer token, and only the names it is known by."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Sequence
from typing import Any

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SECONDS_TO_END = 60  # for answers under way, after SIGTERM: as long as on standard output


class Gate:
    """Lets through who sends the token, to ask something.

    A stream from the server, which a GET would open, and a session, which a DELETE would end, are
    not to be had: every request stands alone.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refused(scope) if scope["type"] == "http" else None
        try:
            await (self._app if refused is None else refused)(scope, receive, send)
        except asyncio.CancelledError:  # by the end of the server: nothing else cancels a request
            ending = {"error": "ending", "error_description": "Ask again whether it was done."}
            await JSONResponse(ending, 503)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if self._token is not None and not (
            kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)
        ):
            said = {"error": "invalid_token", "error_description": "Send the server's token."}
            return JSONResponse(said, 401, headers={"WWW-Authenticate": "Bearer"})
        if scope["method"] in ("GET", "HEAD", "DELETE"):
            return Response(status_code=405, headers={"Allow": "POST"})
        return None


def build_app(
    server: Server[dict[str, Any]], *, names: Sequence[str] = LOOPBACK, token: str | None = None
) -> ASGIApp:
    """Return the ASGI application, with the server at `PATH`.

    Each answer is one JSON document, and nothing is kept between requests: clients go on after a
    restart.

    Args:
        names: what clients may call the host, in `Host` and `Origin`. A page that a browser loaded
            under another name, to which an attacker made an address here belong, is refused.
        token: what every request must bear; None lets everybody in.
    """
    hosts = [host for name in names for host in (name, f"{name}:*")]
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        transport_security=TransportSecuritySettings(
            allowed_hosts=hosts,
            allowed_origins=[f"{way}://{host}" for way in ("http", "https") for host in hosts],
        ),
    )
    return Gate(app, token)


def serve_http(app: ASGIApp, listening: socket.socket) -> None:
    """Answer clients until SIGTERM or SIGINT; the socket is bound already."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would go to standard output, and name every client
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    uvicorn.Server(config).run(sockets=[listening])
