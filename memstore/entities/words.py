"""Which words are ordinary: stop words, and frequent English words with their inflections."""

from __future__ import annotations

import functools
import re
from importlib.resources import files


def words(listed: str) -> frozenset[str]:
    """The words of a list written as one text."""
    return frozenset(listed.split())


STOP_WORDS = words(
    "a about after again all also am an and any are aren't as at be because been before being "
    "between both but by can can't cannot could couldn't did didn't do does doesn't doing don't "
    "down during each either else ever every few for from further get gets getting go goes going "
    "got had hadn't has hasn't have haven't having he he'd he'll he's her here here's hers herself "
    "him himself his how how's i i'd i'll i'm i've if in into is isn't it it's its itself just let "
    "let's like many may me might mine more most much must my myself neither no nor not of off oh "
    "on once only or other ought our ours ourselves out over own per please same shall shan't she "
    "she'd she'll she's should shouldn't since so some still such than that that's the their "
    "theirs them themselves then there there's these they they'd they'll they're they've this "
    "those though through to too under until up upon us very via was wasn't we we'd we'll we're "
    "we've were weren't what what's when when's where where's whether which while who who's whom "
    "whose why why's will with within without won't would wouldn't yes yet you you'd you'll you're "
    "you've your yours yourself yourselves"
)

_STRETCHED = re.compile(r"(.)\1{2,}")
_LAUGHTER = re.compile(r"[ae]*(?:h+[aeo]+){2,}h*|(?:lo){2,}l?|x+d+|wo+[ -]?ho*|[ou]*[mh]+")
_SUFFIXES = (
    ("ies", "y"),
    ("ied", "y"),
    ("ier", "y"),
    ("iest", "y"),
    ("ily", "y"),
    ("ing", ""),
    ("ing", "e"),
    ("ed", ""),
    ("ed", "e"),
    ("es", ""),
    ("est", ""),
    ("est", "e"),
    ("er", ""),
    ("er", "e"),
    ("ers", ""),
    ("ers", "e"),
    ("ly", ""),
    ("ness", ""),
    ("s", ""),
)
_DOUBLING = ("ing", "ed", "er")


@functools.cache
def common_words() -> frozenset[str]:
    """Frequent English words in lower case, mostly base forms; written for memstore."""
    listed = files("memstore.entities").joinpath("common_words.txt").read_text("utf-8")
    return STOP_WORDS | words(listed)


@functools.lru_cache(maxsize=65536)
def is_common(word: str) -> bool:
    """Whether a lower-cased word is frequent English, an inflection of it, or chat noise.

    >>> is_common("running"), is_common("soooo"), is_common("hahaha"), is_common("melanie")
    (True, True, True, False)
    """
    known = common_words()
    if word in known:
        return True
    if len(word) > 40:
        return False
    if "-" in word and word != "-":
        return all(is_common(part) for part in word.split("-") if part)
    for suffix, replacement in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 2:
            stem = word[: -len(suffix)]
            if stem + replacement in known and len(stem + replacement) > 2:
                return True
            if (
                suffix in _DOUBLING
                and len(stem) > 3
                and stem[-1] == stem[-2]
                and stem[:-1] in known
            ):
                return True
    if _STRETCHED.search(word):
        return _STRETCHED.sub(r"\1", word) in known or _STRETCHED.sub(r"\1\1", word) in known
    return _LAUGHTER.fullmatch(word) is not None
