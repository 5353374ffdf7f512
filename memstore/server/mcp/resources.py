"""What a client may read without asking a question: one memory, and a view of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from memstore import Memory, MemoryStore
from memstore.server.mcp.fencing import element, fence
from memstore.server.mcp.results import memory_element, occurred, shortened
from memstore.server.scope import Scope
from memstore.times import iso

PROFILE_URI = "memory://profile"
MEMORY_URI = "memory://memory/"
MEMORY_TEMPLATE = MEMORY_URI + "{id}"

_WINDOW = 500  # newest memories that are looked at
_ENTITIES = 15
_CHARACTERS = 8000  # of all memories in a profile, some 2,000 tokens
_STABLE = ("evergreen", "fact", "preference")


def read_memory(store: MemoryStore, scope: Scope, memory_id: str) -> str:
    """Return one memory whole.

    Raises:
        MemoryNotFound: none of the scope has the id.
    """
    memory = scope.memory(store, memory_id)
    return fence("memories", [memory_element(memory, memory.text, version=memory.version)])


def read_profile(store: MemoryStore, scope: Scope) -> str:
    """Return what holds now in a bounded number of words: what is important, what is stable, what
    is used most, what came last; and who and what is mentioned most.
    """
    namespace = scope.to_read()
    held = sum(item.memories for item in store.namespaces(under=namespace))
    head = element("namespace", {"name": namespace, "memories": held})
    names = [
        element("entity", {"name": item.name, "memories": item.memories})
        for item in store.entities(namespace=namespace, limit=_ENTITIES)
    ]
    return fence("profile", [head, *_sections(_current(store, namespace)), *names])


def _current(store: MemoryStore, namespace: str) -> list[Memory]:
    """Return what holds now, newest first: of the newest memories, and all important ones."""
    now = datetime.now(UTC)
    holds = {"or": [{"valid_to": None}, {"valid_to": {"gt": iso(now)}}]}
    found: dict[str, Memory] = {}
    for where in ({**holds, "importance": {"gt": 0}}, holds):
        page = store.list(namespace=namespace, where=where, limit=_WINDOW, newest_first=True)
        found |= {memory.id: memory for memory in page.memories}
    return sorted(
        (memory for memory in found.values() if _begun(memory, now) and memory.importance >= 0),
        key=lambda memory: memory.recorded_at,
        reverse=True,
    )


def _begun(memory: Memory, now: datetime) -> bool:
    start = memory.valid_from or memory.occurred_at or memory.recorded_at
    return memory.retracted_at is None and start <= now


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
            line = _line(memory)
            if len(line) > left:
                continue
            left -= len(line)
            taken.add(memory.id)
            inside.append(line)
        if inside:
            written.append(_section(name, inside))
    return written


def _line(memory: Memory) -> str:
    named = {name: getattr(memory, name) for name in ("id", "key", "source")}
    return element("memory", named | {"time": occurred(memory)}, shortened(memory.text))


def _section(name: str, inside: Iterable[str]) -> str:
    return "\n".join([f"<{name}>", *inside, f"</{name}>"])
