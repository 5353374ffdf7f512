"""Errors as answers: problem documents (RFC 9457) for whatever goes wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from memstore.errors import (
    BadInput,
    IndexDamaged,
    MemoryNotFound,
    MemstoreError,
    MissingExtra,
    RateLimited,
    RerankerUnavailable,
    ServiceError,
    StoreLocked,
    StoreUnwritable,
    VersionConflict,
)
from memstore.server.http.lanes import Overloaded
from memstore.server.scope import OutsideScope

MEDIA_TYPE: Final = "application/problem+json"
_MOST_ERRORS: Final = 20
_MOST_CHARACTERS: Final = 2000  # of what repeats a request: it may be long
_SOON: Final = 1  # seconds after which it is worth while to ask again
_LATER: Final = 5


class Problem(HTTPException):
    """An error that is answered with a problem document.

    `name` tells programs what happened, `detail` people. It is an HTTPException because FastAPI
    lets these alone pass while it reads a body.
    """

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.name = name
        self.errors = tuple(errors)

    def response(self, instance: str) -> Response:
        """Return it as an answer to a request for the path `instance`."""
        return Response(
            document(self.status_code, self.name, self.detail, instance, self.errors),
            self.status_code,
            headers=dict(self.headers or {}),
            media_type=MEDIA_TYPE,
        )


def document(
    status: int,
    name: str,
    detail: str,
    instance: str,
    errors: Sequence[Mapping[str, str]] = (),
) -> bytes:
    """Return a problem document. What no UTF-8 can hold is written as question marks."""
    held: dict[str, Any] = {
        "type": f"urn:memstore:problem:{name}",
        "title": title(status),
        "status": status,
        "detail": _clipped(detail),
        "instance": _clipped(instance),
    }
    if errors:
        held["errors"] = [
            {name: _clipped(said) for name, said in error.items()} for error in errors
        ]
    return json.dumps(held, ensure_ascii=False).encode("utf-8", "replace")


def _clipped(said: str) -> str:
    return said if len(said) <= _MOST_CHARACTERS else f"{said[:_MOST_CHARACTERS]}…"


def title(status: int) -> str:
    """Return what HTTP calls a status."""
    return HTTPStatus(status).phrase


class FieldError(BaseModel):
    """What is wrong with one part of a request."""

    detail: str
    pointer: str | None = Field(None, description="JSON Pointer into the body, as `#/limit`.")
    parameter: str | None = Field(None, description="The parameter's or header's name.")


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="`urn:memstore:problem:NAME`, which programs may rely on.")
    title: str
    status: int
    detail: str = Field(description="What happened, and what to do, for people.")
    instance: str = Field(description="The path that was asked for.")
    errors: list[FieldError] | None = Field(None, description="The first parts that are wrong.")


def of_http(error: HTTPException, allowed: str | None) -> Problem:
    """Return the problem of what routing refuses; `allowed` lists the methods of a known path."""
    if isinstance(error, Problem):
        return error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = {"Allow": allowed} if allowed else {}
        detail = f"The path knows other methods: {allowed}."
        return Problem(405, "method-not-allowed", detail, headers=methods)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return Problem(404, "not-found", "There is nothing at this path. See /openapi.json.")
    return Problem(error.status_code, "refused", str(error.detail), headers=error.headers)


def of_validation(error: RequestValidationError) -> Problem:
    """Return the problem of a request that is not as its description says, part by part."""
    wrong = error.errors()
    found = [_field_error(item) for item in wrong[:_MOST_ERRORS]]
    first = found[0].get("pointer") or found[0].get("parameter")
    more = f" (and {len(wrong) - 1} more)" if wrong[1:] else ""
    return Problem(422, "invalid", f"{first}: {found[0]['detail']}{more}", errors=found)


def _field_error(item: Mapping[str, Any]) -> dict[str, str]:
    place, *path = [part for part in item["loc"] if not str(part).startswith("<")]
    said = _WORDS.get(item["type"], item["msg"])
    if place != "body":
        return {"parameter": str(path[0]) if path else str(place), "detail": said}
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return {"pointer": "#" + "".join(f"/{part}" for part in parts), "detail": said}


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is no field of this request",
    "string_unicode": "has half of a surrogate pair, which is no character",
    "model_attributes_type": "should be a JSON object",
}


def of_memstore(error: MemstoreError, *, conditional: bool) -> Problem:
    """Return the problem of what the store refuses.

    What lies with the server and not with the caller is said in general words: messages name paths
    and processes of this machine, and go to its log.

    Args:
        conditional: the caller said which version it knows.
    """
    later = {"Retry-After": str(_LATER)}
    if isinstance(error, MemoryNotFound):
        return Problem(404, "memory-not-found", str(error))
    if isinstance(error, VersionConflict):
        return Problem(412 if conditional else 409, "version-conflict", str(error))
    if isinstance(error, BadInput):
        return Problem(422, "invalid", str(error))
    if isinstance(error, OutsideScope):
        return Problem(403, "outside-scope", str(error))
    if isinstance(error, StoreLocked):
        detail = "Another process writes to the store. Nothing was lost; ask again."
        return Problem(503, "store-locked", detail, headers=later)
    if isinstance(error, RateLimited):
        detail = "The hosted reranker has too many requests. Ask again, or without rerank."
        return Problem(503, "reranker-busy", detail, headers=later)
    if isinstance(error, (ServiceError, RerankerUnavailable, MissingExtra)):
        detail = "The reranker does not answer. Ask without rerank, or with on_rerank_error=skip."
        return Problem(502, "reranker-unavailable", detail)
    if isinstance(error, StoreUnwritable):
        detail = "The store cannot be written: its disk is full, or refuses. Tell its operator."
        return Problem(507, "store-unwritable", detail)
    if isinstance(error, IndexDamaged):
        detail = "The store is damaged. Its operator mends it with: memstore verify --repair"
        return Problem(500, "store-damaged", detail)
    return internal()


def internal() -> Problem:
    """Return the problem of what should not have happened; the server's log says what did."""
    return Problem(500, "internal", "The server failed. Its log says why, at this time.")


def overloaded() -> Problem:
    """Return the problem of one request too many."""
    detail = "More requests are in work than this server takes. Nothing was done; ask again."
    return Problem(503, "overloaded", detail, headers={"Retry-After": str(_SOON)})


def stopping() -> Problem:
    """Return the problem of a server that is about to end."""
    detail = "The server stops. Nothing was done; ask again, or another one."
    return Problem(503, "stopping", detail, headers={"Retry-After": str(_LATER)})


def of_anything(error: Exception, *, conditional: bool, allowed: str | None) -> Problem:
    """Return the problem of any error."""
    if isinstance(error, HTTPException):
        return of_http(error, allowed)
    if isinstance(error, RequestValidationError):
        return of_validation(error)
    if isinstance(error, Overloaded):
        return overloaded()
    if isinstance(error, MemstoreError):
        return of_memstore(error, conditional=conditional)
    return internal()
