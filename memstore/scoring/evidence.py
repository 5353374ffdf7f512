"""What the event log makes of a memory: trust from votes, use from uses. Pure replay.

The columns of a memory are a cache of this; `verify` compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PRIOR_WEIGHT = 2.0  # alpha + beta before anyone has voted: three votes make 5.0 an 8.0
RECENT_USES = 8  # kept exactly; of older ones the first and the number (cognitive-scoring, 5.2)
BURST = 600_000_000  # microseconds within which one session's uses are one


@dataclass(frozen=True, slots=True)
class Vote:
    """What a source says of a memory now: its last word counts. `weight` is 0 to 1."""

    source: int
    confirms: bool
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Uses:
    """How often a memory was used, when first, and when most recently, the oldest first; UTC
    microseconds.
    """

    count: int = 0
    first: int | None = None
    recent: tuple[int, ...] = ()


def posterior(prior: float, votes: Iterable[Vote] = ()) -> tuple[float, float]:
    """Return alpha and beta of the trust in a memory.

    Args:
        prior: 0 to 1, before anyone has voted.
        votes: one per source.

    >>> posterior(0.5), posterior(0.5, [Vote(source, True) for source in (1, 2, 3)])
    ((1.0, 1.0), (4.0, 1.0))
    """
    alpha, beta = PRIOR_WEIGHT * prior, round(PRIOR_WEIGHT * (1.0 - prior), 12)
    for vote in sorted(votes, key=lambda vote: vote.source):  # one order, one rounding
        if vote.confirms:
            alpha += vote.weight
        else:
            beta += vote.weight
    return alpha, beta


def count_uses(uses: Iterable[tuple[int, str | None]]) -> Uses:
    """Return what is kept of uses, given when and in which session each was.

    Uses of one session within ten minutes of each other are one, at the time of the last: the sum
    of traces knows no spacing, and massed uses would be worth as much as spaced ones.

    >>> count_uses([(0, "a"), (60_000_000, "a"), (60_000_000, "b")])
    Uses(count=2, first=0, recent=(60000000, 60000000))
    """
    times: list[int] = []
    first: int | None = None
    last: dict[str | None, int] = {}  # session → place of its last use in `times`
    for at, session in sorted(uses, key=lambda use: (use[0], use[1] or "")):
        first = at if first is None else first
        place = last.get(session)
        if place is not None and at - times[place] < BURST:
            times[place] = at
        else:
            last[session] = len(times)
            times.append(at)
    return Uses(len(times), first, tuple(sorted(times)[-RECENT_USES:]))


def pack_uses(recent: Sequence[int]) -> bytes | None:
    """Return recent uses as they are stored: little-endian int64, the oldest first; None for none.

    >>> unpack_uses(pack_uses([1, 2])), pack_uses([])
    ((1, 2), None)
    """
    return b"".join(at.to_bytes(8, "little", signed=True) for at in recent) or None


def unpack_uses(stored: bytes | None) -> tuple[int, ...]:
    """Return stored recent uses."""
    written = stored or b""
    return tuple(
        int.from_bytes(written[place : place + 8], "little", signed=True)
        for place in range(0, len(written) - 7, 8)
    )
