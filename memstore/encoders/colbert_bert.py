"""ColBERT checkpoints that are a plain BERT in Stanford's layout, on a CPU and without torch.

`artifact.metadata` names the markers and lengths, and the rest is fixed: a text is read as
`[CLS] marker text [SEP]`, a query is filled up to its length with [MASK], and every token has a
vector but for a document's punctuation.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from memstore.encoders import DocumentText, VectorSpan
from memstore.encoders.bert import Linear, NativeModel, read_bert, usable_threads
from memstore.encoders.checkpoints import (
    CheckpointSettings,
    EncodedQuery,
    check_backbone,
    read_json,
)
from memstore.encoders.context import context_tokens
from memstore.encoders.tensor_file import TensorFile
from memstore.errors import EncoderUnavailable
from memstore.maxsim import TokenVectors

WEIGHTS_NAME: Final = "model.safetensors"
TOKENIZER_NAME: Final = "tokenizer.json"
SPECIAL: Final = ("[CLS]", "[SEP]", "[MASK]")
SIZES: Final = (
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "vocab_size",
)
# Of one call, per thread: a few seconds, after which whoever interrupts is heard.
CALL_TEXTS: Final = 16
_OPENING: Final = 2  # [CLS] and the marker
FIX: Final = "Use a folder that `hf download` wrote completely."


def open_plain_bert(folder: Path) -> BertCheckpoint | None:
    """Return a checkpoint, known to be complete, or None where the library has to run it.

    That is for other layouts and architectures, half precision, and settings that nobody has
    published.

    Raises:
        EncoderUnavailable: weights are missing or do not fit together.
    """
    needed = ("config.json", "artifact.metadata", TOKENIZER_NAME, WEIGHTS_NAME)
    if not all((folder / name).is_file() for name in needed) or (folder / "modules.json").exists():
        return None
    config = read_json(folder / "config.json")
    metadata = read_json(folder / "artifact.metadata")
    lengths = [metadata.get("doc_maxlen"), metadata.get("query_maxlen") or 32]
    if not (
        config.get("architectures") == ["HF_ColBERT"]
        and config.get("model_type") == "bert"
        and config.get("hidden_act", "gelu") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and all(isinstance(config.get(size), int) for size in SIZES)
        and all(
            isinstance(length, int) and 3 < length <= config["max_position_embeddings"]
            for length in lengths
        )
    ):
        return None
    tokenizer = _open_tokenizer(folder, _markers(metadata))
    if tokenizer is None:
        return None
    check_backbone(folder, _expected(config))
    file = TensorFile(folder / WEIGHTS_NAME, fix=FIX)
    return BertCheckpoint(file, config, metadata, tokenizer) if file.all_float32 else None


class BertCheckpoint:
    """Made by `open_plain_bert`."""

    def __init__(
        self,
        file: TensorFile,
        config: dict[str, Any],
        metadata: dict[str, Any],
        tokenizer: Tokenizer,
    ) -> None:
        bert = read_bert(
            file,
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            epsilon=config.get("layer_norm_eps", 1e-12),
            prefix="bert.",
        )
        head = Linear(file.tensor("linear.weight"))
        try:
            self._model = NativeModel(bert, head)
        except ValueError as error:
            raise EncoderUnavailable(f"{file.path} cannot be used: {error}.\n{FIX}") from error
        self._tokenizer = tokenizer
        query_marker, document_marker = _markers(metadata)
        self._cls, self._sep, self._mask = map(self._id, SPECIAL)
        skiplist = list(string.punctuation) if metadata.get("mask_punctuation", True) else []
        ids = map(self._tokenizer.token_to_id, skiplist)
        self._skipped = frozenset(token for token in ids if token is not None)
        self.settings: Final = CheckpointSettings(
            dim=len(head.weight),
            document_length=metadata["doc_maxlen"],
            query_length=metadata.get("query_maxlen") or 32,
            query_prefix=f"{query_marker} ",
            document_prefix=f"{document_marker} ",
            query_expansion="fixed",
            attend_to_expansion=bool(metadata.get("attend_to_mask_tokens")),
            skiplist=skiplist,
        )
        self.parameters: Final[int] = head.weight.size + sum(
            math.prod(shape) for shape in _expected(config).values()
        )

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [(int(start), int(end)) for start, end in encoding.offsets]

    def vector_spans(self, text: str) -> list[VectorSpan]:
        prefix = self.settings.document_prefix
        encoding = self._tokenizer.encode(prefix + text, add_special_tokens=False)
        cut = self.settings.document_length - 2
        spans: list[VectorSpan] = ["[CLS]"]
        for token, name, (start, end) in list(
            zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
        )[:cut]:
            if token not in self._skipped:
                inside = start >= len(prefix)
                spans.append((start - len(prefix), end - len(prefix)) if inside else name)
        return [*spans, "[SEP]"]

    def encode_documents(self, documents: Sequence[DocumentText]) -> list[TokenVectors]:
        windows = [self._window(document) for document in documents]
        results: list[TokenVectors] = []
        step = CALL_TEXTS * usable_threads()
        for first in range(0, len(windows), step):
            some = windows[first : first + step]
            encoded = self._model.encode([ids for ids, _ in some])
            results += [vectors[kept] for vectors, (_, kept) in zip(encoded, some, strict=True)]
        return results

    def _window(self, document: DocumentText) -> tuple[list[int], list[int]]:
        """Return the ids to read, the context between marker and text, and the places to keep."""
        (tokens,) = self._ids(self.settings.document_prefix, [document.text])
        own = self._cut(tokens, self.settings.document_length)
        room = self.settings.document_length - len(own)
        context = self._ids("", [*document.context, document.before])
        before = context_tokens(context[:-1], context[-1], room=room)
        ids = [*own[:_OPENING], *before, *own[_OPENING:]]
        skipped = range(_OPENING, _OPENING + len(before))
        kept = [
            place
            for place, token in enumerate(ids)
            if token not in self._skipped and place not in skipped
        ]
        return ids, kept

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]:
        length = self.settings.query_length
        everything = self._ids(self.settings.query_prefix, texts)
        cut = [self._cut(ids, length) for ids in everything]
        filled = [ids + [self._mask] * (length - len(ids)) for ids in cut]
        seen = None if self.settings.attend_to_expansion else [len(ids) for ids in cut]
        encoded = self._model.encode(filled, seen=seen)
        return [
            EncodedQuery(vectors.copy(), tuple(map(self._token, ids)), len(whole) + 2)
            for vectors, ids, whole in zip(encoded, filled, everything, strict=True)
        ]

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        assert found is not None, "_open_tokenizer has looked for it"
        return found

    def _token(self, token_id: int) -> str:
        return self._tokenizer.id_to_token(token_id) or ""

    def _ids(self, prefix: str, texts: Sequence[str]) -> list[list[int]]:
        return [
            self._tokenizer.encode(prefix + text, add_special_tokens=False).ids for text in texts
        ]

    def _cut(self, ids: list[int], length: int) -> list[int]:
        return [self._cls, *ids[: length - 2], self._sep]


def _markers(metadata: dict[str, Any]) -> list[str]:
    return [
        metadata.get("query_token_id") or "[unused0]",
        metadata.get("doc_token_id") or "[unused1]",
    ]


def _open_tokenizer(folder: Path, markers: Sequence[str]) -> Tokenizer | None:
    """Return it with the settings beside it, which are what the library obeys; None for others."""
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    if settings.get("tokenizer_class", "").removesuffix("Fast") != "BertTokenizer":
        return None
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
    except Exception:  # tokenizers raises no other; the library will say what is wrong
        return None
    if not isinstance(tokenizer.model, models.WordPiece):
        return None
    if any(tokenizer.token_to_id(token) is None for token in (*markers, *SPECIAL)):
        return None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(
        [AddedToken(marker, normalized=False, special=True) for marker in markers]
    )
    return tokenizer


def _expected(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of the backbone."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config.get("type_vocab_size", 2), hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for name, outputs, inputs in (
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", wide, hidden),
            ("output.dense", hidden, wide),
        ):
            shapes[f"{layer}.{name}.weight"] = (outputs, inputs)
            shapes[f"{layer}.{name}.bias"] = (outputs,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{layer}.{name}.weight"] = shapes[f"{layer}.{name}.bias"] = (hidden,)
    return shapes
