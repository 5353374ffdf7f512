"""Files of other memories, as these write them, and as nobody should."""

from __future__ import annotations

import importlib
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


def entries_of(name: str, *, rooted: bool) -> list[Any]:
    with (FILES / name).open("rb") as file:
        return [entry.fields for entry in entries(file, WRITTEN[name], rooted=rooted)]


def test_memories_of_mem0_keep_their_id_user_times_and_all_else() -> None:
    tea, gym, office, related = entries_of("mem0.json", rooted=True)
    assert tea == {
        "text": "Prefers green tea in the morning",
        "key": "9f2f6a0e-6b43-4c0c-8f59-0a5a4a1c7f01",
        "namespace": "user/ana",
        "occurred_at": "2026-03-02T09:00:00.123456+00:00",
        "valid_from": "2026-03-05T10:00:00+00:00",  # before, it said what nobody knows
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
    assert gym["valid_from"] is None
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


def graph(users: list[str], **relation: str) -> str:
    """What mem0 writes of a memory of each user and one relation."""
    told = [{"id": user, "memory": "tea", "user_id": user} for user in users]
    related = {"source": "ana", "relationship": "likes", "target": "tea", **relation}
    return json.dumps({"results": told, "relations": [related]})


def test_a_relation_of_mem0_goes_where_all_memories_beside_it_are() -> None:
    for user in ("ana", "bruno"):
        memory, related = read(graph([user, user]), "mem0")[1:]
        assert related["namespace"] == memory["namespace"] == f"user/{user}"
    lines = "\n".join([graph(["ana"]), graph(["bruno"])])
    assert [item["namespace"] for item in read(lines, "mem0")] == [
        *("user/ana", "user/ana", "user/bruno", "user/bruno")
    ]
    *_, own = read(graph(["ana", "bruno"], user_id="bruno", agent_id="x", since="May"), "mem0")
    assert own["namespace"] == "user/bruno/agent/x"
    assert own["metadata"] == {"from": "ana", "relation": "likes", "to": "tea", "since": "May"}


@pytest.mark.parametrize(
    ("users", "named"), [(["ana", "bruno"], "'user/ana', 'user/bruno'"), ([], "none is known")]
)
def test_a_relation_of_nobody_known_is_refused_unless_a_namespace_is_given(
    users: list[str], named: str
) -> None:
    *memories, related = read(graph(users), "mem0")
    assert len(memories) == len(users)
    assert named in str(related)
    assert "--namespace" in str(related)
    *_, rooted = entries(io.BytesIO(graph(users).encode()), "mem0", rooted=True)
    assert not isinstance(rooted.fields, BadInput)
    assert "namespace" not in rooted.fields


def test_an_export_of_relations_alone_is_one_of_mem0() -> None:
    related = {"source": "ana", "relationship": "likes", "target": "tea", "user_id": "ana"}
    content = json.dumps({"relations": [related]})
    assert recognised(io.BytesIO(content.encode())) == "mem0"
    (found,) = read(content, "mem0")
    assert (found["text"], found["namespace"]) == ("ana likes tea", "user/ana")


def test_a_text_is_valid_from_its_last_change_on() -> None:
    def valid_from(created: Any, updated: Any) -> Any:
        times = {"created_at": created, "updated_at": updated}
        ((mem0,), (langgraph,)) = (
            read(json.dumps({**GOOD[form], **times}), form) for form in ("mem0", "langgraph")
        )
        assert isinstance(mem0, BadInput) == isinstance(langgraph, BadInput)
        if isinstance(mem0, BadInput):
            return str(mem0)
        assert mem0["valid_from"] == langgraph["valid_from"]
        return mem0["valid_from"]

    first, later = "2026-01-01T12:00:00+02:00", "2026-01-01T11:00:00Z"
    assert valid_from(first, later) == later
    assert valid_from("2026-01-01T08:00:00", later) == later
    assert valid_from(None, later) == valid_from("2025", later) == later
    assert valid_from(first, first) is valid_from(later, first) is valid_from(first, None) is None
    assert "updated_at is 'lately'" in valid_from(first, "lately")


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
        "valid_from": item["updated_at"],
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


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("", "mcp"),  # as the reference server writes an empty graph
        ("\ufeff \n", "mcp"),
        ('{"entities": [], "relations": []}', "mcp"),
        ("", "langgraph"),
        ("[]", "langgraph"),
        ('{"items": []}', "langgraph"),
        ("[]", "mem0"),
        ('{"results": [], "relations": []}', "mem0"),
        ('{"count": 0, "next": null, "previous": null, "results": []}', "mem0"),
        ('{"relations": []}', "mem0"),
    ],
)
def test_an_export_of_an_empty_memory_holds_nothing(content: str, form: str) -> None:
    assert read(content, form) == []


def test_an_object_of_nothing_is_no_export() -> None:
    for form in FORMATS:
        with pytest.raises(BadInput, match=f"does not look like one of {form}"):
            read("{}", form)


DEEP = "[" * 900 + "]" * 900
EVIL = [
    ('"score": NaN', "NaN is no"),
    ('"memory": "milk"', "'memory' twice"),
    (f'"a": {DEEP}', "100"),
]


@pytest.mark.parametrize(("field", "said"), EVIL, ids=["nan", "twice", "deep"])
def test_json_with_two_meanings_or_too_deep_is_refused_here_too(field: str, said: str) -> None:
    good = '{"id": "a", "memory": "tea"}'
    evil = '{"id": "b", "memory": "tea", ' + field + "}"
    one, error, other = read("\n".join([good, evil, good]), "mem0")
    assert one == other
    assert said in str(error)
    for content in (f"[{good}, {evil}]", '{"results": [\n' + f"{good},\n{evil},\n{good}\n]}}"):
        with pytest.raises(BadInput, match=f"not JSON: .*{said}"):
            read(content, "mem0")
        assert recognised(io.BytesIO(content.encode())) is None


def test_a_file_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("memstore.foreign.documents")
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 40)
    item = '{"id": "a", "memory": "tea"}'
    assert len(read(item.ljust(40), "mem0")) == 1
    file = io.BytesIO(item.ljust(1_000).encode())
    with pytest.raises(BadInput, match="the file has more than 40 bytes"):
        list(entries(file, "mem0"))
    assert file.tell() == 41


def test_an_item_of_a_namespace_without_parts_is_in_none_of_another() -> None:
    spaces: list[list[str]] = [[], ["default"], ["()"], ["%28%29"]]
    items = [{**GOOD["langgraph"], "namespace": space} for space in spaces]
    found = [item["namespace"] for item in read(json.dumps(items), "langgraph")]
    assert found == ["%28%29", "default", "()", "%2528%2529"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
GOOD: dict[str, dict[str, Any]] = {
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
