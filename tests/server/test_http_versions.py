"""Changes only of what the caller knows: ETag, If-Match and If-None-Match."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from server.http_serving import VERBS, by_name

from memstore import MemoryNotFound

_numbers = iter(range(1_000_000))


@pytest.fixture
def ana(stored):
    return stored.add(f"Ana has moved {next(_numbers)} times.", key=f"ana.{next(_numbers)}")


def test_a_memory_that_is_known_is_not_sent_again(client, ana):
    path = f"/v1/memories/{ana.id}"
    tag = client.get(path).headers["etag"]
    assert tag == f'"{ana.version}"'
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        response = client.get(path, headers={"If-None-Match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
    by_key = {"key": ana.key}
    again = client.get("/v1/memories/by-key", params=by_key, headers={"If-None-Match": tag})
    assert again.status_code == 304


def test_a_memory_that_changed_is_sent_again(client, stored, ana):
    stored.confirm(ana.id, source="Bob")
    response = client.get(f"/v1/memories/{ana.id}", headers={"If-None-Match": f'"{ana.version}"'})
    assert response.status_code == 200
    assert response.json()["version"] != ana.version
    assert response.headers["etag"] == f'"{response.json()["version"]}"'
    assert "no-cache" in response.headers["cache-control"]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_of_what_changed_is_refused(method, client, stored, ana):
    path = f"/v1/memories/{ana.id}"
    stored.update(ana.id, title="Changed.")
    body = {"json": {"title": "Mine."}} if method == "PATCH" else {}
    tag = f'"{ana.version}"'
    for known in (tag, f'W/"{stored.get(ana.id).version}"', f'"other",{tag}'):
        response = client.request(method, path, headers={"If-Match": known}, **body)
        assert response.status_code == 412
        assert response.json()["type"] == "urn:memstore:problem:version-conflict"
    assert stored.get(ana.id).title == "Changed."
    tag = f'"{stored.get(ana.id).version}"'
    response = client.request(method, path, headers={"If-Match": f'"other" , {tag}'}, **body)
    assert response.status_code == 200


CONDITIONAL = [("PATCH", "/v1/memories/{id}"), ("DELETE", "/v1/memories/{id}")]
UNCONDITIONAL = [
    verb for verb in VERBS if verb.writes and (verb.method, verb.path) not in CONDITIONAL
]


@pytest.mark.parametrize("verb", UNCONDITIONAL, ids=by_name)
def test_a_verb_that_could_not_keep_a_condition_does_not_do_without(verb, client, stored, ana):
    before = stored.list().memories
    response = verb.send(client, ana.id, headers={"If-Match": f'"{ana.version}"'})
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "If-Match"
    assert stored.list().memories == before


def test_a_change_gives_the_next_version(client, ana):
    path = f"/v1/memories/{ana.id}"
    tag = f'"{ana.version}"'
    for title in ("One", "Two", "Three"):
        response = client.patch(path, json={"title": title}, headers={"If-Match": tag})
        assert response.status_code == 200
        assert response.headers["etag"] != tag
        tag = response.headers["etag"]
    assert client.get(path).headers["etag"] == tag


def test_any_version_will_do_for_a_star(client, stored, ana):
    assert client.delete(f"/v1/memories/{ana.id}", headers={"If-Match": "*"}).is_success
    with pytest.raises(MemoryNotFound):
        stored.get(ana.id)
    gone = client.delete(f"/v1/memories/{ana.id}", headers={"If-Match": "*"})
    assert gone.status_code == 404


@pytest.mark.parametrize("written", ["", "abc", '"abc', '"a" "b"', 'w/"a"', '"a",', "*, *"])
def test_what_is_no_tag_is_refused_and_not_taken_for_nothing(written, client, stored, ana):
    path = f"/v1/memories/{ana.id}"
    response = client.patch(path, json={"title": "Mine."}, headers={"If-Match": written})
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "If-Match"
    assert client.get(path, headers={"If-None-Match": written}).status_code == 422
    assert stored.get(ana.id) == ana


def test_of_many_who_change_the_same_version_one_wins(client, stored, ana):
    path = f"/v1/memories/{ana.id}"

    def change(number):
        title = {"title": f"Mine {number}"}
        return client.patch(path, json=title, headers={"If-Match": f'"{ana.version}"'})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(change, range(16)))
    won = [answer.json()["title"] for answer in answers if answer.status_code == 200]
    assert [stored.get(ana.id).title] == won
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 15]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_that_comes_in_between_is_not_lost(method, client, stored, ana):
    verb = {"PATCH": "update", "DELETE": "forget"}[method]
    original, update = getattr(type(stored), verb), type(stored).update

    def late(self, id_, **options):
        update(self, id_, title="In between.")
        return original(self, id_, **options)

    body = {"json": {"source": "crm"}} if method == "PATCH" else {}
    with mock.patch.object(type(stored), verb, late):
        response = client.request(
            method, f"/v1/memories/{ana.id}", headers={"If-Match": f'"{ana.version}"'}, **body
        )
    assert response.status_code == 412
    assert stored.get(ana.id).title == "In between."
    assert stored.get(ana.id).source is None
