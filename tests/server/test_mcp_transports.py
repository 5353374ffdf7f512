"""The MCP server as clients meet it: a process, over standard input and output and over HTTP."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import mcp_types as types
import pytest
from mcp_clients import (
    COMMAND,
    OPENING,
    TOKEN,
    TRANSPORTS,
    Answer,
    RawClient,
    arguments,
    check_answer,
    http_server,
    over_http,
    over_stdio,
)

from memstore import MemoryStore
from memstore.server.mcp import READING_TOOLS, TOOLS
from memstore.server.mcp.http import Gate
from memstore.server.mcp.stdio import Unreadable, read_message

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store of the tiny encoder that is not open."""
    MemoryStore.open(tmp_path / "agent.mem", encoder="hashed").close()
    return tmp_path / "agent.mem"


def texts(place: Path) -> list[str]:
    with MemoryStore.open(place) as store:
        return [memory.text for memory in store.list(namespace="*").memories]


# both ways to open a connection, by a handshake and without: the other two are below
@pytest.mark.parametrize(("transport", "mode"), [("stdio", "auto"), ("http", "legacy")])
def test_every_tool_and_resource_answers_as_its_schema_says(transport, mode, place):
    async def tour() -> None:
        async with TRANSPORTS[transport](place, mode=mode) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert list(tools) == list(TOOLS)
            used = set()

            async def call(name: str, **given: object) -> dict:
                used.add(name)
                jsonschema.Draft202012Validator(tools[name].input_schema).validate(given)
                return check_answer(tools[name], await client.call_tool(name, given))

            first = await call(
                "memory_store",
                text="The API of Ana's team times out after 30 seconds.",
                key="api.timeout",
                kind="fact",
                occurred_at="2026-03-02T09:00:00Z",
                metadata={"repository": "gateway", "tries": 3},
                source="Ana",
                session="review",
            )
            again = await call(
                "memory_store", text="The API times out after 60 seconds.", key="api.timeout"
            )
            assert (first["status"], again["superseded"]) == ("stored", [first["id"]])
            extra = await call("memory_store", text="Deploys happen on Tuesdays.")
            changed = await call(
                "memory_store", text="Deploys happen daily.", supersedes=extra["id"]
            )
            assert changed["superseded"] == [extra["id"]]
            found = await call("memory_recall", query="API times out", explain=True)
            assert found["hits"][0]["id"] == again["id"]
            assert {item["id"] for item in found["left_out_ids"]} >= {first["id"]}
            updated = await call(
                "memory_update", id=again["id"], metadata={"a": [1]}, if_version=again["version"]
            )
            assert updated["version"] != again["version"]
            told = await call(
                "memory_feedback", id=again["id"], verb="confirm", source="the test run"
            )
            assert told["confidence"] > 5
            got = await call("memory_get", key="api.timeout", history=True)
            assert [event["verb"] for event in got["history"]] == ["add", "update", "confirm"]
            shown = await call("memory_forget", where={"superseded_by": {"exists": True}})
            assert shown["count"] == 2
            gone = await call(
                "memory_forget",
                where={"superseded_by": {"exists": True}},
                confirm=shown["confirm"],
            )
            assert set(gone["forgotten"]) == {first["id"], extra["id"]}
            assert (await call("memory_status"))["memories"] == 2
            assert used == set(tools)

            (profile,) = (await client.list_resources()).resources
            (template,) = (await client.list_resource_templates()).resource_templates
            whole = await client.read_resource(profile.uri)
            assert "60 seconds" in whole.contents[0].text
            one = await client.read_resource(template.uri_template.replace("{id}", again["id"]))
            assert "60 seconds" in one.contents[0].text

    asyncio.run(tour())


def test_a_server_that_only_reads_offers_nothing_that_writes(place):
    with MemoryStore.open(place) as store:
        store.add("Bruno plays chess.")

    async def visit() -> tuple[list[types.Tool], list[str], str]:
        async with over_http(place, "--read-only") as client:
            tools = (await client.list_tools()).tools
            refused = []
            for name in sorted(set(TOOLS) - set(READING_TOOLS)):
                with pytest.raises(Exception, match=f"Unknown tool: {name}"):
                    await client.call_tool(name, {"text": "no"})
                refused.append(name)
            found = Answer.of(await client.call_tool("memory_recall", {"query": "chess"}))
            return tools, refused, found.text

    tools, refused, found = asyncio.run(visit())
    assert {tool.name for tool in tools} == set(READING_TOOLS)
    assert all(tool.annotations.read_only_hint for tool in tools)
    assert len(refused) == 4
    assert "Bruno plays chess." in found
    assert texts(place) == ["Bruno plays chess."]


def test_calls_made_at_once_over_http_are_all_answered_and_outlive_a_kill(place):
    async def crowd() -> list[Answer]:
        async with over_http(place) as client:
            calls = [
                client.call_tool("memory_store", {"text": f"note {number}"}) for number in range(24)
            ]
            calls += [client.call_tool("memory_recall", {"query": "note"}) for _ in range(24)]
            return [Answer.of(result) for result in await asyncio.gather(*calls)]

    answers = asyncio.run(crowd())
    assert [answer.text for answer in answers if answer.failed] == []
    # `over_http` has killed the server by now
    assert sorted(texts(place)) == sorted(f"note {number}" for number in range(24))
    with MemoryStore.open(place) as store:
        assert store.verify().clean


def test_two_servers_write_to_one_store_and_keep_their_namespaces_apart(place):
    async def both() -> list[Answer]:
        async with (
            over_stdio(place, "--namespace", "ana", mode="legacy") as ana,
            over_stdio(place, "--namespace", "bruno") as bruno,
        ):
            await asyncio.gather(
                *(ana.call_tool("memory_store", {"text": f"ana {n}"}) for n in range(8)),
                *(bruno.call_tool("memory_store", {"text": f"bruno {n}"}) for n in range(8)),
            )
            recalled = [
                await client.call_tool("memory_recall", {"query": "bruno ana", "limit": 50})
                for client in (ana, bruno)
            ]
            return [Answer.of(result) for result in recalled]

    ana, bruno = asyncio.run(both())
    assert {hit["text"].split()[0] for hit in ana.data["hits"]} == {"ana"}
    assert {hit["text"].split()[0] for hit in bruno.data["hits"]} == {"bruno"}
    assert len(texts(place)) == 16


def test_what_was_acknowledged_over_stdio_outlives_a_kill(place):
    client = RawClient(place)
    acknowledged = []
    for number in range(1, 11):
        client.call(number, "memory_store", text=f"note {number}")
    for _ in range(6):  # of ten under way
        answer = client.answer()
        assert not answer["result"]["isError"]
        acknowledged.append(f"note {answer['id']}")
    status, _, _ = client.end(signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert set(acknowledged) <= set(texts(place))
    with MemoryStore.open(place) as store:
        assert store.verify().clean


def closed(place: Path) -> bool:
    """Whether the last one to have it open has closed it: SQLite then removes its log."""
    return not (place / "memstore.db-wal").exists()


@contextlib.contextmanager
def another_writer(place: Path) -> Iterator[None]:
    """Another program writes to the store all the time, so that nobody else can."""
    with contextlib.closing(sqlite3.connect(place / "memstore.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()


def test_writes_that_wait_hold_up_no_read_and_are_answered_after_sigterm(place):
    client = RawClient(place)
    assert not closed(place)
    with another_writer(place):
        client.send_together(
            [{"name": "memory_store", "arguments": {"text": f"note {n}"}} for n in range(1, 21)]
        )
        client.call(21, "memory_recall", query="note")
        assert client.answer()["id"] == 21  # so all were read
        client.process.send_signal(signal.SIGTERM)
    status, out, err = client.end()
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert {answer["id"] for answer in answers} == set(range(1, 21))
    assert not any(answer["result"]["isError"] for answer in answers)
    assert err.count("\n") == 1  # what it serves, and no traceback
    assert closed(place)
    assert len(texts(place)) == 20


def test_a_signal_ends_the_http_server_once_all_is_answered_and_closes_the_store(place):
    def call(number: int, tool: str, **arguments: str) -> dict:
        params = {"name": tool, "arguments": arguments}
        return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}

    with http_server(place) as server, ThreadPoolExecutor(8) as clients:
        with another_writer(place):
            asked = [
                clients.submit(server.post, call(n, "memory_store", text=f"{n}"), **AUTHORIZED)
                for n in range(8)
            ]
            # a store can only have begun to wait once the server has it: none is answered
            found = server.post(call(9, "memory_recall", query="note"), **AUTHORIZED)
            assert found.json()["result"]["isError"] is False
            assert not closed(place)
            time.sleep(1)
            server.process.terminate()
            time.sleep(5.5)  # longer than a server waits that is in a hurry
            assert not any(answer.done() for answer in asked)
        assert {answer.result().status_code for answer in asked} == {200}
        out, err = server.process.communicate(timeout=60)
    assert (server.process.returncode, out, err) == (0, "", "")
    assert closed(place)
    assert len(texts(place)) == 8


def test_a_request_is_told_when_the_server_ends_without_it():
    answers: list[dict] = []

    async def endless(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(3600)

    async def send(message: dict) -> None:
        answers.append(message)

    async def cancelled() -> None:
        scope = {"type": "http", "method": "POST", "headers": []}
        request = asyncio.create_task(Gate(endless, None)(scope, None, send))
        await asyncio.sleep(0)
        request.cancel()
        await request

    asyncio.run(cancelled())
    assert answers[0]["status"] == 503


def test_requests_may_be_piped_in(place):
    messages = [
        {"id": 1, "method": "initialize", "params": OPENING},
        {"method": "notifications/initialized"},
        {
            "id": 2,
            "method": "tools/call",
            "params": {"name": "memory_store", "arguments": {"text": "piped"}},
        },
    ]
    lines = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
    done = subprocess.run(
        [COMMAND[0], *arguments(place)], input=lines, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert texts(place) == ["piped"]


def test_a_client_that_vanishes_ends_the_server_quietly(place):
    client = RawClient(place)
    client.process.stdout.close()
    client.call(1, "memory_store", text="nobody waits for this")
    status = client.process.wait(60)  # though its input is open
    client.process.stdin.close()
    err = client.process.stderr.read()
    client.process.stderr.close()
    assert status == 0
    assert "Traceback" not in err
    assert texts(place) == ["nobody waits for this"]
    assert closed(place)


STORE = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"memory_store",%s}}'


@pytest.mark.parametrize(
    ("line", "number", "code"),
    [
        ("no JSON", None, types.PARSE_ERROR),
        ("\x00", None, types.PARSE_ERROR),
        (STORE % '"arguments":{"text":"half of a pair: \\ud83d"}', 7, types.PARSE_ERROR),
        (STORE % f'"arguments":{{"n":{"9" * 5000}}}', 7, types.PARSE_ERROR),
        (STORE % f'"arguments":{{"n":{"[" * 2000}{"]" * 2000}}}', 7, types.PARSE_ERROR),
        ('{"params":{"id":1},"id":"\\"b\\"","x":[[[', '"b"', types.PARSE_ERROR),
        (r'{"jsonrpc":"2.0","id":"\ud83d","method":"ping"}', None, types.PARSE_ERROR),
        ('{"jsonrpc":"2.0","id":%s,"method":"ping"}' % ("9" * 5000), None, types.PARSE_ERROR),
        ('{"id":"' + r"\"" * 100_000, None, types.PARSE_ERROR),
        ('{"jsonrpc":"2.0","id":' + "[" * 100_000, None, types.PARSE_ERROR),
        (f'{{"id":{"[" * 5000}{"]" * 5000},"method":"x"}}', None, types.PARSE_ERROR),
        ('{"jsonrpc":"2.0","id":7,"method":"ping","params":[1]}', 7, types.INVALID_REQUEST),
        ('[{"jsonrpc":"2.0","id":7,"method":"ping"}]', None, types.INVALID_REQUEST),
        ('{"jsonrpc":"2.0"}', None, types.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":5.5,"method":"ping"}', None, types.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":null,"method":"ping"}', None, types.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":true,"method":"ping"}', None, types.INVALID_REQUEST),
    ],
)
def test_a_line_that_is_no_message_has_an_answer(line, number, code):
    with pytest.raises(Unreadable) as caught:
        read_message(line)
    answer = json.loads(caught.value.answer.model_dump_json(exclude_unset=True))
    assert (answer["id"], answer["error"]["code"]) == (number, code)


def test_lines_that_are_no_messages_and_cancelled_requests_hold_up_nothing(place):
    client = RawClient(place)
    client.process.stdin.write('no JSON\n\n{"jsonrpc":"2.0","id":"\\ud83d","method":"ping"}\n')
    half = {"name": "memory_store", "arguments": {"text": "half of a pair: \ud83d"}}
    client.ask(7, "tools/call", half)
    refused = [client.answer() for _ in range(3)]
    assert [answer["id"] for answer in refused] == [None, None, 7]
    assert {answer["error"]["code"] for answer in refused} == {types.PARSE_ERROR}
    client.call(1, "memory_store", text="cancelled, maybe too late")
    client.send({"method": "notifications/cancelled", "params": {"requestId": 1}})
    client.call(2, "memory_status")
    answers = [client.answer()]
    if answers[0]["id"] == 1:  # it was answered before the cancellation arrived
        answers.append(client.answer())
    assert answers[-1]["id"] == 2
    status, out, _ = client.end()  # waits for no answer to what was cancelled
    assert (status, out) == (0, "")
    assert closed(place)


LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with a token."""
    place = tmp_path_factory.mktemp("guarded") / "agent.mem"
    MemoryStore.open(place, encoder="hashed").close()
    with http_server(place, "--allow-host", "memory.example") as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer another-token-of-some-length"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer é"},
        {"Authorization": "Bearer"},
    ],
)
def test_without_the_token_nothing_is_answered(headers, guarded):
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    refused = guarded.post(LIST, **encoded)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "memory" not in refused.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),  # a name an attacker made point here
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),  # a page of somebody else
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "memory.example", "Origin": "https://memory.example"}, 200),
    ],
)
def test_only_names_that_the_server_is_known_by_are_answered(headers, status, guarded):
    assert guarded.post(LIST, **AUTHORIZED, **headers).status_code == status


def test_http_has_no_sessions_and_no_streams(guarded):
    import httpx2

    for method in ("GET", "DELETE"):
        answer = httpx2.request(method, guarded.url, headers=AUTHORIZED)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert httpx2.get(guarded.url).status_code == 401


def test_a_request_that_is_too_large_is_refused_before_it_is_read(guarded):
    large = {**LIST, "params": {"x": "y" * (4 * 1024 * 1024)}}
    assert guarded.post(large, **AUTHORIZED).status_code == 413
    assert guarded.post(LIST, **AUTHORIZED).status_code == 200
