"""`MemoryStore`, the public face of the package."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta, tzinfo
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from memstore.catalog.engine import close_engine
from memstore.catalog.engine_use import CLOSED
from memstore.catalog.forking import inherited
from memstore.encoders import Encoder
from memstore.errors import BadInput, MemstoreError
from memstore.rerank import Reranker
from memstore.settings import DEFAULT_NAMESPACE, Settings
from memstore.store import (
    changing,
    drafts,
    forgetting,
    ingesting,
    proposing,
    rerankers,
)
from memstore.store.background import BackgroundSealing
from memstore.store.entity_verbs import EntityVerbs
from memstore.store.feedback_verbs import FeedbackVerbs
from memstore.store.learning_verbs import LearningVerbs
from memstore.store.maintenance_verbs import MaintenanceVerbs
from memstore.store.opening import OpenStore, open_store
from memstore.store.reading_verbs import ReadingVerbs
from memstore.store.writing import microseconds_now, store_and_load
from memstore.times import from_microseconds, zone
from memstore.types import (
    Filter,
    ForgetReport,
    IngestReport,
    Memory,
    Metadata,
    NewMemory,
    When,
)

_UNSET: Any = object()


class MemoryStore(ReadingVerbs, FeedbackVerbs, EntityVerbs, LearningVerbs, MaintenanceVerbs):
    """Memories on disk that can be asked in plain language.

    A store is a folder. Any number of processes may read it; one at a time writes. What `add` has
    returned is durable and found by the next query. Objects may be used from several threads; a
    forked process opens its own.

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
        """Release the store's files, once a sealing under way is done. Safe to call twice.

        Other threads finish the transactions they are in, and then get a BadInput. In a forked
        child, which has no part in its parent's store, it does nothing to the files.
        """
        opened, self._open = self._open, None
        if opened is not None and opened.process == os.getpid():
            self._sealing.finish()
            close_engine(opened.engine)

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
        opened = self._open  # once: another thread may close it
        if opened is None:
            raise BadInput(CLOSED)
        if opened.process != os.getpid():
            raise inherited(opened.process, f"The store {opened.path}")
        return opened

    def _wrote(self, memories: int) -> None:
        self._sealing.wrote(memories)

    # writing

    def add(
        self,
        text: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        key: str | None = None,
        session: str | None = None,
        title: str | None = None,
        kind: str | None = None,
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

        `proposals` of a new memory name those of its namespace that it may repeat or replace;
        nothing is done about them.

        Args:
            namespace: a path such as `team/ana`; a hard partition.
            key: the caller's own name for it.
            session: the conversation or document it is part of: what came before in it helps to
                read it.
            kind: how fast it ages: `task`, `state` (a half-life of 14 days), `episodic`, `event`,
                `message` (90), `fact`, `preference` (730), `evergreen` (never); by default as the
                profile says.
            occurred_at: when it happened; aware datetime or ISO-8601 with an offset; "2026",
                "March 2026" or "2026-03-02" where no more is known; or "unknown".
            valid_from, valid_to: the half-open interval in which it holds.
            half_life: how fast it loses currency; that of its kind by default.
            confidence: 0 to 10, 5 meaning that nothing is known; by default as its source is
                believed (`set_source`), else 5.
            importance: -1 to 1.
            source: who or what said so.
            metadata: JSON values to filter by.
            entities: names it is about; extracted from the text if None.

        Raises:
            BadInput: a value cannot be accepted; nothing was stored.
        """
        now = microseconds_now()
        opened = self._opened
        (memory_,) = self._store(
            opened,
            [
                NewMemory(
                    text=text,
                    namespace=namespace,
                    key=key,
                    session=session,
                    title=title,
                    kind=kind,
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
            ],
            now,
        )
        new = memory_.recorded_at == from_microseconds(now)
        if not new or not opened.settings.proposals:
            return memory_
        try:
            found = proposing.propose(opened, memory_, now=now)
        except MemstoreError:
            return memory_  # it is stored: that nobody can look around must not deny it
        return dataclasses.replace(memory_, proposals=found)

    def add_many(self, memories_: Iterable[NewMemory | Mapping[str, Any] | str]) -> list[Memory]:
        """Store several memories in one transaction, all or none; see `add`.

        Args:
            memories_: NewMemory objects, mappings with their fields, or plain texts.

        Raises:
            BadInput: one of them cannot be accepted, or two have the same key; nothing was stored.
        """
        if isinstance(memories_, (str, Mapping, NewMemory)):
            raise BadInput("add_many takes a list of memories; for one memory use add.")
        return self._store(self._opened, memories_, microseconds_now())

    def _store(
        self,
        opened: OpenStore,
        memories_: Iterable[NewMemory | Mapping[str, Any] | str],
        now: int,
    ) -> list[Memory]:
        checked = [drafts.draft(item) for item in memories_]
        stored = store_and_load(opened, checked, now=now)
        self._sealing.wrote(len(stored))
        return stored

    def ingest(
        self,
        source: ingesting.Source,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        source_name: str | None = None,
        kind: str | None = None,
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
            kind: of all memories, see `add`.
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
                kind=kind,
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
        kind: str | None = _UNSET,
        occurred_at: When | None = _UNSET,
        valid_from: When | None = _UNSET,
        valid_to: When | None = _UNSET,
        half_life: timedelta | None = _UNSET,
        confidence: float | None = _UNSET,
        importance: float = _UNSET,
        source: str | None = _UNSET,
        entities: Sequence[str] | None = _UNSET,
        if_version: str | None = None,
    ) -> Memory:
        """Change fields of a memory and return it; its id stays. None clears a field.

        For a fact that changed, `add` with the same key keeps both versions instead.

        Args:
            if_version: only if the memory still has this `version`.

        Raises:
            MemoryNotFound: no memory has this id.
            VersionConflict: someone else changed it; nothing was changed by this call.
            BadInput: a value `add` would refuse.
        """
        given = {
            "text": text,
            "title": title,
            "metadata": metadata,
            "kind": kind,
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
            self._opened,
            drafts.check_id(id),
            changes,
            if_version=drafts.check_string(if_version, "if_version"),
            now=microseconds_now(),
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
        if_version: str | None = None,
    ) -> ForgetReport:
        """Remove memories from every result at once.

        Args:
            ids: one id or several; or
            where: a filter, within `namespace`.
            purge: leave no byte of their texts in any file of the store; slower, it rewrites it.
                A filter then also finds what was forgotten before.
            dry_run: only say which ones, and what would go with them.
            if_version: only if the one memory still has this `version`.

        Raises:
            MemoryNotFound: an id is unknown; nothing was forgotten.
            VersionConflict: someone else changed the memory; it was not forgotten.
            StoreLocked: purged, but someone still reads or compacts the store, so old bytes stay
                in a file; the same purge again removes them.
        """
        return forgetting.forget(
            self._opened,
            ids,
            where=where,
            namespace=drafts.check_namespace(namespace, allow_all=True),
            purge=purge,
            dry_run=dry_run,
            if_version=drafts.check_string(if_version, "if_version"),
            now=microseconds_now(),
        )
