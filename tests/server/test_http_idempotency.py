"""Under one Idempotency-Key a request is done once, and answered as then."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.http_serving import VERBS, by_name, serving
from starlette.responses import Response

from memstore.server.http.idempotency import KeptAnswers, key_of
from memstore.server.http.problems import Problem

_numbers = iter(range(1_000_000))


@pytest.fixture
def key():
    return {"Idempotency-Key": f"key-{next(_numbers)}"}


@pytest.fixture
def ana(stored):
    return stored.add(f"Ana has moved {next(_numbers)} times.", source="crm")


def log(stored):
    memories = stored.list().memories
    return [stored.history(memory.id) for memory in memories], stored.sources(), stored.entities()


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.writes], ids=by_name)
def test_a_write_is_done_once_and_answered_twice(verb, client, stored, ana, key):
    if verb.method == "DELETE" and verb.path == "/v1/aliases":
        stored.alias("Annie", of="Ana")
    first = verb.send(client, ana.id, headers=key)
    assert first.is_success, first.text
    assert "idempotent-replayed" not in first.headers
    after = log(stored)
    second = verb.send(client, ana.id, headers=key)
    assert second.headers["idempotent-replayed"] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)
    for name in ("content-type", "etag", "location"):
        assert second.headers.get(name) == first.headers.get(name)
    assert log(stored) == after


def test_another_request_under_the_same_key_is_refused(client, ana, key):
    path = f"/v1/memories/{ana.id}"
    assert client.post(f"{path}/reinforce", json={}, headers=key).is_success
    for method, other, more in (
        ("POST", f"{path}/reinforce", {"json": {"session": "s"}}),
        ("POST", f"{path}/confirm", {"json": {"source": "Bob"}}),
        ("POST", "/v1/memories", {"json": {"text": "tea"}}),
        ("DELETE", path, {}),
        ("DELETE", path, {"params": {"purge": True}}),
    ):
        response = client.request(method, other, headers=key, **more)
        assert response.status_code == 422
        assert response.json()["type"] == "urn:memstore:problem:idempotency-key-reused"


def test_another_precondition_is_another_request(client, ana, key):
    path = f"/v1/memories/{ana.id}"
    first = client.patch(path, json={"title": "A"}, headers={**key, "If-Match": "*"})
    assert first.is_success
    again = client.patch(path, json={"title": "A"}, headers={**key, "If-Match": '"x"'})
    assert again.json()["type"] == "urn:memstore:problem:idempotency-key-reused"


def test_a_request_that_did_nothing_is_tried_again(client, ana, key):
    path = f"/v1/memories/{ana.id}"
    assert client.patch(path, json={"kind": "none"}, headers=key).status_code == 422
    assert client.patch(path, json={"kind": "fact"}, headers=key).is_success
    assert client.patch(path, json={"kind": "none"}, headers=key).status_code == 422  # reused


def test_a_request_that_failed_is_tried_again(client, stored, key):
    body = {"text": "After a failure."}
    with mock.patch.object(type(stored), "add", side_effect=ZeroDivisionError):
        assert client.post("/v1/memories", json=body, headers=key).status_code == 500
    assert client.post("/v1/memories", json=body, headers=key).status_code == 201


def test_the_same_request_while_it_is_in_work_is_told_to_wait(client, stored, key):
    begun, go = threading.Event(), threading.Event()
    add = type(stored).add

    def slow(*arguments, **options):
        begun.set()
        assert go.wait(30)
        return add(*arguments, **options)

    body = {"text": "Once, however often it is asked for."}
    with mock.patch.object(type(stored), "add", slow), ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, "/v1/memories", json=body, headers=key)
        assert begun.wait(30)
        second = client.post("/v1/memories", json=body, headers=key)
        other = client.post("/v1/memories", json={"text": "Other."}, headers=key)
        go.set()
        assert first.result().status_code == 201
    assert second.status_code == 409
    assert second.json()["type"] == "urn:memstore:problem:idempotency-key-in-work"
    assert int(second.headers["retry-after"]) > 0
    assert other.status_code == 422
    third = client.post("/v1/memories", json=body, headers=key)
    assert third.json() == first.result().json()


def test_many_at_once_do_it_once(client, stored, ana):
    def reinforce(number):
        headers = {"Idempotency-Key": f"burst-{number % 3}"}
        path, body = f"/v1/memories/{ana.id}/reinforce", {"session": f"session {number % 3}"}
        while True:
            response = client.post(path, json=body, headers=headers)
            if response.status_code != 409:
                return response

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(reinforce, range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 3
    assert [event.verb for event in stored.history(ana.id)].count("reinforce") == 3


def test_after_a_restart_feedback_is_still_done_once(stored, ana):
    path, headers = f"/v1/memories/{ana.id}", {"Idempotency-Key": "durable"}
    for _ in range(2):
        with serving(stored) as client:
            said = client.post(f"{path}/confirm", json={"source": "Bob"}, headers=headers)
            assert said.is_success
            assert "idempotent-replayed" not in said.headers
    assert [event.verb for event in stored.history(ana.id)] == ["add", "confirm"]
    with serving(stored) as client:
        other = client.post(f"{path}/contradict", json={"source": "Bob"}, headers=headers)
        assert other.status_code == 422


def test_after_a_restart_a_text_supersedes_once(stored, ana):
    path, headers = f"/v1/memories/{ana.id}/supersede", {"Idempotency-Key": "instead"}
    said = []
    for _ in range(2):
        with serving(stored) as client:
            said.append(client.post(path, json={"text": "Ana stays."}, headers=headers).json())
    assert said[0]["id"] == said[1]["id"]


def test_reading_takes_no_key(client):
    for text in ("tea", "coffee"):
        headers = {"Idempotency-Key": "of a reader"}
        assert client.post("/v1/query", json={"text": text}, headers=headers).is_success


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("how", ["by id", "by ids", "by filter"])
def test_an_answer_that_could_hold_what_was_forgotten_is_not_given_again(
    how, purge, client, stored, key
):
    case = f"{how} {purge}".replace(" ", "-")
    body = {"text": f"A secret to be erased {case}.", "key": case}
    posted = client.post("/v1/memories", json=body, headers=key)
    id_ = posted.json()["id"]
    dry = {"ids": [id_], "dry_run": True}
    assert client.post("/v1/forget", json=dry).is_success
    assert "idempotent-replayed" in client.post("/v1/memories", json=body, headers=key).headers
    path, params, sent = {
        "by id": (f"/v1/memories/{id_}", {"purge": purge}, None),
        "by ids": ("/v1/forget", {}, {"ids": [id_], "purge": purge}),
        "by filter": (
            *("/v1/forget", {}),
            {"where": {"key": case}, "namespace": "default", "purge": purge},
        ),
    }[how]
    own = {"Idempotency-Key": f"forget-{case}"}

    def forget():
        method = "POST" if sent else "DELETE"
        return client.request(method, path, params=params, json=sent, headers=own)

    done = forget()
    assert done.json()["ids"] == [id_]
    again = forget()  # this one says nothing of it, and is kept
    assert (again.json(), again.headers["idempotent-replayed"]) == (done.json(), "true")
    anew = client.post("/v1/memories", json=body, headers=key)
    assert "idempotent-replayed" not in anew.headers
    assert anew.json()["id"] != id_


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/v1/memories/01M8MNYPPQRADYGWF4K9KFCKNA", None),
        ("POST", "/v1/forget", {"ids": ["01M8MNYPPQRADYGWF4K9KFCKNA"]}),
        ("POST", "/v1/forget", {"where": {"unknown": 1}, "namespace": "default"}),
    ],
)
def test_answers_stay_when_nothing_was_forgotten(method, path, body, client, ana, key):
    def change(text, headers):
        return client.patch(f"/v1/memories/{ana.id}", json={"title": text}, headers=headers)

    assert change("one", key).is_success
    assert change("two", {}).is_success
    assert client.request(method, path, json=body).is_client_error
    assert "idempotent-replayed" in change("one", key).headers
    assert client.get(f"/v1/memories/{ana.id}").json()["title"] == "two"


def test_an_answer_made_while_something_is_forgotten_is_not_kept():
    answers = kept([0.0])
    for name in ("slow", "forget"):
        assert answers.begin(name, b"1") is None
    answers.clear(but="forget")
    for name in ("slow", "forget"):
        answers.end(name, Response(b"done"))
    assert answers.begin("slow", b"1") is None
    assert answers.begin("forget", b"1").body == b"done"


@pytest.mark.parametrize("written", ["", "a b", '"', '""', '"a', 'a"b', "é", "x" * 256])
def test_what_is_no_key_is_refused(written, client):
    headers = {"Idempotency-Key": written.encode()}
    response = client.post("/v1/memories", json={"text": "tea"}, headers=headers)
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "Idempotency-Key"


def test_two_keys_are_none(client):
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert client.post("/v1/memories", json={"text": "t"}, headers=headers).status_code == 422


def test_quotes_are_no_part_of_a_key():
    assert key_of([r'"a \"b\" \\ c"']) == r'a "b" \ c'
    assert key_of(['"abc"']) == key_of(["abc"]) == "abc"


def kept(clock, most=4, most_bytes=100):
    return KeptAnswers(most=most, most_bytes=most_bytes, seconds=10, clock=lambda: clock[0])


def test_an_answer_is_kept_until_it_is_old():
    clock = [0.0]
    answers = kept(clock)
    assert answers.begin("k", b"1") is None
    answers.end("k", Response(b"done"))
    clock[0] = 9.9
    assert answers.begin("k", b"1").body == b"done"
    clock[0] = 10.1
    assert answers.begin("k", b"2") is None


def test_what_is_in_work_is_never_dropped():
    answers = kept([0.0], most=1)
    assert answers.begin("slow", b"1") is None
    for number in range(5):
        assert answers.begin(str(number), b"1") is None
        answers.end(str(number), Response(b"x" * 60))
    with pytest.raises(Problem) as caught:
        answers.begin("slow", b"1")
    assert caught.value.status_code == 409
    answers.end("slow", Response(b"at last"))
    assert answers.begin("slow", b"1").body == b"at last"


steps = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from("123456"),
        st.sampled_from([b"p", b"q"]),
        st.sampled_from([200, 201, 404, 500]),
        st.integers(0, 60),
        st.floats(0, 4),
    )
)


@given(steps)
def test_kept_answers_stay_within_their_bounds_and_are_never_wrong(found):
    clock = [0.0]
    answers = kept(clock)
    truth: dict = {}
    for caller, name, asked, status, size, seconds in found:
        clock[0] += seconds
        known = truth.get((caller, name))
        try:
            again = answers.begin(f"{caller}:{name}", asked)
        except Problem as problem:
            reused = (problem.status_code, known is not None and known[0] != asked)
            if reused != (422, True):
                raise
            continue
        if again is not None:
            # the very answer, to the very request, and not older than is promised
            assert known is not None
            assert (known[0], known[1]) == (asked, bytes(again.body))
            assert clock[0] - known[2] <= 10
        else:
            body = f"{len(truth)}:".encode() + b"x" * size
            answers.end(f"{caller}:{name}", Response(body, status))
            if status < 300:
                truth[caller, name] = (asked, body, clock[0])
        assert len(answers) <= 4
        assert sum(item.size for item in answers._kept.values()) == answers._bytes <= 100


def test_what_a_client_did_not_wait_for_is_done_and_can_be_asked_for(client, stored, key):
    begun, go = threading.Event(), threading.Event()
    add = type(stored).add

    def slow(*arguments, **options):
        begun.set()
        assert go.wait(30)
        return add(*arguments, **options)

    body = {"text": "Its client has gone."}
    with mock.patch.object(type(stored), "add", slow):
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/memories", json=body, headers=key, timeout=0.2)
        assert begun.wait(30)
        go.set()
        while (again := client.post("/v1/memories", json=body, headers=key)).status_code == 409:
            pass
    assert again.status_code == 201
    assert again.headers["idempotent-replayed"] == "true"
    assert stored.get(again.json()["id"]).text == body["text"]
