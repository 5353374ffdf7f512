"""Forgetting over MCP: in one step by ids, in two by what memories are about."""

from pathlib import Path

import pytest
from mcp_clients import agent

from memstore import MemoryStore


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
    (would,) = shown.data["would_forget"]
    assert (would["id"], would["text"]) == (memory.id, "Bruno plays chess.")
    assert set(would) == {"id", "text", "time"}
    assert shown.data["next"] in shown.text
    assert shown.data["confirm"] in shown.data["next"]
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
    why = "was of a call with purge=false" if change == "purge" else "has changed since"
    assert why in answer.text
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


@pytest.mark.parametrize("how", ["ids", "query", "where"])
def test_earlier_versions_go_too(how, store):
    own = agent(store)
    for number in ("0101", "0202", "0303"):
        own.call("memory_store", text=f"Bruno's phone number is 555-{number}.", key="bruno.phone")
    wrong = store.add("Bruno's phone number is 555-0404.", key="bruno.phone")
    store.retract(wrong.id, reason="no")
    kept = store.add("Ana's phone number is 555-0505.", key="bruno.phone", namespace="default/sub")
    other = own.call("memory_store", text="Bruno's phone number is 555-0606.")
    last = own.call(
        "memory_store",
        text="Bruno's phone number is 555-0707.",
        key="bruno.phone",
        supersedes=other.data["id"],
    ).data["id"]
    what = {
        "ids": {"ids": [last]},
        "query": {"query": "phone number 555-0707", "limit": 1, "where": {"id": last}},
        "where": {"where": {"id": last}},
    }[how]
    if how != "ids":
        shown = own.call("memory_forget", **what, purge=True)
        (would,) = shown.data["would_forget"]
        assert (would["id"], would["earlier_versions"]) == (last, 5)
        assert "Earlier versions that go with them: 5." in shown.text
        what["confirm"] = shown.data["confirm"]
    done = own.call("memory_forget", **what, purge=True)
    assert len(done.data["forgotten"]) == 6
    assert "Earlier versions among them: 5." in done.text
    assert [memory.id for memory in store.list().memories] == [kept.id]
    assert own.call("memory_get", key="bruno.phone").data["memory"]["id"] == kept.id
    files = [path.read_bytes() for path in Path(store.path).rglob("*") if path.is_file()]
    assert not any(b"555-0101" in content for content in files)


def test_what_holds_until_a_plan_begins_stays_when_the_plan_is_forgotten(store):
    now = store.add("The price is 10.", key="price")
    plan = store.add("The price is 12.", key="price", valid_from="2999-01-01T00:00:00Z")
    done = agent(store).call("memory_forget", ids=[plan.id])
    assert done.data["forgotten"] == [plan.id]
    assert [hit.memory.id for hit in store.query("price").hits] == [now.id]


def test_an_earlier_version_goes_without_the_later_ones(store):
    first, second, third = (store.add(f"The limit is {n}.", key="limit") for n in (5, 6, 7))
    done = agent(store).call("memory_forget", ids=[second.id])
    assert set(done.data["forgotten"]) == {first.id, second.id}
    assert [memory.id for memory in store.list().memories] == [third.id]


def test_a_query_forgets_no_more_than_was_shown_and_says_that_it_is_a_guess(store):
    store.add_many([f"chess note {number} " + "long " * 200 for number in range(8)])
    shown = agent(store).call("memory_forget", query="chess")
    assert len(shown.data["would_forget"]) == shown.data["count"] == 5
    assert all(len(item["text"]) <= 300 for item in shown.data["would_forget"])
    assert "The 5 nearest, best first; some may not be about it." in shown.data["next"]
    assert agent(store).call("memory_forget", query="chess", limit=51).failed
    done = agent(store).call("memory_forget", query="chess", confirm=shown.data["confirm"])
    assert set(done.data["forgotten"]) == {item["id"] for item in shown.data["would_forget"]}


def test_a_filter_says_how_many_it_does_not_show(store):
    store.add_many([f"note {number}" for number in range(60)])
    shown = agent(store).call("memory_forget", where={"recorded_at": {"exists": True}})
    assert (shown.data["count"], len(shown.data["would_forget"])) == (60, 50)
    assert "The filter matches 60. Not shown of them: 10." in shown.text


def test_what_changes_while_forgetting_waits_for_its_turn_stays(store, monkeypatch):
    kept, gone = store.add("Bruno plays chess."), store.add("Ana plays chess.")
    own, what = agent(store), {"where": {"text": {"contains": "chess"}}, "purge": True}
    confirm = own.call("memory_forget", **what).data["confirm"]
    forget = MemoryStore.forget

    def forget_late(self: MemoryStore, ids: str, **options: object) -> object:
        if ids == kept.id:
            store.update(kept.id, text="Bruno plays chess, and that matters.")
        return forget(self, ids, **options)

    monkeypatch.setattr(MemoryStore, "forget", forget_late)
    done = own.call("memory_forget", **what, confirm=confirm)
    assert done.data["forgotten"] == [gone.id]
    assert f"left as it is: {kept.id}" in done.data["next"]
    assert [memory.text for memory in store.list().memories] == [
        "Bruno plays chess, and that matters."
    ]
