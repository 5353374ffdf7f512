"""What is too large, too slow or too much is refused, and costs little."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from server.http_serving import running, serving

from memstore import MemoryStore
from memstore.server.http.options import Limits

HEAD = b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("http") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as opened:
        opened.add("Ana drinks tea.")
        yield opened


@pytest.fixture(scope="module")
def url(stored):
    limits = Limits(
        body_bytes=10_000,
        ingest_bytes=20_000,
        head_seconds=0.5,
        body_seconds=0.5,
        connections=40,
    )
    with running(stored, limits=limits) as (found, _):
        yield found


def connect(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=30)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def ask(url: str, sent: bytes) -> tuple[int, dict]:
    """The status and the problem document that bytes are answered with."""
    with connect(url) as connection:
        connection.sendall(sent)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.headers["content-type"] == "application/problem+json"
        return response.status, json.loads(response.read())


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(url):
    sent = HEAD + b"Content-Length: 10001\r\nExpect: 100-continue\r\n\r\n"
    status, said = ask(url, sent)
    assert (status, said["type"]) == (413, "urn:memstore:problem:too-large")


def test_a_body_of_unknown_length_is_refused_where_it_grows_too_large(url):
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    status, _ = ask(url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n")
    assert status == 413


def test_lines_have_a_limit_of_their_own(url, stored):
    line = json.dumps({"text": "x" * 900, "id": "long"}) + "\n"
    headers = {"Content-Type": "application/x-ndjson"}
    good = httpx.post(f"{url}/v1/ingest", content=line * 20, headers=headers)
    assert (good.status_code, good.json()["added"], good.json()["unchanged"]) == (200, 1, 19)
    assert httpx.post(f"{url}/v1/ingest", content=line * 25, headers=headers).status_code == 413


def test_a_body_that_does_not_arrive_is_not_waited_for(url):
    with connect(url) as connection:
        connection.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"text"')
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["type"] == "urn:memstore:problem:too-slow"


def test_a_head_that_does_not_arrive_is_not_waited_for(url):
    for begun in (b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "):
        with connect(url) as connection:
            connection.sendall(begun)
            assert read_all(connection) == b""


def test_a_second_request_that_does_not_arrive_is_not_waited_for(url):
    with connect(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("answers", [1, 300])
def test_an_answer_that_nobody_takes_is_not_kept(answers, stored):
    limits = Limits(taking_seconds=0.3, idle_seconds=0.2)
    with running(stored, limits=limits) as (url, server):
        # one answer is waiting to be taken when its connection is idle; of many, in one request's
        # work, the next one cannot even be written
        for other in server.servers[0].sockets:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with connect(url) as small:
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            small.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * answers)
            while not _large(server):
                time.sleep(0.01)
            while _large(server):
                time.sleep(0.01)
        assert server.service.in_work.taken == 0


def _large(server) -> list:
    """The connections on which something is waiting to be taken."""
    return [
        connection
        for connection in server.server_state.connections
        if connection.transport.get_write_buffer_size()
    ]


def test_what_is_no_http_is_said_to_be_none(url):
    for sent in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET  / HTTP/9.9\r\n\r\n"):
        status, said = ask(url, sent)
        assert (status, said["type"]) == (400, "urn:memstore:problem:malformed")
    both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ask(url, HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n")[0] == 400
    assert ask(url, HEAD + both + b"0\r\n\r\n")[0] in (400, 411, 422, 501)
    assert ask(url, HEAD + b"Content-Length: -1\r\n\r\n")[0] == 400


def test_a_body_that_breaks_off_into_nonsense_is_answered_once(url):
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    status, said = ask(url, HEAD + chunked + b"5\r\n{}   \r\nnonsense\r\n")
    assert (status, said["type"]) == (400, "urn:memstore:problem:malformed")
    with connect(url) as connection:
        refused = b"POST /none HTTP/1.1\r\nHost: localhost\r\n" + chunked
        connection.sendall(refused)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.read()[:1]) == (404, b"{")
        connection.sendall(b"nonsense\r\n")
        assert read_all(connection) == b""  # no second answer to one request


def test_a_head_that_is_too_large_is_refused(url):
    large = b"X: " + b"x" * 100_000  # and no end of it
    status, said = ask(url, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + large)
    assert (status, said["type"]) == (431, "urn:memstore:problem:head-too-large")


def test_a_connection_too_many_is_told_so(url):
    held = [connect(url) for _ in range(60)]
    try:
        time.sleep(0.1)
        answers = [connection for connection in held if _readable(connection)]
        assert answers
        said = read_all(answers[-1])
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in said.lower()
    finally:
        for connection in held:
            connection.close()
    with connect(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK")


def _readable(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        connection.setblocking(True)


def test_a_request_too_many_is_told_to_come_back(stored):
    go = threading.Event()
    with (
        serving(stored, limits=Limits(requests=2, readers=1)) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        stats, type(stored).stats = type(stored).stats, lambda self: (go.wait(30), stats(self))[1]
        try:
            held = [pool.submit(client.get, "/v1/stats") for _ in range(2)]
            while client.get("/healthz").status_code != 200 or _in_flight(client) < 3:
                time.sleep(0.01)
            response = client.get("/v1/namespaces")
            assert response.status_code == 503
            assert response.json()["type"] == "urn:memstore:problem:overloaded"
            assert response.headers["retry-after"] == "1"
            assert client.get("/").is_success  # files of the page cost nothing
            assert client.get("/healthz").is_success  # whoever looks after it still learns of it
        finally:
            go.set()
            type(stored).stats = stats
        assert [found.result().status_code for found in held] == [200, 200]
        assert client.get("/v1/namespaces").is_success


def _in_flight(client) -> float:
    (line,) = [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("memstore_http_requests_in_flight ")
    ]
    return float(line.split()[1])


def test_readers_go_on_while_all_writers_wait(stored):
    limits = Limits(readers=2, writers=2)
    with serving(stored, limits=limits) as client, ThreadPoolExecutor(8) as pool:
        other = sqlite3.connect(stored.path / "memstore.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            texts = [{"text": f"Waits {number}."} for number in range(6)]
            waiting = [pool.submit(client.post, "/v1/memories", json=text) for text in texts]
            while _value(client, "memstore_http_writing") < 6:
                time.sleep(0.01)
            for _ in range(20):
                hits = client.post("/v1/query", json={"text": "tea"}).json()["hits"]
                assert hits[0]["memory"]["text"] == "Ana drinks tea."
            assert not any(item.done() for item in waiting)
            assert client.get("/readyz").is_success
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert [item.result().status_code for item in waiting] == [201] * 6


def test_however_many_writes_wait_readers_go_on(stored):
    limits = Limits(requests=8, writers=2)  # of which two writers and two that wait write
    with serving(stored, limits=limits) as client, ThreadPoolExecutor(12) as pool:
        other = sqlite3.connect(stored.path / "memstore.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            texts = [{"text": f"Waits in a long queue {number}."} for number in range(12)]
            sent = [pool.submit(client.post, "/v1/memories", json=text) for text in texts]
            while sum(item.done() for item in sent) < 8:
                time.sleep(0.01)
            for _ in range(5):
                assert client.post("/v1/query", json={"text": "tea"}).is_success
                assert client.get("/v1/memories").is_success
        finally:
            other.execute("ROLLBACK")
            other.close()
        answers = [item.result() for item in sent]
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [503] * 8
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.json()["type"] == "urn:memstore:problem:overloaded"


def test_bodies_that_are_on_their_way_keep_nobody_out(stored):
    limits = Limits(requests=2)
    with running(stored, limits=limits) as (url, server), contextlib.ExitStack() as held:
        lines = HEAD.replace(b"/query", b"/ingest").replace(b"/json", b"/x-ndjson")
        for head in (lines, lines, HEAD, HEAD, HEAD):  # two ingests: as many as may write
            connection = held.enter_context(connect(url))
            connection.sendall(head + b"Content-Length: 100000\r\n\r\n" + b" " * 70_000)
        while server.service.sending_lines.taken < 2:
            time.sleep(0.01)
        with httpx.Client(base_url=url, timeout=30) as client:
            for path in ("/v1/memories", "/", "/readyz"):
                assert client.get(path).is_success
            assert client.post("/v1/memories", json={"text": "Gets in."}).is_success
            headers = {"Content-Type": "application/x-ndjson"}
            third = client.post("/v1/ingest", content='{"text": "a"}', headers=headers)
            assert third.status_code == 503


def test_a_body_too_long_for_memory_arrives_whole(stored):
    text = "".join(f"Number {number} of a long text. " for number in range(10_000))
    with serving(stored) as client:
        posted = client.post("/v1/memories", json={"text": text})
    assert posted.status_code == 201
    assert stored.get(posted.json()["id"]).text == text
    stored.forget(posted.json()["id"])


def test_a_batch_of_queries_asks_for_so_many_hits(stored):
    with serving(stored) as client:
        body = {"texts": ["tea"] * 20, "limit": 101}
        refused = client.post("/v1/query/batch", json=body)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "#/limit"
        assert "20 texts with 101 hits each" in refused.json()["detail"]
        assert client.post("/v1/query/batch", json=body | {"limit": 100}).is_success


def test_an_answer_holds_so_much_and_one_memory_at_least(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as large:
        for number in range(4):
            large.add(f"Tea number {number} {'is hot ' * 60}", metadata={"note": "x" * 600})
        for most, fit in ((10, 1), (2_500, 2), (10_000, 4)):
            with serving(large, limits=Limits(answer_characters=most)) as client:
                texts, cursor, pages = [], None, 0
                while pages == 0 or cursor is not None:
                    params = {"limit": 4} | ({"cursor": cursor} if cursor else {})
                    page = client.get("/v1/memories", params=params).json()
                    texts += [memory["text"] for memory in page["memories"]]
                    cursor, pages = page["cursor"], pages + 1
                assert texts == [memory.text for memory in large.list().memories]
                assert pages == 4 // fit
                for limit in range(1, 5):
                    found = client.post("/v1/query", json={"text": "tea", "limit": limit})
                    assert found.status_code == (200 if limit <= fit else 422)
                    if limit > fit:
                        assert f"{most:,} characters together" in found.json()["detail"]
                body = {"texts": ["tea", "hot"], "limit": 1}
                batch = client.post("/v1/query/batch", json=body)
                assert batch.status_code == (422 if fit == 1 else 200)


def _value(client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])
