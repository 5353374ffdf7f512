"""Asking, and looking at what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from memstore.json_input import parse_json
from memstore.server.http import bodies
from memstore.server.http.guarding import ReadRoute
from memstore.server.http.problems import Problem
from memstore.server.http.service import Call, answer, call_of
from memstore.server.http.versions import Preconditions, preconditions
from memstore.types import Event, Hit, Memory, Namespace, Page, QueryResult

router = APIRouter(route_class=ReadRoute, tags=["reading"])
Called = Annotated[Call, Depends(call_of)]
_QUESTIONS = ("text", "texts")
Shown = Annotated[int, Query(ge=1, le=bodies.MOST_LISTED)]


@dataclass(frozen=True, slots=True)
class Caller:
    """What a caller may do: its namespaces, each with all below it (`*` is the whole store),
    whether it may only read, and the rerankers its queries may name.
    """

    namespaces: tuple[str, ...]
    read_only: bool
    rerankers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespaces that a caller may see and that hold memories, by name."""

    namespaces: tuple[Namespace, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to several queries, in their order."""

    results: tuple[QueryResult, ...]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Documents in the order of their relevance; `index` is a document's place in the request."""

    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What happened to a memory, oldest first."""

    events: tuple[Event, ...]


@router.get("/v1/caller", response_model=Caller)
async def caller(call: Called) -> Response:
    """Say what this caller may do."""
    scope = call.scope
    return answer(Caller(scope.namespaces, scope.read_only, call.service.options.rerankers))


@router.get("/v1/namespaces", response_model=Namespaces)
async def namespaces(call: Called) -> Response:
    """List the namespaces that hold memories, with how many each holds."""

    def work() -> Response:
        found = {
            item.name: item
            for own in call.scope.namespaces
            for item in call.store.namespaces(under=own)
        }
        return answer(Namespaces(tuple(found[name] for name in sorted(found))))

    return await call.read(work)


@router.post("/v1/query", response_model=QueryResult)
async def query(body: bodies.QueryBody, call: Called) -> Response:
    """Find the memories that answer a text best. Changes nothing."""
    options = _options(body, call)

    def work() -> Response:
        result = call.store.query(body.text, **options)
        call.service.metrics.searched(result.took)
        _check_size([result], call)
        return answer(result)

    return await call.read(work)


@router.post("/v1/query/batch", response_model=Answers)
async def query_batch(body: bodies.QueriesBody, call: Called) -> Response:
    """Answer several queries from one state of the store."""
    options = _options(body, call)
    if len(body.texts) * body.limit > bodies.MOST_BATCH_HITS:
        raise _too_many(
            f"{len(body.texts)} texts with {body.limit} hits each are more than "
            f"{bodies.MOST_BATCH_HITS:,} hits. Ask for fewer hits, or fewer texts at once."
        )

    def work() -> Response:
        results = call.store.query_many(body.texts, **options)
        for result in results:
            call.service.metrics.searched(result.took)
        _check_size(results, call)
        return answer(Answers(tuple(results)))

    return await call.read(work)


def _options(body: bodies.QueryBody | bodies.QueriesBody, call: Call) -> dict[str, Any]:
    check_reranker(body.rerank, call)
    options = {name: value for name, value in body.fields().items() if name not in _QUESTIONS}
    if body.weights is not None:
        options["weights"] = body.weights.given()
    return {**options, "namespace": call.scope.to_read(body.namespace)}


def _check_size(results: Sequence[QueryResult], call: Call) -> None:
    """Refuse an answer whose memories are too large together; a single one never is.

    Raises:
        Problem: they are.
    """
    found = [hit.memory for result in results for hit in result.hits]
    found += [item.memory for result in results for item in result.suppressed]
    found += [item.memory for result in results for item in result.dropped]
    most = call.service.options.limits.answer_characters
    if _fitting(found, most) < len(found):
        raise _too_many(
            f"The {len(found)} memories found have more than {most:,} characters together. Ask for "
            "fewer hits, with a lower limit."
        )


def _fitting(memories: Sequence[Memory], most: int) -> int:
    """Return how many memories have so many characters at most: one at least."""
    for number, memory in enumerate(memories):
        most -= len(memory.text) + len(f"{memory.metadata}{memory.entities}")
        if most < 0 and number:
            return number
    return len(memories)


def _too_many(said: str) -> Problem:
    return Problem(422, "invalid", said, errors=[{"pointer": "#/limit", "detail": said}])


def check_reranker(name: str | None, call: Call) -> None:
    """Refuse a reranker the server was not started with: its name could be any file or download.

    Raises:
        Problem: it is none of the server's.
    """
    known = ("none", *call.service.options.rerankers)
    if name is not None and name not in known:
        detail = f"This server has no reranker {name!r}. It has: {', '.join(known)}."
        raise Problem(422, "invalid", detail, errors=[{"pointer": "#/rerank", "detail": detail}])


@router.post("/v1/rank", response_model=Ranked)
async def rank(body: bodies.RankBody, call: Called) -> Response:
    """Put texts that are stored nowhere in the order of their relevance."""
    check_reranker(body.rerank, call)

    def work() -> Response:
        hits = call.store.rank(
            body.text,
            body.documents,
            rerank=body.rerank,
            on_rerank_error=body.on_rerank_error,
            limit=body.limit,
            explain=body.explain,
        )
        return answer(Ranked(tuple(hits)))

    return await call.read(work)


@router.get("/v1/memories", response_model=Page)
async def list_memories(
    call: Called,
    namespace: bodies.ReadNamespace | None = None,
    where: Annotated[str | None, Query(max_length=16_384, description="A filter, as JSON.")] = None,
    limit: Shown = 100,
    cursor: Annotated[
        str | None,
        Query(
            pattern="^-?[1-9][0-9]{0,17}$", description="Of the page before, whose order it keeps."
        ),
    ] = None,
    newest_first: bool = False,
) -> Response:
    """List memories in the order they were stored, those that hold no more too.

    Where they are large, a page has fewer than `limit`.
    """
    path = call.scope.to_read(namespace)
    condition = _filter(where)

    def read(limit: int) -> Page:
        return call.store.list(
            namespace=path,
            where=condition,
            limit=limit,
            cursor=cursor,
            newest_first=newest_first if cursor is None else cursor.startswith("-"),
        )

    def work() -> Response:
        page = read(limit)
        fitting = _fitting(page.memories, call.service.options.limits.answer_characters)
        return answer(page if fitting == len(page.memories) else read(fitting))

    return await call.read(work)


def _filter(written: str | None) -> Any:
    if written is None:
        return None
    try:
        return parse_json(written)
    except ValueError as error:
        said = f"where is not JSON: {error}."
        errors = [{"parameter": "where", "detail": said}]
        raise Problem(422, "invalid", said, errors=errors) from error


@router.get("/v1/memories/by-key", response_model=Memory)
async def memory_by_key(
    call: Called,
    conditions: Annotated[Preconditions, Depends(preconditions)],
    key: Annotated[str, Query(min_length=1, max_length=1024)],
    namespace: bodies.Namespace | None = None,
) -> Response:
    """Return the latest memory of a key."""
    path = _one_namespace(call, namespace)

    def work() -> Response:
        return conditions.answer(call.store.get_by_key(key, namespace=path))

    return await call.read(work)


def _one_namespace(call: Call, asked: str | None) -> str:
    return replace(call.scope, read_only=False).to_write(asked)  # one, where reading takes many


@router.get("/v1/memories/{id:memory}", response_model=Memory)
async def memory(
    id: str,  # noqa: A002  # the name of the public contract
    call: Called,
    conditions: Annotated[Preconditions, Depends(preconditions)],
) -> Response:
    """Return a memory."""
    return await call.read(lambda: conditions.answer(call.scope.memory(call.store, id)))


@router.get("/v1/memories/{id:memory}/history", response_model=History)
async def history(id: str, call: Called) -> Response:  # noqa: A002
    """Return what happened to a memory; to one that was forgotten only for the whole store."""

    def work() -> Response:
        if not call.scope.whole:
            call.scope.memory(call.store, id)
        return answer(History(tuple(_told(event, call) for event in call.store.history(id))))

    return await call.read(work)


def _told(event: Event, call: Call) -> Event:
    """Return an event with the key that this caller gave; those of other callers are their own."""
    mine, key = f"http:{call.caller}:", event.idempotency_key
    if key is None or not key.startswith("http:"):
        return event
    shown = key.removeprefix(mine) if key.startswith(mine) else None
    return replace(event, idempotency_key=shown)
