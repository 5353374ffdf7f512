"""A passage's token vectors, wherever they lie."""

from __future__ import annotations

import numpy as np

from memstore.maxsim import TokenVectors
from memstore.store.snapshot import SnapshotView


def stored_vectors(view: SnapshotView, passage_id: int) -> TokenVectors | None:
    """Return a passage's vectors, (tokens, dim); None where neither tier holds it."""
    for base, segment in view.sealed.parts():
        for slot in segment.slots_of(np.array([passage_id])):
            return next(view.sealed.vectors(np.array([base + slot])))
    return view.hot.vectors(passage_id)
