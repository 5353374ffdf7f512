"""Search kernels in C++; release the interpreter lock, use one thread, keep no state."""

import numpy as np
from numpy.typing import NDArray

def token_maxima(
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    query: NDArray[np.float32],
    *,
    instruction_set: str | None = None,
) -> NDArray[np.float32]:
    """Return, per passage and query token, the highest similarity with any token of the passage.

    A document vector is `codes[t] * scales[t]`; the query is rounded to about 15 bits (fewer
    beyond 1,032 dimensions). Every result is the same to the bit whatever the instruction set, the
    other passages of the call, and the thread.

    Shapes: codes (tokens, dim), dim from 1 to 65,536; scales (tokens,); starts and lengths
        (passages,), passage p being rows `starts[p]` to `starts[p] + lengths[p]`; query
        (query tokens, dim), at least one row. All C-contiguous and of exactly these types.
    Returns: (passages, query tokens).
    Raises: TypeError for another type or layout, ValueError for shapes that disagree, a query that
        is not finite or an unknown instruction set, IndexError for a passage outside the tokens
        or without any.
    """

def instruction_sets() -> list[str]:
    """Return the instruction sets this machine can run, the one in use first."""
