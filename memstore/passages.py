"""Documents into passages: whole sentences packed up to an encoder's length, with exact offsets.

A passage is a slice of the text, so a hit can quote its source and be found in it again. The rules
are light on purpose (no model, no language detection): a missed sentence end costs a slightly
longer sentence, never a lost character.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from memstore.errors import BadInput


@dataclass(frozen=True, slots=True)
class Span:
    """A passage: `text[start:end]`, and how many of the encoder's tokens it holds."""

    start: int
    end: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, or a piece of one that was too long: what passages are packed from.

    It reaches from `start` to the next unit's start and holds the tokens from `first_token` on.
    """

    start: int
    first_token: int
    opens_paragraph: bool
    whole: bool


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Possessive quantifiers and the lookbehind keep every scan linear: a run of a million dots is
# read once, not once per dot.
_CLOSERS = r"[\"'”’»›)\]}」』】）*_]*+"
_SENTENCE_END = re.compile(
    rf"(?<![.!?…؟۔।])[.!?…؟۔।]++{_CLOSERS}\s++"
    rf"|[。！？｡]++{_CLOSERS}\s*+"
    r"|[\n\r\u2028\u2029]\s*+"
)
_LINE_BREAKS = "\n\r\u2028\u2029"
_WORD_BEFORE = re.compile(r"[^\s(\[{\"'“‘]{1,12}\Z")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]", re.UNICODE)
_ABBREVIATIONS = _words(
    "mr mrs ms mx dr prof rev fr hon st mt ft gen col maj capt lt sgt sen rep gov pres jr sr esq "
    "vs etc al cf ca approx dept est fig figs no nos vol vols ed eds pp p ch sec eq inc ltd co "
    "corp bros llc jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri "
    "sat sun e.g i.e a.m p.m u.s u.k u.n d.c ph.d m.d b.a m.a b.c a.d"
)
_CLAUSE_ENDS = ",;:—–)]，、；：،؛"
_ZERO_WIDTH_JOINER = "\u200d"


def split(
    text: str,
    token_spans: Sequence[tuple[int, int]],
    *,
    max_tokens: int,
    overlap_tokens: int,
) -> list[Span]:
    """Cut a text into passages of at most `max_tokens` tokens, at sentence ends where possible.

    Passages are in order, slice the text exactly, carry no outer whitespace and together cover
    every character that is not whitespace. Each passage after the first repeats whole sentences
    from the end of the one before it, up to `overlap_tokens`. Blank lines are preferred breaks.
    A sentence longer than a passage is cut after a clause, else at whitespace, else between
    tokens. A text that fits, or has no tokens, is one passage.

    Args:
        token_spans: character span of each token of the text as the encoder reads it, starts and
            ends never decreasing. Several tokens may share one character.

    Only a single character made of more than `max_tokens` tokens makes a passage exceed the limit.
    Tokens of whitespace alone are counted with the word after them, even where a passage begins
    at that word.

    Raises:
        BadInput: `max_tokens` is below 1, or `overlap_tokens` is not from 0 to `max_tokens` - 1.

    >>> text = "One two. Three four."
    >>> spans = split(text, [(0, 3), (4, 8), (9, 14), (15, 20)], max_tokens=2, overlap_tokens=0)
    >>> [text[span.start : span.end] for span in spans]
    ['One two.', 'Three four.']
    """
    if max_tokens < 1:
        raise BadInput(f"max_tokens is {max_tokens}. Use 1 or more.")
    if not 0 <= overlap_tokens < max_tokens:
        raise BadInput(
            f"overlap_tokens is {overlap_tokens}, with max_tokens {max_tokens}. "
            f"Use 0 to {max_tokens - 1}."
        )
    if not text.strip():
        return [Span(0, len(text), len(token_spans))]
    body_start, body_end = _trimmed(text, 0, len(text))
    if len(token_spans) <= max_tokens:
        return [Span(body_start, body_end, len(token_spans))]
    starts = _token_starts(text, token_spans, last=body_end - 1)
    ends = [end for _, end in token_spans]
    units = _units(text, starts, ends, body_start, body_end, max_tokens)
    return _pack(text, units, body_end, len(starts), max_tokens, overlap_tokens)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without its outer whitespace."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _token_starts(text: str, token_spans: Sequence[tuple[int, int]], *, last: int) -> list[int]:
    """Where each token's visible part begins.

    Byte-level tokenizers count the space before a word as part of its token, and make tokens of
    whitespace alone; those are counted with the word that follows, so that passages can begin at
    visible characters.
    """
    starts = [start for start, _ in token_spans]
    following = last
    for i in range(len(starts) - 1, -1, -1):
        start = starts[i]
        if start >= last:
            starts[i] = start = last
        elif text[start].isspace():
            end = token_spans[i][1]
            while start < end and text[start].isspace():
                start += 1
            starts[i] = start = following if start >= end else start
        following = start
    return starts


def _units(
    text: str,
    starts: list[int],
    ends: list[int],
    body_start: int,
    body_end: int,
    max_tokens: int,
) -> list[_Unit]:
    """Sentences in order, those above the limit in pieces; every unit holds at least one token."""
    units: list[_Unit] = []
    sentence = _Unit(body_start, 0, opens_paragraph=False, whole=True)
    for boundary, opens_paragraph in [*_sentence_starts(text, body_end), (body_end, False)]:
        at_end = boundary == body_end
        token = len(starts) if at_end else bisect_left(starts, boundary)
        splits_a_token = not at_end and token > 0 and ends[token - 1] > boundary
        if boundary <= body_start or splits_a_token:
            continue
        if token == sentence.first_token:  # no token of its own: it joins a neighbour
            if at_end:
                break
            continue
        if token - sentence.first_token > max_tokens:
            units.extend(_pieces(text, sentence, token, starts, ends, max_tokens))
        else:
            units.append(sentence)
        sentence = _Unit(boundary, token, opens_paragraph, whole=True)
    return units


def _sentence_starts(text: str, body_end: int) -> list[tuple[int, bool]]:
    """Where sentences begin after the first, and whether a blank line precedes each."""
    found = []
    for match in _SENTENCE_END.finditer(text, 0, body_end):
        ending = match.group()
        breaks_line = any(mark in ending for mark in _LINE_BREAKS)
        if not breaks_line and ending[0] == "." and _continues(text, match.start(), ending):
            continue
        opens_paragraph = breaks_line and (
            ending.count("\n") > 1 or ending.count("\r") > 1 or "\u2029" in ending
        )
        found.append((match.end(), opens_paragraph))
    return found


def _continues(text: str, dot: int, ending: str) -> bool:
    """Whether the full stop belongs to an abbreviation, initials or a list number."""
    if ending.rstrip() != ".":
        return False
    match = _WORD_BEFORE.search(text, max(0, dot - 12), dot)
    if match is None:
        return False
    word = match.group()
    if word.casefold() in _ABBREVIATIONS:
        return True
    if word.isdecimal():  # "1. First item", but not "It was in 1999. Then ..."
        line_start = match.start() == 0 or text[match.start() - 1] in _LINE_BREAKS
        return line_start and len(word) <= 3
    # "J. Smith", "U.S. law"; the pronoun in "So am I. Then" ends its sentence.
    return word != "I" and _INITIALS.fullmatch(word) is not None


def _pieces(
    text: str, sentence: _Unit, stop: int, starts: list[int], ends: list[int], max_tokens: int
) -> list[_Unit]:
    """A sentence that is too long, cut near the limit at the best place there is."""
    pieces = []
    first, start, opens_paragraph = sentence.first_token, sentence.start, sentence.opens_paragraph
    while True:
        pieces.append(_Unit(start, first, opens_paragraph, whole=False))
        if stop - first <= max_tokens:
            return pieces
        cut = _cut(text, first, stop, starts, ends, max_tokens)
        if cut == stop:
            return pieces
        first, start, opens_paragraph = cut, starts[cut], False


def _cut(
    text: str, first: int, stop: int, starts: list[int], ends: list[int], max_tokens: int
) -> int:
    """The token before which to cut: after a clause, at whitespace, or between any two tokens."""
    limit = first + max_tokens
    space = between = inside_cluster = 0
    for i in range(limit, first, -1):
        if ends[i - 1] > starts[i] or starts[i] == starts[i - 1]:
            continue  # the two tokens share a character
        position = starts[i]
        if text[position - 1].isspace():
            # A clause end is worth a shorter passage, but not a half-empty one.
            if i - first > max_tokens // 2 and text[position - 2] in _CLAUSE_ENDS:
                return i
            space = space or i
        elif not between:
            if _joins_cluster(text, position):
                inside_cluster = inside_cluster or i
            else:
                between = i
        if space and i - first <= max_tokens // 2:
            break
    if space or between or inside_cluster:
        return space or between or inside_cluster
    for i in range(limit + 1, stop):
        if ends[i - 1] <= starts[i] and starts[i] > starts[i - 1]:
            return i
    return stop


def _joins_cluster(text: str, position: int) -> bool:
    """Whether a cut here would part a base character from its marks, or a joined emoji."""
    following, before = text[position], text[position - 1]
    return (
        following == _ZERO_WIDTH_JOINER
        or before == _ZERO_WIDTH_JOINER
        or unicodedata.category(following).startswith("M")
        or "\U0001f3fb" <= following <= "\U0001f3ff"
    )


def _pack(
    text: str,
    units: list[_Unit],
    body_end: int,
    token_count: int,
    max_tokens: int,
    overlap_tokens: int,
) -> list[Span]:
    """Passages of consecutive units, as many in each as fit."""
    unit_starts = [*(unit.start for unit in units), body_end]
    first_tokens = [*(unit.first_token for unit in units), token_count]
    spans = []
    first = fresh = 0  # first unit of the passage; first unit that no passage holds yet
    while True:
        stop = fresh + 1
        paragraph = 0
        while stop < len(units) and first_tokens[stop + 1] - first_tokens[first] <= max_tokens:
            if (
                units[stop].opens_paragraph
                and (first_tokens[stop] - first_tokens[first]) * 2 >= max_tokens
            ):
                paragraph = stop
            stop += 1
        if stop < len(units) and paragraph and not units[stop].opens_paragraph:
            stop = paragraph
        start, end = _trimmed(text, unit_starts[first], unit_starts[stop])
        spans.append(Span(start, end, first_tokens[stop] - first_tokens[first]))
        if stop == len(units):
            return spans
        fresh = stop
        # Repeat what fits beside the next unit, and never the whole of the passage before.
        room = min(overlap_tokens, max_tokens - (first_tokens[stop + 1] - first_tokens[stop]))
        overlap = stop
        while (
            overlap - 1 > first
            and units[overlap - 1].whole
            and first_tokens[stop] - first_tokens[overlap - 1] <= room
        ):
            overlap -= 1
        first = overlap
