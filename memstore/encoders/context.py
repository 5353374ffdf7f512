"""What is read of the texts before a document, in the same window (late chunking).

Measured with `minilm` (`docs/encoders.md`): two texts are enough, and their beginnings say most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

CONTEXT_TEXTS: Final = 2
CONTEXT_TOKENS: Final = 90  # of all context texts together


def context_tokens(
    texts: Sequence[list[int]], before: Sequence[int] = (), *, room: int = CONTEXT_TOKENS
) -> list[int]:
    """Return the tokens to read before a document.

    Of texts equal shares, and the beginning of each, which often tells whose turn it was: "speaker:
    …". Of what its own document says before the end, in the room that they leave.

    Args:
        texts: token ids of each, oldest first; at most the last `CONTEXT_TEXTS` count.
        before: token ids of the document up to here.
        room: most tokens that fit.

    >>> context_tokens([[1, 2, 3], [4, 5, 6], [7]], room=5)
    [4, 5, 7]
    >>> context_tokens([], [1, 2, 3], room=2)
    [2, 3]
    """
    last = texts[-CONTEXT_TEXTS:]
    room = max(0, min(CONTEXT_TOKENS, room))
    found = [token for ids in last for token in ids[: room // len(last)]]
    return [*found, *before[max(0, len(before) - room + len(found)) :]]
