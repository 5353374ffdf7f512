"""Dates of which only the day, month or year is known, and times that nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import BadInput, MemoryStore
from memstore.times import iso

NOW = "2026-11-01T00:00:00Z"


def ages(store: MemoryStore, **options: str) -> dict[str, str]:
    """Why each memory is as current as it is, by its text."""
    result = store.query("tea", explain=True, now=NOW, profile="recent", **options)
    return {
        hit.memory.text: part.why
        for hit in result.hits
        for part in hit.parts
        if part.name == "currency"
    }


@pytest.mark.parametrize(
    ("written", "begins", "precision"),
    [
        ("2026", datetime(2026, 1, 1, tzinfo=UTC), "year"),
        ("March 2026", datetime(2026, 3, 1, tzinfo=UTC), "month"),
        ("2026-03", datetime(2026, 3, 1, tzinfo=UTC), "month"),
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC), "day"),
        ("2026-03-02T00:00:00Z", datetime(2026, 3, 2, tzinfo=UTC), "instant"),
    ],
)
def test_a_coarse_date_keeps_its_beginning_and_its_precision(
    store: MemoryStore, written: str, begins: datetime, precision: str
) -> None:
    memory = store.add("tea", occurred_at=written)
    assert (memory.occurred_at, memory.precision) == (begins, precision)
    assert store.get(memory.id) == memory
    assert store.add("tea", occurred_at=written).id == memory.id


def test_a_year_and_its_first_instant_are_not_the_same_content(store: MemoryStore) -> None:
    coarse = store.add("tea", occurred_at="2026")
    assert store.add("tea", occurred_at="2026-01-01T00:00:00Z").id != coarse.id


def test_a_naive_time_of_day_is_refused_still(store: MemoryStore) -> None:
    for written in ("2026-03-02T09:00:00", datetime(2026, 3, 2), "2026-13", "2026-02-30", "soon"):
        with pytest.raises(BadInput, match="occurred_at"):
            store.add("tea", occurred_at=written)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="valid_to"):
        store.add("tea", valid_to="2026")


def test_age_counts_from_the_end_of_the_period_and_never_from_a_time_to_come(
    tmp_path: Path,
) -> None:
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        store.add("tea in a year", occurred_at="2025")
        store.add("tea in this year", occurred_at="2026")
        store.add("tea in a month", occurred_at="September 2026")
        found = ages(store)
    assert found["tea in a year"].startswith("304 days old")
    assert found["tea in this year"].startswith("0 days old")
    assert found["tea in a month"].startswith("31 days old")


def test_it_holds_from_the_beginning_of_its_period_on(store: MemoryStore) -> None:
    store.add("tea", occurred_at="2026")
    assert store.query("tea", as_of="2025-12-31T23:59:59Z").hits == ()
    assert len(store.query("tea", as_of="2026-01-01T00:00:00Z").hits) == 1


def test_an_unknown_time_is_neither_new_nor_old_and_can_be_left_out(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        memory = store.add("tea of old", occurred_at="unknown")
        store.add("tea of today", occurred_at=NOW)
        assert (memory.occurred_at, memory.precision) == (None, "unknown")
        assert set(ages(store)) == {"tea of today"}
        # it may always have held
        long_ago = store.query("tea", as_of="1990-01-01T00:00:00Z")
        assert [hit.memory.id for hit in long_ago.hits] == [memory.id]
        dropped = store.query("tea", undated="drop", now=NOW, explain=True)
        assert [hit.memory.text for hit in dropped.hits] == ["tea of today"]
        assert [item.reason for item in dropped.suppressed] == ["nobody knows when"]
        with pytest.raises(BadInput, match="undated"):
            store.query("tea", undated="hide")  # type: ignore[arg-type]
        # when it held is known: it is not undated
        store.update(memory.id, valid_from="2020-01-01T00:00:00Z")
        assert len(store.query("tea", undated="drop", now=NOW).hits) == 2


def test_an_update_changes_the_precision_too(store: MemoryStore) -> None:
    memory = store.add("tea", occurred_at="2026")
    assert store.update(memory.id, occurred_at="2026-05-05T08:00:00Z").precision == "instant"
    assert store.update(memory.id, occurred_at="unknown").occurred_at is None
    assert store.history(memory.id)[-1].details["precision"] == ["instant", "unknown"]
    assert store.update(memory.id, occurred_at="May 2026").precision == "month"


def test_files_hold_coarse_dates_in_the_zone_that_is_said(
    store: MemoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(
        '{"text": "tea", "timestamp": "2026-03-02"}\n{"text": "milk", "timestamp": "2026"}'
    )
    offset = timezone(timedelta(hours=2))
    report = store.ingest(path, timezone=offset)
    assert (report.added, report.errors) == (2, ())
    tea, milk = store.list().memories
    assert tea.occurred_at == datetime(2026, 3, 1, 22, tzinfo=UTC)
    assert (tea.precision, milk.precision) == ("day", "year")


def test_a_hit_is_rendered_as_precisely_as_its_time_is_known(store: MemoryStore) -> None:
    store.add("tea", occurred_at="March 2026")
    assert store.query("tea", now=NOW).render() == "[1] tea (2026-03)"
    store.add("tea", occurred_at="unknown")
    assert "[2] tea" in store.query("tea", now=NOW).render().splitlines()
    assert store.query("tea", now=NOW).render("xml").count("time=") == 1


moments = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
shifts = st.timedeltas(timedelta(days=-3000), timedelta(days=3000))


@given(times=st.lists(moments, min_size=1, max_size=4), asked=moments, shift=shifts)
@settings(max_examples=15)
def test_p10_p11_only_differences_of_time_count_and_zones_do_not(
    calibrated_fresh_store, times, asked, shift
) -> None:
    def scores(by: timedelta, zone: timezone) -> list[tuple[str, float]]:
        with calibrated_fresh_store() as store:
            for number, time in enumerate(times):
                store.add(f"tea number {number}", occurred_at=(time + by).astimezone(zone))
            result = store.query("tea", as_of=asked + by, now=asked + by, profile="recent")
            return [(hit.memory.text, hit.score) for hit in result.hits]

    plain = scores(timedelta(0), UTC)
    assert scores(shift, UTC) == plain
    assert scores(timedelta(0), timezone(timedelta(hours=-9, minutes=30))) == plain


@given(starts=st.lists(moments, min_size=1, max_size=5), asked=moments)
@settings(max_examples=25)
def test_p12_nothing_that_begins_later_is_ever_returned(fresh_store, starts, asked) -> None:
    with fresh_store() as store:
        for number, start in enumerate(starts):
            field = "valid_from" if number % 2 else "occurred_at"
            store.add(f"tea {number}", **{field: start})
        found = {hit.memory.text for hit in store.query("tea", as_of=asked).hits}
        assert found == {f"tea {n}" for n, start in enumerate(starts) if start <= asked}
        assert iso(asked) == iso(store.query("tea", as_of=asked).as_of)
