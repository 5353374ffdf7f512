"""Sealed segments and their codec on disk.

A segment holds of its passages `lengths` (tokens of each) and `passages` (id of the passage, row of
its memory), of each token `codes`, `residuals`, `inverse_norms`, and inverted lists
from centroids to slots. A slot is a position in the segment. `checksums` has the CRC-32 of what
each passage has of codes, residuals and inverse norms, one after another.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from memstore.errors import IndexDamaged
from memstore.index._kernels import inverted_lists
from memstore.index.codec import PANEL, Codec, Codes, Residuals, ascend, code_type, panels_of
from memstore.index.files import (
    ADVICE,
    FolderWriter,
    Manifest,
    check_sizes,
    damaged_files,
    read_array,
    read_json,
)
from memstore.maxsim import TokenVectors

Ids = NDArray[np.int64]
Slots = NDArray[np.int64]

MOST_UNIT = 1e28  # times any sum of 32 bits, it still is a number for 32-bit floats
COPIED_TOKENS = 65_536  # at once, when segments are merged: some 5 MB


def write_codec(
    folder: Path, codec: Codec, *, made_for: int, fidelity: float | None = None
) -> Manifest:
    """Write a codec to a new folder and return its manifest.

    Args:
        made_for: token vectors of a store that it suits.
        fidelity: what it keeps of them, as measured then; recorded for people to read.
    """
    with FolderWriter(folder) as writer:
        integers, unit = codec.integers
        arrays: dict[str, NDArray[Any]] = {
            "centroids": codec.centroids.astype(np.float16),
            "panels": panels_of(integers),
            "cutoffs": codec.cutoffs,
            "weights": codec.weights,
        }
        for name, values in arrays.items():
            writer.whole_array(name, values)
        described = {"format": 1, "unit": unit, "made_for": made_for, "fidelity": fidelity}
        checksums = {name: _crc(values) for name, values in arrays.items()}
        writer.json("codec", {**described, "checksums": checksums})
        return writer.manifest()


class StoredCodec:
    """A codec mapped into memory. Every answer depends on it, so all of it is checked: one bit of a
    centroid changes scores without a trace.

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        IndexDamaged: its files contradict each other or the manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest, dim: int) -> None:
        check_sizes(folder, manifest)
        content = read_json(folder, "codec")
        wrong = damaged_files(
            folder, {name: manifest[name] for name in manifest if name == "codec.json"}
        )
        if wrong:
            raise IndexDamaged(f"{wrong[0]}. {ADVICE}")
        self.folder = folder
        self.weights: NDArray[np.float32] = read_array(folder, "weights", np.float32, ())
        self.cutoffs: NDArray[np.float32] = read_array(folder, "cutoffs", np.float32, ())
        self.panels: NDArray[np.int16] = read_array(
            folder, "panels", np.int16, ((dim + 1) // 2, PANEL, 2)
        )
        self._centroids = read_array(folder, "centroids", np.float16, (dim,))
        try:
            self.unit = float(content["unit"])
            self.made_for = int(content["made_for"])
            self._check(content["checksums"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise IndexDamaged(f"{folder / 'codec.json'} lacks {error}. {ADVICE}") from error
        if (
            len(self.weights) not in (2, 4, 16, 256)
            or len(self.cutoffs) != len(self.weights) - 1
            or not ascend(self.weights)
            or not ascend(self.cutoffs)
            or not 0 <= self.unit <= MOST_UNIT
            or len(self._centroids) == 0
            or len(self.panels) != -(-len(self._centroids) // PANEL)
        ):
            raise IndexDamaged(
                f"{folder}: its arrays or their unit do not fit each other. {ADVICE}"
            )

    def _check(self, checksums: Mapping[str, int]) -> None:
        arrays: dict[str, NDArray[Any]] = {
            "centroids": self._centroids,
            "panels": self.panels,
            "cutoffs": self.cutoffs,
            "weights": self.weights,
        }
        for name, values in arrays.items():
            if _crc(values) != checksums[name]:  # seven times as fast as the manifest's SHA-256
                raise IndexDamaged(
                    f"{self.folder / name}.npy does not match its checksum. {ADVICE}"
                )

    def __len__(self) -> int:
        """Return how many centroids there are."""
        return len(self._centroids)

    @property
    def dim(self) -> int:
        return int(self._centroids.shape[1])

    @cached_property
    def codec(self) -> Codec:
        """The codec in memory, to encode and decode with.

        Raises:
            IndexDamaged: a centroid holds a value that is not finite.
        """
        centroids = self._centroids.astype(np.float32)
        if not np.isfinite(centroids).all():
            raise IndexDamaged(f"{self.folder}: a centroid is not finite. {ADVICE}")
        return Codec(centroids, np.array(self.cutoffs), np.array(self.weights))


class SegmentWriter:
    """Writes a segment passage by passage; memory holds one block and the inverted lists.

    Use as a context manager; leaving it by an exception removes the folder.
    """

    def __init__(self, folder: Path, codec: Codec) -> None:
        self.codec = codec
        self._writer = FolderWriter(folder)
        self._lengths: list[NDArray[np.int64]] = []
        self.passages = 0
        self.tokens = 0

    def __enter__(self) -> Self:
        self._writer.__enter__()
        array, codec = self._writer.array, self.codec
        try:
            self._codes = array("codes", codec.code_type)
            self._residuals = array("residuals", np.uint8, (codec.dim * codec.bits // 8,))
            self._inverse_norms = array("inverse_norms", np.float32)
            self._passages = array("passages", np.int64, (2,))
            self._checksums = array("checksums", np.uint32)
        except BaseException as error:
            self._writer.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def append(
        self,
        passage_ids: Ids,
        rows: Ids,
        lengths: NDArray[np.int64],
        codes: Codes,
        residuals: Residuals,
        inverse_norms: NDArray[np.float32],
    ) -> None:
        """Append passages with their encoded tokens."""
        if not len(codes) == len(residuals) == len(inverse_norms) == lengths.sum():
            raise ValueError("lengths do not add up to the tokens")
        self._passages.append(np.stack([passage_ids, rows], axis=1))
        self._codes.append(codes)
        self._residuals.append(residuals)
        self._inverse_norms.append(inverse_norms)
        self._checksums.append(_checksums(lengths, codes, residuals, inverse_norms))
        self._lengths.append(lengths)
        self.passages += len(lengths)
        self.tokens += len(codes)

    def append_vectors(
        self, passage_ids: Ids, rows: Ids, lengths: NDArray[np.int64], vectors: TokenVectors
    ) -> None:
        """Append passages, encoding their vectors, (tokens, dim)."""
        self.append(passage_ids, rows, lengths, *self.codec.encode(vectors))

    def finish(self) -> Manifest:
        """Write what is derived, make everything durable and return the manifest."""
        of_tokens = (self._codes, self._residuals, self._inverse_norms)
        for array in (*of_tokens, self._passages, self._checksums):
            array.close()
        folder = self._writer.folder
        lengths = np.concatenate([*self._lengths, np.empty(0, np.int64)])
        offsets = _offsets(lengths)
        codes = read_array(folder, "codes", self.codec.code_type, ())
        lists, list_offsets = inverted_lists(codes, offsets, len(self.codec.centroids))
        self._writer.whole_array("lengths", lengths.astype(np.int32))
        self._writer.whole_array("ivf", lists)
        self._writer.whole_array("ivf_lengths", np.diff(list_offsets).astype(np.int32))
        self._writer.json(
            "segment", {"format": 1, "passages": self.passages, "tokens": self.tokens}
        )
        return self._writer.manifest()


class Segment:
    """A segment mapped into memory, for one codec.

    Shapes: passage_ids, rows (passages,); offsets (passages + 1,), the tokens of slot s being
    `offsets[s]` to `offsets[s + 1]`; codes, inverse_norms (tokens,); residuals (tokens, bytes).

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        IndexDamaged: its files contradict each other, the codec or the manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest, codec: StoredCodec) -> None:
        check_sizes(folder, manifest)
        self.folder = folder
        dim = codec.dim
        bits = len(codec.weights).bit_length() - 1
        self.codes: Codes = read_array(folder, "codes", code_type(len(codec)), ())
        self.residuals: Residuals = read_array(folder, "residuals", np.uint8, (dim * bits // 8,))
        self.inverse_norms: NDArray[np.float32] = read_array(
            folder, "inverse_norms", np.float32, ()
        )
        self._passages = read_array(folder, "passages", np.int64, (2,))
        self._checksums = read_array(folder, "checksums", np.uint32, ())
        lengths = read_array(folder, "lengths", np.int32, ())
        self.offsets = _offsets(lengths)
        self._lists = read_array(folder, "ivf", np.int32, ())
        self._list_lengths = read_array(folder, "ivf_lengths", np.int32, ())
        if (
            not len(self._passages) == len(self._checksums) == len(self)
            or lengths.min(initial=0) < 0
            or not len(self.codes) == len(self.residuals) == len(self.inverse_norms) == self.tokens
            or len(self._list_lengths) != len(codec)
        ):
            raise IndexDamaged(
                f"{folder}: its arrays or their unit do not fit each other. {ADVICE}"
            )

    def __len__(self) -> int:
        """Number of slots, those of deleted passages included."""
        return len(self.offsets) - 1

    @property
    def tokens(self) -> int:
        return int(self.offsets[-1])

    @cached_property
    def passage_ids(self) -> Ids:
        return np.ascontiguousarray(self._passages[:, 0])

    @cached_property
    def rows(self) -> Ids:
        return np.ascontiguousarray(self._passages[:, 1])

    @cached_property
    def inverted(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Inverted lists: slots, and where the list of each centroid begins, (K + 1,)."""
        offsets = _offsets(self._list_lengths)
        if self._list_lengths.min(initial=0) < 0 or offsets[-1] != len(self._lists):
            raise IndexDamaged(f"{self.folder}: its inverted lists do not add up. {ADVICE}")
        return self._lists, offsets

    def slots_of(self, passage_ids: Ids) -> Slots:
        """Return the slots of those of the passages that are in the segment."""
        if not len(self):
            return np.empty(0, np.int64)
        places = np.searchsorted(self.passage_ids, passage_ids, sorter=self._by_id)
        slots: Slots = self._by_id[np.minimum(places, len(self) - 1)]
        found: Slots = slots[self.passage_ids[slots] == passage_ids]
        return found

    @cached_property
    def _by_id(self) -> Slots:
        return np.argsort(self.passage_ids, kind="stable")

    def tokens_of(self, slots: Slots) -> NDArray[np.int64]:
        """Return the rows of all tokens of some slots, one slot after another."""
        lengths = self.offsets[slots + 1] - self.offsets[slots]
        starts = np.repeat(self.offsets[slots] - (np.cumsum(lengths) - lengths), lengths)
        return starts + np.arange(lengths.sum())

    def encoded(self, tokens: NDArray[np.int64]) -> tuple[Codes, Residuals]:
        """Return the codes and residuals of some tokens.

        Raises:
            IndexDamaged: a code is no number of a centroid.
        """
        codes = self.codes[tokens]
        if len(codes) and int(codes.max()) >= len(self._list_lengths):
            raise IndexDamaged(
                f"{self.folder}: a token has centroid {codes.max()} of {len(self._list_lengths)}. "
                f"{ADVICE}"
            )
        return codes, self.residuals[tokens]

    def check(self, slots: Slots) -> None:
        """Refuse passages whose tokens are not as they were written.

        Raises:
            IndexDamaged: one of them is not.
        """
        tokens = self.tokens_of(slots)
        lengths = self.offsets[slots + 1] - self.offsets[slots]
        found = _checksums(
            lengths, self.codes[tokens], self.residuals[tokens], self.inverse_norms[tokens]
        )
        wrong = np.flatnonzero(found != self._checksums[slots])
        if len(wrong):
            raise IndexDamaged(
                f"{self.folder}: the vectors of passage {self.passage_ids[slots[wrong[0]]]} do not "
                f"match their checksum. {ADVICE}"
            )

    def blocks(self, keep: NDArray[np.bool_]) -> Iterator[Slots]:
        """Yield the slots to keep in order, in blocks of about `COPIED_TOKENS` tokens."""
        slots = np.flatnonzero(keep)
        ends = np.cumsum(self.offsets[slots + 1] - self.offsets[slots])
        first = 0
        while first < len(slots):
            limit = (ends[first - 1] if first else 0) + COPIED_TOKENS
            last = max(first + 1, int(np.searchsorted(ends, limit, side="right")))
            yield slots[first:last]
            first = last


def copy_segment(
    segment: Segment,
    keep: NDArray[np.bool_],
    writer: SegmentWriter,
    *,
    decode_with: Codec | None = None,
    only: NDArray[np.bool_] | None = None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> None:
    """Append some of a segment's passages to another one.

    Args:
        keep: (slots,), which.
        decode_with: the segment's codec, if the writer has another one: then the vectors are
            decoded and encoded again. Without, bytes are copied.
        only: (K,), the centroids in which the two codecs differ: bytes of all other tokens are
            copied.
        progress: called with the number of tokens after each block; may raise to give up.

    Raises:
        IndexDamaged: what would be copied is not as it was written.
    """
    for slots in segment.blocks(keep):
        segment.check(slots)
        lengths = segment.offsets[slots + 1] - segment.offsets[slots]
        tokens = segment.tokens_of(slots)
        names = (segment.passage_ids[slots], segment.rows[slots], lengths)
        codes, residuals = segment.encoded(tokens)
        if decode_with is None:
            writer.append(*names, codes, residuals, segment.inverse_norms[tokens])
        elif only is None:
            writer.append_vectors(*names, decode_with.decode(codes, residuals))
        else:
            again = np.flatnonzero(only[codes])
            vectors = decode_with.decode(codes[again], residuals[again])
            norms = segment.inverse_norms[tokens]
            codes[again], residuals[again], norms[again] = writer.codec.encode(vectors)
            writer.append(*names, codes, residuals, norms)
        progress(len(tokens))


def _crc(array: NDArray[np.generic], value: int = 0) -> int:
    """Return the CRC-32 of an array's bytes, going on from that of others."""
    return zlib.crc32(np.ascontiguousarray(array).data, value)


def _checksums(lengths: NDArray[np.int64], *of_tokens: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Return the CRC-32 of each passage's rows of some arrays, (passages,)."""
    found = np.zeros(len(lengths), dtype=np.uint32)
    first = 0
    for place, length in enumerate(lengths.tolist()):
        value = 0
        for array in of_tokens:
            value = _crc(array[first : first + length], value)
        found[place] = value
        first += length
    return found


def _offsets(lengths: NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
