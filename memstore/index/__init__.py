"""Token vectors to similarities of passages, and from these to scores.

`HotTier` takes passages and answers through `HotView`; `quantize` makes what it takes. Sealed
passages lie in `Segment`s written by `SegmentWriter` with a `Codec` from `train`; `SealedView`
searches them. `token_weights` and `weighted_scores` turn what both answer into one score per
passage.
"""

from memstore.index.codec import Codec, centroid_count, sample_size, train
from memstore.index.files import (
    FolderWriter,
    Manifest,
    check_manifest,
    check_sizes,
    damaged_files,
    folder_of,
    read_array,
)
from memstore.index.hot import HotTier, HotView
from memstore.index.pooling import Clusters, cluster, pool
from memstore.index.quantization import dequantize, quantize
from memstore.index.sealed import Depths, SealedSearch, SealedView, depths_for, distinct
from memstore.index.segments import (
    Segment,
    SegmentWriter,
    StoredCodec,
    copy_segment,
    write_codec,
)
from memstore.index.weighting import Rest, token_weights, weighted_scores

__all__ = [
    "Clusters",
    "Codec",
    "Depths",
    "FolderWriter",
    "HotTier",
    "HotView",
    "Manifest",
    "Rest",
    "SealedSearch",
    "SealedView",
    "Segment",
    "SegmentWriter",
    "StoredCodec",
    "centroid_count",
    "check_manifest",
    "check_sizes",
    "cluster",
    "copy_segment",
    "damaged_files",
    "depths_for",
    "dequantize",
    "distinct",
    "folder_of",
    "pool",
    "quantize",
    "read_array",
    "sample_size",
    "token_weights",
    "train",
    "weighted_scores",
    "write_codec",
]
