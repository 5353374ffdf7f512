"""What the doors for retrieval frameworks share: the store they read, and hits in their terms."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from memstore import BadInput, Hit, Memory, MemoryStore
from memstore.times import iso

Content = Literal["passage", "memory"]

PREFIX = "memstore_"
SHADOWED = f"{PREFIX}shadowed"


def open_to_read(store: MemoryStore | str | os.PathLike[str]) -> tuple[MemoryStore, bool]:
    """Return an open store, and whether it was opened here, so that who asked has to close it.

    A path is opened for reading alone, and nothing is created: asking changes no store.

    Raises:
        StoreNotFound: there is none at the path.
        BadInput: it is neither a store nor a path.
    """
    if isinstance(store, MemoryStore):
        return store, False
    if not isinstance(store, (str, os.PathLike)):
        raise BadInput(
            f"store is of type {type(store).__name__}; give an open MemoryStore, or a path to one."
        )
    return MemoryStore.open(store, read_only=True), True


class ClosesItsStore:
    """A door that closes its store if it has opened it, and is a context manager."""

    if TYPE_CHECKING:
        store: Any
        _opened_here: bool

    def close(self) -> None:
        """Close the store if it was opened here. Safe to call twice."""
        if self._opened_here:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def content_of(hit: Hit, content: Content) -> str:
    """Return the text of a hit: the passage that matched, or all of its memory."""
    return hit.passage.text if content == "passage" else hit.memory.text


def check_content(content: Content, max_tokens: int | None) -> None:
    """Refuse a content that does not exist, and whole memories in a budget that counts passages."""
    if content not in ("passage", "memory"):
        raise BadInput(f"content is {content!r}; give 'passage' or 'memory'.")
    if content == "memory" and max_tokens is not None:
        raise BadInput(
            f"max_tokens is {max_tokens} and counts passages, but content is 'memory', which may "
            "be any number of them. Give content='passage', or no max_tokens."
        )


def probability_of(hit: Hit) -> float:
    """Return the probability of a hit.

    Raises:
        BadInput: it has none, because its scorer is not calibrated, or lies below what a reranker
            scored.
    """
    if hit.probability is None:
        raise BadInput(
            f"Hit {hit.rank} has a score ({hit.score:.3f}, of {hit.relevance.scorer!r}) but no "
            "probability: that scorer is not calibrated, or the hit lies below those a reranker "
            "scored. Ask for scores instead, calibrate it (memstore calibrate), or ask for no more "
            "hits than rerank_depth."
        )
    return hit.probability


def metadata_of(hit: Hit, **more: Any) -> dict[str, Any]:
    """Return a memory's metadata and beside it, as `memstore_…`, what memstore knows of it.

    All values are JSON, and apart from `more` none depends on the query. Names that begin so are
    memstore's alone, so that a memory cannot pass for what it is not by its own metadata: such
    names of its own are found under `memstore_shadowed`.

    Args:
        more: further names, without the prefix.
    """
    known = {f"{PREFIX}{name}": value for name, value in {**_known(hit), **more}.items()}
    own = dict(hit.memory.metadata)
    shadowed = {name: own.pop(name) for name in list(own) if name.startswith(PREFIX)}
    return {**own, **known, **({SHADOWED: shadowed} if shadowed else {})}


def _known(hit: Hit) -> dict[str, Any]:
    memory = hit.memory
    return {
        "key": memory.key,
        "namespace": memory.namespace,
        "session": memory.session,
        "title": memory.title,
        "kind": memory.kind,
        "source": memory.source,
        "occurred_at": _occurred(memory),
        "recorded_at": iso(memory.recorded_at),
        "valid_from": None if memory.valid_from is None else iso(memory.valid_from),
        "valid_to": None if memory.valid_to is None else iso(memory.valid_to),
        "confidence": memory.confidence,
        "importance": memory.importance,
        "entities": list(memory.entities),
        "status": hit.status,
    }


def _occurred(memory: Memory) -> str | None:
    """Return when it happened, as precisely as is known."""
    if memory.occurred_at is None:
        return None
    lengths = {"year": 4, "month": 7, "day": 10}
    written = iso(memory.occurred_at)
    return written[: lengths.get(memory.precision, len(written))]
