"""Token vectors to similarities of passages, and from these to scores.

`HotTier` takes passages and answers through `HotView`; `quantize` makes what it takes;
`token_weights` and `weighted_scores` turn what it answers into one score per passage.
"""

from memstore.index.hot import HotTier, HotView
from memstore.index.quantization import dequantize, quantize
from memstore.index.weighting import token_weights, weighted_scores

__all__ = [
    "HotTier",
    "HotView",
    "dequantize",
    "quantize",
    "token_weights",
    "weighted_scores",
]
