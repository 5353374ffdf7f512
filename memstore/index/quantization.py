"""Token vectors as one signed byte per dimension and one scale per token.

Why not 16-bit floats: they rank as 32-bit floats do, but so nearly do bytes, at half the size (132
bytes per token of 128 dimensions, not 256), and sums of bytes are exact, so they are the same on
every processor. Measured with the `minilm` encoder on LoCoMo (2,760 passages of 29 tokens, 300
queries), scores against 64-bit arithmetic over the unrounded vectors:

    stored as   score error, mean / 99th percentile   same ten best   nDCG@10
    32 bits     –                                     –               .5899
    16 bits     1.1e-5 / 4.0e-5                       1.000           .5899
    8 bits      3.2e-4 / 1.1e-3                       .996            .5897

On random unit vectors, where ranks are decided by almost nothing, bytes keep .978 of the ten best.
"""

import numpy as np
from numpy.typing import NDArray

from memstore.maxsim import TokenVectors

TokenCodes = NDArray[np.int8]  # (tokens, dim), -127 to 127
TokenScales = NDArray[np.float32]  # (tokens,): vector = code * scale

LARGEST_CODE = 127


def quantize(vectors: TokenVectors) -> tuple[TokenCodes, TokenScales]:
    """Round each vector to signed bytes, its largest component to 127; zero vectors stay zero.

    >>> codes, scales = quantize(np.array([[0.5, -1.0], [0.0, 0.0]], dtype=np.float32))
    >>> codes.tolist()
    [[64, -127], [0, 0]]
    """
    scales = np.abs(vectors).max(axis=1, initial=0.0).astype(np.float32) / np.float32(LARGEST_CODE)
    # A scale of 0 would divide by zero, here for vectors of zeros or of nothing but subnormals.
    divisors = np.where(scales > 0, scales, np.float32(1))
    codes = np.rint(vectors / divisors[:, None])
    # A subnormal scale is too coarse to keep the quotient within 127.
    return np.clip(codes, -LARGEST_CODE, LARGEST_CODE).astype(np.int8), scales


def dequantize(codes: TokenCodes, scales: TokenScales) -> TokenVectors:
    """Return the vectors that the codes stand for, (tokens, dim)."""
    return codes * scales[:, None]
