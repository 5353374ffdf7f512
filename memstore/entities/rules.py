"""Names by capital letters, with the ordinary words at sentence starts taken out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from memstore.entities import Mention, patterns
from memstore.entities.words import STOP_WORDS, is_common, words

_CAPITALISED = re.compile(
    rf"(?<![\w@#_])(?:(?:[{patterns.UPPER}]\.){{2,8}}(?!\w)"
    rf"|[{patterns.UPPER}]\w*+(?:['’&-]\w++)*+)"
)
_Word = tuple[int, int, str]  # start, end, lower-cased

_MAX_WORD_LENGTH = 60
_MAX_NAME_WORDS = 8
_CLITICS = words("s m d ll re ve t")
# What may stand between two capitalised words of one name.
_JOINERS = frozenset(
    f" {joiner} "
    for joiner in (
        *("of", "of the", "the", "de", "de la", "de las", "de los", "del", "della", "di", "da"),
        *("dos", "du", "des", "la", "le", "el", "al", "bin", "ibn", "van", "van de", "van den"),
        *("van der", "von", "von der", "zu", "zum", "ter", "ten"),
    )
) | {" "}
_FORMS_OF_ADDRESS = words("mr mrs ms mx dr prof rev fr sr sra gen col capt lt sgt sen gov")
_SAINTS = frozenset(("st", "mt", "ft"))  # part of the name, unlike "Dr."
# Ordinary words that are well-known names as well: kept where no sentence begins.
_NAMES_TOO = words(
    "will mark bill rose grace hope faith joy dawn summer frank jack rob drew chase hunter grant "
    "max art gene ray pat sue dale dean wade lance miles guy penny ginger ruby amber jade pearl "
    "olive violet iris lily daisy ivy hazel robin heather holly sandy rusty buddy rocky star angel "
    "christian baker smith cook carter mason taylor parker fisher carpenter page rich young brown "
    "green black white king prince bush rice ford apple target visa gap shell oracle signal meta "
    "discord slack zoom notion rust swift spark turkey china jordan chad"
)
# Ordinary words that open many names: kept at a sentence start when another name word follows.
_NAME_OPENERS = words(
    "new north south east west northern southern eastern western central upper lower great grand "
    "big little old san santa saint st mount lake cape fort port royal national international "
    "united american european black white red blue green golden silver gold iron star super "
    "general prime prince princess king queen lord lady sir dr mr mrs ms uncle aunt university "
    "bank museum city mission dark final game harry"
)
# Words inside a title-cased name; any other stop word ends the name.
_INNER = words("of the and for in on at a an de la")
_CALENDAR = words(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may "
    "june july august september october november december mon tue tues wed thu thurs fri sat sun "
    "jan feb mar apr jun jul aug sep sept oct nov dec am pm"
)
_ENDS_NAME = (STOP_WORDS - _INNER - {"will"}) | _FORMS_OF_ADDRESS
_NOT_AT_EDGES = (STOP_WORDS - {"will"}) | _CALENDAR
# A capital after one of these says nothing about names.
_OPENING_MARKS = frozenset('.!?…:;"“„‘«*•>|–—~([{\n\r\u2028\u2029。！？')
# After these no sentence begins; after the second kind only with a space ("- Buy", not "co-Op").
_NOT_BEFORE_SENTENCE = frozenset(",&')]}’%、")
_INSIDE_WORDS = frozenset("/-+$€£¥@#_\\=")


class Rules:
    """Capitalised spans and patterns; no model, no state, linear time."""

    name = "rules"

    def extract(self, text: str, *, common_words: AbstractSet[str] = frozenset()) -> list[Mention]:
        """Mentions in order of appearance, none overlapping another.

        Args:
            common_words: lower-case words that are known not to be names, such as those a store
                has seen in lower case; they are not taken for names at a sentence start.

        >>> [mention.text for mention in Rules().extract("Did Ana move to New York in May 2023?")]
        ['Ana', 'New York', 'May 2023']
        """
        spans: list[tuple[int, int, str | None]] = list(patterns.find(text))
        labelled = bool(spans)
        spans.extend((start, end, None) for start, end in _names(text, common_words))
        if labelled:
            spans = without_overlaps(spans, len(text))
        return [Mention(start, end, text[start:end], label) for start, end, label in spans]


def without_overlaps(
    spans: Iterable[tuple[int, int, str | None]], length: int
) -> list[tuple[int, int, str | None]]:
    """The longer of any two overlapping spans, in order; of equal ones, the labelled."""
    taken = bytearray(length)
    kept = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span[2] is None, span[0])):
        start, end, _ = span
        if taken.find(1, start, end) < 0:
            taken[start:end] = b"\x01" * (end - start)
            kept.append(span)
    return sorted(kept, key=lambda span: span[0])


def _names(text: str, common: AbstractSet[str]) -> Iterator[tuple[int, int]]:
    """Spans of capitalised words that are names, as far as case and word lists tell."""
    for run, titled in _runs(text):
        first, last = 0, len(run)
        if not titled:
            first = _after_ordinary(run, common) if _opens_sentence(text, run[0][0]) else 0
        while first < last and run[first][2] in _NOT_AT_EDGES:
            first += 1
        while first < last and run[last - 1][2] in _NOT_AT_EDGES:
            last -= 1
        if first == last or last - first > _MAX_NAME_WORDS:
            continue  # nothing, or a headline
        start, end, word = run[first][0], run[last - 1][1], run[first][2]
        if end - start == 1:
            continue
        if last - first == 1 and not titled and is_common(word) and word not in _NAMES_TOO:
            continue  # "my Dad", "the President", "Click Save"
        if text[start:end].isupper():
            yield from _shouted(run[first:last], common)
        else:
            yield start, end


def _runs(text: str) -> Iterator[tuple[list[_Word], bool]]:
    """Capitalised words that may be one name, and whether a form of address precedes them."""
    run: list[_Word] = []
    titled = False
    for match in _CAPITALISED.finditer(text):
        start, end = match.span()
        if end - start > _MAX_WORD_LENGTH:
            continue
        word = match.group().replace("’", "'")
        head, apostrophe, tail = word.rpartition("'")
        clitic = bool(apostrophe) and tail.lower() in _CLITICS
        if clitic:
            word, end = head, start + len(head)
        lower = word.lower()
        if word == "US" and not text[max(0, start - 4) : start - 1].isupper():
            lower = "u.s."  # the country, unless all is in capitals: "LET US GO"
        if run and not _joined(text[run[-1][1] : start], run[-1][2]):
            yield run, titled
            run, titled = [], False
        if lower in _ENDS_NAME:
            if run:
                yield run, titled
            run, titled = [], lower in _FORMS_OF_ADDRESS
            continue
        run.append((start, end, lower))
        if clitic:
            yield run, titled
            run, titled = [], False
    if run:
        yield run, titled


def _joined(gap: str, before: str) -> bool:
    """Whether the words on both sides of a gap are of one name."""
    return gap in _JOINERS or (gap == ". " and (len(before) == 1 or before in _SAINTS))


def _after_ordinary(run: list[_Word], common: AbstractSet[str]) -> int:
    """How many words of a run at a sentence start are ordinary words rather than the name."""
    for i, (_, _, word) in enumerate(run):
        following = run[i + 1][2] if i + 1 < len(run) else None
        if is_common(word):
            if following and word in _NAME_OPENERS and not is_common(following):
                return i  # "New York"
        elif word not in common or (following and (following in common or is_common(following))):
            # Written in lower case elsewhere, a name is so as a whole: "eiffel tower".
            return i
    return len(run)


def _shouted(run: list[_Word], common: AbstractSet[str]) -> Iterator[tuple[int, int]]:
    """Names among words in capitals throughout, where case says nothing: the uncommon words."""
    names: list[list[_Word]] = [[]]
    for word in run:
        if word[2] in common or is_common(word[2]) or word[2] in _CALENDAR:
            names.append([])
        else:
            names[-1].append(word)
    for name in names:
        if 0 < len(name) <= 3 and name[-1][1] - name[0][0] > 1:
            yield name[0][0], name[-1][1]


def _opens_sentence(text: str, position: int) -> bool:
    """Whether a capital is due at this position anyway."""
    for i in range(position - 1, max(-1, position - 12), -1):
        mark = text[i]
        if mark in _OPENING_MARKS:
            return True
        if mark == ")" and text[i - 1 : i].isdigit():
            return True  # "1) Buy"
        if mark.isalnum() or mark in _NOT_BEFORE_SENTENCE:
            return False
        if not mark.isspace():  # an emoji or another symbol
            return mark not in _INSIDE_WORDS or text[i + 1].isspace()
    return position < 12 or text[position - 11 : position].isspace()
