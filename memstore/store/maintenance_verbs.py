"""The methods of `MemoryStore` that look after it: counting, checking, sealing, copying."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from memstore.encoders import Encoder, open_encoder
from memstore.errors import BadInput
from memstore.settings import DEFAULT_NAMESPACE, Settings
from memstore.store import (
    backing_up,
    checking,
    counting,
    drafts,
    exporting,
    importing,
    rebuilding,
    restoring,
    sealing,
)
from memstore.store.opened_verbs import OpenedVerbs
from memstore.store.opening import check_settings, with_asked
from memstore.store.sealing import Progress
from memstore.store.writing import microseconds_now
from memstore.times import zone
from memstore.types import (
    CompactReport,
    ExportIndexReport,
    ImportIndexReport,
    ImportReport,
    Stats,
    VerifyReport,
)

if TYPE_CHECKING:
    from memstore.store.interchanging import Texts


class MaintenanceVerbs(OpenedVerbs):
    """Nothing here changes what is stored, imports apart."""

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
            self._wrote(report.checked.get("memories", 0))
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
        settings: Settings | Mapping[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Encode all memories anew, by default with the store's encoder; return their number.

        Args:
            encoder: the one to use from now on; ids, times and history stay.
            settings: those of `VectorSettings` to use from now on; the others have no meaning here.
            progress: called with the number of memories encoded since the last call.

        Raises:
            EncoderMismatch: no encoder was given, and what loads under the name of the store's
                makes other vectors than the stored ones.
            StoreLocked: someone else changed the store meanwhile; nothing was changed.
        """
        opened = self._opened
        if isinstance(encoder, str):
            encoder = open_encoder(encoder, device=opened.device)
        made = with_asked(opened.vector_settings, check_settings(settings))
        count = rebuilding.rebuild(opened, encoder, made, now=microseconds_now(), progress=progress)
        self._wrote(count)
        return count

    def backup(self, destination: str | os.PathLike[str]) -> Path:
        """Copy the store to a new folder while it is in use, and return the folder.

        Raises:
            BadInput: the folder exists, or lies in the store.
            IndexDamaged: the backup was made, and carries the damage of the store.
            StoreLocked: another process seals or compacts; try again.
            StoreUnwritable: it cannot be written.
        """
        return backing_up.backup(self._opened, destination)

    @staticmethod
    def restore(
        backup: str | os.PathLike[str], destination: str | os.PathLike[str]
    ) -> VerifyReport:
        """Make a store of a backup, and return what was looked at; it appears whole or not at all.

        The backup stays as it is, and is one of an earlier schema too.

        Raises:
            BadInput: the destination exists, or lies in the backup; or that is an export, or in use
                as a store.
            IndexDamaged: not everything in the backup agrees; nothing was restored.
            SchemaTooNew: a newer memstore wrote it.
            StoreNotFound: there is no backup.
            StoreUnwritable: the destination cannot be written.
        """
        return restoring.restore(backup, destination, now=microseconds_now())

    def export(self, destination: str | os.PathLike[str]) -> int:
        """Write all live memories with their history to a new JSONL file; return their number.

        Raises:
            BadInput: the file exists, or lies in the store.
            StoreUnwritable: it cannot be written.
        """
        return exporting.export(self._opened, destination)

    def import_(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        format: str | None = None,  # noqa: A002  # as for `ingest`
        namespace: str | None = None,
        timezone: str | tzinfo | None = None,
    ) -> ImportReport:
        """Store the memories of an export, under their ids, times and history.

        Those that are there stay as they are; those that were forgotten since come back.

        Exports of other memories are new memories here, with their ids as keys: what was imported
        before changes nothing, and what has changed there since supersedes it. What of them cannot
        be stored is reported.

        Args:
            source: a path, or a file that was opened to read bytes.
            format: `mem0`, `mcp` (the reference server's `memory.jsonl`) or `langgraph` (items of
                a store); by default an export of memstore.
            namespace: what to put the namespaces of another memory under.
            timezone: of another memory's times that have no offset.

        Raises:
            BadInput: not such an export, or it was cut off, damaged or changed: nothing is stored.
        """
        opened = self._opened
        if format is None:
            if namespace is not None or timezone is not None:
                raise BadInput(
                    "An export of memstore says its namespaces and times itself: leave namespace "
                    "and timezone out."
                )
            return importing.import_(opened, source, now=microseconds_now(), wrote=self._wrote)
        from memstore.store.adopting import adopt

        return adopt(
            opened,
            source,
            format,
            namespace=namespace,
            timezone=zone(timezone) if isinstance(timezone, str) else timezone,
            wrote=self._wrote,
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
            BadInput: the folder exists, or lies in the store; or there is nothing to export.
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
