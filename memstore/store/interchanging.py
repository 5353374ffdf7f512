"""Adopting an index that colbert-ai or RAGatouille made: memories whose vectors are there already.

Codes and residual bytes become one sealed segment under the index's own codec; nothing is encoded.
Files come first, then one transaction stores the memories and names the files: whoever looks sees
all of the import or none of it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from memstore.catalog import links, log, memories, segments
from memstore.catalog.engine import reading, writing
from memstore.catalog.feedback import source_reliability
from memstore.catalog.memories import MemoryRow
from memstore.catalog.segments import NewSegment
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.entities import EntityLink, lowercase_words, memory_entities
from memstore.errors import BadInput, StoreLocked, StoreUnwritable
from memstore.index import Manifest, SegmentWriter, write_codec
from memstore.index.codec import Codes
from memstore.index.interchange import ChosenRows, IndexContent, read_colbert_index, read_texts
from memstore.scoring.evidence import posterior
from memstore.store.checkpoint_names import check_encoder_of_index
from memstore.store.drafts import Draft, draft
from memstore.store.identity import check_current
from memstore.store.ids import new_id
from memstore.store.index_files import changing_index
from memstore.store.opening import OpenStore
from memstore.store.sealing import copy_columns
from memstore.store.writing import check_distinct_keys
from memstore.types import ImportIndexReport, NewMemory

Texts = str | os.PathLike[str] | Sequence[str] | Mapping[int, str]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_BLOCK_TOKENS = 32_768  # whose lengths are computed at once: 50 MB at 128 dimensions
_BATCH = 1024  # memories per statement, and between two calls of `progress`


@dataclass(frozen=True, slots=True)
class _Adopted:
    """A passage of the index that becomes a memory."""

    pid: int
    draft: Draft
    links: tuple[EntityLink, ...] = ()


def import_index(
    opened: OpenStore,
    folder: str | os.PathLike[str],
    *,
    texts: Texts | None,
    namespace: str,
    source: str | None,
    same_encoder: bool,
    deleted_at_once: bool,
    now: int,
    progress: Progress | None,
) -> ImportIndexReport:
    """Adopt an index folder; see `MemoryStore.import_index`."""
    opened.check_writable()
    began = time.perf_counter()
    report = progress or (lambda what, done, total: None)
    content = read_colbert_index(Path(folder), texts=_given(texts), deleted_at_once=deleted_at_once)
    check_encoder_of_index(opened.identity, content, same_encoder=same_encoder)
    found = _passages(Path(folder), content, namespace, source)
    check_distinct_keys(item.draft for item in found)
    with reading(opened.engine, opened.path) as connection:
        version = log.last_event(connection)
        there = _there(connection, namespace, found)
        new = [item for item in found if item.draft.content_hash not in there]
        if new:
            _check_no_codec(connection, opened.path, len(new))
    vectors = 0
    if new:
        adopted = _with_links(opened, new, report)
        with changing_index(
            opened.engine,
            opened.path,
            wait=opened.settings.lock_timeout,
            consequence="Nothing was imported.",
        ) as index:
            adoption = _Adoption(opened, index, content, adopted, now, report)
            vectors = adoption.write_files()
            adoption.publish(namespace, version, there)
        # what is imported is imported: without the copy, opening only takes longer
        with contextlib.suppress(StoreLocked, StoreUnwritable):
            copy_columns(opened, now=now)
    return ImportIndexReport(
        added=len(new),
        unchanged=len(found) - len(new),
        skipped=len(content.lengths) - len(found),
        vectors=vectors,
        seconds=time.perf_counter() - began,
    )


def _given(texts: Texts | None) -> Sequence[str] | Mapping[int, str] | None:
    """Return the caller's texts, reading the file that has them."""
    if texts is None:
        return None
    if isinstance(texts, (str, os.PathLike)):
        return read_texts(Path(texts))
    if isinstance(texts, Mapping):
        wrong = next((pid for pid in texts if type(pid) is not int), None)
        if wrong is not None:
            raise BadInput(f"texts has the key {wrong!r}; give each passage's number as an int.")
        return texts
    if not isinstance(texts, Sequence):
        raise BadInput(f"texts is {type(texts).__name__}; give a list, a mapping, or a file.")
    return texts


def _passages(
    folder: Path, content: IndexContent, namespace: str, source: str | None
) -> list[_Adopted]:
    """Return the passages of an index that have tokens and a text, as memories to be stored."""
    texts = content.texts
    if texts is None:
        raise BadInput(
            f"{folder} holds no texts. Give those it was made of: texts=, a list by passage or a "
            "file of lines 'number<TAB>text' (--texts FILE)."
        )
    ids = content.document_ids
    live = [pid for pid, length in enumerate(content.lengths.tolist()) if length]
    sizes = Counter(ids[pid] for pid in live) if ids is not None else Counter[str]()
    seen: Counter[str] = Counter()
    found = []
    for pid in live:
        document = str(pid) if ids is None else ids[pid]
        split = sizes[document] > 1
        key = f"{document}#{seen[document]}" if split else document
        seen[document] += 1
        if isinstance(texts[pid], str) and not texts[pid].strip():
            continue
        item = NewMemory(
            text=texts[pid],
            namespace=namespace,
            key=key,
            session=document if split else None,
            source=source,
            metadata=(content.document_metadata or {}).get(document),
        )
        try:
            found.append(_Adopted(pid, draft(item)))
        except BadInput as error:
            raise BadInput(f"Passage {pid} of {folder}: {error}") from error
    if not found:
        raise BadInput(f"{folder} has no passage with a text. Nothing was imported.")
    return found


def _there(connection: Connection, path: str, found: Sequence[_Adopted]) -> set[str]:
    """Return the content hashes that the namespace holds; refuse keys it has other content for."""
    namespace = memories.find_namespace(connection, path)
    there: set[str] = set()
    if namespace is None:
        return there
    for batch in _batches(found):
        known = set(
            connection.scalars(
                select(memory.c.content_hash).where(
                    memories.live,
                    memory.c.namespace_id == namespace,
                    among(memory.c.content_hash, [item.draft.content_hash for item in batch]),
                )
            )
        )
        there |= known
        keys = [item.draft.key or "" for item in batch if item.draft.content_hash not in known]
        taken = connection.scalar(
            select(memory.c.key)
            .where(
                memories.live,
                memory.c.expired_at.is_(None),
                memory.c.namespace_id == namespace,
                among(memory.c.key, keys),
            )
            .limit(1)
        )
        if taken is not None:
            raise BadInput(
                f"Namespace {path!r} has other content under the key {taken!r}, and an import "
                "supersedes nothing. Give another namespace: namespace= (--namespace)."
            )
    return there


def _check_no_codec(connection: Connection, store: Path, new: int) -> None:
    if segments.current_codec(connection) is None:
        return
    raise BadInput(
        f"{store} has compressed passages of its own, and all of a store share one codec: {new} of "
        "the index would have to be compressed anew. Import it into a new store:\n"
        "    memstore --store NEW init --encoder CHECKPOINT"
    )


def _with_links(opened: OpenStore, found: Sequence[_Adopted], progress: Progress) -> list[_Adopted]:
    """Find the entities of each text, as `add` does."""
    adopted: list[_Adopted] = []
    for item in found:
        if len(adopted) % _BATCH == 0:
            progress("reading texts", len(adopted), len(found))
        text = item.draft.text
        entities = memory_entities(
            text, extractor=opened.extractor, common_words=lowercase_words(text)
        )
        adopted.append(_Adopted(item.pid, item.draft, entities))
    return adopted


class _Adoption:
    """The two steps of an import by whoever holds the index."""

    def __init__(
        self,
        opened: OpenStore,
        index: Path,
        content: IndexContent,
        adopted: Sequence[_Adopted],
        now: int,
        progress: Progress,
    ) -> None:
        self._opened = opened
        self._index = index
        self._content = content
        self._adopted = adopted
        self._now = now
        self._progress = progress
        with writing(opened.engine, opened.path) as connection:
            check_current(connection, opened.path, opened.identity)
            _check_no_codec(connection, opened.path, len(adopted))
            self._number = segments.index_number(connection) + 1
            self._rows, self._passages = segments.reserve_numbers(connection, len(adopted))

    def write_files(self) -> int:
        """Write codec and segment, durably; return the number of token vectors."""
        codec, lengths = self._content.codec, self._content.lengths
        pids = np.array([item.pid for item in self._adopted], dtype=np.int64)
        ends = np.cumsum(lengths)[pids]
        starts, sizes = ends - lengths[pids], lengths[pids]
        total = int(sizes.sum())
        codec_name = f"codec-{self._number:06d}"
        manifest = write_codec(self._index / codec_name, codec, made_for=total)
        self._codec: tuple[str, Manifest] = codec_name, manifest
        codes, residuals = (
            ChosenRows([(rows, starts, ends)])  # without tokens of passages left out
            for rows in (self._content.codes, self._content.residuals)
        )
        name = f"segment-{self._number:06d}"
        with SegmentWriter(self._index / name, codec) as writer:
            for first, last in _blocks(sizes):
                tokens = slice(writer.tokens, writer.tokens + int(sizes[first:last].sum()))
                block = cast(Codes, codes[tokens].astype(codec.code_type))
                packed = residuals[tokens]
                writer.append(
                    np.arange(self._passages + first, self._passages + last),
                    np.arange(self._rows + first, self._rows + last),
                    sizes[first:last],
                    block,
                    packed,
                    codec.inverse_norms(block, packed),
                )
                self._progress("writing vectors", writer.tokens, total)
            segment = writer.finish()
            self._segment = NewSegment(name, writer.passages, writer.tokens, segment)
        return total

    def publish(self, path: str, version: int, there: set[str]) -> None:
        """Store the memories and name the files, in one transaction.

        Args:
            version, there: the last event, and what `_there` returned after it.
        """
        opened = self._opened
        with writing(opened.engine, opened.path) as connection:
            check_current(connection, opened.path, opened.identity)
            if log.changed_since(connection, version):
                self._check_same(connection, path, there)
            codec_id = segments.insert_codec(connection, *self._codec, self._now)
            segment_id = segments.insert_segment(connection, self._segment, codec_id, self._now)
            namespace = memories.namespace_id(connection, path)
            source = memories.source_id(connection, self._adopted[0].draft.source)
            trust = posterior(source_reliability(connection, source).prior)
            place = 0
            for batch in _batches(self._adopted):
                self._progress("storing memories", place, len(self._adopted))
                made = [self._row(item.draft, namespace, source, trust) for item in batch]
                rows = [
                    (self._rows + n, self._passages + n, row)
                    for n, row in enumerate(made, start=place)
                ]
                segments.insert_sealed_memories(connection, segment_id, rows)
                links.link_entities(
                    connection,
                    [
                        (number, namespace, item.links)
                        for (number, _, _), item in zip(rows, batch, strict=True)
                    ],
                )
                for _, _, row in rows:
                    log.append_event(connection, row.id, "import", now=self._now, source_id=source)
                place += len(batch)
            segments.write_index_number(connection, self._number)
            payload = {"segment": self._segment.name}
            log.append_event(connection, log.STORE, log.SEAL, now=self._now, payload=payload)
        self._progress("storing memories", place, place)

    def _check_same(self, connection: Connection, path: str, there: set[str]) -> None:
        if _there(connection, path, self._adopted) - there:
            raise StoreLocked(
                f"Another process stored some of the same memories in {self._opened.path} during "
                "the import. Nothing was imported; run it again."
            )

    def _row(
        self, item: Draft, namespace: int, source: int | None, trust: tuple[float, float]
    ) -> MemoryRow:
        return MemoryRow(
            id=new_id(self._now),
            namespace_id=namespace,
            key=item.key,
            session=item.session,
            title=None,
            text=item.text,
            content_hash=item.content_hash,
            metadata=item.metadata,
            source_id=source,
            recorded_at=self._now,
            occurred_at=None,
            valid_from=None,
            valid_to=None,
            half_life_s=None,
            prior=None,
            alpha=trust[0],
            beta=trust[1],
            importance=item.importance,
            t_ref=self._now,
            entities_given=False,
        )


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _blocks(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield bounds of some passages at a time, of about `_BLOCK_TOKENS` tokens."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        limit = (ends[first - 1] if first else 0) + _BLOCK_TOKENS
        last = max(first + 1, int(np.searchsorted(ends, limit, side="right")))
        yield first, last
        first = last
