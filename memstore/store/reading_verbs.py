"""The methods of `MemoryStore` that read: `searching`, `ranking`, and the rows themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import and_, true

from memstore.catalog import log, memories
from memstore.catalog.engine import reading
from memstore.catalog.filters import compile_filter
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.entities import canonical
from memstore.errors import BadInput, IndexDamaged, MemoryNotFound
from memstore.rendering import RenderStyle
from memstore.rerank import Reranker
from memstore.settings import DEFAULT_LIMIT, DEFAULT_NAMESPACE, DEFAULT_PROFILE, MAX_LIMIT
from memstore.store import (
    changing,
    drafts,
    ranking,
    rerankers,
    searching,
)
from memstore.store.opened_verbs import OpenedVerbs
from memstore.store.requests import check_count, check_on_rerank_error, check_query
from memstore.store.writing import microseconds_now
from memstore.types import (
    Event,
    Filter,
    Hit,
    Memory,
    Namespace,
    NewMemory,
    Page,
    QueryResult,
    Temporal,
    When,
)

OnRerankError = Literal["raise", "skip"]


class ReadingVerbs(OpenedVerbs):
    """Nothing here changes a memory."""

    def query(
        self,
        text: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        rerank: str | Reranker | None = None,
        rerank_depth: int | None = None,
        on_rerank_error: OnRerankError = "raise",
        profile: str = DEFAULT_PROFILE,
        weights: Mapping[str, float] | None = None,
        as_of: When | None = None,
        known_at: When | None = None,
        now: When | None = None,
        max_tokens: int | None = None,
        near_duplicates: Literal["keep", "drop"] = "keep",
        style: RenderStyle = "text",
        min_score: float | None = None,
        temporal: Temporal = "auto",
        include_invalid: bool = False,
        undated: Literal["keep", "drop"] = "keep",
        newest_wins: bool = False,
        explain: bool = False,
    ) -> QueryResult:
        """Return the memories that answer a text best. Changes nothing in the store.

        Args:
            namespace: that one and all below it; `*` for all.
            limit: most hits.
            where: a filter, applied before anything is scored.
            rerank: who scores the best memories anew: `minilm-l6`, `minilm-l12`, `bge-v2-m3`,
                `gte-modernbert`, `gte-multilingual`, or any cross-encoder by hub id or folder;
                `colbert` for all passages by the store's own vectors, `colbert:CHECKPOINT` for
                another ColBERT model; `cohere[:MODEL]`, `jina[:MODEL]`, to which query and texts
                are sent; an object that is a `Reranker`; `none`. By default the store's reranker,
                if it was opened with one.
            rerank_depth: how many memories it scores; the setting of that name (20) by default.
            on_rerank_error: `skip` to get the order of retrieval when the reranker cannot be had;
                the result's `rerank_error` then says why.
            profile: how much time, trust and entities count: `semantic`, `balanced`, `recent`,
                `trusted`.
            weights: replace some of the profile's weights.
            as_of: what held then; by default what holds now.
            known_at: only what the store had recorded by then, with the ends of validity it knew
                then; by default everything. A text or another field that `update` changed since
                is the new one all the same; `add` under the same key keeps both versions.
            now: the present; ages and validity are as of then.
            max_tokens: most tokens of the result as `render` writes it, counted by the encoder's
                tokenizer. A hit that does not fit is left out, and a shorter one behind it may fit.
            near_duplicates: `drop` a hit that says the same as a better one, in the same namespace
                and of the same time, but for case, spacing and punctuation; the next one takes its
                place.
            style: what `render` writes by default, and `max_tokens` counts.
            min_score: lowest score, in nats.
            temporal: `auto` reads words such as "now" or "originally" in the text: for the present,
                currency counts at least 1 nat, for the past it does not count. `current` and
                `historical` say so in their stead, `none` reads nothing.
            include_invalid: let in what does not hold at the time asked for, 4 nats lower and
                marked by its `status`.
            undated: `drop` what happened nobody knows when.
            newest_wins: of near-duplicates among the best 50, the newest comes first.
            explain: fill the hits' `parts` and `explanation`, and the result's `suppressed`.

        Raises:
            BadInput: an argument cannot be accepted, or no reranker has this name.
            RerankerUnavailable: the reranker's weights cannot be loaded, or its scores not be used.
            ServiceError: a hosted reranker failed, or there is no key for it.
            MissingExtra: the reranker needs a package that is not installed.
        """
        return self.query_many(
            [text],
            namespace=namespace,
            limit=limit,
            where=where,
            rerank=rerank,
            rerank_depth=rerank_depth,
            on_rerank_error=on_rerank_error,
            profile=profile,
            weights=weights,
            as_of=as_of,
            known_at=known_at,
            now=now,
            max_tokens=max_tokens,
            near_duplicates=near_duplicates,
            style=style,
            min_score=min_score,
            temporal=temporal,
            include_invalid=include_invalid,
            undated=undated,
            newest_wins=newest_wins,
            explain=explain,
        )[0]

    def query_many(
        self,
        texts: Sequence[str],
        *,
        namespace: str = DEFAULT_NAMESPACE,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        rerank: str | Reranker | None = None,
        rerank_depth: int | None = None,
        on_rerank_error: OnRerankError = "raise",
        profile: str = DEFAULT_PROFILE,
        weights: Mapping[str, float] | None = None,
        as_of: When | None = None,
        known_at: When | None = None,
        now: When | None = None,
        max_tokens: int | None = None,
        near_duplicates: Literal["keep", "drop"] = "keep",
        style: RenderStyle = "text",
        min_score: float | None = None,
        temporal: Temporal = "auto",
        include_invalid: bool = False,
        undated: Literal["keep", "drop"] = "keep",
        newest_wins: bool = False,
        explain: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[QueryResult]:
        """Answer several queries from one state of the store; arguments as for `query`.

        Args:
            progress: called with the number of queries answered since the last call.
        """
        opened = self._opened
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise BadInput("query_many takes a list of texts; for one text use query.")
        request = check_query(
            namespace=namespace,
            limit=limit,
            where=where,
            rerank=rerank,
            rerank_depth=rerank_depth,
            on_rerank_error=on_rerank_error,
            profile=profile,
            weights=weights,
            now=now,
            as_of=as_of,
            known_at=known_at,
            max_tokens=max_tokens,
            near_duplicates=near_duplicates,
            style=style,
            min_score=min_score,
            temporal=temporal,
            include_invalid=include_invalid,
            undated=undated,
            newest_wins=newest_wins,
            explain=explain,
        )
        return searching.answer(
            opened, [drafts.check_text(text, "the query") for text in texts], request, progress
        )

    def rank(
        self,
        text: str,
        documents: Sequence[NewMemory | Mapping[str, Any] | str],
        *,
        rerank: str | Reranker | None = None,
        on_rerank_error: OnRerankError = "raise",
        limit: int | None = None,
        explain: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[Hit]:
        """Return texts that are in no store in the order of their relevance; stores nothing.

        By relevance alone: neither time nor trust nor entities count. Without a reranker, scores
        are those of a new store that holds nothing but these documents, each as often as given.

        Args:
            documents: texts, or what `add_many` takes. A hit's `index` is its document's place.
            rerank: as for `query`; `colbert` and `none` both mean the store's encoder.
            limit: most hits; by default all documents.
            progress: called with how many texts a reranker has read since the last call: documents,
                or windows of long ones.

        Raises:
            BadInput, RerankerUnavailable, ServiceError, MissingExtra: as for `query`.
        """
        opened = self._opened
        if isinstance(documents, (str, Mapping, NewMemory)):
            raise BadInput("rank takes a list of documents; put the one into a list.")
        if limit is not None:
            check_count(limit, "limit", None)
        skip = check_on_rerank_error(on_rerank_error)
        return ranking.rank(
            opened,
            drafts.check_text(text, "the query"),
            ranking.drafts_of(documents),
            rerankers.choose(opened, rerankers.check_rerank(rerank), skip=skip),
            skip=skip,
            limit=limit,
            explain=explain,
            now=microseconds_now(),
            progress=progress,
        )

    def reranker(self, name: str) -> Reranker | None:
        """Return the reranker of a name, loaded; None for `none` and `colbert`, which need none.

        Raises:
            BadInput, RerankerUnavailable, ServiceError, MissingExtra: as for `query`.
        """
        chosen = rerankers.check_rerank(name)
        if chosen in (None, rerankers.NO_RERANKER, rerankers.OWN_VECTORS):
            return None
        return self._opened.rerankers.open(name)

    def get(self, id: str) -> Memory:  # noqa: A002  # the name of the public contract
        """Return a memory by its id.

        Raises:
            MemoryNotFound: no live memory has it.
        """
        opened = self._opened
        with reading(opened.engine, opened.path) as connection:
            return changing.one(connection, drafts.check_id(id))[1]

    def get_by_key(self, key: str, *, namespace: str = DEFAULT_NAMESPACE) -> Memory:
        """Return the latest memory of a key.

        Raises:
            MemoryNotFound: nothing was stored under it in this namespace.
        """
        opened = self._opened
        if drafts.check_string(key, "key") is None:
            raise BadInput("key is None. Give the key the memory was stored under.")
        with reading(opened.engine, opened.path) as connection:
            space = memories.find_namespace(connection, drafts.check_namespace(namespace))
            found = [] if space is None else memories.versions(connection, space, key)
            if not found:
                raise MemoryNotFound(f"Namespace {namespace!r} has no memory with key {key!r}.")
            item = memories.load_rows(connection, [found[-1].row])[found[-1].row]
            _check_found(item, inside=(item.namespace, item.key) == (namespace, key))
            return item

    def list(
        self,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        where: Filter | None = None,
        limit: int = 100,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page:
        """Return a page of memories in the order they were stored, invalid ones too.

        Args:
            cursor: a page's `cursor`, to go on behind it.
            newest_first: what was stored last comes first.
        """
        opened = self._opened
        check_count(limit, "limit", MAX_LIMIT)
        after = _cursor(cursor, newest_first)
        condition = compile_filter(where, canonical=canonical)
        path = drafts.check_namespace(namespace, allow_all=True)
        with reading(opened.engine, opened.path) as connection:
            paths = memories.namespaces_under(connection, path)
            # all of them is no condition: with one, SQLite would sort the whole table for a page
            scope = true() if path == "*" else among(memory.c.namespace_id, paths)
            found = memories.load_page(
                connection, and_(scope, condition), after, limit + 1, newest_first=newest_first
            )
            known = set(paths.values())
            for _, item in found:
                _check_found(item, inside=item.namespace in known)
        page = found[:limit]
        more = f"{'-' * newest_first}{page[-1][0]}" if len(found) > limit else None
        return Page(memories=tuple(item for _, item in page), cursor=more)

    def namespaces(self, *, under: str = "*") -> tuple[Namespace, ...]:
        """Return the namespaces that hold memories, by name.

        Args:
            under: that one and all below it; by default all.
        """
        opened = self._opened
        path = drafts.check_namespace(under, allow_all=True)
        with reading(opened.engine, opened.path) as connection:
            counts = memories.count_by_namespace(connection, path)
        return tuple(Namespace(name=name, memories=counts[name]) for name in sorted(counts))

    def history(self, id: str) -> tuple[Event, ...]:  # noqa: A002  # the public contract's name
        """Return what happened to a memory, oldest first; also to one that was forgotten.

        Raises:
            MemoryNotFound: the store never held it.
        """
        opened = self._opened
        with reading(opened.engine, opened.path) as connection:
            events = log.history(connection, drafts.check_id(id))
        if not events or id == log.STORE:
            raise MemoryNotFound(f"The store never held a memory {id!r}.")
        return events


def _check_found(item: Memory, *, inside: bool) -> None:
    """Refuse a memory that an index of the database found where its row does not belong."""
    if not inside:
        raise IndexDamaged(
            f"An index of the database names memory {item.id} of namespace {item.namespace!r} in "
            "the wrong place. Look, and make the index anew:\n    memstore verify --repair"
        )


def _cursor(cursor: str | None, newest_first: bool) -> int | None:
    """Return the row that a cursor stands for. One of the other order is refused: it would leave
    out what lies on its other side.
    """
    if cursor is None:
        return None
    given = (
        isinstance(cursor, str) and len(cursor) < 20 and re.fullmatch("-?[1-9][0-9]{0,17}", cursor)
    )
    if not given or cursor.startswith("-") != newest_first:
        raise BadInput(f"cursor is {cursor!r}; pass what the previous page had as its cursor.")
    return int(cursor.removeprefix("-"))
