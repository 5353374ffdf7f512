"""Searches that take turns in one run, and the figures of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search_parts.peers import Driver

LIMIT = 10
BLOCK = 10  # queries that one side answers before it is the other's turn
PAUSE = 0.05  # seconds: threads that wait for work spin for a while, and would slow the other side

Found = dict[int, list[int]]  # query number → ids, best first


@dataclass
class Timing:
    """What one side took, by the clock and on processors, and found."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    found: Found = field(default_factory=dict)

    def take(self, driver: Driver, data: str, numbers: Sequence[int], **options: Any) -> None:
        answer = driver("search", data=data, numbers=list(numbers), **options)
        self.seconds += answer["seconds"]
        self.cpu += answer["cpu"]
        self.found.update(zip(numbers, answer["ids"], strict=True))

    @property
    def p50_ms(self) -> float:
        return milliseconds(self.seconds, 0.5)

    @property
    def cpu_p50_ms(self) -> float:
        """On one thread: what `p50_ms` is where nothing else runs."""
        return milliseconds(self.cpu, 0.5)

    def overlap(self, truth: Found) -> float:
        """Return the mean share of the true best that were found."""
        shares = [
            len(set(ids[:LIMIT]) & set(truth[number])) / len(truth[number])
            for number, ids in self.found.items()
        ]
        return sum(shares) / len(shares)

    def figures(self, truth: Found | None) -> dict[str, Any]:
        overlap = {} if truth is None else {"overlap_at_10": round(self.overlap(truth), 4)}
        return {
            "queries": len(self.found),
            "p50_ms": round(self.p50_ms, 3),
            "p95_ms": round(milliseconds(self.seconds, 0.95), 3),
            "min_ms": round(milliseconds(self.seconds, 0.0), 3),
            "cpu_p50_ms": round(self.cpu_p50_ms, 3),
            **overlap,
            "cores_busy": round(sum(self.cpu) / sum(self.seconds), 2),
        }


def milliseconds(seconds: Sequence[float], quantile: float) -> float:
    return float(np.quantile(seconds, quantile)) * 1000


def alternate(
    ours: Driver,
    other: Driver,
    data: str,
    numbers: Sequence[int],
    rounds: int,
    own: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[Timing, Timing]:
    """Let ours answer each block of queries before and after the other; return both timings.

    Args:
        own: options of ours; the others are the other's.
    """
    mine, theirs = Timing(), Timing()
    for block in _blocks(numbers, rounds):
        mine.take(ours, data, block, **(own or {}))
        theirs.take(other, data, block, **options)
        time.sleep(PAUSE)
        mine.take(ours, data, block, **(own or {}))
    return mine, theirs


def alone(ours: Driver, data: str, numbers: Sequence[int], rounds: int) -> Timing:
    mine = Timing()
    for block in _blocks(numbers, rounds):
        mine.take(ours, data, block)
    return mine


def _blocks(numbers: Sequence[int], rounds: int) -> list[Sequence[int]]:
    return [
        numbers[first : first + BLOCK]
        for _ in range(rounds)
        for first in range(0, len(numbers), BLOCK)
    ]


def tune_memstore(
    ours: Driver, data: str, numbers: Sequence[int], truth: Found, wanted: float
) -> tuple[dict[str, int], bool]:
    """Return the fastest depths of ours that reach an overlap, and whether any do."""
    reached: list[tuple[float, dict[str, int]]] = []
    for nprobe in (1, 2, 3, 4, 8):
        for exact in (10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024):
            depths = {"exact": exact, "nprobe": nprobe}
            timing = Timing()
            timing.take(ours, data, numbers, **depths)
            if timing.overlap(truth) >= wanted:
                reached.append((timing.cpu_p50_ms, depths))
                break
    if reached:
        return min(reached, key=lambda item: item[0])[1], True
    return depths, False


def tune_fast_plaid(
    driver: Driver, data: str, numbers: Sequence[int], truth: Found, wanted: float, passages: int
) -> tuple[dict[str, int], bool]:
    """Return the fastest options that reach an overlap, and whether any do; else the nearest."""
    reached: list[tuple[float, dict[str, int]]] = []
    nearest: tuple[float, dict[str, int]] = (-1.0, {})
    for probes in (1, 2, 4, 8, 16, 32):
        for scored in (64, 128, 256, 512, 1024, 2048, 4096, 8192):
            if scored > 2 * passages:
                break
            options = {"n_ivf_probe": probes, "n_full_scores": scored}
            timing = Timing()
            timing.take(driver, data, numbers, **options)
            overlap, median = timing.overlap(truth), timing.cpu_p50_ms
            nearest = max(nearest, (overlap, options), key=lambda item: item[0])
            if reached and median > min(reached, key=lambda item: item[0])[0]:
                break  # more of it only takes longer
            if overlap >= wanted:
                reached.append((median, options))
                break
    if reached:
        return min(reached, key=lambda item: item[0])[1], True
    return nearest[1], False
