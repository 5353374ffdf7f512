"""From texts to what is stored of them: passages with their quantised token vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memstore import passages
from memstore.catalog.vectors import PassageVectors
from memstore.encoders import DocumentText, Encoder
from memstore.index import quantize
from memstore.maxsim import TokenVectors
from memstore.settings import Settings

_AT_ONCE = 512  # passages: as 32-bit floats they take up to 70 MB before they are quantised
_SPECIAL_TOKENS = 3  # [CLS], [SEP] and, for some checkpoints, a marker
_TITLE_TOKENS = 64  # of a passage: more would crowd out the text itself


@dataclass(frozen=True, slots=True)
class Written:
    """What of a memory is encoded: its text, its title, what precedes it in its session."""

    text: str
    title: str | None
    context: tuple[str, ...]


def encode(
    encoder: Encoder, settings: Settings, written: Sequence[Written]
) -> list[tuple[PassageVectors, ...]]:
    """Return the passages of each text with vectors of the given encoder."""
    spans = []
    documents = []
    for item in written:
        heading = passage_heading(encoder, item.title)
        room = min(encoder.identity.document_length, settings.passage_tokens)
        room = max(1, room - _SPECIAL_TOKENS - len(encoder.token_spans(heading)))
        found = passages.split(
            item.text,
            encoder.token_spans(item.text),
            max_tokens=room,
            overlap_tokens=min(settings.overlap_tokens, room // 4),
        )
        spans.append(found)
        for ordinal, span in enumerate(found):
            text = f"{heading}{item.text[span.start : span.end]}"
            documents.append(DocumentText(text, item.context if ordinal == 0 else ()))
    encoded = (
        vectors
        for first in range(0, len(documents), _AT_ONCE)
        for vectors in encoder.encode_documents(documents[first : first + _AT_ONCE])
    )
    return [
        tuple(_quantised(span.start, span.end, next(encoded)) for span in found) for found in spans
    ]


def passage_heading(encoder: Encoder, title: str | None) -> str:
    """Return what goes in front of every passage: the title, at most `_TITLE_TOKENS` of it."""
    if title is None:
        return ""
    spans = encoder.token_spans(title)
    return f"{title if len(spans) <= _TITLE_TOKENS else title[: spans[_TITLE_TOKENS][0]]} "


def _quantised(start: int, end: int, token_vectors: TokenVectors) -> PassageVectors:
    codes, scales = quantize(token_vectors)
    return PassageVectors(
        start=start,
        end=end,
        tokens=len(codes),
        codes=codes.tobytes(),
        scales=scales.astype("<f4").tobytes(),
    )
