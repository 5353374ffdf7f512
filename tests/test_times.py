"""Instants go in with an offset, are exact to the microsecond, and come out in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import available_timezones

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from memstore.errors import BadInput
from memstore.times import from_microseconds, iso, to_microseconds, zone

needs_zones = pytest.mark.skipif(
    "Europe/Lisbon" not in available_timezones(), reason="this system has no zone database"
)

FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999

instants = st.integers(FIRST, LAST)
minutes = st.integers(-(24 * 60 - 1), 24 * 60 - 1)
offsets = minutes.map(lambda number: timezone(timedelta(minutes=number)))


def at(value, **more):
    return to_microseconds(value, name="occurred_at", **more)


@given(instant=instants)
def test_microseconds_survive_the_way_out_and_back(instant):
    moment = from_microseconds(instant)
    assert moment.tzinfo is UTC
    assert at(moment) == instant
    assert at(iso(moment)) == instant


@given(instant=instants, offset=offsets)
def test_the_same_instant_is_the_same_in_every_zone(instant, offset):
    try:
        moment = from_microseconds(instant).astimezone(offset)
    except OverflowError:
        assume(False)
    assert at(moment) == at(moment.isoformat()) == instant
    assert iso(moment) == iso(from_microseconds(instant))


@given(first=instants, second=instants)
def test_written_times_of_four_digit_years_sort_as_the_instants_do(first, second):
    earlier, later = sorted([first, second])
    plain = [iso(from_microseconds(moment))[:19] for moment in (earlier, later)]
    assert plain == sorted(plain)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T14:30:00-09:30", 0),
        ("1970-01-01 00:00:00.000001+00:00", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("  2026-03-02T09:00:00Z\n", 1_772_442_000_000_000),
        ("20260302T090000Z", 1_772_442_000_000_000),
        ("2026-03-02T09:00:00+00:00:01", 1_772_441_999_000_000),
        ("0001-01-01T00:00:00Z", FIRST),
        ("9999-12-31T23:59:59.999999Z", LAST),
        ("9999-12-31T23:59:59.999999+23:59", LAST - 86_340_000_000),
    ],
)
def test_iso_8601_with_an_offset_is_read(written, expected):
    assert at(written) == expected


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ],
)
def test_what_lies_outside_the_years_1_to_9999_in_utc_is_refused(value):
    with pytest.raises(BadInput, match="outside the years 1 to 9999"):
        at(value)


class Nowhere(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, moment):
        return None

    def dst(self, moment):
        return None

    def tzname(self, moment):
        return "nowhere"


@pytest.mark.parametrize(
    "naive",
    [
        "2026-03-02T09:00:00",
        "2026-03-02",
        datetime(2026, 3, 2, 9),
        datetime(2026, 3, 2, 9, tzinfo=Nowhere()),
    ],
)
def test_a_time_without_an_offset_is_refused_with_its_value_and_the_fix(naive):
    with pytest.raises(BadInput, match=r"occurred_at is '2026-03-02.*has no UTC offset.*Z or"):
        at(naive)
    assert at(naive, timezone=UTC) in (at("2026-03-02T09:00:00Z"), at("2026-03-02T00:00:00Z"))


@needs_zones
def test_a_given_zone_is_for_times_without_an_offset_alone():
    tokyo = zone("Asia/Tokyo")
    assert at("2026-03-02T09:00:00", timezone=tokyo) == at("2026-03-02T00:00:00Z")
    assert at("2026-03-02T09:00:00Z", timezone=tokyo) == at("2026-03-02T09:00:00Z")
    assert at(datetime(2026, 3, 2, 9), timezone=tokyo) == at("2026-03-02T00:00:00Z")


@pytest.mark.parametrize(
    "value", ["", "soon", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "1.5"]
)
def test_what_is_no_time_is_refused_with_an_accepted_form(value):
    with pytest.raises(BadInput, match=r"occurred_at is .*2026-03-02T09:00:00Z") as refused:
        at(value)
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(date(2026, 3, 2), "a date"), (5, "int"), (None, "NoneType"), (b"", "bytes")],
)
def test_what_is_neither_datetime_nor_string_is_refused_by_its_kind(value, kind):
    with pytest.raises(BadInput, match=f"occurred_at is .*{kind.split()[-1]}"):
        at(value)


@needs_zones
@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2026-03-29T00:59:59", "2026-03-29T00:59:59Z"),  # Lisbon, before summer time
        ("2026-03-29T02:00:00", "2026-03-29T01:00:00Z"),  # after it began
        ("2026-10-25T01:30:00", "2026-10-25T00:30:00Z"),  # twice on this day: the first
        ("2026-10-25T02:00:00", "2026-10-25T02:00:00Z"),
    ],
)
def test_summer_time_is_the_one_of_the_zone_on_that_day(local, expected):
    assert at(local, timezone=zone("Europe/Lisbon")) == at(expected)


@needs_zones
def test_of_an_hour_that_comes_twice_the_second_can_be_meant():
    twice = datetime(2026, 10, 25, 1, 30, tzinfo=zone("Europe/Lisbon"))
    assert at(twice.replace(fold=1)) - at(twice) == 3_600_000_000


@pytest.mark.parametrize(
    ("microseconds", "written"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (FIRST, "0001-01-01T00:00:00Z"),
        (LAST, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_written_in_utc_with_z(microseconds, written):
    assert iso(from_microseconds(microseconds)) == written


@needs_zones
def test_zones_are_found_by_name():
    assert zone("UTC") is zone("utc") is UTC
    assert zone("Europe/Lisbon").utcoffset(datetime(2026, 7, 1)) == timedelta(hours=1)


@pytest.mark.parametrize(
    "name",
    ["Mars/Olympus", "", "Europe", "../etc/passwd", "/etc/passwd", "a\0b", "x" * 5000, "\ud800"],
)
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(BadInput, match=r"Time zone .* is unknown.*Europe/Lisbon"):
        zone(name)
