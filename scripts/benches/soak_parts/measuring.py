"""What a process takes of the system, read from /proc."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MIB = 1 << 20


def own_process() -> dict[str, Any]:
    """Return this process's memory in MiB (`anonymous`: without mapped files), and its handles."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "rss_mib": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "anonymous_mib": round(int(status["RssAnon"].split()[0]) / 1024, 1),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,
        "threads": threading.active_count(),
    }


def of_store(path: Path) -> dict[str, Any]:
    """Return the sizes of a store's files in MiB."""
    sizes: dict[str, int] = {}
    for file in path.rglob("*"):
        try:
            sizes[file.name] = sizes.get(file.name, 0) + file.stat().st_size
        except FileNotFoundError:  # sealed or checkpointed away meanwhile
            continue
    return {
        "log_mib": round(sizes.get("memstore.db-wal", 0) / MIB, 2),
        "database_mib": round(sizes.get("memstore.db", 0) / MIB, 1),
        "disk_mib": round(sum(sizes.values()) / MIB, 1),
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the largest, in milliseconds."""
    ordered = sorted(seconds)
    points = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
        for name, share in points.items()
    }
