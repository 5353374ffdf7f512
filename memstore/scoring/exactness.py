"""Whether searching only a pool of candidates can have missed one of the best."""

from __future__ import annotations

import math

from memstore.scoring.profiles import Profile

_ROUNDING = 1e-9  # nats; what two ways to compute one hyperbolic tangent may differ by, and more


def exact_topk(
    best_outside: float | None,
    kth_score: float | None,
    *,
    currency: float,
    profile: Profile,
    nothing_outside: bool = False,
) -> bool:
    """Return whether scoring every memory would certainly give the same best k.

    A diagnostic: False says that nobody can tell, not that something was missed.

    Args:
        best_outside: the best log-odds a memory outside the pool can have, in nats; None where
            the index sets no bound.
        kth_score: final score of the last hit, in nats; None where there are fewer than asked for.
        currency: weight of currency in this query, in nats, after temporal intent.
        nothing_outside: the pool was everything that could be found.
    """
    if nothing_outside:
        return True
    if best_outside is None or kth_score is None:
        return False
    if profile.cap == 0.0:
        return best_outside < kth_score
    # every component is at most 1
    weights = (currency, profile.use, profile.trust, profile.entity, profile.importance)
    most = profile.cap * math.tanh(sum(weights) / profile.cap)
    return best_outside + most + _ROUNDING < kth_score
