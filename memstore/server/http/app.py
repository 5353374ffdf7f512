"""The application: the verbs, the page, and what is around them."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from memstore import MemoryStore, __version__
from memstore.errors import MemstoreError
from memstore.server.http import openapi, problems
from memstore.server.http.gate import Gate
from memstore.server.http.guarding import ROUTE
from memstore.server.http.lanes import Overloaded
from memstore.server.http.options import Options
from memstore.server.http.routes import entities, feedback, health, lines, reading, upkeep, writing
from memstore.server.http.service import Service
from memstore.server.page import page_routes

logger = logging.getLogger("memstore.http")
_ROUTERS = (
    reading.router,
    writing.router,
    feedback.router,
    feedback.sources_router,
    entities.router,
    entities.alias_router,
    lines.router,
    lines.export_router,
    upkeep.router,
    upkeep.write_router,
    health.router,
    health.metrics_router,
)


def build_app(store: MemoryStore, options: Options) -> FastAPI:
    """Return the application that serves a store; it closes nothing.

    Raises:
        BadInput: a token's or the server's namespaces cannot be served.
    """
    for scope in (options.scope, *(t.scope.narrowed(options.scope) for t in options.tokens)):
        for namespace in scope.namespaces:
            store.namespaces(under=namespace)  # refuses what is no path
    app = FastAPI(
        title="memstore",
        version=__version__,
        description="A memory store for agents: plain text in, ranked and explained answers out.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = Service(store, options)
    app.add_middleware(Gate, service=app.state.service)
    for kind in (HTTPException, RequestValidationError, Overloaded, MemstoreError):
        app.add_exception_handler(kind, _answer_problem)
    for router in _ROUTERS:
        app.include_router(router)
    app.router.routes.extend(page_routes())
    openapi.complete(
        app.openapi(), _ROUTERS, tokens=bool(options.tokens), rerankers=options.rerankers
    )
    return app


async def _answer_problem(request: Request, error: Exception) -> Response:
    problem = problems.of_anything(
        error, conditional="if-match" in request.headers, allowed=_allowed(request)
    )
    if problem.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("%s %s: %s", request.method, request.scope.get(ROUTE, "other"), error)
    return problem.response(request.scope["path"])


def _allowed(request: Request) -> str | None:
    """Return the methods that the path of a request knows."""
    found: set[str] = set()
    pages = (route for route in request.app.router.routes if isinstance(route, Route))
    for route in (*(route for router in _ROUTERS for route in router.routes), *pages):
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(found)) or None
