"""What a new memory may repeat or replace: proposed to the caller, never applied.

Measured on preferences that were later changed, withdrawn or repeated (CarMem, development half):
56 % of the new memories have the old one among their proposals, and 14 % of the others have one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from sqlalchemy import bindparam, select

from memstore.catalog import memories
from memstore.catalog.engine import reading
from memstore.catalog.sql import bare_rows
from memstore.catalog.tables import memory, passage
from memstore.encoders import QueryVectors
from memstore.maxsim import TokenVectors
from memstore.store.index_files import retried
from memstore.store.opening import OpenStore
from memstore.store.retrieval import Retrieval
from memstore.types import Memory, Proposal

# similarities of one encoder's vectors say nothing of another's
_SUPERSEDES = {"minilm": 0.65}  # MaxSim of the new memory in the old one
_SUPERSEDES_RELATED = {"minilm": 0.55}  # the same, with two entities in common
_NEAR_DUPLICATE = 0.95  # both ways, of any encoder; two towns to live in have .92
_TOKENS = 64  # of a new memory that are compared: a longer text is sampled
_DEPTH = 8  # memories that are looked at more closely

_stored = (
    select(memory.c.row, memory.c.namespace_id, passage.c.id)
    .join(passage, passage.c.memory_row == memory.c.row)
    .where(memory.c.id == bindparam("id"))
    .order_by(passage.c.ordinal)
    .limit(1)
)


def propose(opened: OpenStore, new: Memory, *, now: int) -> tuple[Proposal, ...]:
    """Return what in its namespace a memory that was just stored may repeat or replace, the most
    similar first; at most `Settings.proposals`.
    """
    return retried(opened.path, lambda: _propose(opened, new, now))


def _propose(opened: OpenStore, new: Memory, now: int) -> tuple[Proposal, ...]:
    _, snapshot = opened.current()
    with reading(opened.engine, opened.path) as connection:
        view = snapshot.refresh(connection)
        stored = bare_rows(connection, _stored, {"id": new.id})
        if not stored:
            return ()  # forgotten meanwhile
        [(own_row, namespace, first_passage)] = stored
        vectors = view.vectors(first_passage)
        if vectors is None:
            return ()
        space = view.space([namespace], None)
        columns = view.columns
        holding = (columns["start"] <= now) & (columns["valid_to"] > now)
        allowed = view.allow(space, holding & (columns["row"] != own_row))
        retrieval = Retrieval(view, space, _query(vectors), opened.settings, opened.device)
        found = retrieval.best(allowed, _DEPTH)
        found = found.of(np.flatnonzero(found.scores >= _least(opened.identity.name)))
        rows = columns["row"][found.positions].tolist()
        loaded = memories.load_rows(connection, rows)
        proposals = []
        for row, passage_id, score in zip(
            rows, found.passage_ids.tolist(), found.scores.tolist(), strict=True
        ):
            old = loaded.get(row)
            if old is None or old.superseded_by == new.id:
                continue
            shared = tuple(name for name in new.entities if name in old.entities)
            relation: Literal["near_duplicate", "supersession"] | None
            relation = _relation(opened.identity.name, score, len(shared))
            both = score
            if score >= _NEAR_DUPLICATE and (other := view.vectors(passage_id)) is not None:
                both = min(score, float((other @ vectors.T).max(axis=1).mean()))
            if both >= _NEAR_DUPLICATE:
                relation = "near_duplicate"
            if relation is not None:
                proposals.append(
                    Proposal(relation=relation, memory=old, similarity=score, shared=shared)
                )
    return tuple(proposals[: opened.settings.proposals])


def _query(vectors: TokenVectors) -> QueryVectors:
    """Return a memory's vectors as a query whose score is their mean similarity."""
    chosen = vectors
    if len(vectors) > _TOKENS:
        chosen = vectors[np.linspace(0, len(vectors) - 1, _TOKENS).astype(np.int64)]
    return QueryVectors(
        vectors=chosen,
        factors=np.ones(len(chosen), dtype=np.float32),
        contrast=False,
        tokens=("",) * len(chosen),
        truncated=False,
    )


def _least(encoder: str) -> float:
    """Return the similarity below which there is no relation, whatever else is the same."""
    return _SUPERSEDES_RELATED.get(encoder, _NEAR_DUPLICATE)


def _relation(encoder: str, similarity: float, shared: int) -> Literal["supersession"] | None:
    least = (_SUPERSEDES_RELATED if shared >= 2 else _SUPERSEDES).get(encoder)
    return "supersession" if least is not None and similarity >= least else None
