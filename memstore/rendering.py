"""Hits as text for a prompt, in three styles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from memstore.errors import BadInput
from memstore.times import iso

if TYPE_CHECKING:
    from memstore.types import Hit, Memory, Passage

# What is no character of XML (https://www.w3.org/TR/xml/#charsets), and what some terminals obey:
# DEL and C1, of which NEL is a line break.
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

RenderStyle = Literal["text", "markdown", "xml"]
RenderOrder = Literal["score", "time"]

_AROUND = "<memories>\n{}\n</memories>"


def render_hits(hits: Sequence[Hit], style: RenderStyle, order: RenderOrder = "score") -> str:
    """Return one block of text with a line or element per hit.

    Line breaks inside a hit become spaces in `text` and `markdown`, so that recalled text cannot
    pass itself off as another hit; in `xml` it is escaped. Control characters, and what XML has no
    way to write, become U+FFFD.

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
    # split first: to it some of the control characters are line breaks
    return harmless(" ".join(f"{title}{passage.text}{suffix}".split()))


def _element(rank: int, memory: Memory, passage: Passage) -> str:
    return element("memory", {"rank": str(rank), **attributes_of(memory)}, passage.text)


def attributes_of(memory: Memory) -> dict[str, str]:
    """Return what an element says of a memory beside its text, as far as there is something."""
    when = _when(memory)
    known = {
        "id": memory.id,
        "key": memory.key,
        "time": when + "Z" * ("T" in when),
        "source": memory.source,
        "title": memory.title,
    }
    return {name: value for name, value in known.items() if value}


def element(name: str, attributes: Mapping[str, str], text: str) -> str:
    """Return an XML element out of which no text or attribute can break."""
    from xml.sax.saxutils import escape, quoteattr  # loads an HTTP client: 24 ms of a cold query

    written = "".join(
        f" {attribute}={quoteattr(harmless(value))}" for attribute, value in attributes.items()
    )
    return f"<{name}{written}>{escape(harmless(text))}</{name}>"


def harmless(text: str) -> str:
    """Return a text with U+FFFD for every character that is a command and not a sign."""
    return _CONTROL.sub("\ufffd", text)


def _when(memory: Memory) -> str:
    """Return when it happened in UTC, as precisely as is known, but no more than to the minute: in
    a prompt every digit costs. Empty if nobody knows.
    """
    written = iso(memory.occurred_at or memory.recorded_at)
    lengths = {"year": 4, "month": 7, "day": 10, "unknown": 0}
    return written[: lengths.get(memory.precision, len("2026-03-02T12:00"))]
