"""`MemoryStore`, the public face of the package."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta, tzinfo
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from sqlalchemy import and_

from memstore.catalog import links, log, memories
from memstore.catalog.engine import reading
from memstore.catalog.filters import compile_filter
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.encoders import Encoder, open_encoder
from memstore.entities import canonical
from memstore.errors import BadInput, MemoryNotFound
from memstore.rerank import Reranker
from memstore.settings import DEFAULT_LIMIT, DEFAULT_NAMESPACE, DEFAULT_PROFILE, MAX_LIMIT, Settings
from memstore.store import (
    backing_up,
    changing,
    checking,
    counting,
    drafts,
    exporting,
    importing,
    ingesting,
    ranking,
    rebuilding,
    rerankers,
    sealing,
    searching,
)
from memstore.store.background import BackgroundSealing
from memstore.store.opening import OpenStore, open_store
from memstore.store.requests import check_count, check_on_rerank_error, check_query
from memstore.store.sealing import Progress
from memstore.store.writing import microseconds_now, store_and_load
from memstore.times import zone
from memstore.types import (
    CompactReport,
    Entity,
    Event,
    ExportIndexReport,
    Filter,
    ForgetReport,
    Hit,
    ImportIndexReport,
    ImportReport,
    IngestReport,
    Memory,
    Metadata,
    NewMemory,
    Page,
    QueryResult,
    Stats,
    VerifyReport,
    When,
)

if TYPE_CHECKING:
    from memstore.store.interchanging import Texts

OnRerankError = Literal["raise", "skip"]
_UNSET: Any = object()


class MemoryStore:
    """Memories on disk that can be asked in plain language.

    A store is a folder. Any number of processes may read it; one at a time writes. What `add` has
    returned is durable and found by the next query. Objects may be used from several threads.

    >>> import tempfile
    >>> with MemoryStore.open(tempfile.mkdtemp(), encoder="hashed") as store:
    ...     _ = store.add("Ana moved from Porto to Lisbon.", key="ana.city")
    ...     store.query("Lisbon").hits[0].memory.key
    'ana.city'
    """

    def __init__(self, opened: OpenStore) -> None:
        self._open: OpenStore | None = opened
        self._sealing = BackgroundSealing(opened)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        read_only: bool = False,
        encoder: str | Encoder | None = None,
        reranker: str | Reranker | None = None,
        device: str | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
    ) -> Self:
        """Open the store at `path`, creating it unless `create=False` or `read_only=True`.

        Args:
            encoder: a name (`minilm`, `colbertv2`, …), a hub id, a folder, or an Encoder. By
                default the store's own; `minilm` for a new store.
            reranker: of queries that name none; see `query`. It is loaded by the first of them.
            device: where models run: `cpu`, `cuda`, `cuda:1`; by default a GPU if there is one.

        Raises:
            StoreNotFound: there is none and it was not to be created.
            BadInput: the path is a file or a folder of other things.
            EncoderMismatch: the store was built with another encoder.
            EncoderUnavailable: the encoder is unknown or its weights are missing.
            SchemaTooNew: a newer memstore wrote it.
            StoreUnwritable: the folder cannot be written.
        """
        return cls(
            open_store(
                path,
                create=create,
                read_only=read_only,
                encoder=encoder,
                reranker=rerankers.check_rerank(reranker),
                device=device,
                settings=settings,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the store's files, once a sealing under way is done. Safe to call twice."""
        if self._open is not None:
            self._sealing.finish()
            self._open.engine.dispose()
            self._open = None

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._opened.path

    @property
    def encoder(self) -> str:
        """The name of the encoder whose vectors the store holds."""
        return self._opened.identity.name

    @property
    def _opened(self) -> OpenStore:
        if self._open is None:
            raise BadInput("This store is closed. Open it again: MemoryStore.open(path).")
        return self._open

    # writing

    def add(
        self,
        text: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        key: str | None = None,
        session: str | None = None,
        title: str | None = None,
        occurred_at: When | None = None,
        valid_from: When | None = None,
        valid_to: When | None = None,
        half_life: timedelta | None = None,
        confidence: float | None = None,
        importance: float = 0.0,
        source: str | None = None,
        metadata: Metadata | None = None,
        entities: Sequence[str] | None = None,
    ) -> Memory:
        """Store one memory and return it, durable and findable.

        The same content again (in the same namespace, under the same key if any) changes nothing
        and returns the memory that is there; if that one has ended since and no time is given, it
        is true again, as a new memory. Other content under a key that is in use supersedes the
        key's earlier memory: that one stops being valid when this one begins.

        Args:
            namespace: a path such as `team/ana`; a hard partition.
            key: the caller's own name for it.
            session: the conversation or document it is part of: what came before in it helps to
                read it.
            occurred_at: when it happened; aware datetime or ISO-8601 with an offset.
            valid_from, valid_to: the half-open interval in which it holds.
            half_life: how fast it loses currency; the profile's by default.
            confidence: 0 to 10; 5 means that nothing is known.
            importance: -1 to 1.
            source: who or what said so.
            metadata: JSON values to filter by.
            entities: names it is about; extracted from the text if None.

        Raises:
            BadInput: a value cannot be accepted; nothing was stored.
        """
        return self.add_many(
            [
                NewMemory(
                    text=text,
                    namespace=namespace,
                    key=key,
                    session=session,
                    title=title,
                    occurred_at=occurred_at,
                    valid_from=valid_from,
                    valid_to=valid_to,
                    half_life=half_life,
                    confidence=confidence,
                    importance=importance,
                    source=source,
                    metadata=metadata,
                    entities=entities,
                )
            ]
        )[0]

    def add_many(self, memories_: Iterable[NewMemory | Mapping[str, Any] | str]) -> list[Memory]:
        """Store several memories in one transaction, all or none; see `add`.

        Args:
            memories_: NewMemory objects, mappings with their fields, or plain texts.

        Raises:
            BadInput: one of them cannot be accepted, or two have the same key; nothing was stored.
        """
        opened = self._opened
        if isinstance(memories_, (str, Mapping, NewMemory)):
            raise BadInput("add_many takes a list of memories; for one memory use add.")
        checked = [drafts.draft(item) for item in memories_]
        stored = store_and_load(opened, checked, now=microseconds_now())
        self._sealing.wrote(len(stored))
        return stored

    def ingest(
        self,
        source: ingesting.Source,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        source_name: str | None = None,
        timezone: str | tzinfo | None = None,
        format: str | None = None,  # noqa: A002  # the CLI's option of this name
        batch_size: int | None = None,
        strict: bool = False,
        progress: Callable[[IngestReport], None] | None = None,
    ) -> IngestReport:
        """Store what files, folders or mappings hold; run it again to go on after an interruption.

        Args:
            source: path(s) to .jsonl, .txt or .md files or folders of them, or mappings as in
                JSONL lines. A text file is one memory, its absolute path the key.
            namespace, source_name: for inputs that name none themselves.
            timezone: of times without an offset; such times are refused without it.
            format: `jsonl`, `text` or `markdown`, for files of other suffixes.
            batch_size: memories per transaction.
            strict: store nothing if anything is wrong; by default the good inputs are stored and
                the bad ones reported.
            progress: called with the report so far after every committed batch.
        """
        opened = self._opened
        told = 0

        def batch_done(report: IngestReport) -> None:
            nonlocal told
            self._sealing.wrote(report.added - told)
            told = report.added
            if progress is not None:
                progress(report)

        if not (timezone is None or isinstance(timezone, (str, tzinfo))):
            raise BadInput(f"timezone is {timezone!r}; give a name such as 'UTC', or a tzinfo.")
        return ingesting.ingest(
            opened,
            source,
            defaults=ingesting.Defaults(
                namespace=namespace,
                source=source_name,
                timezone=zone(timezone) if isinstance(timezone, str) else timezone,
                format=format,
            ),
            batch_size=opened.settings.batch_size if batch_size is None else batch_size,
            strict=strict,
            progress=batch_done,
        )

    def update(
        self,
        id: str,  # noqa: A002  # the name of the public contract
        *,
        text: str = _UNSET,
        title: str | None = _UNSET,
        metadata: Metadata | None = _UNSET,
        occurred_at: When | None = _UNSET,
        valid_from: When | None = _UNSET,
        valid_to: When | None = _UNSET,
        half_life: timedelta | None = _UNSET,
        confidence: float | None = _UNSET,
        importance: float = _UNSET,
        source: str | None = _UNSET,
        entities: Sequence[str] | None = _UNSET,
    ) -> Memory:
        """Change fields of a memory and return it; its id stays. None clears a field.

        For a fact that changed, `add` with the same key keeps both versions instead.

        Raises:
            MemoryNotFound: no memory has this id.
            BadInput: a value `add` would refuse.
        """
        given = {
            "text": text,
            "title": title,
            "metadata": metadata,
            "occurred_at": occurred_at,
            "valid_from": valid_from,
            "valid_to": valid_to,
            "half_life": half_life,
            "confidence": confidence,
            "importance": importance,
            "source": source,
            "entities": entities,
        }
        changes = {name: value for name, value in given.items() if value is not _UNSET}
        updated = changing.update(
            self._opened, drafts.check_id(id), changes, now=microseconds_now()
        )
        self._sealing.wrote(1)
        return updated

    def forget(
        self,
        ids: str | Sequence[str] | None = None,
        *,
        where: Filter | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        purge: bool = False,
        dry_run: bool = False,
    ) -> ForgetReport:
        """Remove memories from every result at once.

        Args:
            ids: one id or several; or
            where: a filter, within `namespace`.
            purge: leave no byte of their texts in any file of the store; slower, it rewrites it.
                A filter then also finds what was forgotten before.
            dry_run: only say which ones.

        Raises:
            MemoryNotFound: an id is unknown; nothing was forgotten.
        """
        return changing.forget(
            self._opened,
            ids,
            where=where,
            namespace=drafts.check_namespace(namespace, allow_all=True),
            purge=purge,
            dry_run=dry_run,
            now=microseconds_now(),
        )

    # reading

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
        min_score: float | None = None,
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
            max_tokens: most tokens of all passages together, counted by the encoder.
            min_score: lowest score, in nats.
            explain: fill the hits' `parts` and the result's `suppressed`.

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
            min_score=min_score,
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
        min_score: float | None = None,
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
            min_score=min_score,
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
            return memories.load_rows(connection, [found[-1].row])[found[-1].row]

    def list(
        self,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        where: Filter | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of memories in the order they were stored, invalid ones too.

        Args:
            cursor: a page's `cursor`, to go on behind it.
        """
        opened = self._opened
        check_count(limit, "limit", MAX_LIMIT)
        after = _cursor(cursor)
        condition = compile_filter(where, canonical=canonical)
        path = drafts.check_namespace(namespace, allow_all=True)
        with reading(opened.engine, opened.path) as connection:
            scope = among(memory.c.namespace_id, memories.namespaces_under(connection, path))
            found = memories.load_page(connection, and_(scope, condition), after, limit + 1)
        page = found[:limit]
        return Page(
            memories=tuple(item for _, item in page),
            cursor=str(page[-1][0]) if len(found) > limit else None,
        )

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

    def entities(
        self, *, namespace: str = DEFAULT_NAMESPACE, prefix: str = "", limit: int = 100
    ) -> tuple[Entity, ...]:
        """Return the entities of a namespace and all below it, most mentioned first.

        Args:
            prefix: only names that start so, whatever their case.
        """
        opened = self._opened
        check_count(limit, "limit", MAX_LIMIT)
        path = drafts.check_namespace(namespace, allow_all=True)
        if prefix != "" and drafts.check_string(prefix, "prefix") is None:
            raise BadInput("prefix is None. Leave it out to list all entities.")
        beginning = canonical(prefix)
        if prefix and not beginning:
            return ()  # punctuation alone: no name begins so
        with reading(opened.engine, opened.path) as connection:
            scope = memories.namespaces_under(connection, path)
            return links.list_entities(connection, list(scope), beginning, limit)

    # maintenance

    def stats(self) -> Stats:
        """Return counts of what is live, and the bytes on disk."""
        return counting.stats(self._opened)

    def verify(self, *, repair: bool = False) -> VerifyReport:
        """Check that everything the store holds agrees with itself.

        Args:
            repair: rebuild what is derived (passages, vectors, counts) from what is true.
        """
        report = checking.verify(self._opened, repair=repair, now=microseconds_now())
        if repair and report.findings:  # what was sealed may be hot again
            self._sealing.wrote(report.checked.get("memories", 0))
        return report

    def compact(self, *, progress: Progress | None = None) -> CompactReport:
        """Seal everything hot, drop what was deleted, and merge all segments into one.

        The store does the first on its own when the hot tier has grown large, and merges as
        segments pile up; readers never wait for it. An interrupted run loses nothing.

        Args:
            progress: called with what is being done, how many token vectors are done, and how many
                there are.

        Raises:
            StoreLocked: another process is sealing or compacting.
            StoreUnwritable: the disk is full, or the folder cannot be written.
        """
        return sealing.compact(self._opened, now=microseconds_now(), progress=progress)

    def rebuild(
        self,
        *,
        encoder: str | Encoder | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Encode all memories anew, by default with the store's encoder; return their number.

        Args:
            encoder: the one to use from now on; ids, times and history stay.
            progress: called with the number of memories encoded since the last call.

        Raises:
            EncoderMismatch: no encoder was given, and what loads under the name of the store's
                makes other vectors than the stored ones.
            StoreLocked: someone else changed the store meanwhile; nothing was changed.
        """
        opened = self._opened
        if isinstance(encoder, str):
            encoder = open_encoder(encoder, device=opened.device)
        count = rebuilding.rebuild(opened, encoder, now=microseconds_now(), progress=progress)
        self._sealing.wrote(count)
        return count

    def backup(self, destination: str | os.PathLike[str]) -> Path:
        """Copy the store to a new folder while it is in use, and return the folder."""
        return backing_up.backup(self._opened, destination)

    def export(self, destination: str | os.PathLike[str]) -> int:
        """Write all live memories with their history to a new JSONL file; return their number.

        Raises:
            BadInput: the file exists.
            StoreUnwritable: it cannot be written.
        """
        return exporting.export(self._opened, destination)

    def import_(self, source: str | os.PathLike[str]) -> ImportReport:
        """Store the memories of an export, under their ids, times and history.

        Those that are there stay as they are; those that were forgotten since come back.

        Raises:
            BadInput: not an export, or a line of it is damaged; batches before it are stored.
        """
        return importing.import_(
            self._opened, source, now=microseconds_now(), wrote=self._sealing.wrote
        )

    def import_index(
        self,
        folder: str | os.PathLike[str],
        *,
        texts: Texts | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        source: str | None = None,
        same_encoder: bool = False,
        deleted_at_once: bool = False,
        progress: Progress | None = None,
    ) -> ImportIndexReport:
        """Adopt an index folder of colbert-ai or RAGatouille, without encoding anything.

        Each passage becomes a memory under the key of its document's id, or `ID#0`, `ID#1`, … and
        the session `ID` where the document has several; without document ids its number is the key.
        All or nothing is stored. A folder that was imported already changes nothing.

        Args:
            texts: by passage, or a file of them (`.json`, or lines `number<TAB>text`); by default
                those in the folder.
            source: of all memories.
            same_encoder: the index names another checkpoint than the store's encoder, but it is the
                same model.
            deleted_at_once: RAGatouille deleted from this index in a single call.
            progress: called with what is being done, how much of it is done, and how much there is.

        Raises:
            BadInput: no such index; its texts are missing; the store has compressed passages
                already, or other content under one of the keys.
            EncoderMismatch: the store's encoder is not the one that made the index.
            IndexDamaged: files of the index contradict each other.
            StoreLocked: another process is sealing or compacting, or stored the same meanwhile.
            StoreUnwritable: the disk is full, or a folder cannot be read or written.
        """
        from memstore.store.interchanging import import_index  # 10 ms that a query need not pay

        return import_index(
            self._opened,
            folder,
            texts=texts,
            namespace=namespace,
            source=source,
            same_encoder=same_encoder,
            deleted_at_once=deleted_at_once,
            now=microseconds_now(),
            progress=progress,
        )

    def export_index(
        self,
        folder: str | os.PathLike[str],
        *,
        namespace: str = "*",
        progress: Progress | None = None,
    ) -> ExportIndexReport:
        """Write all passages to a new index folder that colbert-ai and RAGatouille open.

        Of every memory that was not forgotten, valid or not. A document's id is its memory's key,
        or its id where that is not unique. Sealed vectors go as they are, others compressed.

        Args:
            namespace: that one and all below it; by default everything.
            progress: as for `import_index`.

        Raises:
            BadInput: the folder exists, or there is nothing to export.
            IndexDamaged: a file of the store's index is missing.
            StoreUnwritable: the disk is full, or the folder cannot be written.
        """
        from memstore.store.index_exporting import export_index

        return export_index(
            self._opened,
            folder,
            namespace=drafts.check_namespace(namespace, allow_all=True),
            progress=progress,
        )


def _cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (isinstance(cursor, str) and cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise BadInput(f"cursor is {cursor!r}; pass what the previous page had as its cursor.")
    return int(cursor)
