"""What a caller of a server may see and change: namespaces, and whether anything at all."""

from __future__ import annotations

from dataclasses import dataclass

from memstore import Memory, MemoryNotFound, MemoryStore
from memstore.errors import BadInput, MemstoreError
from memstore.settings import DEFAULT_NAMESPACE

EVERYTHING = "*"
_ID_SHOWN = 64  # characters; ids have 26, what is asked for may have any number


class OutsideScope(MemstoreError):
    """A caller named a namespace that is none of its own, or wants to write and may only read."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A caller's namespaces, each with all below it; `*` is the whole store.

    The first one is meant where a request names none. Of a memory outside, nobody learns that it is
    there: its id is as unknown as one that was never given.
    """

    namespaces: tuple[str, ...] = (EVERYTHING,)
    read_only: bool = False

    def __post_init__(self) -> None:
        if not self.namespaces:
            raise BadInput(f"A scope needs a namespace; for the whole store give {EVERYTHING!r}.")

    @property
    def whole(self) -> bool:
        """Whether it is the whole store."""
        return EVERYTHING in self.namespaces

    def to_read(self, asked: str | None = None) -> str:
        """Return the namespace to read: the one asked for, else the first of the scope.

        Raises:
            OutsideScope: it is none of the scope.
        """
        return self._inside(self.namespaces[0] if asked is None else asked)

    def to_write(self, asked: str | None = None) -> str:
        """Return the namespace to write to; for the whole store the default one.

        Raises:
            OutsideScope: it is none of the scope, or the scope is for reading.
        """
        self.check_writable()
        first = self.namespaces[0]
        if asked is None:
            return DEFAULT_NAMESPACE if first == EVERYTHING else first
        return self._inside(asked)

    def check_writable(self) -> None:
        """Refuse a caller that may only read."""
        if self.read_only:
            raise OutsideScope("Only reading is allowed here: the server or the token says so.")

    def narrowed(self, within: Scope) -> Scope:
        """Return what of it lies within another one.

        >>> Scope(("team", "x")).narrowed(Scope(("team/ana", "y"), read_only=True))
        Scope(namespaces=('team/ana',), read_only=True)

        Raises:
            BadInput: nothing does.
        """
        inner = [own for own in self.namespaces if within.covers(own)]
        inner += [own for own in within.namespaces if self.covers(own) and own not in inner]
        if not inner:
            raise BadInput(
                f"The namespaces {', '.join(self.namespaces)} of a token are outside of those that "
                f"are served: {', '.join(within.namespaces)}. Serve more, or take the token out."
            )
        return Scope(tuple(inner), self.read_only or within.read_only)

    def covers(self, namespace: str) -> bool:
        """Whether a namespace is of the scope."""
        return self.whole or any(
            namespace == own or namespace.startswith(f"{own}/") for own in self.namespaces
        )

    def memory(self, store: MemoryStore, memory_id: str) -> Memory:
        """Return a memory of the scope by its id.

        Raises:
            MemoryNotFound: no live memory of the scope has it.
        """
        try:
            memory = store.get(memory_id)
        except MemoryNotFound:
            memory = None
        if memory is None or not self.covers(memory.namespace):
            shown = memory_id if len(memory_id) <= _ID_SHOWN else f"{memory_id[:_ID_SHOWN]}…"
            raise MemoryNotFound(
                f"There is no memory {shown!r}: it was never stored here, or it was forgotten."
            )
        return memory

    def _inside(self, namespace: str) -> str:
        if not self.covers(namespace):
            known = ", ".join(repr(own) for own in self.namespaces)
            raise OutsideScope(
                f"Namespace {namespace!r} is outside of what this caller may see: {known} and all "
                "below. Name one of these, or use a token for the other."
            )
        return namespace
