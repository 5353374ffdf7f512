"""Text to token vectors: the contract every encoder keeps, and `open_encoder` to get one."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from memstore.errors import EncoderUnavailable
from memstore.local_models import is_folder
from memstore.maxsim import TokenVectors


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What decides an encoder's vectors; stored with a store and compared on opening.

    `fingerprint` is the SHA-256 (hex) of the weights and of every setting that changes a vector.
    Lengths are tokens, special tokens and prefix included. `options` are for people to read.
    `session_context`: how many texts before a document a store gives the encoder, unless its own
    settings say otherwise; 0 for one that ignores them or was not trained with them.
    """

    name: str
    fingerprint: str
    dim: int
    document_length: int
    query_length: int
    options: Mapping[str, str | int | float | bool | list[str] | None] = field(default_factory=dict)
    session_context: int = 2


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A text to encode, with what precedes it.

    `context` are texts of its session, oldest first; `before` is, of a passage, the end of what its
    own document says before. They change how the text's own tokens are read, and get no vectors of
    their own. Encoders that do not use them ignore them.
    """

    text: str
    context: tuple[str, ...] = ()
    before: str = ""


# The characters [start, end) of a text, at least one; or the name of a token that is not in the
# text, such as "[CLS]".
VectorSpan = tuple[int, int] | str


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """An encoded query.

    Shapes: vectors (tokens, dim) of unit rows; factors (tokens,), each >= 0.
    With `contrast`, a token's weight is its factor times how much its best match in the searched
    namespace exceeds its mean match there; without, the factor alone.
    `tokens` are for people to read. `truncated`: the text was longer than the query length.
    """

    vectors: TokenVectors
    factors: NDArray[np.float32]
    contrast: bool
    tokens: tuple[str, ...]
    truncated: bool


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into token vectors. Safe to call from several threads."""

    @property
    def identity(self) -> EncoderIdentity: ...

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of the text: no special tokens, no truncation."""

    def vector_spans(self, text: str) -> list[VectorSpan]:
        """Return what each vector that `encode_documents` keeps of the text stands for, in order.

        It is the same whatever the context.
        """

    def encode_documents(
        self,
        documents: Sequence[DocumentText],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[TokenVectors]:
        """Encode documents, in the order given; longer ones are cut at the document length.

        Every result has at least one row. `progress` is called with the number of documents
        finished since the last call.
        """

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVectors]:
        """Encode queries, in the order given; every result has at least one row."""


# Encoders that need no hub: name -> "module:Class", called with device= and these options.
_BUILT_IN: Final[Mapping[str, tuple[str, Mapping[str, int]]]] = {
    "minilm": ("memstore.encoders.minilm:MiniLMEncoder", {}),
    "minilm-96": ("memstore.encoders.minilm:MiniLMEncoder", {"dim": 96}),
    "minilm-64": ("memstore.encoders.minilm:MiniLMEncoder", {"dim": 64}),
    "hashed": ("memstore.encoders.hashed:HashedEncoder", {}),
}

# Short names of ColBERT checkpoints on the Hugging Face hub that run without code of their own.
CHECKPOINTS: Final[Mapping[str, str]] = {
    "colbertv2": "colbert-ir/colbertv2.0",
    "answerai-colbert-small": "answerdotai/answerai-colbert-small-v1",
    "gte-moderncolbert": "lightonai/GTE-ModernColBERT-v1",
    "mxbai-edge-colbert-17m": "mixedbread-ai/mxbai-edge-colbert-v0-17m",
    "mxbai-edge-colbert-32m": "mixedbread-ai/mxbai-edge-colbert-v0-32m",
    "lateon": "lightonai/LateOn",
    "mlateon": "lightonai/mLateOn",
}
_CHECKPOINT_CLASS: Final = "memstore.encoders.colbert:ColBERTEncoder"
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_DEVICE: Final = re.compile(r"auto|cpu|(cuda|mps|xpu)(:[0-9]+)?")


def encoder_names() -> list[str]:
    """Return the names that `open_encoder` knows, besides hub ids and folders."""
    return [*_BUILT_IN, *CHECKPOINTS]


def is_encoder_name(name: str) -> bool:
    """Return whether `open_encoder` may open this: loads nothing and asks no hub."""
    base, _, folder = name.partition(":")
    known = name in encoder_names() or (bool(folder) and base in _BUILT_IN)
    return known or is_folder(name) or _HUB_ID.fullmatch(name) is not None


def open_encoder(name: str, *, device: str = "auto") -> Encoder:
    """Return the encoder of this name.

    Args:
        name: one of `encoder_names()`; `minilm:FOLDER` for a folder with the weights of `minilm`;
            the folder of a ColBERT checkpoint; or its hub id (`owner/name`).
        device: where bulk encoding runs: 'auto' (CUDA where there is one), 'cpu', 'cuda'.

    Whether the device can be used is only known, and checked, when torch is loaded for bulk work.

    Raises:
        EncoderUnavailable: no encoder has this name, there is no such kind of device, or the
            weights cannot be loaded.
    """
    if not _DEVICE.fullmatch(device):
        raise EncoderUnavailable(
            f"There is no device '{device}'. Choose 'auto', 'cpu', 'cuda' or 'cuda:1'."
        )
    base, _, folder = name.partition(":")
    if folder and base in _BUILT_IN and base != "hashed":
        target, options = _BUILT_IN[base]
        return _construct(target, folder=folder, device=device, **options)
    if name in _BUILT_IN:
        target, options = _BUILT_IN[name]
        return _construct(target, device=device, **options)
    if name in CHECKPOINTS:
        return _construct(_CHECKPOINT_CLASS, CHECKPOINTS[name], name=name, device=device)
    # A folder goes before a hub id of the same spelling: what is on this machine needs no network.
    if is_folder(name):
        # by its whole path, which a store remembers: the next process may run elsewhere
        path = Path(os.path.expanduser(name)).resolve()
        return _construct(_CHECKPOINT_CLASS, path, name=str(path), device=device)
    if _HUB_ID.fullmatch(name):
        return _construct(_CHECKPOINT_CLASS, name, name=name, device=device)
    raise EncoderUnavailable(
        f"There is no encoder '{name}', and no folder of that name.\n"
        f"Choose one of {', '.join(encoder_names())}; the hub id of a ColBERT checkpoint, such as "
        "'owner/name'; or the folder of one, such as './my-colbert'."
    )


def _construct(target: str, /, *arguments: object, **options: object) -> Encoder:
    module, _, kind = target.partition(":")
    encoder: Encoder = getattr(importlib.import_module(module), kind)(*arguments, **options)
    return encoder
