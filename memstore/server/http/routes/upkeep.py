"""Looking after the store; of the whole store, so not for callers that see some of it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from memstore.server.http import bodies, callers
from memstore.server.http.guarding import ReadRoute, WriteRoute
from memstore.server.http.routes.reading import Called
from memstore.server.http.service import answer
from memstore.types import CompactReport, Finding, Stats

router = APIRouter(route_class=ReadRoute, tags=["upkeep"])
write_router = APIRouter(route_class=WriteRoute, tags=["upkeep"])


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check found. `clean` is true when nothing is wrong any more."""

    clean: bool
    findings: tuple[Finding, ...]
    checked: dict[str, int]


@router.get("/v1/stats", response_model=Stats)
async def stats(call: Called) -> Response:
    """Count what the store holds."""
    callers.check_whole(call.scope)
    return await call.read(lambda: answer(call.store.stats()))


@router.post("/v1/verify", response_model=Verified)
async def verify(body: bodies.VerifyBody, call: Called) -> Response:
    """Check that everything the store holds agrees with itself; with `repair`, mend it."""
    callers.check_whole(call.scope)
    if body.repair:
        callers.check_writable(call.scope)

    def work() -> Response:
        report = call.store.verify(repair=body.repair)
        return answer(Verified(report.clean, report.findings, dict(report.checked)))

    return await (call.write(work) if body.repair else call.read(work))


@write_router.post("/v1/compact", response_model=CompactReport)
async def compact(call: Called) -> Response:
    """Seal what is new, drop what was deleted, and merge the index. Readers never wait for it."""
    callers.check_whole(call.scope)
    return await call.write(lambda: answer(call.store.compact()))
