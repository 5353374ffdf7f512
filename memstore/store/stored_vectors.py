"""A passage's token vectors, wherever they lie."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection

from memstore.catalog import vectors
from memstore.index import dequantize
from memstore.maxsim import TokenVectors
from memstore.store.snapshot import SnapshotView


def stored_vectors(
    connection: Connection, view: SnapshotView, dim: int, passage_id: int
) -> TokenVectors | None:
    """Return a passage's vectors, (tokens, dim); None where there are none, or their bytes are not
    of that shape.
    """
    for base, segment in view.sealed.parts():
        for slot in segment.slots_of(np.array([passage_id])):
            return next(view.sealed.vectors(np.array([base + slot])))
    codes, scales = vectors.hot_bytes(connection, [passage_id]).get(passage_id, (b"", b""))
    if not scales or len(codes) * 4 != len(scales) * dim:
        return None
    return dequantize(
        np.frombuffer(codes, dtype=np.int8).reshape(-1, dim), np.frombuffer(scales, dtype="<f4")
    )
