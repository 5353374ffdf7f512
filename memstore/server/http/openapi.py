"""What the API says of itself in `/openapi.json`, where FastAPI cannot know it: errors, tokens,
headers, and what `wire` does to the dataclasses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from memstore.server.http import bodies, filters, problems, versions
from memstore.server.http.guarding import LinesRoute, ReadRoute, WriteRoute
from memstore.server.http.idempotency import MOST_CHARACTERS, PATTERN

_REFERENCE = "#/components/schemas/"
_SAID = {
    400: "Not JSON, or JSON that means nothing certain.",
    401: "No token, or none of this server.",
    403: "The caller may not see or change that.",
    404: "No such memory, as far as the caller may see.",
    408: "The body came too slowly.",
    409: "In work already (idempotency-key-in-work), or changed by someone else meanwhile.",
    412: "The memory has another version than those in If-Match.",
    413: "The body is too large.",
    415: "The body is of another kind, or compressed.",
    421: "The server has another name.",
    422: "A value cannot be accepted: by the shape of the request, or by the store.",
    500: "The server failed, or the store is damaged.",
    502: "The reranker does not answer.",
    503: "Too many requests, another process writes, or the server stops: Retry-After says when.",
    507: "The disk is full or refuses.",
}
_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "The memory's version, quoted."}}
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "The memory's path."}}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_TAGGED = ("/v1/memories/by-key", "/v1/memories/{id}")
_FINDS = (("GET", "/v1/memories/by-key"), ("POST", "/v1/forget"), ("DELETE", "/v1/aliases"))
_SEARCHES = ("/v1/query", "/v1/query/batch", "/v1/rank")


def complete(
    document: dict[str, Any],
    routers: Iterable[APIRouter],
    *,
    tokens: bool,
    rerankers: Sequence[str],
) -> None:
    """Add to a document what FastAPI left out.

    Args:
        tokens: the server asks for them.
        rerankers: those it has.
    """
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _correct(schemas)
    _fill(schemas, [*rerankers, "none"])
    _add_problem(schemas)
    schemas[filters.NAME] = filters.filter_schema(_REFERENCE + filters.NAME)
    if tokens:
        scheme = {"type": "http", "scheme": "bearer"}
        document["components"]["securitySchemes"] = {"token": scheme}
    _add_links(document["paths"])
    for route in _routes(routers):
        for method in sorted(route.methods or ()):
            operation = document["paths"][route.path_format][method.lower()]
            _add_responses(operation, route, method, tokens=tokens)
            for parameter in operation.get("parameters", ()):
                _leave_out_null(parameter)
            if isinstance(route, ReadRoute) and tokens:
                operation["security"] = [{"token": []}]
            if isinstance(route, WriteRoute):
                operation.setdefault("parameters", []).append(_KEY)
            if isinstance(route, LinesRoute):
                operation["requestBody"] = _LINES


def _routes(routers: Iterable[APIRouter]) -> Iterator[APIRoute]:
    for router in routers:
        for route in router.routes:
            yield cast("APIRoute", route)


def _fill(schema: Any, rerankers: Sequence[str]) -> None:
    """Put the schema of filters and the names of rerankers where `bodies` left a place."""
    if isinstance(schema, list):
        for item in schema:
            _fill(item, rerankers)
    elif isinstance(schema, dict):
        kind = schema.get("format")
        if kind == bodies.FILTER:
            described = {name: schema[name] for name in ("description",) if name in schema}
            least = {"minProperties": 1} if schema.get("minProperties") else {}
            schema.clear()
            schema.update({"$ref": _REFERENCE + filters.NAME, **described, **least})
        elif kind == bodies.RERANKER:
            del schema["format"], schema["maxLength"]
            schema["enum"] = list(rerankers)
        for item in schema.values():
            _fill(item, rerankers)


def _leave_out_null(parameter: dict[str, Any]) -> None:
    """Say that a parameter may be left out, but not that it may be null: it is a string."""
    if parameter["name"] == "where":
        content = {"application/json": {"schema": {"$ref": _REFERENCE + filters.NAME}}}
        del parameter["schema"]
        parameter["content"] = content
        return
    options = parameter["schema"].pop("anyOf", None)
    if options is not None:
        parameter["schema"].update(next(option for option in options if option != {"type": "null"}))


def _add_problem(schemas: dict[str, Any]) -> None:
    found = TypeAdapter(problems.ProblemDocument).json_schema(ref_template=_REFERENCE + "{model}")
    schemas.update(found.pop("$defs"))
    schemas["ProblemDocument"] = found


def _correct(schemas: dict[str, Any]) -> None:
    """Say how answers are written: all fields are there, and durations are seconds."""
    for schema in schemas.values():
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is False:
            continue  # of a request, whose fields may be left out
        schema["required"] = list(properties)
        for field in properties.values():
            for option in field.get("anyOf", ()):
                if option.get("format") == "duration":
                    option.clear()
                    option.update({"type": "number", "description": "seconds"})
    memory = schemas["Memory"]
    memory["properties"]["version"] = {
        "type": "string",
        "description": "Becomes another one with any change; ETag has it in quotes.",
    }
    memory["required"].append("version")


def _add_responses(
    operation: dict[str, Any], route: APIRoute, method: str, *, tokens: bool
) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    for status in _statuses(route, method, tokens=tokens):
        content = {problems.MEDIA_TYPE: {"schema": {"$ref": f"{_REFERENCE}ProblemDocument"}}}
        answers[str(status)] = {"description": _SAID[status], "content": content}
        if status == 503:
            answers["503"]["headers"] = _RETRY
    conditional = {"GET": "If-None-Match", "PATCH": "If-Match", "DELETE": "If-Match"}.get(method)
    if conditional is not None and route.path_format in _TAGGED:
        operation["parameters"].append(_condition(conditional))
    if method == "GET" and route.path_format in _TAGGED:
        answers["304"] = {"description": "The caller knows this version.", "headers": _ETAG}
        answers["200"]["headers"] = _ETAG
    if method == "PATCH":
        answers["200"]["headers"] = _ETAG
    if (method, route.path_format) == ("POST", "/v1/memories"):
        answers["200"] = {**answers["201"], "description": "It was there already."}
        for known in ("200", "201"):
            answers[known]["headers"] = {**_ETAG, **_LOCATION}


def _statuses(route: APIRoute, method: str, *, tokens: bool) -> set[int]:
    """Return the errors a verb may be answered with."""
    path = route.path_format
    found = {500, 503}
    if not isinstance(route, ReadRoute):
        return found | {507} if path == "/readyz" else found
    found |= {403, 421, 422, 507}
    if tokens:
        found.add(401)
    if method != "GET":
        found |= {400, 408, 413, 415}
    if isinstance(route, WriteRoute):
        found.add(409)
    if "{id}" in path or (method, path) in _FINDS:
        found.add(404)
    if method in ("PATCH", "DELETE") and "{id}" in path:
        found.add(412)
    if path in _SEARCHES:
        found.add(502)
    return found


def _add_links(paths: dict[str, Any]) -> None:
    """Say what may be done with a memory that was just stored."""
    links = {
        operation["operationId"]: {
            "operationId": operation["operationId"],
            "parameters": {"id": "$response.body#/id"},
        }
        for path, operations in paths.items()
        if "{id}" in path
        for operation in operations.values()
    }
    paths["/v1/memories"]["post"]["responses"]["201"]["links"] = links


def _condition(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": "What ETag said, in its double quotes; several with commas; or `*`.",
        "schema": {"type": "string", "pattern": versions.PATTERN},
    }


_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Under the same key, the same request is done once, and answered as then.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": MOST_CHARACTERS,
        "pattern": PATTERN,
    },
}
_LINES = {
    "required": True,
    "description": "A JSON object per line, as `memstore ingest` reads them.",
    "content": {
        "application/x-ndjson": {
            "example": '{"text": "Ana moved to Lisbon.", "id": "ana.city"}\n',
        }
    },
}
