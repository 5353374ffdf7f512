"""Texts that say nearly the same, and the rule that the newest of them comes first."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from memstore.scoring.components import Values

SAME = 0.5  # share of common words from which two texts are near-duplicates
DEPTH = 50  # best candidates that are compared with each other

_WORD = re.compile(r"\w+")


def near_duplicates(texts: Sequence[str]) -> list[list[int]]:
    """Return the places of texts that are near-duplicates of each other, in groups of at least two.

    Two texts are if at least half of the distinct words of both are in both, whatever their case;
    what both resemble a third one is in its group.

    >>> near_duplicates(["Ana lives in Porto", "Tea?", "Ana lives in Lisbon now"])
    [[0, 2]]
    """
    words = [frozenset(_WORD.findall(text.casefold())) for text in texts]
    group = list(range(len(texts)))
    for later in range(len(texts)):
        for earlier in range(later):
            common = len(words[later] & words[earlier])
            whole = len(words[later]) + len(words[earlier]) - common
            if whole and common >= SAME * whole and group[later] != group[earlier]:
                old, new = group[later], group[earlier]
                group = [new if item == old else item for item in group]
    found: dict[int, list[int]] = {}
    for place, item in enumerate(group):
        found.setdefault(item, []).append(place)
    return [places for places in found.values() if len(places) > 1]


def newest_first(scores: Values, times: Values, texts: Sequence[str]) -> Values:
    """Return what to add to each score, in nats, so that of near-duplicates the newest has the best
    score of them, the next one the next best, and so on; all other scores stay.

    Args:
        times: of the facts, NaN where unknown: these come last.
        texts: (memories,), of the same ones.
    """
    shifts = np.zeros(len(scores))
    for places in near_duplicates(texts):
        members = np.array(places)
        ranked = members[np.lexsort((members, -scores[members], -times[members]))]
        shifts[ranked] = np.sort(scores[members])[::-1] - scores[ranked]
    return shifts
