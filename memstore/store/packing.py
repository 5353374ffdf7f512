"""What of the best memories is taken into the hits: a budget of tokens, and no repetitions."""

from __future__ import annotations

from memstore.encoders import Encoder
from memstore.rendering import around, render_hit
from memstore.scoring.packing import Said
from memstore.store.requests import Request
from memstore.types import Dropped, Memory, Passage


class Packing:
    """The hits of one query as they are taken, best first."""

    def __init__(self, encoder: Encoder, request: Request) -> None:
        self._encoder = encoder
        self._request = request
        self._said = Said()
        self._taken: list[str] = []
        self.dropped: list[Dropped] = []
        self._used = self._count(around(request.style)) if request.max_tokens else 0

    @property
    def tokens(self) -> int | None:
        """How many tokens those taken have together as the request's style writes them, what is
        written around them included; None without a budget.
        """
        if self._request.max_tokens is None:
            return None
        return self._used if self._taken else 0

    @property
    def full(self) -> bool:
        """Whether as many were looked at as were asked for, repetitions not counted."""
        over = sum(item.reason == "over_budget" for item in self.dropped)
        return len(self._taken) + over >= self._request.limit

    def take(self, memory: Memory, passage: Passage, score: float) -> tuple[bool, int | None]:
        """Return whether a memory is taken, and the tokens of its hit if there is a budget."""
        request = self._request
        if request.drop_near_duplicates:
            repeated = self._said.repeats(passage.text)
            if repeated is not None:
                like = self._taken[repeated]
                self.dropped.append(
                    Dropped(memory=memory, score=score, reason="near_duplicate", like=like)
                )
                return False, None
        tokens = None
        if request.max_tokens is not None:
            rank = len(self._taken) + 1
            tokens = self._count(render_hit(rank, memory, passage, request.style))
            if self._used + tokens > request.max_tokens:
                self.dropped.append(
                    Dropped(memory=memory, score=score, reason="over_budget", tokens=tokens)
                )
                return False, None
            self._used += tokens
        if request.drop_near_duplicates:
            self._said.take(passage.text)
        self._taken.append(memory.id)
        return True, tokens

    def _count(self, written: str) -> int:
        return len(self._encoder.token_spans(written))
