"""What of the best memories is taken into the hits: a budget of tokens, and nothing twice."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from memstore.encoders import Encoder
from memstore.rendering import around, render_hit, render_hits
from memstore.store.requests import Request
from memstore.types import Dropped, Hit, Memory, Passage

_ENDS = ".,;:!?…\"'“”‘’"  # of words: what may differ in a repetition


class Packing:
    """The hits of one query as they are taken, best first."""

    def __init__(self, encoder: Encoder, request: Request) -> None:
        self._encoder = encoder
        self._request = request
        self._said: dict[Any, str] = {}
        self._looked_at = 0
        self._taken = 0
        self.dropped: list[Dropped] = []
        self.tokens: int | None = None
        self._used = 0
        if request.max_tokens is not None:
            self._used = self._count(around(request.style))

    @property
    def full(self) -> bool:
        """Whether as many were looked at as were asked for, repetitions not counted."""
        return self._looked_at >= self._request.limit

    def take(self, memory: Memory, passage: Passage, score: float) -> tuple[bool, int | None]:
        """Return whether a memory is taken, and the tokens of its hit if there is a budget."""
        request = self._request
        statement = _statement(memory) if request.drop_near_duplicates else None
        like = self._said.get(statement)
        if like is not None:
            if len(self.dropped) < request.limit:  # there may be any number of them
                self.dropped.append(
                    Dropped(memory=memory, score=score, reason="near_duplicate", like=like)
                )
            return False, None
        self._looked_at += 1
        tokens = None
        if request.max_tokens is not None:
            written = render_hit(self._taken + 1, memory, passage, request.style)
            tokens = self._count(f"{written}\n")
            if self._used + tokens > request.max_tokens:
                self._leave(memory, score, tokens)
                return False, None
            self._used += tokens
        if statement is not None:
            self._said[statement] = memory.id
        self._taken += 1
        return True, tokens

    def settle(self, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        """Return the hits that are within the budget when they are written together.

        A tokenizer may make more of a whole than of its lines; few do, and then a token or two.
        """
        kept = list(hits)
        budget = self._request.max_tokens
        if budget is None:
            return tuple(kept)
        while True:
            self.tokens = self._count(render_hits(kept, self._request.style))
            if self.tokens <= budget or not kept:
                return tuple(kept)
            last = kept.pop()
            self._leave(last.memory, last.score, last.tokens)

    def _leave(self, memory: Memory, score: float, tokens: int | None) -> None:
        self.dropped.append(
            Dropped(memory=memory, score=score, reason="over_budget", tokens=tokens)
        )

    def _count(self, written: str) -> int:
        return len(self._encoder.token_spans(written))


def _statement(memory: Memory) -> tuple[Any, ...]:
    """Return what a memory says, whom it was said to, and of when: all of it, since what differs in
    a word, a sign or a date is another fact, and nobody can tell from the words which differences
    do not matter.
    """
    return (
        memory.namespace,
        _wording(memory.title or ""),
        _wording(memory.text),
        memory.occurred_at,
        memory.precision,
    )


def _wording(text: str) -> str:
    """Return a text without what is no difference: case, spacing, punctuation around words.

    >>> _wording("The rent is 900 €,\\n due  on Mondays!")
    'the rent is 900 € due on mondays'
    >>> _wording("?!")
    '?!'
    """
    words = unicodedata.normalize("NFC", text).casefold().split()
    return " ".join(filter(None, (word.strip(_ENDS) for word in words))) or " ".join(words)
