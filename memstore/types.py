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
TimePrecision = Literal["instant", "day", "month", "year", "unknown"]
Temporal = Literal["auto", "current", "historical", "none"]
Status = Literal["current", "ended", "upcoming"]


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
class Explanation:
    """How a hit came to its place, beside its parts.

    `semantic_rank` is its rank among all candidates by relevance alone, from 1 on. `uncapped` is
    what the components would add together, in nats, `scale` the share of it that the profile's
    `cap` leaves: the components' parts sum to `adjustment`. `flags` are those of the result that
    are about this hit.
    """

    semantic_rank: int
    adjustment: float
    uncapped: float
    cap: float
    scale: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalCue:
    """What the query said of time, and what came of it.

    `kind` is `current` or `historical`, `cue` the words that said so. `suggested_as_of` is the
    instant that a date in the query points to: nothing was done with it, ask again with `as_of` if
    that is meant.
    """

    kind: Literal["current", "historical"]
    cue: str
    suggested_as_of: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One answer. `score` is log-odds in nats when its scorer is calibrated, else the raw score.

    `probability` is None for a scorer that is not calibrated, and for hits below the reranked
    ones. `status` is `current` but for memories that `include_invalid` let in: these have
    `ended`, or are `upcoming`. `parts` sum to `score`; `token_matches` has one per token of the
    query, in its order. Both are empty, and `explanation` is None, unless the query asked to
    explain. `index` is the position of a document given to `rank`, whose memory is stored
    nowhere and has the id ''; None for a memory of the store. `rerank_error` says why `rank`
    had to do without the reranker; of a query, its result says so.
    """

    rank: int
    score: float
    probability: float | None
    memory: Memory
    passage: Passage
    relevance: Relevance
    index: int | None = None
    rerank_error: str | None = None
    status: Status = "current"
    explanation: Explanation | None = None
    parts: tuple[Part, ...] = ()
    token_matches: tuple[TokenMatch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """A memory that would have been among the hits, had it been valid at the time asked for.

    `current_id` is that of the memory that holds instead, at the end of the chain of those that
    superseded it; None where nobody said which.
    """

    memory: Memory
    score: float
    reason: str
    current_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """The answer to one query.

    `known_at` is None when everything recorded so far counts. `profile` is the one whose
    weights counted (`semantic` where nothing but relevance could), `profile_version` names
    these with their version, such as `balanced@v1`. `took` is seconds per stage. `temporal` is
    what the query said of time, None if nothing. `exact_topk` says that scoring every memory
    would certainly have given the same hits; False says that nobody can tell. `suppressed` is
    filled when the query asked to explain. `reranker` is the one that scored the hits, None
    without one. `page` names what was logged of it, for `reinforce`, `confirm` and
    `contradict`; None unless the setting `log_pages` is on. `flags` name what the caller should
    know: `query_truncated`, `uncalibrated`, `semantic_degenerate` (all candidates are equally
    relevant: only that counts), `clock_skew`, `invalid_included`, `near_duplicate_guard`
    (near-duplicates changed places), `not_reranked` (some hits have no score of the reranker:
    they follow those that have one, in the order of retrieval), `rerank_skipped` (the reranker
    failed, as `rerank_error` says: this is the order of retrieval), `page_not_logged`, and
    `token_matches_unavailable` (a hit's stored vectors are not those that the encoder makes of
    its text now, so which tokens they stand for is unknown: such a hit has none).
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
    profile_version: str = ""
    page: str | None = None
    temporal: TemporalCue | None = None
    exact_topk: bool = False

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
