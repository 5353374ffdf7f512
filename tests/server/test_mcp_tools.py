"""What each tool of the MCP server does with what an agent says, over the SDK's own connection."""

import importlib.util
import json
import logging
import re
from pathlib import Path

import jsonschema
import pytest
from mcp import MCPError
from mcp_clients import Agent

from memstore import BadInput, IndexDamaged, MemoryStore, StoreLocked
from memstore.scoring.half_lives import KIND_HALF_LIVES
from memstore.scoring.profiles import PROFILES
from memstore.server.mcp import READING_TOOLS, TOOLS, WRITING_TOOLS
from memstore.server.mcp.serving import INSTRUCTIONS, build_server, described
from memstore.server.scope import Scope


def agent(store: MemoryStore, namespace: str = "default", **options: object) -> Agent:
    return Agent(build_server(store, Scope((namespace,), **options)), mode="legacy")


# storing


def test_the_same_again_is_unchanged_and_another_text_under_its_key_supersedes(store):
    own = agent(store)
    first = own.call("memory_store", text="Tabs, not spaces.", key="style.indent")
    again = own.call("memory_store", text="Tabs, not spaces.", key="style.indent")
    assert (first.data["status"], again.data["status"]) == ("stored", "unchanged")
    assert again.data["id"] == first.data["id"]
    other = own.call("memory_store", text="Spaces, not tabs.", key="style.indent")
    assert other.data["superseded"] == [first.data["id"]]
    assert first.data["id"] in other.text
    assert store.get(first.data["id"]).superseded_by == other.data["id"]


def test_what_is_stored_has_all_that_was_said_of_it(store):
    said = {
        "text": "Ana moved to Lisbon.",
        "key": "ana.city",
        "kind": "fact",
        "occurred_at": "March 2026",
        "valid_from": "2026-03-02T09:00:00+01:00",
        "valid_to": "2099-03-02T09:00:00Z",
        "metadata": {"topic": {"home": [1, None]}},
        "source": "Ana",
        "session": "call 7",
    }
    stored = agent(store).call("memory_store", **said)
    memory = store.get(stored.data["id"])
    assert {name: getattr(memory, name) for name in ("text", "key", "kind", "source", "session")}
    assert memory.metadata == said["metadata"]
    assert (memory.precision, memory.valid_from.hour) == ("month", 8)
    shown = agent(store).call("memory_get", id=memory.id).data["memory"]
    assert shown["occurred_at"] == "2026-03"
    assert {name: shown[name] for name in said if name not in ("occurred_at", "valid_from")} == {
        name: said[name] for name in said if name not in ("occurred_at", "valid_from")
    }


def test_what_a_new_memory_may_repeat_is_shown_with_it(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        own = agent(store)
        old = own.call("memory_store", text="Ana lives in Porto with her two cats.")
        new = own.call("memory_store", text="Ana lives in Lisbon with her two cats.")
        (proposed,) = new.data["proposals"]
        assert proposed["id"] == old.data["id"]
        assert "Ana lives in Porto" in new.text
        superseded = own.call(
            "memory_feedback", id=old.data["id"], verb="supersede", by=new.data["id"]
        )
        assert superseded.data["superseded_by"] == new.data["id"]


def test_a_memory_can_supersede_one_that_has_no_key_and_a_repetition_changes_nothing(store):
    own = agent(store)
    old = own.call("memory_store", text="The build takes ten minutes.").data["id"]
    for status in ("stored", "unchanged"):
        new = own.call("memory_store", text="The build takes two minutes.", supersedes=old)
        assert (new.data["status"], new.data["superseded"]) == (status, [old])
    assert len(store.list().memories) == 2


def test_one_that_cannot_be_superseded_is_named_with_what_was_stored(store):
    own = agent(store)
    old = own.call("memory_store", text="Later.", valid_from="2090-01-01T00:00:00Z").data["id"]
    new = own.call("memory_store", text="Earlier.", supersedes=old)
    assert new.failed
    (memory,) = store.list(where={"text": "Earlier."}).memories
    assert memory.id in new.text
    assert old in new.text
    missing = own.call("memory_store", text="Not stored.", supersedes="01M8MNYPPQRADYGWF4K9KFCKNA")
    assert missing.failed
    assert not store.list(where={"text": "Not stored."}).memories


# recalling


def test_recall_keeps_to_its_budget_and_says_what_it_left_out(store):
    for number in range(8):
        store.add(f"The deployment number {number} went wrong because of the disk {number}.")
    answer = agent(store).call("memory_recall", query="deployment disk", max_tokens=120)
    assert 0 < len(answer.data["hits"]) < 8
    assert answer.data["tokens"] <= 120
    assert {item["reason"] for item in answer.data["left_out"]} == {"over_budget"}
    assert "over_budget" in answer.text


def test_recall_leaves_out_what_says_the_same_again(store):
    store.add("The office moves to Braga in May.", source="mail")
    store.add("The office moves to Braga in May.", source="chat")
    answer = agent(store).call("memory_recall", query="office Braga")
    assert len(answer.data["hits"]) == 1
    (left,) = answer.data["left_out"]
    assert (left["reason"], left["instead"]) == ("near_duplicate", answer.data["hits"][0]["id"])


def test_recall_filters_and_asks_of_the_past(store):
    store.add("The plan costs 10 euros.", key="plan", occurred_at="2025-01-01T00:00:00Z")
    store.add(
        "The plan costs 14 euros.",
        key="plan",
        occurred_at="2026-01-01T00:00:00Z",
        metadata={"currency": "EUR"},
    )
    own = agent(store)
    past = own.call("memory_recall", query="plan costs", as_of="2025-06-01T00:00:00Z")
    assert [hit["text"] for hit in past.data["hits"]] == ["The plan costs 10 euros."]
    for where in ({"metadata.currency": "USD"}, '{"metadata.currency": "USD"}'):
        assert own.call("memory_recall", query="plan costs", where=where).data["hits"] == []
    assert own.call("memory_recall", query="plan", where="{not JSON").failed
    unknown = own.call("memory_recall", query="plan", where={"topic": "x"})
    assert unknown.failed
    assert "metadata.NAME" in unknown.text


def test_recall_explains_itself_when_asked(store):
    store.add("The plan costs 10 euros.", key="plan", occurred_at="2025-01-01T00:00:00Z")
    new = store.add("The plan costs 14 euros.", key="plan", occurred_at="2026-01-01T00:00:00Z")
    answer = agent(store).call("memory_recall", query="plan costs", explain=True)
    (hit,) = answer.data["hits"]
    assert hit["parts"][0]["name"] == "semantic"
    (left,) = answer.data["left_out"]
    assert left["instead"] == new.id
    assert '<reason rank="1"' in answer.text
    assert "parts" not in agent(store).call("memory_recall", query="plan costs").data["hits"][0]


def test_recall_of_nothing_says_so(store):
    answer = agent(store).call("memory_recall", query="anything")
    assert (answer.text, answer.data["hits"]) == ("Nothing is remembered of that.", [])


def test_a_page_that_was_logged_can_be_named_in_feedback(tmp_path):
    with MemoryStore.open(
        tmp_path / "agent.mem", encoder="hashed", settings={"log_pages": True}
    ) as store:
        memory = store.add("Bruno plays chess.")
        page = agent(store).call("memory_recall", query="chess").data["page"]
        agent(store).call("memory_feedback", id=memory.id, verb="reinforce", page=page)
        assert store.history(memory.id)[-1].details == {"page": page}


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
        assert (f"start={start}" in answer.text) == (start < len(text))
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
    assert store.get(memory.id).version == memory.version


# forgetting


def test_ids_are_forgotten_at_once_and_all_or_none(store):
    kept, gone = store.add("kept"), store.add("gone")
    own = agent(store)
    assert own.call("memory_forget", ids=[gone.id, "01M8MNYPPQRADYGWF4K9KFCKNA"]).failed
    assert store.get(gone.id)
    answer = own.call("memory_forget", ids=[gone.id, gone.id])
    assert answer.data == {"forgotten": [gone.id], "count": 1}
    assert [memory.id for memory in store.list().memories] == [kept.id]
    again = own.call("memory_forget", ids=[gone.id])
    assert again.failed


@pytest.mark.parametrize("what", [{"query": "chess"}, {"where": {"text": {"contains": "chess"}}}])
def test_what_matches_is_shown_first_and_forgotten_when_confirmed(what, store):
    memory = store.add("Bruno plays chess.")
    own = agent(store)
    shown = own.call("memory_forget", **what)
    assert shown.data["would_forget"] == [{"id": memory.id, "text": "Bruno plays chess."}]
    assert store.get(memory.id)
    wrong = own.call("memory_forget", **what, confirm="yes")
    assert wrong.data["forgotten"] == []
    assert store.get(memory.id)
    done = own.call("memory_forget", **what, confirm=shown.data["confirm"])
    assert done.data["forgotten"] == [memory.id]
    assert own.call("memory_forget", **what).data["count"] == 0


@pytest.mark.parametrize("change", ["another", "edited", "purge"])
def test_a_confirmation_is_of_what_was_shown_and_of_nothing_else(change, store):
    memory = store.add("Bruno plays chess.", metadata={"game": "chess"})
    own, what = agent(store), {"where": {"metadata.game": "chess"}}
    confirm = own.call("memory_forget", **what).data["confirm"]
    if change == "another":
        store.add("Ana plays chess.", metadata={"game": "chess"})
    elif change == "edited":
        store.update(memory.id, text="Bruno plays chess, and that matters.")
    answer = own.call("memory_forget", **what, confirm=confirm, purge=change == "purge")
    assert answer.data["forgotten"] == []
    assert answer.data["confirm"] != confirm
    assert "has changed since" in answer.text
    assert store.get(memory.id)


def test_a_purge_leaves_no_byte_of_the_text(store):
    memory = store.add("The password is xyzzy-plugh.")
    answer = agent(store).call("memory_forget", ids=[memory.id], purge=True)
    assert answer.text.startswith("Purged")
    files = [path.read_bytes() for path in Path(store.path).rglob("*") if path.is_file()]
    assert not any(b"xyzzy" in content for content in files)


@pytest.mark.parametrize(
    "given", [{}, {"ids": []}, {"ids": ["x"], "query": "y"}, {"where": {}}, {"query": " "}]
)
def test_forget_wants_one_thing_to_be_said_of_what(given, store):
    memory = store.add("kept")
    assert agent(store).call("memory_forget", **given).failed
    assert store.get(memory.id)


def test_a_filter_that_matches_too_much_is_refused(store):
    store.add_many([f"note {number}" for number in range(1001)])
    answer = agent(store).call("memory_forget", where={"recorded_at": {"exists": True}})
    assert answer.failed
    assert "more than 1000" in answer.text


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
    assert '<namespace name="nobody/yet" memories="0"/>' in own.read("memory://profile")


# what is offered, and what is refused


def test_the_names_of_the_tools_are_those_that_are_made():
    assert set(TOOLS) == set(READING_TOOLS) | set(WRITING_TOOLS)
    assert len(TOOLS) == 7
    for name in TOOLS:
        hints = described(name).annotations
        assert hints.read_only_hint == (name in READING_TOOLS)
        assert hints.open_world_hint is False
        assert hints.title
    assert described("memory_forget").annotations.destructive_hint is True
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
    assert INSTRUCTIONS.count(". ") == 2  # three sentences


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
