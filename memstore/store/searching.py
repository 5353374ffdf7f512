"""The one read path: from a query to explained hits.

The namespace is a hard partition, looked at first. Validity and filters are applied before
candidates are chosen, so they cost no recall.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_

from memstore.catalog import memories
from memstore.catalog.engine import reading, refused_by_system
from memstore.catalog.log import validity_changes
from memstore.catalog.pages import PageRow
from memstore.catalog.sql import among, driver_of
from memstore.catalog.tables import memory
from memstore.encoders import Encoder, QueryVectors
from memstore.errors import EncoderMismatch
from memstore.maxsim import TokenVectors
from memstore.scoring.exactness import exact_topk
from memstore.store.active_weights import active_profile
from memstore.store.candidates import Candidates, Judged
from memstore.store.cognitive_pass import Assessed, CognitivePass, rows_of
from memstore.store.columns import ALWAYS, NEVER
from memstore.store.encoding import encode_passage
from memstore.store.hits import HitMaker, begins_later
from memstore.store.index_files import retried
from memstore.store.lexical import NO_EVIDENCE, Evidence, Lexicon
from memstore.store.opening import OpenStore
from memstore.store.pages import logged, page_of
from memstore.store.requests import Request
from memstore.store.rerankers import FAILURES, Choice, choose
from memstore.store.reranking import SecondLook
from memstore.store.rereading import as_written
from memstore.store.retrieval import Retrieval
from memstore.store.scorers import encoder_calibration
from memstore.store.snapshot import SnapshotView
from memstore.store.writing import microseconds_now
from memstore.times import from_microseconds
from memstore.types import Hit, Passage, QueryResult, Suppressed

T = TypeVar("T")
Took = Mapping[str, float]  # seconds per stage

_DEEPER = 4  # times as many candidates where repetitions took the places of hits
_SKEW = 300_000_000  # microseconds a writer's clock may be ahead of the reader's


def answer(
    opened: OpenStore,
    texts: Sequence[str],
    request: Request,
    progress: Callable[[int], None] | None = None,
    *,
    log: bool = True,
) -> list[QueryResult]:
    """Answer queries from one state of the store.

    Args:
        progress: called with the number of queries answered since the last call.
        log: whether pages are logged, if the settings say so.

    Raises:
        EncoderMismatch: another process re-encoded the store with another encoder.
    """
    # a model loads before the store is read
    choice = choose(opened, request.rerank, skip=request.skip_rerank_errors)

    def finish(search: _Search, queries: Sequence[QueryVectors], took: Took) -> list[QueryResult]:
        results = search.results(texts, queries, took, progress)
        shown[:] = search.pages
        return results

    shown: list[PageRow] = []
    results = retried(opened.path, lambda: _ask(opened, texts, request, choice, finish))
    return logged(opened, results, shown) if log and opened.settings.log_pages else results


def candidates(
    opened: OpenStore, texts: Sequence[str], request: Request, depth: int
) -> list[Candidates]:
    """Return what is found for queries before anything but relevance counts.

    Args:
        depth: most memories per query.
    """
    choice = choose(opened, request.rerank, skip=False)

    def finish(search: _Search, queries: Sequence[QueryVectors], took: Took) -> list[Candidates]:
        return search.candidates(texts, queries, depth)

    return retried(opened.path, lambda: _ask(opened, texts, request, choice, finish))


def _ask(
    opened: OpenStore,
    texts: Sequence[str],
    request: Request,
    choice: Choice,
    finish: Callable[[_Search, Sequence[QueryVectors], Took], list[T]],
) -> list[T]:
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
                return finish(search, encoded, took)
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
        self._flags: list[str] = []  # of all results
        self._failed: str | None = None  # the first failure of the reranker: it is not asked again
        self._calibration = encoder_calibration(connection, encoder.identity)
        self._profile = active_profile(connection, request.profile)
        self.pages: list[PageRow] = []
        self._namespaces = list(memories.namespaces_under(connection, request.namespace))
        self._space = view.space(self._namespaces, request.known_at)
        self._matching = _filtered(connection, view, self._namespaces, request)
        self._valid = _valid(connection, view, request)
        allowed = self._matching if request.include_invalid else self._matching & self._valid
        if request.drop_undated:  # nobody can say of these that they do not hold
            allowed = allowed & (view.columns["start"] != ALWAYS)
        self._allowed = view.allow(self._space, allowed)
        self._allowed_memories = int(np.count_nonzero(self._space.known & allowed))
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
        began = time.perf_counter()
        evidence = self._evidence(texts)
        took = {**took, "lexical": (time.perf_counter() - began) / max(len(texts), 1)}
        threads = min(self._opened.settings.threads, len(texts))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                retrieved = list(pool.map(self._retrieve, queries, evidence))
        else:
            retrieved = [*map(self._retrieve, queries, evidence)]
        finished = []
        for text, query, named, found in zip(texts, queries, evidence, retrieved, strict=True):
            finished.append(self._finish(text, query, named, found, dict(took)))
            if progress is not None:
                progress(1)
        return finished

    def candidates(
        self, texts: Sequence[str], queries: Sequence[QueryVectors], depth: int
    ) -> list[Candidates]:
        """Return what retrieval, or the reranker, finds for each query by scores alone."""
        self._depth = depth
        found = []
        evidence = self._evidence(texts)
        for text, query, named in zip(texts, queries, evidence, strict=True):
            retrieval, retrieved, _ = self._retrieve(query, NO_EVIDENCE)
            judged = self._look_again(text, retrieval, retrieved, None)[0][0]
            ranked, second = judged.ranked, judged.scorer.second
            held = NO_EVIDENCE if second else named
            words, exact = held.held(ranked.passage_ids)
            rows = rows_of(self._view, ranked)
            names = memories.names_of(self._connection, rows)
            found.append(
                Candidates(
                    ids=[names[row][0] for row in rows],
                    keys=[names[row][1] for row in rows],
                    scores=ranked.scores,
                    words=words,
                    exact=exact,
                    most=held.most,
                    mean=0.0 if second else retrieval.mean,
                    memories=1 if second else retrieval.memories,
                    query_tokens=1 if second else retrieval.query_tokens,
                )
            )
        return found

    def _evidence(self, texts: Sequence[str]) -> list[Evidence]:
        """Return which passages hold what each query names."""
        if not self._opened.settings.lexical:
            return [NO_EVIDENCE] * len(texts)
        path = None if self._request.namespace == "*" else self._request.namespace
        lexicon = Lexicon(driver_of(self._connection), self._view, self._space, path)
        try:
            return [lexicon.evidence(text) for text in texts]
        except sqlite3.DatabaseError as error:
            if refused_by_system(error):
                raise
            # derived, and damaged: all else can still be read
            self._flags = ["lexical_unavailable"]
            return [NO_EVIDENCE] * len(texts)

    def _retrieve(
        self, query: QueryVectors, evidence: Evidence, depth: int | None = None
    ) -> tuple[Retrieval, Judged, float]:
        began = time.perf_counter()
        opened = self._opened
        retrieval = Retrieval(
            self._view,
            self._space,
            query,
            opened.settings,
            opened.device,
            calibration=self._calibration,
            evidence=evidence,
        )
        ranked = retrieval.best(self._allowed, self._depth if depth is None else depth)
        judged = Judged(ranked, retrieval.scorer(self._encoder.identity.name))
        return retrieval, judged, time.perf_counter() - began

    def _finish(
        self,
        text: str,
        query: QueryVectors,
        evidence: Evidence,
        retrieved: tuple[Retrieval, Judged, float],
        took: dict[str, float],
    ) -> QueryResult:
        request = self._request
        retrieval, judged, took["retrieve"] = retrieved
        invalid: Judged | None = None
        if request.explain and not request.include_invalid:
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
            self._connection,
            self._view,
            request,
            self._profile,
            self._namespaces,
            self._view.columns["start"][self._space.known],
            text,
            self._valid,
            self._opened.settings.spreading,
            evidence,
        )
        maker = HitMaker(
            self._encoder,
            self._connection,
            self._view,
            request,
            query,
            retrieval.weights,
            self._view.vectors,
            self._read_again,
            self._opened.vector_settings.pooling,
        )
        assessed = [pass_.assess(one) for one in lists]
        hits = maker.hits(assessed)
        pool = len(judged.ranked)
        if (
            request.drop_near_duplicates
            and not maker.packing.full
            and pool < self._allowed_memories
            and self._choice.reranker is None  # it would read, and be paid for, anew
        ):
            # the candidates were repetitions of each other: others lie behind them
            deeper = self._retrieve(query, evidence, _DEEPER * pool)
            if len(deeper[1].ranked) > pool:
                return self._finish(text, query, evidence, deeper, took)
        suppressed: tuple[Suppressed, ...] = ()
        if removed is not None:
            suppressed = maker.suppressed(pass_.assess(removed, like=assessed[0]))
        if self._opened.settings.log_pages:
            page = page_of(text, hits, assessed[0], self._profile, now=microseconds_now())
            self.pages.append(page)
        took["score"] = time.perf_counter() - began
        flags = [*pass_.flags, *maker.flags, *self._flags]
        if any(hit.status != "current" for hit in hits):
            flags.append("invalid_included")
        if any(begins_later(self._view, one, request.moment) for one in assessed):
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
            profile_version=assessed[0].profile.label,
            took=took,
            suppressed=suppressed,
            flags=tuple(dict.fromkeys(flags)),
            reranker=None if error is not None else self._choice.name,
            rerank_error=error,
            temporal=pass_.temporal,
            exact_topk=self._exact(retrieval, assessed, hits),
            dropped=tuple(maker.packing.dropped),
            tokens=maker.packing.tokens,
            style=request.style,
        )

    def _exact(
        self, retrieval: Retrieval, assessed: Sequence[Assessed], hits: Sequence[Hit]
    ) -> bool:
        """Return whether scoring every memory would certainly have given the same hits."""
        first = assessed[0]
        pool = sum(len(item.relevance) for item in assessed)
        everything = pool >= self._allowed_memories
        if len(assessed) > 1 or first.judged.scorer.second or first.shifts.any():
            # a reranker may like best what it has not read, and the guard compares candidates
            return everything and len(assessed) == 1
        bound = float(first.relevance.min()) if pool and retrieval.exhaustive else None
        return exact_topk(
            bound,
            hits[-1].score if len(hits) == self._request.limit else None,
            currency=first.profile.currency,
            profile=first.profile,
            nothing_outside=everything,
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
        enough = len(scored.ranked) >= self._request.limit
        if (enough and not self._request.drop_near_duplicates) or not len(others.ranked):
            return [scored], hidden, None
        return [scored, others], hidden if len(scored.ranked) else invalid, None

    def _read_again(self, row: int, passage: Passage) -> TokenVectors:
        count = self._opened.session_context
        written = as_written(self._connection, [row], count)[row]
        settings = self._opened.vector_settings
        return encode_passage(self._encoder, settings, written, passage.start, passage.end)


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
    starts = view.columns["start"]
    ends = view.columns["valid_to"]
    if request.known_at is not None:
        ends = _replaced(ends, view.columns["row"], validity_changes(connection, request.known_at))
    begun = starts <= as_of
    if request.drop_undated:
        begun &= starts != ALWAYS
    return begun & (ends > until)


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
