"""Cohere's own library against the service that the tests of memstore's client talk to."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memstore.errors import KeyRefused, ServiceUnreachable
from memstore.rerank.hosted import CohereReranker
from memstore.rerank.retrying import Timing
from memstore.settings import Settings

STAND_IN = Path(__file__).parents[1] / "rerank" / "hosted_service.py"
hosted_service = runpy.run_path(str(STAND_IN))["hosted_service"]

KEY = "right-key"
MODEL = "rerank-v3.5"
QUERY = "where does the veterinarian live"
DOCUMENTS = [
    "The printer is broken.",
    "The veterinarian used to live in Porto.",
    "Where “the” veterinarian does live: Lisbon 🎉",
    "",
]

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def service() -> Iterator:
    with hosted_service(keys={KEY}) as service:
        yield service


@pytest.fixture
def ask_theirs(drive, tmp_path) -> Ask:
    """Let their library, set up by these variables, rerank; return its results, waits and error."""

    def ask(**environment: str) -> dict[str, Any]:
        step = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}
        step |= {"environment": environment, "output": tmp_path / "told.json"}
        drive("drive_cohere.py", ("rerank", step))
        return json.loads((tmp_path / "told.json").read_text())

    return ask


@pytest.fixture
def ask_ours(monkeypatch) -> Ask:
    """Let memstore, set up by these variables, rerank; return its scores and waits."""

    for variable in ("CO_API_KEY", "COHERE_API_KEY", "CO_API_URL"):
        monkeypatch.delenv(variable, raising=False)

    def ask(**environment: str) -> dict[str, Any]:
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        waits: list[float] = []
        timing = Timing(sleep=waits.append, chance=lambda: 0.0)
        reranker = CohereReranker(MODEL, settings=Settings(), timing=timing)
        return {"scores": reranker.score(QUERY, DOCUMENTS), "waits": waits}

    return ask


def test_both_send_the_same_and_read_the_same_scores(service, ask_theirs, ask_ours):
    where = {"CO_API_URL": service.url, "CO_API_KEY": KEY}
    theirs, ours = ask_theirs(**where), ask_ours(**where)
    assert dict(theirs["results"]) == dict(enumerate(ours["scores"]))
    assert [index for index, _ in theirs["results"]] == [2, 1, 0, 3]
    sent, own = service.log
    assert (sent.path, sent.body, sent.authorization) == (own.path, own.body, own.authorization)


def test_both_read_the_address_and_the_key_from_the_same_variables(service, ask_theirs, ask_ours):
    where = {"CO_API_URL": f"{service.url}/gate/v1/", "COHERE_API_KEY": KEY}
    for ask in (ask_theirs, ask_ours):
        service.answer({"results": [{"index": 0, "relevance_score": 0.5}]})
        ask(**where)
    assert [request.path for request in service.log] == ["/gate/v1/v2/rerank"] * 2
    assert {request.authorization for request in service.log} == {f"Bearer {KEY}"}


def test_both_come_back_when_the_service_says(service, ask_theirs, ask_ours):
    for ask in (ask_theirs, ask_ours):
        service.fail(429, {"Retry-After": "7"})
        told = ask(CO_API_URL=service.url, CO_API_KEY=KEY)
        assert told["waits"] == [7.0]
    assert len(service.log) == 4


def test_both_take_a_wrong_key_for_one_at_once(service, ask_theirs, ask_ours):
    where = {"CO_API_URL": service.url, "CO_API_KEY": "wrong-key"}
    assert ask_theirs(**where) == {"waits": [], "error": "UnauthorizedError"}
    with pytest.raises(KeyRefused):
        ask_ours(**where)
    assert len(service.log) == 2


def test_both_give_up_on_a_service_that_stays_unavailable(service, ask_theirs, ask_ours):
    where = {"CO_API_URL": service.url, "CO_API_KEY": KEY}
    for _ in range(3 + 4):  # theirs tries again twice
        service.fail(503)
    assert ask_theirs(**where)["error"] == "ServiceUnavailableError"
    assert len(service.log) == 3
    with pytest.raises(ServiceUnreachable):
        ask_ours(**where)
    assert len(service.log) == 7
