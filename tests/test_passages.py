"""Passages: sentence boundaries, packing, overlap, and the properties every split keeps."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import BadInput
from memstore.passages import Span, split


def words(text: str) -> list[tuple[int, int]]:
    """Tokens as a word-piece tokenizer sees them: words, CJK characters, punctuation marks."""
    return [match.span() for match in re.finditer(r"[\u3040-\u9fff]|\w+|[^\w\s]", text)]


def passages(text: str, *, max_tokens: int, overlap_tokens: int = 0) -> list[str]:
    spans = split(text, words(text), max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    return [text[span.start : span.end] for span in spans]


def test_a_text_that_fits_is_one_passage_without_its_outer_whitespace():
    assert split("  Hi there. \n", [(2, 4), (5, 10), (10, 11)], max_tokens=9, overlap_tokens=2) == [
        Span(2, 11, 3)
    ]


@pytest.mark.parametrize(
    ("text", "span"),
    [("", Span(0, 0, 0)), (" \n ", Span(0, 3, 0)), (" \u200b ", Span(1, 2, 0))],
)
def test_a_text_without_tokens_is_one_passage(text, span):
    assert split(text, [], max_tokens=4, overlap_tokens=1) == [span]


def test_sentences_are_packed_whole():
    text = "One two three. Four five! Six seven? Eight."
    assert passages(text, max_tokens=8) == ["One two three. Four five!", "Six seven? Eight."]


def test_the_next_passage_repeats_the_last_sentences_of_the_one_before():
    text = "A one. B two. C three. D four. E five."
    assert passages(text, max_tokens=9, overlap_tokens=3) == [
        "A one. B two. C three.",
        "C three. D four. E five.",
    ]


def test_a_sentence_longer_than_the_overlap_is_not_repeated():
    text = "A one. B two three four. C five. D six."
    assert passages(text, max_tokens=8, overlap_tokens=3) == [
        "A one. B two three four.",
        "C five. D six.",
    ]


def test_overlap_gives_way_when_the_next_sentence_needs_the_room():
    text = "A one. B two. C three four five six seven."
    assert passages(text, max_tokens=8, overlap_tokens=6) == [
        "A one. B two.",
        "C three four five six seven.",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "Mr. Smith met Dr. Jones at noon.",
        "Bring fruit, e.g. apples, i.e. the red ones.",
        "The U.S. team met J. R. Smith there.",
        "It cost 3.14 dollars at example.com today.",
        "See fig. 3 and vol. 2 of the book.",
        "1. Wash the rice and cook it.",
    ],
)
def test_a_full_stop_inside_a_sentence_does_not_end_it(sentence):
    follower = "Next one here."
    text = f"{sentence} {follower}"
    assert passages(text, max_tokens=len(words(sentence)) + 1) == [sentence, follower]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("So am I. Then we left.", "So am I."),
        ('He said "stop." Then we left.', 'He said "stop."'),
        ("It was in 1999. Then we left.", "It was in 1999."),
        ("Really?! Then we left.", "Really?!"),
        ("Well… Then we left.", "Well…"),
        ("今日は晴れです。明日は雨です。", "今日は晴れです。"),
    ],
)
def test_a_sentence_ends_at_its_mark(text, first):
    assert passages(text, max_tokens=max(4, len(words(first))))[0] == first


def test_a_newline_ends_a_sentence_so_that_list_items_stay_whole():
    text = "- red apples\n- green pears\n- blue plums"
    assert passages(text, max_tokens=7) == ["- red apples\n- green pears", "- blue plums"]


def test_a_blank_line_is_preferred_over_a_later_sentence_end():
    text = "One two. Three four.\n\nFive six. Seven eight. Nine ten."
    assert passages(text, max_tokens=10) == [
        "One two. Three four.",
        "Five six. Seven eight. Nine ten.",
    ]


def test_a_blank_line_early_in_a_passage_does_not_leave_it_almost_empty():
    text = "One.\n\nTwo three four. Five six seven. Eight nine."
    assert passages(text, max_tokens=10)[0] == "One.\n\nTwo three four. Five six seven."


def test_a_sentence_that_is_too_long_is_cut_after_a_clause():
    text = "one two three four, five six seven eight nine ten"
    assert passages(text, max_tokens=7) == ["one two three four,", "five six seven eight nine ten"]


def test_a_sentence_without_clauses_is_cut_at_whitespace():
    text = "one two three-four five six"
    assert passages(text, max_tokens=4) == ["one two", "three-four five", "six"]


def test_a_word_without_spaces_is_cut_between_tokens():
    text = "abcdefgh"
    spans = split(text, [(i, i + 1) for i in range(8)], max_tokens=3, overlap_tokens=1)
    assert spans == [Span(0, 3, 3), Span(3, 6, 3), Span(6, 8, 2)]


def test_a_cut_leaves_combining_marks_with_their_base():
    text = "abe\u0301cd"
    spans = split(text, [(i, i + 1) for i in range(6)], max_tokens=3, overlap_tokens=0)
    assert [text[span.start : span.end] for span in spans] == ["ab", "e\u0301c", "d"]


def test_a_character_of_several_tokens_is_never_cut():
    text = "a🦜b"
    tokens = [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]
    spans = split(text, tokens, max_tokens=2, overlap_tokens=0)
    assert spans == [Span(0, 1, 1), Span(1, 2, 3), Span(2, 3, 1)]


def test_tokens_that_include_the_space_before_them_do_not_hide_sentence_ends():
    text = "One two. Three four."
    tokens = [(0, 3), (3, 7), (7, 8), (8, 14), (14, 19), (19, 20)]
    assert split(text, tokens, max_tokens=4, overlap_tokens=0) == [Span(0, 8, 3), Span(9, 20, 3)]


@pytest.mark.parametrize(("maximum", "overlap"), [(0, 0), (4, 4), (4, -1)])
def test_lengths_that_cannot_work_are_refused(maximum, overlap):
    with pytest.raises(BadInput, match="Use "):
        split("some text", [(0, 4), (5, 9)], max_tokens=maximum, overlap_tokens=overlap)


texts = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="ab,.!? \n\u0301。\u200d🦜\"'", max_size=300),
    st.lists(
        st.sampled_from(["Mr.", "one", "two,", "end.", "No!", "\n", "\n\n", "e.g.", "日本。", "…"]),
        max_size=80,
    ).map(" ".join),
)


@st.composite
def tokenized(draw):
    """A text and one of the ways that tokenizers mark their tokens."""
    text = draw(texts)
    kind = draw(st.sampled_from(["words", "characters", "bytes", "spaced", "random"]))
    if kind == "words":
        return text, words(text)
    if kind == "spaced":
        return text, [match.span() for match in re.finditer(r"\s?\S+|\s+", text)]
    if kind == "bytes":
        return text, [
            (i, i + 1)
            for i, character in enumerate(text)
            for _ in character.encode("utf-8", "surrogatepass")
        ]
    if kind == "characters":
        return text, [(i, i + 1) for i, c in enumerate(text) if not c.isspace()]
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=40)))
    return text, [pair for pair in pairwise(cuts) if draw(st.booleans())]


@given(tokenized(), st.integers(1, 12), st.data())
def test_every_split_covers_the_text_in_order_within_the_limit(case, maximum, data):
    text, tokens = case
    overlap = data.draw(st.integers(0, maximum - 1))
    spans = split(text, tokens, max_tokens=maximum, overlap_tokens=overlap)

    assert spans
    covered = set()
    for span in spans:
        covered.update(range(span.start, span.end))
        inside = [(s, e) for s, e in tokens if span.start <= s and e <= span.end]
        assert len(inside) <= span.tokens
        if len(inside) > maximum:  # only what shares a character cannot be parted
            assert len({s for s, e in inside if not text[s:e].isspace()}) == 1
        if text.strip():
            assert text[span.start : span.end] == text[span.start : span.end].strip() != ""
    assert {i for i, c in enumerate(text) if not c.isspace()} <= covered
    for earlier, later in pairwise(spans):
        assert earlier.start < later.start
        assert earlier.end < later.end


@given(texts, st.integers(2, 12))
def test_without_overlap_every_token_is_in_exactly_one_passage(text, maximum):
    tokens = words(text)
    spans = split(text, tokens, max_tokens=maximum, overlap_tokens=0)
    assert sum(span.tokens for span in spans) == len(tokens)
    for span in spans:
        inside = [(s, e) for s, e in tokens if span.start <= s and e <= span.end]
        assert len(inside) == span.tokens


@given(st.lists(st.sampled_from(["e\u0301", "a", "n\u0303"]), min_size=1, max_size=40))
def test_clusters_stay_whole_when_one_fits_the_limit(clusters):
    text = "".join(clusters)
    tokens = [(i, i + 1) for i in range(len(text))]
    for span in split(text, tokens, max_tokens=4, overlap_tokens=2):
        assert unicodedata.combining(text[span.start]) == 0
