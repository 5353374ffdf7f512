"""The outermost layer: what is refused before it is looked at, what is counted, what is logged."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memstore.server.http import problems
from memstore.server.http.guarding import ROUTE
from memstore.server.http.options import Options, is_loopback
from memstore.server.http.problems import Problem
from memstore.server.http.service import Service

logger = logging.getLogger("memstore.http")

_PROBES = frozenset(("/healthz", "/readyz"))  # asked by address, and hold no data
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Gate:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status: int | None = None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        async def refuse(problem: Problem) -> None:
            await problem.response(scope["path"])(scope, receive, answer)

        service = self._service
        service.metrics.in_flight.inc()
        try:
            problem = self._problem(scope)
            if problem is None:
                await self._app(scope, receive, answer)
            else:
                await refuse(problem)
        except ClientDisconnect:
            status = None
        except asyncio.CancelledError:
            # at the end of the server alone; uvicorn would log it as a failure of the application
            if status is None:
                await refuse(_CUT_OFF)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope.get(ROUTE, "?"))
            if status is None:
                await refuse(problems.internal())
            else:
                raise
        finally:
            service.metrics.in_flight.dec()
            seconds = time.perf_counter() - began
            route = scope.get(ROUTE, "other")
            service.metrics.answered(route, scope["method"], status or _GONE, seconds)
            said = (scope["method"], route, status or _GONE, seconds * 1000)
            logger.info("%s %s %s %.1f ms", *said)

    def _problem(self, scope: Scope) -> Problem | None:
        """Return why a request is refused at the door; None if it is not."""
        headers = Headers(scope=scope)
        if scope["path"] in _PROBES:
            return None
        return wrong_host(headers, self._service.options) or _from_elsewhere(scope, headers)


_GONE = 499  # what is counted where the client left before it had an answer
_CUT_OFF = Problem(
    503,
    "cut-off",
    "The server stopped before the request was done; whether it still was, is unknown. Look, or "
    "ask again: with the same Idempotency-Key, what the store keeps of it is not done twice.",
)


def wrong_host(headers: Headers, options: Options) -> Problem | None:
    """Return the problem of a request that meant another host.

    Where there are no tokens, a page from anywhere could else let its own name point to this
    machine, and read all of it in the browser of who visits it (DNS rebinding).
    """
    said = headers.get("host")
    if said is None or (options.tokens and not options.hosts):
        return None  # HTTP/1.0 may leave it out, which no browser does
    host = _name(said)
    if is_loopback(host) or host in options.hosts:
        return None
    return Problem(
        HTTPStatus.MISDIRECTED_REQUEST,
        "wrong-host",
        f"This server is not called {host!r}. Its operator may allow that: --allow-host {host}",
    )


def _name(host: str) -> str:
    """Return the name in a Host header, without the port.

    >>> _name("[::1]:80"), _name("LocalHost:80"), _name("localhost")
    ('::1', 'localhost', 'localhost')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _from_elsewhere(scope: Scope, headers: Headers) -> Problem | None:
    """Return the problem of a change that a page of another origin asks a browser for.

    A browser sends it without asking if it looks like a form's, and only hides the answer.
    """
    origin = headers.get("origin")
    if scope["method"] in _SAFE_METHODS or origin is None:
        return None
    if origin.partition("://")[2].lower() == headers.get("host", "").lower():
        return None
    return Problem(403, "cross-origin", "A page of another origin may change nothing here.")
