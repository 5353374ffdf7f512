"""Whether a memory holds, and since when."""

from __future__ import annotations

from datetime import UTC, datetime

from memstore import Memory
from memstore.times import iso
from memstore.types import Filter


def now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)


def begins(memory: Memory) -> datetime:
    """Return when a memory begins to hold."""
    return memory.valid_from or memory.occurred_at or memory.recorded_at


def ended(memory: Memory) -> bool:
    """Return whether a memory held once and does no more."""
    return memory.valid_to is not None and memory.valid_to <= now()


def holds(memory: Memory) -> bool:
    """Return whether a memory holds now."""
    return memory.retracted_at is None and begins(memory) <= now() and not ended(memory)


def not_ended() -> Filter:
    """Return the filter of what holds or will hold, and of what was retracted."""
    return {"or": [{"valid_to": None}, {"valid_to": {"gt": iso(now())}}]}
