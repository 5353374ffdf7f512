"""Whatever goes wrong is said as a problem document (RFC 9457), and as the API describes it."""

from __future__ import annotations

import json
import socket
import sqlite3
from unittest import mock

import httpx
import pytest
from server.http_serving import OPEN, VERBS, bearer, by_name, serving, token

from memstore import MemoryStore, errors
from memstore.server.http import problems
from memstore.server.http.lanes import Overloaded

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("http") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed", settings={"lock_timeout": 0.2}) as opened:
        opened.add("Ana moved to Lisbon.", key="ana.city")
        yield opened


@pytest.fixture(scope="module")
def guarded(stored):
    with serving(stored, tokens=(token("ana"),)) as found:
        yield found


@pytest.fixture(scope="module")
def api(client):
    return client.get("/openapi.json").json()


def problem(response: httpx.Response, status: int, name: str) -> dict:
    """Check that a response is a whole problem document, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert said["type"] == f"urn:memstore:problem:{name}"
    assert said["status"] == status
    assert said["instance"] == response.request.url.path
    assert said["title"]
    assert said["detail"]
    return said


def test_an_unknown_path_is_nothing(client):
    for path in ("/page/x/y", "/page/x/y.js"):
        problem(client.get(path), 404, "not-found")
    for path in ("/v1", "/v1/", "/v1/query/", "/v2/query", "/docs", "/redoc", "/v1/memories/"):
        problem(client.get(path), 404, "not-found")


def test_an_unknown_method_is_told_the_known_ones(client):
    for method, path, known in (
        ("PUT", "/v1/memories/x", "DELETE, GET, PATCH"),
        ("HEAD", "/v1/memories", "GET, POST"),
        ("OPTIONS", "/v1/memories/by-key", "GET"),
        ("DELETE", "/v1/memories/batch", "POST"),
        ("BREW", "/v1/query", "POST"),
        ("POST", "/healthz", "GET"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ):
        response = client.request(method, path)
        assert (response.status_code, response.headers["allow"]) == (405, known)
        if method != "HEAD":
            problem(response, 405, "method-not-allowed")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is missing"),
        (b"{", "not JSON"),
        (b'{"text": "tea", "text": "coffee"}', "gives the name 'text' twice"),
        (b'{"text": "tea", "min_score": NaN}', "NaN is no JSON number"),
        (b'{"text": "tea", "min_score": -Infinity}', "-Infinity is no JSON number"),
        (b'{"text": "tea", "limit": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"text": "tea", "where": ' + b'{"not":' * 200 + b"{}" + b"}" * 201, "deep"),
        (b"[" * 100_000, "deep"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "tea", "min_score": 1e999}', "finite"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"text": "a\\u0000b"}', "NUL"),
        (b'{"text": " "}', "at least one visible character"),
        (b'{"text": "tea", "namespace": "a/../b"}', "is not a path"),
        (b'{"text": "tea", "namespace": "\\udc80"}', "surrogate"),
        (b'{"text": "tea", "where": {"no": 1}}', "Known fields"),
        (b'{"text": "tea", "where": {"metadata.a": {"eq": {"b": 1}}}}', "Compare with"),
        (b'{"text": "tea", "limit": 1001}', "less than or equal to 1000"),
        (b'{"text": "tea", "limit": "5"}', "valid integer"),
        (b'{"text": "tea", "limit": true}', "valid integer"),
        (b'{"text": "tea", "as_of": "2026-01-01T00:00:00"}', "no UTC offset"),
        (b'{"text": "tea", "as_of": 5}', "valid string"),
        (b'{"text": "tea", "unknown": 1}', "is no field"),
        (b'{"text": "tea", "weights": {"cap": 1e999}}', "finite"),
        (b'"tea"', "should be a JSON object"),
        (b"null", "should be a JSON object"),
    ],
)
def test_a_body_that_cannot_be_accepted_is_said_to_be_so(body, said, client):
    response = client.post("/v1/query", content=body, headers=JSON)
    assert response.status_code in (400, 422)
    name = "malformed" if response.status_code == 400 else "invalid"
    assert said in problem(response, response.status_code, name)["detail"]


def test_each_wrong_field_is_pointed_at(client):
    body = {"memories": [{"text": "a"}, {"text": 1, "a/b~c": 2}]}
    said = problem(client.post("/v1/memories/batch", json=body), 422, "invalid")
    assert [error["pointer"] for error in said["errors"]] == [
        "#/memories/1/text",
        "#/memories/1/a~1b~0c",
    ]
    said = problem(client.get("/v1/memories?limit=0&namespace="), 422, "invalid")
    assert {error["parameter"] for error in said["errors"]} == {"limit", "namespace"}
    either = client.post("/v1/memories/x/supersede", json={"text": "a", "new_id": "b"})
    assert problem(either, 422, "invalid")["errors"][0]["pointer"] == "#/new_id"
    assert problem(client.post("/v1/forget", json={}), 422, "invalid")["errors"] == [
        {"pointer": "#/ids", "detail": "is missing"}
    ]


NAMES = {f"x{number}": 1 for number in range(30_000)}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/memories", {"text": "a", **NAMES}, "#: has 30001 names"),
        ("/v1/query", {"text": "a", "weights": NAMES}, "#/weights: has 30000 names"),
        ("/v1/memories/batch", {"memories": [NAMES] * 3}, "#/memories/0: has 30000 names"),
        ("/v1/forget", {"where": {"key": "a"}, **NAMES}, "#: has 30001 names"),
        ("/v1/query/batch", {"texts": [1] * 30_000}, "#/texts/0: Input should be a valid string"),
        ("/v1/rank", {"text": "a", "documents": [1] * 30_000}, "#/documents/0: Input should"),
        ("/v1/forget", {"ids": [1] * 30_000}, "#/ids/0: Input should"),
        ("/v1/memories", {"text": "a", "entities": [1] * 30_000}, "#/entities/0: Input should"),
        ("/v1/memories/batch", {"memories": [{}] * 30_000}, "#/memories/0/text: is missing"),
    ],
)
def test_of_very_much_that_is_wrong_the_first_is_said(path, body, said, client):
    found = problem(client.post(path, json=body), 422, "invalid")
    assert found["detail"].startswith(said)
    assert "more)" not in found["detail"]  # nobody looked for them
    assert len(found["errors"]) == 1


def test_a_problem_repeats_no_more_than_the_beginning_of_what_was_asked(client):
    wrong = client.post("/v1/memories", json={"text": "a", **dict(list(NAMES.items())[:90])})
    said = problem(wrong, 422, "invalid")
    assert len(said["errors"]) == 20
    assert said["detail"].endswith("(and 89 more)")
    name = client.post("/v1/query", json={"text": "a", "x" * 100_000: 1})
    path = client.get(f"/v1/memories/{'a' * 50_000}")
    assert f"no memory '{'a' * 64}…'" in path.json()["detail"]
    assert max(len(name.content), len(path.content)) < 10_000


def test_a_filter_in_a_url_must_be_json(client):
    said = problem(client.get("/v1/memories", params={"where": "{"}), 422, "invalid")
    assert said["errors"][0]["parameter"] == "where"
    problem(client.get("/v1/memories", params={"where": '{"text": NaN}'}), 422, "invalid")
    problem(client.get("/v1/memories", params={"where": "[]"}), 422, "invalid")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {},
    ],
)
def test_a_body_of_another_kind_is_refused(headers, client):
    response = client.post("/v1/query", content=b'{"text": "tea"}', headers=headers)
    problem(response, 415, "media-type")
    assert response.headers["accept"] == "application/json"


def test_json_may_say_its_charset(client):
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/v1/query", content=b'{"text": "tea"}', headers=headers).is_success


def test_an_unknown_memory_is_not_found(client):
    for verb in VERBS:
        if "{id}" in verb.path:
            problem(verb.send(client, "01AAAAAAAAAAAAAAAAAAAAAAAA"), 404, "memory-not-found")
    problem(client.get("/v1/memories/by-key?key=none"), 404, "memory-not-found")
    problem(client.post("/v1/forget", json={"ids": ["none"]}), 404, "memory-not-found")
    odd = client.get("/v1/memories/%ED%A0%80%00")  # half of a surrogate pair, and a NUL
    assert odd.status_code in (404, 422)


def test_a_request_to_another_host_is_refused(client, stored):
    for host in ("evil.example", "127.0.0.1.evil.example:80", "", "[::2]"):
        response = client.get("/v1/memories", headers={"Host": host})
        problem(response, 421, "wrong-host")
    for host in ("localhost:1", "LOCALHOST", "127.0.0.1", "127.0.0.2:80", "[::1]:8000"):
        assert client.get("/v1/memories", headers={"Host": host}).is_success
    with serving(stored, hosts=("memory.example",)) as named:
        assert named.get("/v1/memories", headers={"Host": "memory.example:443"}).is_success


def test_a_probe_need_not_know_the_name_of_the_server(client):
    for path in ("/healthz", "/readyz"):
        assert client.get(path, headers={"Host": "10.0.0.7:8000"}).is_success


def test_a_request_of_http_1_0_need_not_name_a_host(client):
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(b"GET /v1/memories HTTP/1.0\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_the_store_is_ready_however_long_it_takes_to_count(client, stored):
    slow = mock.Mock(side_effect=AssertionError("counts"))
    with mock.patch.multiple(type(stored), namespaces=slow, stats=slow):
        assert client.get("/readyz").json() == {"status": "ready"}


def test_a_page_of_another_origin_may_change_nothing(client):
    for origin in ("https://evil.example", "null", "http://localhost:1"):
        response = client.post("/v1/compact", headers={"Origin": origin})
        problem(response, 403, "cross-origin")
    own = str(client.base_url).rstrip("/")
    assert client.post("/v1/query", json={"text": "tea"}, headers={"Origin": own}).is_success


def test_a_writer_elsewhere_is_waited_for_and_then_said(client, stored):
    other = sqlite3.connect(stored.path / "memstore.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        response = client.post("/v1/memories", json={"text": "Too late."})
        problem(response, 503, "store-locked")
        assert int(response.headers["retry-after"]) > 0
        assert str(stored.path) not in response.text
        assert client.post("/v1/query", json={"text": "tea"}).is_success
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert client.post("/v1/memories", json={"text": "In time."}).status_code == 201


def test_a_server_that_only_reads_refuses_to_write(stored):
    from memstore.server.scope import Scope

    with serving(stored, scope=Scope(read_only=True)) as client:
        for verb in VERBS:
            if verb.writes:
                problem(verb.send(client, "x"), 403, "read-only")
        said = client.post("/v1/verify", json={"repair": True})
        problem(said, 403, "read-only")
        assert client.post("/v1/query", json={"text": "tea"}).is_success


@pytest.mark.parametrize("verb", VERBS, ids=by_name)
def test_without_a_token_nothing_is_answered(verb, guarded):
    for headers in (
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic c2VjcmV0LWFuYQ=="},
        {"Authorization": "Bearer \udcff".encode("utf-8", "surrogateescape")},
    ):
        response = verb.send(guarded, "x", headers=headers)
        said = problem(response, 401, "token-required")
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert "ana" not in said["detail"]


def test_a_token_is_given_once(guarded):
    twice = [("Authorization", "Bearer secret-ana"), ("Authorization", "Bearer secret-ana")]
    problem(guarded.get("/v1/memories", headers=twice), 401, "token-required")
    assert guarded.get("/v1/memories", headers=bearer("ana")).is_success
    lower = {"Authorization": "bearer  secret-ana"}
    assert guarded.get("/v1/memories", headers=lower).is_success


EVERY_ERROR = [
    (errors.BadInput("x"), 422),
    (errors.MemoryNotFound("x"), 404),
    (errors.VersionConflict("x"), 409),
    (errors.StoreNotFound("x"), 500),
    (errors.StoreLocked("/secret"), 503),
    (errors.StoreUnwritable("/secret"), 507),
    (errors.SchemaTooNew("/secret"), 500),
    (errors.IndexDamaged("/secret"), 500),
    (errors.EncoderMismatch("/secret"), 500),
    (errors.EncoderUnavailable("/secret"), 500),
    (errors.RerankerUnavailable("/secret"), 502),
    (errors.MissingExtra("/secret"), 502),
    (errors.ServiceError("/secret"), 502),
    (errors.KeyRefused("/secret"), 502),
    (errors.RateLimited("/secret"), 503),
    (errors.ServiceUnreachable("/secret"), 502),
    (Overloaded(), 503),
    (RuntimeError("/secret"), 500),
]


def test_every_error_of_memstore_has_an_answer():
    named = {type(error) for error, _ in EVERY_ERROR}
    every = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MemstoreError)
    }
    assert every - named == {errors.MemstoreError}


@pytest.mark.parametrize(("error", "status"), EVERY_ERROR, ids=lambda item: type(item).__name__)
def test_an_error_is_answered_as_the_api_says_and_names_no_path_of_the_server(
    error, status, client, stored, api, caplog
):
    with mock.patch.object(type(stored), "query", side_effect=error):
        response = client.post("/v1/query", json={"text": "tea"})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert "/secret" not in response.text
    assert str(status) in {*api["paths"]["/v1/query"]["post"]["responses"], "404", "409", "507"}
    if status == 503:
        assert int(response.headers["retry-after"]) > 0
    if "/secret" in str(error):
        assert "/secret" in caplog.text  # its operator learns more


def test_what_is_wrong_with_the_server_is_logged_and_not_told(client, stored, caplog):
    with mock.patch.object(type(stored), "stats", side_effect=ZeroDivisionError("the secret")):
        response = client.get("/v1/stats")
    assert "secret" not in json.dumps(problem(response, 500, "internal"))
    assert "ZeroDivisionError: the secret" in caplog.text


def test_every_error_that_is_documented_is_described_alike(api):
    said = {f"{_REFERENCE}ProblemDocument"}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    content = answer["content"][problems.MEDIA_TYPE]
                    assert content["schema"]["$ref"] in said, (path, method, status)
            assert {"500", "503"} <= set(operation["responses"])
            open_to_all = f"{method.upper()} {path}" in OPEN
            assert ("421" in operation["responses"]) is not open_to_all


_REFERENCE = "#/components/schemas/"
