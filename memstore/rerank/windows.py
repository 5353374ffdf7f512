"""Where a text that is longer than a model's limit is cut: overlapping windows of whole tokens."""

from __future__ import annotations

from collections.abc import Sequence

from memstore.rerank import Span

_OVERLAP = 64  # tokens at most that two neighbouring windows share: some two sentences


def cut(text: str, tokens: Sequence[Span], room: int) -> list[Span]:
    """Return windows of at most `room` tokens each that cover the text.

    All but the last have `room` tokens; neighbours share a quarter of them, 64 at most.

    Args:
        tokens: characters [start, end) of each token of the text, in order.
        room: most tokens of a window, at least 1.

    >>> cut("a b c d e", [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)], 4)
    [(0, 7), (6, 9)]
    """
    if len(tokens) <= room:
        return [(0, len(text))]
    step = room - min(room // 4, _OVERLAP)
    starts = range(0, len(tokens) - room + step, step)
    spans = [(tokens[start][0], tokens[min(start + room, len(tokens)) - 1][1]) for start in starts]
    spans[0] = (0, spans[0][1])
    spans[-1] = (spans[-1][0], len(text))
    return spans
