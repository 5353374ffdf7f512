"""What an index folder holds, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from memstore.index.codec import Codec

# What of a ColBERTConfig belongs to the model. colbert-ai takes what an index does not say from the
# checkpoint, and what that does not say from its defaults.
MODEL_SETTINGS: Final[Mapping[str, type]] = {
    "doc_maxlen": int,
    "query_maxlen": int,
    "query_token_id": str,
    "doc_token_id": str,
    "query_token": str,
    "doc_token": str,
    "mask_punctuation": bool,
    "attend_to_mask_tokens": bool,
    "similarity": str,
    "interaction": str,
}


class TokenRows(Protocol):
    """One row per token: an array, or something that reads the rows of a slice when asked."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IndexContent:
    """What an index folder holds; `codes` and `residuals` need not be in memory.

    Shapes: codes (tokens,), integers below the number of centroids; residuals
        (tokens, dim * bits / 8), uint8, packed as on disk; lengths (passages,), the tokens of each
        pid, 0 where it was deleted.

    Per pid: texts and document_ids, both '' where it was deleted. Several passages may be of one
    document; document_metadata is per document id.
    """

    codec: Codec
    codes: TokenRows
    residuals: TokenRows
    lengths: NDArray[np.int64]
    texts: Sequence[str] | None = None
    document_ids: Sequence[str] | None = None
    document_metadata: Mapping[str, Mapping[str, Any]] | None = None
    checkpoint: str | None = None
    model_settings: Mapping[str, Any] = field(default_factory=dict)


def fits_half(values: NDArray[np.floating[Any]]) -> bool:
    """Return whether 16-bit floats can hold the values as they are."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())
