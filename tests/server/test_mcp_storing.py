"""Storing over MCP: what is new, what is the same, and what takes the place of something."""

import pytest
from mcp_clients import agent

from memstore import MemoryStore


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
    for name in ("text", "key", "kind", "source", "session"):
        assert getattr(memory, name) == said[name]
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
        assert proposed["text"] == "Ana lives in Porto with her two cats."
        assert new.data["next"].startswith("It may repeat or replace")
        assert new.data["next"] in new.text
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


@pytest.mark.parametrize("key", ["plan", None])
def test_what_replaces_a_memory_holds_from_now_on_though_it_happened_before(key, store):
    own = agent(store)
    old = own.call("memory_store", text="The plan costs 10 euros.", key=key).data["id"]
    said = {"text": "The plan costs 12 euros since May.", "occurred_at": "May 2026", "key": key}
    said |= {} if key else {"supersedes": old}
    new = own.call("memory_store", **said)
    assert (new.data["superseded"], new.failed) == ([old], False)
    found = own.call("memory_recall", query="plan costs").data["hits"]
    assert [hit["id"] for hit in found] == [new.data["id"]]
    memory = store.get(new.data["id"])
    assert (memory.occurred_at.month, memory.precision) == (5, "month")
    assert new.data["valid_from"] in new.data.values()
    again = own.call("memory_store", **said)
    assert (again.data["status"], again.data["id"]) == ("unchanged", memory.id)
    assert again.data["superseded"] == [old]
    corrected = own.call("memory_store", **(said | {"occurred_at": "April 2026"}))
    assert store.get(corrected.data["id"]).superseded_by is None


def test_what_happened_later_than_what_it_replaces_begins_when_it_happened(store):
    own = agent(store)
    store.add("The plan costs 10 euros.", key="plan", occurred_at="2025-01-01T00:00:00Z")
    own.call("memory_store", text="The plan costs 12 euros.", key="plan", occurred_at="May 2026")
    for as_of, euros in (("2026-04-30T00:00:00Z", "10"), ("2026-05-02T00:00:00Z", "12")):
        found = own.call("memory_recall", query="plan costs", as_of=as_of).data["hits"]
        assert [hit["text"] for hit in found] == [f"The plan costs {euros} euros."]


def test_what_is_stored_as_history_is_said_to_be(store):
    own = agent(store)
    now = own.call("memory_store", text="Ana lives in Lisbon.", key="ana.city").data["id"]
    then = own.call(
        "memory_store", text="Ana lives in Porto.", key="ana.city", valid_from="2020-01-01T00:00Z"
    )
    assert (then.data["superseded"], then.data["superseded_by"]) == ([], now)
    for said in (then.text, then.data["next"]):
        assert "It is history: it held until" in said
        assert now in said
    before = own.call(
        "memory_store",
        text="Ana lives in Braga.",
        key="ana.city",
        occurred_at="2019",
        valid_to="2019-12-01T00:00:00Z",
    )
    assert before.data["next"].startswith("It is history: it held until 2019-12-01")
    assert own.call("memory_get", key="ana.city").data["memory"]["id"] == now
    assert "next" not in own.call("memory_store", text="Bruno plays chess.").data


def test_nothing_is_stored_that_cannot_supersede_what_it_should(store):
    own = agent(store)
    later = own.call("memory_store", text="Later.", valid_from="2090-01-01T00:00:00Z").data["id"]
    held = own.call("memory_store", text="Now.").data["id"]
    given = {"supersedes": held, "valid_from": "2020-01-01T00:00:00Z"}
    for wrong in ({"supersedes": later}, given):
        new = own.call("memory_store", text="Earlier.", **wrong)
        assert new.failed
        assert "Nothing was stored." in new.text
        assert wrong["supersedes"] in new.text
    assert not store.list(where={"text": "Earlier."}).memories
    unread = own.call("memory_store", text="Earlier.", supersedes=held, occurred_at="then")
    assert "occurred_at is 'then'" in unread.text
    missing = own.call("memory_store", text="Not stored.", supersedes="01M8MNYPPQRADYGWF4K9KFCKNA")
    assert missing.failed
    assert not store.list(where={"text": "Not stored."}).memories
