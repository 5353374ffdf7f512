"""The one read path: from a query to explained hits.

The namespace is a hard partition, looked at first. Validity and filters are applied before
candidates are chosen, so they cost no recall.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_

from memstore.catalog import memories
from memstore.catalog.engine import reading
from memstore.catalog.log import validity_changes
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.encoders import Encoder, QueryVectors
from memstore.errors import EncoderMismatch
from memstore.maxsim import TokenVectors
from memstore.store.columns import NEVER
from memstore.store.hits import CognitivePass, Scored
from memstore.store.index_files import retried
from memstore.store.opening import OpenStore
from memstore.store.requests import Request
from memstore.store.retrieval import Retrieval
from memstore.store.snapshot import SnapshotView
from memstore.store.token_matches import hot_vectors
from memstore.times import from_microseconds
from memstore.types import QueryResult, Suppressed

_SKEW = 300_000_000  # microseconds a writer's clock may be ahead of the reader's


def answer(opened: OpenStore, texts: Sequence[str], request: Request) -> list[QueryResult]:
    """Answer queries from one state of the store.

    Raises:
        EncoderMismatch: another process re-encoded the store with another encoder.
    """
    return retried(opened.path, lambda: _answer(opened, texts, request))


def _answer(opened: OpenStore, texts: Sequence[str], request: Request) -> list[QueryResult]:
    while texts:
        encoder, snapshot = opened.current()
        began = time.perf_counter()
        encoded = encoder.encode_queries(texts)
        took = {"encode": (time.perf_counter() - began) / max(len(texts), 1)}
        try:
            with reading(opened.engine, opened.path) as connection:
                began = time.perf_counter()
                view = snapshot.refresh(connection)  # once: its rows are this transaction's
                took["refresh"] = (time.perf_counter() - began) / max(len(texts), 1)
                search = _Search(opened, encoder, connection, view, request)
                return search.results(texts, encoded, took)
        except EncoderMismatch:
            if opened.current() == (encoder, snapshot):
                raise
            # this process re-encoded the store meanwhile: ask again with the new encoder
    return []


class _Search:
    """Queries that share one state of the store and one request."""

    def __init__(
        self,
        opened: OpenStore,
        encoder: Encoder,
        connection: Connection,
        view: SnapshotView,
        request: Request,
    ) -> None:
        self._opened = opened
        self._encoder = encoder
        self._connection = connection
        self._view = view
        self._request = request
        self._namespaces = list(memories.namespaces_under(connection, request.namespace))
        self._space = view.space(self._namespaces, request.known_at)
        self._matching = _filtered(connection, view, self._namespaces, request)
        self._valid = _valid(connection, view, request)
        self._allowed = view.allow(self._space, self._matching & self._valid)
        self._depth = max(opened.settings.candidates, 4 * request.limit)

    def results(
        self, texts: Sequence[str], queries: Sequence[QueryVectors], took: Mapping[str, float]
    ) -> list[QueryResult]:
        """Retrieve in several threads, then finish each query with what the database holds."""
        threads = min(self._opened.settings.threads, len(texts))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                retrieved = list(pool.map(self._retrieve, queries))
        else:
            retrieved = [self._retrieve(query) for query in queries]
        return [
            self._finish(text, query, *parts, dict(took))
            for text, query, parts in zip(texts, queries, retrieved, strict=True)
        ]

    def _retrieve(self, query: QueryVectors) -> tuple[Retrieval, Scored, float]:
        began = time.perf_counter()
        opened = self._opened
        retrieval = Retrieval(self._view, self._space, query, opened.settings, opened.device)
        scored = Scored(
            ranked=retrieval.best(self._allowed, self._depth),
            mean=retrieval.mean,
            memories=retrieval.memories,
            query_tokens=len(query.vectors),
            query=query,
            weights=retrieval.weights,
        )
        return retrieval, scored, time.perf_counter() - began

    def _finish(
        self,
        text: str,
        query: QueryVectors,
        retrieval: Retrieval,
        scored: Scored,
        seconds: float,
        took: dict[str, float],
    ) -> QueryResult:
        request = self._request
        took["retrieve"] = seconds
        began = time.perf_counter()
        pass_ = CognitivePass(
            self._encoder,
            self._connection,
            self._view,
            scored,
            request,
            self._namespaces,
            text,
            self._stored_vectors,
        )
        hits = pass_.hits(scored.ranked)
        suppressed: tuple[Suppressed, ...] = ()
        if request.explain:
            invalid = self._view.allow(self._space, self._matching & ~self._valid)
            removed = retrieval.best(invalid, request.limit)
            suppressed = pass_.suppressed(removed, hits)
        took["score"] = time.perf_counter() - began
        if query.truncated:
            pass_.flags.append("query_truncated")
        return QueryResult(
            query=text,
            hits=hits,
            now=from_microseconds(request.now),
            as_of=from_microseconds(request.now if request.as_of is None else request.as_of),
            known_at=None if request.known_at is None else from_microseconds(request.known_at),
            profile=pass_.profile.name,
            took=took,
            suppressed=suppressed,
            flags=tuple(dict.fromkeys(pass_.flags)),
        )

    def _stored_vectors(self, passage_id: int) -> TokenVectors | None:
        """Return a passage's vectors, wherever they lie."""
        sealed = self._view.sealed
        for base, segment in sealed.parts():
            for slot in segment.slots_of(np.array([passage_id])):
                return next(sealed.vectors(np.array([base + slot])))
        return hot_vectors(self._connection, self._encoder.identity.dim, passage_id)


def _filtered(
    connection: Connection, view: SnapshotView, namespaces: Sequence[int], request: Request
) -> NDArray[np.bool_]:
    """Return which memories meet `where`."""
    if request.where is None:
        return np.ones(len(view.live), dtype=np.bool_)
    scope = among(memory.c.namespace_id, namespaces)
    rows = memories.matching_rows(connection, and_(scope, request.where))
    return np.isin(view.columns["row"], rows)


def _valid(connection: Connection, view: SnapshotView, request: Request) -> NDArray[np.bool_]:
    """Return which memories hold at `as_of`, as the store knew their ends at `known_at`."""
    as_of = request.now + _SKEW if request.as_of is None else request.as_of
    until = request.now if request.as_of is None else request.as_of
    ends = view.columns["valid_to"]
    if request.known_at is not None:
        ends = _replaced(ends, view.columns["row"], validity_changes(connection, request.known_at))
    return (view.columns["start"] <= as_of) & (ends > until)


def _replaced(
    ends: NDArray[np.int64], rows: NDArray[np.int64], changes: Mapping[int, int | None]
) -> NDArray[np.int64]:
    """Return the ends with those of some rows replaced, (memories,); None is NEVER."""
    if not changes:
        return ends
    changed = np.array(sorted(changes), dtype=np.int64)
    then = np.array([NEVER if (end := changes[row]) is None else end for row in changed.tolist()])
    places = np.minimum(np.searchsorted(changed, rows), len(changed) - 1)
    return np.where(changed[places] == rows, then[places], ends)
