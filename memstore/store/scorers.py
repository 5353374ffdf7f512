"""Which calibration a scorer's scores have in this store: its own one, else the shipped one.

A calibration belongs to one scorer. For an encoder that is a name, the hash of its weights and
settings, and a number of dimensions: after `rebuild --encoder` the old calibration does not apply.
"""

from __future__ import annotations

from sqlalchemy import Connection

from memstore.catalog.calibrations import find_calibration
from memstore.encoders import EncoderIdentity
from memstore.errors import IndexDamaged
from memstore.rerank import Reranker
from memstore.scoring.calibration import (
    Calibration,
    calibration_for,
    calibration_from,
    reranker_calibration,
)
from memstore.types import ScoreKind


def encoder_key(identity: EncoderIdentity) -> str:
    """Return the name under which an encoder's calibration is stored.

    >>> encoder_key(EncoderIdentity("hashed", "0123456789abcdef9", 32, 256, 32))
    'hashed 0123456789abcdef 32'
    """
    return f"{identity.name} {identity.fingerprint[:16]} {identity.dim}"


def reranker_key(reranker: Reranker) -> str:
    """Return the name under which a reranker's calibration is stored, with the hash of its weights
    where it has one.
    """
    fingerprint = getattr(reranker, "fingerprint", None)  # of checkpoints; no part of the contract
    hashed = f" {fingerprint[:16]}" if isinstance(fingerprint, str) else ""
    return f"reranker {reranker.name}{hashed}"


def encoder_calibration(connection: Connection, identity: EncoderIdentity) -> Calibration | None:
    """Return how MaxSim of an encoder becomes log-odds; None where nothing says how."""
    stored = _stored(connection, encoder_key(identity), "maxsim")
    return calibration_for(identity.name) if stored is None else stored


def reranker_calibration_in(connection: Connection, reranker: Reranker) -> Calibration | None:
    """Return how a reranker's scores become log-odds; None where nothing says how."""
    stored = _stored(connection, reranker_key(reranker), reranker.kind)
    return reranker_calibration(reranker.kind) if stored is None else stored


def _stored(connection: Connection, key: str, kind: ScoreKind) -> Calibration | None:
    row = find_calibration(connection, key)
    if row is None:
        return None
    if row.kind != kind:
        raise IndexDamaged(
            f"The calibration of {key!r} is for scores of kind {row.kind!r}, and they are {kind!r} "
            "now. Fit it anew:\n    memstore calibrate"
        )
    return calibration_from(kind, row.parameters)
