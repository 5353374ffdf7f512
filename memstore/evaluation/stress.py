"""What stress sets have in common: a store that is disturbed in a copy, and arms that are asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from memstore.evaluation.arms import OpenArms
from memstore.evaluation.comparing import Observe, Progress, compare
from memstore.evaluation.comparison import Comparison
from memstore.evaluation.questions import Question
from memstore.evaluation.temporary_store import temporary_copy, temporary_store

if TYPE_CHECKING:
    from memstore.store import MemoryStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """What a disturbance did to each arm; `note` says what was disturbed, in numbers.

    `metrics` are those worth showing beside what else was observed. `comparison` is None where the
    data set has nothing that could be disturbed so, as `note` then says.
    """

    name: str
    note: str
    comparison: Comparison | None = None
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A store, the questions it is asked and the arms that answer.

    `now` is of questions that have none themselves, as `namespace` is. `how` goes to `compare`.
    """

    store: MemoryStore
    questions: Sequence[Question]
    arms: OpenArms
    namespace: str
    now: datetime
    seed: int
    how: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None

    @contextlib.contextmanager
    def copy(self) -> Iterator[MemoryStore]:
        """Open a copy of the store, for disturbing."""
        with temporary_copy(self.store) as store:
            yield store

    @contextlib.contextmanager
    def empty(self) -> Iterator[MemoryStore]:
        """Open a store without memories, and otherwise like this one."""
        opened = self.store._opened
        with temporary_store(
            encoder=opened.encoder, device=opened.device, settings=opened.settings
        ) as store:
            yield store

    def ask(
        self,
        store: MemoryStore,
        questions: Sequence[Question],
        *,
        setting: str | None = None,
        observe: Sequence[Observe] = (),
        limit: int = 10,
    ) -> Comparison:
        """Ask all arms."""
        return compare(
            store,
            questions,
            self.arms,
            **{**self.how, "limit": max(limit, self.how.get("limit", 0))},
            namespace=self.namespace,
            now=self.now,
            seed=self.seed,
            setting=setting,
            observe=observe,
            progress=self.progress,
        )

    def random(self, *names: str) -> np.random.Generator:
        """Return the seed's numbers for a purpose: the others do not change with them."""
        letters = [byte for name in names for byte in name.encode()]
        return np.random.default_rng([self.seed, *letters])

    def moment(self, question: Question) -> datetime:
        """Return when a question's answer is to be true."""
        return question.as_of or question.now or self.now

    def told(self, what: str, done: int, of: int) -> None:
        """Tell the progress."""
        if self.progress is not None:
            self.progress(what, done, of)
