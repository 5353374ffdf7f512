"""Recalling over MCP: what is found, within which budget, and how it is explained."""

import json

from mcp_clients import agent

from memstore import MemoryStore


def test_recall_keeps_to_its_budget_and_says_what_it_left_out(store):
    for number in range(8):
        store.add(f"The deployment number {number} went wrong because of the disk {number}.")
    answer = agent(store).call("memory_recall", query="deployment disk", max_tokens=250)
    assert 0 < len(answer.data["hits"]) < 8
    assert answer.data["left_out"] == {"over_budget": 8 - len(answer.data["hits"])}
    assert answer.data["next"] in answer.text
    assert "over_budget" in answer.text
    none = agent(store).call("memory_recall", query="deployment disk", max_tokens=1)
    assert (none.data["hits"], none.data["left_out"]) == ([], {"over_budget": 8})


def test_text_and_data_are_both_within_the_budget(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        store.add_many(
            [
                {
                    "text": f'{number}\t"{text}"\n<{text}>',
                    "key": f"{text[:3]}.{number}" if number % 2 else None,
                    "source": "a \\ b" if number % 3 else None,
                }
                for number in range(25)
                for text in ("The rent is 900 €.", "安娜住在里斯本。", "x = {'a': [1, 2]}")
            ]
        )
        tokenizer = store._opened.encoder
        for budget in (300, 1500, 4000):
            answer = agent(store).call("memory_recall", query="rent", limit=100, max_tokens=budget)
            data = json.dumps(answer.data, ensure_ascii=False, separators=(",", ":"))
            sizes = [len(tokenizer.token_spans(form)) for form in (answer.text, data)]
            # the store counts tokens of parts, of which a whole may have a few more
            assert 0.6 * budget < max(sizes) <= 1.05 * budget
            assert answer.data["hits"]


def test_a_hit_says_what_its_text_is_and_no_more(store):
    memory = store.add(
        "Bruno plays chess.", key="bruno.game", session="s", metadata={"a": 1}, source="Ana"
    )
    answer = agent(store).call("memory_recall", query="chess")
    hit = {"rank": 1, "id": memory.id, "key": "bruno.game", "source": "Ana", "text": memory.text}
    time = f"{memory.recorded_at:%Y-%m-%dT%H:%M}Z"
    assert answer.data["hits"] == [{**hit, "time": time}]
    assert set(answer.data) == {"notice", "hits"}
    for value in ("bruno.game", memory.id, "Ana", time):
        assert f'"{value}"' in answer.text
    unknown = store.add("Nobody knows when.", occurred_at="unknown")
    (found,) = agent(store).call("memory_recall", query="x", where={"id": unknown.id}).data["hits"]
    assert "time" not in found
    assert " time=" not in agent(store).call("memory_get", id=unknown.id).text


def test_recall_leaves_out_what_says_the_same_again(store):
    store.add("The office moves to Braga in May.", source="mail")
    store.add("The office moves to Braga in May.", source="chat")
    answer = agent(store).call("memory_recall", query="office Braga")
    assert len(answer.data["hits"]) == 1
    assert answer.data["left_out"] == {"near_duplicate": 1}
    (left,) = agent(store).call("memory_recall", query="office", explain=True).data["left_out_ids"]
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
    (left,) = answer.data["left_out_ids"]
    assert (left["instead"], left["text"]) == (new.id, "The plan costs 10 euros.")
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
        found = agent(store).call("memory_recall", query="chess")
        page = found.data["page"]
        assert page in found.text
        refused = agent(store).call("memory_feedback", id=memory.id, verb="reinforce", page="1")
        assert "page is none" in refused.text
        agent(store).call("memory_feedback", id=memory.id, verb="reinforce", page=page)
        assert store.history(memory.id)[-1].details == {"page": page}
