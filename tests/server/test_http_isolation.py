"""Whoever may see some namespaces learns nothing of the others, and changes nothing in them."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server.http_serving import VERBS, bearer, by_name, serving, token

from memstore import BadInput, MemoryStore
from memstore.server.scope import OutsideScope, Scope

TORTURE = bool(os.environ.get("MEMSTORE_TORTURE"))
SECRET = "zxqv"  # in all that is Bob's, and in no request
INVENTED = "01AAAAAAAAAAAAAAAAAAAAAAAA"
TOKENS = (
    token("root"),
    token("ana", "team/ana"),
    token("bob", "team/bob"),
    token("team", "team"),
    token("reader", "team/ana", read_only=True),
    token("two", "team/ana", "other"),
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("http") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed", settings={"log_pages": True}) as opened:
        for number in range(3):
            opened.add(
                f"{SECRET}text {number} is known to Zxqvname and Zxqvfriend.",
                namespace="team/bob",
                key=f"plan.{number}",
                session=f"{SECRET}session",
                title=f"{SECRET}title",
                source=f"{SECRET}source",
                metadata={"topic": f"{SECRET}topic"},
            )
        gone = opened.add(f"{SECRET}gone", namespace="team/bob", key="gone")
        opened.forget(gone.id)
        opened.alias("Zxqvalias", of="Zxqvname", namespace="team/bob")
        opened.add("Ana moved to Lisbon with Clara.", namespace="team/ana", key="plan.1")
        opened.add("Ana has tea with Clara.", namespace="team/ana/notes")
        opened.gone = gone.id
        yield opened


@pytest.fixture(scope="module")
def client(stored):
    with serving(stored, tokens=TOKENS) as found:
        yield found


def bobs(stored) -> list[Any]:
    """All there is of Bob's."""
    memories = stored.list(namespace="team/bob").memories
    return [
        [(memory.id, memory.version) for memory in memories],
        [stored.history(memory.id) for memory in memories],
        stored.entities(namespace="team/bob"),
        stored.namespaces(under="team/bob"),
    ]


FOREIGN = [{"namespace": "team/bob"}, {"namespace": {"contains": "bob"}}, {"id": "@bob0"}]
POOL: dict[str, list[Any]] = {  # Ana's own, Bob's, and what is nobody's; @ stands for an id
    "id": ["@ana", "@bob0", "@bob1", "@bob2", "@gone", INVENTED],
    "namespace": [
        *("team/ana", "team/ana/notes", "team/bob", "team", "*", "default", "team/anabel"),
        *("team/ana/../bob", "team/ana/*", "/", "team/bob/deeper"),
    ],
    "key": ["plan.0", "plan.1", "gone"],
    "where": [*FOREIGN, {"or": FOREIGN}, {"not": {"namespace": "team/ana"}}, {"key": "gone"}],
    "text": ["Ana", "tea", "@ana", "@bob1", "@gone"],
    "entity": ["Ana", "Zxqvname", "Clara"],
    "cursor": ["0", "1", "2", "-1", "-9"],
}


def ids_for(stored) -> dict[str, str]:
    memories = stored.list(namespace="team/ana").memories
    own = memories[0] if memories else stored.add("Ana is back.", namespace="team/ana")
    bob = [memory.id for memory in stored.list(namespace="team/bob").memories]
    return {"@ana": own.id, "@bob0": bob[0], "@bob1": bob[1], "@bob2": bob[2], "@gone": stored.gone}


def request_of(verb, draw) -> tuple[str, dict[str, Any]]:
    """A request to a verb, its values drawn from the pool."""

    def some(name: str) -> Any:
        return draw(st.sampled_from(POOL[name]))

    path = verb.path.replace("{id}", str(some("id")))
    params, body = dict(verb.params), verb.json
    if verb.path != "/v1/memories/batch" and isinstance(body, dict):
        body = dict(body)
        if draw(st.booleans()):
            body["namespace"] = some("namespace")
        if "text" in body and verb.path != "/v1/memories":  # what Ana stores she may see again
            body["text"] = some("text")
        if "query" in verb.path and draw(st.booleans()):
            body["where"] = some("where")
        if verb.path == "/v1/forget":
            chosen = draw(st.booleans())
            body = {"ids": [some("id"), some("id")]} if chosen else {**body, "where": some("where")}
            body["purge"], body["dry_run"] = draw(st.booleans()), draw(st.booleans())
        if verb.path.endswith("supersede") and draw(st.booleans()):
            body = {"new_id": some("id")}
        if verb.path == "/v1/aliases":
            body |= {"name": "Zxqvalias", "of": some("entity")}
    elif verb.path == "/v1/memories/batch":
        body = {"memories": [{"text": "New.", "namespace": some("namespace")}]}
    if verb.method == "GET" or verb.path in ("/v1/aliases", "/v1/ingest"):
        if draw(st.booleans()):
            params["namespace"] = some("namespace")
        for name in ("key", "entity"):
            if name in params:
                params[name] = some(name)
        if verb.path == "/v1/memories":
            params["where"] = json.dumps(some("where"))
            if draw(st.booleans()):
                params["cursor"] = some("cursor")
    sent: dict[str, Any] = {"params": params}
    if verb.lines is not None:
        named = draw(st.sampled_from(["namespace", "scope"]))
        line = {"text": "A line.", "id": some("key"), named: some("namespace")}
        sent["content"] = f"{json.dumps(line)}\n"
    elif body is not None:
        sent["json"] = body
    return path, sent


@settings(
    max_examples=2000 if TORTURE else 120,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_no_request_of_ana_shows_or_changes_what_is_bobs(data, client, stored):
    verb = data.draw(st.sampled_from(VERBS))
    written = json.dumps(request_of(verb, data.draw))
    for sign, id_ in ids_for(stored).items():
        written = written.replace(sign, id_)
    path, sent = json.loads(written)
    before = bobs(stored)
    name = data.draw(st.sampled_from(["ana", "two", "reader"]))
    headers = bearer(name)
    if verb.lines is not None:
        headers["Content-Type"] = "application/x-ndjson"
    response = client.request(verb.method, path, headers=headers, **sent)
    assert response.status_code < 500, response.text
    assert SECRET not in response.text.lower().replace("zxqvalias", "").replace("zxqvname", "")
    for id_, _ in before[0]:
        assert id_ not in response.text or id_ in written
        assert id_ not in response.headers.get("location", "")
    assert bobs(stored) == before


@pytest.mark.parametrize("verb", [verb for verb in VERBS if "{id}" in verb.path], ids=by_name)
def test_the_id_of_another_is_as_unknown_as_an_invented_one(verb, client, stored):
    (bob, *_) = stored.list(namespace="team/bob").memories
    answers = [
        verb.send(client, id_, headers=bearer("ana")) for id_ in (bob.id, stored.gone, INVENTED)
    ]
    assert {answer.status_code for answer in answers} == {404}
    said = {
        answer.text.replace(id_, "ID")
        for answer, id_ in zip(answers, (bob.id, stored.gone, INVENTED), strict=True)
    }
    assert len(said) == 1


BODIES_WITH_IDS = [
    ("POST", "/v1/forget", lambda id_: {"ids": [id_]}),
    ("POST", "/v1/forget", lambda id_: {"ids": [id_], "purge": True}),
    ("POST", "/v1/forget", lambda id_: {"ids": [id_], "dry_run": True}),
    ("POST", "/v1/memories/{own}/supersede", lambda id_: {"new_id": id_}),
    ("POST", "/v1/memories/{own}/supersede", lambda id_: {"text": id_}),
]


@pytest.mark.parametrize(("method", "path", "body"), BODIES_WITH_IDS)
def test_an_id_of_another_in_a_body_is_as_unknown_as_an_invented_one(
    method, path, body, client, stored
):
    own = stored.add("Ana's to be superseded.", namespace="team/ana")
    (bob, *_) = stored.list(namespace="team/bob").memories
    before = bobs(stored)
    said = set()
    for id_ in (bob.id, stored.gone, INVENTED):
        asked = path.replace("{own}", own.id)
        response = client.request(method, asked, json=body(id_), headers=bearer("ana"))
        assert response.status_code in (404, 409, 422)
        said.add(response.text.replace(id_, "ID"))
    assert len(said) == 1
    assert bobs(stored) == before


@pytest.mark.parametrize("verb", VERBS, ids=by_name)
def test_every_verb_that_takes_a_namespace_refuses_that_of_another(verb, client, stored):
    taken = {"namespace": "team/bob"}
    body, params, lines = verb.json, verb.params, verb.lines
    if (verb.method, verb.path) in IN_URL:
        params = {**params, **taken}
    elif verb.path == "/v1/memories/batch":
        body = {"memories": [{"text": "New.", **taken}]}
    elif verb.path in IN_BODY:
        body = {**body, **taken}
    elif "{id}" in verb.path or verb.whole or verb.path in NEITHER:
        return  # takes none: see above
    else:
        raise AssertionError(f"Say whether {verb.name} takes a namespace.")
    before = bobs(stored)
    headers = bearer("ana") | ({"Content-Type": "application/x-ndjson"} if lines else {})
    sent = {"content": lines} if lines else {"json": body}
    response = client.request(verb.method, verb.path, params=params, headers=headers, **sent)
    assert response.status_code == 403, response.text
    assert response.json()["type"] == "urn:memstore:problem:outside-scope"
    assert bobs(stored) == before


NEITHER = ("/v1/caller", "/v1/namespaces", "/v1/rank")
IN_URL = (
    ("GET", "/v1/memories"),
    ("GET", "/v1/memories/by-key"),
    ("GET", "/v1/entities"),
    ("GET", "/v1/neighbours"),
    ("DELETE", "/v1/aliases"),
    ("POST", "/v1/ingest"),
)
IN_BODY = ("/v1/memories", "/v1/query", "/v1/query/batch", "/v1/forget", "/v1/aliases")


def test_a_namespace_of_another_is_as_forbidden_as_one_that_is_not_there(client):
    said = {
        client.get("/v1/memories", params={"namespace": path}, headers=bearer("ana")).text.replace(
            repr(path), "PATH"
        )
        for path in ("team/bob", "team/nobody", "team", "default", "*", "team/anabel")
    }
    assert len(said) == 1
    assert '"status": 403' in said.pop()


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.whole], ids=by_name)
def test_what_speaks_of_the_whole_store_is_for_those_who_may_see_it(verb, client):
    assert verb.send(client, headers=bearer("ana")).status_code == 403
    assert verb.send(client, headers=bearer("root")).status_code == 200


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.writes], ids=by_name)
def test_a_token_for_reading_changes_nothing(verb, client, stored):
    (ana, *_) = stored.list(namespace="team/ana").memories
    response = verb.send(client, ana.id, headers=bearer("reader"))
    assert response.status_code == 403
    assert "insufficient_scope" in response.headers["www-authenticate"]


def test_everyone_sees_the_namespaces_that_are_theirs(client):
    def seen(name):
        found = client.get("/v1/namespaces", headers=bearer(name)).json()["namespaces"]
        return [item["name"] for item in found]

    assert {"team/ana", "team/ana/notes"} <= set(seen("ana"))
    assert not any("bob" in name for name in seen("ana"))
    assert seen("bob") == ["team/bob"]
    assert {"team/ana", "team/bob"} <= set(seen("team"))


def test_callers_are_told_what_they_may_do(client, stored):
    def told(name):
        return client.get("/v1/caller", headers=bearer(name)).json()

    assert told("two") == {"namespaces": ["team/ana", "other"], "read_only": False, "rerankers": []}
    assert told("reader") == {"namespaces": ["team/ana"], "read_only": True, "rerankers": []}
    bounds = Scope(("team",), read_only=True)
    with serving(stored, scope=bounds, rerankers=("minilm-l6",), tokens=TOKENS[:1]) as narrow:
        said = narrow.get("/v1/caller", headers=bearer("root")).json()
    assert said == {"namespaces": ["team"], "read_only": True, "rerankers": ["minilm-l6"]}


def test_a_request_that_names_no_namespace_means_the_first_of_the_caller(client, stored):
    said = client.post("/v1/memories", json={"text": "Mine."}, headers=bearer("two")).json()
    assert said["namespace"] == "team/ana"
    hits = client.post("/v1/query", json={"text": "Ana"}, headers=bearer("bob")).json()["hits"]
    assert {hit["memory"]["namespace"] for hit in hits} == {"team/bob"}


def test_who_forgets_by_filter_says_where_or_means_what_it_would_read(client, stored):
    where = {"metadata.topic": "to be forgotten"}

    def forget(name, **more):
        body = {"where": where, "dry_run": True, **more}
        return client.post("/v1/forget", json=body, headers=bearer(name))

    made = {
        path: stored.add(f"In {path}.", namespace=path, metadata={"topic": "to be forgotten"}).id
        for path in ("default", "team/ana", "team/ana/deeper", "other")
    }
    unsaid = forget("root")
    assert unsaid.status_code == 422
    assert unsaid.json()["errors"][0]["pointer"] == "#/namespace"
    assert set(forget("root", namespace="*").json()["ids"]) == set(made.values())
    assert forget("root", namespace="default").json()["ids"] == [made["default"]]
    assert set(forget("two").json()["ids"]) == {made["team/ana"], made["team/ana/deeper"]}
    assert forget("two", namespace="other").json()["ids"] == [made["other"]]
    assert forget("reader").status_code == 403
    for id_ in made.values():
        stored.forget(id_)


def test_an_idempotency_key_is_its_callers_own(client):
    def post(name, text):
        headers = {**bearer(name), "Idempotency-Key": "one"}
        return client.post("/v1/memories", json={"text": text}, headers=headers)

    bob = post("bob", "Bob's own.")
    ana = post("ana", "Ana's own.")
    assert (bob.status_code, ana.status_code) == (201, 201)
    assert post("bob", "Bob's own.").json() == bob.json()
    assert post("ana", "Ana's own.").json()["id"] == ana.json()["id"]


def test_a_history_shows_the_keys_of_its_reader_alone(client, stored):
    memory = stored.add("Shared.", namespace="team/ana")
    stored.reinforce(memory.id, idempotency_key="python")
    for name, key in (("ana", "of-ana"), ("team", "of-team")):
        headers = {**bearer(name), "Idempotency-Key": key}
        path = f"/v1/memories/{memory.id}/reinforce"
        assert client.post(path, json={}, headers=headers).is_success
    events = client.get(f"/v1/memories/{memory.id}/history", headers=bearer("ana")).json()["events"]
    keys = [event["idempotency_key"] for event in events]
    assert keys == [None, "python", "of-ana", None]


def test_lines_for_another_are_refused_before_any_is_stored(client, stored):
    before = stored.stats().memories
    lines = '{"text": "Good.", "id": "g"}\n{"text": "Bad.", "scope": "team/bob"}\n'
    headers = {**bearer("ana"), "Content-Type": "application/x-ndjson"}
    response = client.post("/v1/ingest", content=lines, headers=headers)
    assert response.status_code == 403
    assert response.json()["detail"].startswith("body:2: ")
    assert stored.stats().memories == before


def test_a_server_of_some_namespaces_serves_no_others(stored):
    with serving(stored, scope=Scope(("team/ana",)), tokens=TOKENS[:2]) as client:
        for name in ("root", "ana"):
            seen = client.get("/v1/namespaces", headers=bearer(name)).json()["namespaces"]
            assert all(item["name"].startswith("team/ana") for item in seen)
            assert client.get("/v1/stats", headers=bearer(name)).status_code == 403
    with serving(stored, scope=Scope(("team/ana",))) as client:
        assert client.get("/v1/memories?namespace=team/bob").status_code == 403


paths = st.lists(st.sampled_from(["*", "a", "a/b", "a/b/c", "ab", "b", "b/c"]), min_size=1)


@given(paths, paths, st.sampled_from(["a", "a/b", "a/b/c", "ab", "b", "b/c", "c"]))
def test_a_narrowed_scope_covers_what_both_cover(own, within, namespace):
    both = [Scope(tuple(own)), Scope(tuple(within))]
    try:
        scopes = [both[0].narrowed(both[1])]
    except BadInput:
        scopes = []

    def covers(scope):
        try:
            return scope.to_read(namespace) == namespace
        except OutsideScope:
            return False

    assert any(map(covers, scopes)) == all(map(covers, both))


def test_a_token_that_could_see_nothing_is_refused_at_the_start(stored):
    with (
        pytest.raises(BadInput, match="outside of those that are served"),
        serving(stored, scope=Scope(("other",)), tokens=TOKENS),
    ):
        pass
    with (
        pytest.raises(BadInput, match="is not a path"),
        serving(stored, scope=Scope(("team//ana",))),
    ):
        pass
