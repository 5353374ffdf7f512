"""Compile colbert-ai's four C++ extensions, which it would do during the first search."""

from colbert.modeling.colbert import ColBERT
from colbert.search.index_storage import IndexScorer
from colbert.search.strided_tensor import StridedTensor

for owner in (ColBERT, IndexScorer, StridedTensor):
    owner.try_load_torch_extensions(False)  # not use_gpu: the ones for the CPU
