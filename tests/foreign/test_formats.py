"""Files of other memories, as these write them, and as nobody should."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.errors import BadInput
from memstore.foreign import FORMATS, entries, recognised
from memstore.foreign.documents import path_of

FILES = Path(__file__).parent / "files"
WRITTEN = {
    "mem0.json": "mem0",
    "memory.jsonl": "mcp",
    "langgraph.json": "langgraph",
    "langgraph.jsonl": "langgraph",
}


def read(content: str | bytes, form: str) -> list[Any]:
    given = content.encode() if isinstance(content, str) else content
    return [entry.fields for entry in entries(io.BytesIO(given), form)]


def read_file(name: str) -> list[Any]:
    return read((FILES / name).read_bytes(), WRITTEN[name])


def test_memories_of_mem0_keep_their_id_user_times_and_all_else() -> None:
    tea, gym, office, related = read_file("mem0.json")
    assert tea == {
        "text": "Prefers green tea in the morning",
        "key": "9f2f6a0e-6b43-4c0c-8f59-0a5a4a1c7f01",
        "namespace": "user/ana",
        "occurred_at": "2026-03-02T09:00:00.123456+00:00",
        "valid_to": None,
        "metadata": {
            "topic": "drinks",
            "hash": "own",
            "mem0_hash": "c1f0f2a7d0f4b1e8",
            "updated_at": "2026-03-05T10:00:00+00:00",
            "role": "user",
        },
    }
    assert gym["namespace"] == "user/ana/agent/coach%2F1/run/r-7"
    assert gym["valid_to"] == "2026-05-01T00:00:00Z"  # the day it expires is its last
    assert (office["namespace"], office["occurred_at"]) == ("app/desk", None)
    assert office["metadata"] == {"categories": ["work"]}  # a score is one of a search
    assert (related["text"], related["entities"]) == ("ana goes_to gym", ["ana", "gym"])


@pytest.mark.parametrize(
    "shape",
    [
        json.dumps,
        lambda items: json.dumps({"results": items}),
        lambda items: "\n".join(map(json.dumps, items)) + "\n",
        lambda items: "\ufeff" + json.dumps(items, indent=2),
        lambda items: json.dumps({"count": len(items), "next": None, "results": items}),
    ],
)
def test_mem0_may_be_a_list_an_answer_of_the_api_or_lines(shape: Any) -> None:
    items = json.loads((FILES / "mem0.json").read_text("utf-8"))["results"]
    assert read(shape(items), "mem0") == read_file("mem0.json")[:3]


def test_one_page_of_several_is_not_taken_for_all() -> None:
    page = {"next": "https://host/v1/memories/?page=2", "results": [{"id": "a", "memory": "tea"}]}
    stored, missing = read(json.dumps(page), "mem0")
    assert stored["text"] == "tea"
    assert "page=2" in str(missing)


def test_observations_become_memories_of_their_entity_and_relations_of_both() -> None:
    *told, acme, works = read_file("memory.jsonl")
    assert [item["text"] for item in told] == [
        "Moved from Porto to Lisbon",
        'Speaks "fluent" Portuguese',
        "Likes green tea ☕",
    ]
    assert {item["title"] for item in told} == {"Ana_Silva"}
    assert told[0]["entities"] == ["Ana_Silva"]
    assert told[0]["metadata"] == {"entity": "Ana_Silva", "entity_type": "person"}
    assert len({item["key"] for item in (*told, acme, works)}) == 5
    assert acme["text"] == "Acme: organization"  # nothing else says that there is one
    assert works["text"] == "Ana_Silva works_at Acme"
    assert works["entities"] == ["Ana_Silva", "Acme"]
    lines = [json.loads(line) for line in (FILES / "memory.jsonl").read_text("utf-8").splitlines()]
    graph = {
        "entities": [line for line in lines if line.pop("type") == "entity"],
        "relations": [line for line in lines if "from" in line],
    }
    assert read(json.dumps(graph), "mcp") == [*told, acme, works]


def test_items_of_langgraph_keep_namespace_key_and_the_rest_of_their_value() -> None:
    plain, nested, theme = read_file("langgraph.json")
    assert read_file("langgraph.jsonl") == [plain, nested, theme]
    item = json.loads((FILES / "langgraph.json").read_text("utf-8"))[0]
    assert plain == {
        "text": "Ana prefers green tea.",
        "key": "a1",
        "namespace": "users/u1",
        "occurred_at": item["created_at"],
        "metadata": {"topic": "drinks", "updated_at": item["updated_at"]},
    }
    assert nested["namespace"] == "users/u%2F2/memories"
    assert nested["text"] == "Bruno plays the cello on Thursdays."
    assert nested["metadata"]["content"] == {"importance": 3}
    assert nested["metadata"]["kind"] == "Memory"
    assert json.loads(theme["text"]) == {"dark": True, "size": 12, "note": None}
    assert theme["metadata"]["dark"] is True


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_is_recognised_as_its_own_format_and_refused_as_another(name: str) -> None:
    content = (FILES / name).read_bytes()
    assert recognised(io.BytesIO(content)) == WRITTEN[name]
    for other in set(FORMATS) - {WRITTEN[name]}:
        with pytest.raises(BadInput, match=f"does not look like one of {other}"):
            read(content, other)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "x",
        "[1",
        '[{"id": "a",',
        '[\n{"id": "a", "memory": "tea"}\n',
        "5",
        b"\xff",
        "[" * 100_000,
    ],
)
def test_what_is_no_such_file_is_refused_as_a_whole(content: str | bytes) -> None:
    for form in FORMATS:
        with pytest.raises(BadInput):
            read(content, form)
    assert (
        recognised(io.BytesIO(content if isinstance(content, bytes) else content.encode())) is None
    )


def test_an_export_of_an_empty_memory_holds_nothing() -> None:
    assert read('{"results": []}', "mem0") == read("[]", "langgraph") == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
GOOD = {
    "mem0": {"id": "a", "memory": "tea", "metadata": {}, "user_id": "u", "created_at": None,
             "expiration_date": "2026-01-01"},
    "mcp": {"type": "entity", "name": "Ana", "entityType": "person", "observations": ["tea"]},
    "langgraph": {"namespace": ["u"], "key": "k", "value": {"text": "tea"}, "created_at": None},
}  # fmt: skip


@settings(max_examples=30)
@given(st.sampled_from(FORMATS), st.data())
def test_whatever_stands_in_a_field_is_a_memory_or_an_error_in_its_place(
    form: str, data: st.DataObject
) -> None:
    good = GOOD[form]
    name = data.draw(st.sampled_from([*good]))
    odd = {**good, name: data.draw(json_values)}
    lines = [json.dumps(item) for item in (good, odd, data.draw(json_values), good)]
    found = list(entries(io.BytesIO("\n".join(lines).encode()), form))
    assert [entry.line for entry in found] == sorted(entry.line or 0 for entry in found)
    assert not isinstance(found[0].fields, BadInput)
    assert found[0].fields == found[-1].fields
    for entry in found:
        assert isinstance(entry.fields, BadInput) or isinstance(entry.fields["text"], str)


parts = st.text(alphabet="a/%*.2F \x00é", min_size=1, max_size=4)


@given(st.lists(parts, min_size=1, max_size=3), st.lists(parts, min_size=1, max_size=3))
def test_different_parts_are_different_paths_that_a_store_accepts(
    one: list[str], other: list[str]
) -> None:
    from memstore.store.drafts import check_namespace

    path = path_of(one)
    assert check_namespace(path) == path
    assert (path == path_of(other)) == (one == other)
