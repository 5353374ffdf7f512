"""LangGraph's long-term memory in a memstore: a `BaseStore` for `compile(store=…)`."""

from memstore import MissingExtra

try:
    import langgraph.store.base  # noqa: F401  # what all modules here are made of
except ImportError as error:
    raise MissingExtra(
        "memstore.integrations.langgraph needs langgraph-checkpoint, which is not there: "
        f"{error}.\n"
        "Install it:\n    pip install 'memstore[langgraph]'"
    ) from error

from memstore.integrations.langgraph.store import MemstoreStore

__all__ = ["MemstoreStore"]
