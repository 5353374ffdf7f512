"""One form per name: what makes "Dr. Müller's" and "dr. müller" the same entity."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from memstore.entities.words import STOP_WORDS

MAX_NGRAM_WORDS = 4
# A query is a question, not a document: beyond this, look-ups would cost more than they find.
_MAX_QUERY_WORDS = 256
_MAX_QUERY_CHARACTERS = 4_000
_MAX_UNSPACED_TEXT = 256
_MAX_UNSPACED_CHARACTERS = 8

_APOSTROPHES = str.maketrans("’‘ʼ＇", "''''")
_PIECES = re.compile(r"[-/–—|]")
# Chinese, Japanese, Thai, Lao, Khmer and Burmese put no spaces between words.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{2,}")
_LOWERCASE_WORD = re.compile(r"(?<![\w@#/\\.'’-])[^\W\d_]{2,40}(?![\w@/\\]|[.'’-]\w)")


def canonical(name: str) -> str:
    """The form under which a name is stored and looked up; empty if nothing of it remains.

    NFKC, case-folded, whitespace collapsed, outer punctuation and a possessive ending removed.

    >>> canonical("  Ángela’s ")
    'ángela'
    >>> canonical("@DrSmith!"), canonical("C#"), canonical("?!")
    ('drsmith', 'c#', '')
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    words = folded.translate(_APOSTROPHES).split()
    return _bare(" ".join(words))


def _bare(name: str) -> str:
    """The name without outer punctuation and possessive endings."""
    start, end = 0, len(name)
    while start < end and _is_outer(name[start]):
        start += 1
    while end > start:
        if name.endswith("'s", start, end):
            end -= 2
        # The mark is part of the name in "C#" and "F#".
        elif _is_outer(name[end - 1]) and not (
            name[end - 1] == "#" and end - 1 > start and name[end - 2].isalnum()
        ):
            end -= 1
        else:
            break
    return name[start:end]


def _is_outer(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] == "P"


def query_ngrams(text: str) -> list[str]:
    """The canonical 1- to 4-word sequences of a query, longest first, each once.

    They are for looking up in a store's own entities, which finds names in lower-cased queries
    too. Sequences of stop words alone are left out. Of a long text, the first 256 words or
    4,000 characters are read. Scripts without spaces give substrings of 2 to 8 characters.

    >>> query_ngrams("When did melanie's sister visit?")[:2]
    ["when did melanie's sister", "did melanie's sister visit"]
    >>> query_ngrams("where is Łódź")
    ['where is łódź', 'is łódź', 'łódź']
    """
    words = text[:_MAX_QUERY_CHARACTERS].split()[:_MAX_QUERY_WORDS]
    forms = [canonical(word) for word in words]
    stops = [not form or form in STOP_WORDS for form in forms]
    found: dict[str, None] = {}
    for length in range(min(MAX_NGRAM_WORDS, len(words)), 0, -1):
        for first in range(len(words) - length + 1):
            if not all(stops[first : first + length]):
                found[canonical(" ".join(words[first : first + length]))] = None
    for form in forms:
        for piece in _PIECES.split(form):
            if piece and piece not in STOP_WORDS:
                found[canonical(piece)] = None
    for run in _UNSPACED.findall(" ".join(forms)[:_MAX_UNSPACED_TEXT]):
        for length in range(min(_MAX_UNSPACED_CHARACTERS, len(run)), 1, -1):
            for first in range(len(run) - length + 1):
                found[run[first : first + length]] = None
    found.pop("", None)
    return list(found)


def longest_names(text: str, known: AbstractSet[str]) -> list[str]:
    """The known names that a query holds, from left to right, at each place the longest.

    Args:
        known: those of the query's n-grams that are names.

    >>> longest_names("Did the New York office call York?", {"new york", "york", "office"})
    ['new york', 'office', 'york']
    """
    words = text[:_MAX_QUERY_CHARACTERS].split()[:_MAX_QUERY_WORDS]
    found: dict[str, None] = {}
    first = 0
    while first < len(words):
        for length in range(min(MAX_NGRAM_WORDS, len(words) - first), 0, -1):
            name = canonical(" ".join(words[first : first + length]))
            if name in known:
                found[name] = None
                first += length
                break
        else:
            found |= dict.fromkeys(_within_word(canonical(words[first]), known))
            first += 1
    return list(found)


def _within_word(word: str, known: AbstractSet[str]) -> Iterator[str]:
    """Known names that are parts of a word: "oslo/bergen", or any of a script without spaces."""
    yield from (name for piece in _PIECES.split(word) if (name := canonical(piece)) in known)
    for run in _UNSPACED.findall(word):
        first = 0
        while first < len(run):
            for length in range(_MAX_UNSPACED_CHARACTERS, 1, -1):
                if run[first : first + length] in known:
                    yield run[first : first + length]
                    first += length - 1
                    break
            first += 1


def lowercase_words(text: str) -> set[str]:
    """The words that a text writes in lower case: evidence that they are words, not names.

    Parts of addresses, handles, tags, paths and hyphenated words are no such evidence.

    >>> sorted(lowercase_words("Thanks for the hike, mail bob@example.com"))
    ['for', 'hike', 'mail', 'the']
    """
    return {word for word in _LOWERCASE_WORD.findall(text) if word.islower()}
