"""Coarse dates: a day, a month or a year as the stretch of time it stands for.

"2026-03-02", "2 March 2026", "March 2026" and "2026" are coarse dates; a date with a time of day is
an instant. Dates such as 3/4/2023 are left alone: which of the numbers is the month, they do not
say. Every repetition is bounded, so the time is linear in the text whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, timedelta, tzinfo
from typing import Literal

from memstore.times import to_microseconds

Precision = Literal["day", "month", "year"]
_WRITTEN_LENGTH: dict[Precision, int] = {"day": 10, "month": 7, "year": 4}

# Of these pieces letters are ASCII alone: under IGNORECASE "ſ" would be an "s".
DAY = r"(?:[12][0-9]|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_MONTH = (
    r"(?:jan(?:uary|\.)?|feb(?:ruary|\.)?|mar(?:ch|\.)?|apr(?:il|\.)?|may|jun(?:e|\.)?|jul(?:y|\.)?"
    r"|aug(?:ust|\.)?|sept?(?:ember|\.)?|oct(?:ober|\.)?|nov(?:ember|\.)?|dec(?:ember|\.)?)"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_GAP = "[\\s\u00a0\u2009\u202f]{1,3}"
_BEFORE_YEAR = f"(?:,?{_GAP}|{_GAP}of{_GAP})"
_ANY_YEAR = "[1-9][0-9]{3}"
_YEAR = "(?:1[5-9]|2[01])[0-9]{2}"  # of a number without a day beside it: "May 5000" counts


def _forms(year: str) -> str:
    """Return the pattern of written dates, the longest first."""
    return (
        f"(?a:(?P<iso_year>{_ANY_YEAR})-(?P<iso_month>[0-9]{{2}})(?:-(?P<iso_day>[0-9]{{2}}))?"
        f"|(?P<day>{DAY}){_GAP}(?:of{_GAP})?(?P<month>{_MONTH}){_BEFORE_YEAR}(?P<year>{_ANY_YEAR})"
        f"|(?P<month_2>{_MONTH}){_GAP}(?:the{_GAP})?(?P<day_2>{DAY}){_BEFORE_YEAR}"
        f"(?P<year_2>{_ANY_YEAR})"
        f"|(?P<month_3>{_MONTH}){_BEFORE_YEAR}(?P<year_3>{year})"
        f"|(?P<year_4>{year}))"
    )


_LEFT = r"(?:(?<![\w$€£¥₹#@/+-])(?<![0-9][.,:])|(?<=[Mm]id-))"
_RIGHT = r"(?![\w%€$£¥]|[-/]\w|[.,:][0-9])"
_WHOLE = re.compile(_forms(_ANY_YEAR), re.IGNORECASE)
_WITHIN = re.compile(f"{_LEFT}{_forms(_YEAR)}{_RIGHT}", re.IGNORECASE)
# What makes a number a year: a word before it, or a date before it ("from 2019 to 2023").
_INTRODUCES = re.compile(
    r"(?<!\w)(?:(?:in|of|since|during|by|before|after|until|till|from|between|through|throughout"
    r"|around|circa|year|early|mid|late|spring|summer|autumn|fall|winter|christmas)\s{1,3}|mid-)\Z",
    re.IGNORECASE,
)
_LONGEST_INTRODUCTION = len("throughout") + 3
_CONTINUES = re.compile(r",?\s{1,3}(?:and|or|to|until|till|through)\s{1,3}", re.IGNORECASE)
# What makes it a number after all.
_COUNTED = re.compile(
    r"\s{1,3}(?:km|kilomet(?:er|re)s?|m|met(?:er|re)s?|cm|mm|miles?|feet|ft|kg|grams?|g|lbs?"
    r"|pounds?|tons?|units?|items?|pieces?|people|persons?|users?|members?|times|steps|points"
    r"|pages|words|lines|rows|dollars?|euros?|usd|eur|gbp|percent|calories|kcal|watts?|kwh|mb|gb"
    r"|seconds?|minutes?|hours?|days|weeks|months|years)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Period:
    """A coarse date: the half-open interval [start, end) of UTC microseconds.

    `canonical` is the date as ISO 8601 writes it in the zone it was read in: "2026", "2026-03" or
    "2026-03-02".
    """

    start: int
    end: int
    precision: Precision
    canonical: str


@dataclass(frozen=True, slots=True)
class FoundPeriod:
    """A coarse date in a text, written as `text[start_char:end_char]`."""

    start_char: int
    end_char: int
    period: Period


def parse_period(written: str, *, timezone: tzinfo = UTC) -> Period | None:
    """Return the period that a string as a whole names; None if it is no coarse date.

    Args:
        timezone: whose midnights bound the period.

    >>> parse_period("2 March 2026") == parse_period("2026-03-02")
    True
    >>> parse_period("Mar 2026").canonical, parse_period("2026-02-30"), parse_period("yesterday")
    ('2026-03', None, None)
    """
    match = _WHOLE.fullmatch(written.strip())
    return None if match is None else _period(match, timezone)


def find_periods(text: str, *, timezone: tzinfo = UTC) -> list[FoundPeriod]:
    """Return the coarse dates that a text names, in order, none overlapping another.

    A number alone is a year where the words around it say so: "in 2023", "from 2019 to 2023", but
    not "room 2023" or "of 2023 people".

    Args:
        timezone: whose midnights bound the periods.

    >>> [found.period.canonical for found in find_periods("After 8 May 2023, or in june 2024?")]
    ['2023-05-08', '2024-06']
    """
    return list(_found(text, timezone))


def _found(text: str, timezone: tzinfo) -> Iterator[FoundPeriod]:
    last_end = -1
    for match in _WITHIN.finditer(text):
        start, end = match.span()
        if match["year_4"] is not None:
            introduced = _INTRODUCES.search(text, max(0, start - _LONGEST_INTRODUCTION), start)
            continued = last_end >= 0 and _CONTINUES.fullmatch(text, last_end, start)
            if not (introduced or continued) or _COUNTED.match(text, end):
                continue
        period = _period(match, timezone)
        if period is not None:
            last_end = end
            yield FoundPeriod(start, end, period)


def _period(match: re.Match[str], timezone: tzinfo) -> Period | None:
    """Return what a match names; None if the calendar has no such date."""
    groups = match.groupdict()

    def first(*names: str) -> str | None:
        return next((groups[name] for name in names if groups[name] is not None), None)

    year = int(first("iso_year", "year", "year_2", "year_3", "year_4") or 0)
    name = first("month", "month_2", "month_3")
    month = first("iso_month") if name is None else str(_MONTHS.index(name[:3].lower()) + 1)
    day = first("iso_day", "day", "day_2")
    try:
        begins = date(year, int(month or 1), int((day or "1").lower().rstrip("sthndr")))
    except ValueError:
        return None
    precision: Precision = "year" if month is None else "month" if day is None else "day"
    if precision == "day":
        past = None if begins == date.max else begins + timedelta(days=1)
    elif precision == "month" and begins.month < 12:
        past = date(year, begins.month + 1, 1)
    else:
        past = None if year == MAXYEAR else date(year + 1, 1, 1)
    start, end = _midnight(begins, timezone), _midnight(past, timezone)
    if start == end:
        return None  # a day that the zone left out: Samoa had no 30 December 2011
    return Period(start, end, precision, begins.isoformat()[: _WRITTEN_LENGTH[precision]])


def _midnight(day: date | None, timezone: tzinfo) -> int:
    """Return when a day begins; of the day after the last there is, the last microsecond."""
    if day is None:
        return to_microseconds(datetime.max.replace(tzinfo=UTC), name="date")
    return to_microseconds(datetime(day.year, day.month, day.day, tzinfo=timezone), name="date")
