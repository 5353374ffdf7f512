"""Index folders of colbert-ai (0.2.15 and later) and of RAGatouille, read and written.

A *pid* is a passage's position in the index. Codes, residuals, lengths, buckets and centroids pass
unchanged in both directions; inverted lists are derived from them, so they are written and never
read. Tensors are loaded as tensors only: a file that would run code is refused.

`docs/interchange.md` says what cannot be exchanged.
"""

from memstore.index.interchange.content import MODEL_SETTINGS, IndexContent, TokenRows
from memstore.index.interchange.reading import read_colbert_index
from memstore.index.interchange.rows import ChosenRows
from memstore.index.interchange.texts import read_texts
from memstore.index.interchange.writing import check_absent, write_colbert_index

__all__ = [
    "MODEL_SETTINGS",
    "ChosenRows",
    "IndexContent",
    "TokenRows",
    "check_absent",
    "read_colbert_index",
    "read_texts",
    "write_colbert_index",
]
