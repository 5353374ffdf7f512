"""`MemstoreSession` as the OpenAI Agents SDK calls it, and beside the SDK's own session."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from agents import (
    Agent,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    SessionSettings,
    SQLiteSession,
    Usage,
    function_tool,
)
from agents.memory import OpenAIResponsesCompactionSession, Session
from hypothesis import given, settings
from hypothesis import strategies as st
from integrations.writing_processes import go, started
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from memstore import BadInput, MemoryStore
from memstore.integrations.openai_agents import MemstoreSession
from memstore.integrations.stored_json import PartsGone


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


@pytest.fixture
def session(store: MemoryStore) -> MemstoreSession:
    return MemstoreSession("chat-1", store)


# beside the SDK's own session

names = st.text(max_size=5)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(names, below, max_size=3),
    max_leaves=8,
)
texts = st.sampled_from(["I like tea.", "", " ", "ok", "n\0", "\ud800", "tea " * 500])
messages = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant", "system", "developer"]),
        texts | st.lists(st.builds(lambda t: {"type": "input_text", "text": t}, texts), max_size=2),
    ),
    st.builds(
        lambda name, arguments: {
            "type": "function_call",
            "name": name,
            "arguments": arguments,
            "call_id": "c",
        },
        texts,
        texts,
    ),
    st.builds(lambda out: {"type": "function_call_output", "call_id": "c", "output": out}, texts),
    st.just({"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "gAAA"}),
    st.dictionaries(
        st.sampled_from(["type", "role", "content", "output", "name", "arguments", "x"]),
        json_values,
        max_size=4,
    ),
)
steps = st.one_of(
    st.tuples(st.just("add_items"), st.lists(messages, max_size=4)),
    st.tuples(st.just("add_items"), st.lists(messages, min_size=1, max_size=2)),
    st.tuples(st.just("pop_item")),
    st.tuples(st.just("get_items"), st.integers(-1, 5) | st.none()),
    st.tuples(st.just("clear_session")),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    folder = tmp_path_factory.mktemp("sessions")
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as opened:
        yield opened


@settings(max_examples=40)
@given(plan=st.lists(st.tuples(st.integers(0, 1), steps), min_size=3, max_size=12))
def test_it_answers_as_the_sdks_own_session_does(shared, plan):
    counted.append(True)
    ours = [MemstoreSession(f"{len(counted)}-{number}", shared) for number in range(2)]
    theirs = [SQLiteSession(f"s{number}") for number in range(2)]

    async def compare() -> None:
        for which, (name, *arguments) in plan:
            mine = await getattr(ours[which], name)(*arguments)
            expected = await getattr(theirs[which], name)(*arguments)
            assert json.dumps(mine) == json.dumps(expected)
            for one, other in zip(ours, theirs, strict=True):
                assert json.dumps(await one.get_items()) == json.dumps(await other.get_items())

    run(compare())
    for session in theirs:
        session.close()


counted: list[bool] = []


# in runs of agents


class Scripted(Model):
    """A model that says what it was told to, and keeps what it was asked."""

    def __init__(self, *outputs: Any) -> None:
        self.outputs = list(outputs)
        self.asked: list[Any] = []

    async def get_response(self, system_instructions, input, *_: Any, **__: Any) -> ModelResponse:  # noqa: A002
        self.asked.append(input)
        return ModelResponse(output=[self.outputs.pop(0)], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def says(text: str) -> ResponseOutputMessage:
    content = ResponseOutputText(text=text, type="output_text", annotations=[])
    return ResponseOutputMessage(
        id="msg", type="message", role="assistant", status="completed", content=[content]
    )


@function_tool
def weather(city: str) -> str:
    """Say how the weather is."""
    return f"It rains in {city}."


OFFLINE = RunConfig(tracing_disabled=True)


def agent(model: Model) -> Agent[Any]:
    return Agent(name="helper", model=model, tools=[weather])


def script() -> Scripted:
    call = ResponseFunctionToolCall(
        type="function_call", call_id="c1", name="weather", arguments='{"city": "Porto"}'
    )
    return Scripted(call, says("Take an umbrella."), says("You asked about Porto."))


def test_a_run_of_several_turns_with_a_tool_is_kept_as_by_the_sdks_session(session):
    other = SQLiteSession("chat-1")
    models = []
    for one in (session, other):
        models.append(script())
        for said in ("How is the weather in Porto?", "Which city did I ask about?"):
            run(Runner.run(agent(models[-1]), said, session=one, run_config=OFFLINE))
    items = run(session.get_items())
    assert items == run(other.get_items())
    assert [item.get("type", item.get("role")) for item in items] == [
        *("user", "function_call", "function_call_output", "message", "user", "message")
    ]
    assert models[0].asked == models[1].asked  # the model was shown the same history
    assert "umbrella" in json.dumps(models[0].asked[-1])
    other.close()


def test_a_conversation_goes_on_when_its_store_is_opened_again(tmp_path):
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        run(
            Runner.run(
                agent(Scripted(says("Hello Ana."))),
                "I am Ana.",
                session=MemstoreSession("chat", store),
                run_config=OFFLINE,
            )
        )
    with MemoryStore.open(path) as store:
        model = Scripted(says("Ana."))
        run(
            Runner.run(
                agent(model),
                "Who am I?",
                session=MemstoreSession("chat", store),
                run_config=OFFLINE,
            )
        )
    assert [item["role"] for item in model.asked[0]] == ["user", "assistant", "user"]


def test_settings_of_the_session_or_the_run_limit_what_the_model_sees(store):
    session = MemstoreSession("chat", store, session_settings={"limit": 2})
    run(session.add_items([user(str(number)) for number in range(6)]))
    assert [item["content"] for item in run(session.get_items())] == ["4", "5"]
    assert [item["content"] for item in run(session.get_items(3))] == ["3", "4", "5"]
    assert run(session.get_items(0)) == []
    for config, expected in (
        (OFFLINE, ["4", "5"]),
        (
            RunConfig(tracing_disabled=True, session_settings=SessionSettings(limit=1)),
            ["answer"],
        ),
    ):
        model = Scripted(says("answer"))
        run(Runner.run(agent(model), "next", session=session, run_config=config))
        shown = [item["content"] for item in model.asked[0][:-1]]
        assert [one if isinstance(one, str) else one[0]["text"] for one in shown] == expected


def test_it_is_a_session_to_the_sdk(session):
    assert isinstance(session, Session)


def test_the_sdks_sessions_that_wrap_others_wrap_it(store):
    pytest.importorskip("cryptography")
    from agents.extensions.memory import EncryptedSession

    inner = MemstoreSession("secret", store)
    wrapped = EncryptedSession("secret", inner, encryption_key="key")
    run(wrapped.add_items([user("I like tea.")]))
    assert run(wrapped.get_items()) == [user("I like tea.")]
    assert "tea" not in json.dumps(run(inner.get_items()))
    assert store.query("I like tea.").hits == ()  # it is encrypted here too
    compacting = OpenAIResponsesCompactionSession("chat", MemstoreSession("chat", store))
    run(compacting.add_items([user("I like tea.")]))
    assert run(compacting.get_items()) == [user("I like tea.")]
    assert run(compacting.pop_item()) == user("I like tea.")


# items


@pytest.mark.parametrize(
    "item",
    [
        user("I like tea."),
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:" + "x" * 10**6}]},
        {"z": 1, "a": {"nul": "\0", "half": "\ud800"}, "float": 0.1 + 0.2, "big": 10**40},
        {"logprob": float("-inf")},
        {},
    ],
    ids=["message", "image", "characters", "infinity", "empty"],
)
def test_an_item_comes_back_as_it_was_added(session, item):
    run(session.add_items([item]))
    assert json.dumps(run(session.get_items())) == json.dumps([item])
    assert json.dumps(run(session.pop_item())) == json.dumps(item)
    assert session.store.namespaces() == ()  # its parts went too


def test_the_same_said_twice_is_two_items(session):
    run(session.add_items([user("yes"), user("yes")]))
    run(session.add_items([user("yes")]))
    assert run(session.get_items()) == [user("yes")] * 3


def test_more_items_than_one_page_come_back_in_order(store, monkeypatch):
    monkeypatch.setattr("memstore.integrations.listing.MAX_LIMIT", 7)
    session = MemstoreSession("long", store)
    items = [user(f"number {number}") for number in range(30)]
    run(session.add_items(items))
    assert run(session.get_items()) == items
    assert run(session.get_items(16)) == items[-16:]


def test_nothing_is_added_if_one_item_is_no_json(session):
    with pytest.raises(BadInput, match="Item 2 of 2 cannot be written as JSON"):
        run(session.add_items([user("fine"), {"role": object()}]))
    assert run(session.get_items()) == []


def test_a_part_that_is_gone_is_said(session, store):
    run(session.add_items([{"image": "x" * 10**6}]))
    store.forget(where={"key": {"exists": True}}, namespace="default/%parts")
    with pytest.raises(PartsGone):
        run(session.get_items())


@pytest.mark.parametrize("session_id", ["", "  ", None, 7])
def test_a_session_without_a_name_is_refused(store, session_id):
    with pytest.raises(BadInput, match="session_id is"):
        MemstoreSession(session_id, store)


# what is found of it


def test_what_was_said_is_found_with_who_said_it(session, store):
    items = [
        user("I am allergic to peanuts."),
        {"role": "assistant", "content": [{"type": "output_text", "text": "Noted: no peanuts."}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot say."}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Peanuts are nuts."}]},
        {
            "type": "function_call",
            "name": "order",
            "arguments": '{"what": "nuts"}',
            "call_id": "c",
        },
        {"type": "function_call_output", "call_id": "c", "output": "Sold out."},
        {"type": "custom_tool_call", "name": "sql", "input": "SELECT 1", "call_id": "d"},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {"type": "image_generation_call", "result": "iVBOR"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png"}]},
    ]
    run(session.add_items(items))
    found = {hit.memory.text: hit.memory.source for hit in store.query("nuts", limit=20).hits}
    assert found == {
        "I am allergic to peanuts.": "user",
        "Noted: no peanuts.": "assistant",
        "I cannot say.": "assistant",
        "Peanuts are nuts.": "assistant",
        'order: {"what": "nuts"}': "assistant",
        "Sold out.": "tool",
        "sql: SELECT 1": "assistant",
    }
    assert run(session.get_items()) == items


def test_the_beginning_of_what_a_tool_says_is_enough(session, store):
    page = "word " * 100_000
    run(session.add_items([{"type": "function_call_output", "call_id": "c", "output": page}]))
    assert len(store.query("word").hits[0].memory.text) == 2_000
    assert run(session.get_items())[0]["output"] == page


def test_other_conversations_are_recalled_by_meaning(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        monday = MemstoreSession("monday", store, namespace="users/ana")
        tuesday = MemstoreSession("tuesday", store, namespace="users/ana")
        bo = MemstoreSession("monday", store, namespace="users/bo")
        run(monday.add_items([user("My daughter Rita turned six on Sunday.")]))
        run(tuesday.add_items([user("Which present would a child like?")]))
        run(bo.add_items([user("My son turned nine.")]))
        store.add("Ana works at the port.", namespace="users/ana", key="job")
        result = run(tuesday.recall("How old is her child?", exclude_current=True))
        assert result.hits[0].memory.text == "My daughter Rita turned six on Sunday."
        assert {hit.memory.session for hit in result.hits} == {"monday", None}
        assert "son" not in result.render("text")
        assert "Rita" in result.render("xml")
        assert len(run(tuesday.recall("a present for a child", limit=1)).hits) == 1
        assert len(run(tuesday.recall("child")).hits) == 3


# several sessions, objects, processes


def test_sessions_of_one_store_do_not_mix(store):
    sessions = [
        MemstoreSession("a", store),
        MemstoreSession("b", store),
        MemstoreSession("a", store, namespace="default/below"),
        MemstoreSession("a", store, namespace="other"),
    ]
    store.add("Of another door.", session="a")
    for number, session in enumerate(sessions):
        run(session.add_items([user(str(number))]))
    for number, session in enumerate(sessions):
        assert run(session.get_items()) == [user(str(number))]
    run(sessions[0].clear_session())
    assert [len(run(session.get_items())) for session in sessions] == [0, 1, 1, 1]
    assert run(sessions[0].pop_item()) is None
    assert store.list(where={"text": "Of another door."}).memories


def test_two_objects_of_one_session_are_one_conversation(store):
    one, other = MemstoreSession("a", store), MemstoreSession("a", store)
    run(one.add_items([user("first")]))
    run(other.add_items([user("second")]))
    assert run(one.get_items()) == run(other.get_items()) == [user("first"), user("second")]
    assert run(one.pop_item()) == user("second")
    assert run(other.get_items()) == [user("first")]


def test_items_added_together_stay_together(session):
    async def add() -> None:
        await asyncio.gather(
            *(session.add_items([user(f"{n} {i}") for i in range(3)]) for n in range(12))
        )

    run(add())
    said = [item["content"] for item in run(session.get_items())]
    groups = [said[start : start + 3] for start in range(0, 36, 3)]
    assert sorted(groups) == sorted([f"{n} {i}" for i in range(3)] for n in range(12))


def test_each_of_several_that_pop_gets_another_item(session):
    run(session.add_items([user(str(number)) for number in range(12)]))

    async def pop() -> list[Any]:
        return await asyncio.gather(*(session.pop_item() for _ in range(14)))

    popped = [item["content"] for item in run(pop()) if item is not None]
    assert sorted(popped, key=int) == [str(number) for number in range(12)]
    assert run(session.get_items()) == []


def test_who_is_cancelled_knows_that_nothing_is_written_any_more(session, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    add_many = session.store.add_many

    def slowly(new):
        begun.set()
        go_on.wait(10)
        return add_many(new)

    monkeypatch.setattr(session.store, "add_many", slowly)

    async def add_and_cancel() -> int:
        task = asyncio.create_task(session.add_items([user("said")]))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # twice, as an impatient caller does
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(session._items(None))

    assert run(add_and_cancel()) == 1


ADD = """
import asyncio, sys
from memstore import MemoryStore
from memstore.integrations.openai_agents import MemstoreSession

path, writer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with MemoryStore.open(path, encoder="hashed") as store:
    session = MemstoreSession("shared", store)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        said = [{"role": "user", "content": f"{writer} {number} {turn}"} for turn in "qa"]
        asyncio.run(session.add_items(said))
        print(number, flush=True)
"""


def test_two_processes_add_to_one_session_and_a_kill_loses_nothing(tmp_path):
    path = tmp_path / "agent.mem"
    MemoryStore.open(path, encoder="hashed").close()
    counting, killed = started(ADD, path, "ana", 15), started(ADD, path, "bo", 10_000)
    go(counting)
    go(killed)
    for _ in range(10):
        last = int(killed.stdout.readline())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    counting.communicate()
    assert counting.returncode == 0
    with MemoryStore.open(path) as store:
        said = [item["content"] for item in run(MemstoreSession("shared", store).get_items())]
        turns = [one.rpartition(" ")[0] for one in said]
        assert turns[::2] == turns[1::2]  # both of a turn, and side by side
        of = {name: [int(turn.split()[1]) for turn in turns[::2] if name in turn] for name in WHO}
        assert of["ana"] == list(range(15))
        assert of["bo"][: last + 1] == list(range(last + 1))
        assert store.verify().clean


WHO = ("ana", "bo")


# the extra


def test_without_the_sdk_the_error_says_what_to_install(run_without):
    program = """
from memstore import MissingExtra
try:
    import memstore.integrations.openai_agents
except MissingExtra as error:
    print(error)
"""
    assert "pip install 'memstore[openai-agents]'" in run_without("agents", program)


def test_importing_memstore_loads_neither_sdk_nor_langgraph():
    program = """
import sys, memstore, memstore.cli, memstore.integrations
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "memstore" in loaded
    assert loaded & {"agents", "openai", "langgraph"} == set()
