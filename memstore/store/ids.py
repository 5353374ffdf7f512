"""ULIDs: 26 characters that sort by time and never repeat."""

from __future__ import annotations

import os

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O or U


def new_id(now: int) -> str:
    """Return a new ULID: 48 bits of milliseconds, 80 random bits.

    Args:
        now: UTC microseconds.

    Source: the ULID specification (github.com/ulid/spec).

    >>> len(new_id(0)), new_id(1_700_000_000_000_000) > new_id(1_600_000_000_000_000)
    (26, True)
    """
    value = (now // 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
