"""Which texts say what another one has said already: what a prompt need not be told twice."""

from __future__ import annotations

import re

SAME = 0.8  # share of a text's words that its repetition has at least

_WORD = re.compile(r"\w+")
# a text that lacks one of these says something else, be all other words the same
_TURNS = frozenset(("not", "no", "never", "none", "nobody", "nothing", "without", "t", "cannot"))


class Said:
    """Texts that were taken up, in turn."""

    def __init__(self) -> None:
        self._words: list[list[str]] = []

    def repeats(self, text: str) -> int | None:
        """Return the place of the first text taken up that this one only repeats, else None.

        It repeats one that has all its words in the same order, whatever their case, and few more,
        none of them a negation. A word of its own, be it a name or a number, says something new.

        >>> said = Said()
        >>> said.take("The rent of the flat is 900 euros, due on Mondays.")
        >>> said.repeats("The rent of the flat is 900 euros due on mondays!")
        0
        >>> said.repeats("The rent of the boat is 900 euros, due on Mondays.") is None
        True
        """
        words = _words(text)
        for place, known in enumerate(self._words):
            more = _beyond(known, words)
            if more is not None and len(words) >= SAME * len(known) and not _TURNS & set(more):
                return place
        return None

    def take(self, text: str) -> None:
        """Add a text."""
        self._words.append(_words(text))


def _beyond(known: list[str], words: list[str]) -> list[str] | None:
    """Return what a text says beyond the words it holds in their order; None if it does not."""
    more, at = [], 0
    for word in known:
        if at < len(words) and word == words[at]:
            at += 1
        else:
            more.append(word)
    return more if at == len(words) else None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
