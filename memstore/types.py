"""What goes into a store and what comes out: frozen values, no behaviour beyond presentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from memstore.rendering import RenderStyle, render_hits

Metadata = Mapping[str, Any]
Filter = Mapping[str, Any]
When = datetime | str
ScoreKind = Literal["maxsim", "logit", "prob01"]


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

    `id` is a ULID, stable for life. Times are aware UTC. `confidence` is 0 to 10, where 5 means
    that nothing is known. `valid_from` and `valid_to` bound a half-open interval.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """The part of a memory's text that matched best: `text == memory.text[start:end]`."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One summand of a hit's score, in nats; `why` says where it comes from.

    For a component of the cognitive pass, `value` is what it says of the memory and `weight` what
    the profile gives it; `nats` is their product, scaled down by the profile's cap.
    """

    name: str
    nats: float
    why: str
    value: float | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMatch:
    """A token of the query and the token of the passage that is most similar to it.

    `passage_token == memory.text[start:end]`; where `start` and `end` are None, it is a token of
    the title in front of the passage, or a marker such as '[CLS]'. `similarity` is the dot product
    of their vectors, at most 1. `weight` is the query token's share in the passage's MaxSim, 0 to
    1: over all matches of a hit the weights sum to 1, and weight times similarity to MaxSim.
    """

    query_token: str
    passage_token: str
    start: int | None
    end: int | None
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Relevance:
    """What a scorer said of a hit: its raw score, and the log-odds that became of it.

    `scorer` is the encoder's or the reranker's name. `kind` is `maxsim`, `logit` (of a
    cross-encoder) or `prob01` (of a hosted service): raw scores of different scorers cannot be
    compared. `nats` is None for a scorer that was never calibrated.
    """

    scorer: str
    kind: ScoreKind
    raw: float
    nats: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One answer. `score` is log-odds in nats when its scorer is calibrated, else the raw score.

    `probability` is None for a scorer that is not calibrated, and for hits below the reranked
    ones. `parts` sum to `score`; `token_matches` has one per token of the query, in its order. Both
    are empty unless the query asked to explain. `index` is the position of a document given to
    `rank`, whose memory is stored nowhere and has the id ''; None for a memory of the store.
    `rerank_error` says why `rank` had to do without the reranker; of a query, its result says so.
    """

    rank: int
    score: float
    probability: float | None
    memory: Memory
    passage: Passage
    relevance: Relevance
    index: int | None = None
    rerank_error: str | None = None
    parts: tuple[Part, ...] = ()
    token_matches: tuple[TokenMatch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """A memory that would have been among the hits, had it been valid at the time asked for."""

    memory: Memory
    score: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """The answer to one query.

    `known_at` is None when everything recorded so far counts. `took` is seconds per stage.
    `suppressed` is filled when the query asked to explain. `reranker` is the one that scored the
    hits, None without one. `flags` name what the caller should know: `query_truncated`,
    `uncalibrated`, `semantic_degenerate`, `clock_skew`, `not_reranked` (some hits have no score of
    the reranker: they follow those that have one, in the order of retrieval), `rerank_skipped` (the
    reranker failed, as `rerank_error` says: this is the order of retrieval), and
    `token_matches_unavailable` (a hit's stored vectors are not those that the encoder makes of its
    text now, so which tokens they stand for is unknown: such a hit has none).
    """

    query: str
    hits: tuple[Hit, ...]
    now: datetime
    as_of: datetime
    known_at: datetime | None
    profile: str
    took: Mapping[str, float]
    suppressed: tuple[Suppressed, ...] = ()
    flags: tuple[str, ...] = ()
    reranker: str | None = None
    rerank_error: str | None = None

    def render(self, style: RenderStyle = "text") -> str:
        """Return the hits as one string for a prompt: each as its passage, with time and source."""
        return render_hits(self.hits, style)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """An entity and the number of live memories of the namespace that mention it."""

    name: str
    canonical: str
    label: str | None
    memories: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """An input that could not be stored. `line` counts from 1; None for a whole file."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an ingest did. `superseded` counts earlier memories that new ones replaced."""

    added: int
    unchanged: int
    superseded: int
    errors: tuple[LineError, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReport:
    """Which memories `forget` removed, or would remove in a dry run."""

    ids: tuple[str, ...]
    purged: bool
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something `verify` found wrong, and whether it was repaired."""

    code: str
    message: str
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """`clean` is True when nothing is wrong any more; `checked` counts what was looked at."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, int]

    @property
    def clean(self) -> bool:
        return all(finding.repaired for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What sealing and merging did.

    `sealed` counts hot passages that are compressed now, `merged` segments that went into others,
    `dropped` deleted passages whose vectors are gone; `trained` says whether the codec is new.
    """

    sealed: int
    merged: int
    dropped: int
    trained: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did; `unchanged` were there already under the same id.

    `added` also counts memories that had been forgotten and are back.
    """

    added: int
    unchanged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportIndexReport:
    """What an import of an index folder did.

    `unchanged` memories were there already; `skipped` passages are deleted there or have no text.
    `vectors` counts the token vectors that were adopted.
    """

    added: int
    unchanged: int
    skipped: int
    vectors: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportIndexReport:
    """What an export to an index folder wrote; `vectors` counts token vectors.

    `encoded` of the passages were not sealed yet: their vectors were compressed for the export.
    """

    memories: int
    passages: int
    vectors: int
    encoded: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts of live things, the encoder's name and the bytes on disk."""

    memories: int
    passages: int
    vectors: int
    namespaces: int
    entities: int
    hot_passages: int
    segments: int
    encoder: str
    schema_version: str
    size_bytes: int
    forgotten: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
