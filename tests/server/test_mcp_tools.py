"""What each tool of the MCP server does with what an agent says, over the SDK's own connection."""

import importlib.util
import json
import logging
import re
from pathlib import Path

import jsonschema
import pytest
from mcp import MCPError
from mcp_clients import Agent, agent

from memstore import BadInput, IndexDamaged, MemoryStore, StoreLocked
from memstore.scoring.half_lives import KIND_HALF_LIVES
from memstore.scoring.profiles import PROFILES
from memstore.server.mcp import READING_TOOLS, TOOLS, WRITING_TOOLS
from memstore.server.mcp.arguments import read_arguments
from memstore.server.mcp.serving import build_server, described, instructions
from memstore.server.mcp.tools import BY_NAME
from memstore.server.scope import Scope

# getting


def test_a_long_text_is_read_in_pieces(store):
    text = "".join(f"Sentence number {number} of a long report. " for number in range(2000))
    memory = store.add(text)
    own, pieces, start = agent(store), [], 0
    while start < len(text):
        answer = own.call("memory_get", id=memory.id, start=start)
        piece = answer.data["memory"]["text"]
        assert answer.data["memory"]["partial"]
        assert answer.data["characters"] == len(text)
        pieces.append(piece)
        start += len(piece)
        for said in (answer.text, answer.data.get("next", "")):
            assert (f"start={start}" in said) == (start < len(text))
    assert "".join(pieces) == text
    assert len(pieces) > 2


def test_history_is_bounded_and_its_values_are_cut(store):
    memory = store.add("x " * 5000, metadata={"a": "b" * 5000})
    for number in range(60):
        store.confirm(memory.id, source=f"source {number}")
    store.update(memory.id, text="short")
    answer = agent(store).call("memory_get", id=memory.id, history=True)
    assert (len(answer.data["history"]), answer.data["events"]) == (50, 62)
    assert answer.data["history"][-1]["verb"] == "update"
    assert len(json.dumps(answer.data)) < 10_000
    assert "metadata" not in answer.data["memory"]
    assert answer.data["memory"]["partial"]


def test_a_key_is_found_below_the_namespace_and_first_in_the_one_that_is_written_to(store):
    below = store.add("Chess is on Mondays.", namespace="team/ana", key="chess")
    whole, team = agent(store, "*"), agent(store, "team")
    for own in (whole, team):
        assert own.call("memory_get", key="chess").data["memory"]["id"] == below.id
    mine = team.call("memory_store", text="Chess is on Fridays.", key="chess").data["id"]
    store.add("Chess is on Sundays.", namespace="team/ana", key="chess")
    found = team.call("memory_get", key="chess")
    assert found.data["memory"]["id"] == mine
    assert found.data["memory"]["namespace"] == "team"
    assert "Other namespaces have 1 under this key" in found.data["next"]
    assert found.data["next"] in found.text
    default = whole.call("memory_store", text="Chess is off.", key="chess").data["id"]
    assert whole.call("memory_get", key="chess").data["memory"]["id"] == default
    missing = whole.call("memory_get", key="go")
    assert missing.failed
    assert "'go'" in missing.text


def test_of_a_key_the_memory_that_holds_is_read_and_the_last_one_where_none_does(store):
    held = store.add("The limit is 5.", key="limit")
    store.add("The limit was 4.", key="limit", valid_from="2020-01-01T00:00:00Z")
    later = store.add("The limit will be 6.", key="limit", valid_from="2090-01-01T00:00:00Z")
    own = agent(store)
    assert own.call("memory_get", key="limit").data["memory"]["id"] == held.id
    store.forget([held.id, later.id])
    assert own.call("memory_get", key="limit").data["memory"]["text"] == "The limit was 4."


@pytest.mark.parametrize("given", [{}, {"id": "x", "key": "y"}])
def test_get_takes_an_id_or_a_key(given, store):
    assert agent(store).call("memory_get", **given).failed


# changing


def test_an_update_changes_what_was_given_clears_what_was_named_and_leaves_the_rest(store):
    memory = store.add("Ana likes tea.", kind="preference", source="Ana", metadata={"a": 1})
    own = agent(store)
    nulls = dict.fromkeys(("kind", "valid_to", "metadata", "source", "occurred_at"))
    answer = own.call("memory_update", id=memory.id, text="Ana likes coffee.", **nulls)
    updated = store.get(memory.id)
    assert answer.data["version"] == updated.version
    assert (updated.text, updated.kind, updated.source) == (
        "Ana likes coffee.",
        "preference",
        "Ana",
    )
    assert updated.metadata == {"a": 1}
    own.call("memory_update", id=memory.id, clear=["kind", "source", "metadata"])
    cleared = store.get(memory.id)
    assert (cleared.kind, cleared.source, cleared.metadata) == (None, None, {})
    for wrong in ({}, {"clear": ["text"]}, {"clear": ["kind"], "kind": "fact"}):
        assert own.call("memory_update", id=memory.id, **wrong).failed


def test_an_update_of_another_version_is_refused(store):
    memory = store.add("The limit is 5.")
    store.update(memory.id, text="The limit is 6.")
    stale = agent(store).call(
        "memory_update", id=memory.id, text="The limit is 7.", if_version=memory.version
    )
    assert stale.failed
    assert store.get(memory.id).text == "The limit is 6."


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"verb": "reinforce"}, ("uses", 0, 1)),
        ({"verb": "confirm", "source": "Ana"}, ("confidence", 5.0, 6.67)),
        ({"verb": "contradict", "source": "Ana"}, ("confidence", 5.0, 3.33)),
        ({"verb": "importance", "importance": 1}, ("importance", 0.0, 1.0)),
    ],
)
def test_each_verb_of_feedback_changes_one_thing(given, changed, store):
    memory = store.add("Bruno plays chess.")
    name, before, after = changed
    assert getattr(memory, name) == before
    answer = agent(store).call("memory_feedback", id=memory.id, **given)
    assert answer.data[name] == after
    assert round(getattr(store.get(memory.id), name), 2) == after


def test_a_retracted_memory_is_in_no_recall(store):
    memory = store.add("Bruno plays chess.")
    told = agent(store).call(
        "memory_feedback", id=memory.id, verb="retract", reason="He said: go, not chess."
    )
    assert told.data["retracted_at"]
    assert agent(store).call("memory_recall", query="Bruno chess").data["hits"] == []


@pytest.mark.parametrize(
    ("verb", "needed"),
    [
        ("confirm", "source"),
        ("contradict", "source"),
        ("retract", "reason"),
        ("supersede", "by"),
        ("importance", "importance"),
    ],
)
def test_feedback_says_what_its_verb_needs(verb, needed, store):
    memory = store.add("Bruno plays chess.")
    answer = agent(store).call("memory_feedback", id=memory.id, verb=verb)
    assert answer.failed
    assert needed in answer.text
    both = agent(store).call("memory_feedback", id=memory.id, verb=verb, **{needed: "1"}, page="x")
    assert both.failed
    told = {"confirm": "page is none", "contradict": "page is none"}
    assert told.get(verb, f"{verb} does not take 'page'. Beside id it takes: {needed}") in both.text
    assert store.get(memory.id).version == memory.version


# status and profile


def test_the_status_of_a_whole_store_has_its_size_and_that_of_a_namespace_has_not(store):
    store.add("Ana lives in Porto.", namespace="team/ana")
    whole, part = agent(store, "*"), agent(store, "team", read_only=True)
    status = part.call("memory_status").data
    assert (status["memories"], status["read_only"]) == (1, True)
    assert status["namespaces"] == [{"name": "team/ana", "memories": 1}]
    assert "size_bytes" not in status
    assert whole.call("memory_status").data["size_bytes"] > 0
    assert {item["name"] for item in status["entities"]} == {"Ana", "Porto"}
    assert f"stored at {status['last_recorded_at']}." in part.call("memory_status").text


def test_the_profile_has_what_matters_once_and_holds_now(store):
    pinned = store.add("Never deploy on Fridays.", importance=1.0)
    fact = store.add("Ana lives in Porto.", kind="fact", key="ana.city")
    store.add("Ana lives in Lisbon.", kind="fact", key="ana.city")
    retracted = store.add("Bruno lives in Braga.", kind="fact")
    store.retract(retracted.id, reason="no")
    store.add("The sale ends soon.", valid_to="2020-01-01T00:00:00Z")
    store.add("The sale will begin.", valid_from="2090-01-01T00:00:00Z")
    unimportant = store.add("It rained.", importance=-1.0)
    used = store.add("The staging password is in the vault.")
    store.reinforce(used.id)
    store.add("Something else came up.")
    profile = agent(store).read("memory://profile")
    for line in ("Never deploy", "lives in Lisbon", "staging", "Something else"):
        assert profile.count(line) == 1
    for line in ("Ana lives in Porto", "Braga.", "sale"):
        assert line not in profile
    order = [profile.index(name) for name in ("<important>", "<stable>", "<used>", "<recent>")]
    assert order == sorted(order)
    assert f'id="{pinned.id}"' in profile
    assert fact.id not in profile
    assert unimportant.id not in profile


def test_the_profile_is_bounded_however_much_is_stored(store):
    store.add_many(
        [
            {
                "text": f"{number} " + "long " * 80,
                "kind": "fact",
                "metadata": {"note": "x" * 1900},
                "importance": number / 1000,
            }
            for number in range(600)
        ]
    )
    profile = agent(store).read("memory://profile")
    assert 2000 < len(profile) < 12_000
    assert "599 long" in profile  # the most important one


def test_an_empty_namespace_has_a_profile_and_a_status(store):
    own = agent(store, "nobody/yet")
    assert own.call("memory_status").data["memories"] == 0
    assert '<namespace name="nobody/yet" memories="0"></namespace>' in own.read("memory://profile")


# what is offered, and what is refused


def test_the_names_of_the_tools_are_those_that_are_made():
    assert set(TOOLS) == set(READING_TOOLS) | set(WRITING_TOOLS)
    assert len(TOOLS) == 7
    for name in TOOLS:
        hints = described(name).annotations
        assert hints.read_only_hint == (name in READING_TOOLS)
        assert hints.open_world_hint is False
        assert hints.title
    for name in ("memory_forget", "memory_update", "memory_feedback"):
        assert described(name).annotations.destructive_hint is True
    assert described("memory_store").annotations.destructive_hint is False
    assert described("memory_store").annotations.idempotent_hint is True


def test_schemas_are_valid_and_name_no_namespace():
    for name in TOOLS:
        tool = described(name)
        for schema in (tool.input_schema, tool.output_schema):
            jsonschema.Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object"
        assert "namespace" not in tool.input_schema["properties"]
        assert tool.input_schema["additionalProperties"] is False


def test_choices_are_those_of_the_store():
    kinds = described("memory_store").input_schema["properties"]["kind"]["enum"]
    profiles = described("memory_recall").input_schema["properties"]["profile"]["enum"]
    assert set(kinds) == set(KIND_HALF_LIVES)
    assert set(profiles) == set(PROFILES)


def listed() -> tuple[list[dict], list[dict]]:
    """All of the list of tools, and of it what a model reads."""
    tools = [described(name).model_dump(by_alias=True, exclude_none=True) for name in TOOLS]
    read = ("name", "description", "inputSchema")
    return tools, [{name: tool[name] for name in read} for tool in tools]


def test_the_list_of_tools_stays_small():
    whole, read = (len(json.dumps(part, separators=(",", ":"))) for part in listed())
    assert read < 5800
    assert whole < 12_000
    assert len(instructions(TOOLS, read_only=False)) < 450


def test_tools_that_are_not_offered_are_not_spoken_of():
    for offered in [(name,) for name in TOOLS] + [READING_TOOLS, TOOLS]:
        said = instructions(offered, read_only=False)
        for name in offered:
            said += json.dumps(described(name, offered).model_dump(by_alias=True))
        assert set(re.findall("|".join(TOOLS), said)) == set(offered)
        assert ("Recall before" in said) == ("memory_recall" in offered)
        assert ("give a key" in said) == ("memory_store" in offered)
    where = described("memory_forget", ["memory_forget"]).input_schema["properties"]["where"]
    assert "metadata.topic" in where["description"]


def test_the_page_says_how_many_tokens_the_list_takes(monkeypatch):
    bundled = importlib.util.find_spec("llama_index.core")
    assert bundled is not None, "a package of the extra dev, which brings the vocabulary"
    vocabularies = Path(bundled.origin).parent / "_static" / "tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(vocabularies))
    tiktoken = pytest.importorskip("tiktoken")
    encoding = tiktoken.get_encoding("o200k_base")
    page = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text(encoding="utf-8")
    for part in listed():
        tokens = len(encoding.encode(json.dumps(part, separators=(",", ":"))))
        assert re.search(rf"\b{tokens}\b", page), f"the page should say {tokens}"


def test_a_server_offers_the_tools_it_was_told_to(store):
    few = build_server(store, Scope(), ["memory_recall", "memory_store"])
    assert list(Agent(few).tools()) == ["memory_store", "memory_recall"]
    with pytest.raises(MCPError, match="Unknown tool: memory_forget"):
        Agent(few).call("memory_forget", ids=["x"])
    with pytest.raises(BadInput, match="memory_everything"):
        build_server(store, Scope(), ["memory_everything"])
    with pytest.raises(BadInput, match="only reads"):
        build_server(store, Scope(read_only=True), ["memory_store"])


@pytest.mark.parametrize(
    ("tool", "given", "said"),
    [
        ("memory_store", {}, "text: Field required"),
        ("memory_store", {"text": 5}, "text: Input should be a valid string"),
        ("memory_store", {"text": "a", "namespace": "b"}, "It takes: text, key"),
        ("memory_store", {"text": "a", "kind": "gossip"}, "kind: Input should be"),
        ("memory_store", {"text": "  "}, "text is empty"),
        ("memory_store", {"text": "a", "occurred_at": "2026-03-02T09:00"}, "no UTC offset"),
        ("memory_store", {"text": "a", "metadata": [1]}, "metadata: "),
        ("memory_recall", {"query": "a", "limit": 0}, "limit: "),
        ("memory_recall", {"query": "a", "limit": 101}, "limit: "),
        ("memory_recall", {"query": "a", "as_of": "then"}, "as_of is 'then'"),
        ("memory_status", {"x": 1}, "It takes: none."),
    ],
)
def test_what_cannot_be_accepted_is_an_error_that_says_why(tool, given, said, store):
    answer = agent(store).call(tool, **given)
    assert answer.failed
    assert said in answer.text
    assert answer.data is None
    assert not store.list().memories


@pytest.mark.parametrize(
    ("tool", "model"), [(name, BY_NAME[name].arguments) for name in TOOLS], ids=TOOLS
)
def test_null_is_what_was_not_given(tool, model):
    needed = {"text": "a", "query": "b", "id": "c", "verb": "reinforce"}
    given = {name: needed.get(name) for name in model.model_fields}
    if tool == "memory_forget":
        del given["query"]
    bare = {name: value for name, value in given.items() if value is not None}
    assert read_arguments(tool, model, given) == read_arguments(tool, model, bare)


def test_lists_may_be_written_as_json(store):
    memory = store.add("Bruno plays chess.", kind="fact", source="Ana")
    own = agent(store)
    own.call("memory_update", id=memory.id, clear='["kind", "source"]')
    assert (store.get(memory.id).kind, store.get(memory.id).source) == (None, None)
    assert own.call("memory_forget", ids="not JSON").failed
    gone = own.call("memory_forget", ids=json.dumps([memory.id]))
    assert gone.data["forgotten"] == [memory.id]


def test_a_resource_that_is_not_there_is_an_error_of_the_protocol(store):
    for uri in ("memory://memory/01M8MNYPPQRADYGWF4K9KFCKNA", "memory://other", "file:///etc"):
        with pytest.raises(MCPError) as caught:
            agent(store).read(uri)
        assert caught.value.code == -32602


def test_a_failure_that_nobody_foresaw_tells_the_client_nothing_of_the_inside(
    store, monkeypatch, caplog
):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path of the machine")

    monkeypatch.setattr(MemoryStore, "query", broken)
    monkeypatch.setattr(MemoryStore, "entities", broken)
    with caplog.at_level(logging.ERROR):
        answer = agent(store).call("memory_recall", query="anything")
        with pytest.raises(MCPError) as caught:
            agent(store).read("memory://profile")
    assert answer.failed
    for said in (answer.text, str(caught.value), str(caught.value.data)):
        assert "secret" not in said
        assert "Traceback" not in said
    assert caplog.text.count("RuntimeError: /secret/path of the machine") == 2


def test_a_refusal_of_the_store_is_told_in_its_words_and_damage_is_not(store, monkeypatch):
    def raising(error: Exception) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(MemoryStore, "query", refuse)

    raising(StoreLocked("Another process writes. Try again."))
    assert (
        agent(store).call("memory_recall", query="a").text == "Another process writes. Try again."
    )
    raising(IndexDamaged("memory 7 of namespace 'somebody/else' is wrong"))
    told = agent(store).call("memory_recall", query="a")
    assert told.failed
    assert "somebody" not in told.text
