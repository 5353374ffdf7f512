"""Asking a store every question in several ways."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from memstore.errors import BadInput
from memstore.evaluation.arms import Arm, LeftOut, OnRerankError, OpenArms, open_arms
from memstore.evaluation.baselines import reordered
from memstore.evaluation.comparison import Answer, Comparison, Found, Measured, Observed
from memstore.evaluation.known_keys import unknown_keys
from memstore.evaluation.metrics import DEPTH, score
from memstore.evaluation.questions import Question
from memstore.settings import DEFAULT_NAMESPACE
from memstore.store.rerankers import FAILURES, NO_RERANKER

if TYPE_CHECKING:
    from memstore.store import MemoryStore
    from memstore.types import QueryResult

_WARM_UP = "What was said before all that?"  # none of the questions: texts are remembered

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

Observe = Callable[[Arm, Sequence[Question], Sequence[Answer]], Mapping[str, Observed]]
"""Called with an arm, the questions and its answers; returns what else is to be seen in them."""


def compare(
    store: MemoryStore,
    questions: Sequence[Question],
    arms: Sequence[Arm] | OpenArms,
    *,
    limit: int = DEPTH,
    rerank_depth: int | None = None,
    namespace: str = DEFAULT_NAMESPACE,
    now: datetime | None = None,
    seed: int = 0,
    on_rerank_error: OnRerankError = "raise",
    setting: str | None = None,
    observe: Sequence[Observe] = (),
    encode_seconds: dict[str, float] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Ask a store every question once per arm, and score the answers. Changes nothing in it.

    Args:
        arms: the first one is what the others are compared with. `open_arms` opens them earlier:
            before a long ingest, say.
        limit: hits per question, at least the 10 that the metrics look at.
        rerank_depth: how many memories a reranker scores; 20 by default.
        namespace, now: of questions that have none themselves; `now` is the same for all of them,
            by default the time of this call.
        seed: of the bootstrap.
        on_rerank_error: `skip` to leave out arms whose reranker cannot be opened, or fails.
        setting: what was done to the store, for the arms' names.
        observe: what else is measured in the answers.
        encode_seconds: how long each text took when the encoder was new to it, if a comparison
            before this one has asked the same questions; it is filled in.

    Raises:
        BadInput: a name is unknown, no question has an answer, or none of the relevant keys is in
            the store.
        RerankerUnavailable, ServiceError, MissingExtra: a reranker cannot be used.
    """
    judged = [question for question in questions if question.answers]
    if not judged:
        raise BadInput("No question has a relevant key, so nothing can be scored.")
    if limit < DEPTH:
        raise BadInput(f"limit is {limit}; the metrics look at {DEPTH} hits, give that at least.")
    if not isinstance(arms, OpenArms):
        arms = open_arms(store, arms, on_rerank_error=on_rerank_error)
    missing = unknown_keys(store, judged, namespace)
    settings = store._opened.settings
    depth = settings.rerank_depth if rerank_depth is None else rerank_depth
    run = _Run(
        store=store,
        questions=judged,
        limit=limit,
        rerank_depth=depth,
        retrieval_depth=max(settings.candidates, 4 * limit),
        memories=store.stats().memories,
        namespace=namespace,
        now=now or datetime.now(UTC),
        observe=observe,
        progress=progress,
        encode_seconds={} if encode_seconds is None else encode_seconds,
    )
    measured: list[Measured] = []
    left_out = [LeftOut(_set(item.arm, setting), item.reason) for item in arms.left_out]
    for arm in arms.ready:
        try:
            measured.append(run.measure(_set(arm, setting), arms.parameters[arm.reranker]))
        except FAILURES as error:
            if on_rerank_error == "raise":
                raise
            left_out.append(LeftOut(_set(arm, setting), str(error)))
    if not measured:
        why = "".join(f"\n  {item.arm}: {item.reason}" for item in left_out)
        raise BadInput(f"There is no arm to measure.{why}")
    return Comparison(
        questions=tuple(judged),
        measured=tuple(measured),
        left_out=tuple(left_out),
        unjudged=len(questions) - len(judged),
        unknown_keys=missing,
        memories=run.memories,
        encoder=store.encoder,
        limit=limit,
        rerank_depth=depth,
        namespace=namespace,
        now=run.now,
        seed=seed,
    )


def _set(arm: Arm, setting: str | None) -> Arm:
    return arm if setting is None else dataclasses.replace(arm, setting=setting)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What the arms have in common."""

    store: MemoryStore
    questions: Sequence[Question]
    limit: int
    rerank_depth: int
    retrieval_depth: int
    memories: int
    namespace: str
    now: datetime
    observe: Sequence[Observe]
    progress: Progress | None
    encode_seconds: dict[str, float]  # of each text, when it was new

    def measure(self, arm: Arm, parameters: int | None) -> Measured:
        """Ask every question, one at a time, after one query that warms up."""
        self._query(arm, dataclasses.replace(self.questions[0], text=_WARM_UP))
        answers = []
        for number, question in enumerate(self.questions, start=1):
            began = time.perf_counter()
            result = self._query(arm, question)
            found = self._found(arm, result)
            answers.append(self._answer(result, found, time.perf_counter() - began))
            if self.progress is not None:
                self.progress(str(arm), number, len(self.questions))
        scores = [
            score([hit.key for hit in answer.hits], question.relevant)
            for question, answer in zip(self.questions, answers, strict=True)
        ]
        depth = self.retrieval_depth if arm.reranker == NO_RERANKER else self.rerank_depth
        further: dict[str, Observed] = {}
        for observe in self.observe:
            further |= observe(arm, self.questions, answers)
        return Measured(
            arm=arm,
            parameters=parameters,
            candidates=min(depth, self.memories),
            answers=tuple(answers),
            scores=np.array(scores),
            further=further,
        )

    def _query(self, arm: Arm, question: Question) -> QueryResult:
        return self.store.query(
            question.text,
            namespace=question.namespace or self.namespace,
            # a formula orders the candidates that the cognitive pass would see
            limit=self.limit if arm.formula is None else self.retrieval_depth,
            rerank=arm.reranker,
            rerank_depth=self.rerank_depth,
            profile=arm.profile,
            weights=dict(arm.weights) or None,
            temporal=arm.temporal,
            now=question.now or self.now,
            as_of=question.as_of,
        )

    def _found(self, arm: Arm, result: QueryResult) -> tuple[Found, ...]:
        scored = [(hit, hit.score) for hit in result.hits]
        if arm.formula is not None:
            scored = reordered(result.hits, arm.formula, result.as_of)[: self.limit]
        return tuple(
            Found(rank, hit.memory.key, hit.memory.id, score, hit.relevance.nats)
            for rank, (hit, score) in enumerate(scored, start=1)
        )

    def _answer(self, result: QueryResult, found: tuple[Found, ...], seconds: float) -> Answer:
        # encoders remember recent texts: later arms would seem faster than a new text is
        encode = self.encode_seconds.setdefault(result.query, result.took["encode"])
        took = {**result.took, "encode": encode}
        return Answer(found, took, seconds - result.took["encode"] + encode)
