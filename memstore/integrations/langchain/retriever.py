"""Memories as what LangChain's retrievers return."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import ConfigDict, PrivateAttr

from memstore import BadInput, Hit, MemoryStore
from memstore.integrations.retrieved import (
    ClosesItsStore,
    Content,
    check_content,
    content_of,
    metadata_of,
    open_to_read,
)
from memstore.settings import DEFAULT_LIMIT, DEFAULT_NAMESPACE, DEFAULT_PROFILE
from memstore.types import Filter, Temporal


class MemstoreRetriever(ClosesItsStore, BaseRetriever):
    """Retrieves memories as LangChain documents.

    A document's `id` is its memory's, its `page_content` the passage that matched, which is all of
    a short memory. Its metadata are the memory's own, and `memstore_…` names for what memstore
    knows: `rank`, `score` (higher is better; log-odds in nats if the scorer is calibrated),
    `probability`, `key`, `namespace`, `source`, `occurred_at`, `confidence` and so on, all JSON.
    Own metadata of such names are found under `memstore_shadowed`.

    `store` is an open store, which stays open, or the path of one, which is opened here once, for
    reading: close the retriever, or use it as a context manager. All other fields are arguments of
    `MemoryStore.query`, but for:

    Args:
        k: most documents.
        content: `passage`, or `memory` for all of its text.
        scores: whether metadata have what depends on the query: rank, score, probability, and where
            the passage lies. Without it the same memory is an equal document for every query, as
            retrievers want that merge the answers to several.

    `invoke` and its kin take the same names for one call: `retriever.invoke(text, k=3)`.
    """

    model_config = ConfigDict(extra="forbid")  # the framework's own way is to ignore them

    store: MemoryStore | str | os.PathLike[str]
    namespace: str = DEFAULT_NAMESPACE
    k: int = DEFAULT_LIMIT
    where: Filter | None = None
    rerank: Any = None
    rerank_depth: int | None = None
    on_rerank_error: Literal["raise", "skip"] = "raise"
    profile: str = DEFAULT_PROFILE
    weights: Mapping[str, float] | None = None
    as_of: datetime | str | None = None
    known_at: datetime | str | None = None
    now: datetime | str | None = None
    max_tokens: int | None = None
    near_duplicates: Literal["keep", "drop"] = "keep"
    min_score: float | None = None
    temporal: Temporal = "auto"
    include_invalid: bool = False
    undated: Literal["keep", "drop"] = "keep"
    newest_wins: bool = False
    content: Content = "passage"
    scores: bool = True

    _opened_here: bool = PrivateAttr(default=False)

    def model_post_init(self, context: Any, /) -> None:
        """Open the store, so that copies of the retriever share it."""
        super().model_post_init(context)
        check_content(self.content, self.max_tokens)
        self.store, self._opened_here = open_to_read(self.store)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun | None = None, **call: Any
    ) -> list[Document]:
        options = self._options(call)
        content, scores = options.pop("content"), options.pop("scores")
        result = self._memories.query(query, limit=options.pop("k"), **options)
        return [_retrieved(hit, content, scores=scores) for hit in result.hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun | None = None,
        **call: Any,
    ) -> list[Document]:
        return await asyncio.to_thread(self._get_relevant_documents, query, **call)

    def _get_ls_params(self, **call: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(
            ls_retriever_name="memstore",
            ls_vector_store_provider="memstore",
            ls_embedding_provider="memstore",
            ls_embedding_model=self._memories.encoder,
        )

    @property
    def _memories(self) -> MemoryStore:
        assert isinstance(self.store, MemoryStore)  # since `model_post_init`
        return self.store

    def _options(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return the retriever's fields with those of one call in their place."""
        names = set(MemstoreRetriever.model_fields) - set(BaseRetriever.model_fields) - {"store"}
        unknown = sorted(set(call) - names)
        if unknown:
            raise BadInput(
                f"A memstore retriever has no option {unknown[0]!r}. Known options: "
                f"{', '.join(sorted(names))}."
            )
        options = {name: call.get(name, getattr(self, name)) for name in names}
        check_content(options["content"], options["max_tokens"])
        return options


def _retrieved(hit: Hit, content: Content, *, scores: bool) -> Document:
    of_query: dict[str, Any] = {}
    if scores:
        of_query = {
            "rank": hit.rank,
            "score": hit.score,
            "probability": hit.probability,
            "passage_start": hit.passage.start,
            "passage_end": hit.passage.end,
        }
    return Document(
        page_content=content_of(hit, content),
        metadata=metadata_of(hit, **of_query),
        id=hit.memory.id,
    )
