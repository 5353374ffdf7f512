"""A sealed segment and its codec, damaged: refused as IndexDamaged, or an answer from inside them.

The first byte chooses the codec, and which way of copying is tried; the rest is damage. Every
instruction set has to answer alike.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fuzz.damaging import Folder
from fuzz.targets.column_files import npy
from memstore.errors import IndexDamaged
from memstore.index import (
    Codec,
    Depths,
    Manifest,
    SealedView,
    Segment,
    SegmentWriter,
    StoredCodec,
    copy_segment,
    sealed,
    write_codec,
)
from memstore.index._kernels import instruction_sets

MUTATIONS = 300
PASSAGES = 14
_SHAPES = ((16, 4, 40), (9, 8, 3), (40, 2, 33), (24, 1, 70))  # dim, bits, centroids
_DEPTHS = (
    Depths(exact=3, exhaustive=0, nprobe=2),  # inverted lists
    Depths(exact=3, exhaustive=100, nprobe=2),  # all codes
)
_BY_SET = (
    "approximate_scores",
    "byte_table",
    "centroid_scores",
    "nearest_centroids",
    "sealed_maxima",
)


def check(data: bytes) -> None:
    choice = data[0] if data else 0
    shape = _SHAPES[choice % 4]
    with _folder(*shape).damaged(data[1:]) as folder:
        try:
            view = _opened(folder, shape[0])
        except (IndexDamaged, FileNotFoundError):
            return
        if choice & 128:  # out of their mappings: a sanitizer then knows where each array ends
            _copy_arrays(view)
        answers = [_answer(view, name) for name in instruction_sets()]
        assert all(_same(answer, answers[0]) for answer in answers)
        try:
            _read(view, choice >> 2 & 3, folder / "copy")
        except IndexDamaged:
            pass
        finally:
            shutil.rmtree(folder / "copy", ignore_errors=True)


def _rows(count: int, dim: int, seed: int) -> Any:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _codec(dim: int, bits: int, centroids: int, seed: int = 1) -> Codec:
    rng = np.random.default_rng(seed)
    rows = _rows(centroids, dim, seed).astype(np.float16).astype(np.float32)
    cutoffs, weights = (np.sort(rng.normal(0, 0.1, 2**bits - part)) for part in (1, 0))
    return Codec(rows, cutoffs.astype(np.float32), weights.astype(np.float32))


@cache
def _folder(dim: int, bits: int, centroids: int) -> Folder:
    codec = _codec(dim, bits, centroids)
    lengths = np.array([1, 40, *range(PASSAGES - 3), 9], dtype=np.int64)
    ids = 100 + np.arange(PASSAGES)[::-1].astype(np.int64)
    with tempfile.TemporaryDirectory() as place:
        write_codec(Path(place) / "codec", codec, made_for=100)
        with SegmentWriter(Path(place) / "segment", codec) as writer:
            writer.append_vectors(ids, ids // 2, lengths, _rows(int(lengths.sum()), dim, 2))
            writer.finish()
        files: dict[str, Any] = {
            str(path.relative_to(place)): (np.load(path),)
            if path.suffix == ".npy"
            else path.read_bytes()
            for path in Path(place).glob("*/*")
        }
    return Folder(files, npy)


def _manifest(folder: Path) -> Manifest:
    """Return what a manifest would say of the files as they are; it vouches for their sizes."""
    return {path.name: {"size": path.stat().st_size} for path in folder.iterdir()}


def _opened(folder: Path, dim: int) -> SealedView:
    stored = StoredCodec(folder / "codec", _manifest(folder / "codec"), dim)
    segment = Segment(folder / "segment", _manifest(folder / "segment"), stored)
    return SealedView(stored, (segment,), np.arange(len(segment)))


def _copy_arrays(view: SealedView) -> None:
    for owner in (view.stored, *view.segments):
        for name, value in vars(owner).items():
            if isinstance(value, np.ndarray):
                setattr(owner, name, value.copy())


def _answer(view: SealedView, instruction_set: str) -> list[Any]:
    """Return all that a search takes from a segment, IndexDamaged in place of what it refuses."""
    assert view.stored is not None
    weights = np.array([1.0, 0.5, 0.0, 2.0, 1.0], dtype=np.float32)
    every = np.arange(len(view))
    with ExitStack() as patched:
        for name in _BY_SET:
            kernel = functools.partial(getattr(sealed, name), instruction_set=instruction_set)
            patched.enter_context(mock.patch.object(sealed, name, kernel))
        search = view.search(_rows(len(weights), view.stored.dim, 3))
        allowed = every != 5
        slots = [
            _or_damaged(search.witnesses, allowed),
            *(_or_damaged(search.candidates, weights, allowed, depths) for depths in _DEPTHS),
        ]
        for some in slots:
            assert some is IndexDamaged or np.isin(some, every[allowed]).all()
        found = [some for some in slots if some is not IndexDamaged]
        maxima = [_or_damaged(search.maxima, some) for some in (*found, every)]
    return [*slots, *maxima]


def _or_damaged(stage: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return stage(*arguments)
    except IndexDamaged:
        return IndexDamaged


def _same(answer: list[Any], other: list[Any]) -> bool:
    return len(answer) == len(other) and all(
        a is b or (a is not IndexDamaged and b is not IndexDamaged and _equal(a, b))
        for a, b in zip(answer, other, strict=True)
    )


def _equal(a: Any, b: Any) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _read(view: SealedView, way: int, folder: Path) -> None:
    """Decode all of it, and copy all but a passage, as compaction does."""
    (segment,) = view.segments
    assert view.stored is not None
    view.passage_ids(np.arange(len(view)))
    found = segment.slots_of(np.array([100, 5, 2**62, -1]))
    assert np.isin(found, np.arange(len(view))).all()
    for vectors in view.vectors(np.arange(len(view))):
        assert vectors.shape[1] == view.stored.dim
    codec = view.stored.codec
    options: dict[str, Any] = {}
    if way:
        options["decode_with"] = codec
        options["only"] = None if way == 1 else np.arange(len(codec.centroids)) % 2 == 0
    with SegmentWriter(folder, codec) as writer:
        copy_segment(segment, np.arange(len(view)) != 3, writer, **options)
        writer.finish()
