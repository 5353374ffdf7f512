"""What of a query has to be found exactly: quoted strings, identifiers, and words that are rare in
what is searched. Late interaction over pieces of words knows these only nearly.

Evidence, not a second ranking: what a memory holds of a query adds to the log-odds of its vectors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from memstore.unspaced import spaced

MOST_TERMS: Final = 64  # of a query that are looked up: a text may be asked as one
INNER: Final = 0.5  # what a string counts inside a longer one: app.log in app.log.1

_QUOTED = re.compile(
    r'"([^"]+)"|“([^”]+)”|«([^»]+)»|「([^」]+)」|`([^`]+)`|(?<!\w)\'([^\']+)\'(?!\w)'
)
_WORD = re.compile(r"[^\W_]+")
# characters without spaces that hold letters or digits at both ends
_STRING = re.compile(r"[^\W_](?:[^\s\"'`“”«»「」<>()\[\]{},;|]*[^\W_])?")
# 20th, 5pm, 20-year, 1984-87
_COUNTED = re.compile(
    r"\d+(?:st|nd|rd|th|s|am|pm|k|m|x)|\d+[-–][^\W\d_]+|\d{4}[-–](?:\d\d){1,2}", re.IGNORECASE
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
    """Nats per nat of information: how far what was matched speaks for a memory.

    `word` of rare words, `exact` of identifiers and quoted strings.
    """

    word: float
    exact: float


# printed by scripts/fit_calibration; docs/calibration.md says how far they carry
WEIGHTS: Final = LexicalWeights(word=0.2, exact=0.5)


def terms_of(query: str, stopwords: AbstractSet[str]) -> list[Term]:
    """Return what of a query may have to be found exactly, each once.

    >>> [term.text for term in terms_of("What did INV-20391 say of 'late fees'?", {"what", "did"})]
    ['late fees', 'INV-20391', 'say', 'of']
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
        if _NAMED.search(text) and not _COUNTED.fullmatch(text):
            return take(text, exact=True)
        return text

    rest = _STRING.sub(string, spaced(_QUOTED.sub(quoted, query)))
    for word in _WORD.findall(rest):
        if len(word) > 1 and word.casefold() not in stopwords:
            take(word, exact=False)
    return list(found.values())[:MOST_TERMS]


def stands_alone(string: str, text: str) -> bool:
    """Return whether a string is in a text, whatever the case, and not inside a longer string.

    >>> stands_alone("2.4.1", "we run 2.4.1."), stands_alone("2.4.1", "we run 2.4.1.3")
    (True, False)
    """
    wanted = r"\s+".join(map(re.escape, string.split()))
    joined = r"[-+./\\:@#_~]"
    pattern = rf"(?<!\w)(?<!\w{joined}){wanted}(?!\w)(?!{joined}+\w)"
    return re.search(pattern, text, re.IGNORECASE) is not None


def most_holders(memories: int) -> int:
    """Return how many memories a term may be in, of those searched, to say anything.

    One that names its memory among all of them says ln(memories); this is what says half of it.
    """
    return math.isqrt(memories)


def information(memories: int, holders: int) -> float:
    """Return what it says that a memory holds a term, in nats: 0 for one that all hold.

    Source: Sparck Jones, A statistical interpretation of term specificity, 1972.
    """
    return math.log(memories / holders)
