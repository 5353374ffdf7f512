"""From scored memories to explained hits: the cognitive pass over one query's candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from memstore.catalog import links, memories, vectors
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.encoders import Encoder, QueryVectors
from memstore.entities import query_ngrams
from memstore.scoring import components
from memstore.scoring.calibration import calibration_for, probability
from memstore.scoring.cognitive import COMPONENTS, Adjustment, adjust
from memstore.scoring.profiles import PROFILES
from memstore.store.requests import Request
from memstore.store.snapshot import SnapshotView
from memstore.store.token_matches import StoredVectors, hot_vectors, token_matches
from memstore.times import from_microseconds, iso
from memstore.types import Hit, Memory, Part, Passage, Suppressed, TokenMatch

_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Memories with their best passages, in semantic order; arrays are (memories,)."""

    positions: NDArray[np.int64]
    passage_ids: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One query over one namespace, before validity and filters have their say.

    `query` and `weights` (query tokens,) are what the scores were made with; token matches need
    them.
    """

    ranked: Ranked
    mean: float
    memories: int
    query_tokens: int
    query: QueryVectors | None = None
    weights: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Why:
    """Per component, what it says of each candidate: its value, and in words."""

    values: dict[str, NDArray[np.float64]]
    reasons: dict[str, list[str]]


class CognitivePass:
    """The cognitive pass over one query's candidates, and hits from it.

    `stored` returns the vectors of a passage, for token matches; by default those of the hot tier.
    """

    def __init__(
        self,
        encoder: Encoder,
        connection: Connection,
        view: SnapshotView,
        scored: Scored,
        request: Request,
        namespaces: Sequence[int],
        text: str,
        stored: StoredVectors | None = None,
    ) -> None:
        self.encoder = encoder
        self.connection = connection
        self.view = view
        self.scored = scored
        self.request = request
        self.stored = stored or partial(hot_vectors, connection, encoder.identity.dim)
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

    def semantic(self, ranked: Ranked) -> NDArray[np.float64]:
        """Return log-odds, or raw scores without a calibration."""
        if self.calibration is None:
            return ranked.scores
        return self.calibration(
            ranked.scores,
            mean=self.scored.mean,
            memories=self.scored.memories,
            query_tokens=self.scored.query_tokens,
        )

    def hits(self, ranked: Ranked) -> tuple[Hit, ...]:
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

    def suppressed(self, removed: Ranked, hits: Sequence[Hit]) -> tuple[Suppressed, ...]:
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

    def _rows(self, ranked: Ranked) -> list[int]:
        rows: list[int] = self.view.columns["row"][ranked.positions].tolist()
        return rows

    def _distinct_texts(self, ranked: Ranked) -> int:
        rows = self._rows(ranked)
        return len(
            set(self.connection.scalars(select(memory.c.text).where(among(memory.c.row, rows))))
        )

    def _columns(self, ranked: Ranked) -> dict[str, NDArray[Any]]:
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
        self, ranked: Ranked, columns: dict[str, NDArray[Any]], semantic: NDArray[np.float64]
    ) -> tuple[Adjustment, _Why]:
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
        reasons = {
            "currency": [
                f"{max(a, 0.0):.0f} days old, half-life {h:.0f} days"
                for a, h in zip(age, half_life, strict=True)
            ],
            "trust": [f"confidence {value:.1f} of 10" for value in confidence],
            "entity": names,
            "importance": [f"set to {value:g}" for value in columns["importance"]],
        }
        return adjusted, _Why(values, reasons)

    def _shared_entities(self, ranked: Ranked) -> tuple[NDArray[np.bool_], list[str]]:
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
        ranked: Ranked,
        order: NDArray[np.int64],
        semantic: NDArray[np.float64],
        adjusted: Adjustment,
        why: _Why,
    ) -> tuple[Hit, ...]:
        order = order[: self.request.limit]
        rows = self._rows(ranked)
        loaded = memories.load_rows(self.connection, [rows[position] for position in order])
        spans = vectors.spans(self.connection, ranked.passage_ids[order].tolist())
        budget = self.request.max_tokens
        hits: list[Hit] = []
        for position in order.tolist():
            item = loaded[rows[position]]
            passage_id = int(ranked.passage_ids[position])
            start, end = spans[passage_id]
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
                    token_matches=self._token_matches(item, passage, passage_id)
                    if self.request.explain
                    else (),
                )
            )
        return tuple(hits)

    def _token_matches(
        self, item: Memory, passage: Passage, passage_id: int
    ) -> tuple[TokenMatch, ...]:
        query, weights = self.scored.query, self.scored.weights
        if query is None or weights is None:
            return ()
        stored = self.stored(passage_id)
        found: tuple[TokenMatch, ...] = ()
        if stored is not None:
            found = token_matches(
                self.encoder, item, passage, stored=stored, query=query, weights=weights
            )
        if not found:
            self.flags.append("token_matches_unavailable")
        return found

    def _parts(
        self,
        position: int,
        ranked: Ranked,
        semantic: NDArray[np.float64],
        adjusted: Adjustment,
        why: _Why,
    ) -> tuple[Part, ...]:
        raw = float(ranked.scores[position])
        parts = [Part(name="semantic", nats=float(semantic[position]), why=f"MaxSim {raw:.3f}")]
        for name in COMPONENTS:
            nats = float(adjusted.parts[name][position])
            if nats != 0.0:
                parts.append(
                    Part(
                        name=name,
                        nats=nats,
                        why=why.reasons[name][position],
                        value=float(why.values[name][position]),
                        weight=getattr(self.profile, name),
                    )
                )
        return tuple(parts)
