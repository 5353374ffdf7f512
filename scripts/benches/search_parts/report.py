"""Results as Markdown tables, and as a drawing of time against size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]

_MILLISECONDS = "p50_ms p95_ms min_ms cpu_p50_ms"
_RATIOS = "ratio_p50 cpu_ratio"
TABLES = {
    "query": ("Search", f"passages peer threads {_MILLISECONDS} overlap_at_10 {_RATIOS} target"),
    "build": ("Building, without encoding", "passages peer threads cpu_s peak_mb ratio target"),
    "size": ("Size on disk", "passages peer tokens mb bytes_per_token data"),
    "memory": ("Memory after searching", "passages peer peak_mb private_mb"),
    "open": ("A fresh process", "passages peer imported_s first_result_s"),
    "add": ("Adding", "passages peer added findable_ms durable_ms ratio target"),
    "kernel": (
        "Kernels",
        "kernel query_tokens instruction_set min_ns ratio floor_share target",
    ),
}

WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 220, 40, 55
COLOURS = ("#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#5c3d00", "#495057", "#c2255c", "#1971c2")


def markdown(rows: Sequence[Row]) -> str:
    """Return one table per kind of result that there is."""
    parts = []
    for kind, (title, names) in TABLES.items():
        own = [row for row in rows if row["bench"] == f"search.{kind}"]
        if not own:
            continue
        columns = [name for name in names.split() if any(_cell(row, name) for row in own)]
        lines = [f"## {title}", "", _line(columns), _line(["---"] * len(columns))]
        lines += [_line(_cell(row, name) for name in columns) for row in own]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(row: Row, name: str) -> str:
    if name == "min_ns":
        found = [
            f"{value} / {key.removeprefix('min_ns_per_')}"
            for key, value in row.items()
            if key.startswith("min_ns_per_")
        ]
        return found[0] if found else ""
    value = row.get(name)
    if value is None:
        return ""
    if name in ("passages", "tokens"):
        return f"{value:,}"
    return f"{value}×" if "ratio" in name else str(value)


def plot(rows: Sequence[Row]) -> str:
    """Draw the median milliseconds of each peer on one thread against passages, log on both axes,
    as SVG.
    """
    lines: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["bench"] == "search.query" and row["threads"] == 1 and row["p50_ms"] > 0:
            # the synthetic size has no other: there ours ran alone
            name = row["peer"].removesuffix(", alone")
            if not name.endswith(("own build, defaults", "equal overlap")):
                lines.setdefault(name, {})[row["passages"]] = row["p50_ms"]
    sizes = sorted({size for points in lines.values() for size in points})
    values = [value for points in lines.values() for value in points.values()]
    if not values:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>\n'
    across = _Axis(min(sizes), max(sizes), LEFT, WIDTH - RIGHT, margin=0.08)
    up = _Axis(min(values), max(values), HEIGHT - BOTTOM, TOP, margin=0.05)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">'
    )
    parts = [
        opening,
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 24, "Median search time, one thread (ms)", size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "passages", anchor="middle"),
    ]
    for size in sizes:
        x = across.place(size)
        parts.append(_stroke([(x, HEIGHT - BOTTOM), (x, TOP)], "#e9ecef"))
        parts.append(_text(x, HEIGHT - BOTTOM + 20, f"{size:,}", anchor="middle"))
    for value in up.ticks():
        y = up.place(value)
        parts.append(_stroke([(LEFT, y), (WIDTH - RIGHT, y)], "#e9ecef"))
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", anchor="end"))
    ends = []
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(across.place(size), up.place(points[size])) for size in sorted(points)]
        parts.append(_stroke(places, colour, width=2.5 if name == "memstore" else 1.5))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        ends.append((places[-1][1], name, colour, places[-1][0]))
    for y, (end, name, colour, x) in zip(_apart([e[0] for e in ends]), sorted(ends), strict=True):
        aside = WIDTH - RIGHT + 18
        parts.append(_stroke([(x + 5, end), (aside - 4, y)], colour, width=0.6))
        parts.append(_text(aside, y + 4, name, fill=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axis:
    """Places values between two ends by their logarithm."""

    def __init__(self, least: float, most: float, begin: float, end: float, margin: float) -> None:
        low, high = math.log10(least), math.log10(most)
        room = max(high - low, 0.3) * margin
        self._low, self._high = low - room, max(high, low + 0.3) + room
        self._begin, self._end = begin, end

    def place(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> list[float]:
        exponents = range(math.floor(self._low), math.ceil(self._high) + 1)
        values = [step * 10.0**exponent for exponent in exponents for step in (1, 2, 5)]
        return [value for value in values if self._low <= math.log10(value) <= self._high]


def _apart(places: Sequence[float]) -> list[float]:
    """Return the places in order, moved so that labels at them do not overlap."""
    moved: list[float] = []
    for place in sorted(places):
        moved.append(max(place, moved[-1] + 17) if moved else place)
    over = moved[-1] - (HEIGHT - BOTTOM) if moved else 0
    return [place - max(0, over) for place in moved]


def _stroke(places: Sequence[tuple[float, float]], colour: str, *, width: float = 1) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, fill: str = "#212529"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{fill}">{escape(text)}</text>'
    )
