"""Coarse dates: read alone or found in a text, with the bounds they have in a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.periods import find_periods, parse_period
from memstore.times import from_microseconds, to_microseconds, zone

needs_zones = pytest.mark.skipif(
    "Europe/Lisbon" not in available_timezones(), reason="this system has no zone database"
)

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
DAY, MONTH, YEAR = "day", "month", "year"


def utc(written):
    return to_microseconds(written, name="t", timezone=UTC)


def ordinal(day):
    ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


def spellings(day, precision):
    """Every way in which a date is written, apart from case."""
    long, short = MONTHS[day.month - 1], MONTHS[day.month - 1][:3]
    dotted = "May" if long == "May" else f"{short}."
    if precision == YEAR:
        return [f"{day.year}"]
    if precision == MONTH:
        named = [f"{month}{gap}{day.year}" for month in (long, short) for gap in (" ", ", ")]
        return [*named, f"{long} of {day.year}", f"{dotted} {day.year}", f"{day:%Y-%m}"]
    return [
        f"{day:%Y-%m-%d}",
        *(
            f"{number}{gap}{month}{comma} {day.year}"
            for number in (str(day.day), f"{day.day:02}", ordinal(day.day))
            for gap in (" ", " of ", "\u00a0")
            for month in (long, short)
            for comma in ("", ",")
        ),
        *(
            f"{month} {number}{comma} {day.year}"
            for number in (str(day.day), ordinal(day.day), f"the {ordinal(day.day)}")
            for month in (long, short, dotted)
            for comma in ("", ",")
        ),
    ]


def bounds(day, precision):
    """The first microsecond of a UTC period, and the first one after it."""
    if precision == YEAR:
        return utc(f"{day.year}-01-01"), utc(f"{day.year + 1}-01-01")
    if precision == MONTH:
        first = day.replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
        return utc(first.isoformat()), utc(following.isoformat())
    return utc(day.isoformat()), utc((day + timedelta(days=1)).isoformat())


dates = st.dates(date(1000, 1, 1), date(9998, 12, 31))
told_of = st.dates(date(1500, 1, 1), date(2199, 12, 31))  # a bare "5000" is rather a number
precisions = st.sampled_from([DAY, MONTH, YEAR])
cases = st.sampled_from([str, str.lower, str.upper])


@given(data=st.data(), day=dates, precision=precisions, case=cases)
def test_every_spelling_of_a_date_is_the_same_period(data, day, precision, case):
    written = data.draw(st.sampled_from(spellings(day, precision)))
    read = parse_period(f" {case(written)}\n")
    assert (read.start, read.end) == bounds(day, precision)
    assert read.precision == precision
    assert read.canonical == day.isoformat()[: {YEAR: 4, MONTH: 7, DAY: 10}[precision]]
    assert parse_period(read.canonical) == read


@given(data=st.data(), days=st.lists(st.tuples(told_of, precisions), max_size=4), case=cases)
def test_every_date_written_into_a_text_is_found_there_with_its_bounds(data, days, case):
    text, expected = "Nothing", []
    for day, precision in days:
        written = case(data.draw(st.sampled_from(spellings(day, precision))))
        text += data.draw(st.sampled_from([" happened (in ", "? And since ", "; it was in "]))
        expected.append((len(text), len(text) + len(written), bounds(day, precision), precision))
        text += written + data.draw(st.sampled_from([".", "), as I said", "'s best day", ", then"]))
    found = find_periods(text)
    assert expected == [
        (item.start_char, item.end_char, (period.start, period.end), period.precision)
        for item in found
        for period in [item.period]
    ]
    assert [parse_period(text[item.start_char : item.end_char]) for item in found] == [
        item.period for item in found
    ]


@pytest.mark.parametrize(
    "written",
    [
        *("", "yesterday", "May", "8 May", "May 8", "2026-W10", "20260302", "0999", "12026"),
        *("2026-02-30", "2026-13", "2026-00", "2026-01-00", "30 February 2026", "May 0 2026"),
        *("2026-03-02T09:00", "2026-03-02 09:00", "2026-03-02T00:00:00Z", "2 March 2026, 9 am"),
        *("in 2026", "2026 or so", "March 2026 March", "２０２６", "1ſt May 2026", "ſep 2026"),
        *("3/4/2026", "3.4.2026", "3/4/26", "Mayor 2026", "32 May 2026", "May 2026-05", "-2026"),
    ],
)
def test_what_is_no_coarse_date_as_a_whole_is_none(written):
    assert parse_period(written) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8 May 2023, May 2023; 2023-05-08", ["2023-05-08", "2023-05", "2023-05-08"]),
        ("what did ana buy in may 2023?", ["2023-05"]),
        ("In 2021, 2000 people came", ["2021"]),
        ("from 2019 to 2023 and 2025", ["2019", "2023", "2025"]),
        ("since May 2021, or 2020", ["2021-05", "2020"]),
        ("by 2023's end (since 1999)", ["2023", "1999"]),
        ("mid-2023, late 2024, the summer of 2025", ["2023", "2024", "2025"]),
        ("log:2023-05-08.", ["2023-05-08"]),
        ("14 October 1066, after 1066", ["1066-10-14"]),
        ("on 30 February 2023 and in 2024", ["2024"]),
    ],
)
def test_the_dates_of_a_text_are_found_in_order_the_longest_at_each_place(text, expected):
    assert [found.period.canonical for found in find_periods(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        *("2023 units", "room 2023", "$2023", "by $2023", "v2023", "in v2023", "after 2023 km"),
        *("of 2023 people", "in 2023%", "in 2023.5", "in 1.2023", "from 2023-24", "until 20233"),
        *("I may go", "we march on", "may 5 people", "may 5000 people", "8 May", "sun 2 mar"),
        *("3/4/2023", "on 03.04.2023", "in 3/2023", "the humid-2023", "2023-05-08T10:00"),
        *("plugin 2023", "in 2300", "in 1023", "ID-2023-05-08", "2023-05-08-1", "12023-05"),
    ],
)
def test_what_does_not_read_as_a_date_is_not_found(text):
    assert find_periods(text) == []


@needs_zones
@pytest.mark.parametrize(
    ("written", "place", "start", "end"),
    [
        ("2026-03-29", "Europe/Lisbon", "2026-03-29T00:00Z", "2026-03-29T23:00Z"),  # 23 hours
        ("2026-10-25", "Europe/Lisbon", "2026-10-24T23:00Z", "2026-10-26T00:00Z"),  # 25 hours
        ("July 2026", "Europe/Lisbon", "2026-06-30T23:00Z", "2026-07-31T23:00Z"),
        ("March 2026", "Europe/Lisbon", "2026-03-01T00:00Z", "2026-03-31T23:00Z"),
        ("2026", "Asia/Tokyo", "2025-12-31T15:00Z", "2026-12-31T15:00Z"),
        ("2026-03-29", "Asia/Beirut", "2026-03-28T22:00Z", "2026-03-29T21:00Z"),  # no midnight
        ("2026-11-01", "America/Havana", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),  # two midnights
    ],
)
def test_a_period_is_bounded_by_the_midnights_of_its_zone(written, place, start, end):
    read = parse_period(written, timezone=zone(place))
    assert (read.start, read.end) == (utc(start), utc(end))
    (found,) = find_periods(f"in {written}", timezone=zone(place))
    assert found.period == read


@needs_zones
def test_a_day_that_a_zone_left_out_is_no_period():
    assert parse_period("30 December 2011", timezone=zone("Pacific/Apia")) is None
    assert parse_period("30 December 2011") is not None


@pytest.mark.parametrize("offset", [-23, 0, 23])
@pytest.mark.parametrize("written", ["9999", "9999-12", "9999-12-31", "1000", "1000-01-01"])
def test_periods_at_the_edges_of_the_calendar_have_bounds_that_are_times(written, offset):
    read = parse_period(written, timezone=timezone(timedelta(hours=offset)))
    assert from_microseconds(read.start) < from_microseconds(read.end)
    assert read.canonical == written


pieces = ["may", "8", "2023", "-05", "th", "in", " ", " ", "of", ",", "/", ".", "\u00a0", "ſt", "'"]


@given(text=st.lists(st.sampled_from(pieces), max_size=40).map("".join))
def test_whatever_is_found_is_a_date_that_stands_in_the_text(text):
    end = 0
    for found in find_periods(text):
        assert end <= found.start_char < found.end_char
        end = found.end_char
        assert parse_period(text[found.start_char : end]) == found.period


@pytest.mark.parametrize(
    "unit", ["may ", "1 of may ", "2023 ", "in 2023 to ", "2023-", "the 1st of ", "mid-", " \u00a0"]
)
def test_a_megabyte_of_one_repeated_unit_is_read_in_linear_time(unit):
    text = unit * (1_000_000 // len(unit))
    found = find_periods(text)
    assert len(found) in (0, text.count("in 2023 "))


def test_the_years_of_a_sentence_are_those_of_the_calendar_it_is_written_by():
    (found,) = find_periods("in 2023")
    assert from_microseconds(found.period.start) == datetime(2023, 1, 1, tzinfo=UTC)
    assert from_microseconds(found.period.end) == datetime(2024, 1, 1, tzinfo=UTC)
