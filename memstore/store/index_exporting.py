"""The passages of a store as an index folder that colbert-ai and RAGatouille open."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from memstore.catalog import memories, segments
from memstore.catalog.engine import reading
from memstore.catalog.sql import among
from memstore.catalog.tables import memory, passage
from memstore.errors import BadInput, IndexDamaged
from memstore.index import Codec, sample_size, train
from memstore.index.files import ADVICE
from memstore.index.interchange import (
    ChosenRows,
    IndexContent,
    TokenRows,
    check_absent,
    write_colbert_index,
)
from memstore.maxsim import TokenVectors
from memstore.store.appearing import check_outside
from memstore.store.checkpoint_names import checkpoint_name
from memstore.store.hot_blocks import hot_blocks, sampled
from memstore.store.identity import check_current
from memstore.store.index_files import INDEX, OpenSegment, open_codec, open_segments, retried
from memstore.store.opening import OpenStore
from memstore.types import ExportIndexReport

Progress = Callable[[str, int, int], None]

_BLOCK_TOKENS = 32_768  # hot vectors in memory at once as floats: 17 MB at 128 dimensions


@dataclass(frozen=True, slots=True, eq=False)
class _Tokens:
    """Encoded tokens of some passages: runs of rows of two arrays.

    Shapes: passage_ids, lengths (passages,); starts, stops (runs,).
    """

    passage_ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    codes: TokenRows
    residuals: TokenRows
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def export_index(
    opened: OpenStore,
    folder: str | os.PathLike[str],
    *,
    namespace: str,
    progress: Progress | None,
) -> ExportIndexReport:
    """Write an index folder; see `MemoryStore.export_index`."""
    began = time.perf_counter()
    target = Path(folder)
    check_absent(target)  # before minutes are spent
    check_outside(target, opened.path)

    def exported() -> ExportIndexReport:
        # what is open stays readable, even if a sealing meanwhile replaces and removes it
        with reading(opened.engine, opened.path) as connection:
            export = _Export(opened, connection, namespace, progress or (lambda *_: None))
            export.write(target)
            return export.report(time.perf_counter() - began)

    return retried(opened.path, exported)


class _Export:
    """One state of the store on its way to an index folder."""

    def __init__(
        self, opened: OpenStore, connection: Connection, namespace: str, progress: Progress
    ) -> None:
        check_current(connection, opened.path, opened.identity)
        self._opened = opened
        self._connection = connection
        self._progress = progress
        self._spaces = [*memories.namespaces_under(connection, namespace)]
        self._passages = {row.id: row for row in self._live_passages()}
        if not self._passages:
            raise BadInput(
                f"There is nothing to export: no memory is in namespace {namespace!r} of "
                f"{opened.path}."
            )
        stored = open_codec(connection, opened.path / INDEX, opened.identity.dim)
        found = open_segments(connection, opened.path / INDEX, stored)
        hot = [(id_, size) for id_, size in segments.hot_sizes(connection) if id_ in self._passages]
        self._codec = self._trained(hot) if stored is None else stored.codec
        self._parts = [part for item in found if (part := self._sealed(item)) is not None]
        if hot:
            self._parts.append(self._encoded(hot))
        self._hot_passages = len(hot)
        self._lengths = np.concatenate([part.lengths for part in self._parts])

    def report(self, seconds: float) -> ExportIndexReport:
        return ExportIndexReport(
            memories=len({row.memory_row for row in self._passages.values()}),
            passages=len(self._lengths),
            vectors=int(self._lengths.sum()),
            encoded=self._hot_passages,
            seconds=seconds,
        )

    def write(self, target: Path) -> None:
        total = int(self._lengths.sum())
        done = 0

        def count(tokens: int) -> None:
            nonlocal done
            done += tokens
            self._progress("writing vectors", done, total)

        write_colbert_index(target, self._content(), progress=count)

    def _live_passages(self) -> Sequence[Any]:
        return self._connection.execute(
            select(
                passage.c.id,
                passage.c.memory_row,
                passage.c.start,
                passage.c.end,
                passage.c.segment_id,
            )
            .join(memory, memory.c.row == passage.c.memory_row)
            .where(memories.live, among(memory.c.namespace_id, self._spaces))
        ).all()

    def _content(self) -> IndexContent:
        order = [self._passages[id_] for part in self._parts for id_ in part.passage_ids.tolist()]
        written = {row.row: row for row in self._live_memories()}
        names = _document_ids([*written.values()])
        metadata = {names[row]: json.loads(item.metadata) for row, item in written.items()}
        metadata = {name: value for name, value in metadata.items() if value}
        return IndexContent(
            codec=self._codec,
            codes=ChosenRows([(part.codes, part.starts, part.stops) for part in self._parts]),
            residuals=ChosenRows(
                [(part.residuals, part.starts, part.stops) for part in self._parts]
            ),
            lengths=self._lengths,
            texts=[written[row.memory_row].text[row.start : row.end] for row in order],
            document_ids=[names[row.memory_row] for row in order],
            document_metadata=metadata or None,
            checkpoint=checkpoint_name(self._opened.identity.name),
        )

    def _live_memories(self) -> Sequence[Any]:
        return self._connection.execute(
            select(memory.c.row, memory.c.id, memory.c.key, memory.c.text, memory.c.metadata).where(
                memories.live, among(memory.c.namespace_id, self._spaces)
            )
        ).all()

    def _sealed(self, item: OpenSegment) -> _Tokens | None:
        """Return the wanted passages of a segment, with their bytes as they are."""
        wanted = [row.id for row in self._passages.values() if row.segment_id == item.row.id]
        slots = np.sort(item.files.slots_of(np.array(wanted, dtype=np.int64)))
        if len(slots) != len(wanted):
            raise IndexDamaged(f"{item.files.folder} lacks passages that it should hold. {ADVICE}")
        if not len(slots):
            return None
        begins = np.flatnonzero(np.diff(slots, prepend=-2) != 1)  # of slots one after another
        ends = np.append(begins[1:], len(slots)) - 1
        return _Tokens(
            passage_ids=item.files.passage_ids[slots],
            lengths=np.diff(item.files.offsets)[slots],
            codes=item.files.codes,
            residuals=item.files.residuals,
            starts=item.files.offsets[slots[begins]],
            stops=item.files.offsets[slots[ends] + 1],
        )

    def _encoded(self, hot: Sequence[tuple[int, int]]) -> _Tokens:
        """Return hot passages encoded with the codec: some 66 bytes per token, in memory."""
        lengths = np.array([size for _, size in hot], dtype=np.int64)
        total = int(lengths.sum())
        codes = np.empty(total, dtype=self._codec.code_type)
        residuals = np.empty((total, self._codec.dim * self._codec.bits // 8), dtype=np.uint8)
        done = 0
        for vectors in self._hot_vectors(hot):
            self._progress("encoding", done, total)
            block = slice(done, done + len(vectors))
            codes[block], residuals[block], _ = self._codec.encode(vectors)
            done += len(vectors)
        return _Tokens(
            passage_ids=np.array([id_ for id_, _ in hot], dtype=np.int64),
            lengths=lengths,
            codes=codes,
            residuals=residuals,
            starts=np.array([0]),
            stops=np.array([total]),
        )

    def _trained(self, hot: Sequence[tuple[int, int]]) -> Codec:
        """Return a codec for passages none of which was ever sealed."""
        total = sum(size for _, size in hot)
        self._progress("training", 0, total)
        sample = sampled(
            self._hot_vectors(hot), total, sample_size(total), self._opened.identity.dim
        )
        bits = self._opened.vector_settings.residual_bits
        return train(sample, tokens=total, bits=bits)

    def _hot_vectors(self, hot: Sequence[tuple[int, int]]) -> Iterator[TokenVectors]:
        """Yield the token vectors of hot passages, (tokens, dim), some passages at a time."""
        dim = self._opened.identity.dim
        for block in hot_blocks(self._connection, hot, dim, tokens=_BLOCK_TOKENS):
            yield block.vectors


def _document_ids(items: Sequence[Any]) -> dict[int, str]:
    """Return memory row → its key, or its id where several memories have the key or none."""
    used = Counter([*(item.key for item in items), *(item.id for item in items)])
    return {
        item.row: item.id if item.key is None or used[item.key] > 1 else item.key for item in items
    }
