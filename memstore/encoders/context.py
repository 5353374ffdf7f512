"""What is read of the texts before a document, in the same window (late chunking).

Measured with `minilm` (`docs/encoders.md`): two texts are enough, and their beginnings say most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

CONTEXT_TEXTS: Final = 2
CONTEXT_TOKENS: Final = 90  # of all context texts together


def context_tokens(texts: Sequence[list[int]], room: int) -> list[int]:
    """Return the tokens to read before a document: equal shares, and the beginning of each text.

    A text's beginning often tells whose turn it was: "speaker: …".

    Args:
        texts: token ids of each, oldest first; at most the last `CONTEXT_TEXTS` count.
        room: tokens that the document leaves in the window.

    >>> context_tokens([[1, 2, 3], [4, 5, 6], [7]], room=5)
    [4, 5, 7]
    """
    last = texts[-CONTEXT_TEXTS:]
    room = min(CONTEXT_TOKENS, room)
    return [token for ids in last for token in ids[: max(0, room // len(last))]]
