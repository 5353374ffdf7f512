"""Cohere and Jina over HTTP: what is sent, believed, tried again, and kept secret."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import math
import os
import pickle
import random
import runpy
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import (
    KeyRefused,
    MissingExtra,
    RateLimited,
    ServiceError,
    ServiceUnreachable,
)
from memstore.rerank import Reranker, open_reranker, retrying
from memstore.rerank.hosted import CohereReranker, JinaReranker
from memstore.rerank.retrying import Timing, asked_pause
from memstore.settings import Settings

stand_in = runpy.run_path(str(Path(__file__).with_name("hosted_service.py")))
hosted_service, overlap = stand_in["hosted_service"], stand_in["overlap"]

KEY = "Key-4f9a1c7b2e8d6053"
QUERY = "where does the veterinarian live"
DOCUMENTS = [
    "The printer on the second floor is broken again.",
    "Her veterinarian used to live in Porto, by the sea.",
    "Where the cat is, a veterinarian cannot be far.",
]
SCORES = [0.2, 0.6, 0.6]
RESULTS = {"results": [{"index": 0, "relevance_score": 0.5}]}


class Maker(NamedTuple):
    make: Callable[..., Reranker]
    variable: str
    address: str
    path: str


COHERE = Maker(CohereReranker, "CO_API_KEY", "CO_API_URL", "/v2/rerank")
JINA = Maker(JinaReranker, "JINA_API_KEY", "JINA_API_URL", "/v1/rerank")
both = pytest.mark.parametrize("maker", [COHERE, JINA], ids=["cohere", "jina"])


class Time:
    """A clock that only sleeping moves, and the sleeps."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.chance = 0.0
        self.sleeps: list[float] = []
        self.timing = Timing(
            clock=lambda: self.now,
            wall_clock=lambda: self.now,
            sleep=self.sleep,
            chance=lambda: self.chance,
        )

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def service(monkeypatch) -> Iterator:
    """The stand-in service, named by the environment, which says nothing else of services."""
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    monkeypatch.delenv("COHERE_API_KEY", raising=False)
    with hosted_service(keys={KEY}) as service:
        for maker in (COHERE, JINA):
            monkeypatch.setenv(maker.variable, KEY)
            monkeypatch.setenv(maker.address, service.url)
        yield service


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def opened(time) -> Callable[..., Reranker]:
    """Make a reranker that never really sleeps."""

    def make(maker: Maker = COHERE, model: str | None = None, **settings) -> Reranker:
        return maker.make(model, settings=Settings(**settings), timing=time.timing)

    return make


# requests


@both
def test_it_keeps_the_contract_of_rerankers(maker, opened):
    reranker = opened(maker)
    assert isinstance(reranker, Reranker)
    assert reranker.kind == "prob01"
    assert reranker.parameters is None
    assert reranker.windows("q", ["", "three words long"]) == [[(0, 0)], [(0, 16)]]


@pytest.mark.parametrize(
    ("asked", "name", "model"),
    [
        ("cohere", "cohere:rerank-v3.5", "rerank-v3.5"),
        ("cohere:rerank-v4.0-pro", "cohere:rerank-v4.0-pro", "rerank-v4.0-pro"),
        (
            "jina",
            "jina:jina-reranker-v2-base-multilingual",
            "jina-reranker-v2-base-multilingual",
        ),
        ("jina:jina-reranker-m0", "jina:jina-reranker-m0", "jina-reranker-m0"),
    ],
)
def test_a_model_may_be_named_and_else_is_the_usual_one(asked, name, model, service):
    reranker = open_reranker(asked)
    assert reranker.name == name
    reranker.score(QUERY, DOCUMENTS)
    assert service.log[0].body["model"] == model


@pytest.mark.parametrize(("maker", "options"), [(COHERE, {}), (JINA, {"return_documents": False})])
def test_a_request_holds_the_texts_and_the_key_and_no_option_that_is_not_needed(
    maker, options, opened, service
):
    opened(maker, "a-model").score(QUERY, DOCUMENTS)
    (request,) = service.log
    assert request.path == maker.path
    assert request.body == {"model": "a-model", "query": QUERY, "documents": DOCUMENTS} | options
    assert request.authorization == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("memstore/")


@both
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_scores_come_in_the_order_of_the_documents_with_either_library(
    maker, library, opened, service, monkeypatch
):
    if library == "httpx2":
        monkeypatch.setitem(sys.modules, "httpx", None)
    texts = [f"where {'the ' * (n % 2)}veterinarian {n}" for n in range(40)] + DOCUMENTS
    random.Random(3).shuffle(texts)
    service.hang_up()  # its errors are known as well
    reranker = opened(maker)
    assert reranker.score(QUERY, texts) == [overlap(QUERY, text) for text in texts]
    assert reranker.score(QUERY, DOCUMENTS) == SCORES
    assert reranker._client._http.__name__ == library


def test_without_an_http_library_the_error_names_the_extra(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'memstore\[hosted\]'"):
        opened()


def test_importing_the_module_loads_no_http_library():
    code = "import sys, memstore.rerank.hosted\nassert not {'httpx', 'httpx2'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@both
def test_no_documents_are_no_request(maker, opened, service):
    assert opened(maker).score(QUERY, []) == []
    assert service.log == []


@both
def test_many_documents_are_split_into_requests_of_a_thousand(maker, opened, service):
    texts = [f"the {n}" if n % 3 else f"where the {n}" for n in range(2001)]
    finished: list[int] = []
    scores = opened(maker).score(QUERY, texts, progress=finished.append)
    assert scores == [overlap(QUERY, text) for text in texts]
    assert [len(request.body["documents"]) for request in service.log] == [1000, 1000, 1]
    assert finished == [1000, 1000, 1]


@pytest.mark.parametrize("model", ["jina-reranker-v3", "jina-reranker-v3.5"])
def test_a_listwise_model_reads_its_first_64_documents_in_one_request(model, opened, service):
    texts = [f"the {n}" for n in range(100)]
    finished: list[int] = []
    scores = opened(JINA, model).score(QUERY, texts, progress=finished.append)
    assert scores == [0.2] * 64 + [None] * 36
    assert [request.body["documents"] for request in service.log] == [texts[:64]]
    assert finished == [100]


def test_lone_surrogates_are_sent_as_replacement_characters(opened, service):
    assert opened().score("where \ud800", ["where \udfff"]) == [1.0]
    assert service.log[0].body["query"] == "where \ufffd"
    assert service.log[0].body["documents"] == ["where \ufffd"]


def test_requests_share_one_connection_also_after_failures(opened, service):
    reranker = opened()
    service.fail(503)
    reranker.score(QUERY, DOCUMENTS)
    reranker.score(QUERY, DOCUMENTS)
    assert len(service.log) == 3
    assert len({request.connection for request in service.log}) == 1


def test_threads_that_share_a_reranker_get_each_its_own_scores(opened, service):
    reranker = opened()
    queries = [f"{word} {n}" for n in range(10) for word in ("veterinarian", "printer", "cat")]

    def score(query: str) -> list[float | None]:
        return reranker.score(query, DOCUMENTS)

    with ThreadPoolExecutor(6) as threads:
        scores = list(threads.map(score, queries))
    assert scores == [[overlap(query, text) for text in DOCUMENTS] for query in queries]


# keys


def test_coheres_key_has_the_name_of_its_own_library_or_else_the_longer_one(
    opened, service, monkeypatch
):
    monkeypatch.setenv("COHERE_API_KEY", "other-key")
    opened().score(QUERY, DOCUMENTS)
    monkeypatch.setenv("CO_API_KEY", "  ")
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    opened().score(QUERY, DOCUMENTS)
    assert [request.authorization for request in service.log] == [f"Bearer {KEY}"] * 2


@both
@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_key_is_refused_at_once_and_its_variable_is_named(
    maker, value, opened, monkeypatch
):
    if value is None:
        monkeypatch.delenv(maker.variable)
    else:
        monkeypatch.setenv(maker.variable, value)
    with pytest.raises(KeyRefused, match=rf"export {maker.variable}="):
        opened(maker)


@both
def test_space_around_a_key_is_not_sent(maker, opened, service, monkeypatch):
    monkeypatch.setenv(maker.variable, f" {KEY}\r\n")
    assert opened(maker).score(QUERY, DOCUMENTS) == SCORES


@both
@pytest.mark.parametrize("mark", ["\n", "\r\nX-Injected: 1", " ", "\x07", "é", "\udcff"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(maker, mark, opened, monkeypatch):
    monkeypatch.setenv(maker.variable, f"{KEY}{mark}{KEY}")
    with pytest.raises(KeyRefused, match=f"^{maker.variable} holds") as raised:
        opened(maker)
    assert_tells_nothing(raised.value)


@both
def test_the_key_is_read_anew_for_each_call(maker, opened, service, monkeypatch):
    reranker = opened(maker)
    service.keys.add("new-key")
    monkeypatch.setenv(maker.variable, "new-key")
    reranker.score(QUERY, DOCUMENTS)
    assert service.log[0].authorization == "Bearer new-key"
    monkeypatch.delenv(maker.variable)
    with pytest.raises(KeyRefused):
        reranker.score(QUERY, DOCUMENTS)
    assert len(service.log) == 1


def test_no_copy_of_a_reranker_holds_the_key():
    reranker = CohereReranker(None, settings=Settings())
    reranker.score(QUERY, DOCUMENTS)
    assert KEY not in repr(reranker)
    with contextlib.suppress(TypeError):  # its connections cannot be copied
        assert KEY.encode() not in pickle.dumps(reranker)


# addresses


@pytest.mark.parametrize(
    ("maker", "written", "expected"),
    [
        (COHERE, None, "https://api.cohere.com/v2/rerank"),
        (COHERE, " ", "https://api.cohere.com/v2/rerank"),
        (COHERE, "https://api.cohere.ai/v1", "https://api.cohere.ai/v2/rerank"),
        (COHERE, "https://gate.example/a/v1/", "https://gate.example/a/v1/v2/rerank"),
        (COHERE, "http://localhost:8080", "http://localhost:8080/v2/rerank"),
        (COHERE, "http://127.9.9.9", "http://127.9.9.9/v2/rerank"),
        (COHERE, "http://[::1]:80/", "http://[::1]:80/v2/rerank"),
        (JINA, None, "https://api.jina.ai/v1/rerank"),
        (JINA, "https://eu.jina.ai/v1/", "https://eu.jina.ai/v1/rerank"),
        (JINA, "https://gate.example/jina", "https://gate.example/jina/v1/rerank"),
    ],
)
def test_the_environment_names_the_address(maker, written, expected, opened, monkeypatch):
    if written is None:
        monkeypatch.delenv(maker.address)
    else:
        monkeypatch.setenv(maker.address, written)
    assert opened(maker)._url == expected


def test_a_path_in_the_address_comes_before_that_of_the_service(opened, service, monkeypatch):
    monkeypatch.setenv("CO_API_URL", f"{service.url}/gate/")
    service.answer(RESULTS)
    opened().score(QUERY, ["one"])
    assert service.log[0].path == "/gate/v2/rerank"


@both
@pytest.mark.parametrize(
    "host", ["api.cohere.com", "10.0.0.1", "0.0.0.0", "127.0.0.1.example", "localhost.example"]
)
def test_plain_http_is_refused_for_other_machines(maker, host, opened, monkeypatch):
    monkeypatch.setenv(maker.address, f"http://{host}")
    with pytest.raises(ServiceError, match=rf"{maker.address} names {host} with http,"):
        opened(maker)


@pytest.mark.parametrize(
    "written",
    [
        *("api.cohere.com", "ftp://api.cohere.com", "https://", "https://a:b", "https://[::1"),
        *(f"https://me:{KEY}@api.cohere.com", f"https://api.cohere.com/?key={KEY}"),
        f"https://api.cohere.com/#{KEY}",
    ],
)
def test_what_is_no_address_is_refused_and_not_shown(written, opened, monkeypatch):
    monkeypatch.setenv("CO_API_URL", written)
    with pytest.raises(ServiceError, match=r"^CO_API_URL is not the address") as raised:
        opened()
    assert_tells_nothing(raised.value)


def test_a_proxy_is_told_nothing_that_stays_on_this_machine(opened, service, monkeypatch):
    with hosted_service() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert opened().score(QUERY, DOCUMENTS) == SCORES
        assert proxy.log == []


def test_a_proxy_is_used_for_other_machines(opened, monkeypatch):
    monkeypatch.delenv("CO_API_URL")
    with hosted_service() as proxy:  # which knows no CONNECT
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(ServiceUnreachable, match="ProxyError"):
            opened(service_retries=0).score(QUERY, DOCUMENTS)


def test_a_proxy_that_cannot_be_used_is_a_clear_error(opened, monkeypatch):
    monkeypatch.delenv("CO_API_URL")
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1")
    with pytest.raises(ServiceError, match="Check HTTPS_PROXY"):
        opened()


# answers


@both
@pytest.mark.parametrize("document", [{}, {"document": {"text": "Ana"}}, {"document": None}])
def test_the_answers_of_both_services_are_understood(maker, document, opened, service):
    results = [
        {"index": 2, "relevance_score": 1} | document,
        {"index": 0, "relevance_score": 0.25} | document,
    ]
    service.answer({"results": results, "usage": {}, "meta": {}, "anything": 1})
    assert opened(maker).score(QUERY, DOCUMENTS) == [0.25, None, 1.0]


def test_scores_are_returned_as_they_are(opened, service):
    service.answer({"results": [{"index": 0, "relevance_score": -0.25}]})
    assert opened(JINA, "jina-reranker-v3").score(QUERY, ["one"]) == [-0.25]


def test_compressed_answers_are_read(opened, service):
    service.answer(gzip.compress(json.dumps(RESULTS).encode()), {"Content-Encoding": "gzip"})
    assert opened().score(QUERY, ["one"]) == [0.5]


def result(**fields) -> dict:
    return {"results": [{"index": 0, "relevance_score": 0.5} | fields]}


@both
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no JSON"),
        (b"<html>sign in</html>", "no JSON"),
        (b'{"results": [', "no JSON"),
        (b"\xff\xfe\xfa", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no JSON"),
        ([], "no JSON object"),
        (None, "no JSON object"),
        ({}, "a list of results"),
        ({"results": None}, "a list of results"),
        ({"results": {"0": 0.5}}, "a list of results"),
        ({"results": ["text"]}, "names none of the 2 documents"),
        ({"results": [{"relevance_score": 0.5}]}, "names none"),
        (result(index=2), "names none"),
        (result(index=-1), "names none"),
        (result(index=True), "names none"),
        (result(index="0"), "names none"),
        (result(index=0.0), "names none"),
        ({"results": RESULTS["results"] * 2}, "document 0 has two scores"),
        ({"results": [{"index": 0}]}, "the score of document 0 is no finite"),
        (result(relevance_score=None), "no finite number"),
        (result(relevance_score="0.5"), "no finite number"),
        (result(relevance_score=True), "no finite number"),
        (result(relevance_score=[0.5]), "no finite number"),
        (result(relevance_score=math.nan), "no finite number"),
        (result(relevance_score=math.inf), "no finite number"),
        (result(relevance_score=-math.inf), "no finite number"),
        (result(relevance_score=10**400), "no finite number"),
        (b'{"results": [{"index": 0, "relevance_score": 1e999}]}', "no finite number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_answer_that_makes_no_sense_is_refused(maker, body, reason, opened, service):
    service.answer(body)
    with pytest.raises(ServiceError, match=reason) as raised:
        opened(maker).score(QUERY, ["one", "two"])
    assert type(raised.value) is ServiceError
    assert len(service.log) == 1


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_is_too_long_is_not_read_to_its_end(status, opened, service, monkeypatch):
    monkeypatch.setattr(retrying, "MOST_BYTES", 1 << 20)
    service.fail(status, body=b" " * (1 << 20) + b"{}")
    with pytest.raises(ServiceError) as raised:
        opened().score(QUERY, DOCUMENTS)
    assert ("longer than 1 MiB" in str(raised.value)) == (status == 200)
    assert type(raised.value) is ServiceError
    service.answer(RESULTS)
    assert opened().score(QUERY, ["one"]) == [0.5]


# failures


BREAKS = ["hang_up", "break_off"]
RETRIED = [408, 409, 429, 500, 502, 503, 504]


@both
@pytest.mark.parametrize("status", RETRIED)
def test_passing_failures_are_tried_again(maker, status, opened, service, time):
    service.fail(status)
    service.fail(status)
    assert opened(maker).score(QUERY, DOCUMENTS) == SCORES
    assert len(service.log) == 3
    assert len(time.sleeps) == 2


@pytest.mark.parametrize("way", BREAKS)
def test_broken_connections_are_tried_again(way, opened, service, time):
    getattr(service, way)()
    assert opened().score(QUERY, DOCUMENTS) == SCORES
    assert time.sleeps == [0.5]


def test_a_broken_compression_is_tried_again(opened, service, time):
    service.answer(b"not gzip", {"Content-Encoding": "gzip"})
    assert opened().score(QUERY, DOCUMENTS) == SCORES
    assert time.sleeps == [0.5]


LASTING = {
    **dict.fromkeys([401, 403, 498], KeyRefused),
    **dict.fromkeys([201, 204, 301, 307, 400, 402, 404, 413, 422, 499], ServiceError),
    **dict.fromkeys([501, 520], ServiceUnreachable),
}


@both
@pytest.mark.parametrize(("status", "error"), LASTING.items())
def test_lasting_failures_are_not_tried_again(maker, status, error, opened, service, time):
    service.fail(status, {"Retry-After": "1", "Location": f"{service.url}{maker.path}"}, {})
    with pytest.raises(ServiceError, match=rf"status {status} \(1 attempt in 0\.0 s\)") as raised:
        opened(maker).score(QUERY, DOCUMENTS)
    assert type(raised.value) is error
    assert len(service.log) == 1
    assert time.sleeps == []


@both
@pytest.mark.parametrize("status", RETRIED)
def test_a_failure_that_stays_is_told_after_the_last_attempt(maker, status, opened, service, time):
    for _ in range(4):
        service.fail(status, body={"message": "come back later"})
    error = RateLimited if status == 429 else ServiceUnreachable
    text = rf"answered with status {status} \(4 attempts in 3\.5 s\): come back later\n"
    with pytest.raises(ServiceError, match=text) as raised:
        opened(maker).score(QUERY, DOCUMENTS)
    assert type(raised.value) is error
    assert len(service.log) == 4
    assert opened(maker).score(QUERY, DOCUMENTS) == SCORES


@both
@pytest.mark.parametrize("retries", [0, 1])
def test_the_settings_say_how_often_it_is_tried_again(maker, retries, opened, service):
    for _ in range(3):
        service.fail(503)
    with pytest.raises(ServiceUnreachable, match=rf"service_retries \({retries}\)"):
        opened(maker, service_retries=retries).score(QUERY, DOCUMENTS)
    assert len(service.log) == retries + 1


def test_a_connection_that_is_refused_is_tried_again_and_told(opened, time, monkeypatch):
    with hosted_service() as gone:
        monkeypatch.setenv("CO_API_URL", gone.url)
    text = r"no answer \(4 attempts in 3\.5 s\): no connection \(.*refused"
    with pytest.raises(ServiceUnreachable, match=text):
        opened().score(QUERY, DOCUMENTS)
    assert time.sleeps == [0.5, 1.0, 2.0]


def test_a_host_whose_name_cannot_be_is_a_clear_error(opened, monkeypatch):
    monkeypatch.setenv("CO_API_URL", f"https://{'a' * 70}.example")
    with pytest.raises(ServiceUnreachable, match="no connection"):
        opened(service_retries=0).score(QUERY, DOCUMENTS)


def failing(service, count: int, headers: dict[str, str] | None = None) -> None:
    for _ in range(count):
        service.fail(429, headers)


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 1.0), (0.5, 1.125), (1.0, 1.25)])
def test_waits_double_with_up_to_a_quarter_more_and_end_at_30_seconds(
    chance, factor, opened, service, time
):
    failing(service, 8)
    time.chance = chance
    opened(service_retries=8, service_budget=1000.0).score(QUERY, DOCUMENTS)
    assert time.sleeps == [min(0.5 * 2**attempt * factor, 30.0) for attempt in range(8)]


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("3600", 30.0),
        ("9" * 20, 30.0),
        (formatdate(1_700_000_009, usegmt=True), 9.0),
        (formatdate(1_700_000_009), 9.0),
        (formatdate(1_700_000_009).replace("-0000", "+0100"), 0.0),
        (formatdate(1_600_000_000, usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -0100", 0.5),
        *((unreadable, 0.5) for unreadable in ("-5", "1.5", "nan", "inf", "soon", "", "²", "1, 2")),
    ],
)
def test_a_service_says_when_to_come_back(header, wait, opened, service, time):
    failing(service, 1, {"Retry-After": header.encode().decode("latin-1")})
    opened(service_budget=100.0).score(QUERY, DOCUMENTS)
    assert time.sleeps == [wait]


@given(header=st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [-+]?\w+"))
def test_no_retry_after_is_an_error_or_a_negative_wait(header):
    asked = asked_pause(header, now=0.0)
    assert asked is None or asked >= 0


# time


def test_no_wait_goes_beyond_the_time_allowed(opened, service, time):
    failing(service, 3, {"Retry-After": "20"})
    text = r"429 \(2 attempts in 20\.0 s\).*\n.*service_budget \(30 s\)"
    with pytest.raises(RateLimited, match=text):
        opened(service_budget=30.0).score(QUERY, DOCUMENTS)
    assert time.sleeps == [20.0]
    assert len(service.log) == 2


def test_the_time_allowed_is_for_all_requests_of_a_call_together(opened, service, time):
    def slow(finished: int) -> None:
        time.now += 40.0

    with pytest.raises(ServiceUnreachable, match=r"40\.0 s\): the time allowed was over"):
        opened().score(QUERY, ["the"] * 1001, progress=slow)
    assert len(service.log) == 1
    assert opened().score(QUERY, DOCUMENTS, progress=slow) == SCORES


@both
def test_a_service_that_does_not_answer_is_tried_again_after_the_timeout(
    maker, opened, service, time
):
    service.hang()
    assert opened(maker, service_timeout=0.2).score(QUERY, DOCUMENTS) == SCORES
    assert time.sleeps
    service.hang()
    with pytest.raises(ServiceUnreachable, match=r"nothing came within 0\.2 s"):
        opened(maker, service_timeout=0.2, service_retries=0).score(QUERY, DOCUMENTS)


@both
@pytest.mark.parametrize("way", ["hang", "drip", "drip_head"])
def test_no_answer_is_waited_for_beyond_the_time_allowed(maker, way, service):
    getattr(service, way)()
    settings = Settings(service_timeout=300.0, service_budget=0.2)
    with pytest.raises(ServiceUnreachable, match=r"the time allowed was over|within 0\.2 s"):
        maker.make(None, settings=settings).score(QUERY, DOCUMENTS)
    assert len(service.log) <= 1


@pytest.mark.parametrize("way", ["hang", "drip"])
def test_a_connection_that_is_too_slow_is_closed(way, service):
    getattr(service, way)()
    settings = Settings(service_timeout=300.0, service_budget=0.5)
    reranker = CohereReranker(None, settings=settings)
    with pytest.raises(ServiceUnreachable):
        reranker.score(QUERY, DOCUMENTS)
    assert service.abandoned.wait(timeout=30)


# what is told


def test_the_message_of_a_service_is_shown_in_one_line_of_200_characters(opened, service):
    service.fail(422, body={"message": "tab\there\x1b[31m \u202e\ud800" + "long " * 100})
    with pytest.raises(ServiceError) as raised:
        opened().score(QUERY, DOCUMENTS)
    shown = ("tab here[31m " + "long " * 100)[:200]
    assert str(raised.value).splitlines()[0] == (
        f"Cohere answered with status 422 (1 attempt in 0.0 s): {shown}"
    )


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"message": "no such model"}, ": no such model\n"),
        ({"detail": "no such model"}, ": no such model\n"),
        ({"detail": [{"msg": "too short", "input": QUERY}, {"msg": "bad"}]}, ": too short; bad\n"),
        ({"detail": [1]}, ".\n"),
        ({"detail": {"input": QUERY}}, ".\n"),
        ({"message": 7}, ".\n"),
        (["no such model"], ".\n"),
        (b"<html>teapot</html>", ".\n"),
        (b"", ".\n"),
    ],
)
def test_messages_are_found_where_the_services_put_them(body, shown, opened, service):
    service.fail(400, body=body)
    with pytest.raises(ServiceError) as raised:
        opened(JINA).score(QUERY, [*DOCUMENTS, " ", ""])
    assert f"status 400 (1 attempt in 0.0 s){shown}" in str(raised.value)
    assert "Check the name of the model, 'jina-reranker-v2-base-multilingual'" in str(raised.value)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "Set CO_API_KEY to a key"),
        (402, "balance"),
        (307, "set CO_API_URL to the final address"),
    ],
)
def test_an_error_says_what_to_do(status, advice, opened, service):
    service.fail(status)
    with pytest.raises(ServiceError, match=advice):
        opened().score(QUERY, DOCUMENTS)


def test_a_refused_key_is_told_with_the_variable_it_came_from(opened, monkeypatch):
    monkeypatch.delenv("CO_API_KEY")
    monkeypatch.setenv("COHERE_API_KEY", "wrong-key")
    with pytest.raises(KeyRefused, match=r"401 .*: invalid api token\nSet COHERE_API_KEY"):
        opened().score(QUERY, DOCUMENTS)


QUOTED = [
    f"invalid api key {KEY}",
    f"key {KEY} ".rjust(205),
    f"KEY: {KEY[:-1]}***",
    f"bad query: {QUERY}",
    f"documents[1]: input '{DOCUMENTS[1][:20]}...' is too long",
    f"document {DOCUMENTS[2][10:]}",
    "word",
]


@both
@pytest.mark.parametrize("quoted", QUOTED)
@pytest.mark.parametrize("status", [401, 400])
def test_a_message_that_quotes_the_request_is_not_shown(maker, quoted, status, opened, service):
    service.fail(status, body={"message": quoted})
    with pytest.raises(ServiceError, match=rf"status {status} \(1 attempt in 0\.0 s\)\.\n"):
        opened(maker).score(QUERY, [*DOCUMENTS, "word", " "])


def failures(service) -> Iterator[None]:
    """Queue one failure of each kind after the other, each with the request in it."""
    told = f"{KEY} {QUERY} {DOCUMENTS[1]}"
    for status in [*RETRIED, *LASTING]:
        yield service.fail(status, body={"message": told, "detail": told})
    for index in (0, 9, told):
        yield service.answer({"results": [{"index": index, "relevance_score": told}]})
    yield service.answer(told.encode())
    yield service.answer(told.encode(), {"Content-Encoding": "gzip"})
    for way in (*BREAKS, "hang", "drip", "drip_head"):
        yield getattr(service, way)()


def assert_tells_nothing(error: BaseException) -> None:
    """Look into all that a log might show of an error and of those behind it."""
    told = "".join(traceback.format_exception(error))
    behind: BaseException | None = error
    while behind is not None:
        told += f"{behind!r} {behind.args} {vars(behind)}"
        behind = behind.__cause__ or behind.__context__
    for secret in (KEY, QUERY, *DOCUMENTS):
        assert secret not in told


@both
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_no_failure_tells_the_key_or_a_text(maker, library, service, monkeypatch, caplog):
    if library == "httpx2":
        monkeypatch.setitem(sys.modules, "httpx", None)
    caplog.set_level(logging.DEBUG)
    settings = Settings(service_retries=0, service_budget=0.2)
    reranker = maker.make(None, settings=settings)
    kinds = 0
    for _ in failures(service):
        with pytest.raises(ServiceError) as raised:
            reranker.score(QUERY, DOCUMENTS)
        assert_tells_nothing(raised.value)
        kinds += 1
    assert kinds == len(RETRIED) + len(LASTING) + 10
    # Bytes that are no HTTP the library quotes, though only when it is asked to tell all it does.
    caplog.set_level(logging.INFO)
    service.babble(f"{KEY} {QUERY} {DOCUMENTS[1]}\r\n".encode())
    with pytest.raises(ServiceUnreachable) as raised:
        reranker.score(QUERY, DOCUMENTS)
    assert_tells_nothing(raised.value)
    assert caplog.records
    for record in caplog.records:
        for secret in (KEY, QUERY, *DOCUMENTS):
            assert secret not in f"{record.getMessage()} {record.args}"
