"""Many memories at once, as lines of JSON: in and out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from memstore.errors import BadInput
from memstore.json_input import json_lines
from memstore.server.http import bodies
from memstore.server.http.callers import check_whole
from memstore.server.http.guarding import LinesRoute, ReadRoute
from memstore.server.http.routes.reading import Called
from memstore.server.http.service import Call, answer
from memstore.server.scope import OutsideScope
from memstore.types import IngestReport

router = APIRouter(route_class=LinesRoute, tags=["lines"])
export_router = APIRouter(route_class=ReadRoute, tags=["lines"])
SENT = "body"  # what errors call the lines of a request


@router.post("/v1/ingest", response_model=IngestReport)
async def ingest(
    request: Request,
    call: Called,
    namespace: bodies.Namespace | None = None,
    source: Annotated[str | None, Query(min_length=1, max_length=1024)] = None,
    kind: bodies.Kind | None = None,
    timezone: Annotated[str | None, Query(max_length=64, examples=["UTC"])] = None,
    strict: Annotated[bool, Query(description="Store nothing if a line is wrong.")] = False,
) -> Response:
    """Store a memory per line. Good lines are stored and the others reported, by their number."""
    path = call.scope.to_write(namespace)
    lines: Path = request.state.lines

    def work() -> Response:
        check_namespaces(lines, call)
        try:
            report = call.store.ingest(
                lines,
                namespace=path,
                source_name=source,
                kind=kind,
                timezone=timezone,
                strict=strict,
            )
        except BadInput as error:
            raise BadInput(str(error).replace(str(lines), SENT)) from error
        errors = tuple(
            replace(found, file=SENT, message=found.message.replace(str(lines), SENT))
            for found in report.errors
        )
        return answer(replace(report, errors=errors))

    return await call.write(work)


def check_namespaces(lines: Path, call: Call) -> None:
    """Refuse lines that name a namespace their sender may not write to.

    Raises:
        OutsideScope: there is one; nothing was stored.
    """
    if call.scope.whole:
        return
    with lines.open("rb") as file:
        for number, named in _namespaces(json_lines(file)):
            try:
                call.scope.to_write(named)
            except OutsideScope as error:
                raise OutsideScope(f"{SENT}:{number}: {error} Nothing was stored.") from error


def _namespaces(lines: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, str]]:
    """Yield the namespaces that lines name, under either of the names a line may give it."""
    for number, item in lines:
        if isinstance(item, dict):
            named = (item.get(name) for name in ("namespace", "scope"))
            yield from ((number, value) for value in named if isinstance(value, str))


@export_router.get(
    "/v1/export",
    response_class=FileResponse,
    responses={200: {"content": {"application/x-ndjson": {}}}},
)
async def export(request: Request, call: Called) -> Response:
    """Return all live memories with their history, as `memstore import` reads them."""
    check_whole(call.scope)
    # a part of one export fits to no part of the next: Range is for those that stay
    request.scope["headers"] = [
        item for item in request.scope["headers"] if item[0] not in (b"range", b"if-range")
    ]

    def work() -> Response:
        folder = tempfile.TemporaryDirectory(prefix="memstore-")
        written = Path(folder.name, "export.jsonl")
        try:
            call.store.export(written)
        except BaseException:
            folder.cleanup()
            raise
        return FileResponse(
            written,
            media_type="application/x-ndjson",
            filename="memstore.jsonl",
            headers={"accept-ranges": "none"},
            background=BackgroundTask(folder.cleanup),
        )

    return await call.read(work)
