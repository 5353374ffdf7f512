"""ULIDs: 26 characters that sort by time and never repeat."""

from __future__ import annotations

import os
import threading

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O or U
_STEP = 1 << 40  # random bits left to each id of a millisecond
_last = (-1, 0)  # process, and the last id that was made in it
_lock = threading.Lock()


def new_id(now: int) -> str:
    """Return a new ULID: 48 bits of milliseconds, 80 random bits.

    Those made in one millisecond sort in the order in which they were made: what is stored together
    is found in the same order, by whichever process, where nothing else decides.

    Args:
        now: UTC microseconds.

    Source: the ULID specification (github.com/ulid/spec), "monotonicity".

    >>> len(new_id(0)), new_id(1_700_000_000_000_000) > new_id(1_600_000_000_000_000)
    (26, True)
    >>> made = [new_id(5) for _ in range(100)]
    >>> made == sorted(set(made))
    True
    """
    global _last
    value = (now // 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    with _lock:
        process, last = _last
        # a forked child must not go on where its parent does
        if process == os.getpid() and last >> 80 == value >> 80:
            following = last + 1 + int.from_bytes(os.urandom(5), "big") % _STEP
            if following >> 80 == value >> 80:
                value = following
        _last = (os.getpid(), value)
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
