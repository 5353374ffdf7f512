"""A hosted reranker behind a store: a real service of its shape on this machine."""

from __future__ import annotations

import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from memstore import KeyRefused, MemoryStore, RateLimited, ServiceUnreachable

hosted_service = runpy.run_path(str(Path(__file__).parents[1] / "rerank" / "hosted_service.py"))[
    "hosted_service"
]

KEY = "right-key-7d1f"
SERVICES = [
    ("cohere", "cohere:rerank-v3.5", "CO_API_KEY", "CO_API_URL", "/v2/rerank"),
    (
        "jina",
        "jina:jina-reranker-v2-base-multilingual",
        "JINA_API_KEY",
        "JINA_API_URL",
        "/v1/rerank",
    ),
]
TEXTS = [
    "Ana moved from Porto to Lisbon",
    "Bruno is allergic to peanuts",
    "The invoice of March was paid twice",
]


@pytest.fixture
def service():
    with hosted_service(keys={KEY}) as running:
        yield running


@pytest.fixture(params=SERVICES, ids=["cohere", "jina"])
def named(request, service, monkeypatch):
    """A service's short name, its full one, and its path; the environment points to it."""
    short, full, key, url, path = request.param
    monkeypatch.setenv(key, KEY)
    monkeypatch.setenv(url, service.url)
    return short, full, path


@pytest.fixture
def filled(tmp_path):
    settings = {"service_retries": 0, "service_timeout": 0.3, "service_budget": 1.0}
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed", settings=settings) as store:
        store.add_many(TEXTS)
        store.add("Peanuts of another team", namespace="other")
        yield store


def test_hits_come_in_the_order_of_the_service(filled, service, named):
    short, full, path = named
    result = filled.query("peanuts invoice allergic", rerank=short, profile="semantic")
    assert result.reranker == full
    first = result.hits[0]
    assert first.memory.text == TEXTS[1]
    assert (first.relevance.scorer, first.relevance.kind) == (full, "prob01")
    assert first.relevance.raw == pytest.approx(2 / 3)
    assert first.score == pytest.approx(math.log(2))
    (request,) = service.log
    assert request.path == path
    assert sorted(request.body["documents"]) == sorted(TEXTS)


def test_a_model_of_the_callers_choice_is_asked_for(filled, service, named):
    filled.query("peanuts", rerank=f"{named[0]}:a-new-model")
    assert service.log[0].body["model"] == "a-new-model"


def test_texts_are_ranked_without_a_store(filled, service, named):
    ranked = filled.rank("invoice twice", TEXTS, rerank=named[0])
    assert ranked[0].index == 2
    assert service.log[0].body["documents"] == TEXTS


def test_nothing_is_sent_unless_such_a_reranker_is_named(filled, service, named):
    filled.query("peanuts")
    filled.query("peanuts", rerank="colbert")
    filled.query("peanuts", rerank="none")
    assert service.log == []


@pytest.mark.parametrize(
    ("status", "error"), [(401, KeyRefused), (429, RateLimited), (503, ServiceUnreachable)]
)
def test_a_refusal_is_an_error_or_skipped_as_the_caller_says(filled, service, named, status, error):
    service.fail(status)
    with pytest.raises(error):
        filled.query("peanuts", rerank=named[0])
    service.fail(status)
    result = filled.query("peanuts", rerank=named[0], on_rerank_error="skip")
    assert "rerank_skipped" in result.flags
    assert str(status) in result.rerank_error
    assert result.hits[0].memory.text == TEXTS[1]
    again = filled.query("peanuts", rerank=named[0])
    assert again.reranker == named[1]


def test_a_dead_service_is_an_error_within_the_budget(filled, service, named):
    service.hang()
    with pytest.raises(ServiceUnreachable, match="no answer"):
        filled.query("peanuts", rerank=named[0])


def test_the_key_is_in_no_file_of_the_store_and_in_no_message(filled, service, named):
    service.fail(401, body={"message": f"invalid api token {KEY}"})
    with pytest.raises(KeyRefused) as caught:
        filled.query("peanuts", rerank=named[0])
    assert KEY not in str(caught.value)
    filled.query("peanuts", rerank=named[0], explain=True)
    folder = filled.path
    filled.close()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert KEY.encode() not in path.read_bytes()


def test_the_command_line_asks_the_service(tmp_path, service, named):
    path = tmp_path / "a.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        store.add_many(TEXTS)
    command = [sys.executable, "-m", "memstore", "--store", str(path), "--set", "service_retries=0"]
    query = ["query", "invoice twice", "--rerank", named[0], "--json"]
    done = subprocess.run(
        [*command, *query], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["reranker"] == named[1]
    assert answer["hits"][0]["memory"]["text"] == TEXTS[2]
    service.fail(401, body={"message": "invalid api token"})
    wrong = subprocess.run([*command, *query], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert wrong.stderr.startswith("Error: ")
    assert "status 401" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_the_budget_is_of_a_whole_query_explained_or_not(filled, service, named):
    filled.add("Peanuts of last year", valid_to="2020-01-01T00:00:00Z")
    filled.query("peanuts", rerank=named[0], explain=True)
    assert len(service.log) == 1
    assert "Peanuts of last year" in service.log[0].body["documents"]
