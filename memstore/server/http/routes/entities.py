"""Names as memories mention them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from memstore.errors import BadInput
from memstore.server.http import bodies
from memstore.server.http.guarding import ReadRoute, WriteRoute
from memstore.server.http.problems import Problem
from memstore.server.http.routes.reading import Called, Shown
from memstore.server.http.service import answer
from memstore.types import Entity, Neighbour

router = APIRouter(route_class=ReadRoute, tags=["entities"])
alias_router = APIRouter(route_class=WriteRoute, tags=["entities"])
Spelled = Annotated[str, Query(min_length=1, max_length=1024)]


@dataclass(frozen=True, slots=True)
class Entities:
    """Entities, most mentioned first."""

    entities: tuple[Entity, ...]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What is mentioned together with an entity, strongest ties first."""

    neighbours: tuple[Neighbour, ...]


@router.get("/v1/entities", response_model=Entities)
async def entities(
    call: Called,
    namespace: bodies.ReadNamespace | None = None,
    prefix: Annotated[str, Query(max_length=1024)] = "",
    limit: Shown = 100,
) -> Response:
    """List the people, places and things that memories mention."""
    path = call.scope.to_read(namespace)
    return await call.read(
        lambda: answer(Entities(call.store.entities(namespace=path, prefix=prefix, limit=limit)))
    )


@router.get("/v1/neighbours", response_model=Neighbours)
async def neighbours(
    call: Called, entity: Spelled, namespace: bodies.ReadNamespace | None = None, limit: Shown = 32
) -> Response:
    """List what at least two memories mention together with an entity."""
    path = call.scope.to_read(namespace)
    return await call.read(
        lambda: answer(Neighbours(call.store.neighbours(entity, namespace=path, limit=limit)))
    )


@alias_router.post("/v1/aliases", status_code=204)
async def alias(body: bodies.AliasBody, call: Called) -> Response:
    """Let a name stand for an entity, in a namespace and all below it."""
    path = call.scope.to_write(body.namespace)

    def work() -> Response:
        call.store.alias(body.name, of=body.of, namespace=path)
        return Response(status_code=204)

    return await call.write(work)


@alias_router.delete("/v1/aliases", status_code=204)
async def remove_alias(
    call: Called, name: Spelled, namespace: bodies.Namespace | None = None
) -> Response:
    """Let a name stand for itself again."""
    path = call.scope.to_write(namespace)

    def work() -> Response:
        try:
            call.store.remove_alias(name, namespace=path)
        except BadInput as error:
            raise Problem(404, "alias-not-found", str(error)) from error
        return Response(status_code=204)

    return await call.write(work)
