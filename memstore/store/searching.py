"""The one read path: from a query to explained hits.

The namespace is a hard partition, looked at first. Validity and filters are applied before
candidates are chosen, so they cost no recall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
from memstore.store.candidates import Judged
from memstore.store.cognitive_pass import CognitivePass
from memstore.store.columns import NEVER
from memstore.store.hits import HitMaker, begins_later
from memstore.store.index_files import retried
from memstore.store.opening import OpenStore
from memstore.store.requests import Request
from memstore.store.rerankers import FAILURES, Choice, choose
from memstore.store.reranking import SecondLook
from memstore.store.retrieval import Retrieval
from memstore.store.snapshot import SnapshotView
from memstore.store.token_matches import hot_vectors
from memstore.times import from_microseconds
from memstore.types import QueryResult, Suppressed

_SKEW = 300_000_000  # microseconds a writer's clock may be ahead of the reader's


def answer(
    opened: OpenStore,
    texts: Sequence[str],
    request: Request,
    progress: Callable[[int], None] | None = None,
) -> list[QueryResult]:
    """Answer queries from one state of the store.

    Args:
        progress: called with the number of queries answered since the last call.

    Raises:
        EncoderMismatch: another process re-encoded the store with another encoder.
    """
    # a model loads before the store is read
    choice = choose(opened, request.rerank, skip=request.skip_rerank_errors)
    return retried(opened.path, lambda: _answer(opened, texts, request, choice, progress))


def _answer(
    opened: OpenStore,
    texts: Sequence[str],
    request: Request,
    choice: Choice,
    progress: Callable[[int], None] | None,
) -> list[QueryResult]:
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
                search = _Search(opened, encoder, connection, view, request, choice)
                return search.results(texts, encoded, took, progress)
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
        choice: Choice,
    ) -> None:
        self._opened = opened
        self._encoder = encoder
        self._connection = connection
        self._view = view
        self._request = request
        self._choice = choice
        self._failed: str | None = None  # the first failure of the reranker: it is not asked again
        self._namespaces = list(memories.namespaces_under(connection, request.namespace))
        self._space = view.space(self._namespaces, request.known_at)
        self._matching = _filtered(connection, view, self._namespaces, request)
        self._valid = _valid(connection, view, request)
        self._allowed = view.allow(self._space, self._matching & self._valid)
        settings = opened.settings
        self._reranked = settings.rerank_depth
        if request.rerank_depth is not None:
            self._reranked = request.rerank_depth
        self._depth = max(settings.candidates, 4 * request.limit)
        if choice.name is not None:
            self._depth = max(self._depth, self._reranked)

    def results(
        self,
        texts: Sequence[str],
        queries: Sequence[QueryVectors],
        took: Mapping[str, float],
        progress: Callable[[int], None] | None,
    ) -> list[QueryResult]:
        """Retrieve in several threads, then finish each query with what the database holds."""
        threads = min(self._opened.settings.threads, len(texts))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                retrieved = list(pool.map(self._retrieve, queries))
        else:
            retrieved = [self._retrieve(query) for query in queries]
        finished = []
        for text, query, found in zip(texts, queries, retrieved, strict=True):
            finished.append(self._finish(text, query, found, dict(took)))
            if progress is not None:
                progress(1)
        return finished

    def _retrieve(self, query: QueryVectors) -> tuple[Retrieval, Judged, float]:
        began = time.perf_counter()
        opened = self._opened
        retrieval = Retrieval(self._view, self._space, query, opened.settings, opened.device)
        ranked = retrieval.best(self._allowed, self._depth)
        judged = Judged(ranked, retrieval.scorer(self._encoder.identity.name))
        return retrieval, judged, time.perf_counter() - began

    def _finish(
        self,
        text: str,
        query: QueryVectors,
        retrieved: tuple[Retrieval, Judged, float],
        took: dict[str, float],
    ) -> QueryResult:
        request = self._request
        retrieval, judged, took["retrieve"] = retrieved
        invalid: Judged | None = None
        if request.explain:
            allowed = self._view.allow(self._space, self._matching & ~self._valid)
            depth = request.limit
            if self._choice.reranker is not None:
                depth = max(depth, self._reranked)  # it may like best what retrieval found last
            invalid = Judged(retrieval.best(allowed, depth), judged.scorer)
        began = time.perf_counter()
        lists, removed, error = self._look_again(text, retrieval, judged, invalid)
        if self._choice.name is not None:
            took["rerank"] = time.perf_counter() - began
        began = time.perf_counter()
        pass_ = CognitivePass(
            self._connection, self._view, request, self._namespaces, retrieval.memories, text
        )
        maker = HitMaker(
            self._encoder,
            self._connection,
            self._view,
            request,
            query,
            retrieval.weights,
            self._stored_vectors,
        )
        assessed = [pass_.assess(one) for one in lists]
        hits = maker.hits(assessed)
        suppressed: tuple[Suppressed, ...] = ()
        if removed is not None:
            suppressed = maker.suppressed(pass_.assess(removed, like=assessed[0]), hits)
        took["score"] = time.perf_counter() - began
        flags = [*pass_.flags, *maker.flags]
        if any(begins_later(self._view, one.ranked, request.moment) for one in lists):
            flags.append("clock_skew")
        if query.truncated:
            flags.append("query_truncated")
        if error is not None:
            flags.append("rerank_skipped")
        return QueryResult(
            query=text,
            hits=hits,
            now=from_microseconds(request.now),
            as_of=from_microseconds(request.moment),
            known_at=None if request.known_at is None else from_microseconds(request.known_at),
            profile=assessed[0].profile.name,
            took=took,
            suppressed=suppressed,
            flags=tuple(dict.fromkeys(flags)),
            reranker=None if error is not None else self._choice.name,
            rerank_error=error,
        )

    def _look_again(
        self, text: str, retrieval: Retrieval, judged: Judged, invalid: Judged | None
    ) -> tuple[list[Judged], Judged | None, str | None]:
        """Return the lists to take hits from, the invalid memories as the first one's scorer sees
        them, and why the reranker was skipped.
        """
        choice = self._choice
        if choice.own_vectors:
            head = retrieval.exact(judged.ranked.of(slice(self._reranked)))
            rest = judged.ranked.of(slice(self._reranked, None))
            return [Judged(head.followed_by(rest), judged.scorer)], invalid, None
        if choice.reranker is None or self._failed is not None:
            return [judged], invalid, choice.error or self._failed
        second = SecondLook(
            choice.reranker,
            depth=self._reranked,
            encoder=self._encoder,
            connection=self._connection,
            view=self._view,
            settings=self._opened.settings,
        )
        try:
            scored, others, hidden = second.judge(text, judged, invalid)
        except FAILURES as error:
            if not self._request.skip_rerank_errors:
                raise
            self._failed = str(error)
            return [judged], invalid, self._failed
        if len(scored.ranked) >= self._request.limit or not len(others.ranked):
            return [scored], hidden, None
        return [scored, others], hidden if len(scored.ranked) else invalid, None

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
