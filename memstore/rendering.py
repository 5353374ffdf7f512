"""Hits as text for a prompt, in three styles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args
from xml.sax.saxutils import escape, quoteattr

from memstore.errors import BadInput
from memstore.times import iso

if TYPE_CHECKING:
    from memstore.types import Hit, Memory, Passage

# https://www.w3.org/TR/xml/#charsets, turned round
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

RenderStyle = Literal["text", "markdown", "xml"]
RenderOrder = Literal["score", "time"]

_AROUND = "<memories>\n{}\n</memories>"


def render_hits(hits: Sequence[Hit], style: RenderStyle, order: RenderOrder = "score") -> str:
    """Return one block of text with a line or element per hit.

    Line breaks inside a hit become spaces in `text` and `markdown`, so that recalled text cannot
    pass itself off as another hit; in `xml` it is escaped, and characters that XML has no way to
    write become U+FFFD.

    Args:
        order: `score`, the best one first; or `time`, what happened first first, each with the
            rank it has all the same.

    Raises:
        BadInput: the style or the order is unknown.
    """
    check_style(style)
    if order == "time":
        hits = sorted(hits, key=lambda hit: hit.memory.occurred_at or hit.memory.recorded_at)
    elif order != "score":
        raise BadInput(f"Render order {order!r} is unknown. Use score or time.")
    written = [render_hit(hit.rank, hit.memory, hit.passage, style) for hit in hits]
    if style != "xml":
        return "\n".join(written)
    return _AROUND.format("\n".join(written)) if written else "<memories/>"


def render_hit(rank: int, memory: Memory, passage: Passage, style: RenderStyle) -> str:
    """Return one hit as `render_hits` writes it."""
    if style == "xml":
        return _element(rank, memory, passage)
    return (
        f"[{rank}] {_line(memory, passage)}"
        if style == "text"
        else (f"{rank}. {_line(memory, passage)}")
    )


def around(style: RenderStyle) -> str:
    """Return what `render_hits` writes around the hits of which there is one at least."""
    return _AROUND.format("") if style == "xml" else ""


def check_style(style: object) -> None:
    """Refuse a style that nobody knows."""
    if style not in get_args(RenderStyle):
        raise BadInput(f"Render style {style!r} is unknown. Use text, markdown or xml.")


def _line(memory: Memory, passage: Passage) -> str:
    notes = [text for text in (_when(memory).replace("T", " "), memory.source) if text]
    suffix = f" ({', '.join(notes)})" if notes else ""
    title = f"{memory.title}: " if memory.title else ""
    return " ".join(f"{title}{passage.text}{suffix}".split())


def _element(rank: int, memory: Memory, passage: Passage) -> str:
    attributes = {"rank": str(rank), "id": memory.id}
    when = _when(memory)
    if when:
        attributes["time"] = when + "Z" * ("T" in when)
    if memory.source:
        attributes["source"] = memory.source
    if memory.title:
        attributes["title"] = memory.title
    written = " ".join(f"{name}={quoteattr(_xml(value))}" for name, value in attributes.items())
    return f"<memory {written}>{escape(_xml(passage.text))}</memory>"


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _when(memory: Memory) -> str:
    """Return when it happened in UTC, as precisely as is known, but no more than to the minute: in
    a prompt every digit costs. Empty if nobody knows.
    """
    written = iso(memory.occurred_at or memory.recorded_at)
    lengths = {"year": 4, "month": 7, "day": 10, "unknown": 0}
    return written[: lengths.get(memory.precision, len("2026-03-02T12:00"))]
