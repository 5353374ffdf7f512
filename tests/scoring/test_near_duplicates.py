"""Of texts that say nearly the same, the newest takes the best place, and nobody else moves."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memstore.scoring.near_duplicates import near_duplicates, newest_first

words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6).map(" ".join)


def test_half_of_the_words_in_common_makes_near_duplicates():
    assert near_duplicates(["a b c", "a b d"]) == [[0, 1]]  # 2 of 4
    assert near_duplicates(["a b c", "a d e"]) == []  # 1 of 5
    assert near_duplicates(["Ana, LISBON", "ana lisbon"]) == [[0, 1]]
    assert near_duplicates(["?", "!"]) == []


def test_what_both_resemble_a_third_one_is_in_its_group():
    assert near_duplicates(["a b", "x", "b c", "a b c"]) == [[0, 2, 3]]


def test_the_newest_takes_the_best_score_and_one_without_a_time_comes_last():
    scores = np.array([3.0, 2.0, 1.0, 9.0])
    times = np.array([10.0, np.nan, 30.0, 5.0])
    shifts = newest_first(scores, times, ["a b", "a b", "a b", "x"])
    assert (scores + shifts).tolist() == [2.0, 1.0, 3.0, 9.0]


@given(texts=st.lists(words, max_size=8), data=st.data())
def test_scores_are_only_exchanged_within_a_group(texts, data):
    size = len(texts)
    scores = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=size, max_size=size)), float)
    times = np.array(data.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size)), float)
    after = scores + newest_first(scores, times, texts)
    assert sorted(after) == sorted(scores)
    grouped = {place for places in near_duplicates(texts) for place in places}
    for place in set(range(size)) - grouped:
        assert after[place] == scores[place]
    for places in near_duplicates(texts):
        by_score = sorted(places, key=lambda place: -after[place])
        newest = [times[place] for place in by_score if after[place] == after[by_score[0]]]
        assert max(newest) == max(times[place] for place in places)
