"""A second look at the best candidates: the contract of every reranker, and `open_reranker`."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from memstore.errors import BadInput
from memstore.local_models import is_folder
from memstore.settings import Settings
from memstore.types import ScoreKind

# Characters [start, end) of a document.
Span = tuple[int, int]


@runtime_checkable
class Reranker(Protocol):
    """Scores texts by reading them beside the query. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """What it was opened as: `minilm-l6`, a hub id, `cohere:rerank-v3.5`."""

    @property
    def kind(self) -> ScoreKind:
        """What its scores are: `logit` (never squashed), `prob01` or `maxsim`."""

    @property
    def parameters(self) -> int | None:
        """Number of weights; None where nobody can count them."""

    def windows(self, query: str, documents: Sequence[str]) -> list[list[Span]]:
        """Return, per document, the parts that are read beside the query one at a time.

        At least one each; together they cover the document. One that fits is one window.
        """

    def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[float | None]:
        """Return the raw score of each document, in the order given: the higher, the more relevant.

        A score depends on the query and that document alone, except for listwise services. What is
        longer than a window is cut. None: this document was given no score.

        Args:
            progress: called with the number of documents finished since the last call.

        Raises:
            RerankerUnavailable: a score is not a number or infinite.
            ServiceError: a hosted service failed.
        """


# Cross-encoders on the Hugging Face hub that run without code of their own: name -> hub id.
# gte-multilingual is experimental: see gte.py.
CROSS_ENCODERS: Final = {
    "minilm-l6": "cross-encoder/ms-marco-MiniLM-L-6-v2",
    "minilm-l12": "cross-encoder/ms-marco-MiniLM-L-12-v2",
    "bge-v2-m3": "BAAI/bge-reranker-v2-m3",
    "gte-modernbert": "Alibaba-NLP/gte-reranker-modernbert-base",
    "gte-multilingual": "Alibaba-NLP/gte-multilingual-reranker-base",
}
# Hosted services: name -> "module:Class"; `NAME:MODEL` chooses a model.
_HOSTED: Final = {
    "cohere": "memstore.rerank.hosted:CohereReranker",
    "jina": "memstore.rerank.hosted:JinaReranker",
}
_CROSS_ENCODER: Final = "memstore.rerank.cross_encoder:CrossEncoderReranker"
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def reranker_names() -> list[str]:
    """Return the names that `open_reranker` knows, besides hub ids and folders."""
    return [*CROSS_ENCODERS, *_HOSTED]


def open_reranker(name: str, *, device: str = "auto", settings: Settings | None = None) -> Reranker:
    """Return the reranker of this name. Its `rerank_*` and `service_*` settings apply.

    Args:
        name: one of `reranker_names()`; `cohere:MODEL` or `jina:MODEL`; the folder of a
            sentence-transformers cross-encoder; or its hub id (`owner/name`).
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1'.

    Raises:
        BadInput: no reranker has this name.
        RerankerUnavailable: its weights cannot be loaded, or the device cannot be used.
        KeyRefused: the environment has no API key for it.
        MissingExtra: it needs a package that is not installed.
    """
    settings = settings or Settings()
    found = check_name(name)
    service, _, model = name.partition(":")
    if found is None:
        return _class(_HOSTED[service])(model or None, settings=settings)
    return _class(_CROSS_ENCODER)(found, name=name, device=device, settings=settings)


def check_name(name: str) -> str | Path | None:
    """Return the hub id or folder of a local reranker, None for a hosted one; loads nothing.

    Raises:
        BadInput: no reranker has this name.
    """
    service, colon, model = name.partition(":")
    if service in _HOSTED and bool(model) == bool(colon):
        return None
    if name in CROSS_ENCODERS:
        return CROSS_ENCODERS[name]
    # A folder goes before a hub id of the same spelling: what is on this machine needs no network.
    if is_folder(name):
        return Path(os.path.expanduser(name))
    if _HUB_ID.fullmatch(name):
        return name
    raise BadInput(
        f"There is no reranker {name!r}, and no folder of that name.\n"
        f"Choose one of colbert, {', '.join(reranker_names())}; 'cohere:MODEL' or "
        "'jina:MODEL'; the hub id of a cross-encoder, such as 'owner/name'; or its folder."
    )


def _class(target: str) -> Callable[..., Reranker]:
    module, _, kind = target.partition(":")
    loaded: Callable[..., Reranker] = getattr(importlib.import_module(module), kind)
    return loaded
