"""Hosted rerankers: Cohere (Rerank, v2) and Jina (v1).

The texts of queries and candidates leave this machine, and only because one of these was named.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from memstore.errors import KeyRefused, RateLimited, ServiceError, ServiceUnreachable
from memstore.rerank import Span
from memstore.rerank.retrying import REAL, Reply, RetryingClient, Timing, http_library
from memstore.settings import Settings
from memstore.surrogates import replace_surrogates
from memstore.types import ScoreKind

MOST_DOCUMENTS: Final = 1000  # per request, as Cohere recommends; a score depends on no other one
# A listwise model reads all documents of a request together: scores of two requests do not compare.
LISTWISE_DOCUMENTS: Final = 64
MESSAGE_CHARACTERS: Final = 200
QUOTED_CHARACTERS: Final = 16  # so many of the request's in a row are a quotation
_KEY: Final = re.compile("[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    name: str
    title: str
    url: str
    url_variable: str
    path: str
    domains: tuple[str, ...]
    key_variables: tuple[str, ...]
    model: str
    listwise: tuple[str, ...] = ()  # how names of such models start
    options: dict[str, object] = field(default_factory=dict)


class _HostedReranker:
    """Scores are the service's own, from 0 to 1, and below 0 from some listwise models.

    The key is read from the environment for each call and kept nowhere.

    Args:
        model: as the service names it; None is its usual one.
        timing: clock, sleep and chance; tests bring their own.

    Raises:
        KeyRefused: the environment holds no API key, or one that cannot be sent.
        ServiceError: the address in the environment cannot be used.
        MissingExtra: no HTTP library is installed.
    """

    _service: ClassVar[_Service]
    kind: ScoreKind = "prob01"
    parameters: int | None = None

    def __init__(self, model: str | None, *, settings: Settings, timing: Timing = REAL) -> None:
        self._model = model or self._service.model
        self._settings = settings
        self._url, local = _endpoint(self._service)
        self._read_key()
        # A proxy would be told the key in plain text by what is meant to stay on this machine.
        self._client = RetryingClient(settings, timing, proxies=not local)

    @property
    def name(self) -> str:
        return f"{self._service.name}:{self._model}"

    def windows(self, query: str, documents: Sequence[str]) -> list[list[Span]]:
        """Return each document whole: the services cut or chunk on their own."""
        return [[(0, len(document))] for document in documents]

    def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[float | None]:
        """Send the query and the documents to the service and return its scores, in their order.

        None for a document that the service left out, and for those after the 64th with a listwise
        model. `service_budget` bounds the whole call.

        Raises:
            KeyRefused, RateLimited, ServiceUnreachable, ServiceError: it gave no usable scores.
        """
        started = self._client.now()
        listwise = self._model.startswith(self._service.listwise)
        most = LISTWISE_DOCUMENTS if listwise else MOST_DOCUMENTS
        scores: list[float | None] = []
        while len(scores) < len(documents):
            batch = documents[len(scores) : len(scores) + most]
            given = self._request(query, batch, started)
            left_out = len(documents) - len(batch) if listwise else 0
            scores += [*given, *([None] * left_out)]
            if progress is not None:
                progress(len(batch) + left_out)
        return scores

    def _request(self, query: str, documents: Sequence[str], started: float) -> list[float | None]:
        variable, key = self._read_key()
        request = {"model": self._model, "query": query, "documents": list(documents)}
        text = json.dumps(request | self._service.options, ensure_ascii=False)
        reply = self._client.post(
            self._url,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            body=replace_surrogates(text).encode(),
            started=started,
        )
        if reply.status != 200:
            message = _message(reply.body, unsaid=[key, query, *documents])
            raise self._failure(reply, message, variable)
        return self._scores(reply, len(documents))

    def _read_key(self) -> tuple[str, str]:
        """Return the API key after the variable it was found in."""
        service = self._service
        for variable in service.key_variables:
            key = os.environ.get(variable, "").strip()
            if not key:
                continue
            if not _KEY.fullmatch(key):
                raise KeyRefused(
                    f"{variable} holds a space, a line break or another character that no API key "
                    f"has.\nSet it to {service.title}'s key and nothing else."
                )
            return variable, key
        variable = service.key_variables[0]
        raise KeyRefused(
            f"{service.title} needs an API key, and {variable} is not set.\n"
            f"Keys are read from the environment alone:\n    export {variable}=…"
        )

    def _scores(self, reply: Reply, documents: int) -> list[float | None]:
        answer = _json(reply.body)
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list):
            raise self._nonsense(reply.failure or "it is no JSON object with a list of results")
        scores: list[float | None] = [None] * documents
        for result in results:
            found = result if isinstance(result, dict) else {}
            index, score = found.get("index"), found.get("relevance_score")
            if type(index) is not int or not 0 <= index < documents:
                raise self._nonsense(f"a result names none of the {documents} documents")
            if scores[index] is not None:
                raise self._nonsense(f"document {index} has two scores")
            if (
                isinstance(score, bool)  # an int of Python
                or not isinstance(score, int | float)
                or not abs(score) <= sys.float_info.max  # false for NaN, and for 10**400
            ):
                raise self._nonsense(f"the score of document {index} is no finite number")
            scores[index] = float(score)
        return scores

    def _nonsense(self, reason: str) -> ServiceError:
        service = self._service
        return ServiceError(
            f"The answer of {service.title} cannot be used: {reason}.\n"
            f"Check that '{self._model}' is a model for reranking, and that {service.url_variable} "
            "is not set to the address of something else."
        )

    def _failure(self, reply: Reply, message: str, variable: str) -> ServiceError:
        service, settings, status = self._service, self._settings, reply.status
        attempts = "1 attempt" if reply.attempts == 1 else f"{reply.attempts} attempts"
        tried = f"({attempts} in {reply.seconds:.1f} s)"
        if status is None:
            said = f"{service.title} gave no answer {tried}: {reply.failure}.\n"
        else:
            said = f"{service.title} answered with status {status} {tried}"
            said += f": {message}\n" if message else ".\n"
        allowed = (
            f"service_retries ({settings.service_retries}) and service_budget "
            f"({settings.service_budget:g} s)"
        )
        if status in (401, 403, 498):
            return KeyRefused(f"{said}Set {variable} to a key that may use '{self._model}'.")
        if status == 429:
            return RateLimited(f"{said}Ask less often, or wait longer: {allowed} of Settings.")
        if status is None or status >= 500 or status in (408, 409):
            return ServiceUnreachable(
                f"{said}Check the network and {service.url_variable}, if it is set; try again "
                f"later; or wait longer: {allowed} of Settings."
            )
        if status == 402:
            return ServiceError(f"{said}Check the balance of your account there.")
        if 300 <= status < 400:
            return ServiceError(
                f"{said}Redirects are not followed, so that the key goes nowhere else: set "
                f"{service.url_variable} to the final address."
            )
        return ServiceError(
            f"{said}Check the name of the model, '{self._model}', and {service.url_variable}, if "
            "it is set."
        )


class CohereReranker(_HostedReranker):
    """Cohere's models. Queries and candidates are sent to Cohere, or to `CO_API_URL`.

    Reads `CO_API_KEY`, else `COHERE_API_KEY`, and `CO_API_URL`, as Cohere's own library does.
    """

    _service = _Service(
        name="cohere",
        title="Cohere",
        url="https://api.cohere.com",
        url_variable="CO_API_URL",
        path="/v2/rerank",
        domains=("cohere.com", "cohere.ai"),
        key_variables=("CO_API_KEY", "COHERE_API_KEY"),
        model="rerank-v3.5",
    )


class JinaReranker(_HostedReranker):
    """Jina's models. Queries and candidates are sent to Jina, or to `JINA_API_URL`.

    Reads `JINA_API_KEY` and `JINA_API_URL`.
    """

    _service = _Service(
        name="jina",
        title="Jina",
        url="https://api.jina.ai",
        url_variable="JINA_API_URL",
        path="/v1/rerank",
        domains=("jina.ai",),
        key_variables=("JINA_API_KEY",),
        model="jina-reranker-v2-base-multilingual",
        listwise=("jina-reranker-v3",),
        options={"return_documents": False},
    )


def _endpoint(service: _Service) -> tuple[str, bool]:
    """Return the URL to send to, and whether it is on this machine, where plain http will do."""
    http = http_library()
    written = os.environ.get(service.url_variable, "").strip() or service.url
    try:
        url = http.URL(written)
    except http.InvalidURL:
        url = None
    if (
        url is None
        or url.scheme not in ("http", "https")
        or not url.host
        or set(written) & {*"@?#"}
    ):
        raise ServiceError(
            f"{service.url_variable} is not the address of a service.\n"
            f"Write it like {service.url}, without '@', '?' and '#'."
        )
    if url.scheme == "http" and not _loopback(url.host):
        raise ServiceError(
            f"{service.url_variable} names {url.host} with http, which anyone on the way can read: "
            "the key and all texts.\nUse https; http is for this machine alone."
        )
    base = written.rstrip("/")
    if url.host.endswith(service.domains):  # as Cohere's own library does
        base = base.removesuffix("/v1")
    return base + service.path, url.scheme == "http"


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _json(body: bytes) -> Any:
    """Return what the body says; None if it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _message(body: bytes, *, unsaid: Sequence[str]) -> str:
    """Return what an error body says in one line; nothing if it quotes what shall not be said."""
    answer = _json(body)
    told = (answer.get("message") or answer.get("detail")) if isinstance(answer, dict) else None
    if isinstance(told, list):  # FastAPI's; its `input` is the request itself
        told = "; ".join(str(item.get("msg")) for item in told if isinstance(item, dict))
    if not isinstance(told, str):
        return ""
    words = " ".join(told[: 2 * MESSAGE_CHARACTERS].split())
    line = "".join(character for character in words if character.isprintable())
    if any(_quotes(line, text) for text in unsaid):
        return ""
    return line[:MESSAGE_CHARACTERS]


def _quotes(line: str, text: str) -> bool:
    """Whether a line holds a text, or so much of it in a row that it cannot be chance."""
    text = text.strip()
    run = min(QUOTED_CHARACTERS, len(text))
    return run > 0 and any(line[at : at + run] in text for at in range(len(line) - run + 1))
