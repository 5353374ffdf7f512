"""Whether the checkpoint that an index names is the encoder of a store."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from memstore.encoders import CHECKPOINTS, EncoderIdentity
from memstore.encoders.checkpoints import checkpoint_fingerprint
from memstore.errors import EncoderMismatch, EncoderUnavailable
from memstore.index.interchange import IndexContent

_CACHED = re.compile(r"models--([^/]+)--([^/]+)/snapshots/")  # in the hub's cache


def checkpoint_name(encoder: str) -> str:
    """Return what colbert-ai finds an encoder's checkpoint by: its folder or hub id.

    >>> checkpoint_name("colbertv2")
    'colbert-ir/colbertv2.0'
    """
    return CHECKPOINTS.get(encoder, encoder)


def check_encoder_of_index(
    identity: EncoderIdentity, content: IndexContent, *, same_encoder: bool
) -> None:
    """Refuse an index whose vectors cannot be compared with those of the store's encoder."""
    made_with = content.checkpoint
    fix = f"    memstore --store NEW init --encoder {made_with or 'CHECKPOINT'}"
    if content.codec.dim != identity.dim:
        raise EncoderMismatch(
            f"The index has vectors of {content.codec.dim} dimensions, the store's encoder "
            f"{identity.name!r} makes {identity.dim}. Import it into a new store that has the "
            f"encoder of the index:\n{fix}"
        )
    if made_with is None or same_encoder or _is_same(identity, made_with):
        return
    raise EncoderMismatch(
        f"The index was made with {made_with!r}, but the store's encoder is {identity.name!r}: "
        f"their vectors cannot be compared. Import it into a new store:\n{fix}\n"
        "If both are one model under two names, say so: same_encoder=True (--same-encoder)."
    )


def _is_same(identity: EncoderIdentity, made_with: str) -> bool:
    """Return whether an encoder is the one that an index names as its checkpoint.

    A folder that is there is compared by its content. Else names decide: two hub ids must be equal,
    a folder is the model that its own name says.
    """
    if made_with == identity.name:
        return True
    folder = Path(made_with).expanduser()
    if folder.is_dir():
        with contextlib.suppress(EncoderUnavailable, OSError, ValueError):
            return checkpoint_fingerprint(folder) == identity.fingerprint
    named, own = (_model_name(name) for name in (made_with, identity.name))
    if folder.is_absolute() or Path(identity.name).is_absolute():
        named, own = (name.rpartition("/")[2] for name in (named, own))
    return named.casefold() == own.casefold()


def _model_name(name: str) -> str:
    """Return the hub id that an alias, or a folder of the hub's cache, stands for.

    >>> _model_name("/home/ana/.cache/models--colbert-ir--colbertv2.0/snapshots/c1e84128/")
    'colbert-ir/colbertv2.0'
    """
    cached = _CACHED.search(name)
    if cached is not None:
        return f"{cached[1]}/{cached[2]}"
    return checkpoint_name(name).rstrip("/")
