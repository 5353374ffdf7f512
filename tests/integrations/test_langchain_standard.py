"""LangChain's own standard suites, run over memstore as they stand."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

from memstore import MemoryStore
from memstore.integrations.langchain import MemstoreRetriever, MemstoreVectorStore


class TestVectorStoreAsLangChainTestsIt(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, store: MemoryStore) -> VectorStore:
        return MemstoreVectorStore(store)


class TestRetrieverAsLangChainTestsIt(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled(self, store: MemoryStore) -> None:
        store.add_many(["Ana drinks tea.", "Bruno drinks tea.", "Carla drinks tea.", "No more."])
        self.store = store

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MemstoreRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "who drinks tea?"
