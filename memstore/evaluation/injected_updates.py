"""Stress set `updates`: facts that change, told tersely or in many words, with links or without."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from memstore.evaluation.comparison import joined
from memstore.evaluation.stored import Stored
from memstore.evaluation.stress import Bench, Stress
from memstore.evaluation.supersession import DEPTH, Pair, observe_pairs
from memstore.evaluation.swapped_answers import Swap, introduced, swaps

if TYPE_CHECKING:
    from memstore.types import NewMemory

COVERAGES: Final = (0.0, 0.5, 0.8, 1.0)  # of the updates, how many a link names
_SUFFIX = "#update"
# an old text in detail beats a new one that is buried in such words
_INTRODUCTIONS = (
    (
        "By the way, before I forget, there is an update to something that came up a while ago, "
        "and things are different from what they were then, so please keep this in mind:"
    ),
    (
        "I have been meaning to tell you that something I said some time ago is no longer the "
        "case, a few things have changed in the meantime, and this is how it stands today:"
    ),
    (
        "Just so that we are on the same page, and because it may matter later on, here is a "
        "small correction to what you have heard from me before, as of this week:"
    ),
)
_TICK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Update:
    swap: Swap
    occurred_at: datetime
    session: str | None


def injected_updates(bench: Bench) -> Stress:
    """Copy memories that answer a question, give the copy another answer, and place it in a later
    session; half of them say so in many words. The copy is what holds now.
    """
    random = bench.random("updates")
    stored = Stored(bench.store, bench.namespace)
    updates = _updates(bench, stored, random)
    if not updates:
        return Stress(
            name="updates",
            note="no question has an answer that stands in a dated memory before its time",
        )
    questions, pairs = [], []
    for update in updates:
        old = str(update.swap.memory.key)
        question = update.swap.question
        questions.append(dataclasses.replace(question, relevant={old + _SUFFIX: 1.0}))
        pairs.append(Pair(question.id, (old,), (old + _SUFFIX,)))
    comparisons = []
    with bench.copy() as store:
        new = _written(updates, random)
        added = store.add_many(new)
        order = random.permutation(len(updates)).tolist()
        linked = 0
        for coverage in COVERAGES:
            wanted = round(coverage * len(updates))
            for place in order[linked:wanted]:
                store.supersede(updates[place].swap.memory.id, added[place].id)
            linked = wanted
            comparisons.append(
                bench.ask(
                    store,
                    questions,
                    setting=f"links {coverage:.0%}",
                    observe=[partial(observe_pairs, pairs)],
                    limit=DEPTH,
                )
            )
    return Stress(
        name="updates",
        note=f"{len(updates)} of {len(bench.questions)} questions: the memory that answers it is "
        "stated again later, with another answer; half of these updates in many words",
        comparison=joined(comparisons),
    )


def _updates(bench: Bench, stored: Stored, random: np.random.Generator) -> list[_Update]:
    sessions = _sessions(stored)
    updates = []
    for swap in swaps(bench, stored, random):
        began, end = swap.memory.occurred_at, bench.moment(swap.question)
        if began is None or began + 2 * _TICK >= end:
            continue
        later = [
            (name, first, last)
            for name, (first, last) in sessions.get(swap.memory.namespace, {}).items()
            if first > began and last < end
        ]
        session = None
        first, last = began + _TICK, end - _TICK
        if later:
            session, first, last = later[int(random.integers(len(later)))]
        at = first + float(random.random()) * (last - first)
        updates.append(_Update(swap, at, session))
    return updates


def _sessions(stored: Stored) -> Mapping[str, Mapping[str, tuple[datetime, datetime]]]:
    """Return by namespace and session when its first and its last memory happened."""
    found: dict[str, dict[str, tuple[datetime, datetime]]] = {}
    for memory in stored:
        at = memory.occurred_at
        if memory.session is not None and at is not None:
            within = found.setdefault(memory.namespace, {})
            first, last = within.get(memory.session, (at, at))
            within[memory.session] = (min(first, at), max(last, at))
    return found


def _written(updates: Sequence[_Update], random: np.random.Generator) -> list[NewMemory]:
    """Return the new memories; half of them are introduced at length."""
    wordy = random.permutation(len(updates)) < len(updates) // 2
    written = []
    for update, long in zip(updates, wordy.tolist(), strict=True):
        text = update.swap.text
        if long:
            introduction = _INTRODUCTIONS[int(random.integers(len(_INTRODUCTIONS)))]
            text = introduced(text, introduction, update.swap.memory.entities)
        written.append(
            update.swap.as_new(
                _SUFFIX, text=text, occurred_at=update.occurred_at, session=update.session
            )
        )
    return written
