"""Whether what was sampled shows a leak."""

import statistics
from collections.abc import Sequence
from typing import Any

MOST_GROWTH = 0.05  # of the memory taken, from the first to the last third of the steady phase
ROOM_MIB = 12.0  # more than that: caches and dead rows come and go
LOG_MIB = 16.0  # the write-ahead log begins anew behind 4 MiB; long reads delay that
FEW = 6  # more descriptors or threads in the last third than in the first


def checks(steady: Sequence[dict[str, Any]], who: str) -> list[dict[str, Any]]:
    """Return one result per check of a process's samples, taken while the store's size is held."""
    third = max(1, len(steady) // 3)
    found = []
    for name, share, room in (
        ("anonymous_mib", MOST_GROWTH, ROOM_MIB),
        ("descriptors", 0.0, FEW),
        ("threads", 0.0, FEW),
    ):
        first = statistics.median(sample[name] for sample in steady[:third])
        last = statistics.median(sample[name] for sample in steady[-third:])
        fine = last <= first * (1 + share) + room
        found.append({"check": f"{who}: {name} is flat", "first": first, "last": last, "ok": fine})
    return found


def check_log(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return whether the write-ahead log stayed small, but for purges that rewrite everything."""
    largest = max(sample["log_mib"] - sample["database_mib"] for sample in samples)
    median = statistics.median(sample["log_mib"] for sample in samples)
    return {
        "check": "the write-ahead log is bounded",
        "median_mib": median,
        "largest_mib": max(sample["log_mib"] for sample in samples),
        "ok": median <= LOG_MIB and largest <= LOG_MIB,
    }


def bytes_per_memory(grown: Sequence[dict[str, Any]]) -> int | None:
    """Return the slope of anonymous memory over the number of memories, by least squares."""
    if len(grown) < 3:
        return None
    slope, _ = statistics.linear_regression(
        [sample["memories"] for sample in grown],
        [sample["anonymous_mib"] * 2**20 for sample in grown],
    )
    return round(slope)
