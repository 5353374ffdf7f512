"""What a query gives back: hits, and why each has its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memstore.rendering import RenderOrder, RenderStyle, render_hits
from memstore.types.memories import Memory

ScoreKind = Literal["maxsim", "logit", "prob01"]
Status = Literal["current", "ended", "upcoming"]


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
    1: over all matches of a hit the weights sum to 1, and weight times similarity to MaxSim. Where
    the store pools tokens, `pooled_with` are the others that the vector stands for, in their order.
    """

    query_token: str
    passage_token: str
    start: int | None
    end: int | None
    similarity: float
    weight: float
    pooled_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Relevance:
    """What a scorer said of a hit: its raw score, and the log-odds of relevance that became of it.

    `scorer` is the encoder's or the reranker's name. `kind` is `maxsim`, `logit` (of a
    cross-encoder) or `prob01` (of a hosted service): raw scores of different scorers cannot be
    compared. `nats` is None for a scorer that was never calibrated; with the store's own encoder it
    has what speaks for the hit because it holds what the query names, the part `lexical`.
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
    had to do without the reranker; of a query, its result says so. `tokens` is how many the
    encoder's tokenizer makes of the hit as it is rendered; None unless the query had a budget.
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
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A memory that was left out of the hits of a query, though it ranked among them.

    `reason` is `over_budget` (it has `tokens`, more than were left of `max_tokens`) or
    `near_duplicate` (a better hit, of the memory `like`, says the same in nearly the same words).
    """

    memory: Memory
    score: float
    reason: Literal["over_budget", "near_duplicate"]
    tokens: int | None = None
    like: str | None = None


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

    `known_at` is None when everything recorded so far counts. `profile` is the one whose weights
    counted (`semantic` where nothing but relevance could), `profile_version` names these with their
    version, such as `balanced@v1`. `took` is seconds per stage. `temporal` is what the query said
    of time, None if nothing. `exact_topk` says that scoring every memory would certainly have given
    the same hits; False says that nobody can tell. `suppressed` is filled when the query asked to
    explain. `dropped` are those that ranked among the hits and were left out, as the query asked,
    the best of them and no more near-duplicates than its limit. `tokens` is how many the hits have
    together as `render` writes them in the query's `style`; None unless it had a budget. `reranker`
    is the one that scored the hits, None without one. `page` names what was logged of it, for
    `reinforce`, `confirm` and `contradict`; None unless the setting `log_pages` is on. `flags` name
    what the caller should know: `query_truncated`, `uncalibrated`, `semantic_degenerate` (all
    candidates are equally relevant: only that counts), `clock_skew`, `invalid_included`,
    `near_duplicate_guard` (near-duplicates changed places), `not_reranked` (some hits have no score
    of the reranker: they follow those that have one, in the order of retrieval), `rerank_skipped`
    (the reranker failed, as `rerank_error` says: this is the order of retrieval),
    `page_not_logged`, `lexical_unavailable` (the full-text table is damaged, so nothing was found
    by words: `verify(repair=True)` makes it anew), and `token_matches_unavailable` (a hit's stored
    vectors are not those that the encoder makes of its text now, so which tokens they stand for is
    unknown: such a hit has none).
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
    dropped: tuple[Dropped, ...] = ()
    tokens: int | None = None
    style: RenderStyle = "text"

    def render(self, style: RenderStyle | None = None, *, order: RenderOrder = "score") -> str:
        """Return the hits as one string for a prompt: each as its passage, with time and source.

        Args:
            style: `text`, `markdown` or `xml`; by default the query's.
            order: the best one first, or by `time`.
        """
        return render_hits(self.hits, self.style if style is None else style, order)
