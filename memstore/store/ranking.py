"""Ranking of texts that are in no store: by the encoder's late interaction, or by a reranker."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from memstore.catalog import full_text
from memstore.catalog.engine import reading
from memstore.catalog.feedback import UNKNOWN
from memstore.catalog.vectors import PassageVectors
from memstore.errors import BadInput
from memstore.index import HotTier
from memstore.rerank import Reranker
from memstore.scoring.calibration import probability
from memstore.scoring.evidence import posterior
from memstore.store.candidates import Judged, Ranked, Scorer
from memstore.store.columns import NEVER
from memstore.store.drafts import Draft, draft
from memstore.store.encoding import Written, encode, passage_heading
from memstore.store.lexical import NO_EVIDENCE, Evidence, Lexicon
from memstore.store.opening import OpenStore
from memstore.store.rerankers import FAILURES, Choice
from memstore.store.reranking import Candidate, best_windows
from memstore.store.retrieval import Retrieval
from memstore.store.scorers import encoder_calibration, reranker_calibration_in
from memstore.store.snapshot import NOTHING_SEALED, SnapshotView, Space
from memstore.times import from_microseconds
from memstore.types import Hit, Memory, NewMemory, Part, Passage


def drafts_of(documents: Iterable[NewMemory | Mapping[str, Any] | str]) -> list[Draft]:
    """Check documents.

    Raises:
        BadInput: the first one that cannot be ranked, by its place from 0.
    """
    drafts = []
    for index, document in enumerate(documents):
        try:
            drafts.append(draft(document))
        except BadInput as error:
            raise BadInput(f"Document {index}: {error}") from error
    return drafts


def rank(
    opened: OpenStore,
    text: str,
    drafts: Sequence[Draft],
    choice: Choice,
    *,
    skip: bool,
    limit: int | None,
    explain: bool,
    now: int,
    progress: Callable[[int], None] | None = None,
) -> list[Hit]:
    """Return the documents, best first; what a reranker gave no score follows in the encoder's
    order.

    Args:
        skip: take the encoder's order when the reranker fails.
    """
    if not drafts:
        return []
    everything = list(range(len(drafts)))
    first, why = None, choice.error
    if choice.reranker is not None:
        try:
            first = _by_reranker(opened, choice.reranker, text, drafts, progress)
        except FAILURES as error:
            if not skip:
                raise
            why = str(error)
    if first is None:
        hits = _hits(drafts, *_by_encoder(opened, text, drafts, everything), explain, now)
        return [dataclasses.replace(hit, rerank_error=why) for hit in hits[:limit]]
    scored = set(first.ranked.positions.tolist())
    others = [index for index in everything if index not in scored]
    hits = _hits(drafts, first, NO_EVIDENCE, explain, now)
    if others:
        rest = _by_encoder(opened, text, drafts, others)
        hits += _hits(drafts, *rest, explain, now, above=hits)
    return hits[:limit]


def _by_encoder(
    opened: OpenStore, text: str, drafts: Sequence[Draft], chosen: Sequence[int]
) -> tuple[Judged, Evidence]:
    """Score documents as a new store that held nothing else would, and say what they hold of what
    the query names.
    """
    encoder = opened.encoder
    (query,) = encoder.encode_queries([text])
    written = [Written(drafts[index].text, drafts[index].title, ()) for index in chosen]
    passages = [
        (place, passage)
        for place, found in enumerate(encode(encoder, opened.vector_settings, written))
        for passage in found
    ]
    view = _view(encoder.identity.dim, passages, len(chosen))
    space = view.space([0], None)
    evidence = NO_EVIDENCE
    if opened.settings.lexical:
        evidence = _evidence(text, [drafts[index] for index in chosen], passages, view, space)
    with reading(opened.engine, opened.path) as connection:
        calibration = encoder_calibration(connection, encoder.identity)
    retrieval = Retrieval(
        view,
        space,
        query,
        opened.settings,
        opened.device,
        calibration=calibration,
        evidence=evidence,
    )
    ranked = retrieval.best(view.allow(space, view.live), len(chosen))
    spans = {
        chosen[position]: (passages[number][1].start, passages[number][1].end)
        for position, number in zip(
            ranked.positions.tolist(), ranked.passage_ids.tolist(), strict=True
        )
    }
    positions = np.array(chosen, dtype=np.int64)[ranked.positions]
    ranked = dataclasses.replace(ranked, positions=positions)
    return Judged(ranked, retrieval.scorer(encoder.identity.name), spans), evidence


def _evidence(
    text: str,
    drafts: Sequence[Draft],
    passages: Sequence[tuple[int, PassageVectors]],
    view: SnapshotView,
    space: Space,
) -> Evidence:
    with closing(sqlite3.connect(":memory:")) as driver:
        full_text.create(driver)
        for number, (place, passage) in enumerate(passages):
            words = drafts[place].text[passage.start : passage.end]
            full_text.insert_texts(driver, "", drafts[place].title, [(number, words)])
        return Lexicon(driver, view, space, None).evidence(text)


def _view(dim: int, passages: Sequence[tuple[int, PassageVectors]], documents: int) -> SnapshotView:
    """Return a store's state in which the documents are all there is."""
    tier = HotTier(dim)
    codes = b"".join(passage.codes for _, passage in passages)
    tier.append(
        np.arange(len(passages)),
        np.array([place for place, _ in passages], dtype=np.int64),
        np.array([passage.tokens for _, passage in passages], dtype=np.int64),
        np.frombuffer(codes, dtype=np.int8).reshape(-1, dim),
        np.frombuffer(b"".join(passage.scales for _, passage in passages), dtype="<f4"),
    )
    columns = {
        "row": np.arange(documents),
        "namespace_id": np.zeros(documents, dtype=np.int64),
        "expired_at": np.full(documents, NEVER),
    }
    return SnapshotView(columns, np.ones(documents, dtype=np.bool_), tier.view(), NOTHING_SEALED)


def _by_reranker(
    opened: OpenStore,
    reranker: Reranker,
    text: str,
    drafts: Sequence[Draft],
    progress: Callable[[int], None] | None,
) -> Judged:
    candidates = []
    for one in drafts:
        heading = "" if one.title is None else passage_heading(opened.encoder, one.title)
        candidates.append(Candidate(heading, one.text, 0, len(one.text)))
    found = best_windows(reranker, text, candidates, progress=progress)
    scores = {index: one for index, one in enumerate(found) if one is not None}
    order = sorted(scores, key=lambda index: (-scores[index][0], index))
    with reading(opened.engine, opened.path) as connection:
        calibration = reranker_calibration_in(connection, reranker)
    return Judged(
        Ranked(
            np.array(order, dtype=np.int64),
            np.zeros(len(order), dtype=np.int64),
            np.array([scores[index][0] for index in order], dtype=np.float64),
            np.zeros(len(order)),
        ),
        Scorer.of(reranker, calibration),
        {index: scores[index][1] for index in order},
    )


def _hits(
    drafts: Sequence[Draft],
    judged: Judged,
    evidence: Evidence,
    explain: bool,
    now: int,
    *,
    above: Sequence[Hit] = (),
) -> list[Hit]:
    """Return the hits of one list, below those of the list before."""
    ranked, scorer = judged.ranked, judged.scorer
    semantic = scorer.semantic(ranked.scores)
    relevance = semantic + ranked.evidence
    shift = above[-1].score - float(relevance[0]) if above and len(ranked) else 0.0
    hits = []
    for place, index in enumerate(ranked.positions.tolist()):
        nats, raw = float(relevance[place]), float(ranked.scores[place])
        parts = [Part(name="semantic", nats=float(semantic[place]), why=scorer.why(raw))]
        if ranked.evidence[place] != 0.0:
            why = evidence.why(int(ranked.passage_ids[place]))
            parts.append(Part(name="lexical", nats=float(ranked.evidence[place]), why=why))
        if above:
            why = f"follows what {above[-1].relevance.scorer} scored"
            parts.append(Part(name="not_reranked", nats=shift, why=why))
        start, end = judged.windows[index]
        certain = scorer.calibrate is not None and not above
        hits.append(
            Hit(
                rank=len(above) + place + 1,
                score=nats + shift,
                probability=probability(nats) if certain else None,
                memory=_memory(drafts[index], now),
                passage=Passage(text=drafts[index].text[start:end], start=start, end=end),
                relevance=scorer.relevance(raw, nats),
                parts=tuple(parts) if explain else (),
                index=index,
            )
        )
    return hits


def _memory(checked: Draft, now: int) -> Memory:
    """Return the memory that a document would be if it were stored; it has no id."""

    def time(value: int | None) -> datetime | None:
        return None if value is None else from_microseconds(value)

    alpha, beta = posterior(UNKNOWN.prior if checked.prior is None else checked.prior)
    return Memory(
        id="",
        namespace=checked.namespace,
        key=checked.key,
        session=checked.session,
        title=checked.title,
        text=checked.text,
        metadata=json.loads(checked.metadata),
        kind=checked.kind,
        source=checked.source,
        occurred_at=time(checked.occurred.start),
        precision=checked.occurred.precision,
        recorded_at=from_microseconds(now),
        valid_from=time(checked.valid_from),
        valid_to=time(checked.valid_to),
        superseded_by=None,
        retracted_at=None,
        half_life=None if checked.half_life_s is None else timedelta(seconds=checked.half_life_s),
        confidence=10.0 * alpha / (alpha + beta),
        alpha=alpha,
        beta=beta,
        uses=0,
        importance=checked.importance,
        entities=checked.entities or (),
    )
