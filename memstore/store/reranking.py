"""The second look: a reranker scores the best candidates of retrieval anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, select

from memstore.catalog import vectors
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.encoders import Encoder
from memstore.errors import RerankerUnavailable
from memstore.rerank import Reranker, Span
from memstore.settings import Settings
from memstore.store.candidates import Judged, Ranked, Scorer
from memstore.store.cognitive_pass import rows_of
from memstore.store.encoding import passage_heading
from memstore.store.scorers import reranker_calibration_in
from memstore.store.snapshot import SnapshotView


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What of a memory a reranker reads: `heading` (its title), then `text[start:end]`."""

    heading: str
    text: str
    start: int
    end: int

    @property
    def document(self) -> str:
        return f"{self.heading}{self.text[self.start : self.end]}"

    def span_of(self, window: Span) -> Span:
        """Return the characters of the text in a window of the document."""
        shift = self.start - len(self.heading)
        start = max(self.start, window[0] + shift)
        return start, max(start, window[1] + shift)


def best_windows(
    reranker: Reranker,
    query: str,
    candidates: Sequence[Candidate],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[float, Span] | None]:
    """Return, per candidate, the score of its best window, and the characters of its text there;
    None for a candidate that was given no score.

    Raises:
        RerankerUnavailable: a score is not a number, or there are not as many as documents.
        ServiceError: a hosted reranker failed.
    """
    if not candidates:
        return []
    documents = [candidate.document for candidate in candidates]
    cuts = _windows(reranker, query, documents)
    texts = [
        document[start:end]
        for document, spans in zip(documents, cuts, strict=True)
        for start, end in spans
    ]
    scores = _scores(reranker, reranker.score(query, texts, progress=progress), len(texts))
    remaining = iter(scores)
    best: list[tuple[float, Span] | None] = []
    for candidate, spans in zip(candidates, cuts, strict=True):
        scored = [(score, span) for span in spans if (score := next(remaining)) is not None]
        if not scored:
            best.append(None)
            continue
        score, window = max(scored, key=lambda pair: pair[0])  # of equal ones the first
        best.append((score, candidate.span_of(window)))
    return best


def _windows(reranker: Reranker, query: str, documents: Sequence[str]) -> list[list[Span]]:
    """Return the windows of each document, checked: rerankers may be anyone's."""
    cuts = reranker.windows(query, documents)
    try:
        spans = [[(int(start), int(end)) for start, end in cut] for cut in cuts]
    except (TypeError, ValueError) as error:
        raise RerankerUnavailable(
            f"The reranker {reranker.name!r} returned windows that are no pairs of characters "
            f"({error}). Return a list of (start, end) per document."
        ) from error
    if len(spans) != len(documents) or not all(spans):
        raise RerankerUnavailable(
            f"The reranker {reranker.name!r} returned windows for {sum(map(bool, spans))} of "
            f"{len(documents)} documents. Return at least one for each, in their order."
        )
    return spans


def _scores(
    reranker: Reranker, given: Sequence[float | None], documents: int
) -> list[float | None]:
    """Return the scores, checked."""
    try:
        scores = [None if score is None else float(score) for score in given]
    except (TypeError, ValueError, OverflowError) as error:
        raise RerankerUnavailable(
            f"The reranker {reranker.name!r} returned scores that are no numbers ({error}). "
            "Return a list with one number, or None, per document."
        ) from error
    if len(scores) != documents:
        raise RerankerUnavailable(
            f"The reranker {reranker.name!r} returned {len(scores)} scores for {documents} "
            "documents. Return one per document, in their order."
        )
    wrong = sum(score is not None and not math.isfinite(score) for score in scores)
    if wrong:
        raise RerankerUnavailable(
            f"{wrong} of {documents} scores of the reranker {reranker.name!r} are not finite "
            "numbers. Its weights are damaged, or it computes in too few digits: try "
            "rerank_dtype='float32'."
        )
    return scores


class SecondLook:
    """A reranker over the candidates of queries that share one state of the store."""

    def __init__(
        self,
        reranker: Reranker,
        *,
        depth: int,
        encoder: Encoder,
        connection: Connection,
        view: SnapshotView,
        settings: Settings,
    ) -> None:
        self._reranker = reranker
        self._depth = depth
        self._encoder = encoder
        self._connection = connection
        self._view = view
        self._settings = settings
        self._scorer = Scorer.of(reranker, reranker_calibration_in(connection, reranker))

    def judge(
        self, text: str, retrieved: Judged, invalid: Judged | None
    ) -> tuple[Judged, Judged, Judged | None]:
        """Return the best candidates as the reranker scores them; the rest, as they were; and the
        invalid memories as it scores them.

        It is asked once: scores of one call can be compared, and a budget is one call's.
        """
        ranked = retrieved.ranked
        both = head = ranked.of(slice(self._depth))
        if invalid is not None:
            both = head.followed_by(invalid.ranked)
        candidates, passages = self._candidates(both)
        found = best_windows(self._reranker, text, candidates)

        def scored(places: range) -> tuple[list[int], Judged]:
            kept = {place: one for place in places if (one := found[place]) is not None}
            chosen = both.of(np.array(list(kept), dtype=np.int64))
            scores = np.array([score for score, _ in kept.values()], dtype=np.float64)
            windows = {
                int(both.positions[place]): window
                for place, (_, window) in kept.items()
                if not window[0] <= sum(passages[place]) // 2 < window[1]
            }
            # what else is known of them is in the text that the reranker read
            ranked = Ranked(chosen.positions, chosen.passage_ids, scores, np.zeros(len(scores)))
            return list(kept), Judged(ranked, self._scorer, windows)

        places, first = scored(range(len(head)))
        others = Judged(ranked.of(np.setdiff1d(np.arange(len(ranked)), places)), retrieved.scorer)
        if invalid is None:
            return first, others, None
        return first, others, scored(range(len(head), len(both)))[1]

    def _candidates(self, ranked: Ranked) -> tuple[list[Candidate], list[Span]]:
        """Return what the reranker reads of each memory, and the passage that retrieval found."""
        rows = rows_of(self._view, ranked)
        statement = select(memory.c.row, memory.c.text, memory.c.title)
        read = self._connection.execute(statement.where(among(memory.c.row, rows)))
        found = {row.row: row for row in read}
        passages = vectors.spans(self._connection, ranked.passage_ids.tolist(), rows)
        return [
            self._candidate(found[row].text, found[row].title, passage)
            for row, passage in zip(rows, passages, strict=True)
        ], passages

    def _candidate(self, text: str, title: str | None, passage: Span) -> Candidate:
        start, end = around(passage, len(text), self._settings.rerank_characters)
        return Candidate(passage_heading(self._encoder, title), text, start, end)


def around(passage: Span, length: int, most: int) -> Span:
    """Return `most` characters of a text (all of a shorter one) with the passage in their middle.

    >>> around((900, 1000), length=1000, most=300)
    (700, 1000)
    """
    middle = (passage[0] + passage[1]) // 2
    start = max(0, min(middle - most // 2, length - most))
    return start, min(start + most, length)
