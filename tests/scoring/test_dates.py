"""Memories of the time that a query names."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memstore.scoring.dates import happened_within

times = st.none() | st.integers(0, 6)
memories = st.lists(st.tuples(times, times), max_size=6)


@given(memories=memories, start=st.integers(0, 6), length=st.integers(0, 6))
def test_a_memory_is_of_a_period_if_all_of_its_own_time_is(memories, start, length):
    t_ref, t_end = (
        np.array([np.nan if pair[side] is None else pair[side] for pair in memories])
        for side in (0, 1)
    )
    end = start + length
    expected = [
        begins is not None and start <= begins < end and (ends is None or ends <= end)
        for begins, ends in memories
    ]
    assert happened_within(t_ref, t_end, start, end).tolist() == expected
