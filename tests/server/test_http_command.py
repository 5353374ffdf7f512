"""`memstore serve` as a process: how it starts, what ends it, and what a kill leaves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from memstore import BadInput, MemoryStore
from memstore.server.http import tokens
from memstore.server.http.options import host_and_port


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "agent.mem"
    with MemoryStore.open(found, encoder="hashed") as store:
        store.add("Ana drinks tea.", key="tea")
    return found


class Serving:
    """A running server; what it says on stderr is in `said`."""

    def __init__(self, process: subprocess.Popen[str], said: list[str], url: str) -> None:
        self.process, self.said = process, said
        self.client = httpx.Client(base_url=url, timeout=60)

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)


@contextlib.contextmanager
def serve(path: Path, *options: str) -> Iterator[Serving]:
    command = [sys.executable, "-W", "error", "-m", "memstore", "--store", str(path)]
    process = subprocess.Popen(
        [*command, "serve", "--http", "127.0.0.1:0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    listening = threading.Event()

    def read() -> None:
        for line in process.stderr:
            said.append(line)
            if " at http://" in line:
                listening.set()
        listening.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert listening.wait(60)
        url = re.search(r"http://\S+", "".join(said))
        assert url is not None, said
        serving = Serving(process, said, url[0])
        with serving.client:
            yield serving
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        process.stderr.close()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the store's write lock."""
    other = sqlite3.connect(path / "memstore.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def wait_for(client: httpx.Client, name: str, value: float) -> None:
    while True:
        lines = client.get("/metrics").text.splitlines()
        if any(line == f"{name} {value}" for line in lines):
            return
        time.sleep(0.01)


def accepts_connections(client: httpx.Client) -> bool:
    try:
        httpx.get(client.base_url.join("/healthz"), timeout=60)
    except httpx.ConnectError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_well(path, number):
    with serve(path) as server:
        assert server.client.post("/v1/query", json={"text": "tea"}).json()["hits"]
        server.end(number)
        assert server.process.wait(30) == 0
        assert server.process.stdout.read() == ""
    assert [line for line in server.said if "Error" in line or "Traceback" in line] == []
    assert not (path / "writer.json").exists()


def test_it_finishes_what_is_in_work(path):
    with serve(path) as server, ThreadPoolExecutor() as pool:
        with locked(path):
            post = pool.submit(server.client.post, "/v1/memories", json={"text": "In time."})
            wait_for(server.client, "memstore_http_writing", 1.0)
            server.end()
            while accepts_connections(server.client):
                time.sleep(0.01)
            assert not post.done()
        answer = post.result()
        assert answer.status_code == 201
        assert server.process.wait(30) == 0
    with MemoryStore.open(path) as store:
        assert store.get(answer.json()["id"]).text == "In time."


def test_what_is_not_finished_in_time_is_cut_off_and_said_to_be(path):
    with serve(path, "--stop-seconds", "1") as server, ThreadPoolExecutor() as pool:
        with locked(path):
            post = pool.submit(server.client.post, "/v1/memories", json={"text": "Too late."})
            wait_for(server.client, "memstore_http_writing", 1.0)
            server.end()
            assert server.process.wait(30) == 1
        answer = post.result()
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:memstore:problem:cut-off"
    assert "cut off" in "".join(server.said)
    assert "Traceback" not in "".join(server.said)
    with MemoryStore.open(path) as store:
        assert store.verify().clean


def test_a_second_signal_ends_it_at_once(path):
    with serve(path, "--stop-seconds", "600") as server, ThreadPoolExecutor() as pool:
        with locked(path):
            post = pool.submit(server.client.post, "/v1/memories", json={"text": "Never."})
            wait_for(server.client, "memstore_http_writing", 1.0)
            server.end()
            time.sleep(0.2)
            server.end()
            assert server.process.wait(30) == 128 + signal.SIGTERM
        assert isinstance(post.exception(), httpx.RemoteProtocolError | httpx.ReadError)


def test_while_it_drains_it_is_not_ready_and_still_answers(path):
    with serve(path, "--drain-seconds", "600") as server:
        assert server.client.get("/readyz").status_code == 200
        server.end()
        while (ready := server.client.get("/readyz")).status_code == 200:
            time.sleep(0.01)
        assert ready.status_code == 503
        assert ready.json()["type"] == "urn:memstore:problem:stopping"
        assert int(ready.headers["retry-after"]) > 0
        assert server.client.get("/healthz").status_code == 200
        assert server.client.post("/v1/query", json={"text": "tea"}).json()["hits"]
        server.end()
        assert server.process.wait(30) == 128 + signal.SIGTERM


def test_a_kill_loses_nothing_that_was_acknowledged(path):
    acknowledged: list[str] = []
    with serve(path) as server, ThreadPoolExecutor(4) as pool:

        def write(writer: int) -> None:
            with contextlib.suppress(httpx.TransportError):
                for number in range(10_000):
                    text = {"text": f"Note {number} of writer {writer}.", "key": f"{writer}"}
                    answer = server.client.post("/v1/memories", json=text)
                    assert answer.status_code == 201
                    acknowledged.append(answer.json()["id"])

        writers = [pool.submit(write, writer) for writer in range(4)]
        while len(acknowledged) < 40:
            time.sleep(0.01)
        server.process.kill()
        for writer in writers:
            writer.result()
    with MemoryStore.open(path) as store:
        found = {memory.id for memory in store.list(limit=10_000).memories}
        assert set(acknowledged) <= found
        assert store.verify().clean
        for memory_id in acknowledged[-4:]:
            assert memory_id in {
                hit.memory.id
                for hit in store.query(
                    store.get(memory_id).text, limit=20, include_invalid=True
                ).hits
            }


def test_requests_are_logged_without_what_they_say(path):
    with serve(path, "--log-requests") as server:
        server.client.get("/v1/memories", params={"where": '{"text": "a secret"}'})
        server.client.get("/v1/memories/a-secret-id")
        server.end()
        server.process.wait(30)
    logged = "".join(server.said)
    assert re.search(r"GET /v1/memories 200 \d+\.\d ms", logged)
    assert re.search(r"GET /v1/memories/\{id\} 404 \d+\.\d ms", logged)
    assert "secret" not in logged


def test_a_namespace_and_reading_alone_may_be_served(path):
    with serve(path, "--namespace", "team", "--read-only") as server:
        assert server.client.get("/v1/memories").json()["memories"] == []
        assert server.client.get("/v1/memories?namespace=default").status_code == 403
        assert server.client.post("/v1/memories", json={"text": "tea"}).status_code == 403


def test_it_is_open_to_other_machines_with_tokens_alone(path, run_memstore, tmp_path):
    refused = run_memstore(tmp_path, "--store", str(path), "serve", "--http", "0.0.0.0:0")
    assert refused.returncode == 1
    assert "--tokens FILE" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:x", "127.0.0.1:70000", ":80", ""])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(BadInput, match="HOST:PORT"):
        host_and_port(address)


def test_a_port_in_use_is_said(path, run_memstore, tmp_path):
    with serve(path) as server:
        place = f"127.0.0.1:{server.client.base_url.port}"
        refused = run_memstore(tmp_path, "--store", str(path), "serve", "--http", place)
    assert refused.returncode == 1
    assert f"{place} cannot be listened to" in refused.stderr


def test_an_unknown_reranker_is_said_at_the_start(path, run_memstore, tmp_path):
    asked = ("serve", "--http", "127.0.0.1:0", "--rerank", "./no-model")
    refused = run_memstore(tmp_path, "--store", str(path), *asked)
    assert refused.returncode == 1
    assert "no-model" in refused.stderr


def test_a_token_is_made_once_and_kept_as_its_hash(path, run_memstore, tmp_path):
    def make(*options):
        return run_memstore(tmp_path, "token", *options, "--tokens", "tokens.json")

    ana = make("ana", "--namespace", "team/ana", "--read-only")
    bob = make("bob")
    file = tmp_path / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ana.stdout.strip() not in file.read_text()
    assert make("ana").returncode == 1
    assert make("a b").returncode == 1
    for nowhere in ("a//b", "team/", "", "team/*", "a/../b"):
        refused = make("eve", "--namespace", nowhere)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"{nowhere!r} is no namespace" in refused.stderr
    assert [token.name for token in tokens.read_tokens(file)] == ["ana", "bob"]
    with serve(path, "--tokens", str(file)) as server:

        def status(secret):
            headers = {"Authorization": f"Bearer {secret.strip()}"}
            return server.client.get("/v1/memories?namespace=default", headers=headers).status_code

        assert status(bob.stdout) == 200
        assert status(ana.stdout) == 403
        assert status("mst_wrong") == 401


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "not JSON"),
        ("[]", "lists no tokens"),
        ('{"tokens": []}', "lists no tokens"),
        ('{"tokens": [{"name": "a"}]}', "wrong fields"),
        ('{"tokens": [{"name": "a", "sha256": "abc"}]}', "no SHA-256"),
        ('{"tokens": [{"name": "a", "sha256": "HASH", "token": "x"}]}', "wrong fields"),
        ('{"tokens": [{"name": "a b", "sha256": "HASH"}]}', "has the name"),
        ('{"tokens": [{"name": "a", "sha256": "HASH", "namespaces": "x"}]}', "give a list"),
        ('{"tokens": [{"name": "a", "sha256": "HASH", "namespaces": []}]}', "needs a namespace"),
        ('{"tokens": [{"name": "a", "sha256": "HASH", "namespaces": ["a//b"]}]}', "no namespace"),
        ('{"tokens": [{"name": "a", "sha256": "HASH", "read_only": 1}]}', "give true or false"),
        ('{"tokens": [{"name": "a", "sha256": "HASH"}, {"name": "a", "sha256": "HASI"}]}', "name"),
        (
            '{"tokens": [{"name": "a", "sha256": "HASH"}, {"name": "b", "sha256": "HASH"}]}',
            "sha256",
        ),
    ],
)
def test_a_file_of_tokens_that_means_nothing_certain_is_refused(written, said, tmp_path):
    file = tmp_path / "tokens.json"
    file.write_text(written.replace("HASH", "0" * 64).replace("HASI", "1" * 64))
    file.chmod(0o600)
    with pytest.raises(BadInput, match=said):
        tokens.read_tokens(file)


def test_a_file_of_tokens_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "tokens.json"
    _, entry = tokens.new_token("ana", ["*"], read_only=False)
    tokens.add_token(file, entry)
    assert tokens.read_tokens(file)
    for mode in (0o640, 0o604, 0o622):
        file.chmod(mode)
        with pytest.raises(BadInput, match="chmod 600"):
            tokens.read_tokens(file)


def test_without_the_extra_it_says_what_to_install(path):
    code = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from memstore.cli import main\n"
        f"main(['--store', {str(path)!r}, 'serve'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'memstore[serve]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_commands_do_not_load_the_server():
    code = "import sys, memstore.cli; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "memstore.cli.serve" in loaded
    assert loaded & {"fastapi", "starlette", "uvicorn", "pydantic", "prometheus_client"} == set()


def test_a_store_that_is_not_there_yet_is_made(tmp_path):
    path = tmp_path / "new.mem"
    with serve(path, "--encoder", "hashed") as server:
        assert server.client.post("/v1/memories", json={"text": "The first."}).status_code == 201
    assert os.path.isdir(path)
