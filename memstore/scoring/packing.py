"""Which hits say what a better one has said already: what a prompt need not be told twice."""

from __future__ import annotations

import re

SAME = 0.8  # share of common words from which the second of two texts adds nothing

_WORD = re.compile(r"\w+")
# a text that differs in one of these, or in a number, says something else
_TURNS = frozenset(("not", "no", "never", "none", "nobody", "nothing", "without", "t", "cannot"))


class Said:
    """Texts that were taken up, in turn."""

    def __init__(self) -> None:
        self._words: list[frozenset[str]] = []

    def repeats(self, text: str) -> int | None:
        """Return the place of the first text taken up that says nearly the same, else None.

        It does if four fifths of the distinct words of both are in both, whatever their case, and
        none of those that differ is a number or a negation.

        >>> said = Said()
        >>> said.take("The rent of the flat is 900 euros, due on Mondays.")
        >>> said.repeats("The rent of the flat is 900 euros, due on Mondays!")
        0
        >>> said.repeats("The rent of the flat is 950 euros, due on Mondays.") is None
        True
        """
        words = _words(text)
        for place, known in enumerate(self._words):
            common = len(words & known)
            different = words ^ known
            if (
                common >= SAME * (common + len(different))
                and not different & _TURNS
                and not any(any(map(str.isdigit, word)) for word in different)
            ):
                return place
        return None

    def take(self, text: str) -> None:
        """Add a text."""
        self._words.append(_words(text))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))
