"""What of a query has to be found exactly: quoted strings, identifiers, and words that are rare in
what is searched. Late interaction over pieces of words knows these only nearly.

Evidence, not a second ranking: what a memory holds of a query adds to the log-odds of its vectors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memstore.unspaced import spaced

MOST_TERMS: Final = 64  # of a query that are looked up: a text may be asked as one
_MOST_CHARACTERS = 10_000  # that are looked at; encoders read some 1,500
_LONGEST = 256  # characters of an identifier
# memories: in fewer an identifier says as much, since it names one thing anyway
FEWEST: Final = 100
INNER: Final = 0.5  # what a string counts inside a longer one: app.log in app.log.1

_QUOTED = re.compile(  # of a length that bounds how often a character is looked at
    r'"([^"]{1,256})"|“([^”]{1,256})”|«([^»]{1,256})»|「([^」]{1,256})」|`([^`]{1,256})`'
    r"|(?<!\w)'([^']{1,256})'(?!\w)"
)
_WORD = re.compile(r"[^\W_]+")
# characters without spaces that hold letters or digits at both ends
_STRING = re.compile(r"[^\W_](?:[^\s\"'`“”«»「」<>()\[\]{},;|]*[^\W_])?")
# 20th, 5pm, 20-year, 1984-87
_COUNTED = re.compile(
    r"\d+(?:st|nd|rd|th|s|am|pm|k|m|x)|\d+(?:[-–][^\W\d_]+)+|\d{4}[-–](?:\d\d){1,2}", re.IGNORECASE
)
_NAMED = re.compile(
    r"\d.*[^\W\d_]|[^\W\d_].*\d"  # letters and digits: INV-20391, 0x80070005
    r"|\d{5,}|\d[^\w\s]+\d"  # a long number, or one of parts: 2.4.1
    r"|[_@\\]|/.*/|::"  # names in programs, addresses, paths
    r"|\w\w\.\w\w"  # nginx.conf, but not e.g
    r"|[a-z][A-Z]"  # getUser
)


@dataclass(frozen=True, slots=True)
class Term:
    """A string of a query to be looked up; `exact` for a quoted one or an identifier."""

    text: str
    exact: bool


@dataclass(frozen=True, slots=True)
class LexicalWeights:
    """Nats per nat of information in what a memory holds: how far that speaks for it.

    `word` of rare words, `exact` of identifiers and quoted strings. `absent` is what it speaks
    against all, of the most that one of them holds: what is named stands somewhere else.
    """

    word: float
    exact: float
    absent: float

    def nats(
        self, words: NDArray[np.float64], exact: NDArray[np.float64], most: float
    ) -> NDArray[np.float64]:
        """Return what to add to log-odds, in the shape of `words` and `exact`.

        Args:
            words, exact: information in what is held, of rare words and of the rest.
            most: the largest sum of both in what is searched.
        """
        return self.word * words + self.exact * exact - self.absent * most


# Fits to what may ship leave it open between 0.2 and 0.7: few questions there name an identifier.
# One half of what it says: the vectors know a part of it too.
EXACT: Final = 0.5
# printed by scripts/fit_calibration, `word` twice as large: docs/calibration.md says why half of it
WEIGHTS: Final = LexicalWeights(word=0.161, exact=EXACT, absent=0.115)


def terms_of(query: str, is_common: Callable[[str], bool]) -> list[Term]:
    """Return what of a query may have to be found exactly, each once.

    Args:
        is_common: whether a word in lower case is frequent in its language. Those are not looked
            up, how rare they may be in what is searched.

    >>> common = {"what", "did", "say", "of"}.__contains__
    >>> [term.text for term in terms_of("What did INV-20391 say of 'late fees', Zoë?", common)]
    ['late fees', 'INV-20391', 'Zoë']
    """
    found: dict[str, Term] = {}

    def take(text: str, *, exact: bool) -> str:
        found.setdefault(text.casefold(), Term(text, exact))
        return " "

    def quoted(match: re.Match[str]) -> str:
        text = next(filter(None, match.groups()))
        return take(text.strip(), exact=True) if _WORD.search(text) else " "

    def string(match: re.Match[str]) -> str:
        text = match[0]
        short = len(text) <= _LONGEST
        if short and _NAMED.search(text) and not _COUNTED.fullmatch(text):
            return take(text, exact=True)
        return text

    rest = _STRING.sub(string, spaced(_QUOTED.sub(quoted, query[:_MOST_CHARACTERS])))
    for word in _WORD.findall(rest):
        if len(word) > 1 and not is_common(word.lower()):
            take(word, exact=False)
    return list(found.values())[:MOST_TERMS]


def stands_alone(string: str, text: str) -> bool:
    """Return whether a string is in a text (`spaced`), in any case, and not inside a longer one.

    >>> stands_alone("2.4.1", "we run 2.4.1."), stands_alone("2.4.1", "we run 2.4.1.3")
    (True, False)
    """
    wanted = r"\s+".join(map(re.escape, spaced(string).split()))
    joined = r"[-+./\\:@#_~]"
    pattern = rf"(?<!\w)(?<!\w{joined}){wanted}(?!\w)(?!{joined}+\w)"
    return re.search(pattern, text, re.IGNORECASE) is not None


def most_holders(memories: int) -> int:
    """Return how many memories a term may be in, of those searched, to say anything.

    More, and it says less than half of what one does that a single memory holds.
    """
    return math.isqrt(memories)


def information(memories: int, holders: int) -> float:
    """Return what it says that a memory holds a term, in nats: ln(memories) where it alone does, 0
    where `most_holders` do, so that nothing depends on one more.

    It is twice what the inverse document frequency (Sparck Jones, 1972) is above half of its most:
    words half as rare as can be say nothing, and were better left out where it was fitted.

    >>> [round(information(10_000, holders), 1) for holders in (1, 10, 100)]
    [9.2, 4.6, 0.0]
    """
    return max(0.0, math.log(memories) - 2.0 * math.log(holders))
