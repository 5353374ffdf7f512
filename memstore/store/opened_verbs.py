"""What the methods of `MemoryStore` work on, whichever file they are in."""

from __future__ import annotations

from memstore.store.opening import OpenStore


class OpenedVerbs:
    """Methods of an open store."""

    @property
    def _opened(self) -> OpenStore:
        """What is open; an error once the store is closed."""
        raise NotImplementedError

    def _wrote(self, memories: int) -> None:
        """Say that so many memories were stored: sealing may be due."""
        raise NotImplementedError
