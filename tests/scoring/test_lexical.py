"""What of a query has to be found exactly, and what it says that a memory holds it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.entities.words import is_common
from memstore.scoring.lexical import (
    MOST_TERMS,
    LexicalWeights,
    Term,
    information,
    most_holders,
    stands_alone,
    terms_of,
)


@pytest.mark.parametrize(
    ("query", "exact"),
    [
        ("what happened to INV-20391?", ["INV-20391"]),
        ("E_CONN_4031 or 0x80070005?", ["E_CONN_4031", "0x80070005"]),
        ("who edits /etc/nginx/nginx.conf", ["etc/nginx/nginx.conf"]),
        (r"open C:\Users\ana\notes.txt", [r"C:\Users\ana\notes.txt"]),
        ("is v2.4.1 (or 2.4.1) out?", ["v2.4.1", "2.4.1"]),
        ("write to ana.b@ex-ample.co.uk!", ["ana.b@ex-ample.co.uk"]),
        ("call 20391 or 555-0199", ["20391", "555-0199"]),
        ("where are getUserName and std::vector", ["getUserName", "std::vector"]),
        ("who said 'late fees' or “no refunds”?", ["late fees", "no refunds"]),
        ("`git rebase` and «bom dia» and 「東京タワー」", ["git rebase", "bom dia", "東京タワー"]),
        ("请查看ERR-4031错误", ["ERR-4031"]),
        ("ＥＲＲ-4031", ["ERR-4031"]),
        # what only looks like it
        ("the users' and the kids' stuff, e.g. in the U.S.", []),
        ("and/or he/she, state-of-the-art", []),
        ("on the 3rd or 20th, at 5pm, for 20-year-olds, in 1984-87 and the 90s", []),
        ('""  "..." \'', []),
    ],
)
def test_quoted_strings_and_identifiers_are_exact(query: str, exact: list[str]) -> None:
    assert [term.text for term in terms_of(query, is_common) if term.exact] == exact


def test_other_words_are_looked_up_but_for_common_ones_and_letters() -> None:
    terms = terms_of("What did Zbigniew's aunt in X say of INV-7 in 1987 (zbigniew)?", is_common)
    assert terms == [
        Term("INV-7", exact=True),
        Term("Zbigniew", exact=False),
        Term("1987", exact=False),
    ]


@given(st.text(max_size=300))
def test_any_text_may_be_asked(query: str) -> None:
    terms = terms_of(query, is_common)
    assert len({term.text.casefold() for term in terms}) == len(terms) <= MOST_TERMS


def test_a_text_that_is_asked_is_looked_up_in_part_what_is_exact_first() -> None:
    words = " ".join(f"x{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(500))
    terms = terms_of(f"{words} A-17", is_common)
    assert len(terms) == MOST_TERMS
    assert terms[0].text == "A-17"


@pytest.mark.parametrize(
    ("string", "text", "alone"),
    [
        ("2.4.1", "Install 2.4.1.", True),
        ("2.4.1", "Install 2.4.1.3", False),
        ("2.4.1", "Install 12.4.1", False),
        ("2.4.1", "Install 1.2.4.1", False),
        ("ERR-4031", "(err-4031): twice", True),
        ("ERR-4031", "ERR-4031-b", False),
        ("ERR-4031", "ERR 4031", False),
        ("etc/app", "in /etc/app", True),
        ("etc/app", "in /usr/etc/app", False),
        ("etc/app", "in /etc/app/log", False),
        ("ana@x.com", "to anna.ana@x.com", False),
        ("late fees", "no Late\n fees here", True),
        ("late fees", "plate fees", False),
    ],
)
def test_a_string_stands_alone_or_in_a_longer_one(string: str, text: str, alone: bool) -> None:
    assert stands_alone(string, text) is alone


@given(memories=st.integers(1, 10**7), data=st.data())
def test_a_term_says_the_less_the_more_hold_it_and_nothing_at_the_bound(
    memories: int, data: st.DataObject
) -> None:
    most = most_holders(memories)
    holders = data.draw(st.integers(1, most))
    said = information(memories, holders)
    assert said >= 0.0
    assert said <= math.log(memories)
    assert information(memories, 1) == math.log(memories)
    if holders < most:
        assert information(memories, holders + 1) < said
    assert information(memories, most + 1) == 0.0


def test_what_is_held_speaks_for_a_memory_and_what_stands_elsewhere_against_it() -> None:
    weights = LexicalWeights(word=0.2, exact=0.5, absent=0.1)
    nats = weights.nats(np.array([4.0, 0.0, 0.0]), np.array([0.0, 6.0, 0.0]), 6.0)
    assert nats == pytest.approx([0.2, 2.4, -0.6])


@pytest.mark.parametrize("part", ["“", "7", "7-", "a/", "'", "「x", "_a", "ａ", "@."])
def test_no_query_takes_long_to_read(part: str) -> None:
    # a pattern that looks at every character once for every other one would take hours
    assert len(terms_of(part * 2_000_000, is_common)) <= MOST_TERMS
