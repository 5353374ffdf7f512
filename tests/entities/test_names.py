"""Canonical names, the word sequences of a query, and the words seen in lower case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.entities import canonical, longest_names, lowercase_words, query_ngrams


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Melanie", "melanie"),
        ("  New\n York ", "new york"),
        ("MELANIE’s", "melanie"),
        ("“Dune”", "dune"),
        ("@ana_b", "ana_b"),
        ("Łódź", "łódź"),
        ("A\u0301ngela", "ángela"),
        ("Ｆｕｌｌ", "full"),
        ("Straße", "strasse"),
        ("O'Brien", "o'brien"),
        ("C#", "c#"),
        ("C++", "c++"),
        ("C#'s", "c#"),
        ("James's's!", "james"),
        ("🦜", "🦜"),
        ("東京", "東京"),
        ("?!", ""),
        ("   ", ""),
    ],
)
def test_a_name_has_one_canonical_form(name, expected):
    assert canonical(name) == expected


@given(st.text(max_size=60))
def test_the_canonical_form_of_a_canonical_form_is_itself(name):
    assert canonical(canonical(name)) == canonical(name)


def test_query_ngrams_are_distinct_and_longest_first():
    assert query_ngrams("Did melanie go to New York? melanie!") == [
        "did melanie go to",
        "melanie go to new",
        "go to new york",
        "to new york? melanie",
        "did melanie go",
        "melanie go to",
        "go to new",
        "to new york",
        "new york? melanie",
        "did melanie",
        "melanie go",
        "to new",
        "new york",
        "york? melanie",
        "melanie",
        "new",
        "york",
    ]


def test_query_ngrams_hold_no_sequence_of_stop_words_alone():
    assert query_ngrams("what did you do with it") == []


def test_query_ngrams_find_names_beside_punctuation_possessives_and_slashes():
    found = query_ngrams("(Ana's) trip to Oslo/Bergen, or Jean-Luc?")
    assert {"ana", "oslo", "bergen", "jean-luc", "luc"} <= set(found)


def test_query_ngrams_of_a_script_without_spaces_are_its_substrings():
    assert "田中" in query_ngrams("田中さんはいつ来ましたか")


@pytest.mark.parametrize("unit", ["alpha beta gamma ", "東京都", "a/b-", "x"])
def test_query_ngrams_of_a_whole_document_stay_few(unit):
    assert len(query_ngrams(unit * 100_000)) < 2_000


def test_query_ngrams_of_distinct_words_stay_few():
    assert len(query_ngrams(" ".join(f"{i}w" for i in range(100_000)))) < 2_000


@given(st.text(max_size=80))
def test_every_canonical_single_word_name_is_among_the_ngrams_of_a_query_with_it(text):
    for word in text.split()[:256]:
        name = canonical(word)
        ngrams = query_ngrams(text)
        assert name in ngrams or not query_ngrams(word)


def test_lowercase_words_leave_out_parts_of_addresses_tags_and_paths():
    text = "We saw rust on the /usr/bin gate; mail bob@site.org, see #hike, @ana or example.com."
    assert lowercase_words(text) == {"saw", "rust", "on", "the", "gate", "mail", "see", "or"}


def test_lowercase_words_know_letters_beyond_ascii():
    assert lowercase_words("Ömer ist groß") == {"ist", "groß"}


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("new york's mayor of York", {"new york", "york", "new"}, ["new york", "york"]),
        ("new york, new york", {"new york", "york"}, ["new york"]),
        ("ana maria lopez", {"ana maria", "maria lopez", "lopez"}, ["ana maria", "lopez"]),
        (
            "Oslo/Bergen or Jean-Luc",
            {"oslo", "bergen", "jean-luc", "luc"},
            ["oslo", "bergen", "jean-luc"],
        ),
        ("東京都の東京", {"東京都", "東京", "京都"}, ["東京都", "東京"]),
        ("", {"york"}, []),
        ("york", set(), []),
    ],
)
def test_the_longest_names_of_a_query_hide_the_names_inside_them(text, known, expected):
    assert longest_names(text, known) == expected


words = st.sampled_from(["new", "york", "the", "city", "ana's", "a/b", "東京都", "?"])


@given(words=st.lists(words, max_size=8), data=st.data())
def test_the_longest_names_are_known_ngrams_and_what_they_leave_holds_no_other(words, data):
    text = " ".join(words)
    ngrams = query_ngrams(text)
    known = data.draw(st.sets(st.sampled_from(ngrams))) if ngrams else set()
    found = longest_names(text, known)
    assert set(found) <= known
    assert bool(found) == bool(known)
    for name in known - set(found):  # something longer, or to the left, took a part of it
        assert any(set(name) & set(other) for other in found)


@pytest.mark.parametrize("unit", ["alpha beta gamma ", "東京都", "a/b-", "x"])
def test_the_longest_names_of_a_whole_document_are_found_in_bounded_time(unit):
    text = unit * 100_000
    assert set(longest_names(text, set(query_ngrams(text)))) <= set(query_ngrams(text))
