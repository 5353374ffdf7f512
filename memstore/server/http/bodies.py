"""What requests carry, field by field: the arguments of the store's verbs, and how much of each.

Only shapes and sizes are checked here. What a value means, the store checks itself, so that every
door refuses the same with the same words.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from memstore.settings import DEFAULT_LIMIT

MOST_HITS = 1000
MOST_LISTED = 1000
MOST_BATCH = 256
MOST_QUERIES = 64
MOST_BATCH_HITS = 2000
MOST_QUERY_CHARACTERS = 16_384
MOST_IDS = 1000
MOST_NAMES = 100  # of an object whose names are known: three times as many as the largest has
FILTER = "memstore-filter"  # where `openapi` puts the schema of filters
RERANKER = "memstore-reranker"  # where it puts the names that this server knows
_MOST_SECONDS = 3_650_000 * 86_400.0  # the store's longest half-life

# as the store checks them, in words of JSON Schema; it knows more characters that nobody sees
_SOME = r"[^\u0000]*"
_SPACE = r"\u0000\u0009-\u000d\u001c-\u0020\u0085\u00a0"
TEXT_PATTERN = f"^{_SOME}[^\\u0000-\\u0020\\u007f-\\u00a0\\u00ad]{_SOME}$"
NAME_PATTERN = f"^{_SOME}[^{_SPACE}]{_SOME}$"
_PART = rf"[^/*\u0000]*[^/*.{_SPACE}][^/*\u0000]*"
PATH_PATTERN = f"^{_PART}(/{_PART})*$"
READ_PATH_PATTERN = rf"^(\*|{_PART}(/{_PART})*)$"

Text = Annotated[str, Field(min_length=1, json_schema_extra={"pattern": TEXT_PATTERN})]
Name = Annotated[
    str, Field(min_length=1, max_length=1024, json_schema_extra={"pattern": NAME_PATTERN})
]
Namespace = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="A path such as `team/ana`; by default the caller's first one, or `default`.",
        examples=["team/ana"],
        json_schema_extra={"pattern": PATH_PATTERN},
    ),
]
ReadNamespace = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="That one and all below it; `*` for all. By default the caller's first one.",
        examples=["team"],
        json_schema_extra={"pattern": READ_PATH_PATTERN},
    ),
]
Time = Annotated[
    str,
    Field(
        max_length=64,
        description="An instant: ISO-8601 with Z or an offset.",
        examples=["2026-03-02T09:00:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
]
Occurrence = Annotated[
    str,
    Field(
        max_length=64,
        description="An instant, or a year, month or day where no more is known, or `unknown`.",
        examples=["2026-03-02T09:00:00Z", "2026-03-02", "2026-03", "2026", "unknown"],
        json_schema_extra={
            "anyOf": [
                {"format": "date-time"},
                {"format": "date", "pattern": "^[1-9]"},
                {"pattern": "^[1-9][0-9]{3}(-(0[1-9]|1[0-2]))?$"},
                {"const": "unknown"},
            ]
        },
    ),
]
WHOLE = BeforeValidator(lambda value: _whole(value))
Metadata = Annotated[dict[str, Any], Field(description="JSON values to filter by.")]
Confidence = Annotated[float, Field(ge=0, le=10)]
Importance = Annotated[float, Field(ge=-1, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1_000_000)]
HalfLife = Annotated[
    float,
    Field(ge=1, le=_MOST_SECONDS, description="Seconds after which it has lost half its currency."),
    AfterValidator(lambda seconds: timedelta(seconds=seconds)),
]
Kind = Literal["task", "state", "episodic", "event", "message", "fact", "preference", "evergreen"]
Profile = Literal["semantic", "balanced", "recent", "trusted"]
Filter = Annotated[
    dict[str, Any],
    Field(
        description="A filter, applied before anything is scored.",
        json_schema_extra={"format": FILTER},
    ),
]
Reranker = Annotated[
    str,
    Field(
        description="One of the server's.", max_length=1024, json_schema_extra={"format": RERANKER}
    ),
]
PageName = Annotated[
    str,
    Field(min_length=1, max_length=64, json_schema_extra={"pattern": NAME_PATTERN}),
]


class _Body(BaseModel):
    """Unknown fields are errors, and "5" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _bound(cls, value: Any) -> Any:
        """Refuse as one what would be an error for each of its names."""
        if isinstance(value, dict) and len(value) > MOST_NAMES:
            said = "has {names} names, more than any object of this request"
            raise PydanticCustomError("too_many_names", said, {"names": len(value)})
        return value

    def fields(self) -> dict[str, Any]:
        """Return all fields, those left out with their defaults."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def given(self) -> dict[str, Any]:
        """Return the fields that were given."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class NewMemoryBody(_Body):
    """A memory to be stored."""

    text: Text
    namespace: Namespace | None = None
    key: Name | None = Field(None, description="Your own name for it.")
    session: Name | None = None
    title: Name | None = None
    kind: Kind | None = None
    occurred_at: Occurrence | None = None
    valid_from: Time | None = None
    valid_to: Time | None = None
    half_life: HalfLife | None = None
    confidence: Confidence | None = None
    importance: Importance = 0.0
    source: Name | None = None
    metadata: Metadata | None = None
    entities: Annotated[list[Name], Field(max_length=1000, fail_fast=True)] | None = None


class BatchMemoryBody(NewMemoryBody):
    """A memory of a batch; `speaker` becomes an entity of it and a prefix of its text."""

    speaker: Name | None = None


class BatchBody(_Body):
    """Memories to be stored in one transaction, all or none."""

    memories: Annotated[
        list[BatchMemoryBody], Field(min_length=1, max_length=MOST_BATCH, fail_fast=True)
    ]


class UpdateBody(_Body):
    """The fields to change; null clears one. What is left out stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    text: Text = ""
    title: Name | None = None
    metadata: Metadata | None = None
    kind: Kind | None = None
    occurred_at: Occurrence | None = None
    valid_from: Time | None = None
    valid_to: Time | None = None
    half_life: HalfLife | None = None
    confidence: Confidence | None = None
    importance: Importance = 0.0
    source: Name | None = None
    entities: Annotated[list[Name], Field(max_length=1000, fail_fast=True)] | None = None


class Weights(_Body):
    """Some of a profile's weights, to be replaced."""

    currency: Weight = 0.0
    use: Weight = 0.0
    trust: Weight = 0.0
    entity: Weight = 0.0
    importance: Weight = 0.0
    cap: Weight = 0.0
    half_life_days: Annotated[float, Field(gt=0, le=1_000_000)] = 365.0


class _Asked(_Body):
    """What `query` and a batch of queries share."""

    namespace: ReadNamespace | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_HITS), WHOLE] = DEFAULT_LIMIT
    where: Filter | None = None
    rerank: Reranker | None = None
    rerank_depth: Annotated[int, Field(ge=1, le=MOST_HITS), WHOLE] | None = None
    on_rerank_error: Literal["raise", "skip"] = "raise"
    profile: Profile = "balanced"
    weights: Weights | None = None
    as_of: Time | None = None
    known_at: Time | None = None
    now: Time | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000), WHOLE] | None = None
    near_duplicates: Literal["keep", "drop"] = "keep"
    style: Literal["text", "markdown", "xml"] = "text"
    min_score: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    temporal: Literal["auto", "current", "historical", "none"] = "auto"
    include_invalid: bool = False
    undated: Literal["keep", "drop"] = "keep"
    newest_wins: bool = False
    explain: bool = False


QueryText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_QUERY_CHARACTERS,
        json_schema_extra={"pattern": TEXT_PATTERN},
    ),
]


class QueryBody(_Asked):
    """A question, in plain language."""

    text: QueryText


class QueriesBody(_Asked):
    """Several questions, answered from one state of the store."""

    texts: Annotated[list[QueryText], Field(min_length=1, max_length=MOST_QUERIES, fail_fast=True)]


class RankBody(_Body):
    """Texts that are stored nowhere, to be put in the order of their relevance."""

    text: QueryText
    documents: Annotated[list[Text], Field(min_length=1, max_length=MOST_BATCH, fail_fast=True)]
    rerank: Reranker | None = None
    on_rerank_error: Literal["raise", "skip"] = "raise"
    limit: Annotated[int, Field(ge=1, le=MOST_BATCH), WHOLE] | None = None
    explain: bool = False


class ReinforceBody(_Body):
    """A use of a memory."""

    at: Time | None = None
    session: Name | None = None
    page: PageName | None = None


class ConfirmBody(_Body):
    """A source that holds a memory to be true."""

    source: Name
    refresh: bool = False
    observed_at: Time | None = None
    page: PageName | None = None


class ContradictBody(_Body):
    """A source that holds a memory to be false."""

    source: Name
    page: PageName | None = None


class SupersedeById(_Body):
    """The memory that holds instead of another one, and is there already."""

    new_id: Name
    at: Time | None = None


class SupersedeByText(_Body):
    """The text of a memory to be added, that holds instead of another one."""

    # enforced here: whatever else the store refuses is a conflict with what it holds
    text: Annotated[str, Field(min_length=1, pattern=TEXT_PATTERN)]
    at: Time | None = None


# tags in <>, which `problems` leaves out of the places of errors
SupersedeBody = Annotated[
    Annotated[SupersedeById, Tag("<by id>")] | Annotated[SupersedeByText, Tag("<by text>")],
    Discriminator(lambda body: "<by text>" if _has(body, "text") else "<by id>"),
]


class RetractBody(_Body):
    """Why a memory was never true."""

    reason: Text


class ImportanceBody(_Body):
    """How much a memory matters: 1 pins it, 0 says nothing."""

    importance: Importance


class ForgetByIds(_Body):
    """Memories to forget, each named."""

    ids: Annotated[list[Name], Field(min_length=1, max_length=MOST_IDS, fail_fast=True)]
    purge: bool = False
    dry_run: bool = False


class ForgetByFilter(_Body):
    """Memories to forget: all of a namespace and below that a filter finds."""

    where: Annotated[Filter, Field(min_length=1)]
    namespace: ReadNamespace | None = None
    purge: bool = False
    dry_run: bool = False


ForgetBody = Annotated[
    Annotated[ForgetByIds, Tag("<by ids>")] | Annotated[ForgetByFilter, Tag("<by filter>")],
    Discriminator(lambda body: "<by filter>" if _has(body, "where") else "<by ids>"),
]


def _whole(value: Any) -> Any:
    """Return a number such as 3.0 as the whole number that it is in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _has(body: Any, name: str) -> bool:
    return isinstance(body, dict) and name in body


class AliasBody(_Body):
    """A name that stands for an entity, in a namespace and all below it."""

    name: Name = Field(examples=["Bob"])
    of: Name = Field(examples=["Robert"])
    namespace: Namespace | None = None


class SourceBody(_Body):
    """How far a source is believed; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    reliability: Share = 0.5
    vote_weight: Share = 1.0


class VerifyBody(_Body):
    """Whether to mend what is found."""

    repair: bool = False
