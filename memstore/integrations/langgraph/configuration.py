"""What a store of LangGraph's is configured with, checked."""

from __future__ import annotations

from langgraph.store.base import IndexConfig, TTLConfig

from memstore import BadInput
from memstore.integrations.langgraph.items import WHOLE


def check_fields(index: IndexConfig | None, encoder: str) -> tuple[str, ...]:
    """Return the paths that texts are read from.

    Raises:
        BadInput: the configuration asks for another model's embeddings.
    """
    if index is None:
        return (WHOLE,)
    foreign = sorted(index.keys() - {"fields"})
    if foreign:
        raise BadInput(
            f"index has {', '.join(map(repr, foreign))}, but texts are read by the store's own "
            f"encoder ({encoder!r}), which makes a vector of each token. Give "
            "index={'fields': [...]} alone; MemoryStore.open(path, encoder=...) chooses another "
            "encoder."
        )
    fields = index.get("fields") or [WHOLE]
    if isinstance(fields, str) or not all(isinstance(field, str) for field in fields):
        raise BadInput(f"index has the fields {fields!r}; give a list of paths such as 'text'.")
    return tuple(fields)


def check_ttl(ttl: TTLConfig | None) -> TTLConfig | None:
    """Return a copy of a configuration of times to live, which may be changed while it is used."""
    known = TTLConfig.__annotations__
    unknown = sorted((ttl or {}).keys() - known.keys())
    if unknown:
        raise BadInput(f"ttl has {unknown[0]!r}, which is unknown. Known: {', '.join(known)}.")
    return None if ttl is None else ttl.copy()
