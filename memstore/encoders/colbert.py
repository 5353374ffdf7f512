"""Any ColBERT checkpoint, in the layout of Stanford's colbert-ai or of PyLate."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from memstore.encoders import DocumentText, EncoderIdentity, QueryVectors, VectorSpan
from memstore.encoders.checkpoints import (
    Checkpoint,
    check_checkpoint,
    checkpoint_fingerprint,
    fetch_checkpoint,
)
from memstore.encoders.colbert_bert import open_plain_bert
from memstore.encoders.context import CONTEXT_TEXTS
from memstore.local_models import has_gpu_driver
from memstore.maxsim import TokenVectors
from memstore.surrogates import replace_surrogates

# Documents sorted by length within one window; the results of a window are held twice.
WINDOW: Final = 1024


class ColBERTEncoder:
    """A trained late-interaction model; every query token counts the same.

    Where a store gives context, a document is read behind it and keeps the vectors of its own
    tokens alone. By default stores give none: no such checkpoint was trained with it.

    Everything that decides a vector (prefixes, lengths, dimension, expansion, skiplist) comes with
    the checkpoint and is reported in `identity`. Computes in float32 on every device: on a CPU
    without torch where the checkpoint is a plain BERT in Stanford's layout, else by
    sentence-transformers. Both give the same vectors within 1e-5.

    Args:
        checkpoint: hub id or folder.
        name: what `identity.name` says; by default the hub id or folder.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1'.

    Raises:
        EncoderUnavailable: not found, unreachable, incomplete, or no ColBERT checkpoint.
    """

    def __init__(
        self, checkpoint: str | Path, *, name: str | None = None, device: str = "auto"
    ) -> None:
        folder = checkpoint if isinstance(checkpoint, Path) else fetch_checkpoint(checkpoint)
        check_checkpoint(folder)
        self._checkpoint = _open(folder, device)
        settings = self._checkpoint.settings
        punctuation = settings.skiplist == list(string.punctuation)
        self._identity = EncoderIdentity(
            name=name or str(checkpoint),
            fingerprint=checkpoint_fingerprint(folder),
            dim=settings.dim,
            document_length=settings.document_length,
            query_length=settings.query_length,
            session_context=0,
            options={
                "query_prefix": settings.query_prefix,
                "document_prefix": settings.document_prefix,
                "query_expansion": settings.query_expansion,
                "attend_to_expansion": settings.attend_to_expansion,
                "skiplist": "punctuation" if punctuation else settings.skiplist,
            },
        )

    @property
    def identity(self) -> EncoderIdentity:
        return self._identity

    @property
    def parameters(self) -> int:
        """Number of the model's weights."""
        return self._checkpoint.parameters

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of the text: no special tokens, no prefix, no truncation."""
        return self._checkpoint.token_spans(replace_surrogates(text))

    def vector_spans(self, text: str) -> list[VectorSpan]:
        """Return what each kept vector of the text stands for: its tokens, prefix, special tokens.

        Where a checkpoint pools tokens into fewer vectors there are more spans than vectors.
        """
        return self._checkpoint.vector_spans(replace_surrogates(text))

    def encode_documents(
        self,
        documents: Sequence[DocumentText],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[TokenVectors]:
        """Encode documents, in the order given; longer ones are cut at the document length, and
        context gets the room that is left.
        """
        results: list[TokenVectors] = []
        for start in range(0, len(documents), WINDOW):
            cleaned = [_cleaned(document) for document in documents[start : start + WINDOW]]
            results += self._checkpoint.encode_documents(cleaned)
            if progress is not None:
                progress(len(cleaned))
        return results

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVectors]:
        """Encode queries, in the order given, expanded as the model was trained."""
        if not texts:
            return []
        encoded = self._checkpoint.encode_queries([replace_surrogates(text) for text in texts])
        return [
            QueryVectors(
                vectors=query.vectors,
                factors=np.ones(len(query.vectors), dtype=np.float32),
                contrast=False,
                tokens=query.tokens,
                truncated=query.length > self._identity.query_length,
            )
            for query in encoded
        ]


def _cleaned(document: DocumentText) -> DocumentText:
    last = document.context[-CONTEXT_TEXTS:]
    return DocumentText(
        replace_surrogates(document.text),
        tuple(map(replace_surrogates, last)),
        replace_surrogates(document.before),
    )


def _open(folder: Path, device: str) -> Checkpoint:
    if device == "cpu" or (device == "auto" and not has_gpu_driver()):
        plain = open_plain_bert(folder)
        if plain is not None:
            return plain
    from memstore.encoders.colbert_library import LibraryCheckpoint

    return LibraryCheckpoint(folder, device=device)
