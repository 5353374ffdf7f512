"""Any ColBERT checkpoint by sentence-transformers' `MultiVectorEncoder`, on any device.

It keeps the tokenisation that each model was trained with: marker tokens, [MASK] expansion of
queries, no vectors for a document's punctuation.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from memstore.encoders import VectorSpan
from memstore.encoders.checkpoints import CheckpointSettings, EncodedQuery, check_backbone
from memstore.errors import EncoderUnavailable
from memstore.local_models import choose_device, first_line, no_progress_bars
from memstore.maxsim import TokenVectors

BATCH: Final = 16


class LibraryCheckpoint:
    """A checkpoint as the library loads it; everything is read from the loaded model."""

    def __init__(self, folder: Path, *, device: str) -> None:
        self._model = _load(folder, device)
        self._mask = next((part for part in self._model if hasattr(part, "skiplist_words")), None)
        # Tokenizers keep truncation as state, so that one call at a time may use the model.
        self._lock = threading.Lock()
        transformer = self._model[0]
        expansion = transformer.query_expansion
        longest = int(self._model.max_seq_length)
        self.settings: Final = CheckpointSettings(
            dim=int(self._model.get_embedding_dimension()),
            document_length=int(transformer.document_length or longest),
            query_length=int(
                (expansion or {}).get("length") or transformer.query_length or longest
            ),
            query_prefix=self._model.prompts.get("query") or "",
            document_prefix=self._model.prompts.get("document") or "",
            query_expansion=None if expansion is None else str(expansion["strategy"]),
            attend_to_expansion=bool(expansion and expansion["attend"]),
            skiplist=list(self._mask.skiplist_words) if self._mask is not None else [],
        )
        self.parameters: Final[int] = sum(weights.numel() for weights in self._model.parameters())

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        with self._lock:
            encoding = self._model.tokenizer(
                text,
                add_special_tokens=False,
                truncation=False,
                return_offsets_mapping=True,
                verbose=False,
            )
        return [(int(start), int(end)) for start, end in encoding["offset_mapping"]]

    def vector_spans(self, text: str) -> list[VectorSpan]:
        """Goes through the model's own cutting and skiplist, only without its weights. A checkpoint
        that pools tokens into fewer vectors has more spans than vectors: none stands for one token.
        """
        prefix = self.settings.document_prefix
        with self._lock:
            features = self._model.preprocess(
                [text],
                prompt=prefix,
                task="document",
                processing_kwargs={"text": {"return_offsets_mapping": True}},
            )
            if self._mask is not None:
                features = self._mask(features, task="document")
            kept = features["attention_mask"][0].bool()
            tokens = self._model.tokenizer.convert_ids_to_tokens(
                features["input_ids"][0][kept].tolist()
            )
        spans: list[VectorSpan] = []
        for token, (start, end) in zip(
            tokens, features["offset_mapping"][0][kept].tolist(), strict=True
        ):
            # A token may reach from the prefix into the text: a space, and the word after it.
            start = max(start, len(prefix))
            spans.append((start - len(prefix), end - len(prefix)) if start < end else token)
        return spans

    def encode_documents(self, texts: Sequence[str]) -> list[TokenVectors]:
        with self._lock:
            vectors = self._model.encode_document(
                list(texts), batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False
            )
        return [np.ascontiguousarray(rows, dtype=np.float32) for rows in vectors]

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        with self._lock:
            encoded = self._model.encode_query(
                list(texts), batch_size=BATCH, output_value=None, show_progress_bar=False
            )
            lengths = [self._query_tokens(text) for text in texts]
        results = []
        for features, length in zip(encoded, lengths, strict=True):
            kept = features["attention_mask"].bool()
            vectors = features["token_embeddings"][kept].float().cpu().numpy()
            ids = features["input_ids"][kept].tolist()
            tokens = tuple(self._model.tokenizer.convert_ids_to_tokens(ids))
            vectors = np.ascontiguousarray(vectors, dtype=np.float32)
            results.append(EncodedQuery(vectors, tokens, length))
        return results

    def _query_tokens(self, text: str) -> int:
        """Tokens of a query with its prefix and special tokens, before it is cut."""
        prefix = self.settings.query_prefix
        ids = self._model.tokenizer(prefix + text, truncation=False, verbose=False)["input_ids"]
        return len(ids)


def _load(folder: Path, device: str) -> Any:  # a MultiVectorEncoder; the library is imported late
    import torch
    from sentence_transformers import MultiVectorEncoder

    chosen = choose_device(device, refusal=EncoderUnavailable)
    try:
        with no_progress_bars():
            model = MultiVectorEncoder(
                str(folder),
                device=str(chosen),
                local_files_only=True,
                trust_remote_code=False,
                # Half-precision checkpoints are read into float32: see the class.
                model_kwargs={"dtype": torch.float32},
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise EncoderUnavailable(
            f"The ColBERT checkpoint in {folder} cannot be loaded: {first_line(error)}.\n"
            "Use a folder that `hf download` wrote completely; models that need code of their own "
            "(trust_remote_code) are not supported."
        ) from error
    backbone: Any = model[0].auto_model
    expected = {name: tuple(value.shape) for name, value in backbone.named_parameters()}
    check_backbone(folder, expected)
    model.eval()
    return model
