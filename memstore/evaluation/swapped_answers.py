"""Copies of memories that answer a question, with another answer in its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from memstore.evaluation.questions import Question
from memstore.evaluation.stored import Stored
from memstore.evaluation.stress import Bench
from memstore.types import Memory, NewMemory

_NEAREST = 3  # questions from whose answers one is drawn


@dataclass(frozen=True, slots=True)
class Swap:
    """A question, the memory that answers it, and that memory's text with another answer."""

    question: Question
    memory: Memory
    text: str

    def as_new(self, suffix: str, **changes: object) -> NewMemory:
        """Return the copy as a memory to be stored, under the key of the original and a suffix."""
        memory = self.memory
        name, colon, _ = memory.text.partition(":")
        given = {
            "text": self.text,
            "namespace": memory.namespace,
            "key": f"{memory.key}{suffix}",
            "session": memory.session,
            "title": memory.title,
            "kind": memory.kind,
            "speaker": name if colon and name in memory.entities else None,
            "occurred_at": memory.occurred_at,
            "source": memory.source,
        }
        return NewMemory(**{**given, **changes})  # type: ignore[arg-type]  # fields of different types


def swaps(bench: Bench, stored: Stored, random: np.random.Generator) -> list[Swap]:
    """Return a swap for every question whose answer stands in a memory that answers it.

    No memory is used twice. The other answer is that of a question of the same category with much
    the same words, and a number for a number: something that could have been true.
    """
    found: list[Swap] = []
    used: set[str] = set()
    for question in bench.questions:
        for memory in _answering(question, stored):
            other = None if memory.id in used else _other(question, memory, bench, random)
            if other is not None:
                used.add(memory.id)
                found.append(Swap(question, memory, _replaced(memory, question, other)))
                break
    return found


def _answering(question: Question, stored: Stored) -> Iterator[Memory]:
    """Yield the memories that hold a question's answer, the most relevant first."""
    if question.answer is None:
        return
    seen = stored.seen_by(question)
    for key in sorted(question.answers, key=lambda key: (-question.relevant[key], key)):
        if key in seen and _pattern(question.answer).search(seen[key].text):
            yield seen[key]


def _pattern(answer: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)", re.IGNORECASE)


def _other(
    question: Question, memory: Memory, bench: Bench, random: np.random.Generator
) -> str | None:
    assert question.answer is not None
    said = memory.text.casefold()
    likeness: dict[str, float] = {}
    for other in bench.questions:
        if (
            other.answer is not None
            and other.category == question.category
            and _is_number(other.answer) == _is_number(question.answer)
            and other.answer.casefold() not in said
        ):
            likeness[other.answer] = max(_alike(question, other), likeness.get(other.answer, 0.0))
    nearest = sorted(likeness, key=lambda answer: (-likeness[answer], answer))[:_NEAREST]
    return nearest[int(random.integers(len(nearest)))] if nearest else None


def _alike(one: Question, other: Question) -> float:
    """Return the share of words that two questions have in common."""
    first, second = (set(question.text.casefold().split()) for question in (one, other))
    return len(first & second) / len(first | second)


def _is_number(answer: str) -> bool:
    return any(character.isdigit() for character in answer)


def _replaced(memory: Memory, question: Question, other: str) -> str:
    assert question.answer is not None
    return _pattern(question.answer).sub(lambda _: other, memory.text)


def introduced(text: str, introduction: str, names: Sequence[str]) -> str:
    """Return a text with more words in front, behind the name of who says it.

    >>> introduced("Ana: I sail.", "By the way:", ["Ana"])
    'Ana: By the way: I sail.'
    """
    name, colon, rest = text.partition(": ")
    if colon and name in names:
        return f"{name}: {introduction} {rest}"
    return f"{introduction} {text}"
