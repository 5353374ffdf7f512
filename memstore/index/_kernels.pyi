"""Search kernels in C++; release the interpreter lock, use one thread, keep no state.

All arrays are C-contiguous and of exactly the types named, else TypeError; shapes that disagree,
values that are not finite where they must be, and unknown instruction sets are a ValueError; a
number that points outside an array (a passage, a centroid, a slot) is an IndexError.

Every result is the same to the bit whatever the instruction set, the other passages of the call,
and the thread.

Terms: a *slot* is the position of a passage in one segment; its tokens are rows `offsets[slot]` to
`offsets[slot + 1]` of the segment's token arrays. *Codes* are the number of each token's centroid,
uint16 up to 65,536 centroids and uint32 beyond. *Scores* and *bounds* are what `centroid_scores`
returned.
"""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint16] | NDArray[np.uint32]

def instruction_sets() -> list[str]:
    """Return the instruction sets this machine can run, the one in use first."""

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
    beyond 1,032 dimensions).

    Shapes: codes (tokens, dim), dim from 1 to 65,536; scales (tokens,); starts and lengths
        (passages,), passage p being rows `starts[p]` to `starts[p] + lengths[p]`, at least one;
        query (query tokens, dim), at least one row.
    Returns: (passages, query tokens).
    """

# searching sealed segments

def centroid_scores(
    panels: NDArray[np.int16],
    centroids: int,
    scale: float,
    query: NDArray[np.float32],
    *,
    instruction_set: str | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the dot product of every centroid with every query token, and what bounds them.

    A centroid is its row of integers times `scale`; no row may be longer than 46,340, so that with
    the query rounded to rows no longer than that every sum fits 32 bits. Longer rows get wrong
    scores: only `assign` checks, where centroids are made.

    Shapes: panels (ceil(K / 32), ceil(dim / 2), 32, 2), value `[p, s, c, i]` being that of centroid
        `32 * p + c` in dimension `2 * s + i`, what fills the last ones being ignored; query (query
        tokens, dim), at least one row, dim from 1 to 65,536, finite.
    Returns: (K, query tokens rounded up to a multiple of 16), the added columns zero; and, of each
        panel's centroids, the least and the largest score: (panels, 2, the same).
    """

def nearest_centroids(
    scores: NDArray[np.float32],
    bounds: NDArray[np.float32],
    query_tokens: int,
    count: int,
    *,
    instruction_set: str | None = None,
) -> NDArray[np.int32]:
    """Return the `count` best centroids of each query token, best first, ties by number.

    Returns: (query tokens, min(count, K)).
    """

def byte_table(
    scores: NDArray[np.float32],
    bounds: NDArray[np.float32],
    weights: NDArray[np.float32],
    *,
    instruction_set: str | None = None,
) -> NDArray[np.uint8]:
    """Return the weighted scores as bytes, all query tokens in the same unit.

    The byte of centroid k and query token q is
    `rint((weights[q] * scores[k, q] - lowest[q]) * (255 / widest))` in 32 bits, where `lowest[q]`
    is the least weighted score of the token and `widest` the widest range of any token; 0 where
    no token has a range. It lies at `[q // width, k, q % width]`; the rest of the table is zero.

    Shapes: weights (query tokens,), each >= 0.
    Returns: (blocks, K, width): width 16, 32 or 64 and one block for up to 64 query tokens, else
        blocks of 64.
    """

def approximate_scores(
    codes: Codes,
    offsets: NDArray[np.int64],
    slots: NDArray[np.int64],
    table: NDArray[np.uint8],
    *,
    instruction_set: str | None = None,
) -> NDArray[np.uint32]:
    """Return MaxSim of passages by the centroids of their tokens: the sum over query tokens of the
    largest byte among the passage's tokens; 0 for a passage without tokens.

    Shapes: codes (tokens,); offsets (passages + 1,); slots (n,), any order.
    Returns: (n,).
    """

def largest(scores: NDArray[np.uint32], count: int) -> NDArray[np.int64]:
    """Return the positions of the `count` largest scores, ascending; ties go to earlier ones."""

def probe(
    cells: NDArray[np.int32],
    lists: NDArray[np.int32],
    list_offsets: NDArray[np.int64],
    allowed: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return the allowed slots that occur in the inverted lists of these centroids, ascending,
    each once.

    Shapes: cells (any number,), centroid numbers; list_offsets (K + 1,), the slots of centroid k
        being `lists[list_offsets[k]:list_offsets[k + 1]]`; allowed (passages,).
    """

def sealed_maxima(
    codes: Codes,
    residuals: NDArray[np.uint8],
    inverse_norms: NDArray[np.float32],
    offsets: NDArray[np.int64],
    slots: NDArray[np.int64],
    scores: NDArray[np.float32],
    query: NDArray[np.float32],
    bucket_weights: NDArray[np.float32],
    *,
    instruction_set: str | None = None,
) -> NDArray[np.float32]:
    """Return, per passage and query token, the highest similarity with any token of the passage.

    A document vector is (its centroid + its residual) * inverse_norms[t]. Residuals are packed as
    colbert-ai packs them: `dim` fields of b bits, where 2**b is the number of bucket weights (b is
    1, 2, 4 or 8); each field's bits from the least significant one, filling bytes from the most
    significant bit. The query is rounded to about 15 bits and the bucket weights to as many as
    leave every sum within 32 bits.

    Shapes: residuals (tokens, dim * b / 8); inverse_norms (tokens,); query (query tokens, dim), as
        given to `centroid_scores`.
    Returns: (slots, query tokens); minus infinity for a passage without tokens.
    """

# building sealed segments

def assign(
    vectors: NDArray[np.float32],
    centroids: NDArray[np.int16],
    *,
    instruction_set: str | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return each vector's nearest centroid by dot product (ties by number), and that product.

    The vector is rounded to integers as a query is in `centroid_scores`; the product is of the
    integers, so it compares between calls with the same vector and the same scale of centroids.

    Shapes: vectors (n, dim), finite; centroids (K, dim), at least one row, none longer than 46,340.
    Returns: (n,) numbers and (n,) products.
    """

def encode_residuals(
    vectors: NDArray[np.float32],
    codes: Codes,
    centroids: NDArray[np.float32],
    cutoffs: NDArray[np.float32],
    bucket_weights: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the packed residuals of vectors from their centroids, and the inverse lengths of the
    vectors that they decode to.

    The bucket of a dimension is the number of cutoffs strictly less than
    `vectors[t, d] - centroids[codes[t], d]` in 32 bits; packing as in `sealed_maxima`. The inverse
    length is summed in 64 bits in the order of dimensions; 0 where the length is 0.

    Shapes: vectors (n, dim), finite; codes (n,); centroids (K, dim); cutoffs (2**b - 1,),
        ascending; bucket_weights (2**b,); dim * b a multiple of 8.
    Returns: (n, dim * b / 8) and (n,).
    """

def inverted_lists(
    codes: Codes, offsets: NDArray[np.int64], centroids: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return, per centroid, the slots of the passages that have a token of it: ascending, each
    once.

    Returns: lists (entries,) and list_offsets (centroids + 1,).
    """
