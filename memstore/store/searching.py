"""The one read path: from a query to explained hits.

The namespace is a hard partition, looked at first. What is known of it as a whole (the weights of
the query's tokens, the mean score) never depends on filters or candidates. Validity and filters
are applied before candidates are chosen, so they cost no recall.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, and_, select

from memstore.catalog import links, memories, vectors
from memstore.catalog.engine import reading
from memstore.catalog.filters import compile_filter
from memstore.catalog.log import validity_changes
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.encoders import Encoder, QueryVectors
from memstore.entities import canonical, query_ngrams
from memstore.errors import BadInput, EncoderMismatch
from memstore.index import token_weights, weighted_scores
from memstore.scoring import components
from memstore.scoring.calibration import calibration_for, probability
from memstore.scoring.cognitive import COMPONENTS, Adjustment, adjust
from memstore.scoring.profiles import PROFILES, Profile, resolve
from memstore.settings import MAX_LIMIT
from memstore.store import drafts
from memstore.store.opening import OpenStore
from memstore.store.snapshot import NEVER, SnapshotView
from memstore.times import from_microseconds, iso
from memstore.types import Hit, Memory, Part, Passage, QueryResult, Suppressed

_DAY = 86_400_000_000  # microseconds
_SKEW = 300_000_000  # microseconds a writer's clock may be ahead of the reader's


@dataclass(frozen=True, slots=True)
class Request:
    """A checked query, the text apart; times in UTC microseconds."""

    namespace: str
    limit: int
    where: ColumnElement[bool] | None
    profile: Profile
    now: int
    as_of: int | None
    known_at: int | None
    max_tokens: int | None
    min_score: float | None
    explain: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """Memories with their best passages, in semantic order; arrays are (memories,)."""

    positions: NDArray[np.int64]
    passage_ids: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """One query over one namespace, before validity and filters have their say."""

    ranked: _Ranked
    mean: float
    memories: int
    query_tokens: int


def check_query(
    *,
    namespace: str,
    limit: int,
    where: Mapping[str, Any] | None,
    profile: str,
    weights: Mapping[str, Any] | None,
    now: Any,
    as_of: Any,
    known_at: Any,
    max_tokens: int | None,
    min_score: float | None,
    explain: bool,
) -> Request:
    """Check the arguments that `query` and `query_many` share.

    Raises:
        BadInput: the first one that is wrong, by name and value.
    """
    check_count(limit, "limit", MAX_LIMIT)
    if max_tokens is not None:
        check_count(max_tokens, "max_tokens", None)
    if min_score is not None:
        drafts.check_number(min_score, "min_score", -1e9, 1e9)
    present = drafts.check_time(now, "now")
    return Request(
        namespace=drafts.check_namespace(namespace, allow_all=True),
        limit=limit,
        where=None if where is None else compile_filter(where, canonical=canonical),
        profile=resolve(profile, weights),
        now=time.time_ns() // 1000 if present is None else present,
        as_of=drafts.check_time(as_of, "as_of"),
        known_at=drafts.check_time(known_at, "known_at"),
        max_tokens=max_tokens,
        min_score=min_score,
        explain=explain,
    )


def check_count(value: Any, name: str, most: int | None) -> None:
    """Refuse what is not a whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{name} is {value!r}; give a whole number of at least 1.")
    if most is not None and value > most:
        raise BadInput(f"{name} is {value:,}; the most is {most:,}. To read everything use list().")


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
    pass_ = _Pass(encoder, connection, view, scored, request, namespaces, text)
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


def _score(view: SnapshotView, known: NDArray[np.bool_], query: QueryVectors) -> _Scored:
    """Score every passage of the known memories; a memory scores as its best passage."""
    hot = view.hot
    slots = np.flatnonzero(hot.live & known[hot.owners]) if len(hot.owners) else np.empty(0, int)
    maxima = hot.similarities(query.vectors, slots)
    weights = token_weights(maxima, query.factors, query.contrast)
    scores = weighted_scores(maxima, weights)
    owners = hot.owners[slots]
    # best passage first within its memory; the earlier passage wins a tie
    order = np.lexsort((slots, -scores, owners))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = owners[order][1:] != owners[order][:-1]
    best = order[first]
    best = best[np.lexsort((owners[best], -scores[best]))]
    ranked = _Ranked(owners[best], hot.passage_ids[slots[best]], scores[best])
    mean = float(np.mean(np.sort(scores[best]))) if len(best) else 0.0
    return _Scored(ranked, mean, len(best), len(query.vectors))


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


def _where(ranked: _Ranked, allowed: NDArray[np.bool_], depth: int) -> _Ranked:
    keep = np.flatnonzero(allowed[ranked.positions])[:depth]
    return _Ranked(ranked.positions[keep], ranked.passage_ids[keep], ranked.scores[keep])


class _Pass:
    """The cognitive pass over one query's candidates, and hits from it."""

    def __init__(
        self,
        encoder: Encoder,
        connection: Connection,
        view: SnapshotView,
        scored: _Scored,
        request: Request,
        namespaces: Sequence[int],
        text: str,
    ) -> None:
        self.encoder = encoder
        self.connection = connection
        self.view = view
        self.scored = scored
        self.request = request
        self.flags: list[str] = []
        self.profile = request.profile
        self.calibration = calibration_for(encoder.identity.name)
        if self.calibration is None:
            # raw similarities are no log-odds: adding nats to them would be a silent guess
            self.flags.append("uncalibrated")
            self.profile = PROFILES["semantic"]
        self.entities = (
            links.find_entities(connection, query_ngrams(text), namespaces)
            if self.profile.cap > 0
            else {}
        )

    def semantic(self, ranked: _Ranked) -> NDArray[np.float64]:
        """Return log-odds, or raw scores without a calibration."""
        if self.calibration is None:
            return ranked.scores
        return self.calibration(
            ranked.scores,
            mean=self.scored.mean,
            memories=self.scored.memories,
            query_tokens=self.scored.query_tokens,
        )

    def hits(self, ranked: _Ranked) -> tuple[Hit, ...]:
        """Score the candidates, order them and cut them to the request's bounds."""
        columns = self._columns(ranked)
        semantic = self.semantic(ranked)
        degenerate = len(semantic) >= 3 and float(np.std(semantic)) < 1e-9
        if degenerate and self.profile.cap > 0 and self._distinct_texts(ranked) >= 3:
            self.flags.append("semantic_degenerate")
            self.profile = PROFILES["semantic"]
        if bool((self.view.columns["start"][ranked.positions] > self._as_of).any()):
            self.flags.append("clock_skew")  # valid only thanks to the tolerance for clocks
        adjusted, why = self._adjust(ranked, columns, semantic)
        order = np.lexsort((columns["id"], -columns["t_ref"], -semantic, -adjusted.scores))
        if self.request.min_score is not None:
            order = order[adjusted.scores[order] >= self.request.min_score]
        return self._cut(ranked, order, semantic, adjusted, why)

    def suppressed(self, removed: _Ranked, hits: Sequence[Hit]) -> tuple[Suppressed, ...]:
        """Return the invalid memories that would have been among the hits."""
        columns = self._columns(removed)
        scores = self._adjust(removed, columns, self.semantic(removed))[0].scores
        bar = hits[-1].score if len(hits) == self.request.limit else -np.inf
        least = -np.inf if self.request.min_score is None else self.request.min_score
        loaded = memories.load_rows(self.connection, self._rows(removed))
        return tuple(
            Suppressed(memory=item, score=float(scores[position]), reason=self._reason(item))
            for position in np.argsort(-scores, kind="stable")
            if scores[position] > bar
            and scores[position] >= least
            and (item := loaded.get(int(self._rows(removed)[position]))) is not None
        )

    def _reason(self, item: Memory) -> str:
        moment = from_microseconds(self._as_of)
        if item.valid_to is not None and item.valid_to <= moment:
            by = f", superseded by {item.superseded_by}" if item.superseded_by else ""
            return f"held until {iso(item.valid_to)}{by}"
        start = item.valid_from or item.occurred_at or item.recorded_at
        return f"begins {iso(start)}"

    @property
    def _as_of(self) -> int:
        return self.request.now if self.request.as_of is None else self.request.as_of

    def _rows(self, ranked: _Ranked) -> list[int]:
        rows: list[int] = self.view.columns["row"][ranked.positions].tolist()
        return rows

    def _distinct_texts(self, ranked: _Ranked) -> int:
        rows = self._rows(ranked)
        return len(
            set(self.connection.scalars(select(memory.c.text).where(among(memory.c.row, rows))))
        )

    def _columns(self, ranked: _Ranked) -> dict[str, NDArray[Any]]:
        """Return the candidates' columns, in their order, fetched in one query."""
        rows = self._rows(ranked)
        names = ("id", "t_ref", "t_end", "half_life_s", "alpha", "beta", "importance")
        found = {
            row.row: row
            for row in self.connection.execute(
                select(memory.c.row, *(memory.c[name] for name in names)).where(
                    among(memory.c.row, rows)
                )
            )
        }
        columns = {name: [getattr(found[row], name) for row in rows] for name in names}
        return {
            "id": np.array(columns["id"], dtype=np.str_),
            **{name: np.array(columns[name], dtype=np.float64) for name in names[1:]},
        }

    def _adjust(
        self, ranked: _Ranked, columns: dict[str, NDArray[Any]], semantic: NDArray[np.float64]
    ) -> tuple[Adjustment, dict[str, list[str]]]:
        as_of = self._as_of
        time_of = np.where(
            np.isnan(columns["t_end"]), columns["t_ref"], np.minimum(columns["t_end"], as_of)
        )
        age = (as_of - time_of) / _DAY
        half_life = np.where(
            np.isnan(columns["half_life_s"]),
            self.profile.half_life_days,
            columns["half_life_s"] / 86_400,
        )
        shared, names = self._shared_entities(ranked)
        mentions = np.array([count for _, count in self.entities.values()], dtype=np.float64)
        values = {
            "currency": components.currency(age, half_life),
            "trust": components.trust(columns["alpha"], columns["beta"]),
            "entity": components.entity_coverage(shared, mentions, self.scored.memories),
            "importance": columns["importance"],
        }
        adjusted = adjust(semantic, values, self.profile)
        confidence = 10 * columns["alpha"] / (columns["alpha"] + columns["beta"])
        why = {
            "currency": [
                f"{max(a, 0.0):.0f} days old, half-life {h:.0f} days"
                for a, h in zip(age, half_life, strict=True)
            ],
            "trust": [f"confidence {value:.1f} of 10" for value in confidence],
            "entity": names,
            "importance": [f"set to {value:g}" for value in columns["importance"]],
        }
        return adjusted, why

    def _shared_entities(self, ranked: _Ranked) -> tuple[NDArray[np.bool_], list[str]]:
        rows = self._rows(ranked)
        mentioned = links.entity_ids(self.connection, rows) if self.entities else {}
        shared = np.zeros((len(rows), len(self.entities)), dtype=np.bool_)
        names = []
        for position, row in enumerate(rows):
            found = mentioned.get(row, set())
            shared[position] = [entity_id in found for entity_id in self.entities]
            names.append(
                "mentions "
                + ", ".join(name for id_, (name, _) in self.entities.items() if id_ in found)
            )
        return shared, names

    def _cut(
        self,
        ranked: _Ranked,
        order: NDArray[np.int64],
        semantic: NDArray[np.float64],
        adjusted: Adjustment,
        why: dict[str, list[str]],
    ) -> tuple[Hit, ...]:
        order = order[: self.request.limit]
        rows = self._rows(ranked)
        loaded = memories.load_rows(self.connection, [rows[position] for position in order])
        spans = vectors.spans(self.connection, ranked.passage_ids[order].tolist())
        budget = self.request.max_tokens
        hits: list[Hit] = []
        for position in order.tolist():
            item = loaded[rows[position]]
            start, end = spans[int(ranked.passage_ids[position])]
            passage = Passage(text=item.text[start:end], start=start, end=end)
            if budget is not None:
                tokens = len(self.encoder.token_spans(passage.text))
                if tokens > budget:
                    continue  # a shorter one further down may still fit
                budget -= tokens
            score = float(adjusted.scores[position])
            hits.append(
                Hit(
                    rank=len(hits) + 1,
                    score=score,
                    probability=None if self.calibration is None else probability(score),
                    memory=item,
                    passage=passage,
                    parts=self._parts(position, ranked, semantic, adjusted, why)
                    if self.request.explain
                    else (),
                )
            )
        return tuple(hits)

    def _parts(
        self,
        position: int,
        ranked: _Ranked,
        semantic: NDArray[np.float64],
        adjusted: Adjustment,
        why: dict[str, list[str]],
    ) -> tuple[Part, ...]:
        raw = float(ranked.scores[position])
        parts = [Part(name="semantic", nats=float(semantic[position]), why=f"MaxSim {raw:.3f}")]
        for name in COMPONENTS:
            nats = float(adjusted.parts[name][position])
            if nats != 0.0:
                parts.append(Part(name=name, nats=nats, why=why[name][position]))
        return tuple(parts)
