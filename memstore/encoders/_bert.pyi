"""The forward pass of a BERT in C++; releases the interpreter lock.

All arrays are C-contiguous and of exactly the types named, else TypeError; shapes that disagree and
unknown instruction sets are a ValueError; an id beyond the words is an IndexError.

BERT's arithmetic: norms after each half of a layer, exact (erf) GELU. A token's bits depend on its
sequence and on the instruction set alone; those of different instruction sets agree within 1e-5.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Weights = NDArray[np.float32]
# weight (out, in); bias (out,); adapter: down (rank, in), up (out, rank)
_Linear = tuple[_Weights, _Weights | None, tuple[_Weights, _Weights] | None]
_Norm = tuple[_Weights, _Weights]  # scale, shift
# query, key, value, attention output, its norm, intermediate, output, its norm
_Layer = tuple[_Linear, _Linear, _Linear, _Linear, _Norm, _Linear, _Linear, _Norm]

def instruction_sets() -> list[str]:
    """Return the instruction sets this machine can run, the one in use first."""

class Model:
    """Weights, which it does not copy: their memory must stay as it is."""

    def __init__(
        self,
        words: _Weights,
        positions: _Weights,
        segment: _Weights,
        norm: _Norm,
        layers: Sequence[_Layer],
        *,
        heads: int,
        epsilon: float,
        head: _Linear | None = None,
    ) -> None:
        """
        Shapes: words (vocabulary, hidden); positions (longest sequence, hidden); segment (hidden,),
            added to every token; hidden a multiple of heads.
        """

    def encode(
        self,
        ids: NDArray[np.int32],
        lengths: NDArray[np.int64],
        *,
        seen: NDArray[np.int64] | None = None,
        threads: int,
        instruction_set: str | None = None,
    ) -> NDArray[np.float32]:
        """Return a row per token: norm(head(h / |h|)), or its state h where there is no head.

        Shapes: ids (tokens,), of all sequences one after the other; lengths (sequences,), at least
            1 each; seen (sequences,), from 1 to its length: all tokens of a sequence look at the
            first so many, by default all.
        Returns: (tokens, dim of the head or hidden).
        """
