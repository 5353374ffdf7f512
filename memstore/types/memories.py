"""What is stored, and what is known of it: memories, their history, entities and sources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal

Metadata = Mapping[str, Any]
Filter = Mapping[str, Any]
When = datetime | str
TimePrecision = Literal["instant", "day", "month", "year", "unknown"]
Temporal = Literal["auto", "current", "historical", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMemory:
    """A memory to be stored; the fields are those of `MemoryStore.add`, and `speaker`.

    `speaker` becomes an entity of the memory and a prefix of its text.
    """

    text: str
    namespace: str = "default"
    key: str | None = None
    session: str | None = None
    title: str | None = None
    kind: str | None = None
    speaker: str | None = None
    occurred_at: When | None = None
    valid_from: When | None = None
    valid_to: When | None = None
    half_life: timedelta | None = None
    confidence: float | None = None
    importance: float = 0.0
    source: str | None = None
    metadata: Metadata | None = None
    entities: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A stored memory.

    `id` is a ULID, stable for life. Times are aware UTC. `occurred_at` is the beginning of the day,
    month or year that `precision` names; with the precision `unknown` it is None. `valid_from` and
    `valid_to` bound a half-open interval. `confidence` is 0 to 10, where 5 means that nothing is
    known: ten times the mean of the Beta distribution of `alpha` and `beta`, which `confirm` and
    `contradict` feed. `uses` counts `reinforce`. `retracted_at` is when it was said to have never
    been true. `proposals` is filled by `add` alone.
    """

    id: str
    namespace: str
    key: str | None
    session: str | None
    title: str | None
    text: str
    metadata: Metadata
    source: str | None
    occurred_at: datetime | None
    recorded_at: datetime
    valid_from: datetime | None
    valid_to: datetime | None
    superseded_by: str | None
    half_life: timedelta | None
    confidence: float
    importance: float
    entities: tuple[str, ...]
    kind: str | None = None
    precision: TimePrecision = "instant"
    retracted_at: datetime | None = None
    alpha: float = 1.0
    beta: float = 1.0
    uses: int = 0
    proposals: tuple[Proposal, ...] = ()

    @property
    def version(self) -> str:
        """Sixteen hexadecimal digits that become others with any change of the memory, be it a
        vote or what its source is believed: what `update` and `forget` take as `if_version`.
        """
        held = {
            item.name: getattr(self, item.name) for item in fields(self) if item.name != "proposals"
        }
        written = json.dumps(held, default=str, sort_keys=True)
        return hashlib.blake2b(written.encode(), digest_size=8).hexdigest()

    @property
    def confidence_interval(self) -> tuple[float, float]:
        """Between these lies the confidence with 90 % probability: 5.0 without evidence and 5.0
        after twenty votes each way differ here.
        """
        from scipy.special import betaincinv  # a tenth of a second that few readers of it pay

        # a prior of 0 or 10 without votes is all in one point, of which SciPy makes NaN
        alpha, beta = max(self.alpha, 1e-9), max(self.beta, 1e-9)
        low, high = (10.0 * float(betaincinv(alpha, beta, share)) for share in (0.05, 0.95))
        return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A stored memory that a new one may repeat or replace. Nothing was changed: say so yourself.

    `relation` is `near_duplicate` (both say nearly the same: `forget` one of them, or `reinforce`
    the old one) or `supersession` (the same things are spoken of: `supersede` the old one if it
    holds no more). `similarity` is the mean over the new memory's tokens of their best match in the
    old one, at most 1; `shared` are the entities that both are about.
    """

    relation: Literal["near_duplicate", "supersession"]
    memory: Memory
    similarity: float
    shared: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace and the number of memories in it, those below it not counted."""

    name: str
    memories: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of memories; pass `cursor` to `list` for the next one, None when this is the last."""

    memories: tuple[Memory, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a memory. The log is append-only.

    `at` is when it took effect, `recorded_at` when the store learned of it.
    """

    id: int
    memory_id: str
    verb: str
    at: datetime
    recorded_at: datetime
    source: str | None
    details: Mapping[str, Any]
    session: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """An entity and the number of live memories of the namespace that mention it.

    `aliases` are the canonical forms of other names that stand for it.
    """

    name: str
    canonical: str
    label: str | None
    memories: int
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An entity that memories mention together with another one.

    `memories` counts those that mention it, `together` those that mention both. `npmi` is
    normalised pointwise mutual information, 0 (no more often than by chance) to 1 (never apart).
    """

    name: str
    canonical: str
    label: str | None
    memories: int
    together: int
    npmi: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who writes memories and votes on them, and how far it is believed, 0 to 1.

    `reliability` is the trust that its memories begin with; `vote_weight` how much its word counts
    for or against a memory.
    """

    name: str
    reliability: float
    vote_weight: float
    memories: int
