"""Whether the server lives, whether it can answer, and what it counted."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from memstore.server.http import callers, metrics, problems
from memstore.server.http.guarding import ROUTE, WatchingRoute
from memstore.server.http.routes.reading import Called
from memstore.server.http.service import Service, answer
from memstore.server.scope import EVERYTHING

router = APIRouter(tags=["health"])
metrics_router = APIRouter(route_class=WatchingRoute, tags=["health"])


@dataclass(frozen=True, slots=True)
class Health:
    """How the server is."""

    status: str


@router.get("/healthz", response_model=Health)
async def healthz(request: Request) -> Response:
    """Say that the process answers."""
    request.scope[ROUTE] = "/healthz"
    return answer(Health("alive"))


@router.get("/readyz", response_model=Health)
async def readyz(request: Request) -> Response:
    """Say that the store answers: 503 while the server stops."""
    request.scope[ROUTE] = "/readyz"
    service: Service = request.app.state.service
    if service.stopping:
        raise problems.stopping()

    def work() -> Response:
        service.store.list(namespace=EVERYTHING, limit=1)  # as fast however many there are
        return answer(Health("ready"))

    return await service.watching.run(work)


@metrics_router.get("/metrics", response_class=PlainTextResponse)
async def metrics_page(call: Called) -> Response:
    """Return what the server counted, as Prometheus reads it."""
    callers.check_whole(call.scope)
    return await call.service.watching.run(
        lambda: Response(call.service.metrics.written(), media_type=metrics.CONTENT_TYPE)
    )
