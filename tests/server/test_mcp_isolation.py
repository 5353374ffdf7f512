"""Nothing of another namespace comes out of an MCP server, by no tool, resource or error."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import MCPError
from mcp_clients import Agent

from memstore import Memory, MemoryStore
from memstore.server.mcp.serving import build_server
from memstore.server.scope import Scope

OWN, OTHERS = ("team/ana", "team/ana/notes"), ("team", "team/bruno", "team/anabel", "default")
INVENTED = "01M8MNYPPQRADYGWF4K9KFCKNA"


@dataclass(frozen=True)
class World:
    """A store of several namespaces, and an agent who may see the first two."""

    store: MemoryStore
    agent: Agent
    own: list[Memory]
    others: list[Memory]

    @property
    def secrets(self) -> list[str]:
        """What would give away that others have memories, but for what a caller says itself."""
        words = [f"secret{number}" for number in range(len(self.others))]
        return words + [memory.id for memory in self.others] + ["Zenobia"]

    def state(self) -> list[str]:
        return [self.store.get(memory.id).version for memory in self.others]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("world") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed", settings={"log_pages": True}) as store:
        own = [store.add("The gateway times out.", namespace=name, key="gateway") for name in OWN]
        others = [
            store.add(
                f"The gateway times out, said Zenobia: secret{number}.",
                namespace=name,
                key="gateway",
                session=f"secret{number}",
                source=f"secret{number}",
                metadata={f"secret{number}": f"secret{number}"},
                importance=1.0,
                kind="fact",
            )
            for number, name in enumerate(OTHERS)
        ]
        agent = Agent(build_server(store, Scope(("team/ana",))), mode="legacy")
        yield World(store, agent, own, others)


def leaks(world: World, said: str, given: object) -> list[str]:
    """What of others is in an answer though the caller did not say it."""
    asked = json.dumps(given)
    return [secret for secret in world.secrets if secret in said and secret not in asked]


def ask(world: World, tool: str, given: dict) -> str:
    answer = world.agent.call(tool, **given)
    return answer.text + json.dumps(answer.data)


# every place of an argument that takes an id
WITH_ID = [
    ("memory_get", lambda id_, own: {"id": id_, "history": True}),
    ("memory_update", lambda id_, own: {"id": id_, "text": "changed"}),
    ("memory_forget", lambda id_, own: {"ids": [id_]}),
    ("memory_forget", lambda id_, own: {"ids": [own, id_], "purge": True}),
    ("memory_store", lambda id_, own: {"text": "new", "supersedes": id_}),
    ("memory_feedback", lambda id_, own: {"id": id_, "verb": "reinforce"}),
    ("memory_feedback", lambda id_, own: {"id": id_, "verb": "confirm", "source": "me"}),
    ("memory_feedback", lambda id_, own: {"id": id_, "verb": "contradict", "source": "me"}),
    ("memory_feedback", lambda id_, own: {"id": id_, "verb": "retract", "reason": "no"}),
    ("memory_feedback", lambda id_, own: {"id": id_, "verb": "importance", "importance": 0}),
    ("memory_feedback", lambda id_, own: {"id": id_, "verb": "supersede", "by": own}),
    ("memory_feedback", lambda id_, own: {"id": own, "verb": "supersede", "by": id_}),
]


@pytest.mark.parametrize(("tool", "arguments"), WITH_ID)
def test_an_id_of_another_namespace_is_as_unknown_as_an_invented_one(tool, arguments, world):
    before, own = world.state(), world.own[0].id
    invented = world.agent.call(tool, **arguments(INVENTED, own))
    assert invented.failed
    for memory in world.others:
        answer = world.agent.call(tool, **arguments(memory.id, own))
        assert answer.text.replace(memory.id, INVENTED) == invented.text
        assert answer.failed
    assert world.state() == before
    assert world.store.get(own).version == world.own[0].version


def test_a_resource_of_another_namespace_is_as_unknown_as_an_invented_one(world):
    def refusal(id_: str) -> tuple[int, str]:
        with pytest.raises(MCPError) as caught:
            world.agent.read(f"memory://memory/{id_}")
        said = f"{caught.value} {caught.value.data}"
        return caught.value.code, said.replace(id_, INVENTED)

    assert {refusal(memory.id) for memory in world.others} == {refusal(INVENTED)}
    assert leaks(world, world.agent.read("memory://profile"), {}) == []


def test_a_key_is_that_of_the_own_namespace(world):
    answer = world.agent.call("memory_get", key="gateway")
    assert answer.data["memory"]["id"] == world.own[0].id


def test_what_is_counted_is_the_own(world):
    status = world.agent.call("memory_status").data
    assert status["memories"] == 2
    assert {item["name"] for item in status["namespaces"]} == set(OWN)
    assert "Zenobia" not in {item["name"] for item in status["entities"]}


WORDS = st.sampled_from(
    ["gateway", "Zenobia", "secret1", "team/bruno", "times out", "*", "default", "%", "secret"]
)
VALUES = st.one_of(
    WORDS,
    st.booleans(),
    st.lists(WORDS, min_size=1, max_size=2),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"ne": WORDS}),
    st.fixed_dictionaries({"contains": WORDS}),
    st.fixed_dictionaries({"in": st.lists(WORDS, min_size=1, max_size=3)}),
)
FIELDS = st.sampled_from(
    ["namespace", "text", "source", "session", "key", "entity", "metadata.secret1", "id", "unknown"]
)
FILTERS = st.recursive(
    st.dictionaries(FIELDS, VALUES, min_size=1, max_size=2),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"or": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=4,
)
CALLS = st.one_of(
    st.tuples(
        st.just("memory_recall"),
        st.fixed_dictionaries(
            {"query": WORDS.filter(lambda word: word.isalnum())},
            optional={
                "where": FILTERS,
                "explain": st.booleans(),
                "limit": st.integers(1, 100),
                "as_of": st.sampled_from(["2090-01-01T00:00:00Z", "1990-01-01T00:00:00Z"]),
                "profile": st.sampled_from(["semantic", "balanced", "recent", "trusted"]),
            },
        ),
    ),
    # without the confirmation nothing goes, so that the next example finds the same
    st.tuples(st.just("memory_forget"), st.fixed_dictionaries({"where": FILTERS})),
    st.tuples(st.just("memory_forget"), st.fixed_dictionaries({"query": WORDS, "where": FILTERS})),
    st.tuples(st.just("memory_get"), st.fixed_dictionaries({"key": WORDS})),
    st.tuples(st.sampled_from(["memory_recall", "memory_get"]), st.dictionaries(FIELDS, WORDS)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CALLS)
def test_no_query_and_no_filter_reaches_another_namespace(world, call):
    tool, given_ = call
    assert leaks(world, ask(world, tool, given_), given_) == []


def test_storing_shows_nothing_of_what_others_stored(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        theirs = store.add("The office moves to Braga in May.", namespace="bruno", key="office")
        agent = Agent(build_server(store, Scope(("ana",))), mode="legacy")
        answer = agent.call("memory_store", text=theirs.text, key="office")
        assert answer.data["status"] == "stored"
        assert (answer.data["superseded"], answer.data.get("proposals")) == ([], None)
        assert store.get(answer.data["id"]).namespace == "ana"
        assert store.get(theirs.id).version == theirs.version
        for purge in (False, True):
            mine = agent.call("memory_store", text="The office moves to Braga in May.")
            agent.call("memory_forget", ids=[mine.data["id"]], purge=purge)
        assert store.get(theirs.id).version == theirs.version
