"""The rules: which capitalised spans are names, which patterns are labelled, and how fast."""

from __future__ import annotations

import pytest

from memstore.entities import open_extractor

rules = open_extractor("rules")


def names(text: str, **options: object) -> list[str]:
    return [m.text for m in rules.extract(text, **options) if m.label is None]


def labelled(text: str) -> list[tuple[str, str]]:
    return [(m.text, m.label) for m in rules.extract(text) if m.label is not None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Did Ana move to New York?", ["Ana", "New York"]),
        (
            "I met Ludwig van Beethoven and Simone de Beauvoir.",
            ["Ludwig van Beethoven", "Simone de Beauvoir"],
        ),
        ("She studied at the University of the West Indies.", ["University of the West Indies"]),
        ("We met Dr. Osei and Mrs. Park.", ["Osei", "Park"]),
        ("It is in St. Louis.", ["St. Louis"]),
        ("Books by J.K. Rowling and George R. R. Martin.", ["J.K. Rowling", "George R. R. Martin"]),
        ("Melanie's dog met Caroline’s cat.", ["Melanie", "Caroline"]),
        ("Ángela y Ömer viven en Łódź.", ["Ángela", "Ömer", "Łódź"]),
        ("Встретил Анну в Киеве.", ["Встретил Анну", "Киеве"]),
        ("He works for NASA in the US.", ["NASA", "US"]),
        ("I gave Will the keys.", ["Will"]),
        ("Great Britain is an island.", ["Great Britain"]),
        ("We ate at AT&T Park with O'Brien.", ["AT&T Park", "O'Brien"]),
        ("I met Tom & Ann.", ["Tom", "Ann"]),
        ("東京に行った。", []),
        ("", []),
    ],
)
def test_names_are_capitalised_spans(text, expected):
    assert names(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Thanks so much! That sounds great.",
        "Hey! Soooo cool. Hahaha, Wow… Running helps.",
        "- Buy milk\n- Call the bank\n1. Wash\n2) Rinse\n# Shopping",
        "🎉 Congratulations on the job!",
        "See you on Monday or in October.",
        "I asked my Dad, and I'm sure I'll go. It's fine.",
        "She said: Maybe. (Perhaps not.) “Never mind.”",
    ],
)
def test_ordinary_words_with_a_capital_are_no_names(text):
    assert rules.extract(text) == []


def test_a_sentence_in_capitals_gives_only_its_uncommon_words():
    assert names("I WENT TO LISBON WITH MARIA AND IT WAS SO GOOD. LET US GO") == ["LISBON", "MARIA"]


def test_words_a_store_has_seen_in_lower_case_are_no_names_at_a_sentence_start():
    text = "Kombucha is my thing. I drink Kombucha with Ana."
    assert names(text) == ["Kombucha", "Kombucha", "Ana"]
    assert names(text, common_words={"kombucha"}) == ["Kombucha", "Ana"]


def test_a_name_of_two_words_survives_when_both_were_seen_in_lower_case():
    assert names("Eiffel Tower!", common_words={"eiffel", "tower"}) == ["Eiffel Tower"]


def test_words_seen_in_lower_case_part_a_sentence_start_from_a_name_in_any_language():
    assert names("Встретил Анну.", common_words={"встретил"}) == ["Анну"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail ana.b+x@site.co.uk.", ("ana.b+x@site.co.uk", "EMAIL")),
        ("See https://example.com/a?b=1.", ("https://example.com/a?b=1", "URL")),
        ("It is on www.example.org, he said", ("www.example.org", "URL")),
        ("Ask @ana_b!", ("@ana_b", "HANDLE")),
        ("So good #SummerVibes", ("#SummerVibes", "TAG")),
        ("Edit /etc/nginx/nginx.conf now", ("/etc/nginx/nginx.conf", "PATH")),
        ("Edit src/app/main.py.", ("src/app/main.py", "PATH")),
        (r"Open C:\Users\ana\notes.txt please", (r"C:\Users\ana\notes.txt", "PATH")),
        ("It broke in v2.3.1-rc1, sadly", ("v2.3.1-rc1", "VERSION")),
        ("We met on 7 May 2023.", ("7 May 2023", "DATE")),
        ("We met on May 7th, 2023.", ("May 7th, 2023", "DATE")),
        ("We met in August 2023.", ("August 2023", "DATE")),
        ("Due 2023-05-07!", ("2023-05-07", "DATE")),
        ("It cost $1,200.50, too much", ("$1,200.50", "MONEY")),
        ("It cost 30 euros", ("30 euros", "MONEY")),
        ("call getUserName here", ("getUserName", "IDENTIFIER")),
        ("set max_tokens there", ("max_tokens", "IDENTIFIER")),
        ('I read "The Name of the Wind" twice', ("The Name of the Wind", "TITLE")),
        ("I saw 'Gone Girl' again", ("Gone Girl", "TITLE")),
        ("Watched “Dune.”", ("Dune", "TITLE")),
    ],
)
def test_patterns_are_labelled(text, expected):
    assert labelled(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "either and/or both, he/she, 24/7, 3.14",
        "the colour is #fff or #0d6efd",
        "so cool.it was great",
        '"Thanks" and "Oh No" and "utf-8"',
        "she said 'it is fine' and left",
        "@app.route('/x')",
    ],
)
def test_look_alikes_of_patterns_are_left_alone(text):
    assert labelled(text) == []


def test_surnames_with_inner_capitals_are_names_without_a_label():
    assert names("Ask McDonald or DeVito.") == ["McDonald", "DeVito"]


def test_the_longer_of_two_overlapping_spans_is_kept():
    assert [(m.text, m.label) for m in rules.extract("I got YouTube Premium today")] == [
        ("YouTube Premium", None)
    ]


@pytest.mark.parametrize(
    "unit",
    ["A", "a.", "@", "/", "#", '"', "'A", "«A", "a@", "a@a.", "A-", "A.", "A&", "a_", "aA", "a/",
     "1,", "1.", "$1", "May ", "12 ", "A ", "A of the ", "Ha", "http://", "\\", "C:\\a", '"A', "_",
     " ", "\n", "🎉", "é", "A'", "v1."],
)  # fmt: skip
def test_a_megabyte_of_one_repeated_unit_is_read_in_linear_time(unit):
    # Quadratic time would be hours here: the test hangs rather than measures.
    text = unit * (1_000_000 // len(unit))
    for mention in rules.extract(text):
        assert text[mention.start : mention.end] == mention.text
