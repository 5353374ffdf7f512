"""LangChain's retriever and vector store over a `MemoryStore`."""

from memstore.errors import MissingExtra

try:
    import langchain_core  # noqa: F401  # both modules below are made of its classes
except ImportError as error:
    raise MissingExtra(
        f"memstore.integrations.langchain needs langchain-core, which is not there: {error}.\n"
        "Install it:\n    pip install 'memstore[langchain]'"
    ) from error

from memstore.integrations.langchain.retriever import MemstoreRetriever
from memstore.integrations.langchain.vector_store import MemstoreVectorStore

__all__ = ["MemstoreRetriever", "MemstoreVectorStore"]
