"""Texts as times: what is accepted is an instant or a period that its own ISO form names again."""

from __future__ import annotations

import contextlib
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from memstore.errors import BadInput
from memstore.periods import Period, find_periods, parse_period
from memstore.scoring.intent import read_intent
from memstore.scoring.profiles import PROFILES
from memstore.store.drafts import check_occurrence
from memstore.times import from_microseconds, iso, to_microseconds, zone

MUTATIONS = 2500
TOKENS = (
    *(b"2026-03-02", b"T09:00:00", b"Z", b"+14:00", b"-23:59:59.999999", b"9999", b"0001", b"W53"),
    *(
        b"March ",
        b"2 ",
        b"1st of ",
        b" 2026",
        b"before ",
        b"since ",
        b" to ",
        b"last week",
        b"unknown",
    ),
    *(b"Europe/Lisbon", b"UTC", b"../", b"\xc2\xa0", b"\xd9\xa3"),
)
_ZONES = (UTC, timezone(timedelta(hours=-12)), ZoneInfo("Pacific/Apia"), ZoneInfo("Europe/Lisbon"))
_NOW = to_microseconds("2026-03-02T00:00:00Z", name="now")


def check(data: bytes) -> None:
    place = _ZONES[data[0] % len(_ZONES)] if data else UTC
    text = data[1:].decode(errors="surrogateescape")
    for offset in (None, place):
        try:
            moment = to_microseconds(text, name="time", timezone=offset)
        except BadInput:
            continue
        assert to_microseconds(iso(from_microseconds(moment)), name="time") == moment
    period = parse_period(text, timezone=place)
    if period is not None:
        _check_period(period, place)
    for found in find_periods(text, timezone=place):
        _check_period(found.period, place)
        assert parse_period(text[found.start_char : found.end_char], timezone=place) == found.period
    try:
        occurrence = check_occurrence(text, place)
    except BadInput:
        assert period is None
    else:
        assert occurrence.end is None or occurrence.start < occurrence.end
        assert period is None or (occurrence.start, occurrence.end) == (period.start, period.end)
    with contextlib.suppress(BadInput):
        zone(text)
    for temporal in ("auto", "historical"):
        intent = read_intent(text, temporal=temporal, profile=PROFILES["balanced"], moment=_NOW)
        assert intent.suggested_as_of is None or intent.suggested_as_of < _NOW


def _check_period(period: Period, place: tzinfo) -> None:
    assert period.start < period.end
    assert parse_period(period.canonical, timezone=place) == period
    for moment in (period.start, period.end):
        assert to_microseconds(iso(from_microseconds(moment)), name="time") == moment
