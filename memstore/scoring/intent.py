"""Whether a question asks for the present or the past, and what currency then weighs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from memstore.errors import BadInput
from memstore.periods import Period, find_periods
from memstore.scoring.cues import Cue, Kind, find_cues
from memstore.scoring.profiles import Profile
from memstore.types import Temporal

CURRENT_WEIGHT = 1.0  # nats, at least, of currency where the present is asked for


@dataclass(frozen=True, slots=True)
class Intent:
    """What a question says of time.

    Args:
        currency: effective weight of currency, in nats.
        cue: the words that said so, as they stand in the text; `temporal='current'` where the
            caller did; None where nobody did.
        suggested_as_of: UTC microseconds; the instant that a date in the question points to, for
            the caller to ask as of. Never applied here.
    """

    currency: float
    kind: Kind | None = None
    cue: str | None = None
    suggested_as_of: int | None = None


@dataclass(frozen=True, slots=True)
class _Dated:
    """A preposition and its date: `text[start:end]`. `closed` where it says until when."""

    start: int
    end: int
    closed: bool
    as_of: int | None


def read_intent(text: str, *, temporal: Temporal, profile: Profile, moment: int) -> Intent:
    """Return what a question says of time.

    Words for the present raise the weight of currency to at least 1 nat; words for the past, and
    dates that have passed, set it to 0. Of a question with both, a date that says until when ("the
    latest we knew in 2023") decides; "after" a date gives way to a word for the present; and words
    of both kinds leave the profile's weight, which lies between.

    Args:
        temporal: "auto" reads the words; "current" and "historical" say it in their stead; "none"
            reads nothing.
        profile: of cap 0, nothing is read either: no weight would count.
        moment: UTC microseconds; which dates have passed.

    Raises:
        BadInput: temporal is none of the four.
    """
    if temporal not in get_args(Temporal):
        known = ", ".join(get_args(Temporal))
        raise BadInput(f"temporal is {temporal!r}. Known: {known}.")
    if profile.cap == 0.0 or temporal == "none":
        return Intent(profile.currency)
    if temporal == "current":
        return _current(profile, "temporal='current'")
    dated = _dated(text, moment)
    if temporal == "historical":
        suggested = None if dated is None else dated.as_of
        return Intent(0.0, "historical", "temporal='historical'", suggested)
    cues = find_cues(text)
    kinds = {cue.kind for cue in cues}
    if dated is not None and (dated.closed or "current" not in kinds):
        return Intent(0.0, "historical", text[dated.start : dated.end], dated.as_of)
    if dated is None and len(kinds) == 2:
        return Intent(profile.currency)
    if "current" in kinds:
        return _current(profile, _words(text, cues, "current"))
    if "historical" in kinds:
        return Intent(0.0, "historical", _words(text, cues, "historical"))
    return Intent(profile.currency)


def _current(profile: Profile, cue: str) -> Intent:
    return Intent(max(profile.currency, CURRENT_WEIGHT), "current", cue)


def _words(text: str, cues: list[Cue], kind: Kind) -> str:
    cue = next(cue for cue in cues if cue.kind == kind)
    return text[cue.start : cue.end]


# up to the date's first character; the words between are "the end of", "early", "Monday"
_LEAD = re.compile(
    r"(?<![\w'’-])(?P<lead>back\s+in|in|on|during|throughout|as\s+of|as\s+at|by|before|prior\s+to"
    r"|earlier\s+than|until|till|up\s+to|after|later\s+than|at\s+the)"
    r"(?:[\s-]{1,3}(?:the|of|early|late|mid|year|month|beginning|start|middle|end|spring|summer"
    r"|autumn|fall|winter|(?:mon|tues|wednes|thurs|fri|satur|sun)day,?)\b,?){0,4}[\s-]{1,3}\Z",
    re.IGNORECASE,
)
_LONGEST_LEAD = 64
_ENDS_BEFORE = {"before", "prior to", "earlier than", "until", "till", "up to"}
_BEGINS_AFTER = {"after", "later than"}


def _dated(text: str, moment: int) -> _Dated | None:
    """Return the first date that an instant can be suggested for, else the first of any."""
    read = []
    for found in find_periods(text):
        lead = _LEAD.search(text, max(0, found.start_char - _LONGEST_LEAD), found.start_char)
        if lead is not None:
            preposition = " ".join(lead["lead"].lower().split())
            dated = _passed(preposition, found.period, moment)
            if dated is not None:
                read.append(_Dated(lead.start(), found.end_char, *dated))
    return next((one for one in read if one.as_of is not None), read[0] if read else None)


def _passed(preposition: str, period: Period, moment: int) -> tuple[bool, int | None] | None:
    """Return whether it says until when, and the instant; None where it lies ahead.

    "Before" a day is up to the microsecond before it, "in" or "by" a year up to its last.
    """
    if preposition in _ENDS_BEFORE:
        return (True, period.start - 1) if period.start <= moment else None
    if period.end > moment:
        return None
    return (False, None) if preposition in _BEGINS_AFTER else (True, period.end - 1)
