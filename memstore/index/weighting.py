"""From per-token maxima to one score per passage, to the bit the same in any batch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memstore.errors import BadInput

Maxima = NDArray[np.float32]  # (passages, query tokens)
TokenWeights = NDArray[np.float64]  # (query tokens,), each >= 0


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """Passages that are known by a sample only.

    Shapes: sample (sampled passages, query tokens), at least one row; near (any number, query
    tokens), passages that probably match best, which do not count for the mean.
    """

    sample: Maxima
    passages: int
    near: Maxima


def token_weights(
    maxima: Maxima,
    factors: NDArray[np.floating],
    contrast: bool,
    *,
    rest: Rest | None = None,
) -> TokenWeights:
    """Return how much each query token counts; at least one weight is positive.

    With `contrast` it is the factor times how far the token's best passage lies above its mean
    passage: a token that matches everything alike says nothing. Where no token tells the passages
    apart (there is one, or all are the same) and without `contrast` it is the factor itself, and
    if all factors are zero every token counts the same.

    The order of the passages changes no bit of the result.

    Args:
        maxima: (passages, query tokens), finite: of the whole searched namespace but for `rest`,
            never of a candidate list.
        factors: (query tokens,), each >= 0.
        rest: what else the namespace holds.

    >>> maxima = np.array([[1.0, 0.5], [0.0, 0.5]], dtype=np.float32)
    >>> token_weights(maxima, np.array([1.0, 1.0]), contrast=True).tolist()
    [0.5, 0.0]
    """
    own: TokenWeights = factors.astype(np.float64)
    if own.shape != maxima.shape[1:]:
        raise BadInput(f"{own.shape} factors for maxima of shape {maxima.shape}")
    if contrast and (len(maxima) or rest is not None):
        weights = _rise_above_mean(maxima, rest) * own
        if weights.any():
            return weights
    return own if own.any() else np.ones(len(own))


def _rise_above_mean(maxima: Maxima, rest: Rest | None) -> NDArray[np.float64]:
    # Sums of integers are exact, so they depend on no order and the rise of equal rows is zero and
    # not some rounding error. The unit is the finest whose sums over all rows fit 63 bits.
    parts = [(maxima, len(maxima))]
    everything = maxima
    if rest is not None:
        parts.append((rest.sample, rest.passages))
        everything = np.concatenate([maxima, rest.sample, rest.near])
    exponent = 61 - int(np.frexp(np.abs(everything).max(initial=0.0))[1])
    unit = 2.0 ** (exponent - len(everything).bit_length())
    best = np.rint(everything.max(axis=0).astype(np.float64) * unit).astype(np.int64)
    rise = np.zeros(maxima.shape[1])
    for rows, passages in parts:
        if len(rows):
            units = np.rint(rows.astype(np.float64) * unit).astype(np.int64)
            below = best * len(rows) - units.sum(axis=0)
            rise += below.astype(np.float64) * (passages / len(rows))
    return rise / sum(passages for _, passages in parts) / unit


def weighted_scores(maxima: Maxima, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the weighted mean of each passage's maxima, (passages,).

    A passage's score depends on its own row alone: scoring a subset gives the same bits.

    Args:
        maxima: (passages, query tokens).
        weights: (query tokens,), each >= 0, not all zero.

    >>> weighted_scores(np.array([[1.0, 0.5]], dtype=np.float32), np.array([3.0, 1.0])).tolist()
    [0.875]
    """
    weights = weights.astype(np.float64)
    if weights.shape != maxima.shape[1:]:
        raise BadInput(f"{weights.shape} weights for maxima of shape {maxima.shape}")
    # Not a matrix product: BLAS picks its order of summation by the number of rows.
    total = np.zeros(len(maxima))
    weight_sum = 0.0
    for column, weight in zip(maxima.T, weights.tolist(), strict=True):
        total += column.astype(np.float64) * weight
        weight_sum += weight
    if not weight_sum > 0:
        raise BadInput(f"weights add up to {weight_sum}, not to more than zero")
    return total / weight_sum
