"""The one read path: from a query to explained hits.

The namespace is a hard partition, looked at first. What is known of it as a whole (the weights of
the query's tokens, the mean score) never depends on filters or candidates. Validity and filters
are applied before candidates are chosen, so they cost no recall.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

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
from memstore.index import token_weights, weighted_scores
from memstore.store.hits import CognitivePass, Ranked, Scored
from memstore.store.opening import OpenStore
from memstore.store.requests import Request
from memstore.store.snapshot import NEVER, SnapshotView
from memstore.times import from_microseconds
from memstore.types import QueryResult, Suppressed

_SKEW = 300_000_000  # microseconds a writer's clock may be ahead of the reader's


def answer(opened: OpenStore, texts: Sequence[str], request: Request) -> list[QueryResult]:
    """Answer queries from one state of the store.

    Raises:
        EncoderMismatch: another process re-encoded the store with another encoder.
    """
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
                return [
                    _search(opened, encoder, connection, view, text, query, request, dict(took))
                    for text, query in zip(texts, encoded, strict=True)
                ]
        except EncoderMismatch:
            if opened.current() == (encoder, snapshot):
                raise
            # this process re-encoded the store meanwhile: ask again with the new encoder
    return []


def _search(
    opened: OpenStore,
    encoder: Encoder,
    connection: Connection,
    view: SnapshotView,
    text: str,
    query: QueryVectors,
    request: Request,
    took: dict[str, float],
) -> QueryResult:
    """Answer one encoded query in one read transaction; writes nothing."""
    namespaces = list(memories.namespaces_under(connection, request.namespace))
    known = _known(view, namespaces, request)

    began = time.perf_counter()
    scored = _score(view, known, query)
    matching = _filtered(connection, view, namespaces, request)
    valid = _valid(connection, view, request)
    depth = max(opened.settings.candidates, 4 * request.limit)
    candidates = _where(scored.ranked, matching & valid, depth)
    took["retrieve"] = time.perf_counter() - began

    began = time.perf_counter()
    pass_ = CognitivePass(encoder, connection, view, scored, request, namespaces, text)
    hits = pass_.hits(candidates)
    suppressed: tuple[Suppressed, ...] = ()
    if request.explain:
        removed = _where(scored.ranked, matching & ~valid & known, request.limit)
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


def _known(view: SnapshotView, namespaces: Sequence[int], request: Request) -> NDArray[np.bool_]:
    """Return which memories of the namespaces the store knew at `known_at`."""
    here = view.in_namespaces(namespaces)
    if request.known_at is None:
        here &= view.columns["expired_at"] == NEVER
    else:
        here &= view.columns["recorded_at"] <= request.known_at
        here &= view.columns["expired_at"] > request.known_at
    return here


def _score(view: SnapshotView, known: NDArray[np.bool_], query: QueryVectors) -> Scored:
    """Score every passage of the known memories; a memory scores as its best passage."""
    hot = view.hot
    slots = np.flatnonzero(hot.live & known[hot.owners]) if len(hot.owners) else np.empty(0, int)
    maxima = hot.similarities(query.vectors, slots)
    weights = token_weights(maxima, query.factors, query.contrast)
    scores = weighted_scores(maxima, weights)
    owners = hot.owners[slots]
    # best passage first within its memory; ties go by numbers of the database, because positions
    # in a snapshot depend on what this process has seen happen
    order = np.lexsort((hot.passage_ids[slots], -scores, owners))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = owners[order][1:] != owners[order][:-1]
    best = order[first]
    best = best[np.lexsort((view.columns["row"][owners[best]], -scores[best]))]
    ranked = Ranked(owners[best], hot.passage_ids[slots[best]], scores[best])
    mean = float(np.mean(np.sort(scores[best]))) if len(best) else 0.0
    return Scored(ranked, mean, len(best), len(query.vectors))


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
        ends = ends.copy()
        for row, end in validity_changes(connection, request.known_at).items():
            ends[view.columns["row"] == row] = NEVER if end is None else end
    return (view.columns["start"] <= as_of) & (ends > until)


def _where(ranked: Ranked, allowed: NDArray[np.bool_], depth: int) -> Ranked:
    keep = np.flatnonzero(allowed[ranked.positions])[:depth]
    return Ranked(ranked.positions[keep], ranked.passage_ids[keep], ranked.scores[keep])
