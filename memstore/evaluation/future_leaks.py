"""Stress set `future-leaks`: asked as of the past, nothing may be found that was still to come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from memstore.evaluation.arms import Arm
from memstore.evaluation.comparison import Answer, Observed
from memstore.evaluation.questions import Question
from memstore.evaluation.stored import Stored, begins
from memstore.evaluation.stress import Bench, Stress

LEAKS = "leaks"


def future_leaks(bench: Bench) -> Stress:
    """Ask every question as of its own past moment, or of one at random."""
    random = bench.random("future-leaks")
    stored = Stored(bench.store, bench.namespace)
    start_of = {memory.id: begins(memory) for memory in stored}
    questions = []
    for question in bench.questions:
        seen = [at for memory in stored.seen_by(question).values() if (at := begins(memory))]
        first, last = min(seen, default=bench.now), max(seen, default=bench.now)
        share = float(random.random())
        as_of = question.as_of or first + share * (last - first)
        questions.append(dataclasses.replace(question, as_of=as_of))

    def observe(
        _: Arm, asked: Sequence[Question], answers: Sequence[Answer]
    ) -> Mapping[str, Observed]:
        numbers: list[int] = []
        leaked: list[bool] = []
        for number, (question, answer) in enumerate(zip(asked, answers, strict=True)):
            numbers += [number] * len(answer.hits)
            leaked += [_is_later(start_of[hit.id], question.as_of) for hit in answer.hits]
        return {LEAKS: Observed(np.array(numbers, np.int64), np.array(leaked, np.float64))}

    return Stress(
        name="future-leaks",
        note="asked as of the past: the share of hits that begin later",
        comparison=bench.ask(bench.store, questions, observe=[observe]),
    )


def _is_later(time: datetime | None, as_of: datetime | None) -> bool:
    return time is not None and as_of is not None and time > as_of
