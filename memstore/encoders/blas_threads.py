"""One BLAS thread for small multiplications.

A query is some forty multiplications of well under a millisecond each. OpenBLAS splits them over
all cores, and its threads wait for each other by spinning: on two idle cores that saves a third of
the time, on two busy ones it costs ten times as much (34 ms became 480 ms).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_users = 0
_before: list[int] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread inside the block.

    The limit holds for the whole process. However the blocks of several threads overlap, the first
    to begin sets it and the last to end restores what was there before. (threadpoolctl's own
    context manager restores the limit of 1 in that case, and leaves it there.)
    """
    global _users, _before
    with _lock:
        if _users == 0:
            _before = [library.get_num_threads() for library in blas_libraries()]
            _set_threads([1] * len(_before))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set_threads(_before)


def _in_child() -> None:
    """Restore, after a fork, what a thread that has stayed in the parent would have restored."""
    global _lock, _users
    _lock = threading.Lock()
    if _users:
        _users = 0
        _set_threads(_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@cache
def blas_libraries() -> Sequence[Any]:
    """Return threadpoolctl's controllers of the BLAS libraries loaded at the first call."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # has none

    # Finding the loaded libraries takes a millisecond; numpy's is there from the start.
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_threads(counts: Sequence[int]) -> None:
    for library, count in zip(blas_libraries(), counts, strict=True):
        library.set_num_threads(count)
        # From 3.8 on, threadpoolctl lets only the thread that set OpenBLAS's limit change it until
        # it gives that up. Here the thread that restores may be another one.
        give_up = getattr(library, "clear_controlling_thread", None)
        if give_up is not None:
            give_up(force=True)
