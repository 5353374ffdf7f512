"""What a server counts is right, and says nothing of who asked for what."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from server.http_serving import VERBS, bearer, serving, token

from memstore import MemoryStore
from memstore.server.http.metrics import at_most_every


@pytest.fixture
def stored(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as opened:
        opened.add("Ana drinks tea.")
        yield opened


@pytest.fixture
def client(stored):
    with serving(stored) as found:
        yield found


def samples(client, **options) -> dict[tuple[str, frozenset], float]:
    """Every value that is counted, by its name and labels."""
    response = client.get("/metrics", **options)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_method_and_status(client):
    for _ in range(3):
        client.post("/v1/query", json={"text": "tea"})
    client.post("/v1/query", json={"text": ""})
    client.get("/v1/memories/none")
    client.get("/v1/memories/other/history")
    client.get("/no/such/path")
    client.request("BREW", "/v1/query")
    found = samples(client)
    total = "memstore_http_requests_total"
    assert value(found, total, route="/v1/query", method="POST", status="200") == 3
    assert value(found, total, route="/v1/query", method="POST", status="422") == 1
    assert value(found, total, route="/v1/memories/{id}", method="GET", status="404") == 1
    assert value(found, total, route="/v1/memories/{id}/history", method="GET", status="404") == 1
    assert value(found, total, route="other", method="GET", status="404") == 1
    assert value(found, total, route="other", method="OTHER", status="405") == 1
    seconds = "memstore_http_request_seconds_count"
    assert value(found, seconds, route="/v1/query", method="POST") == 4


def test_stages_of_queries_are_timed(client):
    client.post("/v1/query", json={"text": "tea"})
    client.post("/v1/query/batch", json={"texts": ["tea", "coffee"]})
    found = samples(client)
    assert value(found, "memstore_query_stage_seconds_count", stage="score") == 3
    assert value(found, "memstore_query_stage_seconds_sum", stage="score") > 0


def test_memories_replays_and_requests_in_work_are_gauged(client):
    before = samples(client)
    headers = {"Idempotency-Key": "one"}
    for _ in range(3):
        client.post("/v1/memories", json={"text": "Bob too."}, headers=headers)
    found = samples(client)
    assert value(before, "memstore_memories") == 1
    assert value(found, "memstore_memories") == 1  # that was counted a moment ago
    assert value(found, "memstore_http_replayed_total") == 2
    assert value(found, "memstore_http_kept_answers") == 1
    assert value(found, "memstore_http_requests_in_flight") == 1  # the one that asks
    assert value(found, "memstore_http_writing") == 0


def test_what_takes_long_to_count_is_counted_now_and_then():
    clock, counted = [100.0], iter(range(1, 10))
    read = at_most_every(15, lambda: float(next(counted)), lambda: clock[0])
    assert (read(), read()) == (1, 1)
    clock[0] += 14
    assert read() == 1
    clock[0] += 1
    assert (read(), read()) == (2, 2)


def test_no_label_says_who_asked_or_for_what(stored):
    with serving(stored, tokens=(token("somebody"),)) as client:
        for verb in VERBS:
            verb.send(client, "some-id", headers=bearer("somebody"))
            verb.send(client, "some-id", headers={"Authorization": "Bearer some-secret"})
        client.get("/some/path", params={"some": "query"})
        found = samples(client, headers=bearer("somebody"))
        assert client.get("/metrics").status_code == 401
    known = {verb.path.replace("/Bob", "/{name}") for verb in VERBS} | {"other"}
    labels = {pair for _, labels in found for pair in labels}
    assert {text for name, text in labels if name == "route"} <= known
    assert "some" not in str(labels)


def test_two_servers_in_one_process_count_apart(stored, client):
    with serving(stored) as other:
        client.get("/v1/memories")
        route = {"route": "/v1/memories", "method": "GET", "status": "200"}
        assert value(samples(client), "memstore_http_requests_total", **route) == 1
        assert value(samples(other), "memstore_http_requests_total", **route) == 0
