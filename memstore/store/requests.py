"""A query's arguments, checked: what `query` and `query_many` accept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from sqlalchemy import ColumnElement

from memstore.catalog.filters import compile_filter
from memstore.entities import canonical
from memstore.errors import BadInput
from memstore.rendering import RenderStyle, check_style
from memstore.rerank import Reranker
from memstore.scoring.profiles import Profile, resolve
from memstore.settings import MAX_LIMIT
from memstore.store import drafts
from memstore.store.rerankers import check_rerank
from memstore.types import Temporal


@dataclass(frozen=True, slots=True)
class Request:
    """A checked query, the text apart; times in UTC microseconds."""

    namespace: str
    limit: int
    where: ColumnElement[bool] | None
    profile: Profile
    now: int
    as_of: int | None
    known_at: int | None
    max_tokens: int | None
    min_score: float | None
    explain: bool
    rerank: str | Reranker | None = None
    rerank_depth: int | None = None
    skip_rerank_errors: bool = False
    temporal: Temporal = "auto"
    include_invalid: bool = False
    drop_undated: bool = False
    newest_wins: bool = False
    drop_near_duplicates: bool = False
    style: RenderStyle = "text"

    @property
    def moment(self) -> int:
        """The moment that validity and ages are seen from."""
        return self.now if self.as_of is None else self.as_of


def check_query(
    *,
    namespace: str,
    limit: int,
    where: Mapping[str, Any] | None,
    profile: str,
    weights: Mapping[str, Any] | None,
    now: Any,
    as_of: Any,
    known_at: Any,
    max_tokens: int | None,
    min_score: float | None,
    explain: bool,
    rerank: str | Reranker | None = None,
    rerank_depth: int | None = None,
    on_rerank_error: str = "raise",
    temporal: Temporal = "auto",
    include_invalid: bool = False,
    undated: str = "keep",
    newest_wins: bool = False,
    near_duplicates: str = "keep",
    style: RenderStyle = "text",
) -> Request:
    """Check the arguments that `query` and `query_many` share.

    Raises:
        BadInput: the first one that is wrong, by name and value.
    """
    check_count(limit, "limit", MAX_LIMIT)
    if max_tokens is not None:
        check_count(max_tokens, "max_tokens", None)
    if rerank_depth is not None:
        check_count(rerank_depth, "rerank_depth", MAX_LIMIT)
    if min_score is not None:
        drafts.check_number(min_score, "min_score", -1e9, 1e9)
    if temporal not in get_args(Temporal):
        raise BadInput(f"temporal is {temporal!r}; give {', '.join(get_args(Temporal))}.")
    if undated not in ("keep", "drop"):
        raise BadInput(f"undated is {undated!r}; give 'keep' or 'drop'.")
    if near_duplicates not in ("keep", "drop"):
        raise BadInput(f"near_duplicates is {near_duplicates!r}; give 'keep' or 'drop'.")
    check_style(style)
    present = drafts.check_time(now, "now")
    return Request(
        namespace=drafts.check_namespace(namespace, allow_all=True),
        limit=limit,
        where=None if where is None else compile_filter(where, canonical=canonical),
        profile=resolve(profile, weights),
        now=time.time_ns() // 1000 if present is None else present,
        as_of=drafts.check_time(as_of, "as_of"),
        known_at=drafts.check_time(known_at, "known_at"),
        max_tokens=max_tokens,
        min_score=min_score,
        explain=explain,
        rerank=check_rerank(rerank),
        rerank_depth=rerank_depth,
        skip_rerank_errors=check_on_rerank_error(on_rerank_error),
        temporal=temporal,
        include_invalid=bool(include_invalid),
        drop_undated=undated == "drop",
        newest_wins=bool(newest_wins),
        drop_near_duplicates=near_duplicates == "drop",
        style=style,
    )


def check_on_rerank_error(chosen: Any) -> bool:
    """Return whether a query goes on without the reranker when it fails."""
    if chosen not in ("raise", "skip"):
        raise BadInput(f"on_rerank_error is {chosen!r}; give 'raise' or 'skip'.")
    return bool(chosen == "skip")


def check_count(value: Any, name: str, most: int | None) -> None:
    """Refuse what is not a whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{name} is {value!r}; give a whole number of at least 1.")
    if most is not None and value > most:
        raise BadInput(f"{name} is {value:,}; the most is {most:,}. To read everything use list().")
