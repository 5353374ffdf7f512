"""Hits as text for a prompt, in three styles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

from memstore.errors import BadInput
from memstore.times import iso

if TYPE_CHECKING:
    from memstore.types import Hit

# https://www.w3.org/TR/xml/#charsets, turned round
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

RenderStyle = Literal["text", "markdown", "xml"]


def render_hits(hits: Sequence[Hit], style: RenderStyle) -> str:
    """Return one block of text with a line or element per hit.

    Line breaks inside a hit become spaces in `text` and `markdown`, so that recalled text cannot
    pass itself off as another hit; in `xml` it is escaped, and characters that XML has no way to
    write become U+FFFD.

    Raises:
        BadInput: the style is unknown.
    """
    if style == "text":
        return "\n".join(f"[{hit.rank}] {_line(hit)}" for hit in hits)
    if style == "markdown":
        return "\n".join(f"{hit.rank}. {_line(hit)}" for hit in hits)
    if style == "xml":
        body = "\n".join(_element(hit) for hit in hits)
        return f"<memories>\n{body}\n</memories>" if hits else "<memories/>"
    raise BadInput(f"Render style {style!r} is unknown. Use text, markdown or xml.")


def _line(hit: Hit) -> str:
    notes = [text for text in (_when(hit), hit.memory.source) if text]
    suffix = f" ({', '.join(notes)})" if notes else ""
    title = f"{hit.memory.title}: " if hit.memory.title else ""
    return " ".join(f"{title}{hit.passage.text}{suffix}".split())


def _element(hit: Hit) -> str:
    attributes = {"rank": str(hit.rank), "id": hit.memory.id}
    if _when(hit):
        attributes["time"] = _when(hit)
    if hit.memory.source:
        attributes["source"] = hit.memory.source
    if hit.memory.title:
        attributes["title"] = hit.memory.title
    written = " ".join(f"{name}={quoteattr(_xml(value))}" for name, value in attributes.items())
    return f"<memory {written}>{escape(_xml(hit.passage.text))}</memory>"


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _when(hit: Hit) -> str:
    """Return when it happened, as precisely as is known; empty if nobody knows."""
    written = iso(hit.memory.occurred_at or hit.memory.recorded_at)
    lengths = {"year": 4, "month": 7, "day": 10, "unknown": 0}
    return written[: lengths.get(hit.memory.precision, len(written))]
