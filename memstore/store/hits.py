"""From assessed lists to hits: cut to the request's bounds, with passages and explanations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from memstore.catalog import feedback, memories, vectors
from memstore.encoders import Encoder, QueryVectors
from memstore.errors import IndexDamaged
from memstore.scoring.calibration import probability
from memstore.store.cognitive_pass import Assessed, rows_of
from memstore.store.columns import differs
from memstore.store.feedback import CHAIN_DEPTH
from memstore.store.packing import Packing
from memstore.store.requests import Request
from memstore.store.snapshot import SnapshotView
from memstore.store.token_matches import ReadAgain, StoredVectors, token_matches
from memstore.times import from_microseconds, iso
from memstore.types import (
    Explanation,
    Hit,
    Memory,
    Part,
    Passage,
    Status,
    Suppressed,
    TokenMatch,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A hit to be: a place in one of the lists, and how far its list is shifted down, in nats."""

    assessed: Assessed
    place: int
    shift: float
    below: str | None
    above: int  # memories in the lists before

    @property
    def score(self) -> float:
        return float(self.assessed.scores[self.place]) + self.shift

    @property
    def position(self) -> int:
        return int(self.assessed.judged.ranked.positions[self.place])

    @property
    def status(self) -> Status:
        return cast(Status, str(self.assessed.statuses[self.place]))

    def explanation(self, *, skewed: bool) -> Explanation:
        assessed, adjusted = self.assessed, self.assessed.adjusted
        flags = {
            "clock_skew": skewed,
            "invalid_included": self.status != "current",
            "near_duplicate_guard": assessed.shifts[self.place] != 0.0,
            "not_reranked": self.below is not None,
        }
        return Explanation(
            semantic_rank=self.above + int(assessed.semantic_ranks[self.place]),
            adjustment=sum(float(values[self.place]) for values in adjusted.parts.values()),
            uncapped=float(adjusted.uncapped[self.place]),
            cap=assessed.profile.cap,
            scale=float(adjusted.scale[self.place]),
            flags=tuple(flag for flag, raised in flags.items() if raised),
        )

    def parts(self) -> tuple[Part, ...]:
        parts = self.assessed.parts(self.place)
        if self.below is not None:
            why = f"follows what {self.below} scored"
            parts.append(Part(name="not_reranked", nats=self.shift, why=why))
        return tuple(parts)


class HitMaker:
    """Makes the hits of one query.

    Args:
        query, weights: what the retrieval's scores were made with; token matches need them.
        stored: returns the vectors of a passage, for token matches.
        read_again: returns a vector per token of a passage, for them too where tokens are pooled.
        pooling: how many tokens share a vector.
    """

    def __init__(
        self,
        encoder: Encoder,
        connection: Connection,
        view: SnapshotView,
        request: Request,
        query: QueryVectors,
        weights: NDArray[np.float64],
        stored: StoredVectors,
        read_again: ReadAgain,
        pooling: int,
    ) -> None:
        self._encoder = encoder
        self._connection = connection
        self._view = view
        self._request = request
        self._query = query
        self._weights = weights
        self._stored = stored
        self._read_again = read_again
        self._pooling = pooling
        self.flags: list[str] = []
        self.packing = Packing(encoder, request)
        self._lowest = -np.inf  # score of the last place that was looked at

    def hits(self, lists: Sequence[Assessed]) -> tuple[Hit, ...]:
        """Return the best of the first list, then of the next ones: scores of different scorers
        cannot be compared, so each list goes on below the lowest score of the one before.
        """
        hits: list[Hit] = []
        for place, item, passage in self._found(self._places(lists)):
            taken, tokens = self.packing.take(item, passage, place.score)
            if taken:
                hits.append(self._hit(len(hits) + 1, place, item, passage, tokens))
                if place.below is not None:
                    self.flags.append("not_reranked")
            self._lowest = place.score
            if self.packing.full:
                break
        return self.packing.settle(hits)

    def _found(self, places: Sequence[_Place]) -> Iterator[tuple[_Place, Memory, Passage]]:
        """Yield what lies at places, with its passage; loaded by as many as are asked for."""
        for start in range(0, len(places), self._request.limit):
            some = places[start : start + self._request.limit]
            rows = [int(self._view.columns["row"][place.position]) for place in some]
            passage_ids = [_passage_id(place) for place in some]
            self._view.sealed.check(np.array(passage_ids, dtype=np.int64))
            spans = vectors.spans(self._connection, passage_ids, rows)
            loaded = self._load([place.position for place in some], rows)
            for place, row, span in zip(some, rows, spans, strict=True):
                yield place, loaded[row], _passage(place, loaded[row].text, span)

    def _load(self, positions: Sequence[int], rows: Sequence[int]) -> dict[int, Memory]:
        """Return row → memory of what was found at some positions.

        Raises:
            IndexDamaged: a row is not as it was written, or not as the columns have it that said it
                may be found: it may belong to others, or be retracted.
        """
        found = memories.load_with_columns(self._connection, rows)
        for position, row in zip(positions, rows, strict=True):
            _, stored = found[row]
            wrong = differs(self._view.columns, position, stored)
            if wrong:
                raise IndexDamaged(
                    f"The {wrong} of memory {stored.id} is another one in the copy of the columns "
                    "than in the database. Look, and make the copy anew:\n"
                    "    memstore verify --repair"
                )
        return {row: item for row, (item, _) in found.items()}

    def _places(self, lists: Sequence[Assessed]) -> list[_Place]:
        places: list[_Place] = []
        above: Assessed | None = None
        for assessed in lists:
            order = assessed.order().tolist()
            shift = 0.0
            if above is not None and order and places:
                shift = places[-1].score - float(assessed.scores[order[0]])
            below = None if above is None else above.judged.scorer.name
            count = len(places)
            places += [_Place(assessed, place, shift, below, count) for place in order]
            above = assessed
        least = self._request.min_score
        return [place for place in places if least is None or place.score >= least]

    def _hit(
        self, rank: int, place: _Place, item: Memory, passage: Passage, tokens: int | None
    ) -> Hit:
        assessed, at = place.assessed, place.place
        scorer = assessed.judged.scorer
        explain = self._request.explain
        certain = scorer.calibrate is not None and place.below is None
        return Hit(
            rank=rank,
            score=place.score,
            probability=probability(place.score) if certain else None,
            memory=item,
            passage=passage,
            relevance=scorer.relevance(
                float(assessed.judged.ranked.scores[at]), float(assessed.relevance[at])
            ),
            status=place.status,
            explanation=place.explanation(skewed=self._begins_later(place)) if explain else None,
            parts=place.parts() if explain else (),
            token_matches=self._token_matches(item, passage, place) if explain else (),
            tokens=tokens,
        )

    def _begins_later(self, place: _Place) -> bool:
        begins = int(self._view.columns["start"][place.position])
        return place.status == "current" and begins > self._request.moment

    def _token_matches(
        self, item: Memory, passage: Passage, place: _Place
    ) -> tuple[TokenMatch, ...]:
        stored = None
        row = int(self._view.columns["row"][place.position])
        if place.position not in place.assessed.judged.windows:
            stored = self._stored(_passage_id(place))
        found: tuple[TokenMatch, ...] = ()
        if stored is not None:
            found = token_matches(
                self._encoder,
                item,
                passage,
                stored=stored,
                query=self._query,
                weights=self._weights,
                pooling=self._pooling,
                read_again=lambda: self._read_again(row, passage),
            )
        if not found:
            self.flags.append("token_matches_unavailable")
        return found

    def suppressed(self, removed: Assessed) -> tuple[Suppressed, ...]:
        """Return the invalid memories that would have been among the hits that were made."""
        scores = removed.scores
        bar = self._lowest if self.packing.full else -np.inf
        least = -np.inf if self._request.min_score is None else self._request.min_score
        rows = rows_of(self._view, removed.judged.ranked)
        loaded = self._load(removed.judged.ranked.positions.tolist(), rows)
        return tuple(
            self._suppressed(item, float(scores[place]), str(removed.statuses[place]))
            for place in np.argsort(-scores, kind="stable")
            if scores[place] > bar
            and scores[place] >= least
            and (item := loaded.get(rows[place])) is not None
        )

    def _suppressed(self, item: Memory, score: float, status: str) -> Suppressed:
        successors = feedback.chain(self._connection, item.id, depth=CHAIN_DEPTH)
        current = successors[-1] if successors else None
        return Suppressed(
            memory=item,
            score=score,
            reason=self._reason(item, status, successors),
            current_id=current,
        )

    def _reason(self, item: Memory, status: str, successors: Sequence[str]) -> str:
        if self._request.drop_undated and item.precision == "unknown" and item.valid_from is None:
            return "nobody knows when"
        if status == "upcoming":
            return f"begins {iso(item.valid_from or item.occurred_at or item.recorded_at)}"
        moment = from_microseconds(self._request.moment)
        if item.valid_to is None or item.valid_to > moment:
            return "had ended by then, as far as was known"
        by = f", superseded by {successors[0]}" if successors else ""
        now = f", by now {successors[-1]}" if len(successors) > 1 else ""
        return f"held until {iso(item.valid_to)}{by}{now}"


def begins_later(view: SnapshotView, assessed: Assessed, moment: int) -> bool:
    """Return whether a memory is valid only thanks to the tolerance for clocks."""
    starts = view.columns["start"][assessed.judged.ranked.positions]
    return bool(((starts > moment) & (assessed.statuses == "current")).any())


def _passage_id(place: _Place) -> int:
    return int(place.assessed.judged.ranked.passage_ids[place.place])


def _passage(place: _Place, text: str, span: tuple[int, int]) -> Passage:
    """Return what retrieval found, or the window of the text that the reranker liked best."""
    start, end = place.assessed.judged.windows.get(place.position, span)
    return Passage(text=text[start:end], start=start, end=end)
