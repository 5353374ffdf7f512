"""What a client may read without asking a question: one memory, and a view of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from memstore import Memory, MemoryStore
from memstore.rendering import element
from memstore.server.mcp.fencing import fence
from memstore.server.mcp.results import memory_element, shortened, whole_element
from memstore.server.mcp.validity import holds, not_ended
from memstore.server.scope import Scope

PROFILE_URI = "memory://profile"
MEMORY_URI = "memory://memory/"
MEMORY_TEMPLATE = MEMORY_URI + "{id}"

_WINDOW = 500  # newest memories that are looked at for a section
_ENTITIES = 15
_CHARACTERS = 8000  # of all memories in a profile, some 2,000 tokens
_STABLE = ("evergreen", "fact", "preference")


def read_memory(store: MemoryStore, scope: Scope, memory_id: str) -> str:
    """Return one memory whole.

    Raises:
        MemoryNotFound: none of the scope has the id.
    """
    memory = scope.memory(store, memory_id)
    return fence("memories", [whole_element(memory, memory.text)])


def read_profile(store: MemoryStore, scope: Scope) -> str:
    """Return what holds now in a bounded number of words: what is important, what is stable, what
    is used most, what came last; and who and what is mentioned most.
    """
    namespace = scope.to_read()
    held = sum(item.memories for item in store.namespaces(under=namespace))
    head = element("namespace", {"name": namespace, "memories": str(held)}, "")
    names = [
        element("entity", {"name": item.name, "memories": str(item.memories)}, "")
        for item in store.entities(namespace=namespace, limit=_ENTITIES)
    ]
    return fence("profile", [head, *_sections(_current(store, namespace)), *names])


def _current(store: MemoryStore, namespace: str) -> list[Memory]:
    """Return what holds now, newest first: the newest memories of each section."""
    sections: tuple[dict[str, object], ...] = (
        {"importance": {"gt": 0}},
        {"kind": {"in": _STABLE}},
        {"uses": {"gt": 0}},
        {},
    )
    found: dict[str, Memory] = {}
    for section in sections:
        where = {**not_ended(), **section}
        page = store.list(namespace=namespace, where=where, limit=_WINDOW, newest_first=True)
        found |= {memory.id: memory for memory in page.memories}
    return sorted(
        (memory for memory in found.values() if holds(memory) and memory.importance >= 0),
        key=lambda memory: memory.recorded_at,
        reverse=True,
    )


def _sections(memories: list[Memory]) -> list[str]:
    """Return an element per section; no memory is in two, and all together are bounded."""
    sections: tuple[tuple[str, int, Callable[[Memory], bool], Callable[[Memory], float]], ...] = (
        ("important", 10, lambda memory: memory.importance > 0, lambda memory: memory.importance),
        ("stable", 12, lambda memory: memory.kind in _STABLE, lambda memory: memory.confidence),
        ("used", 6, lambda memory: memory.uses > 0, lambda memory: memory.uses),
        ("recent", 10, lambda memory: True, lambda memory: 0),
    )
    left, taken, written = _CHARACTERS, set[str](), []
    for name, most, belongs, rank in sections:
        # sorted is stable: of equals the newest stays first
        chosen = sorted(
            (item for item in memories if item.id not in taken and belongs(item)),
            key=rank,
            reverse=True,
        )[:most]
        inside = []
        for memory in chosen:
            line = memory_element(memory, shortened(memory.text))
            if len(line) > left:
                continue
            left -= len(line)
            taken.add(memory.id)
            inside.append(line)
        if inside:
            written.append(_section(name, inside))
    return written


def _section(name: str, inside: Iterable[str]) -> str:
    return "\n".join([f"<{name}>", *inside, f"</{name}>"])
