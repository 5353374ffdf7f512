"""A comparison on paper: cells, marks, and Markdown."""

from __future__ import annotations

import dataclasses
import re

from memstore.evaluation.tables import comparison_table, markdown, millions, share


def test_rows_say_what_an_arm_is_worth_and_what_it_costs(comparison):
    table = comparison_table(comparison, "people")
    assert table.title == "people: 20 questions"
    assert all(len(row) == len(table.columns) for row in table.rows)
    first, better, unsure, left_out = table.rows
    costs = ["9.9", "11.6", "20"]
    assert first == ["none", "semantic", ".500", "–", *[".500"] * 4, *costs, "–"]
    assert re.fullmatch(r"\+\.100 \[\+\.0\d\d, \+\.1\d\d\] \*", better[3])
    assert better[-1] == "22.7 M"
    assert re.fullmatch(r"[+-]\.000 \[-\.0\d\d, \+\.0\d\d\]", unsure[3])
    assert unsure[8:] == ["322", "324", "20", "unknown"]
    assert left_out == ["bge-v2-m3", "semantic", "left out", *["–"] * 9]


def test_the_mark_is_explained_where_it_is_used(comparison):
    assert "corrected for the number" in comparison_table(comparison, "people").legend
    first = dataclasses.replace(comparison, measured=comparison.measured[:1])
    assert comparison_table(first, "people").legend is None


def test_a_category_has_a_table_of_its_own(comparison):
    table = comparison_table(comparison, "people", "c1")
    assert table.title == "people, c1: 10 questions"


def test_numbers_are_short():
    assert [share(value) for value in (0.0, 0.12345, 0.99999, 1.0)] == [
        ".000",
        ".123",
        "1.000",
        "1.000",
    ]
    assert [share(value, "+") for value in (-0.5, 0.05, -1.0)] == ["-.500", "+.050", "-1.000"]
    assert [millions(count) for count in (None, 0, 568_000_000)] == ["unknown", "–", "568.0 M"]


def test_markdown_has_every_row_and_shows_the_marks_as_they_are(comparison):
    text = markdown(comparison_table(comparison, "people"))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert len({row.count("|") for row in rows}) == 1
    assert "\\*" in text
    assert not re.search(r"(?<!\\)\*", text)
