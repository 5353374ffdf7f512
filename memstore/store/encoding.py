"""From texts to what is stored of them: passages with their quantised token vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from memstore import passages
from memstore.catalog.vectors import PassageVectors
from memstore.encoders import DocumentText, Encoder
from memstore.index import Clusters, cluster, pool, quantize
from memstore.maxsim import TokenVectors
from memstore.settings import VectorSettings

_AT_ONCE = 512  # passages: as 32-bit floats they take up to 70 MB before they are quantised
_SPECIAL_TOKENS = 3  # [CLS], [SEP] and, for some checkpoints, a marker
_BEFORE_CHARACTERS = 1_000  # of the text before a passage: more tokens than any encoder reads
_TITLE_TOKENS = 64  # of a passage: more would crowd out the text itself


@dataclass(frozen=True, slots=True)
class Written:
    """What of a memory is encoded: its text, its title, what precedes it in its session."""

    text: str
    title: str | None
    context: tuple[str, ...]


class Encodings:
    """The passages of texts that are going to be stored.

    They are made before the transaction, because encoding takes most of the time. What its rows
    turn out to say and was not foreseen, because somebody else was faster, is encoded then.
    """

    def __init__(
        self, encoder: Encoder, settings: VectorSettings, foreseen: Iterable[Written] = ()
    ) -> None:
        self.encoder = encoder
        self.settings = settings
        distinct = list(dict.fromkeys(foreseen))
        self._made = dict(zip(distinct, encode(encoder, settings, distinct), strict=True))

    def of(self, written: Written) -> tuple[PassageVectors, ...]:
        """Return the passages of a text, in order."""
        if written not in self._made:
            self._made[written] = encode(self.encoder, self.settings, [written])[0]
        return self._made[written]


def encode(
    encoder: Encoder, settings: VectorSettings, written: Sequence[Written]
) -> list[tuple[PassageVectors, ...]]:
    """Return the passages of each text with vectors of the given encoder."""
    spans = []
    documents = []
    context = settings.context_of(encoder.identity.session_context)
    for item in written:
        heading = passage_heading(encoder, item.title)
        room = min(encoder.identity.document_length, settings.passage_tokens)
        if heading:
            room -= len(encoder.token_spans(heading))
        room = max(1, room - _SPECIAL_TOKENS)
        found = passages.split(
            item.text,
            encoder.token_spans(item.text),
            max_tokens=room,
            overlap_tokens=min(settings.overlap_tokens, room // 4),
        )
        spans.append(found)
        documents += [_document(item, heading, span.start, span.end, context) for span in found]
    encoded = (
        pooled(encoder, document.text, token_vectors, settings.pooling)[0]
        for first in range(0, len(documents), _AT_ONCE)
        for document, token_vectors in zip(
            documents[first : first + _AT_ONCE],
            encoder.encode_documents(documents[first : first + _AT_ONCE]),
            strict=True,
        )
    )
    return [
        tuple(_quantised(span.start, span.end, next(encoded)) for span in found) for found in spans
    ]


def encode_passage(
    encoder: Encoder, settings: VectorSettings, written: Written, start: int, end: int
) -> TokenVectors:
    """Return the vectors of each token of a passage, (tokens, dim), as they are before pooling."""
    heading = passage_heading(encoder, written.title)
    context = settings.context_of(encoder.identity.session_context)
    return encoder.encode_documents([_document(written, heading, start, end, context)])[0]


def _document(item: Written, heading: str, start: int, end: int, context: int) -> DocumentText:
    """Return what is read of a passage: the first behind what precedes the text in its session, the
    others behind the end of what the text says before, if context is wanted.
    """
    text = f"{heading}{item.text[start:end]}"
    before = item.text[max(0, start - _BEFORE_CHARACTERS) : start]
    if not before.strip():
        return DocumentText(text, item.context)
    return DocumentText(text, before=before if context else "")


def pooled(
    encoder: Encoder, text: str, token_vectors: TokenVectors, factor: int
) -> tuple[TokenVectors, Clusters]:
    """Return the vectors that are stored, (vectors, dim), and the number of that of each token.

    Only tokens of the text share one: a marker, such as [CLS], stands for something else.

    Args:
        text: of which the encoder made the vectors, (tokens, dim).
    """
    if factor == 1:
        return token_vectors, np.arange(len(token_vectors))
    spans = encoder.vector_spans(text)
    markers = [place for place, span in enumerate(spans) if isinstance(span, str)]
    if len(spans) != len(token_vectors):  # of a checkpoint that pools itself
        markers = []
    clusters = cluster(token_vectors, factor, alone=markers)
    return pool(token_vectors, clusters), clusters


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
