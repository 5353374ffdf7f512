"""What the API says of itself is true, and loads nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from server.http_serving import serving, token

from memstore import BadInput, MemoryStore
from memstore.server.http import bodies, filters
from memstore.server.http.options import MIB, Limits


@pytest.fixture(scope="module")
def api(stored):
    with serving(stored, tokens=(token("ana"),), rerankers=("colbert",)) as client:
        return client.get("/openapi.json").json()


def test_memories_are_described_with_their_version_and_seconds(api):
    memory = api["components"]["schemas"]["Memory"]
    assert set(memory["required"]) == set(memory["properties"])
    assert memory["properties"]["version"]["type"] == "string"
    assert {"type": "number", "description": "seconds"} in memory["properties"]["half_life"][
        "anyOf"
    ]


def test_every_verb_asks_for_a_token_but_those_of_health(api):
    open_ones = {
        path
        for path, operations in api["paths"].items()
        for operation in operations.values()
        if operation.get("security") != [{"token": []}]
    }
    assert open_ones == {"/healthz", "/readyz"}
    assert api["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}


def test_the_rerankers_a_query_may_name_are_those_of_the_server(api):
    schema = api["components"]["schemas"]["QueryBody"]["properties"]["rerank"]
    assert {"enum": ["colbert", "none"]}.items() <= schema["anyOf"][0].items()


def test_it_names_no_other_place(api):
    assert re.findall(r"https?://", str(api)) == []


def test_names_that_are_listed_here_are_those_of_the_store(stored):
    with pytest.raises(BadInput) as profiles:
        stored.query("tea", profile="none")
    assert set(_literals(bodies.Profile)) == _listed(profiles)
    with pytest.raises(BadInput) as kinds:
        stored.add("tea", kind="none")
    assert set(_literals(bodies.Kind)) == _listed(kinds)
    with pytest.raises(BadInput) as weights:
        stored.query("tea", weights={"none": 1})
    assert set(bodies.Weights.model_fields) == _listed(weights)
    with pytest.raises(BadInput) as fields:
        stored.query("tea", where={"none": 1})
    known = set(filters.filter_schema("#")["properties"]) - {"and", "or", "not"}
    assert known | {"metadata.NAME"} == _listed(fields)


def _literals(kind) -> tuple[str, ...]:
    return kind.__args__


def _listed(caught) -> set[str]:
    """The names that an error lists as known."""
    return set(str(caught.value).partition("Known")[2].partition(": ")[2].rstrip(".").split(", "))


def test_the_arguments_of_the_verbs_are_those_of_python():
    import inspect

    def arguments(method):
        names = set(inspect.signature(method).parameters)
        return names - {"self", "id", "progress", "idempotency_key"}

    def fields(*kinds):
        return {name for kind in kinds for name in kind.model_fields}

    assert fields(bodies.NewMemoryBody) == arguments(MemoryStore.add)
    assert fields(bodies.QueryBody) == arguments(MemoryStore.query)
    assert fields(bodies.QueriesBody) == arguments(MemoryStore.query_many)
    assert fields(bodies.RankBody) == arguments(MemoryStore.rank)
    assert fields(bodies.UpdateBody) == arguments(MemoryStore.update) - {"if_version"}
    assert fields(bodies.ReinforceBody) == arguments(MemoryStore.reinforce)
    assert fields(bodies.ConfirmBody) == arguments(MemoryStore.confirm)
    assert fields(bodies.ContradictBody) == arguments(MemoryStore.contradict)
    assert fields(bodies.RetractBody) == arguments(MemoryStore.retract)
    assert fields(bodies.ImportanceBody) == arguments(MemoryStore.set_importance)
    assert fields(bodies.ForgetByIds, bodies.ForgetByFilter) == arguments(MemoryStore.forget) - {
        "if_version"
    }
    assert fields(bodies.AliasBody) == arguments(MemoryStore.alias)


def test_the_page_names_every_problem_and_no_other():
    project = Path(__file__).parents[2]
    code = "".join(
        path.read_text() for path in (project / "memstore" / "server" / "http").rglob("*.py")
    )
    raised = set(re.findall(r"Problem\([^\"]*?\"([a-z-]+)\"", code))
    raised |= {"head-too-large", "not-implemented"}  # of a table in `connections`
    rows = (project / "docs" / "http.md").read_text().partition("| status | names |")[2]
    named = {
        name
        for row in rows.partition("\n\n")[0].splitlines()
        for name in re.findall(r"`([a-z-]+)`", row)
    }
    assert raised - {"refused"} == named


def test_the_limits_on_the_page_are_those_of_the_server():
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    table = page.partition("## Limits")[2].partition("## Running")[0]
    limits = Limits()
    for said in (
        f"| {limits.body_bytes // MIB} MiB (`--max-body`); {limits.ingest_bytes // MIB} MiB |",
        f"| {bodies.MOST_BATCH}, {bodies.MOST_QUERIES}, {bodies.MOST_IDS} |",
        f"| {bodies.MOST_HITS}; {bodies.MOST_BATCH_HITS}; {bodies.MOST_QUERY_CHARACTERS:,} |",
        f"| {limits.answer_characters // MIB} Mi characters |",
        f"| {limits.requests // 4} (a quarter of them); {limits.writers + limits.requests // 4} |",
        f"| {limits.requests} (`--max-requests`) |",
        f"| {limits.readers}; {limits.writers} (`--readers`, `--writers`) |",
        f"| {limits.connections} |",
        f"| {limits.head_seconds:g} s; {limits.body_seconds:g} s, more for a long one; ",
        f"; {limits.taking_seconds:g} s |",
    ):
        assert said in table
    assert bodies.MOST_LISTED == bodies.MOST_HITS
    kept = (limits.kept_answers, limits.kept_bytes // MIB, limits.kept_seconds / 3600)
    assert "{:,} of them, {} MiB and {:g} hours".format(*kept) in page.replace("\n", " ")
