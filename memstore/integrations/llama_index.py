"""LlamaIndex's retriever over a `MemoryStore`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Literal

from memstore import BadInput, Hit, MemoryStore, MissingExtra
from memstore.integrations.retrieved import (
    PREFIX,
    ClosesItsStore,
    Content,
    check_content,
    content_of,
    metadata_of,
    open_to_read,
    probability_of,
)
from memstore.settings import DEFAULT_LIMIT, DEFAULT_NAMESPACE, DEFAULT_PROFILE
from memstore.types import Filter, Temporal, When

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.schema import (
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
except ImportError as error:
    raise MissingExtra(
        f"memstore.integrations.llama_index needs llama-index-core, which is not there: {error}.\n"
        "Install it:\n    pip install 'memstore[llama-index]'"
    ) from error

Score = Literal["probability", "score"]

_FOR_MODELS = ("title", "occurred_at", "source")  # what `QueryResult.render` shows too


class MemstoreRetriever(ClosesItsStore, BaseRetriever):
    """Retrieves memories as LlamaIndex nodes with scores, the best first.

    A node's id is its memory's, its text the passage that matched, which is all of a short memory,
    and `start_char_idx` and `end_char_idx` say where in the memory it lies. Its metadata are the
    memory's own, and `memstore_…` names for what memstore knows: `key`, `namespace`, `source`,
    `occurred_at`, `confidence` and so on, all JSON; own metadata of such names are found under
    `memstore_shadowed`. Of memstore's names models are shown title, time and source, where there
    are any. The node's SOURCE is the memory's session, the conversation or document it is part of.

    Metadata do not depend on the query, because LlamaIndex knows equal nodes by them: those that
    several queries found are merged.

    What is asked is `query_str`. Of a bundle's `embedding` and `custom_embedding_strs`, which are
    for models with one vector per text, nothing is used.

    Args:
        store: an open store, which stays open, or the path of one, which is opened here once, for
            reading: close the retriever, or use it as a context manager.
        similarity_top_k: most nodes.
        content: `passage`, or `memory` for all of its text.
        score: what of a hit is the node's score: its `probability`, 0 to 1, or its `score`, which
            is log-odds in nats, or the raw score of a scorer that was never calibrated.
        callback_manager, verbose: as of every LlamaIndex retriever.

    All others are arguments of `MemoryStore.query`.
    """

    def __init__(
        self,
        store: MemoryStore | str | os.PathLike[str],
        *,
        similarity_top_k: int = DEFAULT_LIMIT,
        namespace: str = DEFAULT_NAMESPACE,
        where: Filter | None = None,
        rerank: Any = None,
        rerank_depth: int | None = None,
        on_rerank_error: Literal["raise", "skip"] = "raise",
        profile: str = DEFAULT_PROFILE,
        weights: Mapping[str, float] | None = None,
        as_of: When | None = None,
        known_at: When | None = None,
        now: When | None = None,
        max_tokens: int | None = None,
        near_duplicates: Literal["keep", "drop"] = "keep",
        min_score: float | None = None,
        temporal: Temporal = "auto",
        include_invalid: bool = False,
        undated: Literal["keep", "drop"] = "keep",
        newest_wins: bool = False,
        content: Content = "passage",
        score: Score = "probability",
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        check_content(content, max_tokens)
        if score not in ("probability", "score"):
            raise BadInput(f"score is {score!r}; give 'probability' or 'score'.")
        super().__init__(callback_manager=callback_manager, verbose=verbose)
        self.similarity_top_k = similarity_top_k
        self._options: dict[str, Any] = {
            "namespace": namespace,
            "where": where,
            "rerank": rerank,
            "rerank_depth": rerank_depth,
            "on_rerank_error": on_rerank_error,
            "profile": profile,
            "weights": weights,
            "as_of": as_of,
            "known_at": known_at,
            "now": now,
            "max_tokens": max_tokens,
            "near_duplicates": near_duplicates,
            "min_score": min_score,
            "temporal": temporal,
            "include_invalid": include_invalid,
            "undated": undated,
            "newest_wins": newest_wins,
        }
        self._content: Content = content
        self._score: Score = score
        self.store, self._opened_here = open_to_read(store)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        result = self.store.query(
            query_bundle.query_str, limit=self.similarity_top_k, **self._options
        )
        return [
            NodeWithScore(
                node=_node(hit, self._content),
                score=probability_of(hit) if self._score == "probability" else hit.score,
            )
            for hit in result.hits
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(hit: Hit, content: Content) -> TextNode:
    metadata = metadata_of(hit)
    shown = {f"{PREFIX}{name}" for name in _FOR_MODELS}
    hidden = [
        name
        for name, value in metadata.items()
        if name.startswith(PREFIX) and (name not in shown or value is None)
    ]
    session = hit.memory.session
    start, end = hit.passage.start, hit.passage.end
    return TextNode(
        id_=hit.memory.id,
        text=content_of(hit, content),
        metadata=metadata,
        excluded_llm_metadata_keys=hidden,
        excluded_embed_metadata_keys=hidden,
        relationships=(
            {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=session)} if session else {}
        ),
        start_char_idx=start if content == "passage" else 0,
        end_char_idx=end if content == "passage" else len(hit.memory.text),
    )
