"""One query against both tiers: what its tokens weigh, and the memories that match best.

What is known of the searched namespaces as a whole (the weights of the query's tokens, the mean
score) never depends on filters or candidates. The hot tier and up to 1,024 sealed passages are
scored exactly and known wholly; of more sealed passages it comes from a sample of memories, and the
best match of each token also from passages near it.
"""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from memstore.encoders import QueryVectors
from memstore.index import (
    Rest,
    SealedSearch,
    depths_for,
    distinct,
    token_weights,
    weighted_scores,
)
from memstore.scoring.calibration import Calibration
from memstore.settings import Settings
from memstore.store.candidates import Ranked, Scorer
from memstore.store.lexical import NO_EVIDENCE, Evidence
from memstore.store.snapshot import SMALL, Allowed, SnapshotView, Space


class Retrieval:
    """A query over one space of a view. Pure computation: it may run in any thread.

    Args:
        calibration: how scores become log-odds; None where nothing says how.
        evidence: what is known of passages beside their vectors. It adds to log-odds, so without a
            calibration it only decides which passages are looked at.
    """

    def __init__(
        self,
        view: SnapshotView,
        space: Space,
        query: QueryVectors,
        settings: Settings,
        device: str,
        *,
        calibration: Calibration | None = None,
        evidence: Evidence = NO_EVIDENCE,
    ) -> None:
        self._view = view
        self._space = space
        self._settings = settings
        self._calibration = calibration
        self._evidence = evidence
        self.query_tokens = len(query.vectors)
        self._hot_maxima = view.hot.similarities(query.vectors, space.hot)
        self._search: SealedSearch | None = None
        sampled = np.empty((0, len(query.vectors)), dtype=np.float32)
        rest = None
        if space.sealed_passages:
            self._search = view.sealed.search(query.vectors, device, passages=space.sealed_passages)
            sampled = self._search.maxima(space.sample)
            if not self._small:
                near = self._search.maxima(self._search.witnesses(space.sealed))
                rest = Rest(sampled, space.sealed_passages, near)
        self._sealed_maxima = sampled
        whole = self._hot_maxima if rest else np.concatenate([self._hot_maxima, sampled])
        self.weights = token_weights(whole, query.factors, query.contrast, rest=rest)
        self._hot_scores = weighted_scores(self._hot_maxima, self.weights)
        self._sealed_scores = weighted_scores(sampled, self.weights)

    @property
    def _small(self) -> bool:
        return self._space.sealed_passages <= SMALL

    @property
    def memories(self) -> int:
        """Number of memories in the space."""
        return int(np.count_nonzero(self._space.known))

    @cached_property
    def mean(self) -> float:
        """Mean score of the space's memories; 0 where there are none."""
        hot = _best_scores(self._view.hot.owners[self._space.hot], self._hot_scores)
        owners = self._view.sealed.owners[self._space.sample]
        sealed = _best_scores(owners, self._sealed_scores)
        if self._small:
            both = np.concatenate([hot, sealed])
            return float(np.mean(np.sort(both))) if len(both) else 0.0
        of_sealed = float(np.mean(np.sort(sealed))) * self._space.sealed_memories
        count = len(hot) + self._space.sealed_memories
        return (float(np.sum(np.sort(hot))) + of_sealed) / count

    def scorer(self, encoder: str) -> Scorer:
        """Return how the scores become log-odds, given whose vectors they compare."""
        if self._calibration is None:
            return Scorer(encoder, "maxsim", None)
        calibrate = partial(
            self._calibration,
            mean=self.mean,
            memories=self.memories,
            query_tokens=self.query_tokens,
        )
        return Scorer(encoder, "maxsim", calibrate)

    @property
    def exhaustive(self) -> bool:
        """Whether every passage was scored exactly, so that no better memory can be left out."""
        return self._search is None or self._small

    def best(self, allowed: Allowed, depth: int) -> Ranked:
        """Return the best memories among the allowed ones, each by its best passage.

        Args:
            depth: most memories.
        """
        slots, scores = self._sealed(allowed, depth)
        return self._ranked(allowed, slots, scores).of(slice(depth))

    def exact(self, ranked: Ranked) -> Ranked:
        """Return the same memories, each by its best passage of all it has, scored exactly."""
        chosen = np.zeros(len(self._view.live), dtype=np.bool_)
        chosen[ranked.positions] = True
        allowed = self._view.allow(self._space, chosen)
        if self._search is None or self._small:
            return self.best(allowed, len(ranked))
        slots = np.flatnonzero(allowed.sealed)
        scores = weighted_scores(self._search.maxima(slots), self.weights)
        return self._ranked(allowed, slots, scores)

    def _ranked(
        self, allowed: Allowed, slots: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> Ranked:
        """Return the memories of the allowed hot passages and the given sealed ones."""
        view = self._view
        hot = self._space.hot[allowed.hot]
        owners = np.concatenate([view.hot.owners[hot], view.sealed.owners[slots]])
        passage_ids = np.concatenate([view.hot.passage_ids[hot], view.sealed.passage_ids(slots)])
        both = np.concatenate([self._hot_scores[allowed.hot], scores])
        relevance, evidence = both, np.zeros(len(both))
        calibrate = self.scorer("").calibrate if len(self._evidence) else None
        if calibrate is not None:
            evidence = self._evidence.nats(passage_ids)
            relevance = calibrate(both) + evidence
        # best passage first within its memory; ties go by numbers of the database, because
        # positions in a snapshot depend on what this process has seen happen
        order = np.lexsort((passage_ids, -relevance, owners))
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = owners[order][1:] != owners[order][:-1]
        best = order[first]
        rows = view.columns["row"][owners[best]]
        best = best[np.lexsort((rows, -relevance[best]))]
        return Ranked(owners[best], passage_ids[best], both[best], evidence[best])

    def _sealed(
        self, allowed: Allowed, depth: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return sealed slots worth considering, ascending, and their exact scores."""
        if self._search is None:
            return np.empty(0, dtype=np.int64), np.empty(0)
        if self._small:
            return self._space.sample[allowed.sample], self._sealed_scores[allowed.sample]
        settings = self._settings
        depths = depths_for(
            depth,
            allowed.sealed_passages,
            exact=settings.exact,
            exhaustive=settings.exhaustive,
            nprobe=settings.nprobe,
        )
        slots = self._search.candidates(
            self.weights,
            allowed.sealed,
            depths,
            owners=self._view.sealed.owners,
            memories=min(depth, allowed.sealed_memories),
        )
        if len(self._evidence):
            slots = distinct(np.concatenate([slots, self._named(allowed, depth)]))
        return slots, weighted_scores(self._search.maxima(slots), self.weights)

    def _named(self, allowed: Allowed, depth: int) -> NDArray[np.int64]:
        """Return the allowed sealed slots that hold most of what the query names, `depth` at most:
        the centroids of rare words are those of many others too.
        """
        slots = np.concatenate(
            [
                base + item.slots_of(self._evidence.passage_ids)
                for base, item in self._view.sealed.parts()
            ]
        )
        slots = np.sort(slots[allowed.sealed[slots]])
        passage_ids = self._view.sealed.passage_ids(slots)
        order = np.lexsort((passage_ids, -self._evidence.nats(passage_ids)))
        return np.sort(slots[order[:depth]])


def _best_scores(owners: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best score of each owner, (distinct owners,)."""
    if not len(owners):
        return scores[:0]
    order = np.lexsort((scores, owners))
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = owners[order][1:] != owners[order][:-1]
    return scores[order][last]
