"""Every default, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_STORE = "agent.mem"
DEFAULT_ENCODER = "minilm"
DEFAULT_NAMESPACE = "default"
DEFAULT_PROFILE = "balanced"
DEFAULT_LIMIT = 10

MAX_NAMESPACE_CHARACTERS = 512
MAX_KEY_CHARACTERS = 1024
MAX_TEXT_CHARACTERS = 64 * 1024 * 1024  # far above any document; below SQLite's own limit
MAX_LINE_BYTES = 4 * MAX_TEXT_CHARACTERS + 16 * 1024 * 1024  # the longest text, and all around it
MAX_JSON_DEPTH = 100  # levels; what people write has ten
MAX_METADATA_DEPTH = 64  # less, so that an export, in which it lies deeper, can be read again
MAX_LIMIT = 10_000  # beyond this `list` with a cursor is the right call


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSettings:
    """What decides a store's vectors besides its encoder.

    Chosen when the store is created, remembered by it, and changed by `rebuild` alone.
    """

    session_context: int | None = None
    """Memories of its session that a new one is read with; with any, passages of a long text are
    read with the end of the one before. None: as its encoder was made for, 2 for `minilm` and 0 for
    ColBERT checkpoints (`docs/encoders.md`)."""

    passage_tokens: int = 256
    """Most tokens a passage may have; the encoder's document length bounds it further."""

    overlap_tokens: int = 32
    """Tokens two neighbouring passages of a long text share: about one sentence."""

    pooling: int = 1
    """Tokens of a passage that share a vector, on average: 1, 2 or 3 (`docs/performance.md`)."""

    residual_bits: int = 4
    """Bits per dimension of sealed vectors, 1, 2, 4 or 8: 4 keep 97 of 100 best passages of exact
    search, 2 keep 91 at about half the size."""

    def context_of(self, by_default: int) -> int:
        """Return `session_context`, or what an encoder was made for."""
        return by_default if self.session_context is None else self.session_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a store behaves in this process. Nothing here changes what is already stored.

    The five of `VectorSettings` are for a new store; one that is there has its own.
    """

    session_context: int | None = None
    passage_tokens: int | None = None
    overlap_tokens: int | None = None
    pooling: int | None = None
    residual_bits: int | None = None

    lock_timeout: float = 30.0
    """Seconds a writer waits for another one. Ingest commits take well under a second each."""

    batch_size: int = 64
    """Memories per transaction of an ingest: what a kill can cost, and what is sorted by length."""

    extractor: str = "rules"
    """Entity extractor: `rules`, or `spacy:NAME_OR_PATH` for rules and that pipeline together."""

    candidates: int = 100
    """Memories that enter the cognitive pass per query (at least four times the limit)."""

    hot_tokens: int = 131_072
    """Token vectors beyond which the hot tier is sealed: 17 MB, searched exactly in some 3 ms."""

    rerank_depth: int = 20
    """Candidates a reranker scores per query: half a second of MiniLM-L-6 on one core."""

    rerank_batch_size: int | None = None
    """Pairs a local reranker reads at once; by default 4 on a CPU, which sorted by length takes
    0.4 of the time of one padded batch of 20, and 64 on a GPU."""

    rerank_dtype: str = "float32"
    """Numbers a local reranker computes in: `float32`, `bfloat16` or `float16`. On a CPU without
    matrix instructions bfloat16 is slower."""

    rerank_max_length: int = 512
    """Most tokens of a query and a candidate together; the model's own limit bounds it further. A
    longer candidate counts by its best window."""

    rerank_characters: int = 8_000
    """Most characters of a candidate a reranker is given, around the passage that was found: some
    four windows, so that one book costs no more than four memories."""

    service_timeout: float = 10.0
    """Seconds to wait for a hosted reranker to accept a connection, and for each piece of its
    answer."""

    service_budget: float = 30.0
    """Seconds a hosted reranker may take for one query, all retries and waits included."""

    service_retries: int = 3
    """Further attempts after a hosted service was busy, failing or unreachable."""

    log_pages: bool = False
    """Whether queries log what they showed (ids and numbers, no text): what `learn` learns from."""

    spreading: float = 0.0
    """Share of a query's entity, 0 to 1, that a memory covers which mentions its strongest
    neighbour instead (0.5 is usual). It added nothing where it was measured, so it is off."""

    lexical: bool = True
    """Whether it counts that a passage holds what a query names: quoted strings, identifiers, rare
    words. The words are stored either way."""

    proposals: int = 3
    """Most memories that `add` returns with a new one because it may repeat or replace them; 0
    looks for none, and saves a search of its namespace."""

    threads: int = 2
    """Queries of one `query_many` that are searched at the same time; results are the same."""

    exact: int | None = None
    """Sealed passages scored exactly per query; by default chosen from the limit."""

    exhaustive: int | None = None
    """Allowed sealed passages up to which all are ranked by their centroids, before the exact
    scores; beyond it inverted lists choose them. By default chosen by measurement."""

    nprobe: int | None = None
    """Centroids per query token whose inverted lists are read; by default chosen by size."""
