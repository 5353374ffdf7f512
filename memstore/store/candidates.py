"""What passes between the stages of a query: memories, their scores, and who scored them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from memstore.rerank import Reranker
from memstore.scoring.calibration import Calibration
from memstore.types import Relevance, ScoreKind

Span = tuple[int, int]  # characters [start, end) of a memory's text


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Memories with their best passages, in the order of retrieval; arrays are (memories,).

    `evidence` is what is known of a passage beside its score, in nats.
    """

    positions: NDArray[np.int64]
    passage_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    evidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)

    def of(self, chosen: slice | NDArray[np.int64]) -> Ranked:
        """Return some of them."""
        return Ranked(*(getattr(self, name)[chosen] for name in self.__slots__))

    def followed_by(self, others: Ranked) -> Ranked:
        """Return these and the others."""
        return Ranked(
            *(
                np.concatenate([getattr(self, name), getattr(others, name)])
                for name in self.__slots__
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """Who made raw scores, and how they become log-odds of relevance.

    `calibrate` takes and returns (memories,); None for a scorer that was never calibrated.
    `second` for a reranker, not the store's own encoder.
    """

    name: str
    kind: ScoreKind
    calibrate: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None
    second: bool = False

    @classmethod
    def of(cls, reranker: Reranker, calibration: Calibration | None) -> Scorer:
        calibrate = None
        if calibration is not None:  # it knows of no namespace
            calibrate = partial(calibration, mean=0.0, memories=1, query_tokens=1)
        return cls(reranker.name, reranker.kind, calibrate, second=True)

    def semantic(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log-odds, or the raw scores where nothing says how they become any."""
        return scores if self.calibrate is None else self.calibrate(scores)

    def relevance(self, raw: float, nats: float) -> Relevance:
        """Return what a hit says of it, given its log-odds if it has any."""
        known = None if self.calibrate is None else nats
        return Relevance(scorer=self.name, kind=self.kind, raw=raw, nats=known)

    def why(self, raw: float) -> str:
        """Return a raw score in words."""
        word = {"maxsim": "MaxSim", "logit": "logit", "prob01": "score"}[self.kind]
        return f"{self.name} {word} {raw:.3f}" if self.second else f"{word} {raw:.3f}"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Memories whose scores one scorer made: only these can be compared.

    `windows` holds, by position, the part of a memory's text that earned its score, where that is
    not the passage that retrieval found.
    """

    ranked: Ranked
    scorer: Scorer
    windows: Mapping[int, Span] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What was found for a query; lists and arrays are (memories,), `scores` are raw.

    `words`, `exact` and `most` are what `LexicalWeights` takes, 0 where a reranker has seen it;
    `mean`, `memories` and `query_tokens` what a calibration does, 0, 1 and 1 of a reranker.
    """

    ids: list[str]
    keys: list[str | None]
    scores: NDArray[np.float64]
    words: NDArray[np.float64]
    exact: NDArray[np.float64]
    most: float
    mean: float
    memories: int
    query_tokens: int
