"""Stress set `sources`: another source says something else, and feedback tells who errs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from memstore.evaluation.comparison import Comparison, Observed, joined
from memstore.evaluation.questions import Question
from memstore.evaluation.stored import Stored
from memstore.evaluation.stress import Bench, Stress
from memstore.evaluation.supersession import STALE, Pair, observe_pairs
from memstore.evaluation.swapped_answers import swaps

if TYPE_CHECKING:
    from memstore.store import MemoryStore
    from memstore.types import Memory

RELIABILITIES: Final = (0.9, 0.5, 0.2)  # what is believed of the source that errs
VOTES: Final = 5  # per memory, by as many voters
NOISE: Final = 0.1  # share of votes that are wrong
COLLUSIONS: Final = 10  # votes of one voter for every wrong memory
MOST: Final = 100  # memories that are contradicted by another source
_SUFFIX = "#wrong"
_SOURCE = "memstore-eval-b"
_COUNTED_ONCE = "counted once"


def unreliable_sources(bench: Bench) -> Stress:
    """Copy memories that answer a question, with another answer, as the word of another source;
    then voters confirm and contradict both.
    """
    chosen = swaps(bench, Stored(bench.store, bench.namespace), bench.random("sources"))[:MOST]
    if not chosen:
        return Stress(name="sources", note="no question has an answer that stands in a memory")
    pairs, questions, wrong_texts = [], [], []
    for swap in chosen:
        key = str(swap.memory.key)
        pairs.append(Pair(swap.question.id, (key + _SUFFIX,), (key,)))
        questions.append(dataclasses.replace(swap.question, relevant={key: 1.0}))
        wrong_texts.append(swap.as_new(_SUFFIX, source=_SOURCE))
    comparisons = []
    for reliability in RELIABILITIES:
        with bench.copy() as store:
            store.set_source(_SOURCE, reliability=reliability)
            wrong = store.add_many(wrong_texts)
            right = [swap.memory for swap in chosen]
            asked = _Asked(bench, store, questions, pairs, f"source {reliability:g}")
            random = bench.random("votes")  # the same votes whatever the source
            for voter in range(1, VOTES + 1):
                noise = random.random((2, len(chosen))) < NOISE
                _vote(store, right, f"voter {voter}", confirm=~noise[0])
                _vote(store, wrong, f"voter {voter}", confirm=noise[1])
                asked.again(f"{voter} {'vote' if voter == 1 else 'votes'}")
            once = _collude(store, wrong, 0)
            asked.again("colluder ×1")
            often = [_collude(store, wrong, number) for number in range(1, COLLUSIONS)][-1]
            same = np.isclose(once, often, rtol=0.0, atol=1e-9)
            asked.again(f"×{COLLUSIONS}")
            comparisons.append(asked.comparison(same))
    return Stress(
        name="sources",
        note=f"wrong@1 of {len(chosen)} questions: a memory of another source, believed so far, "
        f"says something else; both get votes, {NOISE:.0%} of them wrong; in the end one voter "
        f"confirms what is wrong {COLLUSIONS} times",
        comparison=joined(comparisons),
    )


class _Asked:
    """What the arms answered as votes came in: the share of questions with the wrong one first."""

    def __init__(
        self,
        bench: Bench,
        store: MemoryStore,
        questions: Sequence[Question],
        pairs: Sequence[Pair],
        setting: str,
    ) -> None:
        self._ask = partial(
            bench.ask, store, questions, setting=setting, observe=[partial(observe_pairs, pairs)]
        )
        self._first = self._ask()
        self._seen: list[dict[str, Observed]] = [
            {"0 votes": item.further[STALE]} for item in self._first.measured
        ]

    def again(self, name: str) -> None:
        for seen, item in zip(self._seen, self._ask().measured, strict=True):
            seen[name] = item.further[STALE]

    def comparison(self, counted_once: NDArray[np.bool_]) -> Comparison:
        places = np.arange(len(counted_once), dtype=np.int64)
        once = Observed(places, counted_once.astype(np.float64))
        bare = tuple(dataclasses.replace(item, further={}) for item in self._first.measured)
        return dataclasses.replace(self._first, measured=bare).with_further(
            [{**seen, _COUNTED_ONCE: once} for seen in self._seen]
        )


def _vote(
    store: MemoryStore, memories: Sequence[Memory], voter: str, *, confirm: NDArray[np.bool_]
) -> None:
    for memory, right in zip(memories, confirm.tolist(), strict=True):
        if right:
            store.confirm(memory.id, source=voter)
        else:
            store.contradict(memory.id, source=voter)


def _collude(store: MemoryStore, memories: Sequence[Memory], number: int) -> list[float]:
    """Confirm memories as one voter, and return their confidences."""
    return [
        store.confirm(
            memory.id, source="colluder", idempotency_key=f"collusion {number} {memory.id}"
        ).confidence
        for memory in memories
    ]
