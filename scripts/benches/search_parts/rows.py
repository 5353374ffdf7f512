"""Measurements as the fields of one line, with the targets of the project where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_parts.timing import Found, Timing

Row = dict[str, Any]

TARGETS_MS = {5_000: 0.5, 20_000: 1.0, 100_000: 4.0, 1_000_000: 8.0}


def time_target(passages: int) -> Row:
    return {"target": f"<= {TARGETS_MS[passages]} ms"} if passages in TARGETS_MS else {}


def megabytes(size: float) -> float:
    return round(size / 1e6, 1)


def memory_fields(memory: Mapping[str, float]) -> Row:
    return {f"{name}_mb": megabytes(size) for name, size in memory.items()}


def query_row(
    peer: str, threads: int, timing: Timing, truth: Found | None, mine: Timing | None = None
) -> Row:
    row = {"bench": "query", "peer": peer, "threads": threads, **timing.figures(truth)}
    if mine is not None:
        row["memstore_p50_ms"] = round(mine.p50_ms, 3)
        row["ratio_p50"] = round(timing.p50_ms / mine.p50_ms, 1)
        row["memstore_cpu_p50_ms"] = round(mine.cpu_p50_ms, 3)
        row["cpu_ratio"] = round(timing.cpu_p50_ms / mine.cpu_p50_ms, 1)
    return row


def build_row(
    peer: str,
    built: Mapping[str, float],
    memory: Mapping[str, float],
    own: float | None,
    passages: int,
) -> Row:
    row: Row = {
        "bench": "build",
        "peer": peer,
        "threads": 1,
        "cpu_s": round(built["cpu_s"], 2),
        "wall_s": round(built["wall_s"], 2),
        **memory_fields(memory),
    }
    if "train_s" in built:
        row["train_s"] = round(built["train_s"], 2)
    if own is not None:
        row["ratio"] = round(built["cpu_s"] / own, 1)
    elif passages == 5_000:
        row["target"] = "<= 3 CPU seconds"
    return row


def size_row(peer: str, size: int, tokens: int, **more: Any) -> Row:
    return {
        "bench": "size",
        "peer": peer,
        "tokens": tokens,
        "mb": megabytes(size),
        "bytes_per_token": round(size / tokens, 1),
        **more,
    }


def add_rows(
    peer: str, took: Mapping[str, Mapping[str, float]], own: Mapping[int, float] | None
) -> list[Row]:
    rows = []
    for count, seconds in took.items():
        durable = (seconds["findable_s"] + seconds["durable_s"]) * 1000
        row: Row = {
            "bench": "add",
            "peer": peer,
            "added": int(count),
            "findable_ms": round(seconds["findable_s"] * 1000, 2),
            "durable_ms": round(durable, 2),
        }
        if own is None:
            row["target"] = "<= 5 ms" if count == "1" else "<= 60 ms"
        elif int(count) in own:
            row["ratio"] = round(durable / own[int(count)], 1)
        rows.append(row)
    return rows
