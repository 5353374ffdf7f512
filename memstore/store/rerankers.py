"""Which reranker a query means: by name, by the store's default, loaded once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memstore.encoders import CHECKPOINTS, DocumentText, Encoder, is_encoder_name, open_encoder
from memstore.errors import (
    BadInput,
    EncoderUnavailable,
    MissingExtra,
    RerankerUnavailable,
    ServiceError,
)
from memstore.maxsim import TokenVectors
from memstore.rerank import Reranker, check_name, open_reranker
from memstore.rerank.late_interaction import LateInteractionReranker
from memstore.settings import Settings

if TYPE_CHECKING:
    from memstore.store.opening import OpenStore

OWN_VECTORS: Final = "colbert"  # the name that stands for the vectors the store holds
NO_RERANKER: Final = "none"

# What a query may go on without, if its caller said so; a wrong name is not among them.
FAILURES = (RerankerUnavailable, ServiceError, MissingExtra)


class Rerankers:
    """The rerankers a store has been asked for, each loaded once."""

    def __init__(self, device: str, settings: Settings) -> None:
        self._device = device
        self._settings = settings
        self._opened: dict[str, Reranker] = {}
        self._lock = threading.Lock()

    def open(self, name: str) -> Reranker:
        """Return the reranker of a name.

        Raises:
            BadInput: no reranker has this name.
            RerankerUnavailable, KeyRefused, MissingExtra: it cannot be used here.
        """
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._load(name)
            return self._opened[name]

    def _load(self, name: str) -> Reranker:
        checkpoint = _checkpoint(name)
        if checkpoint is None:
            return open_reranker(name, device=self._device, settings=self._settings)
        try:
            encoder = open_encoder(checkpoint, device=self._device)
        except EncoderUnavailable as error:
            raise RerankerUnavailable(f"The reranker {name!r} cannot be loaded. {error}") from error
        return _late_interaction(name, encoder)


def check_rerank(rerank: Any) -> str | Reranker | None:
    """Return what names a reranker, or is one; nothing is loaded.

    Raises:
        BadInput: it is neither, or no reranker has this name.
    """
    if isinstance(rerank, str):
        checkpoint = _checkpoint(rerank)
        if checkpoint is not None and not is_encoder_name(checkpoint):
            raise BadInput(
                f"There is no ColBERT checkpoint {checkpoint!r} to rerank with, and no folder of "
                f"that name.\nChoose one of {', '.join(CHECKPOINTS)}, a hub id, or a folder."
            )
        if checkpoint is None and rerank not in (OWN_VECTORS, NO_RERANKER):
            check_name(rerank)
        return rerank
    if rerank is None or (isinstance(rerank, Reranker) and not isinstance(rerank, type)):
        return rerank
    raise BadInput(f"rerank is {rerank!r}; give a name such as 'minilm-l6', or a Reranker.")


@dataclass(frozen=True, slots=True)
class Choice:
    """Who scores the best candidates anew: nobody, the store's own vectors (which need no
    reranker), or a reranker; or why it cannot.
    """

    name: str | None = None
    reranker: Reranker | None = None
    error: str | None = None

    @property
    def own_vectors(self) -> bool:
        return self.name == OWN_VECTORS and self.reranker is None


def choose(opened: OpenStore, rerank: str | Reranker | None, *, skip: bool) -> Choice:
    """Return who reranks, loaded: by default the reranker the store was opened with.

    Args:
        skip: go on without one that cannot be had.
    """
    chosen = opened.reranker if rerank is None else rerank
    if chosen is None or chosen == NO_RERANKER:
        return Choice()
    if chosen == OWN_VECTORS:
        return Choice(OWN_VECTORS)
    if not isinstance(chosen, str):
        return Choice(chosen.name, chosen)
    try:
        reranker = opened.rerankers.open(chosen)
        return Choice(reranker.name, reranker)
    except FAILURES as error:
        if not skip:
            raise
        return Choice(chosen, error=str(error))


def _checkpoint(name: str) -> str | None:
    """Return which ColBERT checkpoint a reranker's name stands for, if it does.

    >>> _checkpoint("colbert:./my-colbert"), _checkpoint("colbertv2"), _checkpoint("minilm-l6")
    ('./my-colbert', 'colbertv2', None)
    """
    base, _, checkpoint = name.partition(":")
    if name in CHECKPOINTS:
        return name
    return checkpoint if base == OWN_VECTORS and checkpoint else None


def _late_interaction(name: str, encoder: Encoder) -> Reranker:
    def encode_query(text: str) -> TokenVectors:
        return encoder.encode_queries([text])[0].vectors

    def encode_documents(texts: Sequence[str]) -> list[TokenVectors]:
        return encoder.encode_documents([DocumentText(text) for text in texts])

    return LateInteractionReranker(
        name=name,
        document_length=encoder.identity.document_length,
        token_spans=encoder.token_spans,
        encode_query=encode_query,
        encode_documents=encode_documents,
        parameters=getattr(encoder, "parameters", None),  # of checkpoints; no part of the contract
        fingerprint=encoder.identity.fingerprint,
    )
