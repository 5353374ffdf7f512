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

from memstore.encoders import DocumentText, VectorSpan
from memstore.encoders.checkpoints import CheckpointSettings, EncodedQuery, check_backbone
from memstore.encoders.context import context_tokens
from memstore.errors import EncoderUnavailable
from memstore.local_models import choose_device, first_line, no_progress_bars
from memstore.maxsim import TokenVectors

BATCH: Final = 16


class LibraryCheckpoint:
    """A checkpoint as the library loads it; everything is read from the loaded model."""

    def __init__(self, folder: Path, *, device: str) -> None:
        self._model = _load(folder, device)
        from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling

        self._mask = next((part for part in self._model if hasattr(part, "skiplist_words")), None)
        # Then it cannot be told which vectors are of the text and which of its context.
        self._pools = any(isinstance(part, BaseTokenPooling) for part in self._model)
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

    def encode_documents(self, documents: Sequence[DocumentText]) -> list[TokenVectors]:
        behind = [
            place
            for place, document in enumerate(documents)
            if (document.context or document.before) and not self._pools
        ]
        alone = sorted(set(range(len(documents))).difference(behind))
        results: dict[int, TokenVectors] = {}
        with self._lock:
            if alone:
                vectors = self._model.encode_document(
                    [documents[place].text for place in alone],
                    batch_size=BATCH,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
                results.update(zip(alone, vectors, strict=True))
            behind.sort(key=lambda place: -len(documents[place].text))
            for first in range(0, len(behind), BATCH):
                places = behind[first : first + BATCH]
                read = self._read_behind_context([documents[place] for place in places])
                results.update(zip(places, read, strict=True))
        return [
            np.ascontiguousarray(results[place], dtype=np.float32)
            for place in range(len(documents))
        ]

    def _read_behind_context(self, documents: Sequence[DocumentText]) -> list[TokenVectors]:
        """Return the vectors of documents whose tokens follow those of their context.

        The library knows no context. Its own ids, with the context's put between prefix and text,
        go through its own model and skiplist.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        prefix = self.settings.document_prefix
        features = self._model.preprocess(
            [document.text for document in documents],
            prompt=prefix,
            task="document",
            processing_kwargs={"text": {"return_offsets_mapping": True}},
        )
        rows, own = [], []
        everything = zip(
            features["input_ids"],
            features["attention_mask"].bool(),
            features.pop("offset_mapping"),
            documents,
            strict=True,
        )
        for padded, seen, offsets, document in everything:
            ids, ends = padded[seen].tolist(), offsets[seen][:, 1].tolist()
            opening = next(
                (place for place, end in enumerate(ends) if end > len(prefix)), len(ids) - 1
            )
            context = [self._context_ids(text) for text in document.context]
            room = self.settings.document_length - len(ids)
            before = context_tokens(context, self._context_ids(document.before), room=room)
            rows.append(torch.tensor([*ids[:opening], *before, *ids[opening:]]))
            kept = torch.ones(len(rows[-1]), dtype=torch.bool)
            kept[opening : opening + len(before)] = False
            own.append(kept)
        filler = self._model.tokenizer.pad_token_id or 0
        features["input_ids"] = pad_sequence(rows, batch_first=True, padding_value=filler)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        features["attention_mask"] = mask
        if "token_type_ids" in features:
            features["token_type_ids"] = torch.zeros_like(mask)
        device = self._model.device
        with torch.inference_mode():
            read = self._model(
                {
                    name: value.to(device) if isinstance(value, torch.Tensor) else value
                    for name, value in features.items()
                },
                task="document",
            )
            kept_tokens = read["attention_mask"].bool().cpu() & pad_sequence(own, batch_first=True)
            states = torch.nn.functional.normalize(read["token_embeddings"].float(), dim=-1).cpu()
        return [rows[kept].numpy() for rows, kept in zip(states, kept_tokens, strict=True)]

    def _context_ids(self, text: str) -> list[int]:
        found: list[int] = self._model.tokenizer(
            text, add_special_tokens=False, truncation=False, verbose=False
        )["input_ids"]
        return found

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
