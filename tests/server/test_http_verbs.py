"""Every verb over HTTP does what it does in Python, and says so with the same names."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest
from server.http_serving import OPEN, VERBS, by_name, serving

from memstore import MemoryNotFound, MemoryStore, NewMemory


@pytest.fixture
def ana(stored):
    """A memory of a namespace that is empty but for it."""
    stored.forget(where={"recorded_at": {"exists": True}}, namespace="*")
    return stored.add("Ana moved from Porto to Lisbon.", key="ana.city", source="crm")


def good(response: httpx.Response, status: int = 200):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def test_the_list_of_verbs_is_that_of_the_api(client):
    paths = client.get("/openapi.json").json()["paths"]
    documented = {f"{method.upper()} {path}" for path in paths for method in paths[path]}
    listed = {verb.name.replace("sources/Bob", "sources/{name}") for verb in VERBS}
    assert listed | OPEN == documented


@pytest.mark.parametrize("verb", VERBS, ids=by_name)
def test_every_verb_answers(verb, client, stored, ana):
    if verb.method == "DELETE" and verb.path == "/v1/aliases":
        stored.alias("Annie", of="Ana")
    response = verb.send(client, ana.id)
    assert response.status_code in (200, 201, 204), response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "script-src" not in response.headers["content-security-policy"]


def test_a_memory_is_stored_with_all_its_fields_and_comes_back_with_them(client, stored):
    given = {
        "text": "The plan costs 12 euros.",
        "namespace": "team/ana",
        "key": "plan",
        "session": "monday",
        "title": "Prices",
        "kind": "fact",
        "occurred_at": "2026-03-02T10:00:00+01:00",
        "valid_from": "2026-03-01T00:00:00Z",
        "valid_to": "2027-03-01T00:00:00Z",
        "half_life": 86400,
        "confidence": 7.5,
        "importance": 0.25,
        "source": "crm",
        "metadata": {"topic": ["billing"], "cups": 3},
        "entities": ["Plan B"],
    }
    response = client.post("/v1/memories", json=given)
    said = good(response, 201)
    memory = stored.get(said["id"])
    assert response.headers["location"] == f"/v1/memories/{memory.id}"
    assert response.headers["etag"] == f'"{memory.version}"'
    assert said["version"] == memory.version
    assert said["occurred_at"] == "2026-03-02T09:00:00Z"
    assert memory.half_life == timedelta(days=1)
    assert said["half_life"] == 86400.0
    same = ("text", "namespace", "key", "session", "title", "kind", "source", "metadata")
    assert {name: said[name] for name in same} == {name: given[name] for name in same}
    assert said["entities"] == ["Plan B"]
    assert good(client.get(response.headers["location"])) == {**said, "proposals": []}


def test_the_same_content_again_is_200_and_the_same_memory(client, ana):
    given = {"text": ana.text, "key": ana.key, "source": "crm"}
    assert good(client.post("/v1/memories", json=given))["id"] == ana.id
    changed = good(client.post("/v1/memories", json={**given, "text": "Ana is in Faro."}), 201)
    assert changed["id"] != ana.id


def test_a_batch_is_stored_whole_or_not_at_all(client, stored, ana):
    good_ones = [{"text": "One.", "speaker": "Bob"}, {"text": "Two."}]
    memories = good(client.post("/v1/memories/batch", json={"memories": good_ones}))["memories"]
    assert [item["text"] for item in memories] == ["Bob: One.", "Two."]
    before = stored.stats().memories
    bad = [{"text": "Three."}, {"text": "Four.", "occurred_at": "tomorrow"}]
    response = client.post("/v1/memories/batch", json={"memories": bad})
    assert response.status_code == 422
    assert "occurred_at is 'tomorrow'" in response.json()["detail"]
    assert stored.stats().memories == before


def test_a_query_over_http_finds_what_it_finds_in_python(client, stored, ana):
    stored.add("Bob drinks tea in Lisbon.", metadata={"topic": "drinks"})
    asked = {
        "text": "who drinks tea?",
        "limit": 5,
        "where": {"metadata.topic": {"in": ["drinks"]}},
        "now": "2030-01-01T00:00:00Z",
        "weights": {"currency": 2.0},
        "explain": True,
    }
    said = good(client.post("/v1/query", json=asked))
    result = stored.query(asked.pop("text"), **asked)
    assert [hit["memory"]["id"] for hit in said["hits"]] == [hit.memory.id for hit in result.hits]
    (hit,), (expected,) = said["hits"], result.hits
    assert hit["score"] == expected.score
    assert [part["name"] for part in hit["parts"]] == [part.name for part in expected.parts]
    assert hit["memory"]["version"] == expected.memory.version
    assert said["now"] == "2030-01-01T00:00:00Z"
    assert set(said["took"]) == set(result.took)


def test_a_budget_of_tokens_says_what_it_left_out(client, stored, ana):
    stored.add("Ana moved from Lisbon to Faro.", key="ana.next")
    asked = {"text": "Ana", "max_tokens": 1000}
    both = good(client.post("/v1/query", json=asked))["tokens"]
    said = good(client.post("/v1/query", json={**asked, "max_tokens": both - 1}))
    assert 0 < said["tokens"] < both
    assert [item["reason"] for item in said["dropped"]] == ["over_budget"]


def test_a_batch_of_queries_is_answered_in_its_order(client, ana):
    said = good(client.post("/v1/query/batch", json={"texts": ["Porto", "Lisbon"], "limit": 1}))
    assert [result["query"] for result in said["results"]] == ["Porto", "Lisbon"]


def test_documents_are_ranked_and_stored_nowhere(client, stored, ana):
    documents = ["coffee", "green tea", "water"]
    said = good(client.post("/v1/rank", json={"text": "tea", "documents": documents, "limit": 1}))
    assert [hit["index"] for hit in said["hits"]] == [1]
    assert stored.stats().memories == 1


def test_a_list_is_read_page_by_page_in_either_order(client, stored, ana):
    for number in range(5):
        stored.add(f"Note {number}.", source="notes")
    where = json.dumps({"source": "notes"})
    for newest_first in (False, True):
        params = {"where": where, "limit": 2, "newest_first": newest_first}
        seen = []
        cursor = {}
        while cursor is not None:
            page = good(client.get("/v1/memories", params={**params, **cursor}))
            seen += [memory["text"] for memory in page["memories"]]
            cursor = {"cursor": page["cursor"]} if page["cursor"] else None
        numbers = range(4, -1, -1) if newest_first else range(5)
        assert seen == [f"Note {number}." for number in numbers]


def test_a_cursor_keeps_its_order(client, stored, ana):
    for number in range(3):
        stored.add(f"Note {number}.")
    first = good(client.get("/v1/memories", params={"limit": 2, "newest_first": True}))
    second = good(client.get("/v1/memories", params={"limit": 2, "cursor": first["cursor"]}))
    assert [memory["text"] for memory in second["memories"]] == ["Note 0.", ana.text]


def test_a_key_finds_the_latest_memory(client, stored, ana):
    latest = stored.add("Ana lives in Faro.", key="ana.city")
    found = client.get("/v1/memories/by-key", params={"key": "ana.city"})
    assert good(found)["id"] == latest.id
    assert found.headers["etag"] == f'"{stored.get(latest.id).version}"'


def test_fields_are_changed_and_null_clears_one(client, stored, ana):
    said = good(client.patch(f"/v1/memories/{ana.id}", json={"title": "A", "source": None}))
    assert (said["title"], said["source"]) == ("A", None)
    assert stored.get(ana.id).title == "A"


def test_a_forgotten_memory_is_in_no_answer(client, stored, ana):
    report = good(client.delete(f"/v1/memories/{ana.id}"))
    assert report["ids"] == [ana.id]
    assert client.get(f"/v1/memories/{ana.id}").status_code == 404
    assert good(client.post("/v1/query", json={"text": "Ana"}))["hits"] == []
    assert good(client.get("/v1/memories"))["memories"] == []
    events = good(client.get(f"/v1/memories/{ana.id}/history"))["events"]
    assert [event["verb"] for event in events] == ["add", "forget"]


def test_a_purged_memory_leaves_its_receipt(client, stored, ana):
    report = good(client.delete(f"/v1/memories/{ana.id}", params={"purge": True}))
    assert report["purged"]
    assert report["removed"]["memories"] == 1
    again = good(client.post("/v1/forget", json={"ids": [ana.id], "purge": True}))
    assert again["ids"] == []  # done before: whoever may see all may finish it


def test_memories_are_forgotten_by_filter_after_a_dry_run(client, stored, ana):
    kept = stored.add("Bob stays.")
    where = {"where": {"source": "crm"}, "namespace": "default"}
    dry = good(client.post("/v1/forget", json={**where, "dry_run": True}))
    assert (dry["ids"], dry["dry_run"]) == ([ana.id], True)
    assert stored.get(ana.id)
    assert good(client.post("/v1/forget", json=where))["ids"] == [ana.id]
    with pytest.raises(MemoryNotFound):
        stored.get(ana.id)
    assert stored.get(kept.id)


def test_feedback_changes_what_it_says(client, stored, ana):
    path = f"/v1/memories/{ana.id}"
    assert good(client.post(f"{path}/reinforce", json={"session": "s"}))["uses"] == 1
    assert good(client.post(f"{path}/confirm", json={"source": "Bob"}))["confidence"] > 5
    assert good(client.post(f"{path}/contradict", json={"source": "Bob"}))["confidence"] < 5
    assert good(client.post(f"{path}/importance", json={"importance": 1}))["importance"] == 1
    retracted = good(client.post(f"{path}/retract", json={"reason": "It was Faro."}))
    assert retracted["retracted_at"].endswith("Z")
    verbs = [event.verb for event in stored.history(ana.id)]
    assert verbs == ["add", "reinforce", "confirm", "contradict", "importance", "retract"]


def test_a_memory_is_superseded_by_a_text_or_by_another_memory(client, stored, ana):
    new = good(client.post(f"/v1/memories/{ana.id}/supersede", json={"text": "Ana is in Faro."}))
    assert stored.get(ana.id).superseded_by == new["id"]
    third = stored.add("Ana is in Beja.")
    path = f"/v1/memories/{new['id']}/supersede"
    assert good(client.post(path, json={"new_id": third.id}))["id"] == third.id
    cycle = client.post(f"/v1/memories/{third.id}/supersede", json={"new_id": new["id"]})
    assert cycle.status_code == 409
    assert "cycle" in cycle.json()["detail"]


def test_entities_neighbours_and_aliases(client, stored, ana):
    stored.add("Ana and Bob met in Porto.")
    stored.add("Ana showed Bob the river.")
    found = good(client.get("/v1/entities", params={"prefix": "bo"}))["entities"]
    assert [(entity["name"], entity["memories"]) for entity in found] == [("Bob", 2)]
    tied = good(client.get("/v1/neighbours", params={"entity": "Ana"}))["neighbours"]
    assert "Bob" in [neighbour["name"] for neighbour in tied]
    client.post("/v1/aliases", json={"name": "Robert", "of": "Bob"}).raise_for_status()
    (entity,) = stored.entities(prefix="bo")
    assert entity.aliases == ("robert",)
    client.delete("/v1/aliases", params={"name": "Robert"}).raise_for_status()
    gone = client.delete("/v1/aliases", params={"name": "Robert"})
    assert (gone.status_code, gone.json()["type"]) == (404, "urn:memstore:problem:alias-not-found")


def test_sources_are_believed_as_far_as_was_said(client, stored, ana):
    said = good(client.put("/v1/sources/crm", json={"reliability": 0.9}))
    assert (said["name"], said["reliability"]) == ("crm", 0.9)
    assert said in good(client.get("/v1/sources"))["sources"]
    stored.confirm(ana.id, source="https://a.example/b")
    path = "/v1/sources/https%3A%2F%2Fa.example%2Fb"
    assert good(client.put(path, json={"reliability": 0.2}))["name"] == "https://a.example/b"


def test_namespaces_are_counted(client, stored, ana):
    stored.add("Of the team.", namespace="team/ana")
    said = good(client.get("/v1/namespaces"))
    assert said == {
        "namespaces": [{"name": "default", "memories": 1}, {"name": "team/ana", "memories": 1}]
    }


def test_upkeep_reports(client, stored, ana):
    assert good(client.get("/v1/stats"))["memories"] == 1
    verified = good(client.post("/v1/verify", json={"repair": True}))
    assert (verified["clean"], verified["findings"]) == (True, [])
    assert set(good(client.post("/v1/compact"))) == {
        *("sealed", "merged", "dropped", "trained", "seconds")
    }


def test_lines_are_stored_and_bad_ones_reported_by_their_number(client, stored, ana):
    lines = (
        '{"text": "First.", "id": "1", "scope": "team"}\n'
        "\n"
        "no JSON\n"
        '{"text": "Other content.", "id": "1", "scope": "team"}\n'
        '{"text": "Naive.", "timestamp": "2026-01-01T00:00:00"}\n'
    )
    headers = {"Content-Type": "application/x-ndjson"}
    said = good(client.post("/v1/ingest", content=lines, headers=headers))
    assert said["added"] == 1
    assert [(error["file"], error["line"]) for error in said["errors"]] == [
        ("body", 3),
        ("body", 4),
        ("body", 5),
    ]
    assert "used for other content at body:1" in said["errors"][1]["message"]
    assert stored.get_by_key("1", namespace="team").text == "First."
    again = good(
        client.post("/v1/ingest", content=lines, headers=headers, params={"timezone": "UTC"})
    )
    assert (again["added"], again["unchanged"]) == (1, 1)


def test_strict_lines_are_stored_together_or_not_at_all(client, stored, ana):
    lines = '{"text": "Good."}\n{"no": "text"}\n'
    headers = {"Content-Type": "application/x-ndjson"}
    response = client.post("/v1/ingest", content=lines, headers=headers, params={"strict": True})
    assert response.status_code == 422
    assert response.json()["detail"].startswith("body:2: ")
    assert "/tmp" not in response.text
    assert stored.stats().memories == 1


def test_an_export_can_be_imported(client, stored, ana, tmp_path):
    response = client.get("/v1/export")
    assert response.headers["content-type"] == "application/x-ndjson"
    file = tmp_path / "export.jsonl"
    file.write_bytes(response.content)
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        assert other.import_(file).added == 1
        assert other.get(ana.id) == stored.get(ana.id)


@pytest.mark.parametrize("asked", ["bytes=0-1", "bytes=9999999-", "nonsense"])
def test_an_export_is_whole_whatever_range_is_asked_for(asked, client, ana):
    response = client.get("/v1/export", headers={"Range": asked})
    assert response.status_code == 200
    assert response.headers["accept-ranges"] == "none"
    assert ana.id in response.text
    assert int(response.headers["content-length"]) == len(response.content)


def test_times_have_an_offset_and_large_numbers_come_back(client):
    given = {"text": "Numbers.", "metadata": {"large": 2**70, "small": 1e-300, "text": "é\u2028"}}
    said = good(client.post("/v1/memories", json=given), 201)
    assert said["metadata"] == given["metadata"]
    assert said["recorded_at"].endswith("Z")


def test_a_query_may_only_name_a_reranker_the_server_has(stored, client):
    for name in ("minilm-l6", "colbert", "/etc/passwd", "someone/model"):
        response = client.post("/v1/query", json={"text": "tea", "rerank": name})
        assert response.status_code == 422
        assert "This server has no reranker" in response.json()["detail"]
    said = good(client.post("/v1/query", json={"text": "tea", "rerank": "none"}))
    assert said["reranker"] is None
    with serving(stored, rerankers=("colbert",)) as other:
        said = good(other.post("/v1/query", json={"text": "tea", "rerank": "colbert"}))
        assert said["reranker"] == "colbert"


def test_mappings_and_objects_are_what_python_would_store(client, stored, ana):
    posted = good(client.post("/v1/memories", json={"text": "Tea.", "session": "s"}), 201)
    (stored_again,) = stored.add_many([NewMemory(text="Tea.", session="s")])
    assert stored_again.id == posted["id"]
