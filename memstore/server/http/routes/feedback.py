"""Saying something of a stored memory: one event feeds one component.

An Idempotency-Key is the store's own here, so that it holds after a restart too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from memstore.errors import BadInput
from memstore.server.http import bodies
from memstore.server.http.callers import check_whole
from memstore.server.http.guarding import ReadRoute, WriteRoute
from memstore.server.http.problems import Problem
from memstore.server.http.routes.reading import Called
from memstore.server.http.service import Call, answer
from memstore.server.http.versions import tag_of
from memstore.types import Memory, Source

router = APIRouter(route_class=WriteRoute, tags=["feedback"])
sources_router = APIRouter(route_class=ReadRoute, tags=["feedback"])
_ID_LENGTH = 26


@dataclass(frozen=True, slots=True)
class Sources:
    """Who writes memories and votes on them."""

    sources: tuple[Source, ...]


@router.post("/v1/memories/{id:memory}/reinforce", response_model=Memory)
async def reinforce(id: str, body: bodies.ReinforceBody, call: Called) -> Response:  # noqa: A002
    """Say that a memory was used: it helped to answer."""
    return await _say(call, id, call.store.reinforce, body.fields())


@router.post("/v1/memories/{id:memory}/confirm", response_model=Memory)
async def confirm(id: str, body: bodies.ConfirmBody, call: Called) -> Response:  # noqa: A002
    """Say that a source holds a memory to be true."""
    return await _say(call, id, call.store.confirm, body.fields())


@router.post("/v1/memories/{id:memory}/contradict", response_model=Memory)
async def contradict(id: str, body: bodies.ContradictBody, call: Called) -> Response:  # noqa: A002
    """Say that a source holds a memory to be false."""
    return await _say(call, id, call.store.contradict, body.fields())


@router.post("/v1/memories/{id:memory}/retract", response_model=Memory)
async def retract(id: str, body: bodies.RetractBody, call: Called) -> Response:  # noqa: A002
    """Say that a memory was never true: no query finds it any more."""
    return await _say(call, id, call.store.retract, body.fields())


@router.post("/v1/memories/{id:memory}/importance", response_model=Memory)
async def importance(id: str, body: bodies.ImportanceBody, call: Called) -> Response:  # noqa: A002
    """Say how much a memory matters, from -1 to 1."""
    return await _say(call, id, call.store.set_importance, body.fields())


async def _say(
    call: Call, memory_id: str, verb: Callable[..., Memory], said: dict[str, Any]
) -> Response:
    def work() -> Response:
        call.scope.memory(call.store, memory_id)
        return _answer(verb(memory_id, **said, idempotency_key=call.key))

    return await call.write(work)


def _answer(memory: Memory) -> Response:
    return answer(memory, etag=tag_of(memory))


@router.post("/v1/memories/{id:memory}/supersede", response_model=Memory)
async def supersede(id: str, body: bodies.SupersedeBody, call: Called) -> Response:  # noqa: A002
    """Say that another memory holds now instead of this one, and return that one."""
    by_id = isinstance(body, bodies.SupersedeById)
    new = body.new_id if isinstance(body, bodies.SupersedeById) else body.text
    if not by_id and len(new) == _ID_LENGTH and new.isalnum() and new.isupper():
        # the store takes a text that is an id for one, be it of a memory this caller may not see
        said = "The text looks like an id. Give it as new_id, or write it otherwise."
        raise Problem(422, "invalid", said, errors=[{"pointer": "#/text", "detail": said}])

    def work() -> Response:
        call.scope.memory(call.store, id)
        try:
            if by_id:
                call.scope.memory(call.store, new)
            memory = call.store.supersede(id, new, at=body.at, idempotency_key=call.key)
        except BadInput as error:  # an unknown `new_id` too: 404 would speak of the path's
            raise Problem(409, "supersede-refused", str(error)) from error
        return _answer(memory)

    return await call.write(work)


@sources_router.get("/v1/sources", response_model=Sources)
async def sources(call: Called) -> Response:
    """List who writes memories and votes on them, and how far each is believed."""
    check_whole(call.scope)
    return await call.read(lambda: answer(Sources(call.store.sources())))


@router.put("/v1/sources/{name:path}", response_model=Source)
async def set_source(name: str, body: bodies.SourceBody, call: Called) -> Response:
    """Say how far a source is believed: for all it has written and voted, past too."""
    check_whole(call.scope)
    return await call.write(lambda: answer(call.store.set_source(name, **body.given())))
