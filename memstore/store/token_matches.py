"""Which token of a query met which token of a passage: late interaction, told to people."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from memstore.encoders import Encoder, QueryVectors, VectorSpan
from memstore.maxsim import TokenVectors
from memstore.store.encoding import passage_heading, pooled
from memstore.types import Memory, Passage, TokenMatch

# The vectors (tokens, dim) of a passage by its id; None where there are none.
StoredVectors = Callable[[int], TokenVectors | None]
# Reads the passage of a memory's row again: a vector per token, which the store does not keep.
ReadAgain = Callable[[int, Passage], TokenVectors]

# Cosine of a stored vector and of what is pooled now; compression to 1 bit alone leaves .9.
_SAME = 0.8


def token_matches(
    encoder: Encoder,
    memory: Memory,
    passage: Passage,
    *,
    stored: TokenVectors,
    query: QueryVectors,
    weights: NDArray[np.float64],
    pooling: int = 1,
    read_again: Callable[[], TokenVectors] | None = None,
) -> tuple[TokenMatch, ...]:
    """Return the best match of each query token in the passage; of equal ones the first.

    Empty if the encoder does not make as many vectors of the passage now as are stored: it or its
    settings changed since, and to say which vector is which token would be a guess.

    Args:
        stored: (tokens, dim), the passage's vectors.
        weights: (query tokens,), each >= 0, not all zero.
        pooling: how many tokens share a vector, on average. Then it is the most similar one of
            them that is named.
        read_again: returns a vector per token, (tokens, dim); needed where tokens are pooled.
    """
    heading = passage_heading(encoder, memory.title)
    spans = encoder.vector_spans(f"{heading}{passage.text}")
    own, clusters = stored, np.arange(len(stored))
    if pooling > 1 and read_again is not None and len(spans) != len(stored):
        own = read_again()
        shared, clusters = pooled(encoder, f"{heading}{passage.text}", own, pooling)
        if shared.shape != stored.shape or (shared * stored).sum(axis=1).min() < _SAME:
            return ()
    if len(spans) != len(clusters):
        return ()
    # Not a matrix product, in which equal tokens may differ in the last bit by where they stand.
    similarities = np.einsum("qd,td->qt", query.vectors, stored)
    best = similarities.argmax(axis=1).tolist()
    shares = (weights / weights.sum()).tolist()
    matches = []
    for number, (label, row, vector, share) in enumerate(
        zip(query.tokens, similarities, best, shares, strict=True)
    ):
        members = np.flatnonzero(clusters == vector)
        token = int(members[np.einsum("d,td->t", query.vectors[number], own[members]).argmax()])
        text, start, end = _place(spans[token], heading, passage)
        matches.append(
            TokenMatch(
                query_token=label,
                passage_token=text,
                start=start,
                end=end,
                similarity=float(row[vector]),
                weight=share,
                pooled_with=tuple(
                    _place(spans[other], heading, passage)[0] for other in members if other != token
                ),
            )
        )
    return tuple(matches)


def _place(span: VectorSpan, heading: str, passage: Passage) -> tuple[str, int | None, int | None]:
    """Return a token's text and its characters of the memory's text, if they are any of it.

    >>> _place((4, 9), "Ana: ", Passage(text="moved", start=100, end=105))
    ('move', 100, 104)
    """
    if isinstance(span, str):
        return span, None, None
    start, end = span
    if end <= len(heading):
        return heading[start:end].strip(), None, None
    start, end = max(start - len(heading), 0), end - len(heading)
    token = passage.text[start:end]
    if token.strip():  # some tokenizers count the space before a word as part of it
        start += len(token) - len(token.lstrip())
    return passage.text[start:end], passage.start + start, passage.start + end
