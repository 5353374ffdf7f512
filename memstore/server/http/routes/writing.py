"""Storing, changing and forgetting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from memstore import BadInput
from memstore.server.http import bodies
from memstore.server.http.guarding import WriteRoute
from memstore.server.http.lanes import Overloaded
from memstore.server.http.problems import Problem
from memstore.server.http.routes.reading import Called
from memstore.server.http.service import Call, answer
from memstore.server.http.versions import Expected, expected_of, tag_of
from memstore.server.scope import OutsideScope
from memstore.types import ForgetReport, Memory

router = APIRouter(route_class=WriteRoute, tags=["writing"])


@dataclass(frozen=True, slots=True)
class Stored:
    """The memories of a batch, in its order."""

    memories: tuple[Memory, ...]


@router.post("/v1/memories", response_model=Memory, status_code=201)
async def add(body: bodies.NewMemoryBody, call: Called) -> Response:
    """Store one memory: 201, or 200 where it was there already."""
    fields = _fields(body, call)

    def work() -> Response:
        began = datetime.now(UTC)
        memory = call.store.add(**fields)
        status = 201 if memory.recorded_at >= began else 200
        return answer(memory, status, etag=tag_of(memory), location=f"/v1/memories/{memory.id}")

    return await call.write(work)


@router.post("/v1/memories/batch", response_model=Stored)
async def add_batch(body: bodies.BatchBody, call: Called) -> Response:
    """Store memories in one transaction, all or none."""
    given = [_fields(item, call) for item in body.memories]
    return await call.write(lambda: answer(Stored(tuple(call.store.add_many(given)))))


def _fields(body: bodies.NewMemoryBody, call: Call) -> dict[str, Any]:
    given = body.given()
    return {**given, "namespace": call.scope.to_write(body.namespace)}


@router.patch("/v1/memories/{id:memory}", response_model=Memory)
async def update(
    id: str,  # noqa: A002  # the name of the public contract
    body: bodies.UpdateBody,
    call: Called,
    expected: Annotated[Expected, Depends(expected_of)],
) -> Response:
    """Change fields of a memory; null clears one, and what is left out stays."""
    changes = body.given()

    def work() -> Response:
        version = expected.version(call.scope.memory(call.store, id))
        memory = call.store.update(id, **changes, if_version=version)
        return answer(memory, etag=tag_of(memory))

    return await call.write(work)


@router.delete("/v1/memories/{id:memory}", response_model=ForgetReport)
async def forget_one(
    id: str,  # noqa: A002
    call: Called,
    expected: Annotated[Expected, Depends(expected_of)],
    purge: Annotated[bool, Query(description="Leave no byte of it in any file.")] = False,
) -> Response:
    """Remove a memory from every result."""

    def work() -> Response:
        version = expected.version(call.scope.memory(call.store, id))
        return answer(call.store.forget(id, purge=purge, if_version=version))

    return await _forget(call, work)


@router.post("/v1/forget", response_model=ForgetReport)
async def forget(body: bodies.ForgetBody, call: Called) -> Response:
    """Remove memories from every result: those of `ids`, or all that a filter finds."""
    purge, dry_run = body.purge, body.dry_run
    if isinstance(body, bodies.ForgetByFilter):
        if call.scope.whole and body.namespace is None:
            said = "A filter alone would forget in all namespaces. Name one, or * for all."
            raise Problem(422, "invalid", said, errors=[{"pointer": "#/namespace", "detail": said}])
        namespace, where = call.scope.to_write(body.namespace), body.where

        def work() -> Response:
            return answer(
                call.store.forget(where=where, namespace=namespace, purge=purge, dry_run=dry_run)
            )

        return await _forget(call, work, dry_run=dry_run)
    ids = body.ids

    def work_by_ids() -> Response:
        # of what was forgotten before, only its id is known: whoever may see all may purge it
        if not (call.scope.whole and purge):
            for memory_id in ids:
                call.scope.memory(call.store, memory_id)
        return answer(call.store.forget(ids, purge=purge, dry_run=dry_run))

    return await _forget(call, work_by_ids, dry_run=dry_run)


async def _forget(call: Call, work: Callable[[], Response], *, dry_run: bool = False) -> Response:
    """Forget in the store, and the answers that may still say what was forgotten."""
    nothing = dry_run
    try:
        return await call.write(work)
    except (BadInput, OutsideScope, Overloaded):
        nothing = True  # it was refused before anything was done
        raise
    finally:
        if not nothing:
            call.service.kept.clear(but=call.key)
