"""Local cross-encoders: models that read a query and a text together and give them one number."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from memstore.errors import BadInput, RerankerUnavailable
from memstore.local_models import (
    NotFetchedError,
    choose_device,
    fetch,
    first_line,
    no_progress_bars,
)
from memstore.rerank import Span
from memstore.rerank.gte import loadable
from memstore.rerank.windows import cut
from memstore.settings import Settings
from memstore.surrogates import replace_surrogates
from memstore.types import ScoreKind

_DTYPES: Final = ("float32", "bfloat16", "float16")
_BATCH_ON_CPU: Final = 4
_BATCH_ELSEWHERE: Final = 64
# The longest normal form of a character in UTF-8: U+FDFA under NFKC.
_MOST_BYTES: Final = 33
# What a loader says on standard error is the same in all threads.
_LOADING: Final = threading.Lock()


class CrossEncoderReranker:
    """Scores are the model's logits as they are, also where its configuration asks for a sigmoid.

    Loaded with sentence-transformers' `CrossEncoder`, from files alone and without code of the
    checkpoint's own. Where query and document are too long together, the longer one is cut first: a
    query keeps what the document leaves free, and half of the tokens at least.

    Args:
        checkpoint: hub id or folder.
        name: what errors and results call it.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1'.
        settings: `rerank_batch_size`, `rerank_dtype` and `rerank_max_length` apply.

    Raises:
        BadInput: a setting cannot be used.
        RerankerUnavailable: not found, unreachable, incomplete, or no cross-encoder.
    """

    kind: ScoreKind = "logit"

    def __init__(
        self, checkpoint: str | Path, *, name: str, device: str, settings: Settings
    ) -> None:
        if settings.rerank_dtype not in _DTYPES:
            raise BadInput(
                f"rerank_dtype={settings.rerank_dtype!r} is unknown.\n"
                f"Choose one of {', '.join(_DTYPES)}."
            )
        batch_size = settings.rerank_batch_size
        if batch_size is not None and batch_size < 1:
            raise BadInput(
                f"rerank_batch_size={batch_size} is no number of pairs.\nChoose 1 or more."
            )
        folder = checkpoint if isinstance(checkpoint, Path) else _fetch(checkpoint)
        self._model = _load(folder, device, settings.rerank_dtype)
        self.name = name
        self.parameters = sum(weights.numel() for weights in self._model.parameters())
        on_cpu = self._model.device.type == "cpu"
        self._batch_size = batch_size or (_BATCH_ON_CPU if on_cpu else _BATCH_ELSEWHERE)
        self._limit = min(settings.rerank_max_length, _own_limit(self._model))
        self._room = self._limit - self._model.tokenizer.num_special_tokens_to_add(pair=True)
        if self._room < 2:
            raise BadInput(
                f"rerank_max_length={settings.rerank_max_length} leaves {name} no room for a query "
                "and a document beside its special tokens.\nChoose 64 or more."
            )
        # Tokenizers keep truncation as state, so that one call at a time may use the model.
        self._lock = threading.Lock()

    def windows(self, query: str, documents: Sequence[str]) -> list[list[Span]]:
        """Return, per document, the parts that can be read whole beside the query.

        Beside a query of more than half the tokens, a document has room for the other half.
        """
        with self._lock:
            asked = len(self._token_spans(self._prompt + replace_surrogates(query)))
            room = max(self._room - asked, self._room // 2)
            return [self._windows(replace_surrogates(document), room) for document in documents]

    def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[float | None]:
        """Return the logit of each document, in the order given."""
        if not documents:
            return []
        import torch

        asked = replace_surrogates(query)
        with self._lock, self._reporting(progress):
            try:
                # It sorts by length itself, and makes float32 of half-precision scores.
                scores = self._model.predict(
                    [(asked, replace_surrogates(document)) for document in documents],
                    batch_size=self._batch_size,
                    show_progress_bar=False,
                    processing_kwargs={
                        "text": {"truncation": "longest_first", "max_length": self._limit}
                    },
                ).tolist()
            except torch.OutOfMemoryError as error:
                raise RerankerUnavailable(
                    f"The memory of {self._model.device} is too small for {self.name} with "
                    f"{self._batch_size} pairs at once.\n"
                    "Choose a smaller Settings(rerank_batch_size=...), or device='cpu'."
                ) from error
        broken = sum(not math.isfinite(score) for score in scores)
        if broken:
            raise RerankerUnavailable(
                f"The reranker {self.name} gave {broken} of {len(scores)} scores that are no "
                "finite numbers.\nFetch its weights anew, or choose "
                "Settings(rerank_dtype='float32') if it computed in float16, which may overflow."
            )
        return list(scores)

    @property
    def _prompt(self) -> str:
        """What the model was saved to put in front of every query; nearly always nothing."""
        return self._model.prompts.get(self._model.default_prompt_name) or ""

    def _windows(self, text: str, room: int) -> list[Span]:
        if most_tokens(text) <= room:
            return [(0, len(text))]
        tokens = self._token_spans(text)
        size = room
        while True:
            spans = cut(text, tokens, size)
            # A part that begins or ends inside a word can have more tokens than it had there.
            excess = max(len(self._token_spans(text[start:end])) for start, end in spans) - room
            if excess <= 0 or size <= room // 2:
                return spans
            size = max(size - excess, room // 2, 1)

    def _token_spans(self, text: str) -> list[Span]:
        encoding = self._model.tokenizer(
            text,
            add_special_tokens=False,
            truncation=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        return [(int(start), int(end)) for start, end in encoding["offset_mapping"]]

    @contextmanager
    def _reporting(self, progress: Callable[[int], None] | None) -> Iterator[None]:
        """Call `progress` with the size of each batch that the model has read."""
        if progress is None:
            yield
            return

        def finished(_model: object, _features: object, output: Any) -> None:
            progress(len(output["scores"]))

        with self._model.register_forward_hook(finished):
            yield


def most_tokens(text: str) -> int:
    """Return at least as many tokens as WordPiece, SentencePiece or byte pairs make of this text.

    A token stands for at least one byte of the normalised text. Normalising leaves ASCII as long as
    it is, and makes at most 33 bytes of any other character. SentencePiece puts one mark in front.

    >>> most_tokens("tide"), most_tokens("Ebbe — Flut")
    (5, 44)
    """
    others = len(text) - len(text.encode("ascii", errors="ignore"))
    return len(text) + (_MOST_BYTES - 1) * others + 1


def _fetch(hub_id: str) -> Path:
    try:
        return fetch(hub_id)
    except NotFetchedError as error:
        raise RerankerUnavailable(
            f"The reranker {hub_id} is not in the Hugging Face cache, and {error}.\n"
            f"Where there is a network, run `hf download {hub_id} --local-dir my-reranker`, copy "
            "the folder here, and name it: rerank='./my-reranker'."
        ) from error


def _load(folder: Path, device: str, dtype: str) -> Any:  # a CrossEncoder, imported late
    config = _check_folder(folder)
    chosen = choose_device(device, refusal=RerankerUnavailable)
    import torch
    from sentence_transformers import CrossEncoder

    try:
        with _LOADING, no_progress_bars(), _no_warnings(), loadable(folder, config) as source:
            model = CrossEncoder(
                str(source),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                activation_fn=torch.nn.Identity(),
                model_kwargs={
                    "dtype": getattr(torch, dtype),
                    # Not ignored: `_check_weights` names them, which the loader's error does not.
                    "ignore_mismatched_sizes": True,
                },
            )
    # Files of any content reach the libraries, and tokenizers raises a plain Exception.
    except Exception as error:
        raise _refused(folder, first_line(error).rstrip(" .")) from error
    # Before it moves to another device, where weights could be other objects without their marks.
    _check_weights(folder, model)
    try:
        return model.to(chosen).eval()
    except torch.OutOfMemoryError as error:
        raise RerankerUnavailable(
            f"The memory of {chosen} is too small for {folder}.\nChoose device='cpu'."
        ) from error


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence the loaders, which log what they did not find or need; here that is an error."""
    loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_folder(folder: Path) -> dict[str, Any]:
    """Return what config.json says, if it may be a cross-encoder's.

    Raises:
        RerankerUnavailable: there is none, it cannot be read, or it describes something else.
    """
    config = _read_json(folder, "config.json")
    library = "config_sentence_transformers.json"
    saved = _read_json(folder, library) if (folder / library).is_file() else {}
    # Stanford's colbert-ai, sentence-transformers, and PyLate with and without a model type.
    if (
        "HF_ColBERT" in (config.get("architectures") or [])
        or saved.get("model_type") in ("MultiVectorEncoder", "ColBERT")
        or "query_prefix" in saved
    ):
        raise RerankerUnavailable(
            f"{folder} is a ColBERT checkpoint, not a cross-encoder.\n"
            f"Name it as one: rerank='colbert:{folder}'."
        )
    activations = [
        saved.get("activation_fn"),
        (config.get("sentence_transformers") or {}).get("activation_fn"),
        config.get("sbert_ce_default_activation_function"),
    ]
    for activation in activations:
        if activation is not None and not str(activation).startswith("torch."):
            raise _refused(folder, f"its scores go through code of its own, {activation}")
    return config


def _check_weights(folder: Path, model: Any) -> None:
    """Refuse a model that the loader completed at random or with an empty tokenizer.

    Raises:
        RerankerUnavailable: something is missing, or it gives more than one score.
    """
    transformer = model.transformers_model
    if transformer is None:
        raise _refused(folder, "it has no transformer")
    # transformers marks each weight that it took from a file. What it renamed or split on the way
    # has the mark, where a comparison of names would miss it; what it made up has not.
    missing = [
        name
        for name, weights in transformer.named_parameters()
        # A bare encoder's pooler is never used; that of a classifier has a longer name.
        if not getattr(weights, "_is_hf_initialized", False) and not name.startswith("pooler.")
    ]
    if missing:
        raise _refused(
            folder,
            f"{len(missing)} weights are missing or have another shape, such as {missing[0]}",
        )
    if model.num_labels != 1:
        raise _refused(folder, f"it gives a pair {model.num_labels} numbers instead of one score")
    tokenizer = model.tokenizer
    if tokenizer is None or len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise _refused(folder, "it has no tokenizer (tokenizer.json)")


def _own_limit(model: Any) -> int:
    """Return how many tokens the model can read."""
    import torch

    limit = int(model.max_seq_length)
    for part in model.modules():
        positions = getattr(part, "position_embeddings", None)
        if isinstance(positions, torch.nn.Embedding):
            # RoBERTa's positions begin behind the padding index.
            unused = 0 if positions.padding_idx is None else positions.padding_idx + 1
            limit = min(limit, positions.num_embeddings - unused)
    return limit


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _refused(folder, f"it has no {name}") from error
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or no JSON
        raise _refused(folder, f"{name} cannot be read ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise _refused(folder, f"{name} holds no JSON object")
    return content


def _refused(folder: Path, reason: str) -> RerankerUnavailable:
    return RerankerUnavailable(
        f"{folder} cannot be used as a reranker: {reason}.\n"
        "Use a folder that `hf download` or the model's own `save_pretrained` wrote completely, of "
        "a cross-encoder with one score per pair; models that need code of their own "
        "(trust_remote_code) are not supported."
    )
